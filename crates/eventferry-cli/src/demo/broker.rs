//! The broker: a cluster in this process that speaks Kafka's protocol, or a real one, with a topic of our own.

use std::collections::BTreeMap;
use std::time::Duration;

use eventferry::kafka::{KafkaConfig, KafkaPublisher};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::ending::Trouble;

/// How many partitions the topic has.
pub(crate) const PARTITIONS: i32 = 6;

/// How long an answer is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A broker with a topic of the demonstration's own.
pub(crate) struct Broker {
    config: KafkaConfig,
    pub(crate) topic: String,
    /// The cluster, where it is ours.
    embedded: Option<MockCluster<'static, DefaultProducerContext>>,
}

impl Broker {
    /// A cluster in this process. It keeps 5 MB of each partition: a reader must read along.
    pub(crate) fn embedded() -> Result<Self, Trouble> {
        const BROKERS: i32 = 3;
        let topic = "orders".to_owned();
        let failed = |error: KafkaError| Trouble::bug(format!("the embedded broker does not start: {error}"));
        let cluster = MockCluster::new(BROKERS).map_err(failed)?;
        cluster.create_topic(&topic, PARTITIONS, BROKERS).map_err(failed)?;
        let config = KafkaConfig::new(cluster.bootstrap_servers());
        Ok(Self { config, topic, embedded: Some(cluster) })
    }

    /// A topic of a random name in a real cluster.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses the topic.
    pub(crate) async fn real(config: KafkaConfig, random: &str) -> Result<Self, Trouble> {
        let broker = Self { config, topic: format!("eventferry-demo-{random}"), embedded: None };
        // -1: as many replicas as the cluster gives by default.
        let topic = NewTopic::new(&broker.topic, PARTITIONS, TopicReplication::Fixed(-1));
        let options =
            AdminOptions::new().operation_timeout(Some(ANSWER_MAX)).request_timeout(Some(ANSWER_MAX));
        let created = broker.admin()?.create_topics([&topic], &options).await;
        broker.accepted(created, "create")?;
        Ok(broker)
    }

    pub(crate) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// What it is, for people.
    pub(crate) fn description(&self) -> String {
        let Self { config, topic, embedded } = self;
        match embedded {
            Some(_) => {
                format!("in this process, speaking Kafka's protocol; topic {topic}, {PARTITIONS} partitions")
            }
            None => format!("Kafka, {}; topic {topic}, removed in the end", config.brokers),
        }
    }

    /// A publisher to it.
    pub(crate) fn publisher(&self) -> Result<KafkaPublisher, Trouble> {
        Ok(KafkaPublisher::new(self.config.clone())?)
    }

    /// The settings of another client of it.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        let properties: &BTreeMap<String, String> = &self.config.properties;
        for (property, value) in properties {
            client.set(property, value);
        }
        client.set("bootstrap.servers", &self.config.brokers).set("client.id", "eventferry-demo");
        client
    }

    /// Removes the topic, and the cluster if it is ours.
    ///
    /// # Errors
    /// The cluster refuses; the message names the topic.
    pub(crate) async fn close(self) -> Result<(), Trouble> {
        if self.is_embedded() {
            return Ok(());
        }
        let options =
            AdminOptions::new().operation_timeout(Some(ANSWER_MAX)).request_timeout(Some(ANSWER_MAX));
        let deleted = self.admin()?.delete_topics(&[&self.topic], &options).await;
        self.accepted(deleted, "delete")
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, Trouble> {
        self.client().create().map_err(|error| Trouble::publisher(format!("make a Kafka client: {error}")))
    }

    fn accepted(
        &self,
        answer: Result<Vec<rdkafka::admin::TopicResult>, KafkaError>,
        what: &str,
    ) -> Result<(), Trouble> {
        let Self { topic, config, .. } = self;
        let trouble = |said: String| {
            Trouble::publisher(format!(
                "{what} topic {topic} at {}: {said}; check the publisher's URL, the brokers and the permission",
                config.brokers
            ))
        };
        let results = answer.map_err(|error| trouble(error.to_string()))?;
        results.into_iter().try_for_each(|result| match result {
            Ok(_) => Ok(()),
            Err((_, code)) => Err(trouble(code.to_string())),
        })
    }
}
