//! Where events go that were given up: one topic for all, or one for each topic.

use std::fmt;

use eventferry_core::enqueue::TOPIC_CHARS_MAX;

/// What stands for the event's own topic in a template.
const OWN_TOPIC: &str = "{topic}";

/// The name of the dead-letter topic: fixed, or made from the event's own topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadLetterTopic {
    before: String,
    /// What follows the event's own topic; `None`: the name is fixed.
    after: Option<String>,
}

/// Why a name cannot be that of a dead-letter topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadLetterTopicFault {
    /// It is empty: name a topic, or leave dead letters out.
    Empty,
    /// It is `{topic}` alone: an event given up would go to its own topic. Add something, such as `{topic}.dlq`.
    OwnTopic,
    /// It holds `{topic}` twice, or another brace: write `{topic}` once, or a name without braces.
    Braces,
    /// It holds a zero byte, or is longer than 249 characters, which no topic can be.
    NoTopic,
}

impl fmt::Display for DeadLetterTopicFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the dead-letter topic is empty; name one, or leave it out"),
            Self::OwnTopic => f.write_str(
                "the dead-letter topic is the event's own; add something to it, such as `{topic}.dlq`",
            ),
            Self::Braces => f.write_str(
                "the dead-letter topic has braces that mean nothing; write `{topic}` once, for the event's own \
                 topic, or a name without braces",
            ),
            Self::NoTopic => write!(
                f,
                "the dead-letter topic is longer than {TOPIC_CHARS_MAX} characters or holds a zero byte; name \
                 another"
            ),
        }
    }
}

impl std::error::Error for DeadLetterTopicFault {}

impl DeadLetterTopic {
    /// Reads a name or a template with one `{topic}`.
    pub(crate) fn parse(text: &str) -> Result<Self, DeadLetterTopicFault> {
        let (before, after) = match text.split_once(OWN_TOPIC) {
            Some((before, after)) => (before, Some(after)),
            None => (text, None),
        };
        if text.is_empty() {
            return Err(DeadLetterTopicFault::Empty);
        }
        if text == OWN_TOPIC {
            return Err(DeadLetterTopicFault::OwnTopic);
        }
        let braces = |part: &str| part.contains(['{', '}']);
        if braces(before) || after.is_some_and(braces) {
            return Err(DeadLetterTopicFault::Braces);
        }
        let chars = before.chars().count() + after.map_or(0, |after| after.chars().count());
        if chars > TOPIC_CHARS_MAX || text.contains('\0') {
            return Err(DeadLetterTopicFault::NoTopic);
        }
        Ok(Self { before: before.into(), after: after.map(Into::into) })
    }

    /// The dead-letter topic of events for this one.
    pub(crate) fn of(&self, topic: &str) -> String {
        match &self.after {
            Some(after) => [&self.before, topic, after].concat(),
            None => self.before.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_fixed_and_a_template_takes_the_events_topic() {
        let named = |text: &str| DeadLetterTopic::parse(text).unwrap().of("orders");
        assert_eq!(named("dead"), "dead");
        assert_eq!(named("{topic}.dlq"), "orders.dlq");
        assert_eq!(named("dead.{topic}"), "dead.orders");
        assert_eq!(named("a-{topic}-b"), "a-orders-b");
    }

    #[test]
    fn what_cannot_be_a_topic_is_refused_with_what_would_be() {
        use DeadLetterTopicFault::{Braces, Empty, NoTopic, OwnTopic};
        for (text, fault) in [
            ("", Empty),
            ("{topic}", OwnTopic),
            ("{topic}{topic}", Braces),
            ("{Topic}.dlq", Braces),
            ("dead}", Braces),
            ("{}", Braces),
            ("a\0", NoTopic),
            (&"x".repeat(TOPIC_CHARS_MAX + 1), NoTopic),
        ] {
            let found = DeadLetterTopic::parse(text).unwrap_err();
            assert_eq!(found, fault, "{text:?}");
            assert!(found.to_string().starts_with("the dead-letter topic"), "{found}");
        }
        assert!(DeadLetterTopic::parse(&"x".repeat(TOPIC_CHARS_MAX)).is_ok());
    }
}
