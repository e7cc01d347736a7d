//! Calls under way: each store role and each broker call runs as a task of its own and comes back as an answer.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use eventferry_core::machine::{AggregateKey, TopicId};
use eventferry_core::parked::{DueAsk, DuePage, ParkedAsk, ParkedKey, ParkedPage};
use eventferry_core::publisher::{Publisher, Report, Role, Session};
use eventferry_core::store::{
    Claim, Doorbell, Feed, Held, Lanes, Ledger, Opened, Page, Store, Verdict, Wish,
};
use eventferry_core::transaction::Resolved;
use eventferry_core::{Lane, Lease, OutboxId, PublishFault, Stamp, StoreFault};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};

use crate::told::{Told, ToldIntent, ToldLane};

/// What came back. A role that was called comes with its answer.
pub(crate) enum Answer<S: Store, P: Publisher> {
    Held(S::Lanes, Result<Held, StoreFault>),
    Opened(S::Feed, Result<Vec<Opened>, StoreFault>),
    Page(S::Feed, Result<Page<S::Mark, S::Row>, StoreFault>),
    /// How often.
    Rung(S::Doorbell, u32),
    GotUp(S::Doorbell),
    Settled(S::Ledger, Told<S>, Result<Vec<Verdict>, StoreFault>),
    Intended(S::Ledger, ToldIntent<S::Mark, S::Row>, Result<Verdict, StoreFault>),
    Resolved(S::Ledger, Result<Resolved, StoreFault>),
    Parked(S::Ledger, Result<ParkedPage, StoreFault>),
    Due(S::Ledger, Result<DuePage<S::Row>, StoreFault>),
    Learned(TopicId, Result<(), PublishFault>),
    Connected(Role, Result<P::Session, PublishFault>),
    TakenOver(Result<(P::Session, Option<Stamp>), PublishFault>),
    Abandoned(Role, Vec<Report>),
}

/// An aggregate's key in the core.
pub(crate) fn aggregate_key(aggregate_type: &str, aggregate_id: &str) -> AggregateKey {
    // The same keys in every process, so that a run can be followed twice.
    let mut hasher = DefaultHasher::new();
    aggregate_type.hash(&mut hasher);
    aggregate_id.hash(&mut hasher);
    AggregateKey(hasher.finish())
}

/// How many parked events are listed at once.
const PARKED_LIMIT: u32 = 1_000;

/// A [`DueAsk`] that owns what it names.
pub(crate) struct DueWanted {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) except_topics: Vec<String>,
    pub(crate) after: Option<ParkedKey>,
    pub(crate) records_max: u32,
    pub(crate) bytes_max: u64,
}

/// The roles at rest, and the tasks of those under way.
pub(crate) struct Calls<S: Store, P: Publisher> {
    lanes: Option<S::Lanes>,
    feed: Option<S::Feed>,
    doorbell: Option<S::Doorbell>,
    /// Dropped to end the waiting for the bell.
    lying: Option<oneshot::Sender<()>>,
    ledger: Option<S::Ledger>,
    publisher: Arc<P>,
    tasks: JoinSet<Answer<S, P>>,
}

impl<S: Store, P: Publisher> Calls<S, P> {
    pub(crate) fn new(
        (lanes, feed, doorbell, ledger): (S::Lanes, S::Feed, S::Doorbell, S::Ledger),
        publisher: Arc<P>,
    ) -> Self {
        Self {
            lanes: Some(lanes),
            feed: Some(feed),
            doorbell: Some(doorbell),
            lying: None,
            ledger: Some(ledger),
            publisher,
            tasks: JoinSet::new(),
        }
    }

