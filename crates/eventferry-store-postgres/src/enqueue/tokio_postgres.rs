//! Transactions of tokio-postgres, and of what derefs to them: deadpool-postgres, bb8-postgres.

use eventferry_core::{Enqueue, EnqueueFault, Event, MessageId};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Transaction};
use uuid::Uuid;

use super::plan::refused_by_database;
use super::{Emit, InsertPlan, PostgresOutbox, Way};

impl Enqueue<Transaction<'_>> for PostgresOutbox {
    async fn enqueue(
        &self,
        transaction: &mut Transaction<'_>,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(transaction.client(), Way::Table, events).await
    }
}

/// For a transaction that was begun by hand. Without one, the call is a transaction of its own.
impl Enqueue<Client> for PostgresOutbox {
    async fn enqueue(&self, client: &mut Client, events: &[Event]) -> Result<Vec<MessageId>, EnqueueFault> {
        append(client, Way::Table, events).await
    }
}

impl Emit<Transaction<'_>> for PostgresOutbox {
    async fn emit(
        &self,
        transaction: &mut Transaction<'_>,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(transaction.client(), Way::Log, events).await
    }
}

/// For a transaction that was begun by hand. Without one, the call is a transaction of its own.
impl Emit<Client> for PostgresOutbox {
    async fn emit(&self, client: &mut Client, events: &[Event]) -> Result<Vec<MessageId>, EnqueueFault> {
        append(client, Way::Log, events).await
    }
}

/// One round trip and no named statement, so that it works through a pooler that lends sessions out by transaction.
async fn append(client: &Client, way: Way, events: &[Event]) -> Result<Vec<MessageId>, EnqueueFault> {
    let plan = InsertPlan::new(way, events)?;
    if plan.is_empty() {
        return Ok(Vec::new());
    }
    let appended = match plan.one() {
        Some((statement, one)) => {
            let id = Uuid::from_bytes(one.message_id.0);
            let params: [(&(dyn ToSql + Sync), Type); 9] = [
                (&id, Type::UUID),
                (&one.topic, Type::TEXT),
                (&one.aggregate_type, Type::TEXT),
                (&one.aggregate_id, Type::TEXT),
                (&one.key, Type::BYTEA),
                (&one.payload, Type::BYTEA),
                (&one.content_type, Type::TEXT),
                (&one.headers, Type::TEXT),
                (&one.partition, Type::INT4),
            ];
            client.query_typed(statement, &params).await
        }
        None => {
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
            client.query_typed(plan.statement(), &params).await
        }
    };
    appended
        .map_err(|error| refused_by_database(error.as_db_error().map(|e| e.message().to_owned()), error))?;
    Ok(plan.ids())
}
