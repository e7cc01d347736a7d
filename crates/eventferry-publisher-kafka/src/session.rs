//! One producer and what is in flight through it.
//!
//! Every record taken sits in a slot of the session's own until it is reported. librdkafka carries the slot's ticket
//! as its opaque value; whatever it reports frees the slot, and when the session ends the slots still taken are
//! answered `Uncertain`. So each token is answered exactly once, whether or not librdkafka reports it, or twice.
//!
//! | idea | where |
//! |---|---|
//! | the slots | `slots.rs` |
//! | what librdkafka says, and where it is left | `wire.rs` |
//! | transactions, with two producers in turn | `transacting.rs` |

mod slots;
mod transacting;
mod wire;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use eventferry_core::publisher::{Domain, Outcome, Report, Role, Session, Taken, Token};
use eventferry_core::{Envelope, PublishFault, Stamp};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, PurgeConfig};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

use crate::credentials::{Edition, Equipped, Keeper};
use crate::fault::{code_of, fault};
use crate::polled::Polled;
use crate::route::{Topics, partition_in};
use crate::statistics::{Health, Statistics};
use slots::Slots;
use transacting::Transacting;
pub(crate) use transacting::{IDS, is_passing, until_taken};
pub(crate) use wire::plain_reason;
use wire::{Delivery, Failure, Inbox, Wire};

/// How often the queue of a dead producer is purged: librdkafka does so once, when it dies, but what was in flight then
/// and comes back unwritten joins the queue later, and would never be reported.
const PURGE_EVERY: Duration = Duration::from_millis(100);

/// How long the end of a producer is waited for. Only a broker thread in a name look-up takes longer; it has no
/// connection, and finds its queues purged when it comes back.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// A session with a Kafka cluster: messages one by one, or in transactions.
///
/// Dropping it without [`Session::abandon`] gives up what is in flight, unreported.
pub struct KafkaSession(Way);

enum Way {
    Streaming(Box<Streaming>),
    Transacting(Box<Transacting>),
}

impl KafkaSession {
    pub(crate) fn streaming(session: Streaming) -> Self {
        Self(Way::Streaming(Box::new(session)))
    }

    /// A session of producers whose transactions are initialized, with the topic of stamps.
    pub(crate) fn transacting(halves: [Streaming; IDS], stamps: String) -> Self {
        Self(Way::Transacting(Box::new(Transacting::new(halves, stamps))))
    }
}

impl Session for KafkaSession {
    fn send(&mut self, token: Token, domain: Domain, envelope: &Envelope<'_>) -> Taken {
        match &mut self.0 {
            Way::Streaming(session) => session.send(token, domain, envelope),
            Way::Transacting(session) => session.send(token, domain, envelope),
        }
    }

    fn begin(&mut self, token: Token, stamp: Stamp) -> Taken {
        match &mut self.0 {
            Way::Streaming(session) => session.begin(token, stamp),
            Way::Transacting(session) => session.begin(token, stamp),
        }
    }

    fn commit(&mut self, token: Token) {
        match &mut self.0 {
            Way::Streaming(session) => session.commit(token),
            Way::Transacting(session) => session.commit(token),
        }
    }

    fn abort(&mut self, token: Token) {
        match &mut self.0 {
            Way::Streaming(session) => session.abort(token),
            Way::Transacting(session) => session.abort(token),
        }
    }

    async fn reports(&mut self, into: &mut Vec<Report>) {
        match &mut self.0 {
            Way::Streaming(session) => session.reports(into).await,
            Way::Transacting(session) => session.reports(into).await,
        }
    }

    async fn abandon(self, within: Duration) -> Vec<Report> {
        match self.0 {
            Way::Streaming(session) => session.abandon(within).await,
            Way::Transacting(session) => session.abandon(within).await,
        }
    }
}

