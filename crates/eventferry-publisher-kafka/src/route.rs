//! What is known of topics, and where an envelope goes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use eventferry_core::publisher::{Domain, Route};
use eventferry_core::{Envelope, PublishFault, PublishFaultKind};

use crate::config::RECORD_BYTES_MAX;
use crate::mapping::Mapping;
use crate::partitioner::Partitioner;

/// What a batch of one record takes besides the record: the batch's header in message format v2, KIP-98.
const BATCH_HEADER_BYTES: usize = 61;

/// No batch is made smaller than this for the sake of a topic with a lower limit: its neighbours would pay.
const BATCH_BYTES_MIN: usize = 16 << 10;

/// How long what is known of a topic is enough to refuse an envelope by. Whoever raised a limit, or added partitions,
/// and has a refused event tried again shall not be answered from memory; a stream of events that are too large shall
/// not ask about its topic for each of them.
const REFUSES_FOR: Duration = Duration::from_secs(1);

/// What the cluster says of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// How many partitions it has; 1 or more.
    pub(crate) partitions: i32,
    /// Its `max.message.bytes`, if the cluster let us read it.
    pub(crate) batch_bytes_max: Option<usize>,
}

/// A topic that was learned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topic {
    /// Names the topic in its domains; new whenever the number of partitions changes, so that a domain never means
    /// two places.
    index: u32,
    facts: Facts,
    /// When the cluster said so.
    learned_at: Instant,
    /// Whether this still holds, as far as is known.
    trusted: bool,
}

/// The topics a publisher knows.
#[derive(Debug)]
pub(crate) struct Topics {
    table: RwLock<Table>,
    /// Grows with every change of the table, so that a session need not look into it for every record.
    changes: AtomicU64,
    /// Whether sizes are known before sending: compressed ones are not.
    compressed: bool,
    partitioner: Partitioner,
    mapping: Mapping,
}

#[derive(Debug, Default)]
struct Table {
    by_name: HashMap<Box<str>, Topic>,
    next_index: u32,
}

impl Topics {
    pub(crate) fn new(compressed: bool) -> Self {
        Self {
            table: RwLock::default(),
            changes: AtomicU64::new(0),
            compressed,
            partitioner: Partitioner::default(),
            mapping: Mapping::default(),
        }
    }

    /// With another way to choose partitions, and other names at the broker.
    pub(crate) fn with(self, partitioner: Partitioner, mapping: Mapping) -> Self {
        Self { partitioner, mapping, ..self }
    }

    /// The broker's name of a topic.
    pub(crate) fn name<'a>(&'a self, topic: &'a str) -> Cow<'a, str> {
        self.mapping.name(topic)
    }

    /// Keeps what the cluster says of a topic.
    pub(crate) fn learn(&self, name: &str, facts: Facts) {
        let mut table = self.write();
        let next_index = table.next_index;
        let learned_at = Instant::now();
        match table.by_name.get_mut(name) {
            Some(topic) if topic.facts.partitions == facts.partitions => {
                *topic = Topic { index: topic.index, facts, learned_at, trusted: true };
            }
            Some(topic) => {
                tracing::info!(
                    topic = name,
                    partitions = facts.partitions,
                    "the number of partitions changed"
                );
                *topic = Topic { index: next_index, facts, learned_at, trusted: true };
                table.next_index += 1;
            }
            None => {
                let topic = Topic { index: next_index, facts, learned_at, trusted: true };
                table.by_name.insert(name.into(), topic);
                table.next_index += 1;
            }
        }
    }

    /// Keeps that what is known of a topic does not hold: it is to be learned again before anything is routed there.
    pub(crate) fn doubt(&self, name: &str) {
        if let Some(topic) = self.write().by_name.get_mut(name) {
            topic.trusted = false;
        }
    }

    /// The same, by the broker's name of it.
    pub(crate) fn doubt_there(&self, name: &str) {
        for (topic, known) in &mut self.write().by_name {
            if self.mapping.name(topic) == name {
                known.trusted = false;
            }
        }
    }

