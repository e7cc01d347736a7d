//! How far the events were carried, and what becomes of parked ones.
//!
//! A settlement takes effect once, in the order of the calls, and only under its lease:
//!
//! - The write lock and the lane's owner and epoch are the fence: between two processes nothing else is needed, for a
//!   lease is given to one of them, once.
//! - Within a process a lease belongs to one ledger, whose thread does one call after the other, those whose futures
//!   were dropped too. So no call comes after a later one; and one that moves a position would find it moved already.
//! - A call that failed may have happened: its commit went through and writing the log through did not. It is made
//!   again, and meanwhile a person may have decided on an event that it changed: told twice, a retry that was carried
//!   out would take the new decision away. So each call has a random number, kept by its lanes; made again it has the
//!   same, and what holds already is left alone.

mod due;
mod intents;
mod items;
mod told;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use eventferry_core::PackedRow;
use eventferry_core::parked::{DueAsk, DuePage, ParkedAsk, ParkedEvent, ParkedKey, ParkedPage};
use eventferry_core::store::{Intent, Ledger, RelayId, Settlement, Verdict};
use eventferry_core::transaction::Resolved;
use eventferry_core::{Lane, Lease, Stamp, StoreFault, StoreFaultKind, Timestamp};
use rusqlite::{CachedStatement, OptionalExtension, Row, Transaction, named_params};
use uuid::Uuid;

use crate::config::SqliteConfig;
use crate::connection::{Connection, Keeper, Past};
use crate::fault::fault;
use crate::feed::{SqliteMark, history_lost, last_id};
use crate::row::text_of;
use due::DueRound;
pub(crate) use due::{RowStatements, key_of, parked_lanes};
use intents::{IntendRound, ResolveRound};
use told::Movement;
pub(crate) use words::{DECISIONS, STAGES, one_of, stage_of, word_of};

/// Positions and parked events, kept in `eventferry_lane` and `eventferry_parked`.
#[derive(Debug)]
pub struct SqliteLedger {
    connection: Connection,
    relay: String,
    /// The position at which each lane was seen last, under which epoch: one that lies lower now is another history's.
    known: BTreeMap<Lane, (u64, i64)>,
    /// The call that has not answered yet, and its number.
    unanswered: Option<(i64, Arc<Vec<Movement>>)>,
}

impl SqliteLedger {
    pub(crate) fn new(config: SqliteConfig, relay: &RelayId) -> Self {
        Self {
            connection: Connection::new(config, "ledger"),
            relay: relay.0.clone(),
            known: BTreeMap::new(),
            unanswered: None,
        }
    }

    /// Forgets whatever speaks of this history.
    fn forget(&mut self) {
        self.known.clear();
        self.unanswered = None;
    }

    /// A call as its thread gets it: under the number it had, if it is the last one made again.
    fn round(&mut self, settlements: &[Settlement<'_, SqliteMark, PackedRow>]) -> SettleRound {
        let moves: Vec<_> = settlements.iter().map(Movement::of).collect();
        let (number, moves) = match self.unanswered.take() {
            Some((number, unanswered)) if *unanswered == moves => (number, unanswered),
            _ => (random_number(), Arc::new(moves)),
        };
        self.unanswered = Some((number, Arc::clone(&moves)));
        let known = moves.iter().map(|Movement { lease, .. }| {
            let known = self.known.get(&lease.lane).filter(|(epoch, _)| *epoch == lease.epoch);
            known.map_or(0, |(_, position)| *position)
        });
        SettleRound { relay: self.relay.clone(), known: known.collect(), number, moves }
    }
}

fn random_number() -> i64 {
    Uuid::new_v4().as_u64_pair().0.cast_signed()
}

impl Ledger for SqliteLedger {
    type Mark = SqliteMark;
    type Row = PackedRow;

