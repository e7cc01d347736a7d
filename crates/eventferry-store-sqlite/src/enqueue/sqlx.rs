//! Transactions of sqlx 0.9 on SQLite.

use eventferry_core::{Enqueue, EnqueueFault, Event, MessageId};
use sqlx::{AssertSqlSafe, Connection as _, Sqlite, SqliteConnection, Transaction};

use super::SqliteOutbox;
use super::plan::{InsertPlan, ROWS_MAX, Row, statement_of};

/// Begin with `pool.begin_with("BEGIN IMMEDIATE")`: see [`SqliteOutbox`].
impl Enqueue<Transaction<'_, Sqlite>> for SqliteOutbox {
    async fn enqueue(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        let plan = InsertPlan::new(events)?;
        let inserted = match plan.rows.len() {
            0 => Ok(()),
            // SQLite undoes a statement that failed.
            1..=ROWS_MAX => insert(transaction, &plan.rows).await,
            _ => insert_all(transaction, &plan.rows).await,
        };
        inserted.map_err(|error| plan.refused(error))?;
        Ok(plan.ids())
    }
}

/// All or nothing: SQLite does not undo the statements before the one that failed.
async fn insert_all(transaction: &mut Transaction<'_, Sqlite>, rows: &[Row<'_>]) -> Result<(), sqlx::Error> {
    let mut savepoint = transaction.begin().await?;
    for rows in rows.chunks(ROWS_MAX) {
        insert(&mut savepoint, rows).await?;
    }
    savepoint.commit().await
}

async fn insert(connection: &mut SqliteConnection, rows: &[Row<'_>]) -> Result<(), sqlx::Error> {
    // One row's statement is kept prepared; of the others there are too many.
    let mut query = sqlx::query(AssertSqlSafe(statement_of(rows.len()))).persistent(rows.len() == 1);
    for row in rows {
        let event = row.event;
        query = query
            .bind(row.message_id.0.to_vec())
            .bind(event.topic.clone())
            .bind(event.aggregate.kind.clone())
            .bind(event.aggregate.id.clone())
            .bind(event.key.clone())
            .bind(event.content_type.clone())
            .bind(row.headers.clone())
            .bind(event.partition)
            .bind(row.enqueued_at_micros)
            .bind(event.payload.clone());
    }
    query.execute(connection).await.map(drop)
}
