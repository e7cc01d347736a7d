//! Where events are carried to: one Kafka cluster, or several, of which an event's topic chooses one.

use std::fmt;

use eventferry::core::PublishFault;
use eventferry::kafka::{BrokerHealth, Cluster, ClusterConfig, KafkaClusters, KafkaConfig, KafkaPublisher};

use super::kafka;
use crate::arguments::ClusterArguments;
use crate::ending::Trouble;
use crate::settings::{ClusterTable, Given, Settings};

/// A publisher.
#[derive(Clone, Debug)]
pub(crate) enum PublisherPlace {
    /// The cluster that `publisher` names.
    Kafka(KafkaPublisher),
    /// Those that the file of settings names.
    KafkaClusters(KafkaClusters),
}

/// A cluster, and those of some topics that it takes.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    /// `None`: it is the only one.
    pub(crate) name: Option<String>,
    pub(crate) publisher: KafkaPublisher,
    pub(crate) topics: Vec<String>,
}

/// Topics as clusters share them.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    /// Without those that have none.
    pub(crate) of_clusters: Vec<Share>,
    /// Those that no cluster takes.
    pub(crate) of_none: Vec<String>,
}

/// What is to be done about topics that no cluster takes.
pub(crate) const TAKEN_BY_NONE: &str =
    "no cluster takes it: give one a pattern for it, or leave out one's topics, so that it takes the rest";

impl PublisherPlace {
    /// The publisher that the settings name; connects to nothing.
    ///
    /// # Errors
    /// None is named, or one and clusters besides, or what is named cannot be.
    pub(crate) fn of(settings: &Settings, flag: Option<&str>) -> Result<Self, Trouble> {
        let [first, ..] = settings.clusters() else {
            return super::publisher(&settings.require("publisher", flag)?).map(Self::Kafka);
        };
        one_or_several(settings, flag)?;
        let config = |cluster: &ClusterTable| {
            let config = ClusterConfig::new(&cluster.name, kafka(cluster.url()?)?);
            Ok::<_, Trouble>(config.topics(&cluster.topics))
        };
        let clusters = settings.clusters().iter().map(config).collect::<Result<Vec<_>, _>>()?;
        let clusters = KafkaClusters::new(clusters);
        let wrong = |fault: PublishFault| Trouble::usage(format!("{}: {}", first.file, fault.message()));
        clusters.map(Self::KafkaClusters).map_err(wrong)
    }

    /// All clusters, without topics.
    pub(crate) fn all(&self) -> Vec<Share> {
        let share = |name: Option<&str>, publisher: &KafkaPublisher| Share {
            name: name.map(str::to_owned),
            publisher: publisher.clone(),
            topics: Vec::new(),
        };
        match self {
            Self::Kafka(publisher) => vec![share(None, publisher)],
            Self::KafkaClusters(all) => all.iter().map(|(name, each)| share(Some(name), each)).collect(),
        }
    }

    /// These topics, by the clusters that take them.
    pub(crate) fn shares<'t>(&self, topics: impl IntoIterator<Item = &'t String>) -> Shares {
        let (mut of_clusters, mut of_none) = (self.all(), Vec::new());
        for topic in topics {
            let name = match self {
                Self::Kafka(_) => None,
                Self::KafkaClusters(all) => all.cluster_of(topic).map(|(name, _)| name),
            };
            match of_clusters.iter_mut().find(|share| share.name.as_deref() == name) {
                Some(share) => share.topics.push(topic.clone()),
                None => of_none.push(topic.clone()),
            }
        }
        of_clusters.retain(|share| !share.topics.is_empty());
        Shares { of_clusters, of_none }
    }

    /// What is wrong with brokers, a line each.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let lines = |name: &str, brokers: Vec<BrokerHealth>| {
            let troubles = brokers.iter().filter_map(BrokerHealth::trouble);
            troubles.map(|trouble| format!("{name}: {trouble}")).collect::<Vec<_>>()
        };
        match self {
            Self::Kafka(publisher) => lines("publisher", publisher.health()),
            Self::KafkaClusters(all) => {
                let all = all.health().into_iter();
                all.flat_map(|cluster| lines(&format!("publisher {}", cluster.name), cluster.brokers))
                    .collect()
            }
        }
    }
}

