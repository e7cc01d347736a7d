//! A store in memory: the smallest one that keeps every clause, for tests and as an example.
//!
//! It is a log in the order of commits. An event gets its place when its transaction commits, so a late commit simply
//! comes later, and a lane's position is the place up to which it was settled. Everything sits behind one lock, time
//! is moved by [`ModelOutbox::advance`] alone, and every future is ready when first polled.
//!
//! | idea | where |
//! |---|---|
//! | the log, the lanes, the relays, the clock | `world.rs` |
//! | a transaction: what it enqueued is its own until it commits | `writer.rs` |
//! | who owns which lane | `lanes.rs` |
//! | reading on from a position | `feed.rs` |
//! | ringing for what was committed since | `doorbell.rs` |
//! | moving positions, parking | `ledger.rs` |
//! | what is settled with a transaction of the broker's | `intents.rs` |
//! | what is parked: changing it, handing it over when it is due | `parked.rs` |
//! | removing what is settled, counting what is not | `upkeep.rs` |
//! | what people see and decide | `desk.rs` |
//!
//! Told to declare less ([`Model::declaring`]) it does less: it deletes what is settled, leases all lanes at once,
//! holds back what a slow transaction might still precede, or lets one transaction write at a time. [`Flaw`] lists
//! what can be broken in it on purpose.

mod desk;
mod doorbell;
mod feed;
mod flaw;
mod intents;
mod lanes;
mod ledger;
mod parked;
mod store;
mod upkeep;
mod world;
mod writer;

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use eventferry_core::store::{Capabilities, Keeps, LogGauge, Order, Ownership, Stall};
use eventferry_core::{Enqueue, EnqueueFault, Event, MessageId};

pub use desk::ModelDesk;
pub use doorbell::ModelDoorbell;
pub use feed::ModelFeed;
pub(crate) use flaw::flaws;
pub use flaw::{FLAWS, Flaw};
pub use lanes::ModelLanes;
pub use ledger::ModelLedger;
pub use store::{ModelMark, ModelStore};
pub use upkeep::ModelUpkeep;
pub use writer::{ModelEnqueue, ModelWriter};

use crate::clause::Declared;
use crate::subject::{Audited, Reach, Step, Subject, Trouble, Writers};
use world::World;

/// The model as a subject of the clauses: whole, of lesser capabilities, or with a flaw.
#[derive(Clone, Debug)]
pub struct Model {
    declared: Declared,
    flaw: Option<Flaw>,
}

impl Default for Model {
    fn default() -> Self {
        Self { declared: declared_in_full(), flaw: None }
    }
}

impl Model {
    /// What the model declares unless told otherwise: it can do everything.
    pub fn declared(&self) -> &Declared {
        &self.declared
    }

    /// A model that declares this, and behaves as it declares.
    #[must_use]
    pub fn declaring(self, declared: Declared) -> Self {
        Self { declared, ..self }
    }

    /// A model that breaks the contract in this way.
    #[must_use]
    pub fn with_flaw(self, flaw: Flaw) -> Self {
        Self { flaw: Some(flaw), ..self }
    }
}

fn declared_in_full() -> Declared {
    let capabilities = Capabilities {
        order: Order::Strict,
        keeps: Keeps::Log,
        ownership: Ownership::PerLane,
        stall: Stall::None,
        savepoints: true,
        doorbell: true,
        events_per_transaction_max: u64::MAX,
        in_table: true,
        payload_bytes_max: 2 << 20,
        settle_items_max: u32::MAX,
        intents: true,
    };
    Declared { capabilities, writers: Writers::Many, reach: Reach { rewinds: true, audits: true } }
}

impl Subject for Model {
    type Store = ModelStore;
    type Outbox = ModelOutbox;
    type Writer = ModelWriter;

    fn writers(&self) -> Writers {
        self.declared.writers
    }

    fn reach(&self) -> Reach {
        self.declared.reach
    }

    async fn outbox(&self) -> Result<ModelOutbox, Trouble> {
        Ok(ModelOutbox::new(self.declared.clone(), self.flaw))
    }

    async fn store(&self, outbox: &ModelOutbox) -> Result<ModelStore, Trouble> {
        Ok(outbox.store())
    }

    async fn writer(&self, outbox: &ModelOutbox) -> Result<ModelWriter, Trouble> {
        Ok(outbox.writer())
    }

    async fn step(&self, writer: &mut ModelWriter, step: Step) -> Result<(), Trouble> {
        writer.step(step);
        Ok(())
    }

    async fn enqueue(
        &self,
        writer: &mut ModelWriter,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        ModelEnqueue.enqueue(writer, events).await
    }

    async fn advance(&self, outbox: &ModelOutbox, by: Duration) -> bool {
        outbox.advance(by);
        true
    }

    async fn rewind(&self, outbox: &ModelOutbox) -> Result<(), Trouble> {
        outbox.world.lock().rewind();
        Ok(())
    }

    async fn audit(&self, outbox: &ModelOutbox) -> Result<Vec<Audited>, Trouble> {
        Ok(outbox.world.lock().audit.clone())
    }

    fn block_on<F: Future>(&self, work: F) -> F::Output {
        block_on(work)
    }
}

/// An outbox in memory; clones are the same outbox.
#[derive(Clone, Debug)]
pub struct ModelOutbox {
    world: Shared,
}

impl Default for ModelOutbox {
    fn default() -> Self {
        Self::new(declared_in_full(), None)
    }
}

impl ModelOutbox {
    fn new(declared: Declared, flaw: Option<Flaw>) -> Self {
        Self { world: Shared(Arc::new(Mutex::new(World::new(declared, flaw)))) }
    }

    /// A new store instance on this outbox.
    pub fn store(&self) -> ModelStore {
        ModelStore::new(self.world.clone())
    }

    /// A new application on this outbox.
    pub fn writer(&self) -> ModelWriter {
        ModelWriter::new(self.world.clone())
    }

    /// Moves the outbox's clock, which otherwise goes on by a microsecond whenever it is looked at.
    pub fn advance(&self, by: Duration) {
        self.world.lock().advance(by);
    }

    /// Sets what the store says that its database's log keeps for relays; at first nothing.
    pub fn keep_log(&self, kept: Option<LogGauge>) {
        self.world.lock().kept = kept;
    }
}

/// The world that the handles of one outbox share.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<World>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a future to its end on this thread, for back ends that need no runtime.
pub fn block_on<F: Future>(work: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut work = pin!(work);
    loop {
        match work.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
