//! The loop: what happened goes into the core, what it asks for is done.
//!
//! | room | what is done there |
//! |---|---|
//! | `arriving` | events from the log and from among the parked ones become the core's arrivals |
//! | `sending` | envelopes go to sessions, and their reports to the core |
//! | `settling` | the ledger is told, with the rows and causes that the core does not know |
//! | `answering` | what store and broker answered |
//! | `saying` | notices become lines, happenings and figures |

mod answering;
mod arriving;
mod saying;
mod sending;
mod settling;

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use eventferry_core::machine::{ABORT, Action, Arrival, COMMIT, Core, Delivery, RetryPolicy, Stop};
use eventferry_core::publisher::{Publisher, Report, Role, Session, Token};
use eventferry_core::store::{Prepare, Prepared, Store};
use eventferry_core::{OutboxId, PublishFault, PublishFaultKind, StoreFault, StoreFaultKind};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Relay;
use crate::calls::{Calls, DueWanted};
use crate::dead_letters::DeadLetterTopic;
use crate::news::News;
use crate::refusals::Refusals;
use crate::rows::Rows;
use crate::told::{Told, ToldIntent};
use crate::topics::TopicNumbers;
use crate::voice::Outage;

/// How a relay ended that was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Events that the broker acknowledged.
    pub shipped: u64,
    /// Events that were parked, those that wait behind others included.
    pub parked: u64,
    /// Whether all that was in flight was settled; if not, the grace time ran out, and the next relay sends it again.
    pub settled: bool,
}

/// Why a relay ended by itself: only what waiting does not mend.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The store says that something must be set right; the fault says what.
    Store(StoreFault),
    /// The publisher says that something must be set right; the fault says what.
    Publisher(PublishFault),
    /// A call of a store or publisher panicked, which is a bug there.
    Panicked(String),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(fault) => fault.fmt(f),
            Self::Publisher(fault) => fault.fmt(f),
            Self::Panicked(what) => write!(f, "a call panicked, which is a bug: {what}"),
        }
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Store(fault) => fault.source(),
            Self::Publisher(fault) => fault.source(),
            Self::Panicked(_) => None,
        }
    }
}

pub(crate) async fn run<S: Store, P: Publisher>(
    relay: Relay<S, P>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<Finished, RunError> {
    let Relay { mut store, publisher, id, settings, retention, log_kept_max, letters, retries, ears, ring } =
        relay;
    tokio::pin!(shutdown);
    let mut news = News::new(ears);
    // Before a lane is held there is nothing to hand over: shutting down is dropping.
    let prepared = tokio::select! {
        prepared = prepare(&mut store, settings.clone(), &mut news) => prepared,
        () = &mut shutdown => {
            news.end().await;
            return Ok(Finished { shipped: 0, parked: 0, settled: true });
        }
    };
    let outbox = match prepared {
        Ok(Prepared { lanes, outbox, .. }) => {
            tracing::info!(relay = id.0, lanes, "relay started");
            outbox
        }
        Err(fault) => {
            news.end().await;
            return Err(RunError::Store(fault));
        }
    };
    let exactly_once = settings.delivery == Delivery::ExactlyOnce;
    let core: Core<S::Mark> = Core::new(settings, &store.capabilities(), publisher.abilities());
    let roles = store.roles(&id);
    let publisher = Arc::new(publisher);
    let sweeping = tokio::spawn(crate::upkeep::sweep(roles.upkeep, retention, log_kept_max));
    let mut engine: Engine<S, P> = Engine {
        core,
        calls: Calls::new((roles.lanes, roles.feed, roles.doorbell, roles.ledger), Arc::clone(&publisher)),
        publisher,
        ring,
        started: Instant::now(),
        rows: Rows::new(),
        topics: TopicNumbers::default(),
        retries,
        letters,
        main: None,
        alone: None,
        told: None,
        intended: None,
        exactly_once,
        outbox,
        refusals: Refusals::default(),
        store_fault: None,
        publish_fault: None,
        news,
        finished: Finished { shipped: 0, parked: 0, settled: true },
        arrivals: Vec::new(),
        tokens: Vec::new(),
    };
    let ended = engine.run(shutdown).await;
    sweeping.abort();
    engine.news.end().await;
    ended
}

/// How events that were given up are carried.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    /// `None`: they wait for a person.
    pub(crate) topic: Option<DeadLetterTopic>,
    /// Whether a dead letter says where its event was.
    pub(crate) detail: bool,
    /// Who carries them.
    pub(crate) relay: String,
}

