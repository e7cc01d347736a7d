//! Topics under other names at the broker.

use std::borrow::Cow;
use std::collections::BTreeMap;

use eventferry_core::PublishFault;

use crate::config::wrong;
use crate::url::pairs;

/// What the names of events' topics become at the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mapping {
    prefix: String,
    names: BTreeMap<String, String>,
}

impl Mapping {
    /// Those that are named become what is said; all others get the prefix.
    ///
    /// # Errors
    /// `Misconfigured`: a name that no broker takes.
    pub(crate) fn of(prefix: &str, names: &BTreeMap<String, String>) -> Result<Self, PublishFault> {
        // Kafka's rule for names.
        let fits = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
        if !fits(prefix) {
            return Err(wrong(
                "topic_prefix holds what no topic's name may: give letters, digits, `.`, `-` and `_`",
            ));
        }
        if names.iter().any(|(from, to)| from.is_empty() || to.is_empty() || !fits(to)) {
            return Err(wrong(
                "topic_map holds a name that no topic may have: give names of letters, digits, `.`, `-` and `_`",
            ));
        }
        Ok(Self { prefix: prefix.to_owned(), names: names.clone() })
    }

    /// The broker's name of a topic.
    pub(crate) fn name<'a>(&'a self, topic: &'a str) -> Cow<'a, str> {
        match self.names.get(topic) {
            Some(name) => Cow::Borrowed(name),
            None if self.prefix.is_empty() => Cow::Borrowed(topic),
            None => Cow::Owned(format!("{}{topic}", self.prefix)),
        }
    }
}

/// Reads `name:other,name:other`.
pub(crate) fn names(text: &str) -> Result<BTreeMap<String, String>, PublishFault> {
    pairs(text, ':').ok_or_else(|| {
        wrong("topic_map is no list of names: give event-topic:broker-topic,event-topic:broker-topic")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_topic_becomes_what_is_said_and_any_other_gets_the_prefix() {
        let mapping = Mapping::of("prod.", &names("orders:shop.orders, bills:bills").unwrap()).unwrap();
        for (topic, name) in [("orders", "shop.orders"), ("bills", "bills"), ("users", "prod.users")] {
            assert_eq!(mapping.name(topic), name);
        }
        assert_eq!(Mapping::default().name("orders"), "orders");
    }

    #[test]
    fn what_no_broker_takes_is_refused() {
        for (prefix, map) in [("a b", ""), ("", "orders:"), ("", "orders:a/b"), ("", ":a")] {
            assert!(Mapping::of(prefix, &names(map).unwrap()).is_err(), "{prefix} {map}");
        }
        assert!(names("orders").unwrap_err().to_string().contains("event-topic:broker-topic"));
    }
}
