//! The application's side: one insert plan, and an adapter for each driver's transaction.
//!
//! | driver | feature | call |
//! |---|---|---|
//! | tokio-postgres | none | `outbox.enqueue(&mut tx, event).await?` |
//! | what derefs to it, such as deadpool-postgres | none | `outbox.enqueue(&mut *tx, event).await?` |
//! | sqlx 0.9 | `sqlx` | `outbox.enqueue(&mut tx, event).await?` |
//! | sqlx 0.8 | `sqlx-08` | `outbox.enqueue(&mut tx, event).await?` |
//! | diesel | `diesel` | `outbox.append(connection, event)?` |
//! | diesel-async | `diesel-async` | `outbox.enqueue(connection, event).await?` |
//! | sea-orm 2 | `sea-orm` | `outbox.enqueue(&mut tx, event).await?` |
//!
//! For another driver, [`InsertPlan`] has the statement and its arguments.

mod plan;
mod tokio_postgres;
#[cfg(any(feature = "sqlx", feature = "sqlx-08"))]
mod sqlx;
#[cfg(any(feature = "diesel", feature = "diesel-async"))]
mod diesel;
#[cfg(feature = "diesel-async")]
mod diesel_async;
#[cfg(feature = "sea-orm")]
mod sea_orm;

use std::future::Future;

use eventferry_core::enqueue::{into_events, only_id};
use eventferry_core::{Append, Enqueue, EnqueueFault, Event, Intercepted, Interceptor, IntoEvent, MessageId};

pub use self::tokio_postgres::PreparedOutbox;
pub(crate) use plan::byte_array_text;
pub use plan::{Arguments, CALL_BYTES_MAX, Columns, InsertPlan, Way, refused_by_database};

/// Appends events to an application's own transaction.
///
/// ```no_run
/// # async fn place(client: &mut tokio_postgres::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use eventferry_core::Event;
/// use eventferry_store_postgres::PostgresOutbox;
///
/// let outbox = PostgresOutbox::new();
/// let mut tx = client.transaction().await?;
/// tx.execute("INSERT INTO orders (id) VALUES (42)", &[]).await?;
/// let event = Event::new("orders.created", ("order", 42)).payload(br#"{"total": 7}"#.to_vec(), "application/json");
/// outbox.enqueue(&mut tx, event).await?;
/// tx.commit().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct PostgresOutbox {}

/// A transaction into which events can be emitted: messages of the write-ahead log, and rows of no table.
///
/// They are carried by relays that read the log's tail, and kept as long as their replication slot lives. A savepoint
/// that is rolled back takes its messages along.
pub trait Emit<Tx: ?Sized> {
    /// Emits `events` in their order, in one round trip, and returns their message ids.
    ///
    /// # Errors
    /// As [`Enqueue::enqueue`]; and from the database if there is no replication slot of ours, for the events would be
    /// lost: run `eventferry init --tail`.
    fn emit(
        &self,
        transaction: &mut Tx,
        events: &[Event],
    ) -> impl Future<Output = Result<Vec<MessageId>, EnqueueFault>> + Send;
}

impl<Tx: ?Sized + Send, O: Emit<Tx> + Sync, I: Interceptor> Emit<Tx> for Intercepted<O, I> {
    fn emit(
        &self,
        transaction: &mut Tx,
        events: &[Event],
    ) -> impl Future<Output = Result<Vec<MessageId>, EnqueueFault>> + Send {
        let seen = self.events(events);
        async move { self.outbox().emit(transaction, &seen?).await }
    }
}

impl PostgresOutbox {
    /// An outbox in the schema `eventferry` of whatever database a transaction is on.
    pub fn new() -> Self {
        Self {}
    }

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
        only_id(&ids)
    }

    /// Appends events to `transaction`, in their order, by one statement: a slice of [`Event`]s, which are copied, or
    /// values that become events. See [`Enqueue::enqueue`] and [`CALL_BYTES_MAX`].
    ///
    /// # Errors
    /// As [`Enqueue::enqueue`]; `Refused` also for more than [`CALL_BYTES_MAX`].
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

    /// Appends one event by a driver that does not wait, and returns its message id. See [`Append::append`].
    ///
    /// # Errors
    /// As [`Append::append`].
    pub fn append<Tx: ?Sized>(
        &self,
        transaction: &mut Tx,
        event: impl IntoEvent,
    ) -> Result<MessageId, EnqueueFault>
    where
        Self: Append<Tx>,
    {
        let event = event.into_event()?;
        let ids = Append::append(self, transaction, std::slice::from_ref(&event))?;
        only_id(&ids)
    }

    /// Appends events by a driver that does not wait, in their order and by one statement. See [`Append::append`] and
    /// [`CALL_BYTES_MAX`].
    ///
    /// # Errors
    /// As [`Append::append`]; `Refused` also for more than [`CALL_BYTES_MAX`].
    pub fn append_many<Tx: ?Sized>(
        &self,
        transaction: &mut Tx,
        events: impl IntoIterator<Item = impl IntoEvent>,
    ) -> Result<Vec<MessageId>, EnqueueFault>
    where
        Self: Append<Tx>,
    {
        Append::append(self, transaction, &into_events(events)?)
    }
}

impl PostgresOutbox {
    /// Emits one event in `transaction` and returns its message id. See [`Emit::emit`].
    ///
    /// # Errors
    /// As [`Emit::emit`].
    pub async fn emit<Tx: ?Sized>(
        &self,
        transaction: &mut Tx,
        event: impl IntoEvent,
    ) -> Result<MessageId, EnqueueFault>
    where
        Self: Emit<Tx>,
    {
        let event = event.into_event()?;
        let ids = Emit::emit(self, transaction, std::slice::from_ref(&event)).await?;
        only_id(&ids)
    }

    /// Emits events in `transaction`, in their order, by one statement. See [`Emit::emit`] and [`CALL_BYTES_MAX`].
    ///
    /// # Errors
    /// As [`Emit::emit`]; `Refused` also for more than [`CALL_BYTES_MAX`].
    pub async fn emit_many<Tx: ?Sized>(
        &self,
        transaction: &mut Tx,
        events: impl IntoIterator<Item = impl IntoEvent>,
    ) -> Result<Vec<MessageId>, EnqueueFault>
    where
        Self: Emit<Tx>,
    {
        Emit::emit(self, transaction, &into_events(events)?).await
    }
}