    /// The topics that were there when last looked for.
    pub(crate) fn trusted(&self) -> Vec<String> {
        let table = self.read();
        table.by_name.iter().filter(|(_, topic)| topic.trusted).map(|(name, _)| name.to_string()).collect()
    }

    /// The largest batch that every known topic takes, at most `wanted`.
    pub(crate) fn batch_bytes(&self, wanted: usize) -> usize {
        let table = self.read();
        table.by_name.values().fold(wanted, |bytes, topic| topic.batch_bytes(bytes))
    }

    /// See [`eventferry_core::publisher::Publisher::route`].
    pub(crate) fn route(&self, envelope: &Envelope<'_>) -> Route {
        let Some(topic) = self.get(envelope.topic()).filter(|topic| topic.trusted) else {
            return Route::Unknown;
        };
        let fault = match (self.oversize(envelope, topic.facts), topic.partition(envelope, &self.partitioner))
        {
            (None, Ok(partition)) => return Route::To(topic.domain(partition)),
            (Some(fault), _) | (None, Err(fault)) => fault,
        };
        if topic.learned_at.elapsed() > REFUSES_FOR {
            Route::Unknown
        } else {
            Route::Refused(Box::new(fault))
        }
    }

    /// What is known of a topic, whether it holds or not.
    pub(crate) fn get(&self, name: &str) -> Option<Topic> {
        self.read().by_name.get(name).copied()
    }

