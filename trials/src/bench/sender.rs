//! The bare producer of the contenders that are not eventferry, set as eventferry's is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eventferry::kafka::KafkaConfig;
use eventferry::{MessageId, core::Timestamp};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use tokio::sync::Notify;

use crate::failure::{Attempt as _, Failure, failure};
use crate::topic::Topic;

/// A producer and a count of what it has in flight.
pub(super) struct Sender {
    producer: ThreadedProducer<Deliveries>,
    deliveries: Arc<Counts>,
    topic: String,
    in_flight_max: u64,
    sent: u64,
}

/// A message as a table's columns give it.
pub(super) struct Message<'a> {
    pub(super) micros: i64,
    pub(super) message_id: [u8; 16],
    pub(super) aggregate_type: &'a [u8],
    pub(super) aggregate_id: &'a [u8],
    pub(super) payload: &'a [u8],
    pub(super) content_type: &'a [u8],
    /// A `bytea[]` in its binary form: names and values in turn.
    pub(super) headers: &'a [u8],
}

/// Microseconds between 1970 and 2000, where PostgreSQL's time begins.
pub(super) const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

impl Message<'_> {
    /// One that says nothing, under a key.
    pub(super) fn empty(key: &[u8]) -> Message<'_> {
        let nothing: &[u8] = &[];
        Message {
            micros: 0,
            message_id: [0; 16],
            aggregate_type: nothing,
            aggregate_id: key,
            payload: nothing,
            content_type: nothing,
            headers: nothing,
        }
    }
}

impl Sender {
    pub(super) fn open(topic: &Topic) -> Result<Self, Failure> {
        let like = KafkaConfig::new(topic.brokers());
        let deliveries = Arc::new(Counts::default());
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &like.brokers)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("max.in.flight.requests.per.connection", "5")
            .set("linger.ms", format!("{}", like.linger.as_secs_f64() * 1000.0))
            .set("batch.num.messages", "100000")
            .set("batch.size", like.batch_bytes.to_string())
            .set("compression.type", "none")
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", i32::MAX.to_string())
            .set("partitioner", "murmur2_random");
        let producer =
            config.create_with_context(Deliveries(Arc::clone(&deliveries))).attempt("make a producer")?;
        let in_flight_max = like.in_flight_records_max as u64;
        Ok(Self { producer, deliveries, topic: topic.name.clone(), in_flight_max, sent: 0 })
    }

    /// Sends a message, as [`Sender::post`] does; waits while too much is in flight.
    pub(super) async fn send(&mut self, message: &Message<'_>) -> Result<(), Failure> {
        if self.sent - self.deliveries.landed() >= self.in_flight_max {
            self.wait(self.in_flight_max * 3 / 4).await?;
        }
        self.post(message)?;
        self.sent += 1;
        Ok(())
    }

    /// Hands a message over with the key, headers and time that eventferry gives it, and waits for nobody. It is not
    /// among those that [`Sender::send`] and [`Sender::flush`] count.
    pub(super) fn post(&self, message: &Message<'_>) -> Result<(), Failure> {
        let id = MessageId(message.message_id).to_text();
        let header = |key, value| Header { key, value: Some(value) };
        let mut headers = OwnedHeaders::new_with_capacity(8)
            .insert(header("message-id", &id[..]))
            .insert(header("aggregate-type", message.aggregate_type))
            .insert(header("aggregate-id", message.aggregate_id))
            .insert(header("content-type", message.content_type));
        let mut rest = message.headers.get(20..).unwrap_or_default();
        while let (Some(name), Some(value)) = (element(&mut rest), element(&mut rest)) {
            headers = headers.insert(header(std::str::from_utf8(name)?, value));
        }
        let time = Timestamp(message.micros + POSTGRES_EPOCH_MICROS);
        let record = BaseRecord::<[u8], [u8]>::to(&self.topic)
            .key(message.aggregate_id)
            .payload(message.payload)
            .timestamp(time.millis())
            .headers(headers);
        self.producer.send(record).map_err(|(error, _)| error).attempt("produce")
    }

    /// Waits until everything is acknowledged.
    pub(super) async fn flush(&self) -> Result<(), Failure> {
        self.wait(0).await
    }

    /// Waits until no more than this is in flight.
    async fn wait(&self, in_flight: u64) -> Result<(), Failure> {
        self.deliveries.wanted.store(self.sent - in_flight, Ordering::SeqCst);
        while self.deliveries.landed() < self.sent - in_flight {
            self.deliveries.bell.notified().await;
        }
        match self.deliveries.failed.load(Ordering::Relaxed) {
            0 => Ok(()),
            failed => Err(failure(format!("{failed} messages were not acknowledged"))),
        }
    }
}

/// The next element of an array in its binary form.
fn element<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (element, after) = after.split_at_checked(usize::try_from(i32::from_be_bytes(*length)).ok()?)?;
    *rest = after;
    Some(element)
}

#[derive(Default)]
struct Counts {
    landed: AtomicU64,
    failed: AtomicU64,
    /// The bell rings when this many have landed.
    wanted: AtomicU64,
    bell: Notify,
}

impl Counts {
    fn landed(&self) -> u64 {
        self.landed.load(Ordering::SeqCst)
    }
}

struct Deliveries(Arc<Counts>);

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        eprintln!("trials: kafka: {error} {reason}");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result
            && self.0.failed.fetch_add(1, Ordering::Relaxed) == 0
        {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
            eprintln!("trials: kafka: {code:?}");
        }
        let landed = self.0.landed.fetch_add(1, Ordering::SeqCst) + 1;
        if landed == self.0.wanted.load(Ordering::SeqCst) {
            self.0.bell.notify_one();
        }
    }
}
