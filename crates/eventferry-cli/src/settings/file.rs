//! The file of settings, read into places and texts.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::clusters::{self, ClusterTable};
use super::schemas::{self, SchemasTable};
use super::{CLUSTER_KEYS, Given, KEYS, TOPIC_KEYS, nearest};
use crate::ending::Trouble;

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) settings: BTreeMap<&'static str, Given>,
    /// The tables `[topics."NAME"]`.
    pub(super) topics: BTreeMap<String, TopicTable>,
    /// The tables `[clusters.NAME]`, in their order.
    pub(super) clusters: Vec<ClusterTable>,
    /// The table `[schemas]`.
    pub(super) schemas: SchemasTable,
}

/// What a file says of one topic.
#[derive(Debug, Default)]
pub(super) struct TopicTable {
    pub(super) settings: BTreeMap<&'static str, Given>,
    /// The topic's own settings at the broker.
    pub(super) config: BTreeMap<String, Given>,
}

/// The table of the tables for topics.
pub(super) const TOPICS: &str = "topics";

/// The table of the tables for clusters.
pub(super) const CLUSTERS: &str = "clusters";

/// The table of schemas.
pub(super) const SCHEMAS: &str = "schemas";

/// The table of a topic's own settings at the broker, in the topic's table.
const CONFIG: &str = "config";

/// What may stand in a table.
pub(super) struct Scope {
    pub(super) keys: &'static [&'static str],
    pub(super) tables: &'static [&'static str],
    /// Of what it is, for people.
    pub(super) of: &'static str,
}

const WHOLE: Scope = Scope { keys: &KEYS, tables: &[TOPICS, CLUSTERS, SCHEMAS], of: "all" };
const ONE_TOPIC: Scope = Scope { keys: &TOPIC_KEYS, tables: &[CONFIG], of: "one topic" };
pub(super) const ONE_CLUSTER: Scope = Scope { keys: &CLUSTER_KEYS, tables: &[], of: "one cluster" };

/// Reads a file.
///
/// # Errors
/// It cannot be read, or holds what is not known.
pub(super) fn read_file(path: &str) -> Result<File, Trouble> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Trouble::usage(format!("the file of settings `{path}` cannot be read: {error}")))?;
    parsed(path, &text)
}

/// The settings of a file: one text each. Messages name a line and never show it: it may hold a password.
pub(super) fn parsed(path: &str, text: &str) -> Result<File, Trouble> {
    let page = Page { path, text };
    let table = DeTable::parse(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        page.trouble(
            start,
            match error.message() {
                "duplicate key" => {
                    "this name was given before; leave one of the two out, or name it otherwise"
                }
                _ => "this is not TOML; write lines like key = \"value\"",
            },
        )
    })?;
    let mut file = File::default();
    for (name, value) in table.get_ref() {
        if name.get_ref() == TOPICS {
            file.topics = topics(page, name, value)?;
            continue;
        }
        if name.get_ref() == CLUSTERS {
            file.clusters = clusters::tables(page, name, value)?;
            continue;
        }
        if name.get_ref() == SCHEMAS {
            file.schemas = schemas::table(page, name, value)?;
            continue;
        }
        let key = known(page, name, &WHOLE)?;
        file.settings.insert(key, given(page, name, key, value)?);
    }
    Ok(file)
}

/// The tables for topics.
fn topics(
    page: Page<'_>,
    name: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<BTreeMap<String, TopicTable>, Trouble> {
    let how = "write a table for each topic, as in [topics.\"orders.created\"]";
    let own = |name: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>| {
        let mut found = BTreeMap::new();
        config(page, name, value, "", &mut found)?;
        Ok(found)
    };
    topic_tables(page, name, value, how, &ONE_TOPIC, (CONFIG, own), |settings, config| TopicTable {
        settings,
        config,
    })
}

/// A table for each topic: settings, and one table more, which is read by itself.
pub(super) fn topic_tables<N: Default, T>(
    page: Page<'_>,
    name: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
    how: &str,
    scope: &Scope,
    (inner, read): (&str, impl Fn(&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>) -> Result<N, Trouble>),
    made: impl Fn(BTreeMap<&'static str, Given>, N) -> T,
) -> Result<BTreeMap<String, T>, Trouble> {
    let DeValue::Table(tables) = value.get_ref() else {
        return Err(page.trouble(name.span().start, &format!("`{TOPICS}` is not a table; {how}")));
    };
    let mut topics = BTreeMap::new();
    for (topic, value) in tables {
        let start = topic.span().start;
        let topic: &str = topic.get_ref();
        let DeValue::Table(table) = value.get_ref() else {
            return Err(page.trouble(start, &format!("the topic `{topic}` has no table; {how}")));
        };
        let (mut settings, mut more) = (BTreeMap::new(), N::default());
        for (name, value) in table {
            if name.get_ref() == inner {
                more = read(name, value)?;
                continue;
            }
            if matches!(value.get_ref(), DeValue::Table(_)) {
                let what =
                    format!("`{topic}` is only the name up to a dot; put the topic's name in quotes: {how}");
                return Err(page.trouble(name.span().start, &what));
            }
            let key = known(page, name, scope)?;
            settings.insert(key, given(page, name, key, value)?);
        }
        topics.insert(topic.to_owned(), made(settings, more));
    }
    Ok(topics)
}

/// The broker's settings in a table; one with a dot in its name may stand there with quotes or without.
fn config(
    page: Page<'_>,
    name: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
    prefix: &str,
    into: &mut BTreeMap<String, Given>,
) -> Result<(), Trouble> {
    let DeValue::Table(table) = value.get_ref() else {
        let how = "write it as in config = { \"retention.ms\" = \"604800000\" }";
        return Err(page.trouble(name.span().start, &format!("`{CONFIG}` is not a table; {how}")));
    };
    for (name, value) in table {
        let whole = format!("{prefix}{}", name.get_ref());
        match value.get_ref() {
            DeValue::Table(_) => config(page, name, value, &format!("{whole}."), into)?,
            _ => drop(into.insert(whole.clone(), given(page, name, &whole, value)?)),
        }
    }
    Ok(())
}

/// The key that this name is.
pub(super) fn known(
    page: Page<'_>,
    name: &Spanned<DeString<'_>>,
    scope: &Scope,
) -> Result<&'static str, Trouble> {
    let Scope { keys, tables, of } = scope;
    let start = name.span().start;
    let name: &str = name.get_ref();
    if let Some(key) = keys.iter().find(|key| **key == name) {
        return Ok(key);
    }
    let all = || keys.iter().chain(*tables).copied();
    let what = if KEYS.contains(&name) {
        let all: Vec<_> = all().collect();
        format!("`{name}` cannot be set for {of}; known there are {}", listed(&all))
    } else {
        let remedy = match nearest(&name.replace('-', "_"), all()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", keys.join(", ")),
        };
        format!("the key `{name}` is not known; {remedy}")
    };
    Err(page.trouble(start, &what))
}

/// Names, the last one after `and`.
fn listed(names: &[&str]) -> String {
    match names {
        [others @ .., last] if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => names.concat(),
    }
}

/// A value as text: what is not one in TOML is taken as it is written, if it is one word.
pub(super) fn given(
    page: Page<'_>,
    name: &Spanned<DeString<'_>>,
    key: &str,
    value: &Spanned<DeValue<'_>>,
) -> Result<Given, Trouble> {
    let start = name.span().start;
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Boolean(yes) => yes.to_string(),
        _ => return Err(page.trouble(start, &format!("`{key}` is not a text; write {key} = \"value\""))),
    };
    Ok(Given { text, origin: page.origin(start, key) })
}

