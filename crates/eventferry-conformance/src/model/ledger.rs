//! Moving the model's positions, and what is parked.

use eventferry_core::parked::{DueAsk, DuePage, Park, ParkReason, ParkedAsk, ParkedEvent, ParkedPage};
use eventferry_core::store::{Intent, Keeps, Ledger, Settlement, Verdict};
use eventferry_core::transaction::Resolved;
use eventferry_core::{Lease, Row, Stamp, StoreFault, StoreFaultKind, StoredEvent};

use super::Shared;
use super::flaw::Flaw;
use super::store::ModelMark;
use super::world::World;

/// How far the model's events were carried.
#[derive(Debug)]
pub struct ModelLedger {
    world: Shared,
}

impl ModelLedger {
    pub(super) fn new(world: Shared) -> Self {
        Self { world }
    }
}

type Told<'a> = Settlement<'a, ModelMark, StoredEvent>;

impl Ledger for ModelLedger {
    type Mark = ModelMark;
    type Row = StoredEvent;

    async fn settle(&mut self, settlements: &[Told<'_>]) -> Result<Vec<Verdict>, StoreFault> {
        let mut world = self.world.lock();
        world.write()?;
        let size = |one: &Told<'_>| one.prefix.len() + one.park.len() + one.changes.len();
        let items: usize = settlements.iter().map(size).sum();
        let items_max = world.declared.capabilities.settle_items_max;
        if items > items_max as usize {
            return Err(StoreFault::new(
                StoreFaultKind::Misconfigured,
                format!("{items} items in one settlement call; send at most {items_max}"),
            ));
        }
        let mut verdicts: Vec<_> =
            settlements.iter().map(|settlement| fence(&mut world, settlement)).collect();
        if world.has(Flaw::OneFenceForAll) && verdicts.contains(&Verdict::Fenced) {
            verdicts.fill(Verdict::Fenced);
        }
        for (settlement, verdict) in settlements.iter().zip(&mut verdicts) {
            match verdict {
                Verdict::Done => {
                    note_transactions(&mut world, settlement);
                    *verdict = settle(&mut world, settlement);
                }
                Verdict::Fenced if world.has(Flaw::FencedForgetsIntents) => {
                    note_transactions(&mut world, settlement);
                }
                Verdict::Fenced if world.has(Flaw::FencedStillParks) => park(&mut world, settlement, 0),
                Verdict::Fenced if world.has(Flaw::FencedStillChanges) => change(&mut world, settlement),
                Verdict::Fenced => {}
            }
        }
        Ok(verdicts)
    }

    async fn intend(&mut self, intent: Intent<'_, ModelMark, StoredEvent>) -> Result<Verdict, StoreFault> {
        let mut world = self.world.lock();
        can_intend(&world)?;
        world.write()?;
        Ok(world.intend(&intent))
    }

    async fn resolve(&mut self, leases: &[Lease], committed: Option<Stamp>) -> Result<Resolved, StoreFault> {
        let mut world = self.world.lock();
        can_intend(&world)?;
        world.write()?;
        Ok(world.resolve(leases, committed))
    }

    async fn parked(&mut self, ask: ParkedAsk<'_>) -> Result<ParkedPage, StoreFault> {
        let world = self.world.lock();
        let settled_too = world.has(Flaw::SettledStaysListed);
        let mut listed: Vec<_> = world
            .parked
            .iter()
            .filter(|(key, row)| ask.lanes.contains(&key.lane) && (row.end.is_none() || settled_too))
            .collect();
        if world.has(Flaw::ListsBackward) {
            listed.reverse();
        }
        if !world.has(Flaw::ListsFromTheStart) {
            listed.retain(|(key, _)| ask.after.is_none_or(|after| **key > after));
        }
        let more = listed.len() > ask.limit as usize;
        listed.truncate(ask.limit as usize);
        let events = listed.into_iter().map(|(key, row)| ParkedEvent {
            key: *key,
            aggregate_type: row.stored.event.aggregate.kind.clone(),
            aggregate_id: row.stored.event.aggregate.id.clone(),
            size_bytes: if world.has(Flaw::ListsNoSizes) { 0 } else { row.stored.size_bytes() as u64 },
        });
        Ok(ParkedPage { events: events.collect(), more })
    }

    async fn due(&mut self, ask: DueAsk<'_>) -> Result<DuePage<StoredEvent>, StoreFault> {
        Ok(self.world.lock().due(ask))
    }
}

fn can_intend(world: &World) -> Result<(), StoreFault> {
    if world.declared.capabilities.intents {
        return Ok(());
    }
    Err(StoreFault::new(
        StoreFaultKind::Misconfigured,
        "this store writes no intents down: deliver at least once",
    ))
}

/// Whether a settlement's lease is the lane's current one.
fn fence(world: &mut World, settlement: &Told<'_>) -> Verdict {
    let lease = settlement.lease;
    let ignores_epoch = world.has(Flaw::IgnoresEpochs);
    let strangers_are_fenced = world.has(Flaw::MissingIsFenced);
    if strangers_are_fenced && settlement.changes.iter().any(|(key, _)| !world.parked.contains_key(key)) {
        return Verdict::Fenced;
    }
    match world.lane(lease.lane) {
        Some(row) if row.epoch == lease.epoch && row.owner.is_some() || ignores_epoch => Verdict::Done,
        _ => Verdict::Fenced,
    }
}

/// Notes with what transaction a lane is settled; without one, intents speak of nothing any more.
fn note_transactions(world: &mut World, settlement: &Told<'_>) {
    if settlement.carries.is_none() && !world.has(Flaw::KeepsIntentsForEver) {
        world.intents.clear();
    }
    let forgets = world.has(Flaw::SettlingCarriesNothing);
    if let Some(row) = world.lane(settlement.lease.lane).filter(|_| !forgets) {
        row.carries = settlement.carries.unwrap_or(0);
    }
}

/// Settles under the current lease. What lies behind the position already is done, and its changes with it.
pub(super) fn settle(world: &mut World, settlement: &Told<'_>) -> Verdict {
    let lane = settlement.lease.lane;
    let Some(ModelMark(mut to)) = settlement.prefix.last().copied() else {
        if !world.has(Flaw::NoMarkNoChange) {
            change(world, settlement);
        }
        return Verdict::Done;
    };
    let position = world.position(lane);
    let is_of_a_record = world.log.iter().any(|event| event.place == to && event.lane == lane);
    if world.has(Flaw::RefusesPassedMarks) && to > position && !is_of_a_record {
        return Verdict::Fenced;
    }
    if to <= position && world.has(Flaw::RepeatIsFenced) {
        return Verdict::Fenced;
    }
    if to <= position && !world.has(Flaw::OlderMovesBack) {
        if world.has(Flaw::ParksTwice) {
            park(world, settlement, 0);
        }
        if world.has(Flaw::LateChangesCount) {
            change(world, settlement);
        }
        return Verdict::Done;
    }
    if world.has(Flaw::SettlesWhatWasRead) {
        to = world.lanes[usize::from(lane.0)].handed_over;
    }
    if world.has(Flaw::SettlesWholeTransactions) {
        let mut log = world.log.iter();
        let transaction = log.find(|event| event.place == to).map(|event| event.transaction);
        let same = world.log.iter().filter(|event| Some(event.transaction) == transaction);
        to = same.map(|event| event.place).max().unwrap_or(to);
    }
    if !world.has(Flaw::ParkingDropsChanges) || settlement.park.is_empty() {
        change(world, settlement);
    }
    park(world, settlement, position);
    if world.has(Flaw::ParksInPlace) && !settlement.park.is_empty() {
        return Verdict::Done;
    }
    if world.has(Flaw::SettlesEveryLane) {
        for row in &mut world.lanes {
            row.position = Some(row.position.unwrap_or(0).max(to));
        }
    }
    if let Some(row) = world.lane(lane) {
        row.position = Some(to);
    }
    if world.declared.capabilities.keeps == Keeps::UntilSettled {
        let is_settled = |place: u64| settlement.prefix.iter().any(|mark| mark.0 == place);
        world.log.retain(|event| event.lane != lane || !is_settled(event.place));
    }
    Verdict::Done
}

/// Tells parked events what became of them.
fn change(world: &mut World, settlement: &Told<'_>) {
    let mut changes = settlement.changes.clone();
    if world.has(Flaw::ChangesComeBackward) {
        changes.reverse();
    }
    for (key, change) in changes {
        world.change(key, change);
    }
}

/// Parks what lies beyond the position.
fn park(world: &mut World, settlement: &Told<'_>, position: u64) {
    for Park { mark, row, reason } in &settlement.park {
        let behind = *reason == ParkReason::Behind;
        if mark.0 > position
            && !world.has(Flaw::ParksNothing)
            && !(behind && world.has(Flaw::ForgetsWhoWaits))
        {
            world.park(settlement.lease.lane, mark.0, row, *reason);
        }
    }
}
