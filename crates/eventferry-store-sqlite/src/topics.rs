//! The topics that events are for.

use eventferry_core::StoreFault;

use crate::SqliteStore;
use crate::connection::Connection;
use crate::fault::fault;

/// How many events are looked at, of the newest and of the parked ones each.
const LOOKED_AT_MAX: i64 = 10_000;

const LOOK: &str = "look for the topics of events";

impl SqliteStore {
    /// The topics of the newest 10,000 events, shipped or not, and of 10,000 parked ones, each with its largest payload
    /// in bytes.
    ///
    /// # Errors
    /// `Unavailable`: ask again later. `Misconfigured`: the file or the schema must be set right first.
    pub async fn topics(&self) -> Result<Vec<(String, u64)>, StoreFault> {
        let ask = |keeper: &mut crate::connection::Keeper| {
            let (database, _) = keeper.database()?;
            let transaction = database.snapshot(LOOK)?;
            let look = || {
                let mut statement = transaction.prepare_cached(include_str!("../sql/topics.sql"))?;
                let topics = statement.query_map([LOOKED_AT_MAX], |row| Ok((row.get(0)?, row.get(1)?)))?;
                topics.collect::<Result<_, rusqlite::Error>>()
            };
            look().map_err(|error| fault(LOOK, error))
        };
        Connection::new(self.config.clone(), "topics").ask(ask).await
    }
}
