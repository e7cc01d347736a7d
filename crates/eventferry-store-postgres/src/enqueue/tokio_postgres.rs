//! Transactions of tokio-postgres, and of what derefs to them: deadpool-postgres, bb8-postgres.

use eventferry_core::enqueue::{into_events, only_id};
use eventferry_core::{Enqueue, EnqueueFault, Event, Intercepted, Interceptor, IntoEvent, MessageId};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Statement, Transaction};
use uuid::Uuid;

use super::plan::refused_by_database;
use super::{Arguments, Emit, InsertPlan, PostgresOutbox, Way};

impl Enqueue<Transaction<'_>> for PostgresOutbox {
    async fn enqueue(
        &self,
        transaction: &mut Transaction<'_>,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(transaction.client(), None, Way::Table, events).await
    }
}

/// For a transaction that was begun by hand. Without one, the call is a transaction of its own.
impl Enqueue<Client> for PostgresOutbox {
    async fn enqueue(&self, client: &mut Client, events: &[Event]) -> Result<Vec<MessageId>, EnqueueFault> {
        append(client, None, Way::Table, events).await
    }
}

impl Emit<Transaction<'_>> for PostgresOutbox {
    async fn emit(
        &self,
        transaction: &mut Transaction<'_>,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(transaction.client(), None, Way::Log, events).await
    }
}

/// For a transaction that was begun by hand. Without one, the call is a transaction of its own.
impl Emit<Client> for PostgresOutbox {
    async fn emit(&self, client: &mut Client, events: &[Event]) -> Result<Vec<MessageId>, EnqueueFault> {
        append(client, None, Way::Log, events).await
    }
}

/// An outbox on one connection of tokio-postgres, on which its statement for one event is kept prepared.
///
/// It saves the server the planning, about a tenth of a millisecond an event. Not for connections that lead through a
/// pooler which lends sessions out by transaction: there the statement is on somebody else's session.
///
/// ```no_run
/// # async fn place(client: &mut tokio_postgres::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use eventferry_core::Event;
/// use eventferry_store_postgres::PostgresOutbox;
///
/// let outbox = PostgresOutbox::new().prepare(client).await?; // once a connection
/// let mut tx = client.transaction().await?;
/// outbox.enqueue(&mut tx, Event::new("orders.created", ("order", 42))).await?;
/// tx.commit().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PreparedOutbox {
    one: Statement,
}

impl PostgresOutbox {
    /// The outbox on this connection, with its statement prepared there.
    ///
    /// # Errors
    /// `Database`: the connection is broken, or there is no outbox in its database.
    pub async fn prepare(&self, client: &Client) -> Result<PreparedOutbox, EnqueueFault> {
        let prepared = client.prepare_typed(Way::Table.statement_of_one(), &ONE).await;
        let one = prepared.map_err(refused)?;
        Ok(PreparedOutbox { one })
    }
}

impl PreparedOutbox {
    /// The outbox, with `interceptor` before it.
    pub fn with<I: Interceptor>(self, interceptor: I) -> Intercepted<Self, I> {
        Intercepted::new(self, interceptor)
    }

    /// Appends one event to `transaction`, which is on the connection that this was prepared on, and returns its
    /// message id. See [`Enqueue::enqueue`].
    ///
    /// # Errors
    /// As [`Enqueue::enqueue`]; `Database` also on another connection.
    pub async fn enqueue(
        &self,
        transaction: &mut Transaction<'_>,
        event: impl IntoEvent,
    ) -> Result<MessageId, EnqueueFault> {
        let event = event.into_event()?;
        let ids = Enqueue::enqueue(self, transaction, std::slice::from_ref(&event)).await?;
        only_id(&ids)
    }

    /// Appends events to `transaction`, in their order, by the statement for many, which is not kept prepared. See
    /// [`PostgresOutbox::enqueue_many`].
    ///
    /// # Errors
    /// As [`PostgresOutbox::enqueue_many`].
    pub async fn enqueue_many(
        &self,
        transaction: &mut Transaction<'_>,
        events: impl IntoIterator<Item = impl IntoEvent>,
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        Enqueue::enqueue(self, transaction, &into_events(events)?).await
    }
}

/// Several events go by the statement for many, which is not kept.
impl Enqueue<Transaction<'_>> for PreparedOutbox {
    async fn enqueue(
        &self,
        transaction: &mut Transaction<'_>,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(transaction.client(), Some(&self.one), Way::Table, events).await
    }
}

/// What the statement for one event takes.
const ONE: [Type; 9] = [
    Type::UUID,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::BYTEA,
    Type::BYTEA,
    Type::TEXT,
    Type::TEXT,
    Type::INT4,
];

/// One round trip and, unless it was given, no named statement, so that it works through a pooler that lends sessions
/// out by transaction.
async fn append(
    client: &Client,
    prepared: Option<&Statement>,
    way: Way,
    events: &[Event],
) -> Result<Vec<MessageId>, EnqueueFault> {
    let plan = InsertPlan::new(way, events)?;
    if plan.is_empty() {
        return Ok(Vec::new());
    }
    let appended = match plan.one() {
        Some((statement, one)) => append_one(client, prepared, statement, &one).await,
        None => append_many(client, &plan).await,
    };
    appended.map_err(refused)?;
    Ok(plan.ids())
}

async fn append_one(
    client: &Client,
    prepared: Option<&Statement>,
    statement: &str,
    one: &Arguments<'_>,
) -> Result<(), Error> {
    let id = Uuid::from_bytes(one.message_id.0);
    let params: [&(dyn ToSql + Sync); 9] = [
        &id,
        &one.topic,
        &one.aggregate_type,
        &one.aggregate_id,
        &one.key,
        &one.payload,
        &one.content_type,
        &one.headers,
        &one.partition,
    ];
    match prepared {
        Some(prepared) => client.execute(prepared, &params).await.map(drop),
        None => {
            let params: Vec<_> = params.into_iter().zip(ONE).collect();
            client.query_typed(statement, &params).await.map(drop)
        }
    }
}

async fn append_many(client: &Client, plan: &InsertPlan<'_>) -> Result<(), Error> {
    let columns = plan.columns();
    let ids: Vec<_> = columns.message_ids.iter().map(|id| Uuid::from_bytes(id.0)).collect();
    let params: [(&(dyn ToSql + Sync), Type); 9] = [
        (&ids, Type::UUID_ARRAY),
        (&columns.topics, Type::TEXT_ARRAY),
        (&columns.aggregate_types, Type::TEXT_ARRAY),
        (&columns.aggregate_ids, Type::TEXT_ARRAY),
        (&columns.keys, Type::BYTEA_ARRAY),
        (&columns.payloads, Type::BYTEA_ARRAY),
        (&columns.content_types, Type::TEXT_ARRAY),
        (&columns.headers, Type::TEXT_ARRAY),
        (&columns.partitions, Type::INT4_ARRAY),
    ];
    client.query_typed(plan.statement(), &params).await.map(drop)
}

fn refused(error: Error) -> EnqueueFault {
    refused_by_database(error.as_db_error().map(|said| said.message().to_owned()), error)
}
