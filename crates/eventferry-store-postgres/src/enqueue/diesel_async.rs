//! diesel-async's connections on PostgreSQL.

use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use eventferry_core::{Enqueue, EnqueueFault, Event, MessageId};

use super::diesel::{Insert, refused};
use super::{Emit, InsertPlan, PostgresOutbox, Way};

/// Inside `transaction`, or where a transaction was begun by hand; without one, the call is a transaction of its own.
/// Pooled connections deref to it: `outbox.enqueue(&mut **connection, event)`.
impl Enqueue<AsyncPgConnection> for PostgresOutbox {
    async fn enqueue(
        &self,
        connection: &mut AsyncPgConnection,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(connection, Way::Table, events).await
    }
}

/// As for [`Enqueue`].
impl Emit<AsyncPgConnection> for PostgresOutbox {
    async fn emit(
        &self,
        connection: &mut AsyncPgConnection,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(connection, Way::Log, events).await
    }
}

async fn append(
    connection: &mut AsyncPgConnection,
    way: Way,
    events: &[Event],
) -> Result<Vec<MessageId>, EnqueueFault> {
    let plan = InsertPlan::new(way, events)?;
    if plan.is_empty() {
        return Ok(Vec::new());
    }
    Insert::new(&plan).execute(connection).await.map_err(refused)?;
    Ok(plan.ids())
}