/// One idempotent producer, gapless if it is for the stream of events.
///
/// Dropping it without [`Session::abandon`] gives up what is in flight, unreported.
pub(crate) struct Streaming {
    role: Role,
    /// `None` only once the session is being closed.
    producer: Option<Polled<Wire>>,
    inbox: Arc<Inbox>,
    topics: Arc<Topics>,
    /// How often what is known of topics had changed when this session last looked.
    changes_seen: u64,
    slots: Slots,
    limits: Limits,
    /// Swapped with the inbox, so that reading it allocates nothing.
    spare: Vec<Delivery>,
    /// The certificates that the producer has: where there are newer ones, the session ends.
    edition: Edition,
    /// When to purge the queue next; `None` while the producer lives.
    purge_at: Option<Instant>,
}

/// What the sessions of a publisher share.
#[derive(Clone)]
pub(crate) struct Surroundings {
    /// The cluster's name, where there are several.
    pub(crate) cluster: Option<Arc<str>>,
    pub(crate) brokers: String,
    pub(crate) topics: Arc<Topics>,
    pub(crate) health: Arc<Health>,
    /// `None`: what lets us in is in the configuration.
    pub(crate) keeper: Option<Arc<Keeper>>,
}

/// What a session takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) records_max: usize,
    pub(crate) bytes_max: usize,
    /// The size of the producer's batches.
    pub(crate) batch_bytes: usize,
}

impl Streaming {
    /// Makes the producer; blocks for a moment.
    pub(crate) fn open(
        role: Role,
        client: &Equipped,
        surroundings: &Surroundings,
        limits: Limits,
    ) -> Result<Self, KafkaError> {
        let Surroundings { cluster, brokers, topics, health, keeper } = surroundings;
        let (inbox, topics) = (Arc::new(Inbox::new(brokers)), Arc::clone(topics));
        let pipelining = role == Role::Main;
        let statistics = pipelining.then(|| Statistics::new(cluster.clone(), Arc::clone(health)));
        let keeper = keeper.clone();
        let wire =
            Wire { inbox: Arc::clone(&inbox), topics: Arc::clone(&topics), pipelining, statistics, keeper };
        let producer = Polled::open(&client.settings, wire)?;
        Ok(Self {
            role,
            producer: Some(producer),
            inbox,
            topics,
            changes_seen: 0,
            slots: Slots::default(),
            limits,
            spare: Vec::new(),
            edition: client.edition.clone(),
            purge_at: None,
        })
    }

    /// Tells the producer what lets us in, now and whenever that changes.
    pub(crate) fn admit(&self, keeper: &Keeper) -> Result<(), PublishFault> {
        self.producer.as_ref().map_or(Ok(()), |producer| keeper.admit(producer.shared()))
    }

    /// Waits until a broker answers, up to `within`; blocks. The error says why none did.
    pub(crate) fn await_broker(&self, within: Duration) -> Result<(), String> {
        /// How long all brokers may be down before waiting longer makes no sense.
        const DOWN_MAX: Duration = Duration::from_secs(2);
        const LOOK: Duration = Duration::from_millis(100);
        let Some(producer) = &self.producer else { return Ok(()) };
        let started = std::time::Instant::now();
        let mut down_since = None;
        loop {
            let asked = std::time::Instant::now();
            // Without an id before the time is up: a broker that answered and has none.
            if producer.client().fetch_cluster_id(LOOK).is_some() || asked.elapsed() < LOOK {
                self.inbox.answered();
                return Ok(());
            }
            let trouble = self.inbox.trouble();
            if !trouble.all_down {
                down_since = None;
            } else if down_since.get_or_insert(asked).elapsed() > DOWN_MAX {
                return Err(trouble.reason);
            }
            if started.elapsed() > within {
                return Err(trouble.reason);
            }
        }
    }

    pub(crate) fn producer(&self) -> Option<&Polled<Wire>> {
        self.producer.as_ref()
    }

    /// Also rings this bell when the producer may have something to say, for who waits for several sessions at once.
    pub(crate) fn ring_also(&self, bell: Arc<Notify>) {
        self.inbox.ring_also(bell);
    }

    /// Whether it takes nothing more.
    pub(crate) fn has_ended(&self) -> bool {
        self.inbox.ended.load(Ordering::Acquire)
    }

    /// Takes nothing more.
    pub(crate) fn end(&self) {
        self.inbox.ended.store(true, Ordering::Release);
    }

    /// Which certificates it has.
    pub(crate) fn edition(&self) -> &Edition {
        &self.edition
    }

