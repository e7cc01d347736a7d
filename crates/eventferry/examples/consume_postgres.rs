//! A consumer whose effects are in PostgreSQL, each of them once: `docs/consuming.md` leads through it.
//!
//! ```sh
//! KAFKA_BROKERS=localhost:9092 DATABASE_URL=postgres://user:password@localhost/billing \
//!     cargo run -p eventferry --example consume_postgres --features consumer-kafka,inbox-postgres -- orders.created
//! ```

use std::error::Error;
use std::time::Duration;

use eventferry::consumer::{Arrival, InboxFault, InboxFaultKind, Once, PostgresInbox};
use rdkafka::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use tokio_postgres::{Client, NoTls, Transaction};

/// The name of this consumer, for Kafka's group and for the inbox. Under another name all events are new.
const CONSUMER: &str = "billing";

/// No redelivery comes later than this: the topic keeps its records for a week.
const REMEMBERED: Duration = Duration::from_secs(8 * 24 * 3600);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let topic = std::env::args().nth(1).ok_or("say which topic")?;
    let (mut client, connection) = tokio_postgres::connect(&std::env::var("DATABASE_URL")?, NoTls).await?;
    tokio::spawn(connection);
    let (cleaner, connection) = tokio_postgres::connect(&std::env::var("DATABASE_URL")?, NoTls).await?;
    tokio::spawn(connection);
    prepare(&mut client).await?;
    tokio::spawn(async move { forget(&cleaner).await });
    let consumer = consumer(&std::env::var("KAFKA_BROKERS")?, CONSUMER)?;
    consumer.subscribe(&[&topic])?;
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    consume(&consumer, &mut client, stop).await
}

/// A member of a group that tells Kafka itself how far it is, and sees no record of a transaction that was aborted.
pub(crate) fn consumer(brokers: &str, group: &str) -> Result<StreamConsumer, rdkafka::error::KafkaError> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .create()
}

/// Makes the tables: our own, and the inbox.
pub(crate) async fn prepare(client: &mut Client) -> Result<(), Box<dyn Error + Send + Sync>> {
    PostgresInbox::new(CONSUMER).prepare(client).await?;
    let own = "CREATE TABLE IF NOT EXISTS account (customer text PRIMARY KEY, owes bigint NOT NULL)";
    client.batch_execute(own).await?;
    Ok(())
}

/// Handles records until `stop`.
pub(crate) async fn consume(
    consumer: &StreamConsumer,
    client: &mut Client,
    stop: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let inbox = PostgresInbox::new(CONSUMER);
    tokio::pin!(stop);
    loop {
        let message = tokio::select! {
            message = consumer.recv() => message?,
            () = &mut stop => return Ok(()),
        };
        match Arrival::of_message(&message) {
            Ok(arrival) => handle(&inbox, client, &arrival).await?,
            // Another program's record: nothing of ours can be done with it, today or tomorrow.
            Err(fault) => eprintln!("passed over a record: {fault}"),
        }
        // Only now, when what it did is committed. A crash before this brings the message again, and the inbox knows
        // it.
        consumer.commit_message(&message, CommitMode::Async)?;
    }
}

/// Handles one event in a transaction of its own, together with its place in the inbox.
async fn handle(inbox: &PostgresInbox, client: &mut Client, arrival: &Arrival<'_>) -> Result<(), Failed> {
    loop {
        let mut tx = client.transaction().await?;
        match inbox.once(&mut tx, arrival.message_id, async |tx| charge(tx, arrival).await).await {
            Ok(Once::Now(())) => return Ok(tx.commit().await?),
            Ok(Once::Before) => return Ok(()),
            // Somebody else had it in hand: once more, from the beginning.
            Err(Failed::Inbox(fault)) if *fault.kind() == InboxFaultKind::Contended => {}
            // The offset stays where it was: the message comes again when this program is started again.
            Err(failed) => return Err(failed),
        }
    }
}

/// What would go wrong if it were done twice.
async fn charge(tx: &Transaction<'_>, arrival: &Arrival<'_>) -> Result<(), Failed> {
    let payload = std::str::from_utf8(arrival.payload.unwrap_or_default()).unwrap_or_default();
    let add = "INSERT INTO account AS a (customer, owes) SELECT o ->> 'customer', (o ->> 'total')::bigint \
               FROM (SELECT $1::text::jsonb AS o) AS event \
               ON CONFLICT (customer) DO UPDATE SET owes = a.owes + excluded.owes";
    tx.execute(add, &[&payload]).await?;
    Ok(())
}

/// Forgets old messages, a thousand at a time, once an hour.
async fn forget(client: &Client) -> Result<(), InboxFault> {
    let inbox = PostgresInbox::new(CONSUMER);
    loop {
        while inbox.forget(client, REMEMBERED, 1_000).await? == 1_000 {}
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
}

/// Why an event could not be handled.
#[derive(Debug)]
pub(crate) enum Failed {
    Inbox(InboxFault),
    Database(tokio_postgres::Error),
}

impl From<InboxFault> for Failed {
    fn from(fault: InboxFault) -> Self {
        Self::Inbox(fault)
    }
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inbox(fault) => fault.fmt(f),
            Self::Database(error) => error.fmt(f),
        }
    }
}

impl Error for Failed {}
