//! Old rows and figures.

use std::time::Duration;

use eventferry_core::store::{Gauge, LAG_RECORDS_MAX, LaneGauge, LogGauge, RelayGauge, Swept, Upkeep};
use eventferry_core::{Lane, StoreFault, StoreFaultKind, Timestamp};
use tokio_postgres::types::{ToSql, Type};

use crate::connection::Connection;
use crate::row::timestamp;

/// Retention by emptying whole slots of the ring, and stock-taking.
#[derive(Debug)]
pub struct PostgresUpkeep {
    connection: Connection,
    /// Slots of this round that are still to be looked at, the last first; `None`: a round is to begin.
    old_slots: Option<Vec<i32>>,
}

/// The most settled parked events that one call removes.
const SWEEP_PARKED_MAX: i64 = 10_000;

impl PostgresUpkeep {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, old_slots: None }
    }

    /// Begins a round: removes old rows of the books, and finds the slots to be looked at.
    async fn begin_round(&mut self, retention: Duration) -> Result<Vec<i32>, StoreFault> {
        let client = self.connection.client().await?;
        let seconds = retention.as_secs_f64();
        let params: [(&(dyn ToSql + Sync), Type); 1] = [(&seconds, Type::FLOAT8)];
        let query = client.query_typed_one(include_str!("../sql/ring.sql"), &params);
        let row = self.connection.answer("sweep", query).await?;
        let (slots, slot_seconds): (i32, i32) = (row.get(0), row.get(1));
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
        let query = client.query_typed(include_str!("../sql/prune.sql"), &[]);
        self.connection.answer("prune", query).await?;
        let mut old: Vec<i32> = row.get(2);
        old.reverse();
        Ok(old)
    }

    async fn sweep_slot(&mut self, slot: i32, seconds: f64) -> Result<i64, StoreFault> {
        let client = self.connection.client().await?;
        let params: [(&(dyn ToSql + Sync), Type); 2] = [(&slot, Type::INT4), (&seconds, Type::FLOAT8)];
        let query = client.query_typed_one(include_str!("../sql/sweep_slot.sql"), &params);
        let row = self.connection.answer("sweep", query).await?;
        Ok(row.get::<_, Option<i64>>(0).unwrap_or(0))
    }
}

impl Upkeep for PostgresUpkeep {
    async fn sweep(&mut self, retention: Duration) -> Result<Swept, StoreFault> {
        let mut old = match self.old_slots.take() {
            Some(old) => old,
            None => self.begin_round(retention).await?,
        };
        let seconds = retention.as_secs_f64();
        let events = match old.pop() {
            Some(slot) => self.sweep_slot(slot, seconds).await?,
            None => 0,
        };
        self.old_slots = Some(old).filter(|old| !old.is_empty());
        let client = self.connection.client().await?;
        let params: [(&(dyn ToSql + Sync), Type); 2] =
            [(&seconds, Type::FLOAT8), (&SWEEP_PARKED_MAX, Type::INT8)];
        let query = client.query_typed_one(include_str!("../sql/sweep_parked.sql"), &params);
        let row = self.connection.answer("sweep parked events", query).await?;
        let parked_left = row.get::<_, i64>(0) >= SWEEP_PARKED_MAX;
        Ok(Swept {
            events: u64::try_from(events).unwrap_or(0),
            more: self.old_slots.is_some() || parked_left,
        })
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
        let log = self.log().await?;
        Ok(Gauge {
            at: lanes.first().and_then(|row| timestamp(row, 6)).unwrap_or(Timestamp(0)),
            lanes: lanes.iter().map(lane_gauge).collect(),
            relays: relays.iter().map(relay_gauge).collect(),
            log,
        })
    }

    async fn log(&mut self) -> Result<Option<LogGauge>, StoreFault> {
        let client = self.connection.client().await?;
        let query = client.query_typed(include_str!("../sql/gauge_log.sql"), &[]);
        let rows = self.connection.answer("look at what the replication slot keeps", query).await?;
        Ok(rows.first().map(log_gauge))
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

fn log_gauge(row: &tokio_postgres::Row) -> LogGauge {
    let bytes = |column| row.get::<_, Option<i64>>(column).and_then(|bytes| u64::try_from(bytes.max(0)).ok());
    LogGauge { kept_bytes: bytes(0).unwrap_or(0), spare_bytes: bytes(1), lost: row.get(2) }
}

fn relay_gauge(row: &tokio_postgres::Row) -> RelayGauge {
    RelayGauge { id: row.get(0), last_beat: timestamp(row, 1).unwrap_or(Timestamp(0)), live: row.get(2) }
}
