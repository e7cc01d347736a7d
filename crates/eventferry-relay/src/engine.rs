//! The loop: what happened goes into the core, what it asks for is done.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use eventferry_core::machine::{
    Action, Arrival, Core, Notice, Outcome as CoreOutcome, ParkedList, Routed, SettleOrder, Stop,
};
use eventferry_core::publisher::{Domain, Outcome, Publisher, Report, Role, Route, Session, Taken, Token};
use eventferry_core::store::{Page, Prepare, Store};
use eventferry_core::{Envelope, Lane, PublishFault, Record, Row, StoreFault};
use tokio::time::Instant;

use crate::Relay;
use crate::calls::{Answer, Calls, Told, ToldLane, aggregate_key};
use crate::rows::Rows;
use crate::topics::TopicNumbers;
use crate::voice::{Outage, Voice};

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
    let Relay { mut store, publisher, id, settings, retention, dead_letter_topic } = relay;
    tokio::pin!(shutdown);
    // Before a lane is held there is nothing to hand over: shutting down is dropping.
    let prepared = tokio::select! {
        prepared = prepare(&mut store, settings.clone()) => prepared.map_err(RunError::Store)?,
        () = &mut shutdown => return Ok(Finished { shipped: 0, parked: 0, settled: true }),
    };
    tracing::info!(relay = id.0, lanes = prepared, "relay started");
    if let Some(topic) = dead_letter_topic {
        tracing::warn!(
            topic,
            "this version delivers no dead letters yet: events that the broker refuses stay parked"
        );
    }
    let core: Core<S::Mark> = Core::new(settings, &store.capabilities(), publisher.abilities());
    let roles = store.roles(&id);
    let publisher = Arc::new(publisher);
    let sweeping = tokio::spawn(crate::upkeep::sweep(roles.upkeep, retention));
    let mut engine: Engine<S, P> = Engine {
        core,
        calls: Calls::new(roles.lanes, roles.feed, roles.ledger, Arc::clone(&publisher)),
        publisher,
        started: Instant::now(),
        rows: Rows::new(),
        topics: TopicNumbers::default(),
        main: None,
        alone: None,
        told: None,
        refusals: HashMap::new(),
        store_fault: None,
        publish_fault: None,
        voice: Voice::new(),
        finished: Finished { shipped: 0, parked: 0, settled: true },
        arrivals: Vec::new(),
        tokens: Vec::new(),
    };
    let ended = engine.run(shutdown).await;
    sweeping.abort();
    ended
}

