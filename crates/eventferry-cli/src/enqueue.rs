//! `eventferry enqueue`: one event, in a transaction of its own.

use std::error::Error;
use std::fs::File;
use std::io::Read;

use eventferry::core::EnqueueFault;
use eventferry::postgres::{PAYLOAD_BYTES_MAX, PostgresConfig, PostgresOutbox};
use eventferry::sqlite::{SqliteConfig, SqliteOutbox};
use eventferry::{EnqueueFaultKind, Event, MessageId};

use crate::arguments::EnqueueArguments;
use crate::database::{open_sqlite, refused_by_postgres, refused_by_sqlite};
use crate::ending::{Ending, Trouble};
use crate::output::print;
use crate::place::StorePlace;
use crate::settings::Settings;

/// Appends the event and prints its message id.
pub(crate) async fn enqueue(settings: &Settings, arguments: EnqueueArguments) -> Result<Ending, Trouble> {
    let store = settings.require("store", arguments.store.store.as_deref())?;
    let place = StorePlace::of(&store, settings)?;
    let event = event(arguments)?;
    let id = match place {
        StorePlace::Postgres(config) => enqueue_postgres(&config, event).await?,
        StorePlace::Sqlite(config) => enqueue_sqlite(&config, event)?,
    };
    print(&format!("{id}\n"))?;
    Ok(Ending::Done)
}

async fn enqueue_postgres(config: &PostgresConfig, event: Event) -> Result<MessageId, Trouble> {
    let mut client = config.connect().await?;
    let begun = client.transaction().await;
    let mut transaction = begun.map_err(|error| refused_by_postgres("begin a transaction", &error))?;
    let id = PostgresOutbox::new().enqueue(&mut transaction, event).await.map_err(refused)?;
    transaction.commit().await.map_err(|error| refused_by_postgres("commit", &error))?;
    Ok(id)
}

fn enqueue_sqlite(config: &SqliteConfig, event: Event) -> Result<MessageId, Trouble> {
    let mut connection = open_sqlite(config)?;
    let begun = connection.transaction();
    let transaction = begun.map_err(|error| refused_by_sqlite("begin a transaction", &error))?;
    let id = SqliteOutbox.append(&transaction, event).map_err(refused)?;
    transaction.commit().map_err(|error| refused_by_sqlite("commit", &error))?;
    Ok(id)
}

/// What became of an event that was not appended, and what to do about it.
pub(crate) fn refused(fault: EnqueueFault) -> Trouble {
    let below = fault.source().and_then(|below| below.downcast_ref::<tokio_postgres::Error>());
    match (fault.kind(), below) {
        (EnqueueFaultKind::Refused, _) => Trouble::usage(fault.to_string()),
        (_, Some(error)) => refused_by_postgres("append to eventferry.outbox", error),
        _ => Trouble::store(fault.to_string()),
    }
}

fn event(arguments: EnqueueArguments) -> Result<Event, Trouble> {
    let EnqueueArguments { topic, aggregate_type, aggregate_id, header, .. } = arguments;
    let mut event = Event::new(topic, (aggregate_type, aggregate_id));
    event.payload = arguments.payload.as_deref().map(payload).transpose()?;
    event.content_type = arguments.content_type;
    event.key = arguments.key.map(String::into_bytes);
    event.partition = arguments.partition;
    if let Some(id) = arguments.message_id {
        event.message_id =
            Some(id.parse().map_err(|error| Trouble::usage(format!("--message-id: {error}")))?);
    }
    for header in header {
        let Some((name, value)) = header.split_once('=') else {
            return Err(Trouble::usage("--header: there is no `=` in it; give NAME=VALUE"));
        };
        event = event.header(name, value);
    }
    Ok(event)
}

/// The bytes that `--payload` stands for.
fn payload(text: &str) -> Result<Vec<u8>, Trouble> {
    match text.strip_prefix('@') {
        None => Ok(text.into()),
        Some("-") => read(std::io::stdin().lock(), "standard input"),
        Some(rest) if rest.starts_with('@') => Ok(rest.into()),
        Some("") => {
            Err(Trouble::usage("--payload: @ names no file; give @FILE, @- or @@ for a text with an @"))
        }
        Some(path) => {
            let file = File::open(path)
                .map_err(|error| {
                    Trouble::usage(format!(
                        "--payload: `{path}` cannot be opened: {error}; check the path, or give @@ for a text that \
                         begins with an @"
                    ))
                })?;
            read(file, &format!("`{path}`"))
        }
    }
}

/// Everything there is, up to what an event can carry.
fn read(from: impl Read, name: &str) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    from.take(PAYLOAD_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Trouble::usage(format!("--payload: {name} cannot be read: {error}")))?;
    if bytes.len() as u64 > PAYLOAD_BYTES_MAX {
        return Err(Trouble::usage(format!(
            "--payload: {name} has more than {PAYLOAD_BYTES_MAX} bytes, the limit of an event; \
             store it elsewhere and send a reference"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_a_text_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("payload");
        std::fs::write(&path, [0, 255]).unwrap();
        assert_eq!(payload(&format!("@{}", path.display())).unwrap(), [0, 255]);
        assert_eq!(payload("text").unwrap(), b"text");
        assert_eq!(payload("@@text").unwrap(), b"@text");
        for wrong in ["@", "@/no/such/file"] {
            assert_eq!(payload(wrong).unwrap_err().ending, Ending::Usage);
        }
    }

    #[test]
    fn a_payload_over_the_limit_is_not_read_to_its_end() {
        let endless = std::io::repeat(0);
        assert!(read(endless, "it").unwrap_err().message.contains("more than 16777216 bytes"));
    }
}
