//! The application's side: appending events to its own transaction.

use std::future::{Future, ready};

use eventferry_core::{Enqueue, EnqueueFault, Event, Intercepted, Interceptor, IntoEvent, MessageId};
use rusqlite::{Connection, Savepoint, Transaction, params};
use uuid::Uuid;

use crate::PAYLOAD_BYTES_MAX;
use crate::config::host_clock;
use eventferry_core::packed::packed_headers;

/// Appends events in a transaction or a savepoint of `rusqlite`.
///
/// ```
/// use eventferry_core::Event;
/// use eventferry_store_sqlite::SqliteOutbox;
/// use rusqlite::TransactionBehavior::Immediate;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut connection = rusqlite::Connection::open_in_memory()?;
/// # let schema = eventferry_store_sqlite::schema_sql();
/// # connection.execute_batch(&schema)?;
/// # connection.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER)")?;
/// let transaction = connection.transaction_with_behavior(Immediate)?;
/// transaction.execute("INSERT INTO orders (id, total) VALUES (42, 7)", [])?;
/// let event = Event::new("orders.created", ("order", 42)).payload(r#"{"total": 7}"#, "application/json");
/// SqliteOutbox.append(&transaction, &[event])?;
/// transaction.commit()?;
/// # Ok(())
/// # }
/// ```
///
/// # What the application must see to
///
/// SQLite lets one transaction write at a time, and a relay writes too, for a few milliseconds at most. So a
/// transaction that is going to write begins with `BEGIN IMMEDIATE`, as above: one that begins by reading is refused
/// with `SQLITE_BUSY`, without waiting, if anybody has committed since. And the connection has a busy timeout, which
/// in `rusqlite` is 5 s unless set otherwise, and in many other drivers 0.
///
/// The application's SQLite is 3.38 or newer, and its `synchronous` is `NORMAL` or more: with `OFF`, SQLite itself may
/// lose committed data or break the file at a power failure.
///
/// There is no implementation for a bare `rusqlite::Connection`: outside a transaction each event would be committed by
/// itself, apart from the data it speaks of.
///
/// `rusqlite`'s transactions are not `Sync`, so a future that keeps one across an `.await` does not move between
/// threads: append and commit in one go (`spawn_blocking`), by [`SqliteOutbox::append`], which does not wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SqliteOutbox;

impl SqliteOutbox {
    /// The outbox, with `interceptor` before it.
    pub fn with<I: Interceptor>(self, interceptor: I) -> Intercepted<Self, I> {
        Intercepted::new(self, interceptor)
    }

    /// Appends one event to `transaction` and returns its message id. See [`Enqueue::enqueue`].
    ///
    /// # Errors
    /// As [`Enqueue::enqueue`].
    pub async fn enqueue<Tx: ?Sized>(
        &self,
        transaction: &mut Tx,
        event: impl IntoEvent,
    ) -> Result<MessageId, EnqueueFault>
    where
        Self: Enqueue<Tx>,
    {
        let event = event.into_event()?;
        let ids = Enqueue::enqueue(self, transaction, std::slice::from_ref(&event)).await?;
        ids.first().copied().ok_or_else(|| EnqueueFault::refused("the outbox took no event"))
    }

    /// Appends `events` in order; an empty slice does nothing. Returns their message ids, in the same order.
    ///
    /// # Errors
    /// [`Refused`](eventferry_core::EnqueueFaultKind::Refused): an event breaks a limit, or the transaction has ended;
    /// nothing was added, and the transaction can go on.
    /// [`Database`](eventferry_core::EnqueueFaultKind::Database): SQLite refused, as the source says; nothing of this
    /// call was added, but roll back all the same, for some errors of SQLite end the transaction.
    pub fn append(
        &self,
        transaction: &Transaction<'_>,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(transaction, events)
    }

    /// Appends `events` inside a savepoint, as [`SqliteOutbox::append`] does: they exist if it is released and the
    /// transaction around it commits.
    ///
    /// # Errors
    /// Those of [`SqliteOutbox::append`].
    pub fn append_in_savepoint(
        &self,
        savepoint: &Savepoint<'_>,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(savepoint, events)
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

fn append(connection: &Connection, events: &[Event]) -> Result<Vec<MessageId>, EnqueueFault> {
    for event in events {
        eventferry_core::enqueue::check(event, PAYLOAD_BYTES_MAX)?;
    }
    if events.is_empty() {
        return Ok(Vec::new());
    }
    if connection.is_autocommit() {
        return Err(EnqueueFault::refused(
            "the transaction has ended, so the events would be committed apart from the data they speak of; \
             begin another",
        ));
    }
    within_savepoint(connection, || insert(connection, events)).map_err(|error| {
        let missing = error.to_string().contains("no such table");
        let remedy = if missing { "; run `eventferry init` on this database" } else { "" };
        EnqueueFault::database(format!("append {} events: {error}{remedy}", events.len()), error)
    })
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

fn insert(connection: &Connection, events: &[Event]) -> rusqlite::Result<Vec<MessageId>> {
    let mut statement = connection.prepare_cached(include_str!("../sql/enqueue.sql"))?;
    let enqueued_at = host_clock();
    let mut ids = Vec::with_capacity(events.len());
    for event in events {
        let id = event.message_id.unwrap_or_else(|| MessageId(Uuid::new_v4().into_bytes()));
        statement.execute(params![
            id.0,
            event.topic,
            event.aggregate.kind,
            event.aggregate.id,
            event.key,
            event.content_type,
            packed_headers(&event.headers),
            event.partition,
            enqueued_at.0,
            event.payload,
        ])?;
        ids.push(id);
    }
    Ok(ids)
}
