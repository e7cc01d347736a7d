//! Transactions of sqlx 0.9 on SQLite.

use eventferry_core::{Enqueue, EnqueueFault, Event, MessageId};
use sqlx::{AssertSqlSafe, Connection as _, Sqlite, SqliteConnection, Transaction};

use super::plan::{InsertPlan, ROWS_MAX, Row, statement_of};
use super::{SqliteOutbox, ended};

/// Begin with `pool.begin_with("BEGIN IMMEDIATE")`: see [`SqliteOutbox`].
impl Enqueue<Transaction<'_, Sqlite>> for SqliteOutbox {
    async fn enqueue(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        let plan = InsertPlan::new(events)?;
        if plan.rows.is_empty() {
            return Ok(Vec::new());
        }
        if !is_open(transaction).await.map_err(|error| plan.refused(error))? {
            return Err(ended());
        }
        let inserted = match plan.rows.len() {
            // SQLite undoes a statement that failed.
            ..=ROWS_MAX => insert(transaction, &plan.rows).await,
            _ => insert_all(transaction, &plan.rows).await,
        };
        inserted.map_err(|error| plan.refused(error))?;
        Ok(plan.ids())
    }
}

/// SQLite ends a transaction by itself at some errors, which the driver does not notice. Inside one, `BEGIN` fails and
/// changes nothing (<https://www.sqlite.org/lang_transaction.html>).
async fn is_open(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    match sqlx::query("BEGIN").execute(&mut *connection).await {
        Ok(_) => {
            sqlx::query("ROLLBACK").execute(connection).await?;
            Ok(false)
        }
        Err(sqlx::Error::Database(_)) => Ok(true),
        Err(error) => Err(error),
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
