//! The topics that somebody wants: by the settings, or by having events for them.

use std::collections::{BTreeMap, BTreeSet};

use eventferry::kafka::DeclaredTopic;

use crate::ending::Trouble;
use crate::settings::{Given, Settings, TopicSettings};

/// What stands in a dead-letter topic's name for the event's own.
const OWN: &str = "{topic}";

/// What the settings say of topics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Those that are to be as they are declared.
    pub(super) declared: Vec<DeclaredTopic>,
    /// Those that have a table.
    named: BTreeSet<String>,
    /// The topic for dead letters, or how its name is made.
    dead_letters: Option<String>,
}

/// Why a topic is wanted.
#[derive(Clone, Debug, Default)]
pub(super) struct Use {
    pub(super) declared: Option<DeclaredTopic>,
    /// The largest payload of its events that was seen in the outbox, in bytes.
    pub(super) payload_bytes: Option<u64>,
    /// The topics whose dead letters go there.
    pub(super) dead_letters_of: BTreeSet<String>,
}

impl Wanted {
    /// Reads the settings.
    ///
    /// # Errors
    /// A value cannot be; it is named with its place.
    pub(crate) fn of(settings: &Settings, dead_letters: Option<&str>) -> Result<Self, Trouble> {
        let mut wanted = Self::default();
        for (name, topic) in settings.topics() {
            wanted.named.insert(name.to_owned());
            wanted.declared.extend(declared(name, topic)?);
        }
        let dead_letters = settings.find("dead_letter_topic", dead_letters);
        wanted.dead_letters =
            dead_letters.map(|given| given.text().to_owned()).filter(|name| !name.is_empty());
        Ok(wanted)
    }

    /// All topics that are wanted, beside the events' own, and what for.
    pub(super) fn uses(&self, seen: &[(String, u64)]) -> BTreeMap<String, Use> {
        let mut uses: BTreeMap<String, Use> = BTreeMap::new();
        for name in &self.named {
            uses.entry(name.clone()).or_default();
        }
        for declared in &self.declared {
            uses.entry(declared.name.clone()).or_default().declared = Some(declared.clone());
        }
        for (name, bytes) in seen {
            uses.entry(name.clone()).or_default().payload_bytes = Some(*bytes);
        }
        let Some(pattern) = &self.dead_letters else { return uses };
        if !pattern.contains(OWN) {
            uses.entry(pattern.clone()).or_default();
        }
        for topic in uses.keys().cloned().collect::<Vec<_>>() {
            let letters = pattern.replace(OWN, &topic);
            // A table for a dead-letter topic makes it no topic with dead letters of its own.
            let is_one = pattern.split_once(OWN).is_some_and(|(before, after)| {
                topic
                    .strip_prefix(before)
                    .and_then(|rest| rest.strip_suffix(after))
                    .is_some_and(|own| !own.is_empty())
            });
            if letters != topic && !(is_one && uses[&topic].payload_bytes.is_none()) {
                uses.entry(letters).or_default().dead_letters_of.insert(topic);
            }
        }
        uses
    }
}

/// A topic as its table declares it, if it does.
fn declared(name: &str, topic: TopicSettings<'_>) -> Result<Option<DeclaredTopic>, Trouble> {
    let (partitions, replication) = (topic.find("partitions"), topic.find("replication"));
    let config: BTreeMap<_, _> =
        topic.config().map(|(name, given)| (name.to_owned(), given.text().to_owned())).collect();
    if partitions.is_none() && replication.is_none() && config.is_empty() {
        return Ok(None);
    }
    let number =
        |given: Option<Given>, max| given.map(|given| given.parse(|text| count(text, max))).transpose();
    Ok(Some(DeclaredTopic {
        name: name.to_owned(),
        partitions: number(partitions, 100_000)?,
        replication: number(replication, 1_000)?,
        config,
    }))
}

fn count(text: &str, max: i32) -> Result<i32, String> {
    let number = text.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| format!("`{text}` is no such number; give a whole number from 1 to {max}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Wanted {
        Wanted::of(&Settings::of_file(text), None).unwrap()
    }

    #[test]
    fn a_table_declares_a_topic_or_only_names_it() {
        let wanted = wanted(
            "[topics.\"a.b\"]\npartitions = 3\nconfig = { retention.ms = 1000, \"cleanup.policy\" = \"delete\" }\n\
             [topics.c]\non_dead = \"hold\"\n",
        );
        let [topic] = &wanted.declared[..] else { panic!("{wanted:?}") };
        assert_eq!((topic.name.as_str(), topic.partitions, topic.replication), ("a.b", Some(3), None));
        assert_eq!(topic.config["retention.ms"], "1000");
        assert_eq!(topic.config["cleanup.policy"], "delete");
        assert_eq!(wanted.uses(&[]).into_keys().collect::<Vec<_>>(), ["a.b", "c"]);
    }

    #[test]
    fn dead_letters_are_wanted_for_each_topic_but_not_for_theirs() {
        let names = |text: &str, seen: &str| {
            wanted(text).uses(&[(seen.to_owned(), 1)]).into_keys().collect::<Vec<_>>()
        };
        let text = "dead_letter_topic = \"{topic}.dlq\"\n[topics.\"a.dlq\"]\npartitions = 1\n";
        assert_eq!(names(text, "a"), ["a", "a.dlq"]);
        assert_eq!(names("dead_letter_topic = \"dead\"\n", "a"), ["a", "dead"]);
        assert_eq!(names("", "a"), ["a"]);
        let uses = wanted(text).uses(&[("a".into(), 1)]);
        assert_eq!(uses["a.dlq"].dead_letters_of, BTreeSet::from(["a".to_owned()]));
    }

    #[test]
    fn a_number_has_bounds() {
        for text in ["partitions = 0", "replication = -1", "partitions = \"many\""] {
            let settings = Settings::of_file(&format!("[topics.t]\n{text}\n"));
            let message = Wanted::of(&settings, None).unwrap_err().message;
            assert!(message.contains("line 2") && message.contains("whole number from 1"), "{message}");
        }
    }
}
