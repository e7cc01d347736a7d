//! Whether a relay can do its work, told from the last answers of its store and its publisher.

use std::sync::{Arc, Mutex, PoisonError};

use eventferry::core::publisher::{Abilities, Publisher, Role, Route};
use eventferry::core::store::{Capabilities, Claim, Held, Lanes, Prepare, Prepared, RelayId, Roles, Store};
use eventferry::core::{Envelope, OutboxId, PublishFault, Stamp, StoreFault};

/// What is known of a relay's two sides; shared by those who look and those who answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<Mutex<Sides>>);

#[derive(Debug)]
struct Sides {
    /// `Err`: why it is not ready.
    store: Result<(), String>,
    publisher: Result<(), String>,
    draining: bool,
}

impl Default for Sides {
    fn default() -> Self {
        let unheard = || Err("no answer yet".to_owned());
        Self { store: unheard(), publisher: unheard(), draining: false }
    }
}

impl Readiness {
    /// Ready, or why not.
    ///
    /// # Errors
    /// One line for each thing in the way.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.with(|sides| {
            let mut lines = Vec::new();
            if sides.draining {
                lines.push("draining".to_owned());
            }
            for (name, side) in [("store", &sides.store), ("publisher", &sides.publisher)] {
                if let Err(why) = side {
                    lines.push(format!("{name}: {why}"));
                }
            }
            if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
        })
    }

    /// From now on it hands its lanes over.
    pub(crate) fn drain(&self) {
        self.with(|sides| sides.draining = true);
    }

    fn store<T>(&self, answer: &Result<T, StoreFault>) {
        self.with(|sides| sides.store = outcome(answer));
    }

    pub(crate) fn publisher<T>(&self, answer: &Result<T, PublishFault>) {
        self.with(|sides| sides.publisher = outcome(answer));
    }

    fn with<T>(&self, look: impl FnOnce(&mut Sides) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn outcome<T, K: std::fmt::Debug>(
    answer: &Result<T, eventferry::core::fault::Fault<K>>,
) -> Result<(), String> {
    answer.as_ref().map(|_| ()).map_err(|fault| fault.message().to_owned())
}

/// A store whose leases are watched: one that renews them works.
#[derive(Debug)]
pub(crate) struct WatchedStore<S> {
    pub(crate) store: S,
    pub(crate) readiness: Readiness,
}

/// The lanes of a [`WatchedStore`].
#[derive(Debug)]
pub(crate) struct WatchedLanes<L> {
    lanes: L,
    readiness: Readiness,
}

impl<S: Store> Store for WatchedStore<S> {
    type Mark = S::Mark;
    type Row = S::Row;
    type Lanes = WatchedLanes<S::Lanes>;
    type Feed = S::Feed;
    type Doorbell = S::Doorbell;
    type Ledger = S::Ledger;
    type Upkeep = S::Upkeep;
    type Desk = S::Desk;

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn prepare(&mut self, prepare: Prepare) -> Result<Prepared, StoreFault> {
        let prepared = self.store.prepare(prepare).await;
        if prepared.is_err() {
            self.readiness.store(&prepared);
        }
        prepared
    }

    fn roles(self, relay: &RelayId) -> Roles<Self> {
        let Roles { lanes, feed, doorbell, ledger, upkeep, desk } = self.store.roles(relay);
        let lanes = WatchedLanes { lanes, readiness: self.readiness };
        Roles { lanes, feed, doorbell, ledger, upkeep, desk }
    }
}

impl<L: Lanes> Lanes for WatchedLanes<L> {
    async fn hold(&mut self, claim: Claim) -> Result<Held, StoreFault> {
        let held = self.lanes.hold(claim).await;
        self.readiness.store(&held);
        held
    }
}

/// A publisher whose main sessions are watched: one that can be opened works, until one cannot.
#[derive(Debug)]
pub(crate) struct WatchedPublisher<P> {
    pub(crate) publisher: P,
    pub(crate) readiness: Readiness,
}

impl<P: Publisher> Publisher for WatchedPublisher<P> {
    type Session = P::Session;

    fn abilities(&self) -> Abilities {
        self.publisher.abilities()
    }

    async fn connect(&self, role: Role) -> Result<Self::Session, PublishFault> {
        let session = self.publisher.connect(role).await;
        if role == Role::Main {
            self.readiness.publisher(&session);
        }
        session
    }

    async fn take_over(&self, outbox: &OutboxId) -> Result<(Self::Session, Option<Stamp>), PublishFault> {
        let session = self.publisher.take_over(outbox).await;
        self.readiness.publisher(&session);
        session
    }

    async fn learn(&self, topic: &str) -> Result<(), PublishFault> {
        self.publisher.learn(topic).await
    }

    fn route(&self, envelope: &Envelope<'_>) -> Route {
        self.publisher.route(envelope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventferry::core::{PublishFaultKind, StoreFaultKind};

    #[test]
    fn it_is_ready_when_both_sides_answer_and_until_it_drains() {
        let readiness = Readiness::default();
        assert_eq!(readiness.check().unwrap_err().lines().count(), 2);
        readiness.store(&Ok(()));
        assert_eq!(readiness.check(), Err("publisher: no answer yet".into()));
        readiness.publisher(&Ok(()));
        assert_eq!(readiness.check(), Ok(()));
        readiness.store::<()>(&Err(StoreFault::new(StoreFaultKind::Unavailable, "away")));
        readiness.publisher::<()>(&Err(PublishFault::new(PublishFaultKind::Unavailable, "gone")));
        assert_eq!(readiness.check(), Err("store: away\npublisher: gone".into()));
        readiness.drain();
        assert!(readiness.check().unwrap_err().starts_with("draining\n"));
    }
}
