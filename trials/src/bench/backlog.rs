//! The rows that all contenders carry, loaded once.

use eventferry::core::store::{Prepare, Store as _};
use eventferry::postgres::{PostgresConfig, PostgresStore};

use crate::database::Database;
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
    pub(super) async fn load(servers: &Servers, events: u64, aggregates: u64) -> Result<Self, Failure> {
        let topic = Topic::create(servers, "eventferry", PARTITIONS).await?;
        let database = Database::create(servers).await?;
        let this = Self { database, topic };
        match this.fill(events, aggregates).await {
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

    async fn fill(&self, events: u64, aggregates: u64) -> Result<(), Failure> {
        let url = self.database.url()?;
        let config = PostgresConfig::from_url(&url).attempt("configure the store")?;
        PostgresStore::new(config).prepare(Prepare::Apply).await.attempt("create the schema")?;
        let client = self.database.connect().await?;
        let insert = insertion(&self.topic.name, events, aggregates);
        client.batch_execute(&insert).await.attempt("load the backlog")?;
        client.batch_execute(STATUS_TABLE).await.attempt("load the table with a status")?;
        // As autovacuum leaves a backlog that has been there for a minute; and no round pays for the loading.
        client.batch_execute("VACUUM (ANALYZE)").await.attempt("vacuum the backlog")?;
        client.batch_execute("CHECKPOINT").await.attempt("write the backlog out")?;
        Ok(())
    }
}

/// The statement that enqueues `events` events: a payload of some 200 bytes of json, two headers.
pub(crate) fn insertion(topic: &str, events: u64, aggregates: u64) -> String {
    format!(
        "INSERT INTO eventferry.outbox (topic, aggregate_type, aggregate_id, payload, content_type, headers)
         SELECT '{topic}', 'order', 'order-' || i * 7919 % {aggregates},
                convert_to(json_build_object('order', i, 'customer', md5(i::text), 'address', md5((i + 1)::text),
                    'note', md5((i + 2)::text), 'total', i % 1000, 'currency', 'EUR', 'paid', true)::text, 'UTF8'),
                'application/json',
                ARRAY['tenant', 'acme-' || i % 100,
                      'traceparent', '00-' || md5(i::text) || '-00f067aa0ba902b7-01']::bytea[]
         FROM generate_series(1::bigint, {events}) AS i"
    )
}