/// A file's name and text.
#[derive(Clone, Copy)]
pub(super) struct Page<'a> {
    pub(super) path: &'a str,
    text: &'a str,
}

impl Page<'_> {
    /// The number of the line with this byte.
    fn line(self, start: usize) -> usize {
        self.text.get(..start).unwrap_or(self.text).matches('\n').count() + 1
    }

    /// Where this is, said for people.
    pub(super) fn origin(self, start: usize, key: &str) -> String {
        format!("{}, line {}, {key}", self.path, self.line(start))
    }

    pub(super) fn trouble(self, start: usize, what: &str) -> Trouble {
        Trouble::usage(format!("{}, line {}: {what}", self.path, self.line(start)))
    }
}

/// What is said of a file that cannot be read.
#[cfg(test)]
pub(super) fn refusal(text: &str) -> String {
    parsed("e.toml", text).unwrap_err().message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
        assert_eq!(
            refusal("store = \"sqlite:a.db\"\nrelay-id = \"one\""),
            "e.toml, line 2: the key `relay-id` is not known; did you mean `relay_id`?"
        );
        assert_eq!(
            refusal("\n[leese]\n"),
            "e.toml, line 2: the key `leese` is not known; did you mean `lease`?"
        );
        assert!(refusal("xyzzy = 1").contains("known are store, publisher"));
    }

    #[test]
    fn no_line_of_the_file_is_shown() {
        for text in [
            "stor = \"postgres://u:sesame@h/d\"",
            "store = \"postgres://u:sesame@h/d",
            "store = postgres://u:sesame@h/d",
            "store = \"a\"\nstore = \"sesame\"",
            "store = [\"sesame\"]",
        ] {
            let message = refusal(text);
            assert!(!message.contains("sesame") && message.contains("line "), "{message}");
        }
    }

    #[test]
    fn a_topic_has_a_table_of_its_own() {
        let text =
            "retry_attempts = 3\n[topics.\"orders.created\"]\non_dead = \"hold\"\nretry_attempts = 9\n";
        let file = parsed("e.toml", text).unwrap();
        assert_eq!(file.settings["retry_attempts"].text(), "3");
        let topic = &file.topics["orders.created"].settings;
        assert_eq!((topic["on_dead"].text(), topic["retry_attempts"].text()), ("hold", "9"));
        assert_eq!(topic["on_dead"].origin, "e.toml, line 3, on_dead");
    }

    #[test]
    fn what_is_wrong_in_a_topics_table_is_named_with_its_line() {
        for (text, says) in [
            (
                "[topics.\"t\"]\nretry_attempt = 1",
                "line 2: the key `retry_attempt` is not known; did you mean `retry_attempts`?",
            ),
            ("[topics.\"t\"]\nlease = \"10s\"", "line 2: `lease` cannot be set for one topic"),
            (
                "[topics.\"t\"]\ndead_letter_topic = \"d\"",
                "line 2: `dead_letter_topic` cannot be set for one topic",
            ),
            ("[topics.orders.created]\non_dead = \"hold\"", "put the topic's name in quotes"),
            ("topics = \"t\"", "line 1: `topics` is not a table"),
            ("lease = \"1s\"\nlease = \"2s\"", "line 2: this name was given before"),
            ("[topics]\nt = \"hold\"", "line 2: the topic `t` has no table"),
            (
                "[topic.\"t\"]\non_dead = \"hold\"",
                "line 1: the key `topic` is not known; did you mean `topics`?",
            ),
        ] {
            let message = refusal(text);
            assert!(message.contains(says), "{message}");
        }
    }
}
