//! What a user may choose, and what the publisher keeps for itself.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use eventferry_core::publisher::Role;
use eventferry_core::{PublishFault, PublishFaultKind};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use crate::credentials::{self, OauthToken, TokenSource};
use crate::mapping::{self, Mapping};
use crate::partitioner::Partitioner;
use crate::statistics;
use crate::url::{brokers_of, percent_decoded};

/// The largest record that is ever handed to librdkafka, in bytes, framing included. A broker closes the connection
/// on a request over its `socket.request.max.bytes` (104,857,600 by default), and such a record would be sent for
/// ever: it is refused before.
pub(crate) const RECORD_BYTES_MAX: usize = 104_857_600 - 4096;

/// A transaction that is open for longer is aborted by the broker: whoever reads what is committed waits no longer than
/// this for one whose relay is gone and that nobody takes over. Above every pause of a relay that still has its lease.
pub(crate) const TRANSACTION_MAX: Duration = Duration::from_secs(15);

/// The bound of `linger`: beyond it nobody waits for throughput.
const LINGER_MAX: Duration = Duration::from_secs(60);

/// How long, in milliseconds, a broker may be silent until the connection is given up: a network may have forgotten it,
/// and librdkafka's own minute is long for those whose events wait. As Java's client has it. A frozen broker that comes
/// back later has written nothing twice, for what goes again goes with the same sequence numbers.
const SILENCE_MAX_MS: &str = "30000";

/// How long, in milliseconds, a broker waits for its replicas: it must say so before it counts as silent.
const REPLICAS_MAX_MS: &str = "20000";

/// How to reach a Kafka cluster, and how to send to it.
///
/// The guarantees (acknowledgement by all replicas, idempotence, requests in flight, timeouts) are not settings.
#[derive(Clone)]
#[non_exhaustive]
pub struct KafkaConfig {
    /// Some of the cluster's brokers, as `host:port[,host:port]`; the others are found through them.
    pub brokers: String,
    /// The name under which the brokers' logs and quotas know this client. Default: `eventferry`.
    pub client_id: String,
    /// How long a record waits for company before it is sent. Default: not at all; at most 60 s. A busy partition fills
    /// its batches while earlier requests are in flight, so that waiting gains little, and librdkafka counts in whole
    /// milliseconds: the shortest wait costs each event 1 to 2 ms.
    pub linger: Duration,
    /// The largest batch of records for one partition, in bytes before compression. Default: 1,000,000; at least
    /// 1,024, at most 100,000,000. Batches are made smaller by themselves for topics whose `max.message.bytes` is
    /// lower, since a batch over the limit is refused with everything in it.
    pub batch_bytes: usize,
    /// How batches are compressed. Default: not at all.
    pub compression: Compression,
    /// How hard batches are compressed: 0 to 9 for gzip, 0 to 12 for LZ4 and Zstandard, by librdkafka's scale. Default:
    /// as the codec sees fit.
    pub compression_level: Option<i32>,
    /// How the partition of an event is chosen that asks for none. Default: by its key, as Java's client does. All
    /// relays of an outbox, and all other programs that write the topics, should choose alike.
    pub partitioner: Partitioner,
    /// What goes before the name of every topic at the broker, dead-letter topics included, such as `prod.`. Default:
    /// nothing.
    pub topic_prefix: String,
    /// Topics of events that have another name at the broker, without the prefix. Default: none.
    pub topic_map: BTreeMap<String, String>,
    /// Exactly-once delivery keeps the name of each transaction in a topic of the outbox's own, which is made if it is
    /// not there, compacted and with one partition. It is called this and what the outbox is called at the broker.
    /// Default: `eventferry.stamps.`.
    pub stamps_prefix: String,
    /// How many records a session takes before it is full. Default: 20,000; at least 1. That is enough for 400,000
    /// records a second at 50 ms from the broker. More costs CPU, since what is in flight no longer fits the caches;
    /// less makes small batches where there are hundreds of partitions.
    pub in_flight_records_max: usize,
    /// How many bytes of records (keys, payloads and headers) a session takes before it is full; one record is
    /// always taken, whatever its size. Default: 32 MiB; at least 1.
    pub in_flight_bytes_max: usize,
    /// Any other property of librdkafka, such as `security.protocol` or `sasl.username`, as its CONFIGURATION.md
    /// lists them. Those the publisher owns are refused by [`KafkaPublisher::new`](crate::KafkaPublisher::new).
    pub properties: BTreeMap<String, String>,
    /// See [`KafkaConfig::oauth_token`].
    pub(crate) token_source: Option<Arc<dyn TokenSource>>,
    /// See [`KafkaConfig::undone`].
    undone: Vec<(&'static str, &'static str)>,
}

