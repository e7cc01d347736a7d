//! Transactions of sea-orm 2 on SQLite, by sqlx.

use eventferry_core::{Enqueue, EnqueueFault, Event, MessageId};
use sea_orm::{
    ConnectionTrait as _, DatabaseTransaction, DbBackend, DbErr, Statement, TransactionTrait as _, Value,
};

use super::plan::{InsertPlan, ROWS_MAX, Row, statement_of};
use super::{SqliteOutbox, ended};

/// Begin with `begin_with_options` and `SqliteTransactionMode::Immediate`: see [`SqliteOutbox`].
impl Enqueue<DatabaseTransaction> for SqliteOutbox {
    async fn enqueue(
        &self,
        transaction: &mut DatabaseTransaction,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(transaction, events).await
    }
}

/// For closures, which get the transaction by reference: `outbox.enqueue(&mut &*tx, event)`.
impl Enqueue<&DatabaseTransaction> for SqliteOutbox {
    async fn enqueue(
        &self,
        transaction: &mut &DatabaseTransaction,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(transaction, events).await
    }
}

async fn append(transaction: &DatabaseTransaction, events: &[Event]) -> Result<Vec<MessageId>, EnqueueFault> {
    if transaction.get_database_backend() != DbBackend::Sqlite {
        return Err(EnqueueFault::refused(
            "the transaction is not one of SQLite: give it to its own database's outbox",
        ));
    }
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

/// As by sqlx: inside a transaction, `BEGIN` fails and changes nothing.
async fn is_open(transaction: &DatabaseTransaction) -> Result<bool, DbErr> {
    match transaction.execute_unprepared("BEGIN").await {
        Ok(_) => {
            transaction.execute_unprepared("ROLLBACK").await?;
            Ok(false)
        }
        Err(DbErr::Exec(_) | DbErr::Query(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

/// All or nothing: SQLite does not undo the statements before the one that failed.
async fn insert_all(transaction: &DatabaseTransaction, rows: &[Row<'_>]) -> Result<(), DbErr> {
    let savepoint = transaction.begin().await?;
    for rows in rows.chunks(ROWS_MAX) {
        insert(&savepoint, rows).await?;
    }
    savepoint.commit().await
}

async fn insert(transaction: &DatabaseTransaction, rows: &[Row<'_>]) -> Result<(), DbErr> {
    let values = rows.iter().flat_map(|row| {
        let event = row.event;
        [
            Value::Bytes(Some(row.message_id.0.to_vec())),
            Value::String(Some(event.topic.clone())),
            Value::String(Some(event.aggregate.kind.clone())),
            Value::String(Some(event.aggregate.id.clone())),
            Value::Bytes(event.key.clone()),
            Value::String(event.content_type.clone()),
            Value::Bytes(row.headers.clone()),
            Value::Int(event.partition),
            Value::BigInt(Some(row.enqueued_at_micros)),
            Value::Bytes(event.payload.clone()),
        ]
    });
    let statement = Statement::from_sql_and_values(DbBackend::Sqlite, statement_of(rows.len()), values);
    transaction.execute_raw(statement).await.map(drop)
}
