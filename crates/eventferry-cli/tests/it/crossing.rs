//! From every kind of application to an ordinary consumer: bytes, keys, headers and times, exactly.

use std::collections::BTreeMap;
use std::process::Command;

use eventferry::postgres::PostgresOutbox;
use eventferry::{Event, MessageId};
use rdkafka::Message;
use rdkafka::message::{Headers, OwnedMessage};
use sqlx::Connection;
use tokio_postgres::NoTls;

use crate::kafka::{self, Topic, header};
use crate::postgres::Database;
use crate::program::Program;

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A message as it must arrive, but for a message id that was not chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Arrival {
    key: Vec<u8>,
    payload: Option<Vec<u8>>,
    /// Without `message-id`, which comes first.
    headers: Vec<(String, Vec<u8>)>,
}

impl Arrival {
    /// Of an event about order `id` with the id as its key.
    fn new(id: &str, payload: &[u8], content_type: &str, own: &[(&str, &[u8])]) -> Self {
        let content_type = [("content-type", content_type.as_bytes())];
        let headers = [&order(id)[..], &content_type, own].concat();
        Self { key: id.into(), payload: Some(payload.into()), headers: owned(&headers) }
    }

    fn tombstone(id: &str, own: &[(&str, &[u8])]) -> Self {
        Self { key: id.into(), payload: None, headers: owned(&[&order(id)[..], own].concat()) }
    }

    fn with_key(self, key: &[u8]) -> Self {
        Self { key: key.into(), ..self }
    }

    fn of(message: &OwnedMessage) -> Self {
        let headers = message.headers().unwrap().iter();
        let mut headers: Vec<_> =
            headers.map(|header| (header.key.to_owned(), header.value.unwrap().to_vec())).collect();
        assert_eq!(headers.remove(0).0, "message-id");
        Self { key: message.key().unwrap().to_vec(), payload: message.payload().map(<[u8]>::to_vec), headers }
    }
}

fn order(id: &str) -> [(&str, &[u8]); 2] {
    [("aggregate-type", b"order"), ("aggregate-id", id.as_bytes())]
}

fn owned(headers: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect()
}

/// A new outbox, a topic for what comes out of it, and the program.
struct Crossing {
    program: Program,
    database: Database,
    topic: Topic,
}

impl Crossing {
    fn new() -> Self {
        let (program, database, topic) = (Program::new(), Database::new(), Topic::new());
        program.done(&["init", "--store", &database.url]);
        Self { program, database, topic }
    }

    /// Carries everything, and holds what arrived against what must; returns the message ids by aggregate id.
    fn carry(&self, expected: &[Arrival]) -> BTreeMap<String, String> {
        // Behind everything else, so that what must not come would have come.
        let last = ["--topic", &self.topic.name, "--aggregate-type", "last", "--aggregate-id", "last"];
        let store = ["enqueue", "--store", &self.database.url, "--tombstone"];
        self.program.done(&[&store[..], &last].concat());
        let mut relay =
            self.program.start(&["run", "--store", &self.database.url, "--publisher", &kafka::url()]);
        relay.says("took lanes");
        let mut messages = self.topic.messages(expected.len() + 1);
        relay.signal("TERM");
        assert_eq!(relay.ends(), Some(0), "{:#?}", relay.said);
        assert_eq!(self.topic.count(), messages.len(), "more came");
        for message in &messages {
            let id = header(message, "message-id").unwrap();
            let enqueued =
                "SELECT floor(extract(epoch FROM created_at) * 1000)::bigint FROM eventferry.outbox";
            let enqueued = self.database.sql(&format!("{enqueued} WHERE message_id = '{id}'")).unwrap();
            assert_eq!(message.timestamp().to_millis(), Some(enqueued.parse().unwrap()));
        }
        messages.retain(|message| header(message, "aggregate-type").as_deref() != Some("last"));
        let id = |message: &OwnedMessage| header(message, "aggregate-id").unwrap();
        messages.sort_by_key(id);
        let mut expected = expected.to_vec();
        expected.sort_by(|one, other| one.headers[1].1.cmp(&other.headers[1].1));
        let arrived: Vec<Arrival> = messages.iter().map(Arrival::of).collect();
        for (arrived, expected) in arrived.iter().zip(&expected) {
            assert_eq!(arrived, expected);
        }
        assert_eq!(arrived.len(), expected.len());
        messages.iter().map(|message| (id(message), header(message, "message-id").unwrap())).collect()
    }
}