/// How batches are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip: small and slow.
    Gzip,
    /// Snappy: fast.
    Snappy,
    /// LZ4: fast.
    Lz4,
    /// Zstandard: small and fast; needs the feature `zstd`.
    Zstd,
}

impl Compression {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl FromStr for Compression {
    type Err = PublishFault;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd]
            .into_iter()
            .find(|compression| compression.name() == name)
            .ok_or_else(|| wrong("that compression is not known: give none, gzip, snappy, lz4 or zstd"))
    }
}

impl fmt::Debug for KafkaConfig {
    /// Shows the names of the properties, not their values: some are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("client_id", &self.client_id)
            .field("linger", &self.linger)
            .field("batch_bytes", &self.batch_bytes)
            .field("compression", &self.compression)
            .field("compression_level", &self.compression_level)
            .field("partitioner", &self.partitioner)
            .field("topic_prefix", &self.topic_prefix)
            .field("topic_map", &self.topic_map)
            .field("stamps_prefix", &self.stamps_prefix)
            .field("in_flight_records_max", &self.in_flight_records_max)
            .field("in_flight_bytes_max", &self.in_flight_bytes_max)
            .field("properties", &self.properties.keys())
            .finish()
    }
}

impl KafkaConfig {
    /// The defaults, for the cluster behind these brokers: `host:port[,host:port]`.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            client_id: "eventferry".into(),
            linger: Duration::ZERO,
            batch_bytes: 1_000_000,
            compression: Compression::None,
            compression_level: None,
            partitioner: Partitioner::default(),
            topic_prefix: String::new(),
            topic_map: BTreeMap::new(),
            stamps_prefix: "eventferry.stamps.".into(),
            in_flight_records_max: 20_000,
            in_flight_bytes_max: 32 << 20,
            properties: BTreeMap::new(),
            token_source: None,
            undone: Vec::new(),
        }
    }

    /// With the program's own source of tokens, for `sasl.mechanisms=OAUTHBEARER`: asked on the runtime when a client
    /// is made, and after 70 % of a token's life. What it fails with is said in messages, so it must hold no secret.
    #[must_use]
    pub fn oauth_token<F, T>(mut self, source: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<OauthToken, Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        self.token_source = Some(Arc::new(source));
        self
    }

    /// Sets, for the stream of events, a property that the publisher owns. For this crate's tests, which show what each
    /// is for: order and safety of events rest on them.
    #[doc(hidden)]
    #[must_use]
    pub fn undone(mut self, property: &'static str, value: &'static str) -> Self {
        self.undone.push((property, value));
        self
    }

    /// Reads `kafka://host[:port][,host[:port]]?option=value&...`; the port is 9092 unless given.
    ///
    /// Options: `client_id`, `linger_ms`, `batch_bytes`, `compression`, `compression_level`, `partitioner` (`murmur2`,
    /// `consistent` or `fnv1a`), `topic_prefix`, `topic_map` (`event-topic:broker-topic,…`), `in_flight_records_max`,
    /// `in_flight_bytes_max`, `stamps_prefix`; a name with a dot (`security.protocol`) is a property of librdkafka.
    /// Values are percent-encoded. Secrets are better set as [`KafkaConfig::properties`], since URLs end up in logs.
    ///
    /// # Errors
    /// `Misconfigured`: the message says what is wrong. It names options that are known and repeats nothing else of the
    /// URL: what looks like a host, a port or an option may be the rest of a password that is not percent-encoded.
    pub fn from_url(url: &str) -> Result<Self, PublishFault> {
        let rest = url
            .strip_prefix("kafka://")
            .ok_or_else(|| wrong("a Kafka URL starts with `kafka://`: give kafka://host:port"))?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (brokers, path) = place.split_once('/').unwrap_or((place, ""));
        if place.contains('@') {
            return Err(wrong(
                "the Kafka URL holds credentials before its host: give them as options, \
                 as in kafka://host:9092?security.protocol=sasl_plaintext&sasl.username=...",
            ));
        }
        if !path.is_empty() {
            return Err(wrong(
                "the Kafka URL has a path: leave it out, topics come from the events, and credentials are options",
            ));
        }
        let mut config = Self::new(brokers_of(brokers)?);
        for (pair, place) in query.split('&').filter(|pair| !pair.is_empty()).zip(1..) {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                wrong(format!(
                    "option {place} of the Kafka URL has no value: give name=value, with %26 for a `&` in it"
                ))
            })?;
            config.set_option(&percent_decoded(name)?, percent_decoded(value)?, place)?;
        }
        Ok(config)
    }

    /// Sets the option at this place, counted from 1: unless it is known, only its place may be told.
    fn set_option(&mut self, name: &str, value: String, place: usize) -> Result<(), PublishFault> {
        match name {
            "client_id" => self.client_id = value,
            "stamps_prefix" => self.stamps_prefix = value,
            "linger_ms" => self.linger = Duration::from_millis(number(name, &value)?),
            "batch_bytes" => self.batch_bytes = number(name, &value)?,
            "compression" => self.compression = value.parse()?,
            "compression_level" => self.compression_level = Some(number(name, &value)?),
            "partitioner" => self.partitioner = value.parse()?,
            "topic_prefix" => self.topic_prefix = value,
            "topic_map" => self.topic_map = mapping::names(&value)?,
            "in_flight_records_max" => self.in_flight_records_max = number(name, &value)?,
            "in_flight_bytes_max" => self.in_flight_bytes_max = number(name, &value)?,
            property
                if credentials::is_ours(property) || (property.contains('.') && is_property(property)) =>
            {
                self.properties.insert(property.into(), value);
            }
            _ => {
                return Err(wrong(format!(
                    "option {place} of the Kafka URL is not known: give client_id, linger_ms, batch_bytes, \
                     compression, compression_level, partitioner, topic_prefix, topic_map, in_flight_records_max, \
                     in_flight_bytes_max or a property of librdkafka that has a \
                     dot in its name, and write %26 for a `&` in a value"
                )));
            }
        }
        Ok(())
    }

    /// Checks bounds, and that librdkafka knows every property and takes its value.
    pub(crate) fn check(&self) -> Result<(), PublishFault> {
        if self.brokers.is_empty() {
            return Err(wrong("no brokers: give host:port[,host:port]"));
        }
        if self.linger > LINGER_MAX {
            return Err(wrong(format!("linger is out of bounds: give at most {LINGER_MAX:?}")));
        }
        if !(1024..=100_000_000).contains(&self.batch_bytes) {
            return Err(wrong("batch_bytes is out of bounds: give 1,024 to 100,000,000"));
        }
        if !(1..=u32::MAX as usize).contains(&self.in_flight_records_max) || self.in_flight_bytes_max == 0 {
            return Err(wrong("in_flight_records_max and in_flight_bytes_max: give 1 or more"));
        }
        for property in self.properties.keys() {
            if let Some((_, why)) = OWNED.iter().find(|(owned, _)| owned == property) {
                return Err(wrong(format!("property `{property}` cannot be set: {why}")));
            }
        }
        credentials::Source::of(self)?;
        credentials::Certificates::of(self)?;
        self.mapping()?;
        for client in [self.admin(), self.producer(Role::Main, self.batch_bytes)] {
            client.create_native_config().map_err(|error| refused_property(&error))?;
        }
        Ok(())
    }

    /// What the names of topics become at the broker.
    pub(crate) fn mapping(&self) -> Result<Mapping, PublishFault> {
        Mapping::of(&self.topic_prefix, &self.topic_map)
    }

    /// The configuration of a producer with this transactional id.
    pub(crate) fn transactional(&self, id: &str, batch_bytes: usize) -> ClientConfig {
        let mut client = self.producer(Role::Main, batch_bytes);
        let open_max = TRANSACTION_MAX.as_millis().to_string();
        client
            .set("transactional.id", id)
            .set("transaction.timeout.ms", &open_max)
            // What is given up here is given up with its whole transaction; and a gap is never committed.
            .set("message.timeout.ms", &open_max)
            // An answer that comes later finds the transaction aborted; librdkafka insists.
            .set("socket.timeout.ms", &open_max)
            .set("enable.gapless.guarantee", "false");
        client
    }

    /// The configuration of a session's producer.
    pub(crate) fn producer(&self, role: Role, batch_bytes: usize) -> ClientConfig {
        let mut client = self.client();
        client
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("max.in.flight.requests.per.connection", "5")
            .set("socket.nagle.disable", "true")
            // Gapless does not cover messages that time out locally, and a message given up here may have been
            // written: the relay decides when to give up, and then gives up everything at once.
            .set("message.timeout.ms", "0")
            // What is in flight is bounded by the session, which counts keys and headers too; librdkafka counts
            // payloads only.
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", i32::MAX.to_string())
            // The topic's limit decides; this one is only the largest request a broker reads.
            .set("message.max.bytes", RECORD_BYTES_MAX.to_string())
            .set("compression.type", self.compression.name())
            .set("delivery.report.only.error", "false");
        if let Some(level) = self.compression_level {
            client.set("compression.level", level.to_string());
        }
        match role {
            Role::Main => client
                .set("statistics.interval.ms", statistics::EVERY_MS)
                .set("enable.gapless.guarantee", "true")
                .set("linger.ms", format!("{}", self.linger.as_secs_f64() * 1000.0))
                .set("batch.num.messages", "100000")
                .set("batch.size", batch_bytes.to_string()),
            // A refusal then speaks of the one record in the batch, and refuses no other.
            Role::Alone => client
                .set("enable.gapless.guarantee", "false")
                .set("linger.ms", "0")
                .set("batch.num.messages", "1"),
        };
        if role == Role::Main {
            for (property, value) in &self.undone {
                client.set(*property, *value);
            }
        }
        client
    }

    /// The configuration of a consumer that reads what is there once.
    pub(crate) fn consumer(&self, group: &str) -> ClientConfig {
        let mut client = self.client();
        client
            .set("group.id", group)
            // How far it came is told once that is true.
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // What was removed before it was read is said, not skipped.
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("check.crcs", "true")
            .set("queued.min.messages", "1000")
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.max.bytes", (16 << 20).to_string());
        client
    }

    /// The configuration of the client that asks about topics.
    pub(crate) fn admin(&self) -> ClientConfig {
        let mut client = self.client();
        // Nobody reads this client's log queue, and what is not logged does not pile up there.
        client.set_log_level(RDKafkaLogLevel::Emerg);
        client
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("request.timeout.ms", REPLICAS_MAX_MS).set("socket.timeout.ms", SILENCE_MAX_MS);
        for (property, value) in self.properties.iter().filter(|(name, _)| !credentials::is_ours(name)) {
            client.set(property, value);
        }
        client
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            // A topic that does not exist is refused by `learn`; asking for it must not bring it about.
            .set("allow.auto.create.topics", "false")
            // Its last push is waited for when a client is destroyed, frozen broker or not.
            .set("enable.metrics.push", "false");
        client.set_log_level(if tracing::enabled!(target: "librdkafka", tracing::Level::DEBUG) {
            RDKafkaLogLevel::Debug
        } else {
            RDKafkaLogLevel::Warning
        });
        client
    }
}

