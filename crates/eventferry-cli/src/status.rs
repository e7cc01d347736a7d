//! `eventferry status`: how far the events are, who carries them, and what is refused.

mod table;

use std::collections::BTreeMap;

use eventferry::core::parked::{Desk, ParkedFilter, ShowAsk, ShownEvent};
use eventferry::core::store::{Gauge, LAG_RECORDS_MAX, LogGauge, Prepare, RelayId, Store, Upkeep};
use eventferry::core::{Row, StoreFault, Timestamp};
use eventferry::postgres::PostgresStore;
use eventferry::sqlite::SqliteStore;
use serde::Serialize;

use crate::arguments::StatusArguments;
use crate::ending::{Ending, Trouble};
use crate::output::print;
use crate::parked::stage_name;
use crate::place::{self, StorePlace};
use crate::settings::Settings;

/// How many refused events are listed.
const REFUSED_LISTED_MAX: usize = 10;

/// How many parked events are looked through for refused ones: so many pages, of so many events and bytes.
const PARKED_PAGES_MAX: usize = 10;
const PARKED_PAGE_RECORDS: u32 = 1_000;
const PARKED_PAGE_BYTES: u64 = 4 << 20;

/// Prints the state of an outbox, for people or as JSON.
pub(crate) async fn status(settings: &Settings, arguments: &StatusArguments) -> Result<Ending, Trouble> {
    let store = settings.require("store", arguments.store.store.as_deref())?;
    let shown = place::shown(store.text());
    let status = match StorePlace::of(&store, settings)? {
        StorePlace::Postgres(config) => Status::take(PostgresStore::new(config)).await?,
        StorePlace::Sqlite(config) => Status::take(SqliteStore::new(config)).await?,
    };
    let text = if arguments.json {
        let json = serde_json::to_string_pretty(&status).map_err(Trouble::bug)?;
        format!("{json}\n")
    } else {
        table::text(&status, &shown, arguments.lanes)
    };
    print(&text)?;
    Ok(Ending::Done)
}

/// The state of an outbox. Its JSON is part of the program's interface: fields are added, never changed.
#[derive(Debug, Serialize)]
struct Status {
    /// The store's clock, RFC 3339.
    at: String,
    lanes_total: usize,
    /// Committed events that are neither acknowledged nor parked.
    lag_events: u64,
    /// Whether counting stopped: there are at least so many.
    lag_is_at_least: bool,
    /// The age of the oldest of them; 0 without any.
    lag_seconds: f64,
    oldest_unshipped: Option<String>,
    /// Refused events, and those of the same aggregates that wait behind them.
    parked_events: u64,
    /// What the database keeps of its own log for relays that read it; null where it keeps nothing.
    log: Option<LogStatus>,
    relays_live: usize,
    relays: Vec<RelayStatus>,
    lanes: Vec<LaneStatus>,
    /// The first of the refused events.
    refused: Vec<RefusedStatus>,
}

#[derive(Debug, Serialize)]
struct LogStatus {
    kept_bytes: u64,
    /// How many more may be written before the database lets go of it; null: it never does.
    spare_bytes: Option<u64>,
    /// Whether it has.
    lost: bool,
}

impl LogStatus {
    fn of(log: LogGauge) -> Self {
        let LogGauge { kept_bytes, spare_bytes, lost } = log;
        Self { kept_bytes, spare_bytes, lost }
    }
}

#[derive(Debug, Serialize)]
struct RelayStatus {
    id: String,
    /// Whether its leases run.
    live: bool,
    last_beat: String,
    /// Seconds since.
    last_beat_seconds: f64,
    lanes: usize,
}

#[derive(Debug, Serialize)]
struct LaneStatus {
    lane: u16,
    /// Whether or not its lease still runs.
    owner: Option<String>,
    epoch: u64,
    lag_events: u64,
    lag_seconds: f64,
    oldest_unshipped: Option<String>,
    parked_events: u64,
}

#[derive(Debug, Serialize)]
struct RefusedStatus {
    lane: u16,
    topic: String,
    aggregate_type: String,
    aggregate_id: String,
    message_id: String,
    /// The words of the last refusal.
    reason: String,
    parked_at: String,
    /// Where it stands; the names are those of `eventferry parked --stage`.
    stage: &'static str,
    attempts: u32,
    /// The last refusal's short name, which stays the same between versions.
    class: String,
}

