//! Moving the model's positions, and parking.

use eventferry_core::store::{
    Keeps, Ledger, ParkReason, ParkedAsk, ParkedEvent, ParkedKey, ParkedPage, Settlement, Verdict,
};
use eventferry_core::{StoreFault, StoreFaultKind, StoredEvent};

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

impl Ledger for ModelLedger {
    type Mark = ModelMark;
    type Row = StoredEvent;

    async fn settle(
        &mut self,
        settlements: &[Settlement<'_, ModelMark, StoredEvent>],
    ) -> Result<Vec<Verdict>, StoreFault> {
        let mut world = self.world.lock();
        world.write()?;
        let items: usize = settlements.iter().map(|one| one.prefix.len() + one.park.len()).sum();
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
                Verdict::Done => *verdict = settle(&mut world, settlement),
                Verdict::Fenced if world.has(Flaw::FencedStillParks) => park(&mut world, settlement, 0),
                Verdict::Fenced => {}
            }
        }
        Ok(verdicts)
    }

    async fn parked(&mut self, ask: ParkedAsk<'_>) -> Result<ParkedPage, StoreFault> {
        let world = self.world.lock();
        let mut listed: Vec<_> =
            world.parked.values().filter(|one| ask.lanes.contains(&one.key.lane)).collect();
        if world.has(Flaw::ListsBackward) {
            listed.reverse();
        }
        if !world.has(Flaw::ListsFromTheStart) {
            listed.retain(|one| ask.after.is_none_or(|after| one.key > after));
        }
        let more = listed.len() > ask.limit as usize;
        listed.truncate(ask.limit as usize);
        Ok(ParkedPage { events: listed.into_iter().cloned().collect(), more })
    }
}

/// Whether a settlement's lease is the lane's current one.
fn fence(world: &mut World, settlement: &Settlement<'_, ModelMark, StoredEvent>) -> Verdict {
    let lease = settlement.lease;
    let ignores_epoch = world.has(Flaw::IgnoresEpochs);
    match world.lane(lease.lane) {
        Some(row) if row.epoch == lease.epoch && row.owner.is_some() || ignores_epoch => Verdict::Done,
        _ => Verdict::Fenced,
    }
}

/// Settles under the current lease. What lies behind the position already is done.
fn settle(world: &mut World, settlement: &Settlement<'_, ModelMark, StoredEvent>) -> Verdict {
    let lane = settlement.lease.lane;
    let Some(ModelMark(mut to)) = settlement.prefix.last().copied() else { return Verdict::Done };
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

/// Parks what lies beyond the position.
fn park(world: &mut World, settlement: &Settlement<'_, ModelMark, StoredEvent>, position: u64) {
    for park in &settlement.park {
        let behind = park.reason == ParkReason::Behind;
        if park.mark.0 <= position
            || world.has(Flaw::ParksNothing)
            || behind && world.has(Flaw::ForgetsWhoWaits)
        {
            continue;
        }
        let ordinal = i64::try_from(world.number()).unwrap_or(i64::MAX);
        let key = ParkedKey { lane: settlement.lease.lane, ordinal };
        let refused = match park.reason {
            ParkReason::Refused(words) if !world.has(Flaw::ForgetsReasons) => Some(words.into()),
            _ => None,
        };
        let event = ParkedEvent {
            key,
            aggregate_type: park.row.event.aggregate.kind.clone(),
            aggregate_id: park.row.event.aggregate.id.clone(),
            message_id: park.row.message_id,
            topic: park.row.event.topic.clone(),
            refused,
            parked_at: world.now(),
        };
        world.parked.insert(key, event);
    }
}
