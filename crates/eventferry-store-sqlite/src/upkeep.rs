//! Old rows and figures: off the hot path.

use std::thread;
use std::time::{Duration, Instant};

use eventferry_core::lane::LANES_MAX;
use eventferry_core::store::{Gauge, LAG_RECORDS_MAX, LaneGauge, LogGauge, RelayGauge, Swept, Upkeep};
use eventferry_core::{Lane, StoreFault, Timestamp};
use rusqlite::{Transaction, named_params};

use crate::config::{SqliteConfig, micros};
use crate::connection::{Connection, Database, Keeper};
use crate::fault::fault;
use crate::row::text_of;

/// Retention and figures of one file.
#[derive(Debug)]
pub struct SqliteUpkeep {
    connection: Connection,
}

/// How long a batch of deletions may keep the write lock: it ends after the row that exceeds this.
const BATCH_TIME_MAX: Duration = Duration::from_millis(3);

/// The most rows of a batch.
const BATCH_ROWS_MAX: u32 = 2_000;

/// How long the write lock is left to others between two batches; a writer that waits looks again within this time.
const PAUSE: Duration = Duration::from_millis(5);

/// How long one call sweeps.
const SWEEP_TIME_MAX: Duration = Duration::from_millis(250);

/// How long a relay that no longer lives is remembered.
const RELAY_SEEN_FOR: Duration = Duration::from_secs(24 * 60 * 60);

impl SqliteUpkeep {
    pub(crate) fn new(config: SqliteConfig) -> Self {
        Self { connection: Connection::new(config, "upkeep") }
    }
}

impl Upkeep for SqliteUpkeep {
    async fn sweep(&mut self, retention: Duration) -> Result<Swept, StoreFault> {
        self.connection.ask(move |keeper| sweep(keeper, retention)).await
    }

    async fn gauge(&mut self) -> Result<Gauge, StoreFault> {
        self.connection.ask(gauge).await
    }

    async fn log(&mut self) -> Result<Option<LogGauge>, StoreFault> {
        Ok(None)
    }
}

const SWEEP: &str = "remove old events";

fn sweep(keeper: &mut Keeper, retention: Duration) -> Result<Swept, StoreFault> {
    let began = Instant::now();
    let now = keeper.config.now().0;
    let (database, _) = keeper.database()?;
    prune(database, now.saturating_sub(micros(RELAY_SEEN_FOR)))?;
    let before = now.saturating_sub(micros(retention));
    let mut swept = Swept { events: 0, more: false };
    let mut is_first = true;
    for broom in [&EVENTS, &PARKED] {
        let mut removed = 1;
        while removed > 0 {
            if began.elapsed() >= SWEEP_TIME_MAX {
                return Ok(Swept { more: true, ..swept });
            }
            if !std::mem::take(&mut is_first) {
                thread::sleep(PAUSE);
            }
            removed = sweep_batch(database, broom, before)?;
            if broom.counts {
                swept.events += removed;
            }
        }
    }
    Ok(swept)
}

/// How old rows of a table are found and removed.
struct Broom {
    find: &'static str,
    remove: &'static str,
    /// Whether they are events, and not what is left of parked ones.
    counts: bool,
}

const EVENTS: Broom = Broom {
    find: include_str!("../sql/old_events.sql"),
    remove: include_str!("../sql/sweep_event.sql"),
    counts: true,
};

const PARKED: Broom = Broom {
    find: include_str!("../sql/old_parked.sql"),
    remove: include_str!("../sql/sweep_parked.sql"),
    counts: false,
};

fn prune(database: &mut Database, before: i64) -> Result<(), StoreFault> {
    let pruned = database
        .sqlite
        .prepare_cached(include_str!("../sql/forgotten_relays.sql"))
        .and_then(|mut statement| statement.query_row([before], |row| row.get::<_, i64>(0)));
    if pruned.map_err(|error| fault(SWEEP, error))? == 0 {
        return Ok(());
    }
    let transaction = database.write(SWEEP)?;
    transaction
        .execute(include_str!("../sql/forget_relays.sql"), [before])
        .map_err(|error| fault(SWEEP, error))?;
    transaction.commit().map_err(|error| fault(SWEEP, error))
}

