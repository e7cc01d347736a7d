//! That there are new events: SQLite tells whether anybody committed, if it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use eventferry_core::StoreFault;
use eventferry_core::store::Doorbell;

use crate::config::SqliteConfig;
use crate::connection::{Connection, Keeper, Past};
use crate::fault::fault;
use crate::feed::last_id;

/// The doorbell: a thread that looks at `PRAGMA data_version`, which costs an application nothing.
#[derive(Debug)]
pub struct SqliteDoorbell {
    connection: Connection,
    seen: Seen,
}

/// How often it is looked: half of it is what an event waits on the average, and two hundred looks of some
/// microseconds a second are a thousandth of a processor.
const LOOK: Duration = Duration::from_millis(5);

/// The pause after a look that failed.
const FAILED: Duration = Duration::from_millis(100);

/// The last id that the feed knew of; an id above it is a new event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<AtomicI64>);

impl Seen {
    pub(crate) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, last_id: i64) {
        self.0.store(last_id, Ordering::Relaxed);
    }
}

impl SqliteDoorbell {
    pub(crate) fn new(config: SqliteConfig, seen: Seen) -> Self {
        Self { connection: Connection::new(config, "doorbell"), seen }
    }
}

/// Ends the thread's watching when its future is dropped.
struct Watching(Arc<AtomicBool>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Doorbell for SqliteDoorbell {
    async fn wait(&mut self) -> u32 {
        let watching = Watching(Arc::default());
        loop {
            let (over, seen) = (Arc::clone(&watching.0), self.seen.clone());
            // A fault is waited out: whatever ails the file, the other roles say so.
            if self.connection.ask(move |keeper| watch(keeper, &seen, &over)).await.is_ok() {
                return 1;
            }
        }
    }
}

/// Watches the file until there is a new event, or it is over.
fn watch(keeper: &mut Keeper, seen: &Seen, over: &AtomicBool) -> Result<(), StoreFault> {
    let mut version = None;
    while !over.load(Ordering::Relaxed) {
        match look(keeper, seen, &mut version) {
            Ok(true) => break,
            Ok(false) => thread::sleep(LOOK),
            Err(fault) => {
                thread::sleep(FAILED);
                return Err(fault);
            }
        }
    }
    Ok(())
}

/// Whether there is a new event; looked for only if somebody committed since `version`.
fn look(keeper: &mut Keeper, seen: &Seen, version: &mut Option<i64>) -> Result<bool, StoreFault> {
    const WHAT: &str = "look for commits";
    let (database, past) = keeper.database()?;
    if past == Past::Replaced {
        return Ok(true);
    }
    // Before the events: a commit in between is seen by both, or changes the number once more.
    let now: i64 = database
        .sqlite
        .prepare_cached(include_str!("../sql/data_version.sql"))
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(|error| fault(WHAT, error))?;
    if version.replace(now) == Some(now) {
        return Ok(false);
    }
    let transaction = database.snapshot(WHAT)?;
    let last_id = last_id(&transaction).map_err(|error| fault(WHAT, error))?;
    Ok(last_id != seen.get())
}
