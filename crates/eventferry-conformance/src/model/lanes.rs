//! Who owns what in the model.

use eventferry_core::store::{Claim, Held, Lanes, Ownership, RelayId};
use eventferry_core::{Lane, Lease, StoreFault, StoreFaultKind, Timestamp};

use super::Shared;
use super::flaw::Flaw;
use super::world::{Beat, World, micros};

/// The model's owners.
#[derive(Debug)]
pub struct ModelLanes {
    world: Shared,
    relay: RelayId,
    instance: u64,
    has_beaten: bool,
}

impl ModelLanes {
    pub(super) fn new(world: Shared, relay: RelayId, instance: u64) -> Self {
        Self { world, relay, instance, has_beaten: false }
    }

    /// Renews the heartbeat, unless somebody else beats under this name.
    ///
    /// The first beat of an instance takes the name over, as a relay does that was restarted; a former instance that
    /// beats again thereby shows that it lives.
    fn beat(&mut self, world: &mut World, claim: &Claim) -> Result<(), StoreFault> {
        let now = world.now();
        let former = world.relays.get(&self.relay).map(|beat| beat.instance);
        let is_ours = former == Some(self.instance);
        if self.has_beaten && former.is_some() && !is_ours && !world.has(Flaw::SharesNames) {
            return Err(StoreFault::new(
                StoreFaultKind::Misconfigured,
                format!("another relay lives under the name `{}`; name each differently", self.relay.0),
            ));
        }
        self.has_beaten = true;
        let mut until = Timestamp(now.0 + micros(claim.lease));
        if claim.lease.is_zero() && world.has(Flaw::CountsLeavers) {
            until.0 += 10_000_000;
        }
        let beat = Beat { instance: self.instance, last: now, until };
        match until > now {
            true => world.relays.insert(self.relay.clone(), beat),
            false => world.relays.remove(&self.relay),
        };
        Ok(())
    }

    /// Frees the lanes that name this relay and are not kept.
    fn free(&self, world: &mut World, claim: &Claim) {
        let leaves = claim.lease.is_zero();
        let frees_nothing = world.has(Flaw::FreesNothing) && !leaves
            || world.has(Flaw::LeavesHolding) && leaves
            || world.has(Flaw::RestartWaits);
        let frees_all = world.has(Flaw::FreesKept);
        for (lane, row) in world.lanes.iter_mut().enumerate() {
            let is_kept =
                claim.keep.iter().any(|lease| usize::from(lease.lane.0) == lane && lease.epoch == row.epoch);
            let is_ours = row.owner.as_ref() == Some(&self.relay);
            if is_ours && (!is_kept || frees_all) && !frees_nothing {
                row.owner = None;
            }
        }
    }

    /// Takes lanes that are free or whose owner is dead.
    fn take(&self, world: &mut World, claim: &Claim) {
        let whole = world.declared.capabilities.ownership == Ownership::Whole
            || claim.whole && !world.has(Flaw::WholeIsUnheard);
        if whole && !self.can_take_all(world) && !world.has(Flaw::WholeTakesWhatIsFree) {
            return;
        }
        let takes_all = world.has(Flaw::TakesEverything) || whole;
        let mut left = match claim.take_max {
            0 => 0,
            _ if takes_all => world.lanes_total(),
            take_max => take_max,
        };
        for lane in (0..world.lanes_total()).map(Lane) {
            if left == 0 {
                break;
            }
            let owner = world.lane(lane).and_then(|row| row.owner.clone());
            let is_taken = owner.as_ref().is_some_and(|owner| world.is_live(owner));
            let is_ours = owner.as_ref() == Some(&self.relay);
            if is_ours && !world.has(Flaw::RestartWaits) || is_taken && !world.has(Flaw::TakesFromTheLiving) {
                continue;
            }
            let grows = !world.has(Flaw::EpochStays) && !(world.has(Flaw::EpochNamesTheOwner));
            let of_name = self.relay.0.bytes().map(u64::from).sum();
            let names_owner = world.has(Flaw::EpochNamesTheOwner);
            if let Some(row) = world.lane(lane) {
                row.owner = Some(self.relay.clone());
                row.epoch = if names_owner { of_name } else { row.epoch + u64::from(grows) };
                left = left.saturating_sub(1);
            }
        }
    }

    fn can_take_all(&self, world: &mut World) -> bool {
        let owners: Vec<_> = world.lanes.iter().filter_map(|row| row.owner.clone()).collect();
        owners.iter().all(|owner| *owner == self.relay || !world.is_live(owner))
    }

    fn held(&self, world: &mut World, claim: &Claim) -> Held {
        let mut leases: Vec<_> = world
            .lanes
            .iter()
            .zip(0..)
            .filter(|(row, _)| row.owner.as_ref() == Some(&self.relay))
            .map(|(row, lane)| Lease { lane: Lane(lane), epoch: row.epoch })
            .collect();
        if world.has(Flaw::TellsOfLostLeases) {
            let lost = claim.keep.iter().filter(|kept| leases.iter().all(|held| held.lane != kept.lane));
            let lost: Vec<_> = lost.copied().collect();
            leases.extend(lost);
        }
        let names: Vec<_> = world.relays.keys().cloned().collect();
        let counts_all = world.has(Flaw::CountsTheDead);
        let relays_live = names.iter().filter(|name| counts_all || world.is_live(name)).count();
        Held {
            leases,
            relays_live: u32::try_from(relays_live).unwrap_or(u32::MAX),
            lanes_total: world.lanes_total(),
        }
    }
}

impl Lanes for ModelLanes {
    async fn hold(&mut self, claim: Claim) -> Result<Held, StoreFault> {
        let shared = self.world.clone();
        let mut world = shared.lock();
        world.write()?;
        let has_lapsed = !world.is_live(&self.relay);
        self.beat(&mut world, &claim)?;
        self.free(&mut world, &claim);
        if has_lapsed && world.has(Flaw::DropsTheLapsed) {
            self.free(&mut world, &Claim { keep: Vec::new(), ..claim.clone() });
        }
        self.take(&mut world, &claim);
        if world.has(Flaw::RenewalCounts) {
            let owned = world.lanes.iter_mut().filter(|row| row.owner.as_ref() == Some(&self.relay));
            owned.for_each(|row| row.epoch += 1);
        }
        Ok(self.held(&mut world, &claim))
    }
}
