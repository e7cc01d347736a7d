//! How far each lane was carried, and what is parked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use eventferry_core::PackedRow;
use eventferry_core::store::{
    Ledger, ParkReason, ParkedAsk, ParkedEvent, ParkedKey, ParkedPage, RelayId, Settlement, Verdict,
};
use eventferry_core::{Lane, Lease, MessageId, StoreFault, StoreFaultKind, Timestamp};
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::connection::Connection;
use crate::row::timestamp;
use crate::window::{PostgresMark, Window};

/// The position of each open lane, as last read or written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Positions(Arc<Mutex<BTreeMap<Lane, Known>>>);

/// What is known of a lane's position.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Under which lease's epoch.
    epoch: u64,
    /// The only version that the next settlement may follow.
    version: i64,
    /// Where it stands among this process's marks.
    place: (u64, i64),
}

impl Positions {
    pub(crate) fn set(&self, lease: Lease, version: i64, mark: &PostgresMark) {
        let known = Known { epoch: lease.epoch, version, place: mark.place() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(lease.lane, known);
    }

    pub(crate) fn forget(&self, lane: Lane) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&lane);
    }

    /// The version before this mark's settlement; `None` if that or a later one was answered already.
    fn before(&self, lease: Lease, mark: &PostgresMark) -> Option<i64> {
        let positions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = positions.get(&lease.lane).filter(|known| known.epoch == lease.epoch);
        let Some(known) = known else { return Some(NOT_OPEN) };
        (mark.place() > known.place).then_some(known.version)
    }
}

/// A version that no position has: its settlement is fenced or stale.
const NOT_OPEN: i64 = -1;

/// The ledger, kept in `eventferry.position` and `eventferry.parked`.
#[derive(Debug)]
pub struct PostgresLedger {
    connection: Connection,
    relay: String,
    positions: Positions,
}

impl PostgresLedger {
    pub(crate) fn new(connection: Connection, relay: &RelayId, positions: Positions) -> Self {
        Self { connection, relay: relay.0.clone(), positions }
    }
}

/// The arguments of `settle.sql`, column by column.
#[derive(Default)]
struct Told {
    lanes: Vec<i32>,
    epochs: Vec<i64>,
    versions: Vec<i64>,
    windows: Vec<Uuid>,
    last_ids: Vec<i64>,
    new: BTreeMap<Uuid, Arc<Window>>,
    park_lanes: Vec<i32>,
    park_ids: Vec<i64>,
    park_refused: Vec<Option<String>>,
}

impl Told {
    fn of(settlements: &[Settlement<'_, PostgresMark, PackedRow>], positions: &Positions) -> Self {
        let mut told = Self::default();
        for settlement in settlements {
            let Some(mark) = settlement.prefix.last() else { continue };
            let Some(version) = positions.before(settlement.lease, mark) else { continue };
            let lane = i32::from(settlement.lease.lane.0);
            told.lanes.push(lane);
            told.epochs.push(settlement.lease.epoch as i64);
            told.versions.push(version);
            told.windows.push(mark.window.id);
            told.last_ids.push(mark.last_id);
            if !mark.window.is_recorded() {
                told.new.insert(mark.window.id, Arc::clone(&mark.window));
            }
            for park in &settlement.park {
                told.park_lanes.push(lane);
                told.park_ids.push(park.mark.last_id);
                told.park_refused.push(match park.reason {
                    ParkReason::Refused(why) => Some(why.to_owned()),
                    ParkReason::Behind => None,
                });
            }
        }
        told
    }
}

fn moved_by_another() -> StoreFault {
    StoreFault::new(
        StoreFaultKind::HistoryLost,
        "a lane's position was moved by somebody else under the same lease",
    )
}

impl Ledger for PostgresLedger {
    type Mark = PostgresMark;
    type Row = PackedRow;

