//! The outbox into which dead letters are enqueued again.

use eventferry::Event;
use eventferry::postgres::PostgresOutbox;
use eventferry::sqlite::SqliteOutbox;
use rusqlite::TransactionBehavior::Immediate;

use crate::database::{open_sqlite, refused_by_postgres, refused_by_sqlite};
use crate::ending::Trouble;
use crate::enqueue::refused;
use crate::place::StorePlace;

/// A connection that appends batches, each in a transaction.
pub(super) enum Outbox {
    Postgres(tokio_postgres::Client),
    Sqlite(rusqlite::Connection),
}

impl Outbox {
    /// Connects.
    ///
    /// # Errors
    /// The database does not answer, or is not there.
    pub(super) async fn open(place: &StorePlace) -> Result<Self, Trouble> {
        match place {
            StorePlace::Postgres(config) => Ok(Self::Postgres(config.connect().await?)),
            StorePlace::Sqlite(config) => open_sqlite(config).map(Self::Sqlite),
        }
    }

    /// Appends events in one transaction.
    ///
    /// # Errors
    /// The database refused, or does not answer: then they may have been enqueued.
    pub(super) async fn append(&mut self, events: Vec<Event>) -> Result<(), Trouble> {
        match self {
            Self::Postgres(client) => {
                let begun = client.transaction().await;
                let mut transaction =
                    begun.map_err(|error| refused_by_postgres("begin a transaction", &error))?;
                PostgresOutbox::new().enqueue_many(&mut transaction, &events).await.map_err(refused)?;
                transaction.commit().await.map_err(|error| refused_by_postgres("commit", &error))
            }
            Self::Sqlite(connection) => tokio::task::block_in_place(|| {
                let begun = connection.transaction_with_behavior(Immediate);
                let transaction = begun.map_err(|error| refused_by_sqlite("begin a transaction", &error))?;
                SqliteOutbox.append_many(&transaction, &events).map_err(refused)?;
                transaction.commit().map_err(|error| refused_by_sqlite("commit", &error))
            }),
        }
    }
}