    async fn settle(
        &mut self,
        settlements: &[Settlement<'_, SqliteMark, PackedRow>],
    ) -> Result<Vec<Verdict>, StoreFault> {
        let round = self.round(settlements);
        match self.connection.ask(move |keeper| round.run(keeper)).await {
            Ok((verdicts, positions)) => {
                self.unanswered = None;
                self.known.extend(positions.into_iter().map(|(lease, at)| (lease.lane, (lease.epoch, at))));
                Ok(verdicts)
            }
            Err(fault) => {
                if *fault.kind() == StoreFaultKind::HistoryLost {
                    self.forget();
                }
                Err(fault)
            }
        }
    }

    async fn intend(&mut self, intent: Intent<'_, SqliteMark, PackedRow>) -> Result<Verdict, StoreFault> {
        let round = IntendRound::of(&self.relay, &intent, &self.known);
        let result = self.connection.ask(move |keeper| round.run(keeper)).await;
        if result.as_ref().is_err_and(|fault| *fault.kind() == StoreFaultKind::HistoryLost) {
            self.forget();
        }
        result
    }

    async fn resolve(&mut self, leases: &[Lease], committed: Option<Stamp>) -> Result<Resolved, StoreFault> {
        let (relay, leases) = (self.relay.clone(), leases.to_vec());
        let round = ResolveRound { relay, leases, committed, told: random_number() };
        let (past, resolved) = self.connection.ask(move |keeper| round.run(keeper)).await?;
        if past == Past::Replaced {
            // The new file was asked for what it knows itself.
            self.forget();
        }
        Ok(resolved)
    }

    async fn parked(&mut self, ask: ParkedAsk<'_>) -> Result<ParkedPage, StoreFault> {
        let ParkedAsk { after, limit, .. } = ask;
        let mut lanes = ask.lanes.to_vec();
        lanes.sort_unstable();
        lanes.dedup();
        let (past, page) = self.connection.ask(move |keeper| parked(keeper, &lanes, after, limit)).await?;
        if past == Past::Replaced {
            // Asked for by a relay that has just opened its lanes: it speaks of the new file already.
            self.forget();
        }
        Ok(page)
    }

    async fn due(&mut self, ask: DueAsk<'_>) -> Result<DuePage<PackedRow>, StoreFault> {
        let round = DueRound::of(ask, &self.known);
        let result = self.connection.ask(move |keeper| round.run(keeper)).await;
        if result.as_ref().is_err_and(|fault| *fault.kind() == StoreFaultKind::HistoryLost) {
            self.forget();
        }
        result
    }
}

const SETTLE: &str = "settle";

struct SettleRound {
    relay: String,
    /// Tells this call from every other.
    number: i64,
    moves: Arc<Vec<Movement>>,
    /// Where the lane of each move was seen last.
    known: Vec<i64>,
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
        let failed = |error| fault(SETTLE, error);
        let mut fence = transaction.prepare_cached(include_str!("../sql/fence.sql")).map_err(failed)?;
        let last_id = last_id(transaction).map_err(failed)?;
        let (mut verdicts, mut positions) = (Vec::new(), Vec::new());
        // Lanes that have this call's number because of an earlier part of it.
        let mut told_here = BTreeSet::new();
        let mut without_transactions = false;
        for (movement, known) in self.moves.iter().zip(&self.known) {
            let Some((position, told)) = self.held(&mut fence, movement)? else {
                verdicts.push(Verdict::Fenced);
                continue;
            };
            let Lease { lane, .. } = movement.lease;
            let to = movement.to.unwrap_or(position);
            if position < *known || to > last_id {
                return Err(history_lost(
                    "the database knows less than was settled or read: it was restored",
                ));
            }
            without_transactions |= movement.carries.is_none();
            let holds_already = told == Some(self.number) && !told_here.contains(&lane);
            let is_late = movement.to.is_some_and(|to| to <= position);
            if !holds_already && !is_late {
                carry_out(transaction, movement, position, self.number, now)?;
                told_here.insert(lane);
            }
            verdicts.push(Verdict::Done);
            positions.push((movement.lease, position.max(to)));
        }
        if without_transactions {
            intents::forget_all(transaction).map_err(failed)?;
        }
        Ok((verdicts, positions))
    }

    /// The lane's position and the number of what it was told last, if it is still held under this lease.
    fn held(
        &self,
        fence: &mut CachedStatement<'_>,
        movement: &Movement,
    ) -> Result<Option<(i64, Option<i64>)>, StoreFault> {
        let Lease { lane, epoch } = movement.lease;
        fence
            .query_row(named_params! { ":lane": lane.0, ":owner": self.relay, ":epoch": epoch }, |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
            .map_err(|error| fault(SETTLE, error))
    }
}

/// Changes parked events, copies the events to park that lie above the position (those below it were settled before),
/// and moves the lane, which keeps under which number it was `told`.
fn carry_out(
    transaction: &Transaction<'_>,
    movement: &Movement,
    position: i64,
    told: i64,
    now: Timestamp,
) -> Result<(), StoreFault> {
    let lane = movement.lease.lane;
    for turn in &movement.changes {
        turn.apply(transaction, lane, now).map_err(|error| fault(SETTLE, error))?;
    }
    for parking in movement.parks.iter().filter(|parking| parking.id > position) {
        if !parking.park(transaction, lane, now).map_err(|error| fault(SETTLE, error))? {
            return Err(history_lost(
                "an event to park is not in the outbox any more: it was restored or edited",
            ));
        }
    }
    let to = movement.to.unwrap_or(position);
    let carries = movement.carries.unwrap_or(0);
    transaction
        .prepare_cached(include_str!("../sql/settle.sql"))
        .and_then(|mut settle| {
            settle.execute(
                named_params! { ":lane": lane.0, ":position": to, ":told": told, ":carries": carries },
            )
        })
        .map_err(|error| fault(SETTLE, error))?;
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
    let text =
        |column| Ok::<_, rusqlite::Error>(text_of(row.get_ref(column)?).unwrap_or_default().into_owned());
    Ok(ParkedEvent {
        key: ParkedKey { lane: Lane(row.get(0)?), ordinal: row.get(1)? },
        aggregate_type: text(2)?,
        aggregate_id: text(3)?,
        size_bytes: row.get(4)?,
    })
}