    async fn settle(
        &mut self,
        settlements: &[Settlement<'_, PostgresMark, PackedRow>],
    ) -> Result<Vec<Verdict>, StoreFault> {
        let Some(history) = settlements.iter().find_map(|s| s.prefix.last()).map(|mark| mark.window.history)
        else {
            return Ok(settlements.iter().map(|_| Verdict::Done).collect());
        };
        let told = Told::of(settlements, &self.positions);
        let new: Vec<&Window> = told.new.values().map(AsRef::as_ref).collect();
        let ids: Vec<Uuid> = new.iter().map(|window| window.id).collect();
        let prevs: Vec<&str> = new.iter().map(|window| window.prev.as_str()).collect();
        let curs: Vec<&str> = new.iter().map(|window| window.cur.as_str()).collect();
        let floors: Vec<i64> = new.iter().map(|window| window.bounds.floor).collect();
        let late_floors: Vec<i64> = new.iter().map(|window| window.bounds.late_floor).collect();
        let restored: Vec<i64> = new.iter().map(|window| window.bounds.restored_through).collect();
        let relay = self.relay.as_str();
        let params: [(&(dyn ToSql + Sync), Type); 17] = [
            (&relay, Type::TEXT),
            (&history.system_identifier, Type::INT8),
            (&history.timeline, Type::INT4),
            (&told.lanes, Type::INT4_ARRAY),
            (&told.epochs, Type::INT8_ARRAY),
            (&told.versions, Type::INT8_ARRAY),
            (&told.windows, Type::UUID_ARRAY),
            (&told.last_ids, Type::INT8_ARRAY),
            (&ids, Type::UUID_ARRAY),
            (&prevs, Type::TEXT_ARRAY),
            (&curs, Type::TEXT_ARRAY),
            (&floors, Type::INT8_ARRAY),
            (&late_floors, Type::INT8_ARRAY),
            (&restored, Type::INT8_ARRAY),
            (&told.park_lanes, Type::INT4_ARRAY),
            (&told.park_ids, Type::INT8_ARRAY),
            (&told.park_refused, Type::TEXT_ARRAY),
        ];
        let query = include_str!("../sql/settle.sql");
        let client = self.connection.client().await?;
        let rows = self.connection.answer("settle", client.query_typed(query, &params)).await?;
        for window in told.new.values() {
            window.record();
        }
        let mut verdicts = Vec::with_capacity(settlements.len());
        let mut answers = rows.iter().zip(&told.versions).peekable();
        for settlement in settlements {
            let lane = settlement.lease.lane;
            let answer = answers.next_if(|(row, _)| row.get::<_, i32>(0) == i32::from(lane.0));
            let (Some((row, version)), Some(mark)) = (answer, settlement.prefix.last()) else {
                verdicts.push(Verdict::Done);
                continue;
            };
            verdicts.push(match row.get(1) {
                "done" => {
                    self.positions.set(settlement.lease, version + 1, mark);
                    Verdict::Done
                }
                "fenced" => Verdict::Fenced,
                _ => return Err(moved_by_another()),
            });
        }
        Ok(verdicts)
    }

    async fn parked(&mut self, ask: ParkedAsk<'_>) -> Result<ParkedPage, StoreFault> {
        let lanes: Vec<i32> = ask.lanes.iter().map(|lane| i32::from(lane.0)).collect();
        let (lane, ordinal) = ask.after.map_or((-1, i64::MIN), |key| (i32::from(key.lane.0), key.ordinal));
        let limit = i64::from(ask.limit);
        let params: [(&(dyn ToSql + Sync), Type); 4] =
            [(&lanes, Type::INT4_ARRAY), (&lane, Type::INT4), (&ordinal, Type::INT8), (&limit, Type::INT8)];
        let query = include_str!("../sql/parked.sql");
        let client = self.connection.client().await?;
        let rows = self.connection.answer("list parked events", client.query_typed(query, &params)).await?;
        let event = |row: &tokio_postgres::Row| ParkedEvent {
            key: ParkedKey { lane: Lane(row.get::<_, i32>(0) as u16), ordinal: row.get(1) },
            aggregate_type: row.get(2),
            aggregate_id: row.get(3),
            message_id: MessageId(row.get::<_, Uuid>(4).into_bytes()),
            topic: row.get(5),
            refused: row.get(6),
            parked_at: timestamp(row, 7).unwrap_or(Timestamp(0)),
        };
        Ok(ParkedPage { events: rows.iter().map(event).collect(), more: rows.len() == ask.limit as usize })
    }
}
