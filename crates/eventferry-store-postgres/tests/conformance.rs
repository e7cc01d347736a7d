//! The contract's clauses against PostgreSQL 18: see `eventferry-conformance`.

use std::process::ExitCode;
use std::time::Duration;

use eventferry_conformance::{Audited, Reach, Step, Subject, Trouble, Writers};
use eventferry_core::{EnqueueFault, Event, MessageId};
use eventferry_store_postgres::{PostgresConfig, PostgresOutbox, PostgresStore};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

struct Postgres {
    runtime: Runtime,
    server: String,
}

async fn connect(url: &str) -> Result<Client, Trouble> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

impl Subject for Postgres {
    type Store = PostgresStore;
    type Outbox = String;
    type Writer = Client;

    fn writers(&self) -> Writers {
        Writers::Many
    }

    fn reach(&self) -> Reach {
        Reach { rewinds: true, audits: true }
    }

    async fn outbox(&self) -> Result<String, Trouble> {
        let name = format!("eventferry_clause_{}", uuid::Uuid::new_v4().simple());
        connect(&self.server).await?.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        let base = self.server.rsplit_once('/').map_or(self.server.as_str(), |(base, _)| base);
        Ok(format!("{base}/{name}"))
    }

    async fn store(&self, outbox: &String) -> Result<PostgresStore, Trouble> {
        // The test server lets transactions be prepared, so nobody hangs the bell unasked.
        Ok(PostgresStore::new(PostgresConfig::from_url(outbox)?.doorbell(true)))
    }

    async fn writer(&self, outbox: &String) -> Result<Client, Trouble> {
        connect(outbox).await
    }

    async fn step(&self, writer: &mut Client, step: Step) -> Result<(), Trouble> {
        Ok(writer.batch_execute(step.sql()).await?)
    }

    async fn enqueue(&self, writer: &mut Client, events: &[Event]) -> Result<Vec<MessageId>, EnqueueFault> {
        PostgresOutbox::new().enqueue_many(writer, events).await
    }

    async fn age(&self, outbox: &String, by: Duration) -> Result<bool, Trouble> {
        let client = connect(outbox).await?;
        let older = format!("slot = eventferry.slot_of(now() - interval '{} seconds')", by.as_secs());
        client
            .batch_execute(&format!("UPDATE eventferry.outbox SET {older}; ANALYZE eventferry.outbox"))
            .await?;
        Ok(true)
    }

    async fn rewind(&self, outbox: &String) -> Result<(), Trouble> {
        // As after a restore in another cluster, of a copy that says nothing of where unsettled events begin.
        let elsewhere = "UPDATE eventferry.history SET system_identifier = 1;
                         UPDATE eventferry.outbox SET xid = (xid::text::bigint + 4000000000)::text::xid8;
                         UPDATE eventferry.read_window
                         SET prev = '4000000000:4000000000:', cur = '4100000000:4100000000:'
                         WHERE id <> '00000000-0000-0000-0000-000000000000';
                         DELETE FROM eventferry.anchor";
        Ok(connect(outbox).await?.batch_execute(elsewhere).await?)
    }

    async fn audit(&self, outbox: &String) -> Result<Vec<Audited>, Trouble> {
        let lines = "SELECT what, message_id, who, why FROM eventferry.audit ORDER BY id";
        let lines = connect(outbox).await?.query(lines, &[]).await?;
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

fn main() -> ExitCode {
    let server = std::env::var("EVENTFERRY_TEST_POSTGRES_URL")
        .expect("EVENTFERRY_TEST_POSTGRES_URL is not set: run `eval \"$(cargo xtask services env)\"` first");
    let runtime = Runtime::new().expect("a runtime");
    eventferry_conformance::main(Postgres { runtime, server })
}