    /// A fault if the envelope certainly does not fit. The broker holds the limit against the batch as it arrives,
    /// compressed or not; so the size of a batch of one is the least that can be refused, and only where it is
    /// known, that is, without compression. What slips through is refused by the broker and then tried alone.
    fn oversize(&self, envelope: &Envelope<'_>, facts: Facts) -> Option<PublishFault> {
        let topic_limit = facts.batch_bytes_max.filter(|_| !self.compressed).unwrap_or(RECORD_BYTES_MAX);
        let limit = topic_limit.min(RECORD_BYTES_MAX);
        // Far below the limit, as nearly always, nothing is counted: an aggregate's id may travel twice, a header takes
        // two bytes besides its own, and the record and our headers' names less than this.
        const FRAME_BYTES_MAX: usize = 512;
        if envelope.size_bytes().saturating_mul(3).saturating_add(FRAME_BYTES_MAX) <= limit {
            return None;
        }
        let bytes = BATCH_HEADER_BYTES + record_bytes(envelope);
        (bytes > limit).then(|| {
            let remedy = if limit == RECORD_BYTES_MAX {
                "brokers do not read larger requests: keep the payload elsewhere and send a reference"
            } else {
                "raise the topic's max.message.bytes, or keep the payload elsewhere and send a reference"
            };
            let topic = envelope.topic();
            PublishFault::new(
                PublishFaultKind::Rejected,
                format!("the record takes {bytes} bytes and topic `{topic}` takes {limit}: {remedy}"),
            )
            .of_class("MessageSizeTooLarge")
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often what is known has changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Topic {
    /// The partition of an envelope: the one it asks for, else the one that the partitioner chooses.
    fn partition(&self, envelope: &Envelope<'_>, partitioner: &Partitioner) -> Result<i32, PublishFault> {
        let partitions = self.facts.partitions;
        let asked = envelope.partition();
        let partition = asked.unwrap_or_else(|| partitioner.partition(envelope, partitions));
        if (0..partitions).contains(&partition) {
            return Ok(partition);
        }
        let (topic, greatest) = (envelope.topic(), partitions - 1);
        let message = match asked {
            Some(_) => format!(
                "the event asks for partition {partition} of topic `{topic}`, which has {partitions}: give 0 to \
                 {greatest}, or none"
            ),
            None => format!(
                "the program's partitioner chooses partition {partition} of topic `{topic}`, which has {partitions}: \
                 it is to give 0 to {greatest}"
            ),
        };
        Err(PublishFault::new(PublishFaultKind::Rejected, message).of_class("UnknownPartition"))
    }

    /// The largest batch, at most `wanted`, that the topic takes or that is not worth making smaller.
    pub(crate) fn batch_bytes(&self, wanted: usize) -> usize {
        self.facts.batch_bytes_max.map_or(wanted, |max| max.max(BATCH_BYTES_MIN).min(wanted))
    }

    fn domain(&self, partition: i32) -> Domain {
        Domain(u64::from(self.index) << 32 | u64::from(partition.unsigned_abs()))
    }
}

/// The partition of a domain.
pub(crate) fn partition_in(domain: Domain) -> i32 {
    // The lower half, as `Topic::domain` wrote it.
    (domain.0 as u32).cast_signed()
}

/// How many bytes the envelope takes as the first record of a batch in message format v2.
fn record_bytes(envelope: &Envelope<'_>) -> usize {
    // Attributes, timestamp delta and offset delta take one byte each in the first record.
    let mut bytes =
        3 + sized(envelope.key().len()) + envelope.payload().map_or(1, |payload| sized(payload.len()));
    let mut headers = 0;
    envelope.headers(|name, value| {
        headers += 1;
        bytes += sized(name.len()) + sized(value.len());
    });
    sized(bytes + varint_bytes(headers))
}

/// The bytes of something with its length before it.
fn sized(bytes: usize) -> usize {
    varint_bytes(bytes) + bytes
}

/// The bytes of a number as a zig-zag varint: seven bits a byte, one bit for the sign.
fn varint_bytes(number: usize) -> usize {
    let bits = usize::BITS - number.leading_zeros() + 1;
    bits.div_ceil(7).max(1) as usize
}

#[cfg(test)]
mod tests {
    use eventferry_core::{Event, MessageId, StoredEvent, Timestamp};

    use super::*;

    fn stored(event: Event) -> StoredEvent {
        StoredEvent { message_id: MessageId([7; 16]), event, enqueued_at: Timestamp(0) }
    }

    fn topics(compressed: bool, partitions: i32, batch_bytes_max: Option<usize>) -> Topics {
        let topics = Topics::new(compressed);
        topics.learn("t", Facts { partitions, batch_bytes_max });
        topics
    }

    fn domain(topics: &Topics, event: Event) -> u64 {
        match topics.route(&Envelope::of(&stored(event))) {
            Route::To(Domain(domain)) => domain,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(topics: &Topics, event: Event) -> String {
        match topics.route(&Envelope::of(&stored(event))) {
            Route::Refused(fault) => {
                assert!(fault.class().is_some(), "people filter by its class: {fault}");
                fault.to_string()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_domain_is_a_topic_and_a_partition() {
        let topics = topics(false, 4, None);
        topics.learn("u", Facts { partitions: 4, batch_bytes_max: None });
        let event = |topic: &str| Event::new(topic, ("order", 1)).partition(3);
        assert_eq!(domain(&topics, event("t")), 3);
        assert_eq!(domain(&topics, event("u")), 1 << 32 | 3);
        // By Java's hash of "21", which UtilsTest.testMurmur2 of Kafka has.
        let java = (-973_932_308 & 0x7fff_ffff) % 4;
        assert_eq!(domain(&topics, Event::new("t", ("order", 1)).key("21")), java as u64);
    }

    #[test]
    fn a_changed_number_of_partitions_gives_other_domains() {
        let topics = topics(false, 4, None);
        let event = Event::new("t", ("order", 1)).partition(3);
        let before = domain(&topics, event.clone());
        topics.learn("t", Facts { partitions: 4, batch_bytes_max: Some(1000) });
        assert_eq!(domain(&topics, event.clone()), before);
        topics.learn("t", Facts { partitions: 8, batch_bytes_max: None });
        assert_ne!(domain(&topics, event), before);
    }

    #[test]
    fn a_topic_that_was_not_learned_or_is_gone_is_unknown() {
        let topics = topics(false, 1, None);
        for lost in ["t", "never"] {
            topics.doubt(lost);
            let event = stored(Event::new(lost, ("order", 1)));
            assert!(matches!(topics.route(&Envelope::of(&event)), Route::Unknown));
        }
    }

    #[test]
    fn a_partition_that_is_not_there_is_refused() {
        let topics = topics(false, 4, None);
        for partition in [-1, 4] {
            let message = refusal(&topics, Event::new("t", ("order", 1)).partition(partition));
            assert!(
                message.contains(&format!("partition {partition} of topic `t`, which has 4")),
                "{message}"
            );
        }
    }

    #[test]
    fn a_programs_partitioner_chooses_unless_the_event_does_and_within_bounds() {
        let choose = |choice: i32| {
            let partitioner = Partitioner::custom(move |envelope, partitions| {
                assert_eq!((envelope.topic(), partitions), ("t", 4));
                choice
            });
            topics(false, 4, None).with(partitioner, Mapping::default())
        };
        let event = || Event::new("t", ("order", 1));
        assert_eq!(domain(&choose(2), event()), 2);
        assert_eq!(domain(&choose(2), event().partition(3)), 3);
        for partition in [-1, 4] {
            let message = refusal(&choose(partition), event());
            assert!(message.contains(&format!("chooses partition {partition} of topic `t`")), "{message}");
        }
    }

    #[test]
    fn a_topic_is_doubted_by_the_brokers_name_of_it() {
        let mapping = Mapping::of("p.", &[("u".to_owned(), "v".to_owned())].into()).unwrap();
        let topics = Topics::new(false).with(Partitioner::default(), mapping);
        for (topic, name) in [("t", "p.t"), ("u", "v")] {
            topics.learn(topic, Facts { partitions: 1, batch_bytes_max: None });
            assert_eq!(topics.name(topic), name);
            topics.doubt_there(topic);
            assert!(topics.get(topic).is_some_and(|topic| topic.trusted));
            topics.doubt_there(name);
            assert!(topics.get(topic).is_some_and(|topic| !topic.trusted));
        }
    }

    #[test]
    fn nothing_is_refused_by_what_was_learned_long_ago() {
        let topics = topics(false, 4, Some(1000));
        let event = |bytes| Event::new("t", ("order", 1)).payload(vec![0; bytes], "");
        refusal(&topics, event(2000));
        topics.write().by_name.get_mut("t").unwrap().learned_at -= REFUSES_FOR + Duration::from_secs(1);
        for refused in [event(2000), Event::new("t", ("order", 1)).partition(4)] {
            assert!(matches!(topics.route(&Envelope::of(&stored(refused))), Route::Unknown));
        }
        domain(&topics, event(10));
        topics.learn("t", Facts { partitions: 4, batch_bytes_max: Some(3000) });
        domain(&topics, event(2000));
    }

    #[test]
    fn only_what_certainly_does_not_fit_is_refused() {
        let event = Event::new("t", ("order", 1)).payload(vec![0; 1000], "x");
        let bytes = BATCH_HEADER_BYTES + record_bytes(&Envelope::of(&stored(event.clone())));
        domain(&topics(false, 1, Some(bytes)), event.clone());
        let message = refusal(&topics(false, 1, Some(bytes - 1)), event.clone());
        assert!(
            message.contains(&format!("takes {bytes} bytes and topic `t` takes {}", bytes - 1)),
            "{message}"
        );
        domain(&topics(true, 1, Some(bytes - 1)), event.clone());
        domain(&topics(false, 1, None), event);
    }

    #[test]
    fn varints_are_as_long_as_on_the_wire() {
        for (number, bytes) in [(0, 1), (63, 1), (64, 2), (8191, 2), (8192, 3), (1 << 20, 4)] {
            assert_eq!(varint_bytes(number), bytes, "{number}");
        }
    }

    #[test]
    fn batches_shrink_to_the_lowest_limit_but_not_to_nothing() {
        let topics = topics(false, 1, Some(100_000));
        assert_eq!(topics.batch_bytes(1_000_000), 100_000);
        assert_eq!(topics.batch_bytes(50_000), 50_000);
        topics.learn("small", Facts { partitions: 1, batch_bytes_max: Some(10) });
        assert_eq!(topics.batch_bytes(1_000_000), BATCH_BYTES_MIN);
        assert_eq!(topics.batch_bytes(1024), 1024);
    }
}
