//! Whether a relay can do its work, told from the last answers of its store and its publisher.

use std::sync::{Arc, Mutex, PoisonError};

use eventferry::core::publisher::{Abilities, Publisher, Role, Route};
use eventferry::core::store::{Capabilities, Claim, Held, Lanes, Prepare, Prepared, RelayId, Roles, Store};
use eventferry::core::{Envelope, OutboxId, PublishFault, Stamp, StoreFault};
use eventferry::kafka::{KafkaClusters, KafkaPublisher};

/// What is known of a relay's two sides; shared by those who look and those who answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<Mutex<Sides>>);

#[derive(Debug)]
struct Sides {
    /// `Err`: why it is not ready.
    store: Result<(), String>,
    publisher: Vec<Answer>,
    draining: bool,
}

/// How a publisher answered, or one of its clusters.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The cluster's name, where there are several.
    cluster: Option<String>,
    /// `Err`: why it is not ready.
    outcome: Result<(), String>,
}

impl Answer {
    /// That of a publisher with one cluster.
    pub(crate) fn of_one<T>(answer: &Result<T, PublishFault>) -> Self {
        Self { cluster: None, outcome: outcome(answer) }
    }

    /// What there is to say of it: which one it is of, and what.
    fn line(&self) -> Option<String> {
        match (&self.cluster, &self.outcome) {
            (None, Ok(())) => None,
            (None, Err(why)) => Some(format!("publisher: {why}")),
            (Some(name), Ok(())) => Some(format!("publisher {name}: ready")),
            (Some(name), Err(why)) => Some(format!("publisher {name}: {why}")),
        }
    }
}

/// A publisher that can tell how each of its clusters answered when a session was last opened.
pub(crate) trait Answering: Publisher {
    /// The answers, if this is what came of opening one.
    fn answers<T>(&self, opened: &Result<T, PublishFault>) -> Vec<Answer>;
}

impl Answering for KafkaPublisher {
    fn answers<T>(&self, opened: &Result<T, PublishFault>) -> Vec<Answer> {
        vec![Answer::of_one(opened)]
    }
}

impl Answering for KafkaClusters {
    fn answers<T>(&self, _: &Result<T, PublishFault>) -> Vec<Answer> {
        let answer = |outcome: Option<Result<(), String>>| outcome.unwrap_or_else(unheard);
        let all = self.health().into_iter();
        all.map(|cluster| Answer { cluster: Some(cluster.name), outcome: answer(cluster.opened) }).collect()
    }
}

fn unheard() -> Result<(), String> {
    Err("no answer yet".to_owned())
}

impl Default for Sides {
    fn default() -> Self {
        let publisher = vec![Answer { cluster: None, outcome: unheard() }];
        Self { store: unheard(), publisher, draining: false }
    }
}

impl Readiness {
    /// Ready, or why not; with a line for each cluster where there are several.
    ///
    /// # Errors
    /// One line for each thing in the way.
    pub(crate) fn check(&self) -> Result<Vec<String>, Vec<String>> {
        self.with(|sides| {
            let draining = sides.draining.then(|| "draining".to_owned());
            let store = sides.store.as_ref().err().map(|why| format!("store: {why}"));
            let is_ready = draining.is_none() && store.is_none();
            let is_ready = is_ready && sides.publisher.iter().all(|answer| answer.outcome.is_ok());
            let publisher = sides.publisher.iter().filter_map(Answer::line);
            let lines = draining.into_iter().chain(store).chain(publisher).collect();
            if is_ready { Ok(lines) } else { Err(lines) }
        })
    }

    /// From now on it hands its lanes over.
    pub(crate) fn drain(&self) {
        self.with(|sides| sides.draining = true);
    }

    fn store<T>(&self, answer: &Result<T, StoreFault>) {
        self.with(|sides| sides.store = outcome(answer));
    }

    pub(crate) fn publisher(&self, answers: Vec<Answer>) {
        self.with(|sides| sides.publisher = answers);
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

impl<P: Answering> Publisher for WatchedPublisher<P> {
    type Session = P::Session;

    fn abilities(&self) -> Abilities {
        self.publisher.abilities()
    }

    async fn connect(&self, role: Role) -> Result<Self::Session, PublishFault> {
        let session = self.publisher.connect(role).await;
        if role == Role::Main {
            self.readiness.publisher(self.publisher.answers(&session));
        }
        session
    }

    async fn take_over(&self, outbox: &OutboxId) -> Result<(Self::Session, Option<Stamp>), PublishFault> {
        let session = self.publisher.take_over(outbox).await;
        self.readiness.publisher(self.publisher.answers(&session));
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

    fn fault() -> PublishFault {
        PublishFault::new(PublishFaultKind::Unavailable, "gone")
    }

    #[test]
    fn it_is_ready_when_both_sides_answer_and_until_it_drains() {
        let readiness = Readiness::default();
        let answer = |answer: Result<(), PublishFault>| readiness.publisher(vec![Answer::of_one(&answer)]);
        assert_eq!(readiness.check().unwrap_err().len(), 2);
        readiness.store(&Ok(()));
        assert_eq!(readiness.check().unwrap_err(), ["publisher: no answer yet"]);
        answer(Ok(()));
        assert_eq!(readiness.check(), Ok(Vec::new()));
        readiness.store::<()>(&Err(StoreFault::new(StoreFaultKind::Unavailable, "away")));
        answer(Err(fault()));
        assert_eq!(readiness.check().unwrap_err(), ["store: away", "publisher: gone"]);
        readiness.drain();
        assert_eq!(readiness.check().unwrap_err()[0], "draining");
    }

    #[test]
    fn where_there_are_several_clusters_each_has_a_line_and_all_must_answer() {
        let readiness = Readiness::default();
        readiness.store(&Ok(()));
        let of = |name: &str, outcome| Answer { cluster: Some(name.to_owned()), outcome };
        readiness.publisher(vec![of("a", Ok(())), of("b", Err("gone".to_owned()))]);
        assert_eq!(readiness.check().unwrap_err(), ["publisher a: ready", "publisher b: gone"]);
        readiness.publisher(vec![of("a", Ok(())), of("b", Ok(()))]);
        assert_eq!(readiness.check().unwrap(), ["publisher a: ready", "publisher b: ready"]);
    }
}
