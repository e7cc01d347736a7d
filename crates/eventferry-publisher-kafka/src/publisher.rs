//! The factory: learns topics, routes envelopes, opens sessions.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use eventferry_core::publisher::{Abilities, Pipeline, Publisher, Refusal, Role, Route};
use eventferry_core::{Envelope, OutboxId, PublishFault, PublishFaultKind, Stamp};
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataBroker;
use rdkafka::{ClientConfig, ClientContext};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::config::{Compression, KafkaConfig, refused_property};
use crate::credentials::{Certificates, Edition, Equipped, Keeper, Source, equip};
use crate::fault::{code_of, fault, fault_of};
use crate::login;
use crate::route::{Facts, Topics};
use crate::session::{IDS, KafkaSession, Limits, Streaming, Surroundings, drop_apart};
use crate::statistics::BrokerHealth;

/// How long `connect` and `learn` wait for a broker's answer.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How often learned topics are looked at again, for new partitions and limits: as often as Java's client does
/// (`metadata.max.age.ms`).
const REFRESH: Duration = Duration::from_secs(300);

/// After this long a silence a session's first record in a partition flies alone again. The broker forgets a producer
/// after `producer.id.expiration.ms`, a day by default, and then takes any sequence number from it; a cluster may set
/// less, and the price of asking again is one round trip.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// What a cluster can do.
pub(crate) const ABILITIES: Abilities = Abilities {
    pipeline: Pipeline::Gapless,
    first_alone: Some(SILENCE_MAX),
    refusal: Refusal::PerBatch,
    durable_ack: true,
    transactions: NonZeroU32::new(IDS as u32),
};

/// A Kafka cluster to publish to.
///
/// Topics must exist: none is created, whatever the cluster's `auto.create.topics.enable` says.
///
/// Must be used within a tokio runtime. Learned topics are looked at again every 5 minutes in the background, so that
/// new partitions and changed limits are known.
#[derive(Clone)]
pub struct KafkaPublisher {
    shared: Arc<Shared>,
}

struct Shared {
    config: KafkaConfig,
    surroundings: Surroundings,
    /// `None`: they are in the configuration, or there are none.
    certificates: Option<Arc<Certificates>>,
    admin: Mutex<Option<Arc<Admin>>>,
    is_refreshed: AtomicBool,
}

impl KafkaPublisher {
    /// A publisher with these settings; nothing is connected yet.
    ///
    /// # Errors
    /// `Misconfigured`: the message names the setting.
    pub fn new(config: KafkaConfig) -> Result<Self, PublishFault> {
        Self::of_cluster(None, config)
    }

    /// The same for one cluster of several, by its name.
    pub(crate) fn of_cluster(cluster: Option<Arc<str>>, config: KafkaConfig) -> Result<Self, PublishFault> {
        config.check()?;
        let topics = Topics::new(config.compression != Compression::None);
        let topics = Arc::new(topics.with(config.partitioner.clone(), config.mapping()?));
        let keeper = Source::of(&config)?.map(Keeper::new);
        let brokers = config.brokers.clone();
        let surroundings = Surroundings { cluster, brokers, topics, health: Arc::default(), keeper };
        let certificates = Certificates::of(&config)?.map(Arc::new);
        let (admin, is_refreshed) = (Mutex::default(), AtomicBool::default());
        Ok(Self { shared: Arc::new(Shared { config, surroundings, certificates, admin, is_refreshed }) })
    }

    /// The brokers that it was given, as `host:port[,host:port]`.
    pub fn brokers(&self) -> &str {
        &self.shared.config.brokers
    }

    /// The broker's name of a topic of events: see [`KafkaConfig::topic_prefix`] and [`KafkaConfig::topic_map`].
    pub fn topic_name(&self, topic: &str) -> String {
        self.shared.surroundings.topics.name(topic).into_owned()
    }

    /// How the cluster's brokers are, as the session that carries events was told within the last 5 s; empty before
    /// there is one.
    pub fn health(&self) -> Vec<BrokerHealth> {
        self.shared.surroundings.health.brokers()
    }

    pub(crate) fn config(&self) -> &KafkaConfig {
        &self.shared.config
    }

    pub(crate) fn surroundings(&self) -> &Surroundings {
        &self.shared.surroundings
    }

    pub(crate) async fn equip(&self, client: ClientConfig) -> Result<Equipped, PublishFault> {
        self.shared.equip(client).await
    }

    /// What a session that is opened now takes.
    pub(crate) fn limits(&self) -> Limits {
        let config = self.config();
        Limits {
            records_max: config.in_flight_records_max,
            bytes_max: config.in_flight_bytes_max,
            batch_bytes: self.surroundings().topics.batch_bytes(config.batch_bytes),
        }
    }

