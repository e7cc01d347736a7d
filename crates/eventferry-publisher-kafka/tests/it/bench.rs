//! The work bench of these tests: events to send, a real Kafka with topics of its own, and readers.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use eventferry_core::publisher::{Domain, Outcome, Publisher, Report, Role, Route, Session, Taken, Token};
use eventferry_core::{Envelope, Event, MessageId, PublishFaultKind, Stamp, StoredEvent, Timestamp};
use eventferry_publisher_kafka::{KafkaConfig, KafkaPublisher};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedMessage, Message, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// How long anything that should happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The key of records that only find out whether a limit holds.
const PROBE: &str = "probe";

/// An event as a store would hand it over.
pub(crate) fn stored(event: Event) -> StoredEvent {
    StoredEvent { message_id: MessageId([0xab; 16]), event, enqueued_at: now() }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(since.as_micros() as i64)
}

/// Event number `number` of one aggregate, with a payload of so many bytes that begins with its number.
pub(crate) fn numbered(topic: &str, number: u64, payload_bytes: usize) -> StoredEvent {
    let mut payload = format!("{number} ").into_bytes();
    payload.resize(payload_bytes.max(payload.len()), b'.');
    stored(Event::new(topic, ("order", 1)).payload(payload, "text/plain"))
}

/// The number with which a payload begins.
pub(crate) fn number_of(message: &impl Message) -> u64 {
    let payload = std::str::from_utf8(message.payload().unwrap()).unwrap();
    payload.split(' ').next().unwrap().parse().unwrap()
}

/// Hands a message over, waiting for nothing.
pub(crate) fn send(routed: &mut Routed<impl Publisher>, token: u64, row: &StoredEvent) -> Taken {
    let envelope = Envelope::of(row);
    // What cannot be routed goes to the first partition, as no relay would do.
    let domain = if let Route::To(domain) = routed.publisher.route(&envelope) { domain } else { Domain(0) };
    routed.session.send(Token(token), domain, &envelope)
}

/// A session, and the publisher that says where an envelope goes.
pub(crate) struct Routed<P: Publisher = KafkaPublisher> {
    publisher: P,
    session: P::Session,
}

impl<P: Publisher> Routed<P> {
    pub(crate) fn of(publisher: &P, session: P::Session) -> Self
    where
        P: Clone,
    {
        Self { publisher: publisher.clone(), session }
    }

    pub(crate) fn begin(&mut self, token: Token, stamp: Stamp) -> Taken {
        self.session.begin(token, stamp)
    }

    pub(crate) fn commit(&mut self, token: Token) {
        self.session.commit(token);
    }

    pub(crate) async fn reports(&mut self, into: &mut Vec<Report>) {
        self.session.reports(into).await;
    }

    pub(crate) async fn abandon(self, within: Duration) -> Vec<Report> {
        self.session.abandon(within).await
    }
}

/// Waits for so many reports.
pub(crate) async fn reports(session: &mut Routed<impl Publisher>, count: usize) -> Vec<Report> {
    let mut reports = Vec::new();
    while reports.len() < count {
        let waited = tokio::time::timeout(PATIENCE, session.reports(&mut reports)).await;
        assert!(waited.is_ok(), "{} reports of {count} came", reports.len());
    }
    reports
}

/// Sends one message and waits until it is acknowledged.
pub(crate) async fn acknowledged(session: &mut Routed<impl Publisher>, token: u64, row: &StoredEvent) {
    assert_eq!(send(session, token, row), Taken::Yes);
    let reports = reports(session, 1).await;
    assert_eq!((reports[0].token, said(&reports[0])), (Token(token), Said::Acknowledged), "{reports:?}");
}

/// A session that is connected.
pub(crate) async fn session<P: Publisher + Clone>(publisher: &P, role: Role) -> Routed<P> {
    Routed::of(publisher, publisher.connect(role).await.unwrap())
}

/// An outcome, to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Acknowledged,
    Refused(PublishFaultKind),
    Uncertain,
}

/// What a report says.
pub(crate) fn said(report: &Report) -> Said {
    match &report.outcome {
        Outcome::Acknowledged => Said::Acknowledged,
        Outcome::Refused(fault) => Said::Refused(*fault.kind()),
        Outcome::Uncertain => Said::Uncertain,
    }
}

/// Checks that these tokens, and no others, were answered, each once.
pub(crate) fn assert_answered_once(reports: &[Report], tokens: impl IntoIterator<Item = u64>) {
    let answered: BTreeSet<u64> = reports.iter().map(|report| report.token.0).collect();
    assert_eq!(answered.len(), reports.len(), "a token was answered twice");
    assert_eq!(answered, tokens.into_iter().collect());
}

/// A real Kafka.
pub(crate) struct Kafka {
    brokers: String,
    admin: AdminClient<DefaultClientContext>,
}

