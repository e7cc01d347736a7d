//! The model store behind a connection that breaks: before a call happens, or after it has.

use std::sync::{Arc, Mutex, PoisonError};

use eventferry_conformance::model::{
    ModelDesk, ModelDoorbell, ModelFeed, ModelLanes, ModelLedger, ModelMark, ModelStore, ModelUpkeep,
};
use eventferry_core::parked::{DueAsk, DuePage, ParkedAsk, ParkedPage};
use eventferry_core::store::{
    Capabilities, Intent, Ledger, Prepare, Prepared, RelayId, Roles, Settlement, Store, Verdict,
};
use eventferry_core::transaction::Resolved;
use eventferry_core::{Lease, Stamp, StoreFault, StoreFaultKind, StoredEvent};

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Called {
    Settle,
    Other,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// It happens, and nobody hears of it.
    Lost,
    /// It does not happen.
    Failed(StoreFaultKind),
}

/// What happened so far; clones are the same connection.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Mutex<State>>);

struct State {
    fates: Box<dyn FnMut(Called) -> Fate + Send>,
    /// The settlement that was not answered.
    unanswered: Option<String>,
    repeated: u32,
    failed: u32,
}

impl Connection {
    /// Each call's fate, in order.
    pub(crate) fn new(fates: impl FnMut(Called) -> Fate + Send + 'static) -> Self {
        let state = State { fates: Box::new(fates), unanswered: None, repeated: 0, failed: 0 };
        Self(Arc::new(Mutex::new(state)))
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn next(&self, called: Called) -> Fate {
        self.with(|state| {
            let fate = (state.fates)(called);
            state.failed += u32::from(fate != Fate::Answered);
            fate
        })
    }

    /// How many settlements were told again, and how many calls were not answered.
    pub(crate) fn counted(&self) -> (u32, u32) {
        self.with(|state| (state.repeated, state.failed))
    }
}

pub(crate) struct ShakyStore {
    pub(crate) store: ModelStore,
    pub(crate) connection: Connection,
}

impl Store for ShakyStore {
    type Mark = ModelMark;
    type Row = StoredEvent;
    type Lanes = ModelLanes;
    type Feed = ModelFeed;
    type Doorbell = ModelDoorbell;
    type Ledger = ShakyLedger;
    type Upkeep = ModelUpkeep;
    type Desk = ModelDesk;

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn prepare(&mut self, prepare: Prepare) -> Result<Prepared, StoreFault> {
        match self.connection.next(Called::Other) {
            Fate::Failed(kind) => Err(away(kind)),
            _ => self.store.prepare(prepare).await,
        }
    }

    fn roles(self, relay: &RelayId) -> Roles<Self> {
        let Roles { lanes, feed, doorbell, ledger, upkeep, desk } = self.store.roles(relay);
        let ledger = ShakyLedger { ledger, connection: self.connection };
        Roles { lanes, feed, doorbell, ledger, upkeep, desk }
    }
}

fn away(kind: StoreFaultKind) -> StoreFault {
    StoreFault::new(kind, "the connection broke")
}

pub(crate) struct ShakyLedger {
    ledger: ModelLedger,
    connection: Connection,
}

impl Ledger for ShakyLedger {
    type Mark = ModelMark;
    type Row = StoredEvent;

    async fn settle(
        &mut self,
        settlements: &[Settlement<'_, ModelMark, StoredEvent>],
    ) -> Result<Vec<Verdict>, StoreFault> {
        let told = format!("{settlements:?}");
        let fate = self.connection.next(Called::Settle);
        self.connection.with(|state| {
            if let Some(unanswered) = state.unanswered.take() {
                assert_eq!(unanswered, told, "a settlement that was not answered is told again, unchanged");
                state.repeated += 1;
            }
            // What a lost history speaks of is not told again.
            let again = !matches!(fate, Fate::Answered | Fate::Failed(StoreFaultKind::HistoryLost));
            state.unanswered = again.then_some(told);
        });
        match fate {
            Fate::Answered => self.ledger.settle(settlements).await,
            Fate::Lost => {
                self.ledger.settle(settlements).await?;
                Err(away(StoreFaultKind::Unavailable))
            }
            Fate::Failed(kind) => Err(away(kind)),
        }
    }

    async fn intend(&mut self, intent: Intent<'_, ModelMark, StoredEvent>) -> Result<Verdict, StoreFault> {
        self.ledger.intend(intent).await
    }

    async fn resolve(&mut self, leases: &[Lease], committed: Option<Stamp>) -> Result<Resolved, StoreFault> {
        self.ledger.resolve(leases, committed).await
    }

    async fn parked(&mut self, ask: ParkedAsk<'_>) -> Result<ParkedPage, StoreFault> {
        match self.connection.next(Called::Other) {
            Fate::Failed(kind) => Err(away(kind)),
            _ => self.ledger.parked(ask).await,
        }
    }

    async fn due(&mut self, ask: DueAsk<'_>) -> Result<DuePage<StoredEvent>, StoreFault> {
        match self.connection.next(Called::Other) {
            Fate::Failed(kind) => Err(away(kind)),
            _ => self.ledger.due(ask).await,
        }
    }
}
