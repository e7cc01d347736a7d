//! Topics as they are wanted, and what is to be done where they are not so.

use std::collections::BTreeMap;
use std::fmt;

use super::TopicState;

/// A topic as somebody wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclaredTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; `None`: as the cluster sees fit (`num.partitions`).
    pub partitions: Option<i32>,
    /// How many replicas each partition has; `None`: as the cluster sees fit (`default.replication.factor`).
    pub replication: Option<i32>,
    /// Its own settings, such as `retention.ms`, as Kafka's topic configuration lists them.
    pub config: BTreeMap<String, String>,
}

/// What is to be done so that a topic is as it was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is not there: make it.
    Create(DeclaredTopic),
    /// It has fewer partitions: add some. Keys move, for a key's partition comes from their number.
    Grow {
        /// The topic.
        topic: String,
        /// How many partitions it has.
        from: i32,
        /// How many it is to have.
        to: i32,
    },
}

impl Change {
    /// The topic that it is about.
    pub fn topic(&self) -> &str {
        match self {
            Self::Create(declared) => &declared.name,
            Self::Grow { topic, .. } => topic,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(DeclaredTopic { name, partitions, replication, config }) => {
                let number = |number: &Option<i32>| number.map_or("default".to_owned(), |n| n.to_string());
                let (partitions, replication) = (number(partitions), number(replication));
                write!(f, "create topic `{name}`: partitions {partitions}, replication {replication}")?;
                config.iter().try_for_each(|(name, value)| write!(f, ", {name}={value}"))
            }
            Self::Grow { topic, from, to } => {
                write!(f, "grow topic `{topic}` from {from} to {to} partitions")
            }
        }
    }
}

/// What differs and cannot be changed, or is not changed here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// It has more partitions than declared, and none can be taken away.
    MorePartitions {
        /// How many it has.
        has: i32,
        /// How many were declared.
        declared: i32,
    },
    /// It has fewer partitions than declared.
    FewerPartitions {
        /// How many it has.
        has: i32,
        /// How many were declared.
        declared: i32,
    },
    /// Its partitions have another number of replicas.
    Replication {
        /// How many they have, at least.
        has: i32,
        /// How many were declared.
        declared: i32,
    },
    /// A setting has another value.
    Setting {
        /// Its name.
        name: String,
        /// What it is; `None`: the cluster knows none of that name, or does not say.
        has: Option<String>,
        /// What was declared.
        declared: String,
    },
}

impl DeclaredTopic {
    /// What differs in a topic that is there.
    pub fn differences(&self, state: &TopicState) -> Vec<Difference> {
        let mut found = Vec::new();
        let has = state.partitions;
        match self.partitions {
            Some(declared) if declared < has => found.push(Difference::MorePartitions { has, declared }),
            Some(declared) if declared > has => found.push(Difference::FewerPartitions { has, declared }),
            _ => {}
        }
        if let Some(declared) = self.replication.filter(|declared| *declared != state.replication) {
            found.push(Difference::Replication { has: state.replication, declared });
        }
        // What nobody may read may be as it should.
        let Some(settings) = &state.settings else { return found };
        for (name, declared) in &self.config {
            let has = settings.get(name);
            if has != Some(declared) {
                let (name, declared) = (name.clone(), declared.clone());
                found.push(Difference::Setting { name, has: has.cloned(), declared });
            }
        }
        found
    }

    /// What is to be done; `None`: nothing, or nothing that can be done here. `state` is `None` if the topic is not
    /// there.
    pub fn change(&self, state: Option<&TopicState>) -> Option<Change> {
        let Some(state) = state else { return Some(Change::Create(self.clone())) };
        let to = self.partitions.filter(|declared| *declared > state.partitions)?;
        Some(Change::Grow { topic: self.name.clone(), from: state.partitions, to })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MorePartitions { has, declared } => write!(
                f,
                "it has {has} partitions, {declared} are declared: none can be taken away; declare {has}, or make \
                 another topic"
            ),
            Self::FewerPartitions { has, declared } => write!(
                f,
                "it has {has} partitions, {declared} are declared: add them by `eventferry topics ensure`, after \
                 which keys are in other partitions than before, or declare {has}"
            ),
            Self::Replication { has, declared } => write!(
                f,
                "its partitions have {has} replicas, {declared} are declared: reassign them with the cluster's own \
                 tools, or declare {has}"
            ),
            Self::Setting { name, has, declared } => {
                let has = has.as_deref().unwrap_or("not known to the cluster");
                write!(f, "{name} is {has}, {declared} is declared: change it there, or declare what it is")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(partitions: Option<i32>) -> DeclaredTopic {
        DeclaredTopic { name: "t".into(), partitions, ..DeclaredTopic::default() }
    }

    fn state(partitions: i32) -> TopicState {
        let settings = BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]);
        TopicState { partitions, settings: Some(settings), ..TopicState::unlike_any("t") }
    }

    #[test]
    fn a_topic_is_made_or_grown_and_never_shrunk() {
        for (wanted, has, change) in [
            (Some(3), None, Some(Change::Create(declared(Some(3))))),
            (None, None, Some(Change::Create(declared(None)))),
            (Some(3), Some(3), None),
            (None, Some(3), None),
            (Some(5), Some(3), Some(Change::Grow { topic: "t".into(), from: 3, to: 5 })),
            (Some(2), Some(3), None),
        ] {
            assert_eq!(declared(wanted).change(has.map(state).as_ref()), change, "{wanted:?} {has:?}");
        }
    }

    #[test]
    fn what_differs_is_named() {
        let mut topic = declared(Some(2));
        topic.replication = Some(3);
        topic.config = [("retention.ms", "2000"), ("no.such", "1")].map(|(a, b)| (a.into(), b.into())).into();
        let found = topic.differences(&state(4));
        let said: Vec<_> = found.iter().map(Difference::to_string).collect();
        assert_eq!(said.len(), 4, "{said:#?}");
        assert!(said[0].starts_with("it has 4 partitions, 2 are declared: none can be taken away"));
        assert!(said[1].starts_with("its partitions have 1 replicas, 3 are declared"));
        assert!(said[2].starts_with("no.such is not known to the cluster, 1 is declared"));
        assert!(said[3].starts_with("retention.ms is 1000, 2000 is declared"));
        topic.replication = Some(1);
        let unread = TopicState { settings: None, ..state(2) };
        assert_eq!(topic.differences(&unread), [], "what nobody may read may be as it should");
    }
}
