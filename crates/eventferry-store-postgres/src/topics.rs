//! The topics that events are for.

use eventferry_core::StoreFault;
use tokio_postgres::types::{ToSql, Type};

use crate::PostgresStore;
use crate::connection::Connection;

/// How many events are looked at, of the newest and of the parked ones each.
const LOOKED_AT_MAX: i64 = 10_000;

impl PostgresStore {
    /// The topics of the newest 10,000 events in the table, shipped or not, and of 10,000 parked ones, each with its
    /// largest payload in bytes. Events that were emitted into the log alone are not in the table.
    ///
    /// # Errors
    /// `Unavailable`: ask again later. `Misconfigured`: the settings or the schema must be set right first.
    pub async fn topics(&self) -> Result<Vec<(String, u64)>, StoreFault> {
        let mut connection = Connection::new(self.config.clone());
        let client = connection.client().await?;
        let params: [(&(dyn ToSql + Sync), Type); 1] = [(&LOOKED_AT_MAX, Type::INT8)];
        let query = client.query_typed(include_str!("../sql/topics.sql"), &params);
        let rows = connection.answer("look for the topics of events", query).await?;
        Ok(rows.iter().map(|row| (row.get(0), u64::try_from(row.get::<_, i64>(1)).unwrap_or(0))).collect())
    }
}