const GUARANTEE: &str = "the order and safety of events rest on it";
const MEMORY: &str = "set in_flight_records_max and in_flight_bytes_max, which bound the session's memory";
const GIVING_UP: &str = "a record is never given up by itself; the relay decides when to stop trying";
const A_FIELD: &str = "it has a setting of its own";
const TOPICS: &str = "events go only to topics that exist: create them";

/// The properties that are not the user's, and why.
const OWNED: &[(&str, &str)] = &[
    ("acks", GUARANTEE),
    ("request.required.acks", GUARANTEE),
    ("enable.idempotence", GUARANTEE),
    ("enable.gapless.guarantee", GUARANTEE),
    ("max.in.flight", GUARANTEE),
    ("max.in.flight.requests.per.connection", GUARANTEE),
    ("queuing.strategy", GUARANTEE),
    ("msg_order_cmp", GUARANTEE),
    ("partitioner", "it has a setting of its own: the partition is chosen before a record is sent"),
    ("partitioner_cb", "give Partitioner::custom: the partition is chosen before a record is sent"),
    ("transactional.id", "exactly-once delivery chooses it, for each outbox"),
    ("transaction.timeout.ms", "exactly-once delivery is proven with the one it sets"),
    ("message.timeout.ms", GIVING_UP),
    ("delivery.timeout.ms", GIVING_UP),
    ("retries", GIVING_UP),
    ("message.send.max.retries", GIVING_UP),
    ("delivery.report.only.error", "every record's report is needed"),
    ("message.max.bytes", "the topic's max.message.bytes decides what is too large"),
    ("queue.buffering.max.messages", MEMORY),
    ("queue.buffering.max.kbytes", MEMORY),
    ("batch.num.messages", "set batch_bytes, which bounds a batch"),
    ("bootstrap.servers", A_FIELD),
    ("metadata.broker.list", A_FIELD),
    ("client.id", A_FIELD),
    ("linger.ms", A_FIELD),
    ("queue.buffering.max.ms", A_FIELD),
    ("batch.size", A_FIELD),
    ("compression.type", A_FIELD),
    ("compression.codec", A_FIELD),
    ("compression.level", A_FIELD),
    ("allow.auto.create.topics", TOPICS),
    ("enable.metrics.push", "its last push would hold up the end of a session"),
    ("statistics.interval.ms", "figures and the health of brokers rest on it, every 5 s"),
    ("log.queue", "logs go to tracing, under the target `librdkafka`"),
];