impl Kafka {
    /// The one the environment names.
    pub(crate) fn find() -> Self {
        let brokers = std::env::var("EVENTFERRY_TEST_KAFKA_BROKERS").unwrap_or_else(|_| {
            panic!(
                "EVENTFERRY_TEST_KAFKA_BROKERS is not set: run `cargo xtask test`, or set what \
                 `cargo xtask services env` prints"
            )
        });
        Self::at(brokers)
    }

    /// The one at this address.
    pub(crate) fn at(brokers: String) -> Self {
        let admin = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
        Self { brokers, admin }
    }

    pub(crate) fn config(&self) -> KafkaConfig {
        KafkaConfig::new(&self.brokers)
    }

    pub(crate) fn publisher(&self) -> KafkaPublisher {
        KafkaPublisher::new(self.config()).unwrap()
    }

    /// A topic of the test's own.
    pub(crate) async fn topic(&self, partitions: i32, settings: &[(&str, &str)]) -> String {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let last = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{}-{}-{last}", now().0, std::process::id());
        self.create(&name, partitions, settings).await;
        name
    }

    /// Makes a topic of this name, and waits until the broker knows it.
    pub(crate) async fn create(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (setting, value) in settings {
            topic = topic.set(setting, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        self.admin.create_topics([&topic], &options).await.unwrap().remove(0).unwrap();
        // The broker hears of it from the controller a little later.
        let known = async || {
            self.admin.inner().fetch_metadata(Some(name), PATIENCE).unwrap().topics()[0].error().is_none()
        };
        within_patience("the topic", known).await;
    }

    pub(crate) async fn add_partitions(&self, topic: &str, partitions: usize) {
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let wanted = NewPartitions::new(topic, partitions);
        self.admin.create_partitions([&wanted], &options).await.unwrap().remove(0).unwrap();
        let count = || {
            self.admin.inner().fetch_metadata(Some(topic), PATIENCE).unwrap().topics()[0].partitions().len()
        };
        within_patience("the partitions", async || count() == partitions).await;
    }

    /// Changes the `max.message.bytes` of a topic with one partition, and waits until the broker holds to it, by
    /// sending records that are over it; readers leave out those that got through.
    pub(crate) async fn limit(&self, topic: &str, bytes: usize) {
        let limit = bytes.to_string();
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", &limit);
        self.admin.alter_configs([&change], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
        let probe: FutureProducer =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap();
        let too_large = vec![0; bytes];
        let held = async || {
            let record = FutureRecord::to(topic).key(PROBE).payload(&too_large);
            let sent = probe.send(record, PATIENCE).await.map_err(|(error, _)| error.rdkafka_error_code());
            sent.err() == Some(Some(RDKafkaErrorCode::MessageSizeTooLarge))
        };
        within_patience("the limit", held).await;
    }

    /// Removes what a partition has before an offset, as retention does.
    pub(crate) async fn remove_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut positions = TopicPartitionList::new();
        positions.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let removed = self.admin.delete_records(&positions, &options).await.unwrap();
        removed.elements().iter().for_each(|element| element.error().unwrap());
    }

    /// Everything in a topic, partition by partition, as an ordinary consumer reads it: of transactions what is
    /// committed, up to the first that is open.
    pub(crate) async fn read(&self, topic: &str) -> Vec<OwnedMessage> {
        let (brokers, topic) = (self.brokers.clone(), topic.to_owned());
        tokio::task::spawn_blocking(move || read(&brokers, &topic)).await.unwrap()
    }

    /// The numbers of the events in a topic.
    pub(crate) async fn numbers(&self, topic: &str) -> Vec<u64> {
        self.read(topic).await.iter().map(number_of).collect()
    }
}

/// Asks until the answer is yes.
async fn within_patience(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !ask().await {
        assert!(started.elapsed() < PATIENCE, "{what} did not come about");
        tokio::task::yield_now().await;
    }
}

fn read(brokers: &str, topic: &str) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "reader")
        .set("isolation.level", "read_committed")
        // The end for such a reader: the watermark counts what is open, and what only marks the end of a transaction.
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let started = Instant::now();
    let mut read = Vec::new();
    for partition in 0..metadata.topics()[0].partitions().len() as i32 {
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        consumer.assign(&assignment).unwrap();
        loop {
            // Now and then it wakes for an event that is no message.
            assert!(started.elapsed() < PATIENCE, "the reader waits for {topic} [{partition}]");
            match consumer.poll(PATIENCE) {
                None => {}
                Some(Err(KafkaError::PartitionEOF(ended))) if ended == partition => break,
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(message) => {
                    let message = message.unwrap();
                    if message.key() != Some(PROBE.as_bytes()) {
                        read.push(BorrowedMessage::detach(&message));
                    }
                }
            }
        }
    }
    read
}
