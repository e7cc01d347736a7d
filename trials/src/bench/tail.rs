//! A backlog in the write-ahead log: written after a relay had come to its tail, in transactions of 10.

use std::time::Duration;

use eventferry::Relay;
use eventferry::kafka::{KafkaConfig, KafkaPublisher};
use eventferry::postgres::{FeedChoice, PostgresConfig, PostgresStore};
use tokio_postgres::Client;

use super::backlog::selection;
use crate::database::{Database, prepare};
use crate::failure::{Attempt as _, Failure};
use crate::topic::Topic;

/// Makes an outbox whose lanes stand in the log's tail, and enqueues or emits `events` events behind them.
pub(super) async fn load(
    database: &Database,
    topic: &Topic,
    feed: FeedChoice,
    events: u64,
    aggregates: u64,
) -> Result<(), Failure> {
    let config = PostgresConfig::from_url(&database.url()?).attempt("configure the store")?.feed(feed);
    prepare(config.clone()).await?;
    let store = PostgresStore::new(config);
    let client = database.connect().await?;
    let publisher =
        KafkaPublisher::new(KafkaConfig::new(topic.brokers())).attempt("configure the publisher")?;
    let relay = Relay::builder().store(store).publisher(publisher).build().attempt("build the relay")?;
    let finished = Box::pin(relay.run(streams(&client))).await.attempt("run the relay")?;
    tracing::debug!(?finished, "came to the tail");
    let columns = "topic, aggregate_type, aggregate_id, payload, content_type, headers";
    let ten = selection(&topic.name, "beginning::bigint", "beginning + 9", aggregates);
    let statement = match feed {
        FeedChoice::TailMessages => format!(
            "PERFORM eventferry.emit_event(NULL, e.topic, e.aggregate_type, e.aggregate_id, NULL, e.payload,
                 e.content_type, e.headers, NULL) FROM ({ten}) AS e ({columns})"
        ),
        _ => format!("INSERT INTO eventferry.outbox ({columns}) {ten}"),
    };
    let load = format!(
        "SET synchronous_commit = off;
         DO $$ BEGIN
             FOR beginning IN 1 .. {events} BY 10 LOOP
                 {statement};
                 COMMIT;
             END LOOP;
         END $$;
         CHECKPOINT"
    );
    for statement in split(&load) {
        client.batch_execute(statement).await.attempt("load the backlog")?;
    }
    Ok(())
}

/// A procedure that commits must be a statement by itself.
fn split(script: &str) -> [&str; 3] {
    let (before, rest) = script.split_once("DO $$").unwrap_or((script, ""));
    let start = before.len();
    let end = start + rest.find("$$;").map_or(rest.len(), |place| place + "DO $$".len() + "$$;".len());
    [before, &script[start..end], &script[end..]]
}

/// Waits until a relay reads from the slot.
async fn streams(client: &Client) {
    const STREAMS: &str = "SELECT EXISTS (
        SELECT FROM pg_replication_slots WHERE slot_name = eventferry.tail_slot() AND active)";
    while let Ok(row) = client.query_one(STREAMS, &[]).await {
        if row.get(0) {
            // Once more, so that what was quiet is said.
            tokio::time::sleep(Duration::from_secs(2)).await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
