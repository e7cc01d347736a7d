//! eventferry, as anybody would run it: the library's relay with its defaults.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eventferry::Relay;
use eventferry::core::machine::{COMMIT, Delivery, Settings};
use eventferry::core::publisher::{
    Abilities, Domain, Outcome, Publisher, Report, Role, Route, Session, Taken, Token,
};
use eventferry::core::{Envelope, OutboxId, PublishFault, Stamp};
use eventferry::kafka::{KafkaConfig, KafkaPublisher};
use eventferry::postgres::{PostgresConfig, PostgresStore};
use tokio::sync::Notify;

use super::stopwatch::Stopwatch;
use crate::failure::{Attempt as _, Failure, failure};
use crate::topic::Topic;

/// Carries all events but those that are `waiting` behind a poison one; the stopwatch runs from the relay's start,
/// before it connects or holds a lane, to the last acknowledgement. Returns when the relay has settled everything and
/// handed its lanes over.
pub(super) async fn carry(
    config: PostgresConfig,
    delivery: Delivery,
    topic: &Topic,
    (events, waiting): (u64, u64),
    stopwatch: &mut Stopwatch,
) -> Result<(), Failure> {
    let events = events - waiting;
    let tally = Arc::new(Tally { wanted: events, acknowledged: AtomicU64::new(0), reached: Notify::new() });
    let store = PostgresStore::new(config);
    let config = KafkaConfig::new(topic.brokers());
    let publisher = KafkaPublisher::new(config).attempt("configure the publisher")?;
    let publisher = Counted { inner: publisher, tally: Arc::clone(&tally) };
    let settings = Settings::default().delivering(delivery);
    let relay = Relay::builder().store(store).publisher(publisher).settings(settings);
    let relay = relay.build().attempt("build the relay")?;
    let done = async {
        tally.reached.notified().await;
        stopwatch.stop();
    };
    let finished = relay.run(done).await.attempt("run the relay")?;
    if finished.shipped == events && finished.parked <= waiting && finished.settled {
        Ok(())
    } else {
        Err(failure(format!("{events} events were to be shipped and settled; the relay says {finished:?}")))
    }
}

struct Tally {
    wanted: u64,
    acknowledged: AtomicU64,
    reached: Notify,
}

impl Tally {
    fn count(&self, acknowledged: u64) {
        let sum = self.acknowledged.fetch_add(acknowledged, Ordering::Relaxed) + acknowledged;
        if sum >= self.wanted {
            self.reached.notify_one();
        }
    }
}

/// A publisher whose acknowledgements are counted on their way.
struct Counted<P> {
    inner: P,
    tally: Arc<Tally>,
}

struct CountedSession<S> {
    inner: S,
    tally: Arc<Tally>,
    /// How many were sent in each transaction that is not committed; none: there are no transactions.
    sent: VecDeque<u64>,
}

impl<S> CountedSession<S> {
    fn new(inner: S, tally: &Arc<Tally>) -> Self {
        Self { inner, tally: Arc::clone(tally), sent: VecDeque::new() }
    }

    /// Counts what reports say, in transactions when those are committed.
    fn count(&mut self, reports: &[Report], transacts: bool) {
        let acknowledged = reports.iter().filter(|report| matches!(report.outcome, Outcome::Acknowledged));
        let counted = if transacts {
            let committed = acknowledged.filter(|report| report.token == COMMIT);
            committed.map(|_| self.sent.pop_front().unwrap_or(0)).sum()
        } else {
            acknowledged.count() as u64
        };
        self.tally.count(counted);
    }
}

impl<P: Publisher> Publisher for Counted<P> {
    type Session = CountedSession<P::Session>;

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    async fn connect(&self, role: Role) -> Result<Self::Session, PublishFault> {
        let inner = self.inner.connect(role).await?;
        Ok(CountedSession::new(inner, &self.tally))
    }

    async fn take_over(&self, outbox: &OutboxId) -> Result<(Self::Session, Option<Stamp>), PublishFault> {
        let (inner, stamp) = self.inner.take_over(outbox).await?;
        Ok((CountedSession::new(inner, &self.tally), stamp))
    }

    fn learn(&self, topic: &str) -> impl Future<Output = Result<(), PublishFault>> + Send {
        self.inner.learn(topic)
    }

    fn route(&self, envelope: &Envelope<'_>) -> Route {
        self.inner.route(envelope)
    }
}

impl<S: Session> Session for CountedSession<S> {
    fn send(&mut self, token: Token, domain: Domain, envelope: &Envelope<'_>) -> Taken {
        let taken = self.inner.send(token, domain, envelope);
        if let (Taken::Yes, Some(sent)) = (taken, self.sent.back_mut()) {
            *sent += 1;
        }
        taken
    }

    fn begin(&mut self, token: Token, stamp: Stamp) -> Taken {
        self.sent.push_back(0);
        self.inner.begin(token, stamp)
    }

    fn commit(&mut self, token: Token) {
        self.inner.commit(token);
    }

    fn abort(&mut self, token: Token) {
        self.sent.pop_back();
        self.inner.abort(token);
    }

    async fn reports(&mut self, into: &mut Vec<Report>) {
        let before = into.len();
        self.inner.reports(into).await;
        let transacts = !self.sent.is_empty();
        self.count(&into[before..], transacts);
    }

    async fn abandon(self, within: Duration) -> Vec<Report> {
        let Self { inner, tally, sent } = self;
        let reports = inner.abandon(within).await;
        if sent.is_empty() {
            let acknowledged = |report: &&Report| matches!(report.outcome, Outcome::Acknowledged);
            tally.count(reports.iter().filter(acknowledged).count() as u64);
        }
        reports
    }
}