/// Waits for the database to answer, however long; only what waiting does not mend is an error.
async fn prepare<S: Store>(store: &mut S, settings: crate::Settings) -> Result<u16, StoreFault> {
    use eventferry_core::StoreFaultKind::{Contended, Throttled, Unavailable};
    let mut pause = settings.retry_min;
    let mut outage = Outage::default();
    let started = Instant::now();
    loop {
        match store.prepare(Prepare::Check).await {
            Ok(prepared) => {
                if outage.is_over() {
                    tracing::info!("the store answers");
                }
                return Ok(prepared.lanes);
            }
            Err(fault) if matches!(fault.kind(), Unavailable | Contended | Throttled(_)) => {
                if outage.is_news(&fault.to_string(), started.elapsed()) {
                    tracing::warn!(%fault, "the store does not answer: waiting");
                } else {
                    tracing::debug!(%fault, "the store still does not answer");
                }
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
    started: Instant,
    rows: Rows<S::Row>,
    topics: TopicNumbers,
    main: Option<P::Session>,
    alone: Option<P::Session>,
    /// The last settlement, until it is answered for good.
    told: Option<Told<S>>,
    /// Why records were refused, until they are parked or acknowledged.
    refusals: HashMap<Token, String>,
    store_fault: Option<StoreFault>,
    publish_fault: Option<PublishFault>,
    voice: Voice,
    finished: Finished,
    arrivals: Vec<Arrival<S::Mark>>,
    tokens: Vec<Option<Token>>,
}

impl<S: Store, P: Publisher> Engine<S, P> {
    async fn run(
        &mut self,
        mut shutdown: std::pin::Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<Finished, RunError> {
        let mut draining = false;
        let (mut main, mut alone) = (Vec::new(), Vec::new());
        loop {
            let wake = match self.act() {
                Ok(wake) => wake,
                Err(stop) => return self.finish(stop),
            };
            tokio::select! {
                biased;
                () = &mut shutdown, if !draining => {
                    draining = true;
                    tracing::info!("draining");
                    self.core.drain(self.started.elapsed());
                }
                answer = self.calls.answer() => match answer {
                    Ok(answer) => self.answered(answer),
                    Err(error) => return Err(RunError::Panicked(error.to_string())),
                },
                () = reports(&mut self.main, &mut main) => self.reported(&mut main),
                () = reports(&mut self.alone, &mut alone) => self.reported(&mut alone),
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
                Action::Forget(tokens) => {
                    for token in tokens {
                        self.rows.remove(token);
                        self.refusals.remove(&token);
                    }
                }
                Action::Route(token) => {
                    let route = self.rows.get(token).map(|row| self.publisher.route(&Envelope::of(row)));
                    let routed = self.routed(token, route.unwrap_or(Route::Unknown));
                    self.core.handle_routed(now, token, routed);
                }
                Action::Hold(claim) => self.calls.hold(claim),
                Action::Open(leases) => self.calls.open(leases),
                Action::Close(lanes) => self.calls.close(&lanes),
                Action::ReadParked { lanes, after } => self.calls.list_parked(lanes, after),
                Action::Read { lanes, records_max, bytes_max } => {
                    self.calls.read(lanes, records_max, bytes_max)
                }
                Action::Settle(orders) => self.settle(orders),
                Action::SettleAgain => {
                    if let Some(told) = self.told.take() {
                        self.calls.settle(told);
                    }
                }
                Action::Connect(role) => self.calls.connect(role),
                Action::Learn(topic) => self.calls.learn(topic, self.topics.name(topic).to_owned()),
                Action::Abandon(role, within) => self.abandon(role, within),
                Action::Say(notice) => self.say(&notice),
                Action::Sleep(until) => {
                    let far = Duration::from_secs(3600);
                    return Ok(self.started + until.min(now + far));
                }
                Action::Stop(stop) => return Err(stop),
            }
            now = self.started.elapsed();
        }
    }

    fn session(&mut self, role: Role) -> &mut Option<P::Session> {
        match role {
            Role::Main => &mut self.main,
            Role::Alone => &mut self.alone,
        }
    }

    fn send(&mut self, role: Role, token: Token, domain: Domain) {
        let session = match role {
            Role::Main => &mut self.main,
            Role::Alone => &mut self.alone,
        };
        let taken = match (session, self.rows.get(token)) {
            (Some(session), Some(row)) => session.send(token, domain, &Envelope::of(row)),
            _ => Taken::Ended,
        };
        match taken {
            Taken::Yes => {}
            Taken::Full => self.core.handle_full(self.started.elapsed(), token),
            Taken::Ended => self.core.handle_ended(self.started.elapsed(), token),
        }
    }

    fn abandon(&mut self, role: Role, within: Duration) {
        match self.session(role).take() {
            Some(session) => self.calls.abandon(role, session, within),
            None => self.core.handle_abandoned(self.started.elapsed(), role, &[]),
        }
    }

    fn settle(&mut self, orders: Vec<SettleOrder<S::Mark>>) {
        let (rows, refusals) = (&mut self.rows, &mut self.refusals);
        let why = |token| refusals.remove(&token).unwrap_or_else(|| "refused".into());
        let mut why = why;
        let told: Told<S> = orders
            .into_iter()
            .map(|order| ToldLane::of(order, |token| rows.remove(token), &mut why))
            .collect();
        self.calls.settle(told);
    }

    fn answered(&mut self, answer: Answer<S, P>) {
        let now = self.started.elapsed();
        match answer {
            Answer::Held(lanes, held) => {
                self.calls.rest_lanes(lanes);
                let held = held.map_err(|fault| self.store_failed(fault));
                self.core.handle_held(now, held);
            }
            Answer::Opened(feed, opened) => {
                self.calls.rest_feed(feed);
                let opened = opened.map_err(|fault| self.store_failed(fault));
                self.core.handle_opened(now, opened.as_deref().map_err(|kind| *kind));
            }
            Answer::Page(feed, page) => {
                self.calls.rest_feed(feed);
                match page {
                    Ok(page) => self.page(page),
                    Err(fault) => {
                        let kind = self.store_failed(fault);
                        self.core.handle_read_failed(now, kind);
                    }
                }
            }
            Answer::Settled(ledger, told, verdicts) => {
                self.calls.rest_ledger(ledger);
                if verdicts.is_ok() {
                    self.finished.parked += told.iter().map(|lane| lane.park.len() as u64).sum::<u64>();
                } else {
                    self.told = Some(told);
                }
                let verdicts = verdicts.map_err(|fault| self.store_failed(fault));
                self.core.handle_settled(now, verdicts.as_deref().map_err(|kind| *kind));
            }
            Answer::Parked(ledger, page) => {
                self.calls.rest_ledger(ledger);
                let list = page.map_err(|fault| self.store_failed(fault)).map(|page| ParkedList {
                    last: page.events.last().map(|event| event.key),
                    more: page.more,
                    aggregates: page
                        .events
                        .iter()
                        .map(|event| {
                            (event.key.lane, aggregate_key(&event.aggregate_type, &event.aggregate_id))
                        })
                        .collect(),
                });
                self.core.handle_parked(now, list);
            }
            Answer::Learned(topic, learned) => {
                let learned = learned.map_err(|fault| self.publish_failed(fault));
                self.core.handle_learned(now, topic, learned);
            }
            Answer::Connected(role, session) => {
                let connected = match session {
                    Ok(session) => {
                        *self.session(role) = Some(session);
                        Ok(())
                    }
                    Err(fault) => Err(self.publish_failed(fault)),
                };
                self.core.handle_connected(now, role, connected);
            }
            Answer::Abandoned(role, reports) => {
                let outcomes: Vec<_> = reports.into_iter().map(|report| self.outcome(report)).collect();
                self.core.handle_abandoned(now, role, &outcomes);
            }
        }
    }

    fn page(&mut self, page: Page<S::Mark, S::Row>) {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        let mut tokens = std::mem::take(&mut self.tokens);
        let mut rows = Vec::with_capacity(page.records.len());
        let mut refused = Vec::new();
        for record in page.records {
            arrivals.push(self.arrival(&record, rows.len(), &mut refused));
            rows.push(record.row);
        }
        let now = self.started.elapsed();
        self.core.handle_page(now, arrivals.drain(..), page.passed, page.rest, &mut tokens);
        for (at, why) in refused {
            if let Some(Some(token)) = tokens.get(at) {
                self.refusals.insert(*token, why);
            }
        }
        for (row, token) in rows.into_iter().zip(tokens.drain(..)) {
            if let Some(token) = token {
                self.rows.insert(token, row);
            }
        }
        (self.arrivals, self.tokens) = (arrivals, tokens);
    }

    fn arrival(
        &mut self,
        record: &Record<S::Mark, S::Row>,
        at: usize,
        refused: &mut Vec<(usize, String)>,
    ) -> Arrival<S::Mark> {
        let row = &record.row;
        let envelope = Envelope::of(row);
        let route = match self.publisher.route(&envelope) {
            Route::To(domain) => Routed::To(domain),
            Route::Unknown => Routed::Unknown,
            Route::Refused(fault) => {
                refused.push((at, fault.to_string()));
                Routed::Refused
            }
        };
        Arrival {
            lane: record.lane,
            mark: record.mark.clone(),
            aggregate: aggregate_key(row.aggregate_type(), row.aggregate_id()),
            topic: self.topics.number(row.topic()),
            route,
            size_bytes: u32::try_from(envelope.size_bytes()).unwrap_or(u32::MAX),
        }
    }

    fn routed(&mut self, token: Token, route: Route) -> Routed {
        match route {
            Route::To(domain) => Routed::To(domain),
            Route::Unknown => Routed::Unknown,
            Route::Refused(fault) => {
                self.refusals.insert(token, fault.to_string());
                Routed::Refused
            }
        }
    }

    fn reported(&mut self, reports: &mut Vec<Report>) {
        let now = self.started.elapsed();
        for report in reports.drain(..) {
            let (token, outcome) = self.outcome(report);
            self.core.handle_report(now, token, outcome);
        }
    }

    fn outcome(&mut self, report: Report) -> (Token, CoreOutcome) {
        let outcome = match report.outcome {
            Outcome::Acknowledged => {
                self.rows.remove(report.token);
                if !self.refusals.is_empty() {
                    self.refusals.remove(&report.token);
                }
                self.finished.shipped += 1;
                CoreOutcome::Acknowledged
            }
            Outcome::Uncertain => CoreOutcome::Uncertain,
            Outcome::Refused(fault) => {
                self.refusals.insert(report.token, fault.to_string());
                CoreOutcome::Refused(self.publish_failed(*fault))
            }
        };
        (report.token, outcome)
    }

    /// Keeps the last fault, for the notice that the core may make of it.
    fn store_failed(&mut self, fault: StoreFault) -> eventferry_core::StoreFaultKind {
        let kind = *fault.kind();
        tracing::debug!(%fault, ?kind, "the store failed");
        self.store_fault = Some(fault);
        kind
    }

    fn publish_failed(&mut self, fault: PublishFault) -> eventferry_core::PublishFaultKind {
        let kind = *fault.kind();
        tracing::debug!(%fault, ?kind, "the publisher failed");
        self.publish_fault = Some(fault);
        kind
    }

    fn say(&mut self, notice: &Notice) {
        let parked = |token: &Token| {
            let row = self.rows.get(*token)?;
            Some((row.topic(), row.message_id(), self.refusals.get(token)?.as_str()))
        };
        match notice {
            Notice::Parked(token) => self.voice.parked(parked(token)),
            Notice::TopicHeld(topic, _) => {
                self.voice.topic_held(self.topics.name(*topic), self.publish_fault.as_ref())
            }
            Notice::TopicReleased(topic) => self.voice.topic_released(self.topics.name(*topic)),
            notice => {
                let owned: Vec<Lane> = self.core.lanes().collect();
                self.voice.say(notice, owned.len(), self.store_fault.as_ref(), self.publish_fault.as_ref());
            }
        }
    }

    fn finish(&mut self, stop: Stop) -> Result<Finished, RunError> {
        use eventferry_core::{PublishFaultKind, StoreFaultKind};
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
