//! One producer and what is in flight through it.
//!
//! Every record taken sits in a slot of the session's own until it is reported. librdkafka carries the slot's ticket
//! as its opaque value; whatever it reports frees the slot, and when the session ends the slots still taken are
//! answered `Uncertain`. So each token is answered exactly once, whether or not librdkafka reports it, or twice.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventferry_core::publisher::{Domain, Outcome, Report, Role, Session, Taken, Token};
use eventferry_core::{Envelope, PublishFault};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, PurgeConfig};
use rdkafka::{ClientConfig, ClientContext};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

use crate::credentials::Keeper;
use crate::fault::{code_of, fault};
use crate::polled::Polled;
use crate::route::{Topics, partition_in};
use crate::statistics::{Health, Statistics};

/// How often the queue of a dead producer is purged: librdkafka does so once, when it dies, but what was in flight then
/// and comes back unwritten joins the queue later, and would never be reported.
const PURGE_EVERY: Duration = Duration::from_millis(100);

/// How long the end of a producer is waited for. Only a broker thread in a name look-up takes longer; it has no
/// connection, and finds its queues purged when it comes back.
const CLOSE_MAX: Duration = Duration::from_secs(10);

// A ticket is a slot's number and a count of its uses, in one opaque value.
const _: () = assert!(usize::BITS >= u64::BITS, "a 64-bit platform");

/// A session with a Kafka cluster: one idempotent producer, gapless if it is for the stream of events.
///
/// Dropping it without [`Session::abandon`] gives up what is in flight, unreported.
pub struct KafkaSession {
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
    /// When to purge the queue next; `None` while the producer lives.
    purge_at: Option<Instant>,
}

