//! The reader: a Kafka consumer that remembers every message.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::task::JoinHandle;

use super::broker::{Broker, PARTITIONS};
use super::sale::Sale;
use super::shop::Counters;
use crate::ending::Trouble;

/// A consumer of the whole topic, from its beginning.
pub(crate) struct Reader {
    consumer: BaseConsumer,
    topic: String,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Reading {
    /// In the order of reading, which in each partition is that of the log; `None`: damaged.
    pub(crate) deliveries: Vec<Option<Sale>>,
    /// When the last message came that had not come before.
    pub(crate) last_at: Instant,
}

/// How long the end of the log may be away once nothing more is sent.
const END_WITHIN: Duration = Duration::from_secs(10);

impl Reader {
    /// Begins to consume.
    ///
    /// # Errors
    /// The client cannot be made.
    pub(crate) fn of(broker: &Broker) -> Result<Self, Trouble> {
        let failed = |error: KafkaError| Trouble::publisher(format!("make a Kafka consumer: {error}"));
        let consumer: BaseConsumer = broker
            .client()
            .set("group.id", "eventferry-demo")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "20")
            .create()
            .map_err(failed)?;
        let mut partitions = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            partitions.add_partition_offset(&broker.topic, partition, Offset::Offset(0)).map_err(failed)?;
        }
        consumer.assign(&partitions).map_err(failed)?;
        Ok(Self { consumer, topic: broker.topic.clone() })
    }

    /// Reads until nothing more is sent and the end of every partition is reached.
    ///
    /// # Errors
    /// A message was gone before it was read, or the end could not be found.
    pub(crate) fn start(self, counters: Arc<Counters>) -> JoinHandle<Result<Reading, Trouble>> {
        tokio::task::spawn_blocking(move || self.read(&counters))
    }

    fn read(self, counters: &Counters) -> Result<Reading, Trouble> {
        let mut reading = Reading { deliveries: Vec::new(), last_at: Instant::now() };
        let mut seen = HashSet::new();
        let mut next = [0_i64; PARTITIONS as usize];
        let mut ends: Option<([i64; PARTITIONS as usize], Instant)> = None;
        loop {
            match self.consumer.poll(Duration::from_millis(20)) {
                None => {}
                Some(Err(error)) => self.complain(error)?,
                Some(Ok(message)) => {
                    if let Some(next) = next.get_mut(message.partition() as usize) {
                        *next = message.offset() + 1;
                    }
                    let sale = sale_of(&message);
                    if sale.is_some_and(|sale| seen.insert(sale.message_id)) {
                        reading.last_at = Instant::now();
                        counters.read.fetch_add(1, Ordering::Relaxed);
                    }
                    reading.deliveries.push(sale);
                }
            }
            if ends.is_none() && counters.sent.load(Ordering::Acquire) {
                ends = Some((self.ends()?, Instant::now() + END_WITHIN));
            }
            if let Some((ends, until)) = ends
                && (next.iter().zip(&ends).all(|(next, end)| next >= end) || Instant::now() > until)
            {
                return Ok(reading);
            }
        }
    }

    /// The broker's own word on how far the partitions go.
    fn ends(&self) -> Result<[i64; PARTITIONS as usize], Trouble> {
        let mut ends = [0; PARTITIONS as usize];
        for (partition, end) in (0..).zip(&mut ends) {
            let marks = self.consumer.fetch_watermarks(&self.topic, partition, END_WITHIN);
            let (_, high) = marks.map_err(|error| {
                Trouble::publisher(format!(
                    "ask for the end of topic {}, partition {partition}: {error}",
                    self.topic
                ))
            })?;
            *end = high;
        }
        Ok(ends)
    }

    /// A consumer waits most errors out by itself.
    fn complain(&self, error: KafkaError) -> Result<(), Trouble> {
        use rdkafka::types::RDKafkaErrorCode::AutoOffsetReset;
        if error.rdkafka_error_code() == Some(AutoOffsetReset) {
            return Err(Trouble::publisher(format!(
                "topic {}: messages were gone before they were read: {error}",
                self.topic
            )));
        }
        tracing::debug!(%error, "the consumer met an error");
        Ok(())
    }
}

fn sale_of(message: &BorrowedMessage<'_>) -> Option<Sale> {
    let headers = message.headers();
    let headers = headers.iter().flat_map(|headers| headers.iter());
    Sale::of_message(message.payload(), headers.map(|header| (header.key, header.value.unwrap_or_default())))
}
