//! Old rows and figures.

use std::time::Duration;

use eventferry_core::store::{Gauge, LAG_RECORDS_MAX, LaneGauge, RelayGauge, Swept, Upkeep};
use eventferry_core::{Lane, StoreFault, StoreFaultKind, Timestamp};
use tokio_postgres::types::{ToSql, Type};

use crate::connection::Connection;
use crate::row::timestamp;

/// Retention by emptying whole slots of the ring, and stock-taking.
#[derive(Debug)]
pub struct PostgresUpkeep {
    connection: Connection,
    /// The slot to look at next.
    slot: i32,
}

/// The most settled parked events that one call removes.
const SWEEP_PARKED_MAX: i64 = 10_000;

impl PostgresUpkeep {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, slot: 0 }
    }

    async fn ring(&mut self) -> Result<(i32, i32), StoreFault> {
        let client = self.connection.client().await?;
        let query = client.query_typed_one(include_str!("../sql/ring.sql"), &[]);
        let row = self.connection.answer("sweep", query).await?;
        Ok((row.get(0), row.get(1)))
    }
}

impl Upkeep for PostgresUpkeep {
    async fn sweep(&mut self, retention: Duration) -> Result<Swept, StoreFault> {
        let (slots, slot_seconds) = self.ring().await?;
        let longest = Duration::from_secs(u64::try_from((slots - 2) * slot_seconds).unwrap_or(0));
        if retention > longest {
            return Err(StoreFault::new(
                StoreFaultKind::Misconfigured,
                format!(
                    "a retention of {retention:?} outlasts the outbox's ring of slots; at most {longest:?} fits"
                ),
            ));
        }
        let client = self.connection.client().await?;
        if self.slot == 0 {
            let query = client.query_typed(include_str!("../sql/prune.sql"), &[]);
            self.connection.answer("prune", query).await?;
        }
        let seconds = retention.as_secs_f64();
        let params: [(&(dyn ToSql + Sync), Type); 2] = [(&self.slot, Type::INT4), (&seconds, Type::FLOAT8)];
        let query = client.query_typed_one(include_str!("../sql/sweep_slot.sql"), &params);
        let row = self.connection.answer("sweep", query).await?;
        self.slot = (self.slot + 1) % slots.max(1);
        let events = row.get::<_, Option<i64>>(0).unwrap_or(0);
        let params: [(&(dyn ToSql + Sync), Type); 2] =
            [(&seconds, Type::FLOAT8), (&SWEEP_PARKED_MAX, Type::INT8)];
        let query = client.query_typed_one(include_str!("../sql/sweep_parked.sql"), &params);
        let row = self.connection.answer("sweep parked events", query).await?;
        let parked_left = row.get::<_, i64>(0) >= SWEEP_PARKED_MAX;
        Ok(Swept { events: u64::try_from(events).unwrap_or(0), more: self.slot != 0 || parked_left })
    }

    async fn gauge(&mut self) -> Result<Gauge, StoreFault> {
        const WHAT: &str = "take stock";
        let client = self.connection.client().await?;
        let most = LAG_RECORDS_MAX as i64;
        let params: [(&(dyn ToSql + Sync), Type); 1] = [(&most, Type::INT8)];
        let query = client.query_typed(include_str!("../sql/gauge_lanes.sql"), &params);
        let lanes = self.connection.answer(WHAT, query).await?;
        let query = client.query_typed(include_str!("../sql/gauge_relays.sql"), &[]);
        let relays = self.connection.answer(WHAT, query).await?;
        Ok(Gauge {
            at: lanes.first().and_then(|row| timestamp(row, 6)).unwrap_or(Timestamp(0)),
            lanes: lanes.iter().map(lane_gauge).collect(),
            relays: relays.iter().map(relay_gauge).collect(),
        })
    }
}

fn lane_gauge(row: &tokio_postgres::Row) -> LaneGauge {
    LaneGauge {
        lane: Lane(row.get::<_, i32>(0) as u16),
        owner: row.get(1),
        epoch: row.get::<_, i64>(2) as u64,
        lag_records: row.get::<_, i64>(3) as u64,
        oldest_unsettled: timestamp(row, 4),
        parked: row.get::<_, i64>(5) as u64,
    }
}

fn relay_gauge(row: &tokio_postgres::Row) -> RelayGauge {
    RelayGauge { id: row.get(0), last_beat: timestamp(row, 1).unwrap_or(Timestamp(0)), live: row.get(2) }
}
