//! Transactions and savepoints of rusqlite.

use std::future::{Future, ready};

use eventferry_core::{Append, Enqueue, EnqueueFault, Event, MessageId};
use rusqlite::{Connection, Savepoint, Transaction, params};

use super::plan::{InsertPlan, statement};
use super::{SqliteOutbox, ended};

/// A transaction or a savepoint of rusqlite: what [`SqliteOutbox::append`] takes. Sealed, because a connection outside
/// a transaction would commit each event by itself.
pub trait Within: sealed::Within {}

impl Within for Transaction<'_> {}
impl Within for Savepoint<'_> {}

/// For an outbox with an interceptor, where only a reference is at hand: `outbox.append(&mut &tx, event)`.
impl<T: Within> Within for &T {}

mod sealed {
    use rusqlite::{Connection, Savepoint, Transaction};

    pub trait Within {
        fn connection(&self) -> &Connection;
    }

    impl Within for Transaction<'_> {
        fn connection(&self) -> &Connection {
            self
        }
    }

    impl Within for Savepoint<'_> {
        fn connection(&self) -> &Connection {
            self
        }
    }

    impl<T: Within> Within for &T {
        fn connection(&self) -> &Connection {
            (**self).connection()
        }
    }
}

/// Done before the future is first polled, because the transaction cannot be carried into it: see [`SqliteOutbox`].
impl Enqueue<Transaction<'_>> for SqliteOutbox {
    fn enqueue(
        &self,
        transaction: &mut Transaction<'_>,
        events: &[Event],
    ) -> impl Future<Output = Result<Vec<MessageId>, EnqueueFault>> + Send {
        ready(append(transaction, events))
    }
}

/// Done before the future is first polled, because the savepoint cannot be carried into it: see [`SqliteOutbox`].
impl Enqueue<Savepoint<'_>> for SqliteOutbox {
    fn enqueue(
        &self,
        savepoint: &mut Savepoint<'_>,
        events: &[Event],
    ) -> impl Future<Output = Result<Vec<MessageId>, EnqueueFault>> + Send {
        ready(append(savepoint, events))
    }
}

impl<T: Within> Append<T> for SqliteOutbox {
    fn append(&self, transaction: &mut T, events: &[Event]) -> Result<Vec<MessageId>, EnqueueFault> {
        append(transaction, events)
    }
}

pub(super) fn append(
    transaction: &(impl Within + ?Sized),
    events: &[Event],
) -> Result<Vec<MessageId>, EnqueueFault> {
    let connection = transaction.connection();
    let plan = InsertPlan::new(events)?;
    if events.is_empty() {
        return Ok(Vec::new());
    }
    if connection.is_autocommit() {
        return Err(ended());
    }
    within_savepoint(connection, || insert(connection, &plan)).map_err(|error| plan.refused(error))?;
    Ok(plan.ids())
}

/// All or nothing: SQLite undoes the statement that failed, not those before it.
fn within_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce() -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.prepare_cached("SAVEPOINT eventferry")?.execute([])?;
    let result = work();
    if result.is_err() {
        // Fails where SQLite has ended the whole transaction; then there is nothing left to undo.
        drop(connection.execute_batch("ROLLBACK TO eventferry; RELEASE eventferry"));
        return result;
    }
    connection.prepare_cached("RELEASE eventferry")?.execute([])?;
    result
}

/// A statement for each event, kept prepared: within the process, another one costs nothing.
fn insert(connection: &Connection, plan: &InsertPlan<'_>) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(statement())?;
    for row in &plan.rows {
        let event = row.event;
        statement.execute(params![
            row.message_id.0,
            event.topic,
            event.aggregate.kind,
            event.aggregate.id,
            event.key,
            event.content_type,
            row.headers,
            event.partition,
            row.enqueued_at_micros,
            event.payload,
        ])?;
    }
    Ok(())
}
