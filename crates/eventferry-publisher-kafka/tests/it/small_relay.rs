//! A relay in small: the core, one lane that nobody contests, and real sessions. Single choices can be undone, to see
//! what each is for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use eventferry_core::machine::{
    Action, AggregateKey, Arrival, Core, DueList, Notice, Outcome as CoreOutcome, ParkedList, Routed,
    Settings, TopicId,
};
use eventferry_core::publisher::{
    Domain, Outcome, Publisher, Refusal, Report, Role, Route, Session, Taken, Token,
};
use eventferry_core::store::{
    Anchor, Capabilities, Held, Keeps, Opened, Order, Ownership, Rest, Stall, Verdict,
};
use eventferry_core::{Envelope, Lane, Lease, StoreFaultKind, StoredEvent};
use eventferry_publisher_kafka::KafkaPublisher;
use tokio::task::JoinSet;

use crate::bench::PATIENCE;
use crate::own_broker::START_MAX;

const LEASE: Lease = Lease { lane: Lane(0), epoch: 1 };

/// A choice of the relay's that is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undone {
    Nothing,
    /// A session's first record in a partition does not fly alone.
    FirstAlone,
    /// The reports of a session that died are not waited for.
    Waiting,
    /// What is refused with others is not tried alone.
    TryingAlone,
    /// A session that is given up is left as it is.
    Ending,
}

/// A relay and its store, whose log is a list of rows.
pub(crate) struct SmallRelay<P: Publisher = KafkaPublisher> {
    core: Core<usize>,
    publisher: P,
    undone: Undone,
    started: Instant,
    main: Option<P::Session>,
    alone: Option<P::Session>,
    /// Sessions that are ending, while all else goes on.
    endings: JoinSet<(Role, Vec<Report>)>,
    /// Sessions that were not ended though they should have been.
    left: Vec<P::Session>,
    rows: Vec<StoredEvent>,
    topics: Vec<String>,
    aggregates: Vec<String>,
    held: BTreeMap<Token, usize>,
    read: usize,
    /// How many rows there are; the others are yet to be enqueued.
    pub(crate) enqueued: usize,
    /// Up to which row all is settled.
    pub(crate) position: usize,
    /// How many reports said that a row was acknowledged.
    pub(crate) shipped: usize,
    /// Rows that were parked because they were refused.
    pub(crate) refused: BTreeSet<usize>,
    /// Rows that were parked, for whatever reason.
    pub(crate) parked: BTreeSet<usize>,
    /// The database answers.
    pub(crate) store_answers: bool,
    pub(crate) said: Vec<Notice>,
}

impl<P: Publisher + Clone> SmallRelay<P> {
    /// A relay that begins at this row.
    pub(crate) fn new(publisher: &P, rows: &[StoredEvent], first: usize, undone: Undone) -> Self {
        let capabilities = Capabilities {
            order: Order::Strict,
            keeps: Keeps::Log,
            ownership: Ownership::PerLane,
            stall: Stall::None,
            savepoints: true,
            doorbell: false,
            events_per_transaction_max: u64::MAX,
            in_table: true,
            payload_bytes_max: 16 << 20,
            settle_items_max: 10_000,
            intents: false,
        };
        let mut abilities = publisher.abilities();
        match undone {
            Undone::FirstAlone => abilities.first_alone = None,
            Undone::TryingAlone => abilities.refusal = Refusal::PerRecord,
            Undone::Nothing | Undone::Waiting | Undone::Ending => {}
        }
        let settings = Settings::with_lease(Duration::from_secs(3));
        settings.check().unwrap();
        Self {
            core: Core::new(settings, &capabilities, abilities),
            publisher: publisher.clone(),
            undone,
            started: Instant::now(),
            main: None,
            alone: None,
            endings: JoinSet::new(),
            left: Vec::new(),
            rows: rows.to_vec(),
            topics: Vec::new(),
            aggregates: Vec::new(),
            held: BTreeMap::new(),
            read: first,
            enqueued: rows.len(),
            position: first,
            shipped: 0,
            refused: BTreeSet::new(),
            parked: BTreeSet::new(),
            store_answers: true,
            said: Vec::new(),
        }
    }

