//! The application's side: one insert plan, and an adapter for each driver's transaction.

use std::future::Future;

use eventferry_core::enqueue::check;
use eventferry_core::{Enqueue, EnqueueFault, Event, Intercepted, Interceptor, IntoEvent, MessageId};
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::PAYLOAD_BYTES_MAX;

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

/// The statement of `enqueue.sql`.
pub(crate) const STATEMENT: &str = include_str!("../sql/enqueue.sql");

/// The statement of `emit.sql`; its parameters are the same.
pub(crate) const EMIT: &str = include_str!("../sql/emit.sql");

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

/// The arguments of [`STATEMENT`], column by column, so that any number of events takes one round trip.
#[derive(Default)]
pub(crate) struct Columns {
    pub(crate) message_ids: Vec<Uuid>,
    pub(crate) topics: Vec<String>,
    pub(crate) aggregate_types: Vec<String>,
    pub(crate) aggregate_ids: Vec<String>,
    pub(crate) keys: Vec<Option<Vec<u8>>>,
    pub(crate) payloads: Vec<Option<Vec<u8>>>,
    pub(crate) content_types: Vec<Option<String>>,
    pub(crate) headers: Vec<Option<String>>,
    pub(crate) partitions: Vec<Option<i32>>,
}

impl Columns {
    pub(crate) fn of(events: &[Event]) -> Result<Self, EnqueueFault> {
        let mut columns = Self::default();
        for event in events {
            check(event, PAYLOAD_BYTES_MAX)?;
            let id = event.message_id.map_or_else(Uuid::new_v4, |id| Uuid::from_bytes(id.0));
            columns.message_ids.push(id);
            columns.topics.push(event.topic.clone());
            columns.aggregate_types.push(event.aggregate.kind.clone());
            columns.aggregate_ids.push(event.aggregate.id.clone());
            columns.keys.push(event.key.clone());
            columns.payloads.push(event.payload.clone());
            columns.content_types.push(event.content_type.clone());
            columns.headers.push(headers_text(event));
            columns.partitions.push(event.partition);
        }
        Ok(columns)
    }

    pub(crate) fn ids(&self) -> Vec<MessageId> {
        self.message_ids.iter().map(|id| MessageId(id.into_bytes())).collect()
    }
}

/// An event's headers as a `bytea[]` in its text form: an array of arrays cannot be sent.
fn headers_text(event: &Event) -> Option<String> {
    byte_array_text(event.headers.iter().flat_map(|header| [header.name.as_bytes(), &header.value]))
}

/// A `bytea[]` in its text form; `None` if it is empty.
pub(crate) fn byte_array_text<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let mut text = String::from("{");
    for part in parts {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str("\"\\\\x");
        for byte in part {
            text.extend(
                [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')),
            );
        }
        text.push('"');
    }
    text.push('}');
    (text.len() > 2).then_some(text)
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
        ids.first().copied().ok_or_else(|| EnqueueFault::refused("the outbox took no event"))
    }

    /// Appends events to `transaction`, in their order and in one round trip. See [`Enqueue::enqueue`].
    ///
    /// # Errors
    /// As [`Enqueue::enqueue`].
    pub async fn enqueue_many<Tx: ?Sized>(
        &self,
        transaction: &mut Tx,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault>
    where
        Self: Enqueue<Tx>,
    {
        Enqueue::enqueue(self, transaction, events).await
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
        ids.first().copied().ok_or_else(|| EnqueueFault::refused("the outbox took no event"))
    }

    /// Emits events in `transaction`, in their order and in one round trip. See [`Emit::emit`].
    ///
    /// # Errors
    /// As [`Emit::emit`].
    pub async fn emit_many<Tx: ?Sized>(
        &self,
        transaction: &mut Tx,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault>
    where
        Self: Emit<Tx>,
    {
        Emit::emit(self, transaction, events).await
    }
}

impl Emit<tokio_postgres::Transaction<'_>> for PostgresOutbox {
    async fn emit(
        &self,
        transaction: &mut tokio_postgres::Transaction<'_>,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(transaction.client(), EMIT, events).await
    }
}

/// For a transaction that was begun by hand. Without one, the call is a transaction of its own.
impl Emit<tokio_postgres::Client> for PostgresOutbox {
    async fn emit(
        &self,
        client: &mut tokio_postgres::Client,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(client, EMIT, events).await
    }
}