/// Without what may be a secret.
impl fmt::Display for PublisherPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kafka(publisher) => write!(f, "kafka://{}", publisher.brokers()),
            Self::KafkaClusters(all) => {
                let all = all.iter().map(|(name, each)| format!("{name} (kafka://{})", each.brokers()));
                f.write_str(&all.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl Share {
    /// Connects to the cluster.
    ///
    /// # Errors
    /// It lets nobody in; the message says why.
    pub(crate) async fn open(&self) -> Result<Cluster, Trouble> {
        Cluster::open(&self.publisher).await.map_err(|fault| self.trouble(&fault))
    }

    /// A fault of this cluster's.
    pub(crate) fn trouble(&self, fault: &PublishFault) -> Trouble {
        Trouble::publisher(self.named(fault.message()))
    }

    /// Words about something of this cluster's, with its name where there are several.
    pub(crate) fn named(&self, words: impl fmt::Display) -> String {
        match &self.name {
            Some(name) => format!("cluster `{name}`: {words}"),
            None => words.to_string(),
        }
    }
}

/// The one cluster that a command asks: what `publisher` names, or of several the one with this name.
///
/// # Errors
/// It is not named, or there is none such; or its URL cannot be used.
pub(crate) fn one_cluster(settings: &Settings, arguments: &ClusterArguments) -> Result<KafkaConfig, Trouble> {
    let (flag, name) = (arguments.at.publisher.as_deref(), arguments.cluster.as_deref());
    let clusters = settings.clusters();
    if clusters.is_empty() {
        return match name {
            None => kafka(&settings.require("publisher", flag)?),
            Some(name) => Given::flag("cluster", name)
                .parse(|_| Err("the file of settings names no clusters; leave it out, and give --publisher")),
        };
    }
    one_or_several(settings, flag)?;
    let names = || {
        let names: Vec<_> = clusters.iter().map(|cluster| format!("--cluster {}", cluster.name)).collect();
        names.join(" or ")
    };
    let Some(name) = name else {
        return Err(Trouble::usage(format!("the file of settings names clusters; say which: {}", names())));
    };
    match clusters.iter().find(|cluster| cluster.name == name) {
        Some(cluster) => kafka(cluster.url()?),
        None => Given::flag("cluster", name)
            .parse(|name| Err(format!("`{name}` is none of the clusters; give {}", names()))),
    }
}

/// Makes sure that no publisher is named beside clusters.
fn one_or_several(settings: &Settings, flag: Option<&str>) -> Result<(), Trouble> {
    let (Some(publisher), Some(first)) = (settings.find("publisher", flag), settings.clusters().first())
    else {
        return Ok(());
    };
    publisher.parse(|_| {
        Err(format!(
            "there are clusters, too ({}): leave out the one or the others; for what no other cluster takes, name one \
             without topics",
            first.origin
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_page_on_kafka_shares_topics_as_the_page_says() {
        let page = include_str!("../../../../docs/kafka.md");
        let blocks = page.split("```toml\n").filter_map(|rest| rest.split("```").next());
        let text = blocks.into_iter().find(|block| block.starts_with("[clusters.")).unwrap();
        let place = PublisherPlace::of(&Settings::of_file(text), None).unwrap();
        let topics = ["orders", "orders.dlq", "payments.eu.dlq", "refunds"].map(str::to_owned);
        let Shares { of_clusters, of_none } = place.shares(&topics);
        let shared: Vec<_> = of_clusters
            .iter()
            .map(|share| format!("{}: {}", share.name.as_deref().unwrap_or_default(), share.topics.join(" ")))
            .collect();
        assert_eq!(shared, ["payments: payments.eu.dlq refunds", "audit: orders.dlq", "main: orders"]);
        assert!(of_none.is_empty());
    }
}