    /// Opens a session whose messages travel one by one.
    pub(crate) async fn stream(&self, role: Role) -> Result<Streaming, PublishFault> {
        let limits = self.limits();
        if role == Role::Main {
            // The first topic is asked about in a moment, and a first connection takes longer than the answer.
            tokio::spawn(warm_up(Arc::clone(&self.shared)));
        }
        let client = self.equip(self.config().producer(role, limits.batch_bytes)).await?;
        let surroundings = self.surroundings().clone();
        let opened = spawn_blocking(move || open(role, &client, &surroundings, limits));
        opened.await.unwrap_or_else(|_| Err(shutting_down()))
    }

    /// The client that asks about topics.
    pub(crate) async fn admin_client(&self) -> Result<Arc<AdminClient<Quiet>>, PublishFault> {
        self.shared.admin().await?.client().map(Arc::clone)
    }
}

impl fmt::Debug for KafkaPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaPublisher").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl Publisher for KafkaPublisher {
    type Session = KafkaSession;

    fn abilities(&self) -> Abilities {
        ABILITIES
    }

    async fn connect(&self, role: Role) -> Result<KafkaSession, PublishFault> {
        self.stream(role).await.map(KafkaSession::streaming)
    }

    async fn take_over(&self, outbox: &OutboxId) -> Result<(KafkaSession, Option<Stamp>), PublishFault> {
        self.take_over_from(outbox).await
    }

    async fn learn(&self, topic: &str) -> Result<(), PublishFault> {
        if !self.shared.is_refreshed.swap(true, Ordering::AcqRel) {
            tokio::spawn(refresh(Arc::downgrade(&self.shared)));
        }
        self.shared.learn(topic).await
    }

    fn route(&self, envelope: &Envelope<'_>) -> Route {
        self.shared.surroundings.topics.route(envelope)
    }
}

impl Shared {
    /// The client that asks about topics, made when it is first needed, and anew when there are newer certificates.
    async fn admin(&self) -> Result<Arc<Admin>, PublishFault> {
        let mut admin = self.admin.lock().await;
        if let Some(admin) = admin.as_ref().filter(|admin| !admin.edition.is_outdated()) {
            return Ok(Arc::clone(admin));
        }
        let client = self.equip(self.config.admin()).await?;
        let keeper = self.surroundings.keeper.clone();
        let made = spawn_blocking(move || Admin::new(client, keeper.as_deref()));
        let made = Arc::new(made.await.unwrap_or_else(|_| Err(shutting_down()))?);
        *admin = Some(Arc::clone(&made));
        Ok(made)
    }

    /// See [`equip`]; whoever has the client hears of newer certificates.
    async fn equip(&self, settings: ClientConfig) -> Result<Equipped, PublishFault> {
        if let Some(certificates) = &self.certificates {
            certificates.keep();
        }
        equip(settings, self.surroundings.keeper.as_ref(), self.certificates.as_deref()).await
    }

    async fn learn(&self, topic: &str) -> Result<(), PublishFault> {
        let admin = self.admin().await?;
        match admin.facts(&self.surroundings.topics.name(topic)).await {
            Ok(facts) => {
                self.surroundings.topics.learn(topic, facts);
                Ok(())
            }
            Err(fault) => {
                if *fault.kind() == PublishFaultKind::TopicRefused {
                    self.surroundings.topics.doubt(topic);
                }
                Err(fault)
            }
        }
    }
}

/// Connects the client that asks about topics. If that fails, `learn` says why.
async fn warm_up(shared: Arc<Shared>) {
    if let Ok(client) = shared.admin().await.and_then(|admin| admin.client().map(Arc::clone)) {
        drop(spawn_blocking(move || client.inner().fetch_cluster_id(ANSWER_MAX)));
    }
}

/// Looks at learned topics again until the publisher is gone. What cannot be learned now stays as it was.
async fn refresh(publisher: Weak<Shared>) {
    let mut ticks = tokio::time::interval(REFRESH);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Some(shared) = publisher.upgrade() else { return };
        for topic in shared.surroundings.topics.trusted() {
            if let Err(fault) = shared.learn(&topic).await {
                tracing::debug!(topic, "{fault}");
            }
        }
    }
}

/// The client that asks about topics.
struct Admin {
    /// `None` only while it is dropped.
    client: Option<Arc<AdminClient<Quiet>>>,
    edition: Edition,
}

/// The log of the client that asks about topics.
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, "{message}");
    }

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", reason, "{error}");
    }
}

