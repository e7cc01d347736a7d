//! The model as a store: its schema and its roles.

use eventferry_core::store::{Capabilities, Prepare, Prepared, RelayId, Roles, Store};
use eventferry_core::{OutboxId, StoreFault, StoreFaultKind, StoredEvent};

use super::Shared;
use super::desk::ModelDesk;
use super::doorbell::{ModelDoorbell, Seen};
use super::feed::ModelFeed;
use super::flaw::Flaw;
use super::lanes::ModelLanes;
use super::ledger::ModelLedger;
use super::upkeep::ModelUpkeep;
use super::world::random_name;

/// The version of a schema that never changes.
const VERSION: u32 = 1;

/// A place in the log.
#[derive(Clone, Copy, Debug)]
pub struct ModelMark(pub(super) u64);

/// The model as a store.
#[derive(Debug)]
pub struct ModelStore {
    world: Shared,
}

impl ModelStore {
    pub(super) fn new(world: Shared) -> Self {
        Self { world }
    }
}

impl Store for ModelStore {
    type Mark = ModelMark;
    type Row = StoredEvent;
    type Lanes = ModelLanes;
    type Feed = ModelFeed;
    type Doorbell = ModelDoorbell;
    type Ledger = ModelLedger;
    type Upkeep = ModelUpkeep;
    type Desk = ModelDesk;

    fn capabilities(&self) -> Capabilities {
        self.world.lock().declared.capabilities.clone()
    }

    async fn prepare(&mut self, prepare: Prepare) -> Result<Prepared, StoreFault> {
        let mut world = self.world.lock();
        let was_made = world.made;
        match prepare {
            Prepare::Check if !was_made && !world.has(Flaw::MissesNoSchema) => {
                return Err(StoreFault::new(
                    StoreFaultKind::Misconfigured,
                    "the outbox has no schema; prepare it with Apply",
                ));
            }
            Prepare::Check => {}
            Prepare::Apply if world.has(Flaw::ApplyStartsOver) => world.start_over(),
            Prepare::Apply if was_made => world.write()?,
            Prepare::Apply => world.made = true,
        }
        if world.has(Flaw::NamesTheOutboxAnew) {
            world.name = random_name();
        }
        if world.has(Flaw::NamesAllOutboxesAlike) {
            world.name = "model".into();
        }
        let upgraded_from = (prepare == Prepare::Apply && !was_made).then_some(0);
        Ok(Prepared {
            version: VERSION,
            upgraded_from,
            lanes: world.lanes_total(),
            outbox: OutboxId(world.name.clone()),
        })
    }

    fn roles(self, relay: &RelayId) -> Roles<Self> {
        let instance = self.world.lock().number();
        let seen = Seen::default();
        Roles {
            lanes: ModelLanes::new(self.world.clone(), relay.clone(), instance),
            feed: ModelFeed::new(self.world.clone(), seen.clone()),
            doorbell: ModelDoorbell::new(self.world.clone(), seen),
            ledger: ModelLedger::new(self.world.clone()),
            upkeep: ModelUpkeep::new(self.world.clone()),
            desk: ModelDesk::new(self.world),
        }
    }
}