    /// Waits for the next answer. With nothing under way it waits for ever. Dropping the future loses none.
    ///
    /// # Errors
    /// A call panicked: its role is gone.
    pub(crate) async fn answer(&mut self) -> Result<Answer<S, P>, JoinError> {
        match self.tasks.join_next().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    /// Puts a role back that came with its answer.
    pub(crate) fn rest_lanes(&mut self, lanes: S::Lanes) {
        self.lanes = Some(lanes);
    }

    pub(crate) fn rest_feed(&mut self, feed: S::Feed) {
        self.feed = Some(feed);
    }

    pub(crate) fn rest_doorbell(&mut self, doorbell: S::Doorbell) {
        (self.doorbell, self.lying) = (Some(doorbell), None);
    }

    pub(crate) fn rest_ledger(&mut self, ledger: S::Ledger) {
        self.ledger = Some(ledger);
    }

    pub(crate) fn hold(&mut self, claim: Claim) {
        let Some(mut lanes) = self.lanes.take() else { return };
        self.start(async move {
            let held = lanes.hold(claim).await;
            Answer::Held(lanes, held)
        });
    }

    pub(crate) fn open(&mut self, leases: Vec<Lease>) {
        let Some(mut feed) = self.feed.take() else { return };
        self.start(async move {
            let opened = feed.open(&leases).await;
            Answer::Opened(feed, opened)
        });
    }

    pub(crate) fn close(&mut self, lanes: &[Lane]) {
        if let Some(feed) = &mut self.feed {
            feed.close(lanes);
        }
    }

    pub(crate) fn read(&mut self, lanes: Vec<Lane>, records_max: u32, bytes_max: u64) {
        let Some(mut feed) = self.feed.take() else { return };
        self.start(async move {
            let page = feed.read(Wish { lanes: &lanes, records_max, bytes_max }).await;
            Answer::Page(feed, page)
        });
    }

    /// Waits for the bell, until it rings or [`Calls::get_up`] ends it.
    pub(crate) fn lie_down(&mut self) {
        let Some(mut doorbell) = self.doorbell.take() else { return };
        let (lying, over) = oneshot::channel();
        self.lying = Some(lying);
        self.start(async move {
            let rings = tokio::select! {
                biased;
                rings = doorbell.wait() => Some(rings),
                _ = over => None,
            };
            match rings {
                Some(rings) => Answer::Rung(doorbell, rings),
                None => up(doorbell).await,
            }
        });
    }

    /// Ends the waiting for the bell, and its ringing.
    pub(crate) fn get_up(&mut self) {
        self.lying = None;
        if let Some(doorbell) = self.doorbell.take() {
            self.start(up(doorbell));
        }
    }

    pub(crate) fn list_parked(&mut self, lanes: Vec<Lane>, after: Option<ParkedKey>) {
        let Some(mut ledger) = self.ledger.take() else { return };
        self.start(async move {
            let page = ledger.parked(ParkedAsk { lanes: &lanes, after, limit: PARKED_LIMIT }).await;
            Answer::Parked(ledger, page)
        });
    }

    pub(crate) fn read_due(&mut self, wanted: DueWanted) {
        let Some(mut ledger) = self.ledger.take() else { return };
        self.start(async move {
            let DueWanted { lanes, except_topics, after, records_max, bytes_max } = &wanted;
            let except: Vec<&str> = except_topics.iter().map(String::as_str).collect();
            let (after, records_max, bytes_max) = (*after, *records_max, *bytes_max);
            let page =
                ledger.due(DueAsk { lanes, except_topics: &except, after, records_max, bytes_max }).await;
            Answer::Due(ledger, page)
        });
    }

    pub(crate) fn settle(&mut self, told: Told<S>) {
        let Some(mut ledger) = self.ledger.take() else { return };
        self.start(async move {
            let settlements: Vec<_> = told.iter().map(ToldLane::settlement).collect();
            let verdicts = ledger.settle(&settlements).await;
            drop(settlements);
            Answer::Settled(ledger, told, verdicts)
        });
    }

    pub(crate) fn intend(&mut self, told: ToldIntent<S::Mark, S::Row>) {
        let Some(mut ledger) = self.ledger.take() else { return };
        self.start(async move {
            let verdict = ledger.intend(told.intent()).await;
            Answer::Intended(ledger, told, verdict)
        });
    }

    pub(crate) fn resolve(&mut self, leases: Vec<Lease>, committed: Option<Stamp>) {
        let Some(mut ledger) = self.ledger.take() else { return };
        self.start(async move {
            let resolved = ledger.resolve(&leases, committed).await;
            Answer::Resolved(ledger, resolved)
        });
    }

    pub(crate) fn take_over(&mut self, outbox: OutboxId) {
        let publisher = Arc::clone(&self.publisher);
        self.start(async move { Answer::TakenOver(publisher.take_over(&outbox).await) });
    }

    pub(crate) fn learn(&mut self, topic: TopicId, name: String) {
        let publisher = Arc::clone(&self.publisher);
        self.start(async move { Answer::Learned(topic, publisher.learn(&name).await) });
    }

    pub(crate) fn connect(&mut self, role: Role) {
        let publisher = Arc::clone(&self.publisher);
        self.start(async move { Answer::Connected(role, publisher.connect(role).await) });
    }

    pub(crate) fn abandon(&mut self, role: Role, session: P::Session, within: Duration) {
        self.start(async move { Answer::Abandoned(role, session.abandon(within).await) });
    }

    fn start(&mut self, call: impl Future<Output = Answer<S, P>> + Send + 'static) {
        self.tasks.spawn(call);
    }
}

async fn up<S: Store, P: Publisher>(mut doorbell: S::Doorbell) -> Answer<S, P> {
    doorbell.get_up().await;
    Answer::GotUp(doorbell)
}
