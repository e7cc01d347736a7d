//! `eventferry init`: creates or upgrades the schema, or prints it.

use eventferry::core::store::{Prepare, Prepared, Store};
use eventferry::postgres::PostgresStore;
use eventferry::sqlite::SqliteStore;

use crate::arguments::InitArguments;
use crate::ending::{Ending, Trouble};
use crate::output::print;
use crate::place::{StoreKind, StorePlace};
use crate::settings::{Given, Settings};

/// Creates the schema, upgrades it, or finds it as it should be; with `--print-sql` prints it instead.
pub(crate) async fn init(settings: &Settings, arguments: &InitArguments) -> Result<Ending, Trouble> {
    let store = settings.require("store", arguments.store.store.as_deref())?;
    if arguments.print_sql {
        let sql = match store.parse(StoreKind::of)? {
            StoreKind::Postgres => eventferry::postgres::schema_sql(),
            StoreKind::Sqlite => eventferry::sqlite::schema_sql(),
        };
        print(&sql)?;
        return Ok(Ending::Done);
    }
    let place = StorePlace::of(&store, settings)?;
    let place = match settings.find("doorbell", arguments.doorbell.as_deref()) {
        Some(given) => place.with_doorbell(&given)?,
        None => place,
    };
    let place = if arguments.tail { with_tail(place, settings, arguments)? } else { place };
    let prepared = match place {
        StorePlace::Postgres(config) => PostgresStore::new(config).prepare(Prepare::Apply).await?,
        StorePlace::Sqlite(config) => SqliteStore::new(config).prepare(Prepare::Apply).await?,
    };
    print(&said(&prepared))?;
    Ok(Ending::Done)
}

/// The place with its replication slot: for the feed that the settings name, else for the one that reads what is
/// inserted into the table.
fn with_tail(
    place: StorePlace,
    settings: &Settings,
    arguments: &InitArguments,
) -> Result<StorePlace, Trouble> {
    let feed = settings.find("feed", None).filter(|given| given.text() != "table");
    let feed = feed.unwrap_or_else(|| Given::flag("tail", "tail"));
    let place = place.fed(Some(&feed), None)?;
    let StorePlace::Postgres(mut config) = place else { return Ok(place) };
    if arguments.accept_loss {
        config = config.accept_loss();
    }
    if arguments.close_messages {
        config = config.close_messages();
    }
    Ok(StorePlace::Postgres(config))
}

fn said(prepared: &Prepared) -> String {
    let Prepared { version, upgraded_from, lanes, .. } = prepared;
    match upgraded_from {
        None => format!("the outbox is up to date: schema version {version}, {lanes} lanes\n"),
        Some(0) => format!("created the outbox: schema version {version}, {lanes} lanes\n"),
        Some(from) => format!("upgraded the outbox from schema version {from} to {version}, {lanes} lanes\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventferry::core::OutboxId;

    #[test]
    fn what_was_done_is_said() {
        let said = |upgraded_from| {
            said(&Prepared { version: 4, upgraded_from, lanes: 64, outbox: OutboxId("one".into()) })
        };
        assert!(said(None).starts_with("the outbox is up to date"));
        assert!(said(Some(0)).starts_with("created"));
        assert!(said(Some(3)).contains("from schema version 3 to 4"));
    }
}