impl Status {
    async fn take<S: Store>(mut store: S) -> Result<Self, StoreFault> {
        store.prepare(Prepare::Check).await?;
        // A name to look by; who never holds a lane never counts as a relay.
        let mut roles = store.roles(&RelayId("eventferry-status".into()));
        let gauge = roles.upkeep.gauge().await?;
        let parked = gauge.lanes.iter().any(|lane| lane.parked > 0);
        let refused = if parked { refused(&mut roles.desk).await? } else { Vec::new() };
        Ok(Self::of(gauge, refused))
    }

    fn of(gauge: Gauge, refused: Vec<RefusedStatus>) -> Self {
        let Gauge { at, lanes, relays, log } = gauge;
        let age = |since: Timestamp| (at.0.saturating_sub(since.0)).max(0) as f64 / 1e6;
        let mut owned: BTreeMap<&str, usize> = BTreeMap::new();
        for owner in lanes.iter().filter_map(|lane| lane.owner.as_deref()) {
            *owned.entry(owner).or_default() += 1;
        }
        let oldest = lanes.iter().filter_map(|lane| lane.oldest_unsettled).min();
        let lag_events = lanes.iter().map(|lane| lane.lag_records).sum();
        Self {
            at: written(at),
            lanes_total: lanes.len(),
            lag_events,
            lag_is_at_least: lag_events >= LAG_RECORDS_MAX,
            lag_seconds: oldest.map_or(0.0, age),
            oldest_unshipped: oldest.map(written),
            parked_events: lanes.iter().map(|lane| lane.parked).sum(),
            log: log.map(LogStatus::of),
            relays_live: relays.iter().filter(|relay| relay.live).count(),
            relays: relays
                .iter()
                .map(|relay| RelayStatus {
                    id: relay.id.clone(),
                    live: relay.live,
                    last_beat: written(relay.last_beat),
                    last_beat_seconds: age(relay.last_beat),
                    lanes: owned.get(relay.id.as_str()).copied().unwrap_or_default(),
                })
                .collect(),
            lanes: lanes
                .iter()
                .map(|lane| LaneStatus {
                    lane: lane.lane.0,
                    owner: lane.owner.clone(),
                    epoch: lane.epoch,
                    lag_events: lane.lag_records,
                    lag_seconds: lane.oldest_unsettled.map_or(0.0, age),
                    oldest_unshipped: lane.oldest_unsettled.map(written),
                    parked_events: lane.parked,
                })
                .collect(),
            refused,
        }
    }
}

impl RefusedStatus {
    /// `None` if it was not refused itself.
    fn of<R: Row>(event: ShownEvent<R>) -> Option<Self> {
        let class = event.class?;
        Some(Self {
            reason: event.message.unwrap_or_else(|| class.clone()),
            lane: event.key.lane.0,
            topic: event.row.topic().to_owned(),
            aggregate_type: event.row.aggregate_type().to_owned(),
            aggregate_id: event.row.aggregate_id().to_owned(),
            message_id: event.row.message_id().to_string(),
            parked_at: written(event.parked_at),
            stage: stage_name(event.stage),
            attempts: event.attempts,
            class,
        })
    }
}

/// The first parked events that were refused themselves.
async fn refused<D: Desk>(desk: &mut D) -> Result<Vec<RefusedStatus>, StoreFault> {
    let filter = ParkedFilter::default();
    let mut refused = Vec::new();
    let mut after = None;
    for _ in 0..PARKED_PAGES_MAX {
        let page = desk.show(ShowAsk {
            filter: &filter,
            after,
            records_max: PARKED_PAGE_RECORDS,
            bytes_max: PARKED_PAGE_BYTES,
        });
        let page = page.await?;
        after = page.events.last().map(|event| event.key).or(after);
        refused.extend(page.events.into_iter().filter_map(RefusedStatus::of));
        if !page.more || refused.len() >= REFUSED_LISTED_MAX {
            break;
        }
    }
    refused.truncate(REFUSED_LISTED_MAX);
    Ok(refused)
}

/// A time as RFC 3339, in UTC, to the millisecond.
fn written(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(|_| "-".into(), |at| format!("{at:.3}"))
}