    /// The transaction has ended: answers for what of it was never reported, and takes messages again.
    fn give_up(&mut self) -> impl Iterator<Item = Report> + '_ {
        self.inbox.ended.store(false, Ordering::Release);
        self.inbox.suspect.store(false, Ordering::Release);
        self.slots.give_up().map(|token| Report { token, outcome: Outcome::Uncertain })
    }

    /// Moves what there is to report into `into`, without waiting. Says when there may be more though nobody rings.
    pub(crate) fn take_reports(&mut self, into: &mut Vec<Report>) -> Option<Instant> {
        self.purge_if_dead();
        self.collect(into);
        self.purge_at.filter(|_| self.slots.taken > 0)
    }

    /// Moves what has arrived into `into`.
    fn collect(&mut self, into: &mut Vec<Report>) {
        self.inbox.swap(&mut self.spare);
        into.reserve(self.spare.len());
        for delivery in self.spare.drain(..) {
            // A ticket that is not out was answered before: librdkafka said it twice.
            let Some(token) = self.slots.free(delivery.ticket) else { continue };
            let outcome = match delivery.failure {
                None => Outcome::Acknowledged,
                Some(Failure { possibly_written: true, .. }) => Outcome::Uncertain,
                Some(Failure { code, .. }) => {
                    Outcome::Refused(Box::new(fault("kafka refused the record", code)))
                }
            };
            into.push(Report { token, outcome });
        }
    }

    /// Waits for reports, whatever certificates there are.
    async fn reported(&mut self, into: &mut Vec<Report>) {
        let before = into.len();
        loop {
            let again_at = self.take_reports(into);
            if into.len() > before {
                return;
            }
            rung(&self.inbox.bell, again_at).await;
        }
    }

    /// After a fatal error a producer sends nothing more but reports what is in flight; what is queued it reports when
    /// it is purged. (Without a fatal error, purging the queue alone would reorder: a later batch still in flight may
    /// be sent again after an earlier one was purged.)
    fn purge_if_dead(&mut self) {
        let Some(producer) = &self.producer else { return };
        if self.purge_at.is_none() {
            let suspect = self.inbox.suspect.swap(false, Ordering::AcqRel);
            if !suspect || producer.client().fatal_error().is_none() {
                return;
            }
            self.end();
        }
        let now = Instant::now();
        if self.purge_at.is_none_or(|at| at <= now) {
            producer.purge(PurgeConfig::default().queue().non_blocking());
            self.purge_at = Some(now + PURGE_EVERY);
        }
    }

    /// Whether a topic was learned since this session was opened for which its batches are too large: they would be
    /// refused there with everything in them, and the next session makes smaller ones.
    fn has_outgrown_a_topic(&mut self) -> bool {
        let changes = self.topics.changes();
        if self.role == Role::Alone || self.changes_seen == changes {
            return false;
        }
        self.changes_seen = changes;
        self.topics.batch_bytes(self.limits.batch_bytes) < self.limits.batch_bytes
    }

    /// Hands an envelope to librdkafka under a ticket.
    fn produce(
        &self,
        ticket: usize,
        partition: i32,
        envelope: &Envelope<'_>,
        headers: Option<OwnedHeaders>,
    ) -> Produced {
        let Some(producer) = &self.producer else { return Produced::Dead };
        let record = BaseRecord {
            topic: &self.topics.name(envelope.topic()),
            partition: Some(partition),
            payload: envelope.payload(),
            key: Some(envelope.key()),
            // To librdkafka 0 is `now`, and Kafka has no time before 1970.
            timestamp: Some(envelope.timestamp().millis().max(1)),
            headers,
            delivery_opaque: ticket,
        };
        match producer.send(record) {
            Ok(()) => Produced::Yes,
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => Produced::Full,
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::Fatal)) => Produced::Dead,
            Err(error) => Produced::Refused(code_of(&error).unwrap_or(RDKafkaErrorCode::InvalidArgument)),
        }
    }
}

/// What librdkafka said to a record.
enum Produced {
    Yes,
    Full,
    Dead,
    Refused(RDKafkaErrorCode),
}

