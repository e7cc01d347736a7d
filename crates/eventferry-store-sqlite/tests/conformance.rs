//! The contract's clauses against SQLite: see `eventferry-conformance`.

use std::process::ExitCode;
use std::time::Duration;

use eventferry_conformance::{Audited, Reach, Step, Subject, Trouble, Writers};
use eventferry_core::{Enqueue, EnqueueFault, Event, MessageId};
use eventferry_store_sqlite::{SqliteConfig, SqliteOutbox, SqliteStore};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

struct Sqlite;

/// A folder of a clause's own, removed with it.
struct File(TempDir);

impl File {
    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("app.db")
    }
}

impl Subject for Sqlite {
    type Store = SqliteStore;
    type Outbox = File;
    type Writer = Connection;

    fn writers(&self) -> Writers {
        Writers::One
    }

    async fn outbox(&self) -> Result<File, Trouble> {
        let file = File(tempfile::tempdir()?);
        // A database that an application has, without our tables.
        Connection::open(file.path())?.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY)")?;
        Ok(file)
    }

    async fn store(&self, outbox: &File) -> Result<SqliteStore, Trouble> {
        Ok(SqliteStore::new(SqliteConfig::at(outbox.path())?))
    }

    async fn writer(&self, outbox: &File) -> Result<Connection, Trouble> {
        let writer = Connection::open(outbox.path())?;
        writer.busy_timeout(Duration::from_secs(5))?;
        writer.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(writer)
    }

    async fn step(&self, writer: &mut Connection, step: Step) -> Result<(), Trouble> {
        Ok(writer.execute_batch(step.sql())?)
    }

    async fn enqueue(
        &self,
        writer: &mut Connection,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        // The transaction was begun in SQL; a savepoint in it is what the driver has a type for.
        let refused = |error| EnqueueFault::database("make a savepoint", error);
        let mut savepoint = writer.savepoint().map_err(refused)?;
        let ids = Enqueue::enqueue(&SqliteOutbox, &mut savepoint, events).await?;
        savepoint.commit().map_err(refused)?;
        Ok(ids)
    }

    fn reach(&self) -> Reach {
        Reach { rewinds: true, audits: true }
    }

    async fn rewind(&self, outbox: &File) -> Result<(), Trouble> {
        let restored = Connection::open(outbox.path())?;
        restored.busy_timeout(Duration::from_secs(5))?;
        Ok(restored.execute_batch("UPDATE eventferry_lane SET position = 0")?)
    }

    async fn audit(&self, outbox: &File) -> Result<Vec<Audited>, Trouble> {
        let reader = Connection::open(outbox.path())?;
        let mut lines =
            reader.prepare("SELECT what, message_id, who, why FROM eventferry_audit ORDER BY id")?;
        let read = lines.query_map([], |line| {
            let message_id = line.get::<_, Option<[u8; 16]>>(1)?.map(MessageId);
            Ok(Audited { what: line.get(0)?, message_id, who: line.get(2)?, why: line.get(3)? })
        })?;
        Ok(read.collect::<Result<_, _>>()?)
    }

    fn block_on<F: Future>(&self, work: F) -> F::Output {
        runtime().block_on(work)
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn main() -> ExitCode {
    eventferry_conformance::main(Sqlite)
}