    /// Carries until it is settled up to the last row.
    pub(crate) async fn carry_all(&mut self) {
        self.carry(|relay| relay.position == relay.rows.len()).await;
    }

    /// Carries until `done` says so, which is asked, and may change something, at least every 10 ms.
    pub(crate) async fn carry(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let began = Instant::now();
        while !done(self) {
            assert!(
                // What is waited for may be a broker that starts.
                began.elapsed() < START_MAX + PATIENCE,
                "settled {} of {}: {:?}",
                self.position,
                self.rows.len(),
                self.said
            );
            let wake = self.act().await;
            let sleep = wake.saturating_sub(self.now()).min(Duration::from_millis(10));
            let (mut main, mut alone) = (Vec::new(), Vec::new());
            let ended = tokio::select! {
                biased;
                () = reports(&mut self.main, &mut main) => main.is_empty().then_some(Role::Main),
                () = reports(&mut self.alone, &mut alone) => alone.is_empty().then_some(Role::Alone),
                Some(answers) = self.endings.join_next() => {
                    let (role, answers) = answers.unwrap();
                    self.abandoned(role, &answers);
                    None
                }
                // waits: until the core wants to be asked again.
                () = tokio::time::sleep(sleep) => None,
            };
            if let Some(role) = ended {
                self.core.handle_session_ended(self.now(), role);
            }
            for report in main.into_iter().chain(alone) {
                self.shipped += usize::from(matches!(report.outcome, Outcome::Acknowledged));
                self.core.handle_report(self.now(), report.token, outcome(&report));
            }
        }
    }

    /// Whether its sessions have ended.
    pub(crate) fn has_no_session(&self) -> bool {
        self.main.is_none() && self.alone.is_none() && self.endings.is_empty()
    }

