//! A broker in memory that takes or refuses what the test says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventferry_core::envelope::collect_headers;
use eventferry_core::publisher::{
    Abilities, Domain, Outcome, Pipeline, Publisher, Refusal, Report, Role, Route, Session, Taken, Token,
};
use eventferry_core::{Envelope, OutboxId, PublishFault, PublishFaultKind, Stamp};
use tokio::sync::Notify;

/// A message as it reached the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) key: String,
    pub(crate) body: String,
    pub(crate) headers: Vec<(String, String)>,
    /// How often this body was offered to this topic, this time included.
    pub(crate) nth: u32,
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }
}

/// What it refuses, and how.
type Rule = Box<dyn FnMut(&Message) -> Option<PublishFault> + Send>;

/// Clones are the same broker.
#[derive(Clone)]
pub(crate) struct Broker(Arc<Mutex<State>>);

struct State {
    taken: Vec<Message>,
    offered: BTreeMap<(String, String), u32>,
    rule: Rule,
    /// Bodies that it refuses before they are sent.
    unroutable: BTreeSet<String>,
    missing: BTreeSet<String>,
    learned: BTreeSet<String>,
    /// How many sessions were opened, and how many of them have ended by themselves.
    opened: u64,
    ended: u64,
    /// Rung when sessions are to look whether they have ended.
    bell: Arc<Notify>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a broker")
    }
}

pub(crate) struct BrokerSession {
    broker: Broker,
    reports: Vec<Report>,
    /// The first is 1.
    number: u64,
}

/// A refusal of one message, such as one that is too large.
pub(crate) fn rejected() -> PublishFault {
    PublishFault::new(PublishFaultKind::Rejected, "larger than the topic allows").of_class("MessageTooLarge")
}

impl Broker {
    /// One that takes everything.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            taken: Vec::new(),
            offered: BTreeMap::new(),
            rule: Box::new(|_| None),
            unroutable: BTreeSet::new(),
            missing: BTreeSet::new(),
            learned: BTreeSet::new(),
            opened: 0,
            ended: 0,
            bell: Arc::default(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn refuses(&self, rule: impl FnMut(&Message) -> Option<PublishFault> + Send + 'static) {
        self.state().rule = Box::new(rule);
    }

    /// This body is refused before it is sent, until it is forgiven.
    pub(crate) fn routes_not(&self, body: &str) {
        self.state().unroutable.insert(body.into());
    }

    pub(crate) fn routes(&self, body: &str) {
        self.state().unroutable.remove(body);
    }

    /// There is no such topic, until it is created.
    pub(crate) fn lacks(&self, topic: &str) {
        self.state().missing.insert(topic.into());
    }

    pub(crate) fn create(&self, topic: &str) {
        self.state().missing.remove(topic);
    }

    /// The sessions that are open end by themselves.
    pub(crate) fn ends_sessions(&self) {
        let mut state = self.state();
        state.ended = state.opened;
        state.bell.notify_waiters();
    }

    /// How many sessions were opened.
    pub(crate) fn opened(&self) -> u64 {
        self.state().opened
    }

    pub(crate) fn taken(&self) -> Vec<Message> {
        self.state().taken.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.state().taken.len()
    }

    /// The bodies that a topic has, in order.
    pub(crate) fn bodies(&self, topic: &str) -> Vec<String> {
        let state = self.state();
        state
            .taken
            .iter()
            .filter(|message| message.topic == topic)
            .map(|message| message.body.clone())
            .collect()
    }
}

impl Publisher for Broker {
    type Session = BrokerSession;

    fn abilities(&self) -> Abilities {
        Abilities {
            pipeline: Pipeline::OneAtATime,
            first_alone: None,
            refusal: Refusal::PerRecord,
            durable_ack: true,
            transactions: None,
        }
    }

    async fn connect(&self, _: Role) -> Result<BrokerSession, PublishFault> {
        let mut state = self.state();
        state.opened += 1;
        Ok(BrokerSession { broker: self.clone(), reports: Vec::new(), number: state.opened })
    }

    async fn take_over(&self, _: &OutboxId) -> Result<(BrokerSession, Option<Stamp>), PublishFault> {
        Err(PublishFault::new(PublishFaultKind::Misconfigured, "this broker has no transactions"))
    }

    async fn learn(&self, topic: &str) -> Result<(), PublishFault> {
        let mut state = self.state();
        if state.missing.contains(topic) {
            return Err(PublishFault::new(
                PublishFaultKind::TopicRefused,
                format!("there is no topic {topic}"),
            )
            .of_class("UnknownTopic"));
        }
        state.learned.insert(topic.into());
        Ok(())
    }

    fn route(&self, envelope: &Envelope<'_>) -> Route {
        if !self.state().learned.contains(envelope.topic()) {
            return Route::Unknown;
        }
        if self.state().unroutable.contains(&text(envelope.payload().unwrap_or_default())) {
            return Route::Refused(Box::new(rejected()));
        }
        let mut hasher = DefaultHasher::new();
        envelope.topic().hash(&mut hasher);
        Route::To(Domain(hasher.finish()))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Session for BrokerSession {
    fn send(&mut self, token: Token, _: Domain, envelope: &Envelope<'_>) -> Taken {
        let mut state = self.broker.state();
        let (topic, body) = (envelope.topic().to_owned(), text(envelope.payload().unwrap_or_default()));
        let nth = state.offered.entry((topic.clone(), body.clone())).or_default();
        *nth += 1;
        let headers = collect_headers(envelope).into_iter().map(|(name, value)| (name, text(&value)));
        let message =
            Message { nth: *nth, topic, key: text(envelope.key()), body, headers: headers.collect() };
        let outcome = match (state.rule)(&message) {
            Some(fault) => Outcome::Refused(Box::new(fault)),
            None => {
                state.taken.push(message);
                Outcome::Acknowledged
            }
        };
        self.reports.push(Report { token, outcome });
        Taken::Yes
    }

    fn begin(&mut self, _: Token, _: Stamp) -> Taken {
        Taken::Ended
    }

    fn commit(&mut self, _: Token) {}

    fn abort(&mut self, _: Token) {}

    async fn reports(&mut self, into: &mut Vec<Report>) {
        let bell = Arc::clone(&self.broker.state().bell);
        // Whatever is sent is sent before this is asked again.
        while self.reports.is_empty() {
            let rung = bell.notified();
            if self.broker.state().ended >= self.number {
                return;
            }
            rung.await;
        }
        into.append(&mut self.reports);
    }

    async fn abandon(self, _: Duration) -> Vec<Report> {
        self.reports
    }
}
