//! How far the events were carried.
//!
//! A lane's position is the id of its last settled event and only grows, so it is its own version: a settlement whose
//! mark is not above the position happened before, or comes late, and changes nothing. The write lock and the lane's
//! owner and epoch are the fence.

use std::collections::BTreeMap;

use eventferry_core::PackedRow;
use eventferry_core::store::{
    Ledger, Park, ParkReason, ParkedAsk, ParkedEvent, ParkedKey, ParkedPage, RelayId, Settlement, Verdict,
};
use eventferry_core::{Lane, Lease, MessageId, StoreFault, StoreFaultKind, Timestamp};
use rusqlite::{CachedStatement, Row, Transaction, named_params};

use crate::config::SqliteConfig;
use crate::connection::{Connection, Keeper, Past};
use crate::fault::fault;
use crate::feed::{SqliteMark, history_lost, last_id};

/// Positions and parked events, kept in `eventferry_lane` and `eventferry_parked`.
#[derive(Debug)]
pub struct SqliteLedger {
    connection: Connection,
    relay: String,
    /// The position at which each lane was seen last, under which epoch: one that lies lower now is another history's.
    known: BTreeMap<Lane, (u64, i64)>,
}

impl SqliteLedger {
    pub(crate) fn new(config: SqliteConfig, relay: &RelayId) -> Self {
        Self { connection: Connection::new(config, "ledger"), relay: relay.0.clone(), known: BTreeMap::new() }
    }
}

impl Ledger for SqliteLedger {
    type Mark = SqliteMark;
    type Row = PackedRow;

    async fn settle(
        &mut self,
        settlements: &[Settlement<'_, SqliteMark, PackedRow>],
    ) -> Result<Vec<Verdict>, StoreFault> {
        let moves = settlements.iter().map(|settlement| self.movement(settlement)).collect();
        let round = SettleRound { relay: self.relay.clone(), moves };
        match self.connection.ask(move |keeper| round.run(keeper)).await {
            Ok((verdicts, positions)) => {
                self.known.extend(positions.into_iter().map(|(lease, at)| (lease.lane, (lease.epoch, at))));
                Ok(verdicts)
            }
            Err(fault) => {
                if *fault.kind() == StoreFaultKind::HistoryLost {
                    self.known.clear();
                }
                Err(fault)
            }
        }
    }

    async fn parked(&mut self, ask: ParkedAsk<'_>) -> Result<ParkedPage, StoreFault> {
        let ParkedAsk { after, limit, .. } = ask;
        let mut lanes = ask.lanes.to_vec();
        lanes.sort_unstable();
        lanes.dedup();
        let (past, page) = self.connection.ask(move |keeper| parked(keeper, &lanes, after, limit)).await?;
        if past == Past::Replaced {
            // Asked for by a relay that has just opened its lanes: it speaks of the new file already.
            self.known.clear();
        }
        Ok(page)
    }
}

impl SqliteLedger {
    /// A settlement in a form that can go to another thread. The row of a parked event is not needed: the log has it.
    fn movement(&self, settlement: &Settlement<'_, SqliteMark, PackedRow>) -> Movement {
        let Settlement { lease, prefix, park } = settlement;
        let known = self.known.get(&lease.lane).filter(|(epoch, _)| *epoch == lease.epoch);
        let parks = park.iter().map(|Park { mark, reason, .. }| match reason {
            ParkReason::Refused(words) => (mark.0, Some((*words).to_owned())),
            ParkReason::Behind => (mark.0, None),
        });
        Movement {
            lease: *lease,
            to: prefix.last().map_or(0, |mark| mark.0),
            parks: parks.collect(),
            known: known.map_or(0, |(_, position)| *position),
        }
    }
}

/// A settlement, as its thread gets it.
struct Movement {
    lease: Lease,
    to: i64,
    /// Ids of the events to park, with the broker's words if it refused them.
    parks: Vec<(i64, Option<String>)>,
    /// Where the lane was seen last.
    known: i64,
}

const SETTLE: &str = "settle";

struct SettleRound {
    relay: String,
    moves: Vec<Movement>,
}

/// The answers, and where each lane that is still held is now.
type Settled = (Vec<Verdict>, Vec<(Lease, i64)>);

impl SettleRound {
    fn run(self, keeper: &mut Keeper) -> Result<Settled, StoreFault> {
        let now = keeper.config.now();
        let (database, past) = keeper.database()?;
        if past == Past::Replaced {
            return Err(history_lost("another file was put in the place of the database"));
        }
        let transaction = database.write(SETTLE)?;
        let settled = self.settle(&transaction, now)?;
        transaction.commit().map_err(|error| fault(SETTLE, error))?;
        // Also for what had been settled before: its call may have failed here.
        database.make_durable()?;
        Ok(settled)
    }

