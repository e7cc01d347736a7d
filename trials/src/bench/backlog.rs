//! The rows that all contenders carry, loaded once.

use eventferry::postgres::PostgresConfig;

use crate::database::{Database, prepare};
use crate::failure::{Attempt as _, Failure};
use crate::servers::Servers;
use crate::topic::Topic;

/// The partitions of every contender's topic.
pub(super) const PARTITIONS: i32 = 8;

/// A backlog of committed events, and the topic they are for.
pub(super) struct Backlog {
    pub(super) database: Database,
    pub(super) topic: Topic,
}

/// An event that the broker refuses: the one that was enqueued as this one of all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Poison {
    number: u64,
}

impl Poison {
    /// Among these many events: after a tenth of them.
    pub(super) fn among(events: u64) -> Self {
        Self { number: events / 10 + 1 }
    }

    /// How many events it keeps waiting, itself included, where aggregates come in turn.
    pub(super) fn waiting(self, events: u64, aggregates: u64) -> u64 {
        (events - self.number) / aggregates + 1
    }
}

/// The table of the relay most teams write, with the same rows.
const STATUS_TABLE: &str = "
    CREATE TABLE status_outbox AS
        SELECT id, created_at, message_id, aggregate_type, aggregate_id, payload, content_type, headers,
               'pending' AS status, NULL::timestamptz AS sent_at
        FROM eventferry.outbox ORDER BY id;
    ALTER TABLE status_outbox ADD PRIMARY KEY (id);
    CREATE INDEX status_outbox_pending ON status_outbox (id) WHERE status = 'pending'";

impl Backlog {
    /// Loads one: `events` events of about 300 bytes, of these many aggregates in turn.
    pub(super) async fn load(
        servers: &Servers,
        events: u64,
        aggregates: u64,
        poison: Option<Poison>,
    ) -> Result<Self, Failure> {
        // A client cannot know that the broker will not have a message because of its age.
        let settings = [("message.timestamp.before.max.ms", "86400000")];
        let topic = Topic::create_with(servers, "eventferry", PARTITIONS, &settings).await?;
        let database = Database::create(servers).await?;
        let this = Self { database, topic };
        match this.fill(events, aggregates, poison).await {
            Ok(()) => Ok(this),
            Err(failure) => {
                this.remove().await;
                Err(failure)
            }
        }
    }

    pub(super) async fn remove(self) {
        self.topic.remove().await;
        self.database.remove().await;
    }

    async fn fill(&self, events: u64, aggregates: u64, poison: Option<Poison>) -> Result<(), Failure> {
        let url = self.database.url()?;
        let config = PostgresConfig::from_url(&url).attempt("configure the store")?;
        prepare(config).await?;
        let client = self.database.connect().await?;
        let insert = insertion(&self.topic.name, events, aggregates);
        client.batch_execute(&insert).await.attempt("load the backlog")?;
        if let Some(Poison { number }) = poison {
            let statement = format!(
                "UPDATE eventferry.outbox SET created_at = created_at - interval '7 days'
                 WHERE id = (SELECT id FROM eventferry.outbox ORDER BY id OFFSET {number} - 1 LIMIT 1)"
            );
            client.batch_execute(&statement).await.attempt("poison the backlog")?;
        }
        client.batch_execute(STATUS_TABLE).await.attempt("load the table with a status")?;
        // As autovacuum leaves a backlog that has been there for a minute; and no round pays for the loading.
        client.batch_execute("VACUUM (ANALYZE)").await.attempt("vacuum the backlog")?;
        client.batch_execute("CHECKPOINT").await.attempt("write the backlog out")?;
        Ok(())
    }
}

/// The statement that enqueues `events` events: a payload of some 200 bytes of json, two headers.
pub(crate) fn insertion(topic: &str, events: u64, aggregates: u64) -> String {
    let rows = selection(topic, "1::bigint", &events.to_string(), aggregates);
    format!(
        "INSERT INTO eventferry.outbox (topic, aggregate_type, aggregate_id, payload, content_type, headers) {rows}"
    )
}

/// The events from one number to another, as a query.
pub(super) fn selection(topic: &str, from: &str, to: &str, aggregates: u64) -> String {
    format!(
        "SELECT '{topic}', 'order', 'order-' || i * 7919 % {aggregates},
                convert_to(json_build_object('order', i, 'customer', md5(i::text), 'address', md5((i + 1)::text),
                    'note', md5((i + 2)::text), 'total', i % 1000, 'currency', 'EUR', 'paid', true)::text, 'UTF8'),
                'application/json',
                ARRAY['tenant', 'acme-' || i % 100,
                      'traceparent', '00-' || md5(i::text) || '-00f067aa0ba902b7-01']::bytea[]
         FROM generate_series({from}, {to}) AS i"
    )
}
