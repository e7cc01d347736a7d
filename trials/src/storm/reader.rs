//! A consumer that reads every partition of every topic from the beginning, and holds each message against what was
//! enqueued.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use eventferry::{Event, MessageId};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::history::Moment;
use super::scene::{NUMBER, number_in};
use super::writer::World;
use crate::failure::{Attempt as _, Failure, failure};
use crate::topic::Topic;

/// A message as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Which event it says it is.
    pub(super) number: Option<u64>,
    pub(super) topic: usize,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// When the broker appended it, by the broker's clock, in milliseconds.
    pub(super) appended_ms: i64,
    /// When it was read.
    pub(super) seen: Moment,
    pub(super) message_id: Option<MessageId>,
    /// How it differs from what was enqueued.
    pub(super) amiss: Option<String>,
}

/// Reads on a thread of its own until it is ended.
pub(super) struct Reader {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

struct Shared {
    world: Arc<World>,
    arrivals: Mutex<Vec<Arrival>>,
    ended: AtomicBool,
}

/// Which events have arrived, from the first arrivals on.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    looked_at: usize,
    there: Vec<bool>,
}

impl Reader {
    pub(super) fn start(world: &Arc<World>, topics: &[Topic]) -> Result<Self, Failure> {
        let broker = topics.first().ok_or_else(|| failure("no topics"))?.brokers();
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", broker)
            .set("group.id", &topics[0].name)
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_uncommitted")
            .set("fetch.wait.max.ms", "50")
            .create()
            .attempt("make a consumer")?;
        let mut partitions = TopicPartitionList::new();
        for topic in topics {
            for partition in 0..topic.partitions {
                partitions.add_partition_offset(&topic.name, partition, Offset::Beginning)?;
            }
        }
        consumer.assign(&partitions).attempt("assign partitions")?;
        let shared = Arc::new(Shared {
            world: Arc::clone(world),
            arrivals: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let here = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("reader".into()).spawn(move || here.read(&consumer))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// How many messages have been read.
    pub(super) fn count(&self) -> usize {
        self.shared.arrivals().len()
    }

    /// Whether every event that must arrive has.
    pub(super) fn has_all(&self, arrived: &mut Arrived) -> Result<bool, Failure> {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(failure("the consumer ended"));
        }
        arrived.look(&self.shared.arrivals());
        Ok(self.shared.world.history.all_committed(|number| arrived.is_there(number)))
    }

    /// Ends; returns everything that was read, in the order of each partition.
    pub(super) fn end(mut self) -> Result<Vec<Arrival>, Failure> {
        self.shared.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| failure("the consumer's thread panicked"))??;
        }
        Ok(std::mem::take(&mut *self.shared.arrivals()))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
    }
}

impl Arrived {
    fn look(&mut self, arrivals: &[Arrival]) {
        for arrival in &arrivals[self.looked_at..] {
            let Some(number) = arrival.number.and_then(|number| usize::try_from(number).ok()) else {
                continue;
            };
            if self.there.len() <= number {
                self.there.resize(number + 1, false);
            }
            self.there[number] = true;
        }
        self.looked_at = arrivals.len();
    }

    fn is_there(&self, number: u64) -> bool {
        self.there.get(number as usize).copied().unwrap_or(false)
    }
}

impl Shared {
    fn read(&self, consumer: &BaseConsumer) -> Result<(), Failure> {
        while !self.ended.load(Ordering::SeqCst) {
            match consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(message)) => {
                    let arrival = self.arrival(&message);
                    self.arrivals().push(arrival);
                }
                Some(Err(error)) => return Err(failure(format!("read from Kafka: {error}"))),
            }
        }
        Ok(())
    }

    fn arrival(&self, message: &BorrowedMessage<'_>) -> Arrival {
        let headers = headers_of(message);
        let value =
            |name| headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_slice());
        let number = match message.payload() {
            Some(payload) => number_in(payload),
            None => value(NUMBER).and_then(number_in),
        };
        let id = value("message-id").and_then(|text| str::from_utf8(text).ok()?.parse().ok());
        let topics = &self.world.scene.topics;
        Arrival {
            number,
            topic: topics.iter().position(|(name, _)| name == message.topic()).unwrap_or(usize::MAX),
            partition: message.partition(),
            offset: message.offset(),
            appended_ms: message.timestamp().to_millis().unwrap_or(0),
            seen: self.world.history.now(),
            message_id: id,
            amiss: number
                .and_then(|number| self.world.history.event(number))
                .and_then(|event| difference(&event, message, &headers)),
        }
    }

    fn arrivals(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn headers_of(message: &BorrowedMessage<'_>) -> Vec<(String, Vec<u8>)> {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    headers.map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect()
}

/// How a message differs from its event; the message id is held against others later.
fn difference(event: &Event, message: &BorrowedMessage<'_>, headers: &[(String, Vec<u8>)]) -> Option<String> {
    if message.topic() != event.topic {
        return Some(format!("topic {} and not {}", message.topic(), event.topic));
    }
    if event.partition.is_some_and(|partition| partition != message.partition()) {
        return Some(format!("partition {} and not {:?}", message.partition(), event.partition));
    }
    if message.key() != Some(event.key.as_deref().unwrap_or(event.aggregate.id.as_bytes())) {
        return Some(format!("key {:?} and not {:?}", message.key(), event.key));
    }
    if message.payload() != event.payload.as_deref() {
        return Some("another payload".to_owned());
    }
    let mut wanted = vec![
        ("aggregate-type".to_owned(), event.aggregate.kind.clone().into_bytes()),
        ("aggregate-id".to_owned(), event.aggregate.id.clone().into_bytes()),
    ];
    wanted
        .extend(event.content_type.iter().map(|text| ("content-type".to_owned(), text.clone().into_bytes())));
    wanted.extend(event.headers.iter().map(|header| (header.name.clone(), header.value.clone())));
    match headers.split_first() {
        Some(((first, _), rest)) if first == "message-id" && rest == wanted => None,
        _ => Some(format!("headers {headers:?} and not message-id, {wanted:?}")),
    }
}