    fn settle(&self, transaction: &Transaction<'_>, now: Timestamp) -> Result<Settled, StoreFault> {
        let prepare = |sql| transaction.prepare_cached(sql).map_err(|error| fault(SETTLE, error));
        let mut fence = prepare(include_str!("../sql/fence.sql"))?;
        let mut park = prepare(include_str!("../sql/park.sql"))?;
        let mut settle = prepare(include_str!("../sql/settle.sql"))?;
        let last_id = last_id(transaction).map_err(|error| fault(SETTLE, error))?;
        let (mut verdicts, mut positions) = (Vec::new(), Vec::new());
        for movement in &self.moves {
            let Some(position) = self.held(&mut fence, movement)? else {
                verdicts.push(Verdict::Fenced);
                continue;
            };
            if position < movement.known || movement.to > last_id {
                return Err(history_lost(
                    "the database knows less than was settled or read: it was restored",
                ));
            }
            if movement.to > position {
                park_events(&mut park, movement, position, now)?;
                settle
                    .execute(named_params! { ":lane": movement.lease.lane.0, ":position": movement.to })
                    .map_err(|error| fault(SETTLE, error))?;
            }
            verdicts.push(Verdict::Done);
            positions.push((movement.lease, position.max(movement.to)));
        }
        Ok((verdicts, positions))
    }

    /// The lane's position, if it is still held under this lease.
    fn held(&self, fence: &mut CachedStatement<'_>, movement: &Movement) -> Result<Option<i64>, StoreFault> {
        let Lease { lane, epoch } = movement.lease;
        let mut rows = fence
            .query(named_params! { ":lane": lane.0, ":owner": self.relay, ":epoch": epoch })
            .map_err(|error| fault(SETTLE, error))?;
        let row = rows.next().map_err(|error| fault(SETTLE, error))?;
        row.map(|row| row.get(0)).transpose().map_err(|error| fault(SETTLE, error))
    }
}

/// Copies the events to park that lie above the position; those below it were settled before.
fn park_events(
    park: &mut CachedStatement<'_>,
    movement: &Movement,
    position: i64,
    now: Timestamp,
) -> Result<(), StoreFault> {
    for (id, refused) in movement.parks.iter().filter(|(id, _)| *id > position) {
        let copied = park
            .execute(named_params! { ":id": id, ":lane": movement.lease.lane.0, ":refused": refused, ":now": now.0 })
            .map_err(|error| fault(SETTLE, error))?;
        if copied == 0 {
            return Err(history_lost(
                "an event to park is not in the outbox any more: it was restored or edited",
            ));
        }
    }
    Ok(())
}

fn parked(
    keeper: &mut Keeper,
    lanes: &[Lane],
    after: Option<ParkedKey>,
    limit: u32,
) -> Result<(Past, ParkedPage), StoreFault> {
    const WHAT: &str = "list parked events";
    let (database, past) = keeper.database()?;
    let transaction = database.snapshot(WHAT)?;
    let first = after.map_or(Lane(0), |after| after.lane);
    let limit = limit as usize;
    let list = || {
        let mut statement = transaction.prepare_cached(include_str!("../sql/parked.sql"))?;
        let mut events = Vec::new();
        for lane in lanes.iter().filter(|lane| **lane >= first) {
            let above = after.filter(|after| after.lane == *lane).map_or(0, |after| after.ordinal);
            // One more than asked for, to know whether there is one.
            let room = limit + 1 - events.len();
            let listed = statement.query_map(
                named_params! { ":lane": lane.0, ":above": above, ":limit": room },
                parked_event,
            )?;
            for event in listed {
                events.push(event?);
            }
            if events.len() > limit {
                break;
            }
        }
        Ok(events)
    };
    let mut events = list().map_err(|error| fault(WHAT, error))?;
    transaction.commit().map_err(|error| fault(WHAT, error))?;
    let more = events.len() > limit;
    events.truncate(limit);
    Ok((past, ParkedPage { events, more }))
}

fn parked_event(row: &Row<'_>) -> rusqlite::Result<ParkedEvent> {
    Ok(ParkedEvent {
        key: ParkedKey { lane: Lane(row.get(0)?), ordinal: row.get(1)? },
        aggregate_type: row.get(2)?,
        aggregate_id: row.get(3)?,
        message_id: MessageId(row.get(4)?),
        topic: row.get(5)?,
        refused: row.get(6)?,
        parked_at: Timestamp(row.get(7)?),
    })
}
