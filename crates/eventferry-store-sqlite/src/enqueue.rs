//! The application's side: one insert plan, and an adapter for each driver's transaction.
//!
//! | driver | feature | call |
//! |---|---|---|
//! | rusqlite | none | `outbox.append(&tx, event)?` |
//! | sqlx 0.9 | `sqlx` | `outbox.enqueue(&mut tx, event).await?` |
//! | sea-orm 2 | `sea-orm` | `outbox.enqueue(&mut tx, event).await?` |

mod plan;
mod rusqlite;
#[cfg(feature = "sqlx")]
mod sqlx;
#[cfg(feature = "sea-orm")]
mod sea_orm;

use eventferry_core::enqueue::{into_events, only_id};
use eventferry_core::{Enqueue, EnqueueFault, Intercepted, Interceptor, IntoEvent, MessageId};

pub use rusqlite::Within;

/// Appends events in a transaction or a savepoint of `rusqlite`, and in transactions of sqlx and sea-orm.
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
/// SqliteOutbox.append(&transaction, event)?;
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
/// in `rusqlite` and sqlx is 5 s unless set otherwise, and in many other drivers 0.
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

    /// Appends one event in a transaction or a savepoint of rusqlite, without waiting, and returns its message id. It
    /// exists if the savepoint is released and the transaction around it commits.
    ///
    /// # Errors
    /// [`Refused`](eventferry_core::EnqueueFaultKind::Refused): the event breaks a limit, or the transaction has ended;
    /// nothing was added, and the transaction can go on.
    /// [`Database`](eventferry_core::EnqueueFaultKind::Database): SQLite refused, as the source says; nothing of this
    /// call was added, but roll back all the same, for some errors of SQLite end the transaction.
    pub fn append(
        &self,
        transaction: &(impl Within + ?Sized),
        event: impl IntoEvent,
    ) -> Result<MessageId, EnqueueFault> {
        let event = event.into_event()?;
        let ids = rusqlite::append(transaction, std::slice::from_ref(&event))?;
        only_id(&ids)
    }

    /// Appends events in order, as [`SqliteOutbox::append`] does: a slice of [`Event`](eventferry_core::Event)s, which
    /// are copied, or values that become events. All or none of them; no events do nothing. Returns their message ids,
    /// in the same order.
    ///
    /// # Errors
    /// Those of [`SqliteOutbox::append`].
    pub fn append_many(
        &self,
        transaction: &(impl Within + ?Sized),
        events: impl IntoIterator<Item = impl IntoEvent>,
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        rusqlite::append(transaction, &into_events(events)?)
    }

    /// Appends one event to `transaction` and returns its message id. See [`Enqueue::enqueue`].
    ///
    /// # Errors
    /// Those of [`SqliteOutbox::append`].
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
        only_id(&ids)
    }

    /// Appends events to `transaction`, in their order; all or none. By sqlx and sea-orm a thousand of them in a
    /// statement. See [`Enqueue::enqueue`].
    ///
    /// # Errors
    /// Those of [`SqliteOutbox::append`].
    pub async fn enqueue_many<Tx: ?Sized>(
        &self,
        transaction: &mut Tx,
        events: impl IntoIterator<Item = impl IntoEvent>,
    ) -> Result<Vec<MessageId>, EnqueueFault>
    where
        Self: Enqueue<Tx>,
    {
        Enqueue::enqueue(self, transaction, &into_events(events)?).await
    }
}

/// SQLite ends a whole transaction by itself at some errors: `ON CONFLICT ROLLBACK`, a full disk.
fn ended() -> EnqueueFault {
    EnqueueFault::refused(
        "the transaction has ended, so the events would be committed apart from the data they speak of; begin another",
    )
}
