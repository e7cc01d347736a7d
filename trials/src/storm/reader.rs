//! A consumer that reads every partition of every topic from the beginning, and holds each message against what was
//! enqueued.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use eventferry::{Event, MessageId};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::feed::Feed;
use super::history::Moment;
use super::subjects::{NUMBER, number_in};
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
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    world: Arc<World>,
    arrivals: Mutex<Vec<Arrival>>,
    /// The next offset of each partition.
    next: Mutex<BTreeMap<(usize, i32), i64>>,
    /// How often each topic was created again.
    lives: Mutex<Vec<i64>>,
    ended: AtomicBool,
    /// When the last message came.
    heard_at: Mutex<Instant>,
    /// What the consumer said last that was no message. A broker that is away is no end.
    trouble: Mutex<Option<String>>,
}

/// Offsets of a topic that was created again begin at zero: they are counted from here for each of its lives.
const LIFE: i64 = 1 << 40;

/// Which events have arrived, from the first arrivals on.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    looked_at: usize,
    there: Vec<bool>,
}

impl Reader {
    pub(super) fn start(world: &Arc<World>, topics: &[Topic]) -> Result<Self, Failure> {
        let shared = Arc::new(Shared {
            world: Arc::clone(world),
            arrivals: Mutex::default(),
            next: Mutex::default(),
            lives: Mutex::new(vec![0; topics.len()]),
            ended: AtomicBool::new(false),
            heard_at: Mutex::new(Instant::now()),
            trouble: Mutex::default(),
        });
        let mut reader = Self { shared, thread: None };
        reader.go_on(topics)?;
        Ok(reader)
    }

    /// Reads no more until it is to go on.
    pub(super) fn rest(&mut self) -> Result<(), Failure> {
        self.shared.ended.store(true, Ordering::SeqCst);
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_| failure("the consumer's thread panicked")),
            None => Ok(()),
        }
    }

    /// A topic was created again: it begins at its beginning.
    pub(super) fn begin_anew(&self, topic: usize) {
        lock(&self.shared.lives)[topic] += 1;
        lock(&self.shared.next).retain(|(of, _), _| *of != topic);
    }

    /// Reads on from where it was.
    pub(super) fn go_on(&mut self, topics: &[Topic]) -> Result<(), Failure> {
        let broker = topics.first().ok_or_else(|| failure("no topics"))?.brokers();
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", broker)
            .set("group.id", &topics[0].name)
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "50")
            .set("auto.offset.reset", "earliest")
            .set("reconnect.backoff.max.ms", "500")
            .create()
            .attempt("make a consumer")?;
        let mut partitions = TopicPartitionList::new();
        for (place, topic) in topics.iter().enumerate() {
            for partition in 0..topic.partitions {
                let next = lock(&self.shared.next).get(&(place, partition)).copied();
                let from = next.map_or(Offset::Beginning, Offset::Offset);
                partitions.add_partition_offset(&topic.name, partition, from)?;
            }
        }
        consumer.assign(&partitions).attempt("assign partitions")?;
        self.shared.ended.store(false, Ordering::SeqCst);
        let here = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("reader".into()).spawn(move || here.read(&consumer))?;
        self.thread = Some(thread);
        Ok(())
    }

    /// Whether it has read all that these topics have.
    pub(super) fn is_at_the_end(&self, topics: &[Topic]) -> Result<bool, Failure> {
        for (place, topic) in topics.iter().enumerate() {
            for (partition, (low, high)) in (0..).zip(topic.ends()?) {
                let next = lock(&self.shared.next).get(&(place, partition)).copied();
                if high > low && next.is_none_or(|next| next < high) && !self.is_silent() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Whether nothing has come for a while. The ends of transactions have places in a partition, and are no messages:
    /// what is behind the last message may be one of those.
    fn is_silent(&self) -> bool {
        const SILENCE: Duration = Duration::from_secs(3);
        self.shared.world.feed == Feed::ExactlyOnce && lock(&self.shared.heard_at).elapsed() > SILENCE
    }

    /// What the consumer said last that was no message.
    pub(super) fn trouble(&self) -> String {
        lock(&self.shared.trouble).clone().unwrap_or_default()
    }

    /// How many messages have been read.
    pub(super) fn count(&self) -> usize {
        lock(&self.shared.arrivals).len()
    }

    /// Whether every event that must arrive has, but for what is parked: what the database has, or else what was
    /// confirmed.
    pub(super) fn has_all(
        &self,
        arrived: &mut Arrived,
        book: Option<&BTreeSet<u64>>,
        parked: &BTreeSet<u64>,
    ) -> Result<bool, Failure> {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(failure("the consumer ended"));
        }
        arrived.look(&lock(&self.shared.arrivals));
        let is_there = |number: u64| arrived.is_there(number) || parked.contains(&number);
        Ok(match book {
            Some(book) => book.iter().all(|number| is_there(*number)),
            None => self.shared.world.history.all_committed(is_there),
        })
    }

    /// Ends; returns everything that was read, in the order of each partition.
    pub(super) fn end(mut self) -> Result<Vec<Arrival>, Failure> {
        self.rest()?;
        Ok(std::mem::take(&mut *lock(&self.shared.arrivals)))
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
    fn read(&self, consumer: &BaseConsumer) {
        while !self.ended.load(Ordering::SeqCst) {
            match consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(message)) => {
                    *lock(&self.heard_at) = Instant::now();
                    let mut arrival = self.arrival(&message);
                    lock(&self.next).insert((arrival.topic, arrival.partition), arrival.offset + 1);
                    arrival.offset += LIFE * lock(&self.lives).get(arrival.topic).copied().unwrap_or(0);
                    lock(&self.arrivals).push(arrival);
                }
                Some(Err(error)) => *lock(&self.trouble) = Some(error.to_string()),
            }
        }
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
        let topics = &self.world.subjects.topics;
        Arrival {
            number,
            // The one that nobody writes to is for dead letters, and comes last.
            topic: topics.iter().position(|(name, _)| name == message.topic()).unwrap_or(topics.len()),
            partition: message.partition(),
            offset: message.offset(),
            appended_ms: message.timestamp().to_millis().unwrap_or(0),
            seen: self.world.history.now(),
            message_id: id,
            amiss: number
                .filter(|_| topics.iter().any(|(name, _)| name == message.topic()))
                .and_then(|number| self.world.history.event(number))
                .and_then(|event| difference(&event, message, &headers)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