/// Waits for the database to answer, however long; only what waiting does not mend is an error.
async fn prepare<S: Store>(
    store: &mut S,
    settings: crate::Settings,
    news: &mut News,
) -> Result<Prepared, StoreFault> {
    use eventferry_core::StoreFaultKind::{Contended, Throttled, Unavailable};
    let mut pause = settings.retry_min;
    let mut outage = Outage::default();
    let started = Instant::now();
    loop {
        match store.prepare(Prepare::Check).await {
            Ok(prepared) => {
                news.store_prepared(outage);
                return Ok(prepared);
            }
            Err(fault) if matches!(fault.kind(), Unavailable | Contended | Throttled(_)) => {
                news.store_unprepared(&fault, started.elapsed(), &mut outage);
            }
            Err(fault) => return Err(fault),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(settings.retry_max);
    }
}

/// How many records are sent between two looks at the clock: some tens of microseconds.
const SENDS_A_LOOK: u32 = 32;

struct Engine<S: Store, P: Publisher> {
    core: Core<S::Mark>,
    calls: Calls<S, P>,
    publisher: Arc<P>,
    /// Rung from within this process.
    ring: Arc<Notify>,
    started: Instant,
    rows: Rows<S::Row>,
    topics: TopicNumbers,
    /// Policies of topics that have one of their own, by name.
    retries: HashMap<String, RetryPolicy>,
    letters: Letters,
    main: Option<P::Session>,
    alone: Option<P::Session>,
    /// The last settlement, while it is to be made again.
    told: Option<Told<S>>,
    /// The last intent, while it is to be made again.
    intended: Option<ToldIntent<S::Mark, S::Row>>,
    exactly_once: bool,
    /// What the broker calls this outbox.
    outbox: OutboxId,
    refusals: Refusals,
    store_fault: Option<StoreFault>,
    publish_fault: Option<PublishFault>,
    news: News,
    finished: Finished,
    arrivals: Vec<Arrival<S::Mark>>,
    tokens: Vec<Option<Token>>,
}

impl<S: Store, P: Publisher> Engine<S, P> {
    async fn run(
        &mut self,
        mut shutdown: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<Finished, RunError> {
        let mut draining = false;
        let (mut main, mut alone) = (Vec::new(), Vec::new());
        loop {
            let wake = match self.act() {
                Ok(wake) => wake,
                Err(stop) => return self.finish(stop),
            };
            let wake = wake.min(self.round());
            tokio::select! {
                // Fair, or answers that come one after the other would keep reports waiting.
                () = &mut shutdown, if !draining => {
                    draining = true;
                    tracing::info!("draining");
                    self.core.drain(self.started.elapsed());
                }
                answer = self.calls.answer() => match answer {
                    Ok(answer) => self.answered(answer),
                    Err(error) => return Err(RunError::Panicked(error.to_string())),
                },
                () = reports(&mut self.main, &mut main) => self.reported(Role::Main, &mut main),
                () = reports(&mut self.alone, &mut alone) => self.reported(Role::Alone, &mut alone),
                () = self.ring.notified() => self.core.ring(self.started.elapsed()),
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Does what the core asks for, until it sleeps; says until when.
    fn act(&mut self) -> Result<Instant, Stop> {
        let mut now = self.started.elapsed();
        let mut sends = 0;
        loop {
            match self.core.poll(now) {
                Action::Send(role, token, domain) => {
                    self.send(role, token, domain);
                    sends += 1;
                    // Looking at the clock costs as much as a tenth of a send.
                    if sends % SENDS_A_LOOK != 0 {
                        continue;
                    }
                }
                Action::Sleep(until) => {
                    let far = Duration::from_secs(3600);
                    return Ok(self.started + until.min(now + far));
                }
                Action::Stop(stop) => return Err(stop),
                action => self.perform(now, action),
            }
            now = self.started.elapsed();
        }
    }

    fn perform(&mut self, now: Duration, action: Action<S::Mark>) {
        match action {
            Action::Forget(tokens) => {
                for token in tokens {
                    self.rows.remove(token);
                    self.refusals.forget(token);
                }
            }
            Action::Route(token) => {
                let routed = self.route(token);
                self.core.handle_routed(now, token, routed);
            }
            Action::Hold(claim) => self.calls.hold(claim),
            Action::Open(leases) => self.open(leases),
            Action::Close(lanes) => self.close(&lanes),
            Action::ReadParked { lanes, after } => self.calls.list_parked(lanes, after),
            Action::ReadDue { lanes, except_topics, after, records_max, bytes_max } => {
                let except_topics = self.topics.names(&except_topics);
                self.calls.read_due(DueWanted { lanes, except_topics, after, records_max, bytes_max });
            }
            Action::Read { lanes, records_max, bytes_max } => self.calls.read(lanes, records_max, bytes_max),
            Action::LieDown => self.calls.lie_down(),
            Action::GetUp => self.calls.get_up(),
            Action::Settle(orders) => self.settle(orders),
            Action::SettleAgain => {
                if let Some(told) = self.told.take() {
                    self.calls.settle(told);
                }
            }
            Action::Intend(order) => self.intend(order),
            Action::IntendAgain => {
                if let Some(told) = self.intended.take() {
                    self.calls.intend(told);
                }
            }
            Action::Resolve { leases, committed } => self.calls.resolve(leases, committed),
            Action::Connect(role) => self.calls.connect(role),
            Action::TakeOver => self.calls.take_over(self.outbox.clone()),
            Action::Begin(stamp) => self.begin(stamp),
            Action::Commit => self.main.iter_mut().for_each(|session| session.commit(COMMIT)),
            Action::Abort => self.main.iter_mut().for_each(|session| session.abort(ABORT)),
            Action::Shipped(tokens) => self.shipped(tokens),
            Action::Learn(topic) => self.calls.learn(topic, self.topics.name(topic).to_owned()),
            Action::Abandon(role, within) => self.abandon(role, within),
            Action::Say(notice) => self.say(&notice),
            // The loop's own.
            Action::Send(..) | Action::Sleep(_) | Action::Stop(_) => {}
        }
    }

    /// Brings figures and listeners up to date; says when at the latest to do so again.
    fn round(&mut self) -> Instant {
        let now = self.started.elapsed();
        let (records, bytes) = self.core.load();
        let due = self.news.round(now, records, bytes);
        self.started + due.unwrap_or(now + Duration::from_secs(3600))
    }

    /// Keeps the last fault, for the notice that the core may make of it.
    fn store_failed(&mut self, fault: StoreFault) -> StoreFaultKind {
        let kind = *fault.kind();
        tracing::debug!(%fault, ?kind, "the store failed");
        self.store_fault = Some(fault);
        kind
    }

    fn publish_failed(&mut self, fault: PublishFault) -> PublishFaultKind {
        let kind = *fault.kind();
        tracing::debug!(%fault, ?kind, "the publisher failed");
        self.publish_fault = Some(fault);
        kind
    }

    fn finish(&mut self, stop: Stop) -> Result<Finished, RunError> {
        match stop {
            Stop::Drained => Ok(self.finished),
            Stop::GraceOver => Ok(Finished { settled: false, ..self.finished }),
            Stop::StoreMisconfigured => Err(RunError::Store(self.store_fault.take().unwrap_or_else(|| {
                StoreFault::new(StoreFaultKind::Misconfigured, "the store is misconfigured")
            }))),
            Stop::PublisherMisconfigured => {
                Err(RunError::Publisher(self.publish_fault.take().unwrap_or_else(|| {
                    PublishFault::new(PublishFaultKind::Misconfigured, "the publisher is misconfigured")
                })))
            }
        }
    }
}

async fn reports<T: Session>(session: &mut Option<T>, into: &mut Vec<Report>) {
    match session {
        Some(session) => session.reports(into).await,
        None => std::future::pending().await,
    }
}