/// Removes some rows that are settled and old; answers how many, 0 when none is left.
fn sweep_batch(database: &mut Database, broom: &Broom, before: i64) -> Result<u64, StoreFault> {
    let old = {
        // Looked for without the write lock. What is old and settled stays so.
        let transaction = database.snapshot(SWEEP)?;
        old_rows(&transaction, broom, before).map_err(|error| fault(SWEEP, error))?
    };
    if old.is_empty() {
        return Ok(0);
    }
    let transaction = database.write(SWEEP)?;
    let locked = Instant::now();
    let delete = || {
        let mut statement = transaction.prepare_cached(broom.remove)?;
        let mut rows = 0;
        for row in &old {
            rows += statement.execute([row])? as u64;
            if locked.elapsed() >= BATCH_TIME_MAX {
                break;
            }
        }
        Ok(rows)
    };
    let rows = delete().map_err(|error| fault(SWEEP, error))?;
    transaction.commit().map_err(|error| fault(SWEEP, error))?;
    Ok(rows)
}

fn old_rows(transaction: &Transaction<'_>, broom: &Broom, before: i64) -> rusqlite::Result<Vec<i64>> {
    let mut statement = transaction.prepare_cached(broom.find)?;
    let rows = statement
        .query_map(named_params! { ":before": before, ":limit": BATCH_ROWS_MAX }, |row| row.get(0))?;
    rows.collect()
}

const GAUGE: &str = "take stock";

fn gauge(keeper: &mut Keeper) -> Result<Gauge, StoreFault> {
    let at = keeper.config.now();
    let (database, _) = keeper.database()?;
    let transaction = database.snapshot(GAUGE)?;
    let take = || {
        let (mut lanes, positions) = lane_gauges(&transaction)?;
        count_lag(&transaction, &mut lanes, &positions)?;
        count_parked(&transaction, &mut lanes)?;
        Ok(Gauge { at, lanes, relays: relay_gauges(&transaction, at)?, log: None })
    };
    take().map_err(|error| fault(GAUGE, error))
}

/// The lanes with nothing counted yet, and their positions.
fn lane_gauges(transaction: &Transaction<'_>) -> rusqlite::Result<(Vec<LaneGauge>, Vec<i64>)> {
    let mut statement = transaction.prepare_cached(include_str!("../sql/gauge_lanes.sql"))?;
    let lanes = statement.query_map([], |row| {
        let (lane, owner, epoch) = (Lane(row.get(0)?), row.get(1)?, row.get(2)?);
        let gauge = LaneGauge { lane, owner, epoch, lag_records: 0, oldest_unsettled: None, parked: 0 };
        Ok((gauge, row.get::<_, i64>(3)?))
    })?;
    lanes.collect()
}

/// Counts what lies above the positions: lanes are computed, so every row above the lowest is looked at.
fn count_lag(
    transaction: &Transaction<'_>,
    lanes: &mut [LaneGauge],
    positions: &[i64],
) -> rusqlite::Result<()> {
    let Some(lowest) = positions.iter().min() else { return Ok(()) };
    let lanes_total = u16::try_from(lanes.len()).unwrap_or(LANES_MAX);
    let mut statement = transaction.prepare_cached(include_str!("../sql/gauge_lag.sql"))?;
    let mut rows = statement.query((lowest, LAG_RECORDS_MAX))?;
    while let Some(row) = rows.next()? {
        let (kind, id) =
            (text_of(row.get_ref(1)?).unwrap_or_default(), text_of(row.get_ref(2)?).unwrap_or_default());
        let at = usize::from(Lane::of(&kind, &id, lanes_total).0);
        if row.get::<_, i64>(0)? > positions[at] {
            lanes[at].lag_records += 1;
            let enqueued_at = Timestamp(row.get(3)?);
            let oldest = lanes[at].oldest_unsettled.get_or_insert(enqueued_at);
            *oldest = enqueued_at.min(*oldest);
        }
    }
    Ok(())
}

fn count_parked(transaction: &Transaction<'_>, lanes: &mut [LaneGauge]) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(include_str!("../sql/gauge_parked.sql"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(lane) = lanes.get_mut(usize::from(row.get::<_, u16>(0)?)) {
            lane.parked = row.get(1)?;
        }
    }
    Ok(())
}

fn relay_gauges(transaction: &Transaction<'_>, at: Timestamp) -> rusqlite::Result<Vec<RelayGauge>> {
    let mut statement = transaction.prepare_cached(include_str!("../sql/gauge_relays.sql"))?;
    let relays = statement.query_map([at.0], |row| {
        Ok(RelayGauge { id: row.get(0)?, last_beat: Timestamp(row.get(1)?), live: row.get(2)? })
    })?;
    relays.collect()
}
