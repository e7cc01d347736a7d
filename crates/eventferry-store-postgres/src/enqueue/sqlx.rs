//! Transactions of sqlx on PostgreSQL, 0.9 and 0.8: the same words for two crates.

/// An adapter for one version of sqlx.
macro_rules! adapter {
    ($sqlx:ident) => {
        use eventferry_core::{Enqueue, EnqueueFault, Event, MessageId};
        use $sqlx::{PgConnection, Postgres, Transaction};

        use crate::enqueue::plan::refused_by_database;
        use crate::enqueue::{Emit, InsertPlan, PostgresOutbox, Way};

        impl Enqueue<Transaction<'_, Postgres>> for PostgresOutbox {
            async fn enqueue(
                &self,
                transaction: &mut Transaction<'_, Postgres>,
                events: &[Event],
            ) -> Result<Vec<MessageId>, EnqueueFault> {
                append(transaction, Way::Table, events).await
            }
        }

        /// For a transaction that was begun by hand. Without one, the call is a transaction of its own.
        impl Enqueue<PgConnection> for PostgresOutbox {
            async fn enqueue(
                &self,
                connection: &mut PgConnection,
                events: &[Event],
            ) -> Result<Vec<MessageId>, EnqueueFault> {
                append(connection, Way::Table, events).await
            }
        }

        impl Emit<Transaction<'_, Postgres>> for PostgresOutbox {
            async fn emit(
                &self,
                transaction: &mut Transaction<'_, Postgres>,
                events: &[Event],
            ) -> Result<Vec<MessageId>, EnqueueFault> {
                append(transaction, Way::Log, events).await
            }
        }

        /// For a transaction that was begun by hand. Without one, the call is a transaction of its own.
        impl Emit<PgConnection> for PostgresOutbox {
            async fn emit(
                &self,
                connection: &mut PgConnection,
                events: &[Event],
            ) -> Result<Vec<MessageId>, EnqueueFault> {
                append(connection, Way::Log, events).await
            }
        }

        /// Kept prepared or not as the connection's `statement_cache_capacity` says, like the application's own
        /// statements: whoever connects through a pooler that lends sessions out by transaction has set it to 0.
        async fn append(
            connection: &mut PgConnection,
            way: Way,
            events: &[Event],
        ) -> Result<Vec<MessageId>, EnqueueFault> {
            let plan = InsertPlan::new(way, events)?;
            if plan.is_empty() {
                return Ok(Vec::new());
            }
            let columns = plan.columns();
            let query = $sqlx::query(plan.statement())
                .bind(columns.message_id_texts())
                .bind(&columns.topics)
                .bind(&columns.aggregate_types)
                .bind(&columns.aggregate_ids)
                .bind(&columns.keys)
                .bind(&columns.payloads)
                .bind(&columns.content_types)
                .bind(&columns.headers)
                .bind(&columns.partitions);
            let appended = query.execute(connection).await;
            appended.map_err(|error| {
                refused_by_database(error.as_database_error().map(|e| e.message().to_owned()), error)
            })?;
            Ok(plan.ids())
        }
    };
}

#[cfg(feature = "sqlx")]
mod version_0_9 {
    adapter!(sqlx);
}

#[cfg(feature = "sqlx-08")]
mod version_0_8 {
    adapter!(sqlx_08);
}
