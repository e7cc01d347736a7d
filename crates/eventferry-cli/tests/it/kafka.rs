//! Topics for each test, on the cluster of the tests.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::postgres::random;
use crate::program::PATIENCE;

fn brokers() -> String {
    let variable = "EVENTFERRY_TEST_KAFKA_BROKERS";
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set; start the servers and set it as `cargo xtask services env` prints it")
    })
}

/// The cluster as `--publisher` names it.
pub(crate) fn url() -> String {
    format!("kafka://{}", brokers())
}

/// A broker's host and port.
pub(crate) fn address() -> String {
    brokers().split(',').next().unwrap().to_owned()
}

/// A topic with one partition, deleted with this.
pub(crate) struct Topic {
    pub(crate) name: String,
}

impl Topic {
    pub(crate) fn new() -> Self {
        let topic = Self::to_be();
        topic.create();
        topic
    }

    /// The name of a topic that does not exist yet.
    pub(crate) fn to_be() -> Self {
        Self { name: format!("eventferry-cli-{}", random()) }
    }

    /// A topic of this name.
    pub(crate) fn named(name: &str) -> Self {
        let topic = Self { name: name.to_owned() };
        topic.create();
        topic
    }

    /// A topic with settings.
    pub(crate) fn with(settings: &[(&str, &str)]) -> Self {
        let topic = Self::to_be();
        topic.create_with(settings);
        topic
    }

    pub(crate) fn create(&self) {
        self.create_with(&[]);
    }

    fn create_with(&self, settings: &[(&str, &str)]) {
        let mut topic = NewTopic::new(&self.name, 1, TopicReplication::Fixed(1));
        for (setting, value) in settings {
            topic = topic.set(setting, value);
        }
        let created = block_on(admin().create_topics([&topic], &options())).unwrap();
        created.into_iter().for_each(|result| drop(result.unwrap()));
    }

    /// Changes a setting.
    pub(crate) fn set(&self, setting: &str, value: &str) {
        let change = AlterConfig::new(ResourceSpecifier::Topic(&self.name)).set(setting, value);
        let changed = block_on(admin().alter_configs([&change], &options())).unwrap();
        changed.into_iter().for_each(|result| drop(result.unwrap()));
    }

    /// Sends a message, as another program would.
    pub(crate) fn send(&self, key: &str, payload: Option<&str>, headers: &[(&str, &str)]) {
        let mut all = OwnedHeaders::new();
        for (key, value) in headers {
            all = all.insert(Header { key, value: Some(*value) });
        }
        let mut record = FutureRecord::to(&self.name).key(key).headers(all);
        record.payload = payload;
        PRODUCER.with(|producer| block_on(producer.send(record, PATIENCE)).unwrap());
    }

    /// How many messages it has.
    pub(crate) fn count(&self) -> usize {
        let (low, high) = admin().inner().fetch_watermarks(&self.name, 0, PATIENCE).unwrap();
        usize::try_from(high - low).unwrap()
    }

    /// Its first messages.
    pub(crate) fn messages(&self, count: usize) -> Vec<OwnedMessage> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers())
            .set("group.id", "eventferry-cli-tests")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(&self.name, 0, Offset::Beginning).unwrap();
        consumer.assign(&partitions).unwrap();
        let until = Instant::now() + PATIENCE;
        let mut messages = Vec::new();
        while messages.len() < count {
            assert!(Instant::now() < until, "{} of {count} messages came", messages.len());
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                messages.push(message.detach());
            }
        }
        messages
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // It may never have been made.
        drop(block_on(admin().delete_topics(&[&self.name], &options())));
    }
}

/// The topics there are.
pub(crate) fn topics() -> Vec<String> {
    let metadata = admin().inner().fetch_metadata(None, PATIENCE).unwrap();
    metadata.topics().iter().map(|topic| topic.name().to_owned()).collect()
}

/// The consumer groups there are.
pub(crate) fn groups() -> Vec<String> {
    let groups = admin().inner().fetch_group_list(None, PATIENCE).unwrap();
    groups.groups().iter().map(|group| group.name().to_owned()).collect()
}

/// A transaction with one message in it.
pub(crate) struct Transaction(BaseProducer);

impl Transaction {
    pub(crate) fn begin(topic: &Topic, payload: &str) -> Self {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers())
            .set("transactional.id", format!("{}-{payload}", topic.name))
            .create()
            .unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::<str, str>::to(&topic.name).payload(payload)).unwrap();
        producer.flush(PATIENCE).unwrap();
        Self(producer)
    }

    pub(crate) fn commit(self) {
        self.0.commit_transaction(PATIENCE).unwrap();
    }

    pub(crate) fn abort(self) {
        self.0.abort_transaction(PATIENCE).unwrap();
    }
}

/// A header's value as text.
pub(crate) fn header(message: &OwnedMessage, name: &str) -> Option<String> {
    let headers = message.headers()?;
    let header = headers.iter().find(|header| header.key == name)?;
    Some(String::from_utf8(header.value?.to_vec()).unwrap())
}

/// All headers of a message.
pub(crate) fn headers(message: &OwnedMessage) -> Vec<(String, Vec<u8>)> {
    let headers = message.headers();
    let headers = headers.iter().flat_map(|headers| headers.iter());
    headers.map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect()
}

/// A consumer that is a member of a group, until it is dropped.
pub(crate) struct Member {
    _consumer: BaseConsumer,
}

impl Member {
    /// The only member of this group, which shares this topic.
    pub(crate) fn of(group: &str, topic: &str) -> Self {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", brokers()).set("group.id", group).create().unwrap();
        consumer.subscribe(&[topic]).unwrap();
        let until = Instant::now() + PATIENCE;
        while consumer.assignment().unwrap().count() == 0 {
            assert!(Instant::now() < until, "no member of {group}");
            drop(consumer.poll(Duration::from_millis(50)));
        }
        Self { _consumer: consumer }
    }
}

thread_local! {
    static PRODUCER: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", brokers()).set("linger.ms", "0").create().unwrap();
}

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap()
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