/// What the sessions of a publisher share.
#[derive(Clone)]
pub(crate) struct Surroundings {
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

impl KafkaSession {
    /// Makes the producer; blocks for a moment.
    pub(crate) fn open(
        role: Role,
        client: &ClientConfig,
        surroundings: &Surroundings,
        limits: Limits,
    ) -> Result<Self, KafkaError> {
        let Surroundings { brokers, topics, health, keeper } = surroundings;
        let (inbox, topics) = (Arc::new(Inbox::new(brokers)), Arc::clone(topics));
        let pipelining = role == Role::Main;
        let statistics = pipelining.then(|| Statistics::new(Arc::clone(health)));
        let keeper = keeper.clone();
        let wire =
            Wire { inbox: Arc::clone(&inbox), topics: Arc::clone(&topics), pipelining, statistics, keeper };
        let producer = Polled::open(client, wire)?;
        Ok(Self {
            role,
            producer: Some(producer),
            inbox,
            topics,
            changes_seen: 0,
            slots: Slots::default(),
            limits,
            spare: Vec::new(),
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
            self.inbox.ended.store(true, Ordering::Release);
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

impl Session for KafkaSession {
    fn send(&mut self, token: Token, domain: Domain, envelope: &Envelope<'_>) -> Taken {
        if self.inbox.ended.load(Ordering::Acquire) {
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
        if self.has_outgrown_a_topic() {
            self.inbox.ended.store(true, Ordering::Release);
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
                self.inbox.ended.store(true, Ordering::Release);
                self.inbox.suspect.store(true, Ordering::Release);
                Taken::Ended
            }
            // The topic was learned to have more partitions than this producer knows of; the next one asks afresh.
            Produced::Refused(RDKafkaErrorCode::UnknownPartition) => {
                self.slots.free(ticket);
                self.inbox.ended.store(true, Ordering::Release);
                Taken::Ended
            }
            Produced::Refused(code) => {
                if self.role == Role::Main {
                    self.inbox.ended.store(true, Ordering::Release);
                }
                let failure = Failure { code, possibly_written: false };
                self.inbox.push(Delivery { ticket, failure: Some(failure) });
                Taken::Yes
            }
        }
    }

    async fn reports(&mut self, into: &mut Vec<Report>) {
        let before = into.len();
        loop {
            self.purge_if_dead();
            self.collect(into);
            if into.len() > before {
                return;
            }
            match self.purge_at.filter(|_| self.slots.taken > 0) {
                Some(at) => drop(timeout_at(at, self.inbox.bell.notified()).await),
                None => self.inbox.bell.notified().await,
            }
        }
    }

    async fn abandon(mut self, within: Duration) -> Vec<Report> {
        let deadline = Instant::now() + within;
        let mut reports = Vec::new();
        self.inbox.ended.store(true, Ordering::Release);
        while self.slots.taken > 0 {
            if timeout_at(deadline, self.reports(&mut reports)).await.is_err() {
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

impl Drop for KafkaSession {
    fn drop(&mut self) {
        if let Some(producer) = self.producer.take() {
            drop_apart(producer, Polled::close);
        }
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

/// The records taken and not yet reported.
#[derive(Default)]
struct Slots {
    all: Vec<Slot>,
    free: Vec<u32>,
    taken: usize,
    bytes: usize,
}

struct Slot {
    token: Token,
    bytes: usize,
    /// Even: free. Odd: taken. Grows with every use, so that an old ticket opens nothing.
    uses: u32,
}

impl Slots {
    /// Keeps a token and gives the ticket that opens its slot.
    fn take(&mut self, token: Token, bytes: usize) -> usize {
        let number = self.free.pop().unwrap_or_else(|| {
            self.all.push(Slot { token, bytes, uses: 0 });
            (self.all.len() - 1) as u32 // Bounded by `records_max`, which fits.
        });
        let slot = &mut self.all[number as usize];
        (slot.token, slot.bytes, slot.uses) = (token, bytes, slot.uses.wrapping_add(1));
        self.taken += 1;
        self.bytes += bytes;
        (slot.uses as usize) << 32 | number as usize
    }

    /// Gives back the token of a ticket, once.
    fn free(&mut self, ticket: usize) -> Option<Token> {
        let number = ticket as u32;
        let slot = self.all.get_mut(number as usize).filter(|slot| slot.uses as usize == ticket >> 32)?;
        slot.uses = slot.uses.wrapping_add(1);
        self.taken -= 1;
        self.bytes -= slot.bytes;
        self.free.push(number);
        Some(slot.token)
    }

    /// The tokens of all slots still taken.
    fn drain(&mut self) -> impl Iterator<Item = Token> {
        self.taken = 0;
        mem::take(&mut self.all).into_iter().filter(|slot| slot.uses % 2 == 1).map(|slot| slot.token)
    }
}

/// What librdkafka reported of a record.
struct Delivery {
    ticket: usize,
    failure: Option<Failure>,
}

struct Failure {
    code: RDKafkaErrorCode,
    possibly_written: bool,
}

/// Where the producer's thread leaves what it learns.
struct Inbox {
    deliveries: Mutex<Vec<Delivery>>,
    bell: Notify,
    /// Takes nothing more.
    ended: AtomicBool,
    /// Something went wrong that may have been fatal.
    suspect: AtomicBool,
    brokers: Box<str>,
    trouble: Mutex<Trouble>,
    /// Whether `trouble` was said and is not over; read at every delivery.
    troubled: AtomicBool,
}

/// What is wrong with the connections.
#[derive(Clone, Debug, Default)]
struct Trouble {
    all_down: bool,
    /// The last thing that went wrong.
    reason: String,
    /// What was said, so that it is said once.
    said: Vec<RDKafkaErrorCode>,
    /// A broker has answered; before that the caller of `connect` is told, and says it.
    answered: bool,
}

/// librdkafka's reason for people: without what it counts, and without advice that leads astray.
pub(crate) fn plain_reason(reason: &str) -> String {
    let reason = reason.split_once(" (after ").map_or(reason, |(reason, _)| reason);
    match reason.split_once("Receive failed: Invalid response size") {
        // It advises to raise receive.message.max.bytes: it took another protocol's first bytes for a size.
        Some((broker, _)) => {
            format!("{broker}what answers there is not Kafka, or wants TLS (security.protocol)")
        }
        None => reason.to_owned(),
    }
}

impl Inbox {
    fn new(brokers: &str) -> Self {
        Self {
            deliveries: Mutex::default(),
            bell: Notify::new(),
            ended: AtomicBool::new(false),
            suspect: AtomicBool::new(false),
            brokers: brokers.into(),
            trouble: Mutex::default(),
            troubled: AtomicBool::new(false),
        }
    }

    fn push(&self, delivery: Delivery) {
        let mut deliveries = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        let first = deliveries.is_empty();
        deliveries.push(delivery);
        drop(deliveries);
        if first {
            self.bell.notify_one();
        }
    }

    fn swap(&self, spare: &mut Vec<Delivery>) {
        mem::swap(&mut *self.deliveries.lock().unwrap_or_else(PoisonError::into_inner), spare);
    }

    fn answered(&self) {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).answered = true;
    }

    fn trouble(&self) -> Trouble {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says what is wrong once a broker has answered, each thing once until all is well again.
    fn complain(&self, code: RDKafkaErrorCode, reason: &str) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match code {
            // It comes with a count of brokers that is late or early, and no reason.
            RDKafkaErrorCode::AllBrokersDown => trouble.all_down = true,
            _ => trouble.reason = plain_reason(reason),
        }
        // One connection of many that closes is everyday life.
        let everyday = matches!(
            code,
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
        );
        if everyday || !trouble.answered || trouble.said.contains(&code) {
            return;
        }
        trouble.said.push(code);
        self.troubled.store(true, Ordering::Release);
        let fault = fault("kafka", code);
        let reason = if trouble.reason.is_empty() { "connection lost" } else { &trouble.reason };
        tracing::warn!(brokers = &*self.brokers, reason, "{fault}");
    }

    /// A delivery went well: whatever was wrong is over.
    fn rejoice(&self) {
        self.troubled.store(false, Ordering::Release);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) =
            Trouble { answered: true, ..Trouble::default() };
        tracing::info!(brokers = &*self.brokers, "kafka: the brokers acknowledge again");
    }
}

/// What librdkafka calls, on the producer's thread.
struct Wire {
    inbox: Arc<Inbox>,
    topics: Arc<Topics>,
    pipelining: bool,
    /// `None`: it tells none.
    statistics: Option<Statistics>,
    keeper: Option<Arc<Keeper>>,
}

impl ClientContext for Wire {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, "{message}");
    }

    fn stats_raw(&self, json: &[u8]) {
        if let Some(statistics) = &self.statistics {
            statistics.take(json);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = code_of(&error) else { return };
        if let Some(keeper) = self.keeper.as_ref().filter(|_| code == RDKafkaErrorCode::Authentication) {
            keeper.doubt();
        }
        self.inbox.complain(code, reason);
        self.inbox.suspect.store(true, Ordering::Release);
        self.inbox.bell.notify_one();
    }
}

impl ProducerContext for Wire {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let failure = match result {
            Ok(_) => {
                if self.inbox.troubled.load(Ordering::Relaxed) {
                    self.inbox.rejoice();
                }
                None
            }
            Err((error, message)) => Some(self.failure(error, message)),
        };
        self.inbox.push(Delivery { ticket, failure });
    }
}

impl Wire {
    /// What a failed delivery means for the record, for the session and for its topic.
    fn failure(&self, error: &KafkaError, message: &BorrowedMessage<'_>) -> Failure {
        if self.pipelining {
            self.inbox.ended.store(true, Ordering::Release);
        }
        self.inbox.suspect.store(true, Ordering::Release);
        let code = code_of(error).unwrap_or(RDKafkaErrorCode::Unknown);
        if matches!(code, RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge) {
            // The limit is not, or no longer, the one that routing and batches go by.
            self.topics.doubt_there(message.topic());
        }
        #[expect(unsafe_code, reason = "the binding does not show librdkafka's word on persistence")]
        // The message lives as long as the borrow.
        let status = unsafe { rdkafka::bindings::rd_kafka_message_status(message.ptr()) };
        let not_written = rdkafka::bindings::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
        let given_up = matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight);
        Failure { code, possibly_written: given_up || status != not_written }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_the_same_each_time_and_leads_nobody_astray() {
        for (reason, plain) in [
            (
                "h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT, 1 \
                 identical error(s) suppressed)",
                "h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused",
            ),
            (
                "h:1/bootstrap: Receive failed: Invalid response size 1213486160 (0..100000000): increase \
                 receive.message.max.bytes (after 3ms in state APIVERSION_QUERY)",
                "h:1/bootstrap: what answers there is not Kafka, or wants TLS (security.protocol)",
            ),
        ] {
            assert_eq!(plain_reason(reason), plain);
        }
    }
}
