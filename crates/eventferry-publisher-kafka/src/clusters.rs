//! Several clusters in one publisher: a topic's name decides which.
//!
//! | idea | where |
//! |---|---|
//! | which topics are whose | `pattern.rs` |
//! | one session with each, which begin and end together | `session.rs` |

mod pattern;
mod session;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use eventferry_core::publisher::{Abilities, Domain, Publisher, Role, Route};
use eventferry_core::{Envelope, OutboxId, PublishFault, PublishFaultKind, Stamp};

pub use pattern::TopicPattern;
pub use session::KafkaClustersSession;
use session::all;

use crate::config::{KafkaConfig, wrong};
use crate::publisher::{ABILITIES, KafkaPublisher};
use crate::statistics::BrokerHealth;

/// How many bits of a domain say which cluster it is of. A cluster numbers its topics, and what is left for that is
/// enough for 67 million.
const CLUSTER_BITS: u32 = 6;

/// Where those bits are.
const CLUSTER_SHIFT: u32 = u64::BITS - CLUSTER_BITS;

/// The most clusters of one publisher.
const CLUSTERS_MAX: usize = 1 << CLUSTER_BITS;

/// The longest name of a cluster, in characters.
const NAME_CHARS_MAX: usize = 63;

/// One cluster of several: see [`KafkaClusters::new`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// What it is called in messages and figures: 1 to 63 lower-case letters, digits and `-`.
    pub name: String,
    /// Which topics it takes, as [`TopicPattern`]s. Default: none, which makes it the one that takes all that no other
    /// does.
    pub topics: Vec<String>,
    /// How to reach it, and how to send to it.
    pub kafka: KafkaConfig,
}

impl ClusterConfig {
    /// A cluster that takes all topics that no other does.
    pub fn new(name: impl Into<String>, kafka: KafkaConfig) -> Self {
        Self { name: name.into(), topics: Vec::new(), kafka }
    }

    /// Takes the topics that match one of these patterns instead.
    #[must_use]
    pub fn topics<T: Into<String>>(mut self, patterns: impl IntoIterator<Item = T>) -> Self {
        self.topics = patterns.into_iter().map(Into::into).collect();
        self
    }
}

/// Several Kafka clusters to publish to, of which an event's topic chooses one.
///
/// The first cluster with a pattern that matches takes the topic, in the order in which they were given; if there is
/// none, the one without patterns does, wherever it stands. What counts is the event's own name of the topic, before
/// [`KafkaConfig::topic_prefix`] and [`KafkaConfig::topic_map`]. A dead-letter topic is a topic like others. Topics
/// that no cluster takes are refused as topics: their events wait, uncounted.
///
/// Sessions with all clusters begin and end together: while one cannot be reached none is opened, and what ends one,
/// such as a refused event, ends all. A cluster that goes away under an open session ends nothing: what is for it
/// waits, others go on until the session, or the relay's window, is full.
///
/// It cannot deliver exactly once, for a transaction is of one cluster.
#[derive(Clone)]
pub struct KafkaClusters {
    clusters: Arc<[Member]>,
}

struct Member {
    name: Arc<str>,
    /// None: it takes what no other does.
    patterns: Vec<TopicPattern>,
    publisher: KafkaPublisher,
    /// How it answered when a session was last opened.
    opened: Mutex<Option<Result<(), String>>>,
}

/// How a cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterHealth {
    /// Its name.
    pub name: String,
    /// Whether it let us in when a session was last opened, or why not; `None`: none was yet.
    pub opened: Option<Result<(), String>>,
    /// How its brokers are: see [`KafkaPublisher::health`].
    pub brokers: Vec<BrokerHealth>,
}