/// What a client without any library of ours writes, for this topic.
fn script(topic: &str) -> String {
    include_str!("crossing.sql").replace("TOPIC", topic)
}

/// What must come of [`script`].
fn scripted() -> Vec<Arrival> {
    let text = "text/plain; charset=utf-8";
    let insert = [("aggregate-type", &br#"it's "a" \ type"#[..]), ("aggregate-id", b"insert")];
    let own: [(&str, &[u8]); 2] = [("tenant", b"acme"), ("tenant", &[0, 255])];
    vec![
        Arrival::new(
            "jsonb",
            r#"{"note": "it's \"quoted\" in C:\\tmp\n— grüße 🚚"}"#.as_bytes(),
            "application/json",
            &[],
        ),
        Arrival::new(
            "text",
            "it's \"quoted\" in C:\\\\tmp\\n and C:\\tmp\non two lines — grüße 🚚".as_bytes(),
            text,
            &[],
        ),
        Arrival::new("escape", b"it's \"quoted\" in C:\\tmp\n\ttabbed", text, &[]),
        Arrival::new("dollar", b"it's \"quoted\" in C:\\tmp", text, &[]),
        Arrival::new("bytea", &[0x00, 0xff, 0x5c, 0x6e, 0x0a, 0x27], "application/octet-stream", &[]),
        Arrival::new("empty", b"", text, &[]),
        Arrival::tombstone("tombstone", &[]),
        Arrival::new(
            "all",
            br#"{"total":7}"#,
            "application/json",
            &[
                ("tenant", b"acme"),
                ("traceparent", TRACEPARENT.as_bytes()),
                ("tenant", "a\"b\\c\né".as_bytes()),
                ("none", b""),
            ],
        )
        .with_key("k/é".as_bytes()),
        Arrival {
            key: vec![0, 255],
            payload: Some(br#"{"path": "C:\\tmp", "quote": "\""}"#.to_vec()),
            headers: owned(&[&insert[..], &own].concat()),
        },
        Arrival::tombstone("pairs", &[("a", b"b"), ("c", b"d")]),
    ]
}

#[test]
fn what_plain_sql_writes_arrives_byte_for_byte() {
    let crossing = Crossing::new();
    crossing.database.sql(&script(&crossing.topic.name));
    let ids = crossing.carry(&scripted());
    assert_eq!(ids["insert"], "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f");
}

/// Needs psql in PATH, and says so where there is none; the same script goes through a driver in any case.
#[test]
fn what_psql_writes_arrives_byte_for_byte() {
    if let Err(error) = Command::new("psql").arg("--version").output() {
        eprintln!(
            "psql is not tried, for it cannot be run: {error}; put PostgreSQL's client programs into PATH"
        );
        return;
    }
    let crossing = Crossing::new();
    std::fs::write(crossing.program.path("crossing.sql"), script(&crossing.topic.name)).unwrap();
    let ran = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null", "--file"])
        .arg(crossing.program.path("crossing.sql"))
        .arg(&crossing.database.url)
        .env("PGCLIENTENCODING", "UTF8")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    crossing.carry(&scripted());
}

/// Events as a program makes them, for this topic, and what must come of them.
fn programmed(topic: &str) -> Vec<(Event, Arrival)> {
    let every_byte: Vec<u8> = (0..=255).collect();
    let event = |id: &str| Event::new(topic, ("order", id));
    let own: MessageId = "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f".parse().unwrap();
    vec![
        (
            event("bytes").payload(every_byte.clone(), "application/octet-stream"),
            Arrival::new("bytes", &every_byte, "application/octet-stream", &[]),
        ),
        (
            event("text").payload("C:\\\\tmp\n'\"🚚", "a/b"),
            Arrival::new("text", "C:\\\\tmp\n'\"🚚".as_bytes(), "a/b", &[]),
        ),
        (event("empty").payload("", "a/b"), Arrival::new("empty", b"", "a/b", &[])),
        (event("tombstone"), Arrival::tombstone("tombstone", &[])),
        (
            event("all")
                .payload("x", "a/b")
                .key([0, 255])
                .header("é", every_byte.clone())
                .traceparent(TRACEPARENT)
                .header("é", "")
                .message_id(own)
                .partition(0),
            Arrival::new(
                "all",
                b"x",
                "a/b",
                &[("é", &every_byte), ("traceparent", TRACEPARENT.as_bytes()), ("é", b"")],
            )
            .with_key(&[0, 255]),
        ),
        // The quotes, backslashes and braces of an array's text form, which headers travel in.
        (
            event("it's \"{a}\", \\ NULL").header("{\"\\,", "NULL").header("x\\", "{},\"'"),
            Arrival::tombstone("it's \"{a}\", \\ NULL", &[("{\"\\,", b"NULL"), ("x\\", b"{},\"'")]),
        ),
    ]
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn what_tokio_postgres_writes_arrives_byte_for_byte() {
    let crossing = Crossing::new();
    let (events, expected): (Vec<_>, Vec<_>) = programmed(&crossing.topic.name).into_iter().unzip();
    let never = |id: &str| Event::new(crossing.topic.name.as_str(), ("order", id));
    let ids = block_on(async {
        let outbox = PostgresOutbox::new();
        let (mut client, connection) = tokio_postgres::connect(&crossing.database.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let mut rolled_back = client.transaction().await.unwrap();
        outbox.enqueue_many(&mut rolled_back, &[never("rolled-back"), never("too")]).await.unwrap();
        rolled_back.rollback().await.unwrap();
        let mut transaction = client.transaction().await.unwrap();
        // One by one, and together.
        let mut ids = vec![outbox.enqueue(&mut transaction, events[0].clone()).await.unwrap()];
        ids.extend(outbox.enqueue_many(&mut transaction, &events[1..]).await.unwrap());
        let mut savepoint = transaction.savepoint("undone").await.unwrap();
        outbox.enqueue(&mut savepoint, never("savepoint")).await.unwrap();
        savepoint.rollback().await.unwrap();
        transaction.commit().await.unwrap();
        ids
    });
    arrived_under(&crossing.carry(&expected), &events, &ids);
}

#[test]
fn what_sqlx_writes_arrives_byte_for_byte() {
    let crossing = Crossing::new();
    let (events, expected): (Vec<_>, Vec<_>) = programmed(&crossing.topic.name).into_iter().unzip();
    let never = |id: &str| Event::new(crossing.topic.name.as_str(), ("order", id));
    let ids = block_on(async {
        let outbox = PostgresOutbox::new();
        let mut connection = sqlx::PgConnection::connect(&crossing.database.url).await.unwrap();
        let mut rolled_back = connection.begin().await.unwrap();
        outbox.enqueue_many(&mut rolled_back, &[never("rolled-back"), never("too")]).await.unwrap();
        rolled_back.rollback().await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        let mut ids = vec![outbox.enqueue(&mut transaction, events[0].clone()).await.unwrap()];
        ids.extend(outbox.enqueue_many(&mut transaction, &events[1..]).await.unwrap());
        let mut savepoint = transaction.begin().await.unwrap();
        outbox.enqueue(&mut savepoint, never("savepoint")).await.unwrap();
        savepoint.rollback().await.unwrap();
        transaction.commit().await.unwrap();
        ids
    });
    arrived_under(&crossing.carry(&expected), &events, &ids);
}

/// Every event arrived under the message id that enqueueing gave back.
#[track_caller]
fn arrived_under(arrived: &BTreeMap<String, String>, events: &[Event], ids: &[MessageId]) {
    assert_eq!(ids.len(), events.len());
    for (event, id) in events.iter().zip(ids) {
        assert_eq!(arrived[&event.aggregate.id], id.to_string());
        assert!(event.message_id.is_none_or(|own| own == *id));
    }
}
