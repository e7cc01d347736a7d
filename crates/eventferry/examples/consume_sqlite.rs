//! A consumer whose effects are in a SQLite file, each of them once: `docs/consuming.md` leads through it.
//!
//! ```sh
//! KAFKA_BROKERS=localhost:9092 \     cargo run -p eventferry --example consume_sqlite --features
//! consumer-kafka,inbox-sqlite -- orders.created app.db
//! ```
//!
//! SQLite blocks, so this is a plain loop on one thread.

use std::error::Error;
use std::time::Duration;

use eventferry::consumer::{Arrival, Once, SqliteInbox};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rusqlite::TransactionBehavior::Immediate;
use rusqlite::{Connection, Savepoint};

/// The name of this consumer, for Kafka's group and for the inbox. Under another name all events are new.
const CONSUMER: &str = "billing";

/// No redelivery comes later than this: the topic keeps its records for a week.
const REMEMBERED: Duration = Duration::from_secs(8 * 24 * 3600);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let topic = arguments.next().ok_or("say which topic")?;
    let mut database = Connection::open(arguments.next().ok_or("say which file")?)?;
    prepare(&mut database)?;
    let consumer = consumer(&std::env::var("KAFKA_BROKERS")?, CONSUMER)?;
    consumer.subscribe(&[&topic])?;
    consume(&consumer, &mut database, || true)
}

/// A member of a group that tells Kafka itself how far it is, and sees no record of a transaction that was aborted.
pub(crate) fn consumer(brokers: &str, group: &str) -> Result<BaseConsumer, rdkafka::error::KafkaError> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .create()
}

/// Makes the tables, our own and the inbox, and forgets what is old.
pub(crate) fn prepare(database: &mut Connection) -> Result<(), Box<dyn Error>> {
    let inbox = SqliteInbox::new(CONSUMER);
    inbox.prepare(database)?;
    while inbox.forget(database, REMEMBERED, 1_000)? == 1_000 {}
    let own = "CREATE TABLE IF NOT EXISTS account (customer TEXT PRIMARY KEY, owes INTEGER NOT NULL)";
    Ok(database.execute_batch(own)?)
}

/// Handles records while it is to go on.
pub(crate) fn consume(
    consumer: &BaseConsumer,
    database: &mut Connection,
    mut goes_on: impl FnMut() -> bool,
) -> Result<(), Box<dyn Error>> {
    let inbox = SqliteInbox::new(CONSUMER);
    while goes_on() {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message?;
        match Arrival::of_message(&message) {
            Ok(arrival) => {
                let mut tx = database.transaction_with_behavior(Immediate)?;
                // An error ends the loop, and the offset stays where it was: the message comes again.
                match inbox.once(&mut tx, arrival.message_id, |tx| charge(tx, &arrival))? {
                    Once::Now(()) => tx.commit()?,
                    Once::Before => tx.rollback()?,
                }
            }
            // Another program's record: nothing of ours can be done with it, today or tomorrow.
            Err(fault) => eprintln!("passed over a record: {fault}"),
        }
        // Only now, when what it did is committed. A crash before this brings the message again, and the inbox knows
        // it.
        consumer.commit_message(&message, CommitMode::Async)?;
    }
    Ok(())
}

/// What would go wrong if it were done twice.
fn charge(tx: &Savepoint<'_>, arrival: &Arrival<'_>) -> Result<(), Box<dyn Error>> {
    let payload = std::str::from_utf8(arrival.payload.unwrap_or_default())?;
    let add = "INSERT INTO account (customer, owes) VALUES (?1 ->> 'customer', ?1 ->> 'total') \
               ON CONFLICT (customer) DO UPDATE SET owes = owes + excluded.owes";
    tx.execute(add, [payload])?;
    Ok(())
}