impl KafkaClusters {
    /// A publisher for these clusters, 1 to 64; nothing is connected yet.
    ///
    /// # Errors
    /// `Misconfigured`: the message names the cluster and what is wrong: its settings, its name, a pattern, or that an
    /// earlier cluster leaves it nothing.
    pub fn new(clusters: impl IntoIterator<Item = ClusterConfig>) -> Result<Self, PublishFault> {
        let mut members = Vec::new();
        for ClusterConfig { name, topics, kafka } in clusters {
            check_name(&name)?;
            let name: Arc<str> = name.into();
            let patterns = topics.iter().map(|text| text.parse()).collect::<Result<_, _>>();
            let publisher = KafkaPublisher::of_cluster(Some(Arc::clone(&name)), kafka);
            members.push(Member {
                patterns: patterns.map_err(|fault| of_cluster(&name, fault))?,
                publisher: publisher.map_err(|fault| of_cluster(&name, fault))?,
                name,
                opened: Mutex::default(),
            });
        }
        check_number(&members)?;
        check_shares(&members)?;
        Ok(Self { clusters: members.into() })
    }

    /// The names of the clusters, each with its publisher, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &KafkaPublisher)> {
        self.clusters.iter().map(|member| (&*member.name, &member.publisher))
    }

    /// The name of the cluster that takes a topic, and its publisher; `None`: none does.
    pub fn cluster_of(&self, topic: &str) -> Option<(&str, &KafkaPublisher)> {
        self.member_of(topic).map(|(_, member)| (&*member.name, &member.publisher))
    }

    /// How the clusters are, in the order in which they were given.
    pub fn health(&self) -> Vec<ClusterHealth> {
        let health = |member: &Member| ClusterHealth {
            name: member.name.to_string(),
            opened: member.opened.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            brokers: member.publisher.health(),
        };
        self.clusters.iter().map(health).collect()
    }

    /// The cluster that takes a topic, with its number.
    fn member_of(&self, topic: &str) -> Option<(usize, &Member)> {
        let all = || self.clusters.iter().enumerate();
        let by_pattern = all().find(|(_, member)| member.patterns.iter().any(|each| each.matches(topic)));
        by_pattern.or_else(|| all().find(|(_, member)| member.patterns.is_empty()))
    }
}

impl fmt::Debug for KafkaClusters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = self.clusters.iter().map(|member| (&member.name, (&member.patterns, &member.publisher)));
        f.debug_map().entries(each).finish()
    }
}

impl Publisher for KafkaClusters {
    type Session = KafkaClustersSession;

    fn abilities(&self) -> Abilities {
        Abilities { transactions: None, ..ABILITIES }
    }

    async fn connect(&self, role: Role) -> Result<KafkaClustersSession, PublishFault> {
        let opened = all(self.clusters.iter().map(|member| member.publisher.stream(role))).await;
        let (mut sessions, mut failed) = (Vec::with_capacity(opened.len()), Vec::new());
        for (member, opened) in self.clusters.iter().zip(opened) {
            let answer = opened.as_ref().map(|_| ()).map_err(|fault| fault.message().to_owned());
            *member.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
            match opened {
                Ok(session) => sessions.push(session),
                Err(fault) => failed.push(of_cluster(&member.name, fault)),
            }
        }
        // What waiting does not mend is said before what it may.
        failed.sort_by_key(|fault| *fault.kind() != PublishFaultKind::Misconfigured);
        failed.into_iter().next().map_or_else(|| Ok(KafkaClustersSession::new(sessions)), Err)
    }

    async fn take_over(&self, _: &OutboxId) -> Result<(KafkaClustersSession, Option<Stamp>), PublishFault> {
        Err(wrong(
            "several clusters cannot deliver exactly once, for a transaction is of one: name one cluster",
        ))
    }

    async fn learn(&self, topic: &str) -> Result<(), PublishFault> {
        match self.member_of(topic) {
            Some((_, member)) => {
                member.publisher.learn(topic).await.map_err(|fault| of_cluster(&member.name, fault))
            }
            None => Err(taken_by_none(topic)),
        }
    }

    fn route(&self, envelope: &Envelope<'_>) -> Route {
        // Who asks for a topic that no cluster takes is told so by `learn`.
        let Some((number, member)) = self.member_of(envelope.topic()) else { return Route::Unknown };
        match member.publisher.route(envelope) {
            Route::To(domain) => Route::To(domain_of(number, domain)),
            elsewhere => elsewhere,
        }
    }
}