impl Session for Streaming {
    fn send(&mut self, token: Token, domain: Domain, envelope: &Envelope<'_>) -> Taken {
        if self.has_ended() {
            return Taken::Ended;
        }
        if self.slots.taken >= self.limits.records_max {
            return Taken::Full;
        }
        let (headers, bytes) = headers_of(envelope);
        // One record is always taken, or a record over the limit would wait for ever.
        if self.slots.taken > 0 && self.slots.bytes + bytes > self.limits.bytes_max {
            return Taken::Full;
        }
        if self.has_outgrown_a_topic() || self.edition.is_outdated() {
            self.end();
            return Taken::Ended;
        }
        let ticket = self.slots.take(token, bytes);
        match self.produce(ticket, partition_in(domain), envelope, headers) {
            Produced::Yes => Taken::Yes,
            Produced::Full => {
                self.slots.free(ticket);
                Taken::Full
            }
            Produced::Dead => {
                self.slots.free(ticket);
                self.end();
                self.inbox.suspect.store(true, Ordering::Release);
                Taken::Ended
            }
            // The topic was learned to have more partitions than this producer knows of; the next one asks afresh.
            Produced::Refused(RDKafkaErrorCode::UnknownPartition) => {
                self.slots.free(ticket);
                self.end();
                Taken::Ended
            }
            Produced::Refused(code) => {
                if self.role == Role::Main {
                    self.end();
                }
                let failure = Failure { code, possibly_written: false };
                self.inbox.push(Delivery { ticket, failure: Some(failure) });
                Taken::Yes
            }
        }
    }

    /// Only sessions of [`Transacting`] have transactions.
    fn begin(&mut self, _: Token, _: Stamp) -> Taken {
        Taken::Ended
    }

    fn commit(&mut self, _: Token) {}

    fn abort(&mut self, _: Token) {}

    async fn reports(&mut self, into: &mut Vec<Report>) {
        let edition = self.edition.clone();
        tokio::select! {
            biased;
            () = self.reported(into) => {}
            // Without a report: it is over.
            () = edition.outdated() => self.end(),
        }
    }

    async fn abandon(mut self, within: Duration) -> Vec<Report> {
        let deadline = Instant::now() + within;
        let mut reports = Vec::new();
        self.end();
        while self.slots.taken > 0 {
            if timeout_at(deadline, self.reported(&mut reports)).await.is_err() {
                break;
            }
        }
        if let Some(producer) = self.producer.take() {
            let closed = spawn_blocking(move || producer.close());
            if timeout(CLOSE_MAX, closed).await.is_err() {
                tracing::warn!(
                    brokers = &*self.inbox.brokers,
                    "a producer takes long to close; it sends no more"
                );
            }
        }
        self.collect(&mut reports);
        let unanswered = self.slots.drain();
        reports.extend(unanswered.map(|token| Report { token, outcome: Outcome::Uncertain }));
        reports
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        if let Some(producer) = self.producer.take() {
            drop_apart(producer, Polled::close);
        }
    }
}

/// Waits until a bell rings, or until this time. Dropping the future loses no ring.
pub(crate) async fn rung(bell: &Notify, or_at: Option<Instant>) {
    match or_at {
        Some(at) => drop(timeout_at(at, bell.notified()).await),
        None => bell.notified().await,
    }
}

/// Ends something whose end blocks, on a thread of its own.
pub(crate) fn drop_apart<T: Send + 'static>(what: T, end: impl FnOnce(T) + Send + 'static) {
    let spawned = std::thread::Builder::new().name("kafka-close".into()).spawn(move || end(what));
    // Without a thread to be had, the closure was dropped here, and with it what it holds.
    drop(spawned);
}

/// The envelope's headers as librdkafka wants them, and the size of the whole.
fn headers_of(envelope: &Envelope<'_>) -> (Option<OwnedHeaders>, usize) {
    let mut bytes = envelope.key().len() + envelope.payload().map_or(0, <[u8]>::len);
    let mut headers = Some(OwnedHeaders::new_with_capacity(8));
    envelope.headers(|name, value| {
        bytes += name.len() + value.len();
        headers = headers.take().map(|list| list.insert(Header { key: name, value: Some(value) }));
    });
    (headers, bytes)
}