pub(crate) fn wrong(message: impl Into<String>) -> PublishFault {
    PublishFault::new(PublishFaultKind::Misconfigured, message)
}

/// Whether librdkafka knows a property of this name, in any build.
fn is_property(name: &str) -> bool {
    let asked = ClientConfig::new().set(name, "").create_native_config();
    !matches!(asked, Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)))
}

/// librdkafka's word on a property it does not take, without the value, which may be a secret, in whatever form
/// librdkafka repeats it.
pub(crate) fn refused_property(error: &KafkaError) -> PublishFault {
    match error {
        KafkaError::ClientConfig(result, why, property, _) => {
            let why = match result {
                RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN => "it knows none of that name",
                _ if why.contains("not available at build time") => {
                    "it needs a build with the feature `ssl` (TLS, SCRAM) or `zstd`"
                }
                _ => "give a value that its CONFIGURATION.md lists",
            };
            wrong(format!("librdkafka does not take property `{property}`: {why}"))
        }
        // It repeats the value.
        KafkaError::ClientCreation(why) if why.contains("SASL mechanism") => wrong(
            "sasl.mechanisms: there is none of that name: give PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
        ),
        KafkaError::ClientCreation(why) => wrong(format!("librdkafka does not take the settings: {why}")),
        other => wrong(format!("librdkafka does not take the settings: {other}")),
    }
}