    /// Ends what is left of it.
    pub(crate) async fn end(mut self) {
        let sessions = [self.main.take(), self.alone.take()];
        for session in sessions.into_iter().flatten().chain(self.left) {
            session.abandon(Duration::ZERO).await;
        }
        self.endings.join_all().await;
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Does what the core asks for, until it sleeps; says until when.
    async fn act(&mut self) -> Duration {
        loop {
            let now = self.now();
            match self.core.poll(now) {
                Action::Sleep(until) => return until,
                Action::Send(role, token, domain) => self.send(role, token, domain),
                Action::Connect(role) => {
                    let connected = self.publisher.connect(role).await;
                    let result = connected.as_ref().map(|_| ()).map_err(|fault| *fault.kind());
                    *self.session(role) = connected.ok();
                    self.core.handle_connected(self.now(), role, result);
                }
                Action::Abandon(role, within) => {
                    self.abandon(role, within);
                    // That may have been what was waited for; a connection may take longer.
                    return now;
                }
                Action::Learn(topic) => {
                    let learned = self.publisher.learn(&self.topics[topic.0 as usize]).await;
                    self.core.handle_learned(self.now(), topic, learned.map_err(|fault| *fault.kind()));
                }
                Action::Route(token) => {
                    let routed = self.routed(self.held[&token]);
                    self.core.handle_routed(now, token, routed);
                }
                Action::Say(notice) => self.said.push(notice),
                Action::Stop(stop) => panic!("it stopped: {stop:?}"),
                action => self.answer(action),
            }
        }
    }

    fn send(&mut self, role: Role, token: Token, domain: Domain) {
        let row = &self.rows[self.held[&token]];
        let session = if role == Role::Main { &mut self.main } else { &mut self.alone };
        let taken =
            session.as_mut().map_or(Taken::Ended, |session| session.send(token, domain, &Envelope::of(row)));
        match taken {
            Taken::Yes => {}
            Taken::Full => self.core.handle_full(self.now(), token),
            Taken::Ended => self.core.handle_ended(self.now(), token),
        }
    }

    fn abandon(&mut self, role: Role, within: Duration) {
        let Some(session) = self.session(role).take() else { return self.abandoned(role, &[]) };
        let within = match self.undone {
            Undone::Ending => {
                self.left.push(session);
                return self.abandoned(role, &[]);
            }
            Undone::Waiting => Duration::ZERO,
            _ => within,
        };
        self.endings.spawn(async move { (role, session.abandon(within).await) });
    }

    fn abandoned(&mut self, role: Role, answers: &[Report]) {
        let told: Vec<_> = answers.iter().map(|report| (report.token, outcome(report))).collect();
        self.core.handle_abandoned(self.now(), role, &told);
    }

    fn session(&mut self, role: Role) -> &mut Option<P::Session> {
        match role {
            Role::Main => &mut self.main,
            Role::Alone => &mut self.alone,
        }
    }

    /// Answers for the store.
    fn answer(&mut self, action: Action<usize>) {
        let now = self.now();
        let away = StoreFaultKind::Unavailable;
        match action {
            Action::Hold(_) if !self.store_answers => self.core.handle_held(now, Err(away)),
            Action::Hold(_) => {
                let held = Held { leases: vec![LEASE], relays_live: 1, lanes_total: 1 };
                self.core.handle_held(now, Ok(held));
            }
            Action::Open(_) => {
                self.read = self.position;
                let opened = [Opened { lane: LEASE.lane, anchor: Anchor::Continued }];
                self.core.handle_opened(now, Ok(&opened));
            }
            Action::ReadParked { .. } => self.core.handle_parked(now, Ok(ParkedList::default())),
            Action::ReadDue { .. } => self.core.handle_due(now, Ok(DueList::default()), &mut Vec::new()),
            Action::Read { .. } if !self.store_answers => self.core.handle_read_failed(now, away),
            Action::Read { records_max, .. } => self.read(records_max as usize),
            Action::Settle(_) | Action::SettleAgain if !self.store_answers => {
                self.core.handle_settled(now, Err(away));
            }
            Action::Settle(orders) => {
                for order in &orders {
                    self.position = order.prefix.last().map_or(self.position, |mark| mark + 1);
                    for park in &order.park {
                        self.parked.insert(park.mark);
                        if matches!(park.why, eventferry_core::machine::ParkWhy::Refused(_)) {
                            self.refused.insert(park.mark);
                        }
                    }
                }
                self.core.handle_settled(now, Ok(&vec![Verdict::Done; orders.len()]));
            }
            // What was not settled when the store went away is not settled later: its relay ends before.
            _ => {}
        }
    }

    /// Hands over what is enqueued.
    fn read(&mut self, records_max: usize) {
        let rows = self.read..self.enqueued.min(self.read + records_max);
        self.read = rows.end;
        let arrivals: Vec<Arrival<usize>> = rows
            .clone()
            .map(|row| Arrival {
                lane: LEASE.lane,
                mark: row,
                aggregate: AggregateKey(
                    number(&mut self.aggregates, &self.rows[row].event.aggregate.id) as u64
                ),
                topic: TopicId(number(&mut self.topics, &self.rows[row].event.topic) as u32),
                route: self.routed(row),
                size_bytes: 100,
            })
            .collect();
        let mut tokens = Vec::new();
        self.core.handle_page(self.now(), arrivals, [], Rest::Quiet, &mut tokens);
        self.held.extend(tokens.into_iter().zip(rows).filter_map(|(token, row)| Some((token?, row))));
    }

    fn routed(&self, row: usize) -> Routed {
        match self.publisher.route(&Envelope::of(&self.rows[row])) {
            Route::To(domain) => Routed::To(domain),
            Route::Refused(_) => Routed::Refused,
            Route::Unknown => Routed::Unknown,
        }
    }
}

/// The place of a name in a list that grows with what is new.
fn number(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

async fn reports(session: &mut Option<impl Session>, into: &mut Vec<Report>) {
    match session {
        Some(session) => session.reports(into).await,
        None => std::future::pending().await,
    }
}

fn outcome(report: &Report) -> CoreOutcome {
    match &report.outcome {
        Outcome::Acknowledged => CoreOutcome::Acknowledged,
        Outcome::Refused(fault) => CoreOutcome::Refused(*fault.kind()),
        Outcome::Uncertain => CoreOutcome::Uncertain,
    }
}