/// A domain of a cluster, unlike any of another.
fn domain_of(cluster: usize, own: Domain) -> Domain {
    debug_assert_eq!(own.0 >> CLUSTER_SHIFT, 0, "more topics than memory has room for");
    Domain(own.0 | (cluster as u64) << CLUSTER_SHIFT)
}

/// The number of the cluster that a domain is of.
fn cluster_in(domain: Domain) -> usize {
    (domain.0 >> CLUSTER_SHIFT) as usize
}

/// A domain as its cluster knows it.
fn own_domain(domain: Domain) -> Domain {
    Domain(domain.0 << CLUSTER_BITS >> CLUSTER_BITS)
}

fn check_name(name: &str) -> Result<(), PublishFault> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(fits) {
        return Ok(());
    }
    Err(wrong(format!(
        "`{name}` is no name for a cluster: give 1 to {NAME_CHARS_MAX} lower-case letters, digits and `-`"
    )))
}

fn check_number(members: &[Member]) -> Result<(), PublishFault> {
    if !(1..=CLUSTERS_MAX).contains(&members.len()) {
        let count = members.len();
        return Err(wrong(format!("{count} clusters are named: give 1 to {CLUSTERS_MAX}")));
    }
    let mut names = BTreeSet::new();
    match members.iter().find(|member| !names.insert(&member.name)) {
        Some(Member { name, .. }) => {
            Err(wrong(format!("two clusters are named `{name}`: give each its own name")))
        }
        None => Ok(()),
    }
}

/// Whether each pattern, and the one cluster without any, is left something by those before it.
fn check_shares(members: &[Member]) -> Result<(), PublishFault> {
    let mut without = members.iter().filter(|member| member.patterns.is_empty());
    if let (Some(first), Some(second)) = (without.next(), without.next()) {
        return Err(wrong(format!(
            "clusters `{}` and `{}` have no patterns, and only one can take what no other does: give one its topics",
            first.name, second.name
        )));
    }
    for (number, Member { name, patterns, .. }) in members.iter().enumerate() {
        for pattern in patterns {
            if let Some((other, all)) = taken_by(&members[..number], pattern) {
                return Err(wrong(format!(
                    "pattern `{pattern}` of cluster `{name}` never counts, for `{all}` of cluster `{other}` takes all \
                     of its topics before: name `{name}` before `{other}`, or leave one of the two patterns out"
                )));
            }
        }
        // It comes last, wherever it stands.
        let last = patterns.is_empty().then(|| taken_by(members, &TopicPattern::of_all())).flatten();
        if let Some((other, all)) = last {
            return Err(wrong(format!(
                "cluster `{name}` has no patterns, and nothing is left for it, for `{all}` of cluster `{other}` takes \
                 all topics: leave out `{all}`, or give `{name}` its topics and name it before `{other}`"
            )));
        }
    }
    Ok(())
}

/// The first of these clusters, and its pattern, that takes every topic of a pattern.
fn taken_by<'a>(members: &'a [Member], pattern: &TopicPattern) -> Option<(&'a str, &'a TopicPattern)> {
    let all = members.iter().flat_map(|member| member.patterns.iter().map(|each| (&*member.name, each)));
    all.into_iter().find(|(_, each)| each.covers(pattern))
}

/// A fault, with the name of the cluster whose it is.
fn of_cluster(name: &str, fault: PublishFault) -> PublishFault {
    let named = PublishFault::new(*fault.kind(), format!("cluster `{name}`: {}", fault.message()));
    let named = match fault.class() {
        Some(class) => named.of_class(class),
        None => named,
    };
    named.caused_by(fault)
}