impl Admin {
    fn new(client: Equipped, keeper: Option<&Keeper>) -> Result<Self, PublishFault> {
        let Equipped { settings, edition } = client;
        let client = settings.create_with_context(Quiet).map_err(|error| refused_property(&error))?;
        let client: Arc<AdminClient<Quiet>> = Arc::new(client);
        if let Some(keeper) = keeper {
            keeper.admit(&client)?;
        }
        Ok(Self { client: Some(client), edition })
    }

    fn client(&self) -> Result<&Arc<AdminClient<Quiet>>, PublishFault> {
        self.client.as_ref().ok_or_else(shutting_down)
    }

    async fn facts(&self, topic: &str) -> Result<Facts, PublishFault> {
        let client = self.client()?;
        let (partitions, broker) = {
            let (client, topic) = (Arc::clone(client), topic.to_owned());
            let asked = spawn_blocking(move || partitions(&client, &topic));
            asked.await.unwrap_or_else(|_| Err(shutting_down()))?
        };
        Ok(Facts { partitions, batch_bytes_max: batch_bytes_max(client, broker, topic).await })
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop_apart(client, drop);
        }
    }
}

/// Asks how many partitions a topic has, and names a broker that is up; blocks.
fn partitions(client: &AdminClient<Quiet>, topic: &str) -> Result<(i32, i32), PublishFault> {
    let what = format!("asking about topic `{topic}`");
    let metadata =
        client.inner().fetch_metadata(Some(topic), ANSWER_MAX).map_err(|error| fault_of(&what, error))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let found = found.ok_or_else(|| fault(&what, RDKafkaErrorCode::UnknownTopicOrPartition))?;
    if let Some(error) = found.error() {
        return Err(fault(&what, error.into()));
    }
    // The answer may have come over a bootstrap address, which is no broker by number.
    let answered = metadata.brokers().iter().max_by_key(|broker| broker.id() == metadata.orig_broker_id());
    let broker = answered.map_or(-1, MetadataBroker::id);
    match i32::try_from(found.partitions().len()) {
        Ok(partitions) if partitions > 0 => Ok((partitions, broker)),
        _ => Err(fault(&what, RDKafkaErrorCode::LeaderNotAvailable)),
    }
}

/// Asks for a topic's `max.message.bytes`. `None` if the cluster does not say: then only the broker itself can refuse.
async fn batch_bytes_max(client: &AdminClient<Quiet>, broker: i32, topic: &str) -> Option<usize> {
    // Any broker can say; left to itself, librdkafka would ask the controller, and wait for one where there is none.
    let broker = Some(broker).filter(|id| *id >= 0);
    setting(client, broker, topic, "max.message.bytes").await?.parse().ok()
}

/// Asks for a setting of a topic. `None` if the cluster does not say, for want of a permission (DescribeConfigs on the
/// topic) or because it does not know the request.
pub(crate) async fn setting(
    client: &AdminClient<Quiet>,
    broker: Option<i32>,
    topic: &str,
    name: &str,
) -> Option<String> {
    let options = AdminOptions::new().request_timeout(Some(ANSWER_MAX)).broker_id(broker);
    let described = client.describe_configs(&[ResourceSpecifier::Topic(topic)], &options).await;
    let failed = |error: KafkaError| {
        let code = code_of(&error);
        tracing::debug!(topic, ?code, "{name} is not known");
    };
    let resources = described.map_err(failed).ok()?;
    let resource = resources.into_iter().next()?.map_err(|code| failed(KafkaError::AdminOp(code))).ok()?;
    resource.get(name)?.value.clone()
}

/// Makes a producer, lets it in, and waits until a broker answers; blocks.
pub(crate) fn open(
    role: Role,
    client: &Equipped,
    surroundings: &Surroundings,
    limits: Limits,
) -> Result<Streaming, PublishFault> {
    let session =
        Streaming::open(role, client, surroundings, limits).map_err(|error| refused_property(&error))?;
    if let Some(keeper) = &surroundings.keeper {
        session.admit(keeper)?;
    }
    session.await_broker(ANSWER_MAX).map_err(|reason| no_answer(&surroundings.brokers, &reason))?;
    Ok(session)
}

fn no_answer(brokers: &str, reason: &str) -> PublishFault {
    let reason = if reason.is_empty() { login::NOTHING } else { reason };
    PublishFault::new(
        PublishFaultKind::Unavailable,
        format!("no broker of `{brokers}` answers: {reason}; {}", login::remedy(reason)),
    )
}

pub(crate) fn shutting_down() -> PublishFault {
    PublishFault::new(PublishFaultKind::Unavailable, "the runtime is shutting down")
}
