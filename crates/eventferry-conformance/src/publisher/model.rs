//! A broker and a publisher in memory: the smallest that keep every clause.
//!
//! | idea | where |
//! |---|---|
//! | topics, partitions, limits | `broker.rs` |
//! | learning, routing, connecting | `factory.rs` |
//! | transactions, and who may end them | `coordinator.rs` |
//! | sending, reporting, ending | `session.rs` |
//!
//! A message is written when its session is waited upon. A session for the stream of events is gapless: after a refusal
//! it writes nothing more and has ended. [`Flaw`] lists what can be broken on purpose.

mod broker;
mod coordinator;
mod factory;
mod flaw;
mod session;

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventferry_core::publisher::{Abilities, Pipeline, Refusal};

pub use factory::ModelPublisher;
pub use flaw::{FLAWS, Flaw};
pub use session::ModelSession;

use super::clause::Declared;
use super::subject::{Delivered, Reach, Subject};
use crate::subject::Trouble;
use broker::Broker;

/// The model as a subject of the clauses: whole, of lesser abilities, or with a flaw.
#[derive(Clone, Debug)]
pub struct Model {
    broker: Shared,
    declared: Declared,
}

impl Default for Model {
    fn default() -> Self {
        let abilities = Abilities {
            pipeline: Pipeline::Gapless,
            first_alone: None,
            refusal: Refusal::PerRecord,
            durable_ack: false,
            transactions: NonZeroU32::new(1),
        };
        let reach = Reach { partitions: true, times: true, limits: true };
        Self { broker: Shared::new(None), declared: Declared { abilities, reach } }
    }
}

impl Model {
    /// What the model declares unless told otherwise: it can do everything but outlive its process.
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
        Self { broker: Shared::new(Some(flaw)), ..self }
    }
}

impl Subject for Model {
    type Publisher = ModelPublisher;

    fn reach(&self) -> Reach {
        self.declared.reach
    }

    async fn publisher(&self) -> Result<ModelPublisher, Trouble> {
        Ok(ModelPublisher::new(self.broker.clone(), self.declared.abilities.clone()))
    }

    async fn create(&self, topic: &str, partitions: u16) -> Result<(), Trouble> {
        let partitions = if self.declared.reach.partitions { partitions } else { 1 };
        self.broker.lock().create(topic, partitions);
        Ok(())
    }

    async fn limit(&self, topic: &str, bytes: usize) -> Result<(), Trouble> {
        self.broker.lock().limit(topic, bytes);
        Ok(())
    }

    async fn read(&self, topic: &str) -> Result<Vec<Delivered>, Trouble> {
        let mut messages = self.broker.lock().read(topic);
        if !self.declared.reach.times {
            messages.iter_mut().for_each(|message| message.millis = None);
        }
        Ok(messages)
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(300)
    }

    fn block_on<F: Future>(&self, work: F) -> F::Output {
        crate::model::block_on(work)
    }
}

/// The broker that the handles of one model share.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<Broker>>);

impl Shared {
    fn new(flaw: Option<Flaw>) -> Self {
        Self(Arc::new(Mutex::new(Broker::new(flaw))))
    }

    fn lock(&self) -> MutexGuard<'_, Broker> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