impl Enqueue<tokio_postgres::Transaction<'_>> for PostgresOutbox {
    async fn enqueue(
        &self,
        transaction: &mut tokio_postgres::Transaction<'_>,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(transaction.client(), STATEMENT, events).await
    }
}

/// For a transaction that was begun by hand. Without one, the call is a transaction of its own.
impl Enqueue<tokio_postgres::Client> for PostgresOutbox {
    async fn enqueue(
        &self,
        client: &mut tokio_postgres::Client,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(client, STATEMENT, events).await
    }
}

async fn append(
    client: &tokio_postgres::Client,
    statement: &str,
    events: &[Event],
) -> Result<Vec<MessageId>, EnqueueFault> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let columns = Columns::of(events)?;
    let params: [(&(dyn ToSql + Sync), Type); 9] = [
        (&columns.message_ids, Type::UUID_ARRAY),
        (&columns.topics, Type::TEXT_ARRAY),
        (&columns.aggregate_types, Type::TEXT_ARRAY),
        (&columns.aggregate_ids, Type::TEXT_ARRAY),
        (&columns.keys, Type::BYTEA_ARRAY),
        (&columns.payloads, Type::BYTEA_ARRAY),
        (&columns.content_types, Type::TEXT_ARRAY),
        (&columns.headers, Type::TEXT_ARRAY),
        (&columns.partitions, Type::INT4_ARRAY),
    ];
    let appended = client.query_typed(statement, &params).await;
    appended
        .map_err(|error| refused_by_database(error.as_db_error().map(|e| e.message().to_owned()), error))?;
    Ok(columns.ids())
}

fn refused_by_database(
    message: Option<String>,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> EnqueueFault {
    let message = message.unwrap_or_else(|| "no answer".into());
    EnqueueFault::database(format!("append to eventferry.outbox: {message}"), error)
}

#[cfg(feature = "sqlx")]
mod sqlx_adapter {
    use super::{
        Columns, EMIT, Emit, Enqueue, EnqueueFault, Event, MessageId, PostgresOutbox, STATEMENT,
        refused_by_database,
    };

    impl Enqueue<sqlx::Transaction<'_, sqlx::Postgres>> for PostgresOutbox {
        async fn enqueue(
            &self,
            transaction: &mut sqlx::Transaction<'_, sqlx::Postgres>,
            events: &[Event],
        ) -> Result<Vec<MessageId>, EnqueueFault> {
            Enqueue::<sqlx::PgConnection>::enqueue(self, transaction, events).await
        }
    }

    impl Enqueue<sqlx::PgConnection> for PostgresOutbox {
        async fn enqueue(
            &self,
            connection: &mut sqlx::PgConnection,
            events: &[Event],
        ) -> Result<Vec<MessageId>, EnqueueFault> {
            append(connection, STATEMENT, events).await
        }
    }

    impl Emit<sqlx::Transaction<'_, sqlx::Postgres>> for PostgresOutbox {
        async fn emit(
            &self,
            transaction: &mut sqlx::Transaction<'_, sqlx::Postgres>,
            events: &[Event],
        ) -> Result<Vec<MessageId>, EnqueueFault> {
            append(transaction, EMIT, events).await
        }
    }

    impl Emit<sqlx::PgConnection> for PostgresOutbox {
        async fn emit(
            &self,
            connection: &mut sqlx::PgConnection,
            events: &[Event],
        ) -> Result<Vec<MessageId>, EnqueueFault> {
            append(connection, EMIT, events).await
        }
    }

    async fn append(
        connection: &mut sqlx::PgConnection,
        statement: &'static str,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let columns = Columns::of(events)?;
        let ids = columns.ids();
        let query = sqlx::query(statement)
            .persistent(false)
            .bind(columns.message_ids.iter().map(|id| id.to_string()).collect::<Vec<_>>())
            .bind(columns.topics)
            .bind(columns.aggregate_types)
            .bind(columns.aggregate_ids)
            .bind(columns.keys)
            .bind(columns.payloads)
            .bind(columns.content_types)
            .bind(columns.headers)
            .bind(columns.partitions);
        let appended = query.execute(connection).await;
        appended.map_err(|error| {
            refused_by_database(error.as_database_error().map(|e| e.message().to_owned()), error)
        })?;
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_become_an_array_of_names_and_values() {
        let event = Event::new("t", ("order", 1)).header("a", [0, 255]).header("", "");
        assert_eq!(headers_text(&event).unwrap(), r#"{"\\x61","\\x00ff","\\x","\\x"}"#);
        assert_eq!(headers_text(&Event::new("t", ("order", 1))), None);
    }
}
