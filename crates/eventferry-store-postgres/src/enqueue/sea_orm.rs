//! Transactions of sea-orm 2 on PostgreSQL.

use eventferry_core::{Enqueue, EnqueueFault, Event, MessageId};
use sea_orm::sea_query::ArrayType;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbBackend, DbErr, RuntimeErr, Statement, Value};

use super::plan::{Columns, refused_by_database, without_header};
use super::{Arguments, Emit, InsertPlan, PostgresOutbox, Way};

impl Enqueue<DatabaseTransaction> for PostgresOutbox {
    async fn enqueue(
        &self,
        transaction: &mut DatabaseTransaction,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(transaction, Way::Table, events).await
    }
}

/// For closures, which get the transaction by reference: `outbox.enqueue(&mut &*tx, event)`.
impl Enqueue<&DatabaseTransaction> for PostgresOutbox {
    async fn enqueue(
        &self,
        transaction: &mut &DatabaseTransaction,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(transaction, Way::Table, events).await
    }
}

impl Emit<DatabaseTransaction> for PostgresOutbox {
    async fn emit(
        &self,
        transaction: &mut DatabaseTransaction,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(transaction, Way::Log, events).await
    }
}

/// For closures, which get the transaction by reference.
impl Emit<&DatabaseTransaction> for PostgresOutbox {
    async fn emit(
        &self,
        transaction: &mut &DatabaseTransaction,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        append(transaction, Way::Log, events).await
    }
}

/// Kept prepared or not as the pool's `statement_cache_capacity` says: sea-orm executes by sqlx.
async fn append(
    transaction: &DatabaseTransaction,
    way: Way,
    events: &[Event],
) -> Result<Vec<MessageId>, EnqueueFault> {
    let backend = transaction.get_database_backend();
    if backend != DbBackend::Postgres {
        return Err(EnqueueFault::refused(
            "the transaction is not one of PostgreSQL: give it to its own database's outbox",
        ));
    }
    let plan = InsertPlan::new(way, events)?;
    if plan.is_empty() {
        return Ok(Vec::new());
    }
    let statement = match plan.one() {
        Some((sql, one)) => Statement::from_sql_and_values(backend, sql, scalars(&one)),
        None => Statement::from_sql_and_values(backend, without_header(dense(way)), arrays(plan.columns())),
    };
    transaction.execute_raw(statement).await.map_err(refused)?;
    Ok(plan.ids())
}

/// An array of sea-query's that holds a null makes it panic.
fn dense(way: Way) -> &'static str {
    match way {
        Way::Table => include_str!("../../sql/enqueue_dense.sql"),
        Way::Log => include_str!("../../sql/emit_dense.sql"),
    }
}

fn scalars(one: &Arguments<'_>) -> [Value; 9] {
    let text = |text: Option<&str>| Value::String(text.map(str::to_owned));
    let bytes = |bytes: Option<&[u8]>| Value::Bytes(bytes.map(<[u8]>::to_vec));
    [
        Value::String(Some(one.message_id.to_string())),
        text(Some(one.topic)),
        text(Some(one.aggregate_type)),
        text(Some(one.aggregate_id)),
        bytes(one.key),
        bytes(one.payload),
        text(one.content_type),
        text(one.headers),
        Value::Int(one.partition),
    ]
}

fn arrays(columns: &Columns<'_>) -> [Value; 10] {
    let array = |kind, values: Vec<Value>| Value::Array(kind, Some(Box::new(values)));
    let texts = |texts: &[&str]| {
        array(ArrayType::String, texts.iter().map(|text| Value::String(Some((*text).to_owned()))).collect())
    };
    let texts_or_none = |texts: Vec<Option<&str>>| {
        let texts = texts.into_iter().map(|text| Value::String(Some(text.unwrap_or_default().to_owned())));
        array(ArrayType::String, texts.collect())
    };
    let bytes = |all: &[Option<&[u8]>]| {
        let all = all.iter().map(|bytes| Value::Bytes(Some(bytes.unwrap_or_default().to_vec())));
        array(ArrayType::Bytes, all.collect())
    };
    let numbers =
        |numbers: Vec<i32>| array(ArrayType::Int, numbers.into_iter().map(|n| Value::Int(Some(n))).collect());
    let ids = columns.message_id_texts();
    [
        texts(&ids.iter().map(String::as_str).collect::<Vec<_>>()),
        texts(&columns.topics),
        texts(&columns.aggregate_types),
        texts(&columns.aggregate_ids),
        bytes(&columns.keys),
        bytes(&columns.payloads),
        texts_or_none(columns.content_types.clone()),
        texts_or_none(columns.headers.iter().map(Option::as_deref).collect()),
        numbers(columns.partitions.iter().map(|partition| partition.unwrap_or_default()).collect()),
        numbers((0..columns.topics.len()).map(|place| given(columns, place)).collect()),
    ]
}

/// What the event at this place has, as `enqueue_dense.sql` counts it.
fn given(columns: &Columns<'_>, place: usize) -> i32 {
    let has = [
        columns.keys[place].is_some(),
        columns.payloads[place].is_some(),
        columns.content_types[place].is_some(),
        columns.headers[place].is_some(),
        columns.partitions[place].is_some(),
    ];
    has.iter().enumerate().map(|(bit, has)| i32::from(*has) << bit).sum()
}

fn refused(error: DbErr) -> EnqueueFault {
    let message = match &error {
        DbErr::Exec(RuntimeErr::SqlxError(said)) | DbErr::Query(RuntimeErr::SqlxError(said)) => {
            said.as_database_error().map(|said| said.message().to_owned())
        }
        _ => None,
    };
    refused_by_database(message, error)
}
