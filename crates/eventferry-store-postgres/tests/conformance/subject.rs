//! The contract's clauses against PostgreSQL 18: see `eventferry-conformance`.

use std::process::ExitCode;
use std::time::Duration;

use eventferry_conformance::{Audited, Reach, Step, Subject, Trouble, Writers};
use eventferry_core::{EnqueueFault, Event, MessageId};
use eventferry_store_postgres::{FeedChoice, PostgresConfig, PostgresOutbox, PostgresStore};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

struct Postgres {
    runtime: Runtime,
    server: String,
    feed: FeedChoice,
}

/// A database; a tail's slot, and with it the database, is gone when it is dropped.
struct Outbox {
    url: String,
    name: String,
    server: String,
    feed: FeedChoice,
}

impl Drop for Outbox {
    fn drop(&mut self) {
        if !self.feed.is_tail() {
            return;
        }
        let (server, name) = (self.server.clone(), self.name.clone());
        let dropped = std::thread::spawn(move || {
            let runtime = Runtime::new()?;
            runtime.block_on(async {
                let client = connect(&server).await?;
                let end = format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}';
                     SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{name}'"
                );
                let mut tries = 0;
                while let Err(error) = client.batch_execute(&end).await {
                    tries += 1;
                    if tries > 500 {
                        return Err(error.into());
                    }
                    // waits: for the process that reads from it to end
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Ok::<(), Trouble>(client.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await?)
            })
        });
        if let Ok(Err(trouble)) = dropped.join() {
            eprintln!("could not drop {}: {trouble}", self.name);
        }
    }
}

async fn connect(url: &str) -> Result<Client, Trouble> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

impl Subject for Postgres {
    type Store = PostgresStore;
    type Outbox = Outbox;
    type Writer = Client;

    fn writers(&self) -> Writers {
        Writers::Many
    }

    fn reach(&self) -> Reach {
        // What was emitted is behind a slot that was moved on: nothing can take that back.
        Reach { rewinds: self.feed != FeedChoice::TailMessages, audits: true }
    }

    async fn outbox(&self) -> Result<Outbox, Trouble> {
        let name = format!("eventferry_clause_{}", uuid::Uuid::new_v4().simple());
        connect(&self.server).await?.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        let base = self.server.rsplit_once('/').map_or(self.server.as_str(), |(base, _)| base);
        let url = format!("{base}/{name}");
        Ok(Outbox { url, name, server: self.server.clone(), feed: self.feed })
    }

    async fn store(&self, outbox: &Outbox) -> Result<PostgresStore, Trouble> {
        let config =
            PostgresConfig::from_url(&outbox.url)?.feed(self.feed).tail_wait(Duration::from_millis(20));
        // The test server lets transactions be prepared, so nobody hangs the bell unasked.
        Ok(PostgresStore::new(config.doorbell(true)))
    }

    async fn writer(&self, outbox: &Outbox) -> Result<Client, Trouble> {
        connect(&outbox.url).await
    }

    async fn step(&self, writer: &mut Client, step: Step) -> Result<(), Trouble> {
        Ok(writer.batch_execute(step.sql()).await?)
    }

    async fn enqueue(&self, writer: &mut Client, events: &[Event]) -> Result<Vec<MessageId>, EnqueueFault> {
        match self.feed {
            FeedChoice::TailMessages => PostgresOutbox::new().emit_many(writer, events).await,
            _ => PostgresOutbox::new().enqueue_many(writer, events).await,
        }
    }

    async fn age(&self, outbox: &Outbox, by: Duration) -> Result<bool, Trouble> {
        let client = connect(&outbox.url).await?;
        let older = format!("slot = eventferry.slot_of(now() - interval '{} seconds')", by.as_secs());
        client
            .batch_execute(&format!("UPDATE eventferry.outbox SET {older}; ANALYZE eventferry.outbox"))
            .await?;
        Ok(true)
    }

    async fn rewind(&self, outbox: &Outbox) -> Result<(), Trouble> {
        // As after a restore in another cluster, of a copy that says nothing of where unsettled events begin.
        let elsewhere = "UPDATE eventferry.history SET system_identifier = 1;
                         UPDATE eventferry.outbox SET xid = (xid::text::bigint + 4000000000)::text::xid8;
                         UPDATE eventferry.read_window
                         SET prev = '4000000000:4000000000:', cur = '4100000000:4100000000:'
                         WHERE id <> '00000000-0000-0000-0000-000000000000';
                         DELETE FROM eventferry.anchor";
        Ok(connect(&outbox.url).await?.batch_execute(elsewhere).await?)
    }

    async fn audit(&self, outbox: &Outbox) -> Result<Vec<Audited>, Trouble> {
        let lines = "SELECT what, message_id, who, why FROM eventferry.audit ORDER BY id";
        let lines = connect(&outbox.url).await?.query(lines, &[]).await?;
        let line = |row: &tokio_postgres::Row| {
            let message_id = row.get::<_, Option<uuid::Uuid>>(1).map(|id| MessageId(id.into_bytes()));
            Audited { what: row.get(0), message_id, who: row.get(2), why: row.get(3) }
        };
        Ok(lines.iter().map(line).collect())
    }

    fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }
}

/// Holds the store, read by this feed, to the contract.
pub(crate) fn run(feed: FeedChoice) -> ExitCode {
    let server = std::env::var("EVENTFERRY_TEST_POSTGRES_URL")
        .expect("EVENTFERRY_TEST_POSTGRES_URL is not set: run `eval \"$(cargo xtask services env)\"` first");
    let runtime = Runtime::new().expect("a runtime");
    eventferry_conformance::main(Postgres { runtime, server, feed })
}