fn taken_by_none(topic: &str) -> PublishFault {
    PublishFault::new(
        PublishFaultKind::TopicRefused,
        format!(
            "no cluster takes topic `{topic}`: give one a pattern for it, or leave out one's patterns, so that it \
             takes the rest"
        ),
    )
    .of_class("NoClusterForTopic")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clusters written as their names, each with its patterns after it.
    fn clusters(all: &[&str]) -> Result<KafkaClusters, PublishFault> {
        KafkaClusters::new(all.iter().map(|words| {
            let mut words = words.split(' ');
            ClusterConfig::new(words.next().unwrap(), KafkaConfig::new("one:9092")).topics(words)
        }))
    }

    #[test]
    fn the_first_cluster_that_matches_takes_a_topic_and_the_one_without_patterns_the_rest() {
        let all = clusters(&["rest", "eu payments.eu.* *.gdpr", "pay payments.* refunds"]).unwrap();
        for (topic, name) in [
            ("payments.eu.paid", "eu"),
            ("payments.us.gdpr", "eu"),
            ("payments.us.paid", "pay"),
            ("refunds", "pay"),
            ("refunds.dlq", "rest"),
            ("orders", "rest"),
        ] {
            assert_eq!(all.cluster_of(topic).unwrap().0, name, "{topic}");
        }
    }

    #[tokio::test]
    async fn a_topic_that_no_cluster_takes_is_refused_as_a_topic_with_what_to_do() {
        let all = clusters(&["pay payments.*"]).unwrap();
        assert!(all.cluster_of("orders").is_none());
        let fault = all.learn("orders").await.unwrap_err();
        assert_eq!(
            (*fault.kind(), fault.class()),
            (PublishFaultKind::TopicRefused, Some("NoClusterForTopic"))
        );
        assert!(fault.message().contains("topic `orders`: give one a pattern"), "{fault}");
    }

    #[test]
    fn domains_of_two_clusters_are_never_the_same() {
        let owns = [0, 1, u64::from(u32::MAX), 1 << 32, (1 << CLUSTER_SHIFT) - 1];
        let mut seen = BTreeSet::new();
        for cluster in 0..CLUSTERS_MAX {
            for own in owns.map(Domain) {
                let domain = domain_of(cluster, own);
                assert!(seen.insert(domain), "{domain:?}");
                assert_eq!((cluster_in(domain), own_domain(domain)), (cluster, own));
            }
        }
    }

    #[test]
    fn what_cannot_be_is_named_with_what_to_do() {
        for (all, says) in [
            (&[][..], &["0 clusters", "give 1 to 64"][..]),
            (&["Pay"], &["`Pay` is no name", "lower-case"]),
            (&[""], &["`` is no name"]),
            (&["a x", "a"], &["two clusters are named `a`", "give each its own name"]),
            (&["a", "b"], &["`a` and `b` have no patterns", "give one its topics"]),
            (&["a x "], &["cluster `a`: ", "is empty"]),
            (
                &["a pay*", "b x payments.*"],
                &["`payments.*` of cluster `b`", "`pay*` of cluster `a`", "name `b` before `a`"],
            ),
            (&["a x", "b x"], &["`x` of cluster `b` never counts"]),
            (&["rest", "a *"], &["`rest` has no patterns", "`*` of cluster `a` takes all topics"]),
        ] {
            let fault = clusters(all).unwrap_err();
            assert_eq!(*fault.kind(), PublishFaultKind::Misconfigured);
            says.iter()
                .for_each(|text| assert!(fault.message().contains(text), "`{text}` is not in: {fault}"));
        }
        // Within one cluster the order says nothing.
        clusters(&["a pay* payments.* pay*", "b p*"]).unwrap();
    }

    #[test]
    fn the_settings_of_a_cluster_are_refused_by_its_name_and_without_secrets() {
        let mut kafka = KafkaConfig::new("one:9092");
        kafka.properties.insert("sasl.password".into(), "sesame".into());
        kafka.properties.insert("acks".into(), "sesame".into());
        let config = ClusterConfig::new("pay", kafka);
        assert!(!format!("{config:?}").contains("sesame"));
        let message = KafkaClusters::new([config]).unwrap_err().to_string();
        assert!(
            message.starts_with("cluster `pay`: property `acks`") && !message.contains("sesame"),
            "{message}"
        );
    }

    #[tokio::test]
    async fn several_clusters_have_no_transactions() {
        let all = clusters(&["a"]).unwrap();
        assert_eq!(all.abilities(), Abilities { transactions: None, ..ABILITIES });
        let Err(fault) = all.take_over(&OutboxId("o".into())).await else { panic!("taken over") };
        assert!(fault.message().contains("a transaction is of one"), "{fault}");
    }
}
