//! A cluster's topics, for those who look after them: what is there, what is wanted, and what is made.
//!
//! Nothing here is on a relay's way: a relay learns its topics by itself and makes none.

mod declared;
mod described;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventferry_core::publisher::{Publisher as _, Role, Session as _};
use eventferry_core::{PublishFault, PublishFaultKind};
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
    TopicReplication, TopicResult,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::task::spawn_blocking;

pub use declared::{Change, DeclaredTopic, Difference};
use described::{Described, describe};

use crate::fault::{fault, fault_of};
use crate::publisher::{ANSWER_MAX, KafkaPublisher, Quiet, shutting_down};

/// How long a cluster may take to make topics.
const MAKING_MAX: Duration = Duration::from_secs(30);

/// How long to wait between two looks whether brokers tell of a change.
const LOOK: Duration = Duration::from_millis(50);

/// How many topics are asked about at a time: an answer has all their partitions and settings.
const ASKED_MAX: usize = 200;

/// Names that begin so are the cluster's own and its tools', by custom.
const OWN_PREFIX: &str = "__";

/// The topics of a cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    publisher: KafkaPublisher,
}

/// A topic as it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TopicState {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many replicas each of them has, at least.
    pub replication: i32,
    /// How many partitions have replicas that are not in sync.
    pub behind: usize,
    /// How many partitions nobody leads now: what is for them waits.
    pub leaderless: usize,
    /// Whether it is the cluster's own.
    pub internal: bool,
    /// Whether this login may write there; `None`: the cluster does not say.
    pub may_write: Option<bool>,
    /// Its settings, its own and the cluster's; `None`: the cluster does not let us read them (DescribeConfigs).
    pub settings: Option<BTreeMap<String, String>>,
}

impl TopicState {
    /// Its setting, as a number; `None` where there is none, or it cannot be read.
    pub fn number(&self, setting: &str) -> Option<i64> {
        self.settings.as_ref()?.get(setting)?.parse().ok()
    }

    #[cfg(test)]
    fn unlike_any(name: &str) -> Self {
        Self::of(Described {
            name: name.into(),
            error: None,
            internal: false,
            partitions: vec![described::Partition { leader: Some(1), replicas: 1, in_sync: 1 }],
            may: None,
        })
    }

    fn of(found: Described) -> Self {
        let partitions = &found.partitions;
        Self {
            partitions: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
            replication: partitions.iter().map(|each| each.replicas as i32).min().unwrap_or(0),
            behind: partitions.iter().filter(|each| each.in_sync < each.replicas).count(),
            leaderless: partitions.iter().filter(|each| each.leader.is_none()).count(),
            internal: found.internal || found.name.starts_with(OWN_PREFIX),
            may_write: found.may.map(|may| may.write),
            settings: None,
            name: found.name,
        }
    }
}

impl Cluster {
    /// Connects to the cluster of a publisher.
    ///
    /// # Errors
    /// `Unavailable`: no broker lets us in; the message says why and which setting to look at. `Misconfigured`: the
    /// settings cannot be used.
    pub async fn open(publisher: &KafkaPublisher) -> Result<Self, PublishFault> {
        // A session says best what keeps us out.
        publisher.connect(Role::Alone).await?.abandon(Duration::ZERO).await;
        Ok(Self::of(publisher))
    }

    /// The cluster of a publisher, which connects when it is asked: what keeps us out is then told by a code alone.
    pub fn of(publisher: &KafkaPublisher) -> Self {
        Self { publisher: publisher.clone() }
    }

    /// The name here of a topic of events: see [`KafkaPublisher::topic_name`]. All else that is asked here goes by the
    /// cluster's own names.
    pub fn topic_name(&self, topic: &str) -> String {
        self.publisher.topic_name(topic)
    }

    /// The names of all topics that this login may see.
    ///
    /// # Errors
    /// `Unavailable`: no answer within 10 s.
    pub async fn names(&self) -> Result<Vec<String>, PublishFault> {
        let client = self.client().await?;
        let asked = move || {
            let metadata = client.inner().fetch_metadata(None, ANSWER_MAX);
            let metadata = metadata.map_err(|error| fault_of("asking for the topics", error))?;
            Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
        };
        let mut names: Vec<String> = spawn_blocking(asked).await.unwrap_or_else(|_| Err(shutting_down()))?;
        names.sort_unstable();
        Ok(names)
    }

    /// What these topics are like, in their order: each, or why it cannot be said (`TopicRefused`: it does not exist,
    /// or this login may not see it).
    ///
    /// # Errors
    /// `Unavailable`: no answer within 10 s.
    pub async fn describe(
        &self,
        names: &[String],
    ) -> Result<Vec<(String, Result<TopicState, PublishFault>)>, PublishFault> {
        let mut states = Vec::with_capacity(names.len());
        for names in names.chunks(ASKED_MAX) {
            let client = self.client().await?;
            let asked = {
                let (client, names) = (Arc::clone(&client), names.to_vec());
                spawn_blocking(move || describe(&client, &names, ANSWER_MAX, "asking about topics"))
            };
            let mut found = asked.await.unwrap_or_else(|_| Err(shutting_down()))?;
            let broker = found.iter().flat_map(|found| &found.partitions).find_map(|each| each.leader);
            let there = found.iter().filter(|found| found.error.is_none()).map(|found| found.name.as_str());
            let mut settings = settings(&client, broker, &there.collect::<Vec<_>>()).await;
            for name in names {
                let what = format!("asking about topic `{name}`");
                let found =
                    found.iter().position(|found| found.name == *name).map(|at| found.swap_remove(at));
                let state = match found {
                    None => Err(fault(&what, RDKafkaErrorCode::UnknownTopicOrPartition)),
                    Some(Described { error: Some(code), .. }) => Err(fault(&what, code)),
                    Some(found) => {
                        Ok(TopicState { settings: settings.remove(name), ..TopicState::of(found) })
                    }
                };
                states.push((name.clone(), state));
            }
        }
        Ok(states)
    }