fn number<N: FromStr>(name: &str, value: &str) -> Result<N, PublishFault> {
    value.parse().map_err(|_| wrong(format!("option `{name}` of the Kafka URL is no whole number: give one")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        KafkaConfig::from_url(url).and_then(|config| config.check()).unwrap_err().to_string()
    }

    #[test]
    fn a_url_gives_brokers_and_options() {
        let config = KafkaConfig::from_url(
            "kafka://one:9093,two,[::1]:9094/?client_id=ferry%201&linger_ms=5&batch_bytes=65536&compression=lz4\
             &in_flight_records_max=10&in_flight_bytes_max=1000&security.protocol=plaintext",
        )
        .unwrap();
        config.check().unwrap();
        assert_eq!(config.brokers, "one:9093,two:9092,[::1]:9094");
        assert_eq!(config.client_id, "ferry 1");
        assert_eq!(config.linger, Duration::from_millis(5));
        assert_eq!((config.batch_bytes, config.compression), (65_536, Compression::Lz4));
        assert_eq!((config.in_flight_records_max, config.in_flight_bytes_max), (10, 1000));
        assert_eq!(config.properties["security.protocol"], "plaintext");
    }

    #[test]
    fn a_wrong_url_is_refused_by_name() {
        for (url, named) in [
            ("http://one", "kafka://"),
            ("kafka://", "no host"),
            ("kafka://one,:9092", "no host"),
            ("kafka://one,two:x", "`:` in broker 2 of the Kafka URL is no port"),
            ("kafka://one:0", "no port: give 1 to 65535"),
            ("kafka://one/orders", "has a path"),
            ("kafka://user:secret@one", "sasl.username"),
            ("kafka://one?linger_ms", "option 1 of the Kafka URL has no value"),
            ("kafka://one?linger_ms=soon", "`linger_ms` of the Kafka URL is no whole number"),
            ("kafka://one?linger_ms=60001", "linger is out of bounds: give at most 60s"),
            ("kafka://one?batch_bytes=1", "batch_bytes is out of bounds: give 1,024"),
            ("kafka://one?in_flight_records_max=0", "in_flight_records_max"),
            ("kafka://one?compression=rar", "give none, gzip"),
            ("kafka://one?batch_bytes=2000&lingerms=1", "option 2 of the Kafka URL is not known"),
            ("kafka://one?client_id=%zz", "percent-encoded"),
            ("kafka://one?no.such.property=1", "option 1 of the Kafka URL is not known"),
            ("kafka://one?security.protocol=carrier-pigeon", "security.protocol"),
            #[cfg(not(feature = "zstd"))]
            ("kafka://one?compression=zstd", "feature `ssl` (TLS, SCRAM) or `zstd`"),
        ] {
            let message = refusal(url);
            assert!(message.contains(named), "{url}: {message}");
        }
    }

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        for url in [
            "secret",
            "kafka://user:secret@one",
            "kafka://user:a/secret@one",
            "kafka://user:secret",
            "kafka://secret:secret",
            "kafka://one,user:a,secret:secret",
            "kafka://one/secret",
            "kafka://user:a,:secret",
            "kafka://one?sasl.password=a&secret",
            "kafka://one?sasl.password=a&secret=1",
            "kafka://one?sasl.password=a&se.secret=1",
            "kafka://one?sasl.password=a&%73ecret.b=1",
            "kafka://one?sasl.password=a&linger_ms=secret",
            "kafka://one?sasl.password=a&compression=secret",
            "kafka://one?sasl.password=a&security.protocol=secret",
            "kafka://one?sasl.password=a&socket.timeout.ms=secret",
            "kafka://one?sasl.password=a&acks=secret",
            "kafka://one?secret=%zz",
        ] {
            assert!(!refusal(url).contains("secret"), "{url}: {}", refusal(url));
        }
        for (option, bounds) in [("batch_bytes", "60001"), ("linger_ms", "600010")] {
            let message = refusal(&format!("kafka://one?sasl.password=a&{option}={bounds}0000"));
            assert!(!message.contains(bounds), "{message}");
        }
    }

    #[test]
    fn what_the_publisher_owns_cannot_be_set() {
        for (property, why) in OWNED {
            let mut config = KafkaConfig::new("one:9092");
            config.properties.insert((*property).into(), "1".into());
            let message = config.check().unwrap_err().to_string();
            assert!(message.contains(property) && message.contains(why), "{message}");
        }
    }

    #[test]
    fn no_value_of_a_property_is_shown() {
        let mut config = KafkaConfig::new("one:9092");
        config.properties.insert("sasl.password".into(), "hunter2".into());
        assert!(!format!("{config:?}").contains("hunter2"));
        config.properties.insert("socket.timeout.ms".into(), "hunter2".into());
        assert!(!config.check().unwrap_err().to_string().contains("hunter2"));
    }
}
