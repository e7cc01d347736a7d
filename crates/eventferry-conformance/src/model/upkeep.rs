//! Removing what the model no longer needs, and its figures.

use std::time::Duration;

use eventferry_core::store::{Gauge, LaneGauge, LogGauge, RelayGauge, Swept, Upkeep};
use eventferry_core::{Lane, StoreFault};

use super::Shared;
use super::flaw::Flaw;
use super::world::{World, micros};

/// The model's upkeep.
#[derive(Debug)]
pub struct ModelUpkeep {
    world: Shared,
}

impl ModelUpkeep {
    pub(super) fn new(world: Shared) -> Self {
        Self { world }
    }
}

impl Upkeep for ModelUpkeep {
    async fn sweep(&mut self, retention: Duration) -> Result<Swept, StoreFault> {
        let mut world = self.world.lock();
        world.write()?;
        let now = world.now();
        let before = world.log.len();
        if !world.has(Flaw::SweepsNothing) {
            let spares_none = world.has(Flaw::SweepsTheUnsettled);
            let retention = if world.has(Flaw::SweepsEarly) { Duration::ZERO } else { retention };
            let is_old = |at: i64| at.saturating_add(micros(retention)) < now.0;
            let positions: Vec<_> = world.lanes.iter().map(|row| row.position.unwrap_or(0)).collect();
            world.log.retain(|event| {
                let is_settled = event.place <= positions[usize::from(event.lane.0)];
                !(is_settled || spares_none) || !is_old(event.stored.enqueued_at.0)
            });
        }
        if world.has(Flaw::PlacesStartAgain) && world.log.is_empty() {
            world.next_place = 1;
        }
        if world.has(Flaw::SweepsTheParked) {
            world.parked.clear();
        }
        if world.has(Flaw::SweepsIntents) {
            world.intents.clear();
        }
        if !world.open.is_empty() {
            world.locked = true;
        }
        Ok(Swept { events: (before - world.log.len()) as u64, more: false })
    }

    async fn gauge(&mut self) -> Result<Gauge, StoreFault> {
        let mut world = self.world.lock();
        let lanes = (0..world.lanes_total()).map(|lane| lane_gauge(&world, Lane(lane))).collect();
        let beats: Vec<_> = world.relays.iter().map(|(id, beat)| (id.clone(), beat.last)).collect();
        let relays = beats.into_iter().map(|(id, last_beat)| {
            let live = world.is_live(&id);
            RelayGauge { id: id.0, last_beat, live }
        });
        let relays = relays.collect();
        Ok(Gauge { at: world.now(), lanes, relays, log: world.kept })
    }

    async fn log(&mut self) -> Result<Option<LogGauge>, StoreFault> {
        Ok(self.world.lock().kept)
    }
}

fn lane_gauge(world: &World, lane: Lane) -> LaneGauge {
    let row = &world.lanes[usize::from(lane.0)];
    let position = if world.has(Flaw::CountsWhatWasSettled) { 0 } else { world.position(lane) };
    let unsettled = world.log.iter().filter(|event| event.lane == lane && event.place > position);
    let parked = world.parked.iter().filter(|(key, row)| {
        key.lane == lane
            && (row.end.is_none() || world.has(Flaw::CountsTheSettled))
            && (row.refusal.is_some() || !world.has(Flaw::CountsOnlyTheRefused))
    });
    LaneGauge {
        lane,
        owner: row.owner.as_ref().filter(|_| !world.has(Flaw::TellsNoOwner)).map(|owner| owner.0.clone()),
        epoch: row.epoch,
        lag_records: unsettled.clone().count() as u64,
        oldest_unsettled: unsettled.map(|event| event.stored.enqueued_at).min(),
        parked: parked.count() as u64,
    }
}