    /// Carries a change out, and waits until the brokers tell of it.
    ///
    /// # Errors
    /// The cluster refuses; its words are in the message. `Unavailable`: no answer; it may have happened.
    pub async fn perform(&self, change: &Change) -> Result<(), PublishFault> {
        let client = self.client().await?;
        let options =
            AdminOptions::new().request_timeout(Some(MAKING_MAX)).operation_timeout(Some(MAKING_MAX));
        let results = match change {
            Change::Create(declared) => {
                // -1: as the cluster sees fit, which Kafka knows since 2.4.
                let replication = TopicReplication::Fixed(declared.replication.unwrap_or(-1));
                let mut topic = NewTopic::new(&declared.name, declared.partitions.unwrap_or(-1), replication);
                for (name, value) in &declared.config {
                    topic = topic.set(name, value);
                }
                client.create_topics([&topic], &options).await
            }
            Change::Grow { topic, to, .. } => {
                let count = usize::try_from(*to).unwrap_or(0);
                client.create_partitions([&NewPartitions::new(topic, count)], &options).await
            }
        };
        changed(change, results)?;
        self.await_told(change).await
    }

    /// Waits until a broker that is asked knows of a change: it hears of it from the controller, a moment later.
    async fn await_told(&self, change: &Change) -> Result<(), PublishFault> {
        let wanted = match change {
            Change::Create(_) => 1,
            Change::Grow { to, .. } => *to,
        };
        let names = [change.topic().to_owned()];
        let until = Instant::now() + MAKING_MAX;
        loop {
            let states = self.describe(&names).await?;
            if states.iter().any(|(_, state)| state.as_ref().is_ok_and(|state| state.partitions >= wanted)) {
                return Ok(());
            }
            if Instant::now() > until {
                let what = format!("{change}: it was taken, but no broker tells of it yet");
                return Err(PublishFault::new(PublishFaultKind::Unavailable, what));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn client(&self) -> Result<Arc<AdminClient<Quiet>>, PublishFault> {
        self.publisher.admin_client().await
    }
}

/// What became of a change.
fn changed(change: &Change, results: Result<Vec<TopicResult>, KafkaError>) -> Result<(), PublishFault> {
    let results = results.map_err(|error| fault_of(&change.to_string(), error))?;
    match results.into_iter().find_map(Result::err) {
        None => Ok(()),
        Some((_, code)) => Err(not_changed(change, code)),
    }
}

fn not_changed(change: &Change, code: RDKafkaErrorCode) -> PublishFault {
    use PublishFaultKind::{Misconfigured, TopicRefused};
    let (kind, why) = match code {
        RDKafkaErrorCode::TopicAlreadyExists => (TopicRefused, "it exists by now; look again"),
        RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => (
            TopicRefused,
            "no permission: grant CREATE on the cluster (or the topic) to make topics, and ALTER on the topic to add \
             partitions",
        ),
        RDKafkaErrorCode::InvalidReplicationFactor => (
            Misconfigured,
            "the cluster has fewer brokers than replicas are wanted: declare fewer (replication)",
        ),
        RDKafkaErrorCode::InvalidPartitions => {
            (Misconfigured, "the cluster takes no such number of partitions: declare another (partitions)")
        }
        RDKafkaErrorCode::InvalidConfig => {
            (Misconfigured, "the cluster knows no such setting, or does not take its value: see config")
        }
        RDKafkaErrorCode::InvalidTopic => (Misconfigured, "the cluster takes no such name for a topic"),
        RDKafkaErrorCode::PolicyViolation => (Misconfigured, "a policy of the cluster refuses it"),
        code => return fault(&change.to_string(), code),
    };
    PublishFault::new(kind, format!("{change}: {why} (code {})", code as i32)).caused_by(code)
}

/// The settings of topics, of those that this login may read.
async fn settings(
    client: &AdminClient<Quiet>,
    broker: Option<i32>,
    names: &[&str],
) -> BTreeMap<String, BTreeMap<String, String>> {
    let asked: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    // Any broker can say; left to itself, librdkafka would ask the controller, and wait for one where there is none.
    let options = AdminOptions::new().request_timeout(Some(ANSWER_MAX)).broker_id(broker);
    let described = match asked.is_empty() {
        true => Ok(Vec::new()),
        false => client.describe_configs(&asked, &options).await,
    };
    let mut settings = BTreeMap::new();
    for resource in described.unwrap_or_default().into_iter().flatten() {
        let OwnedResourceSpecifier::Topic(name) = resource.specifier else { continue };
        // The binding does not look whether the answer was a refusal.
        if resource.entries.is_empty() {
            continue;
        }
        let entries = resource.entries.into_iter().filter(|entry| !entry.is_sensitive);
        let entries = entries.filter_map(|entry| Some((entry.name, entry.value?)));
        settings.insert(name, entries.collect());
    }
    settings
}
