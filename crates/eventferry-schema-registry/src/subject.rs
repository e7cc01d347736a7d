//! Under which name a schema is registered.

use crate::framing::Part;

/// How subjects are named, after Confluent's strategies of these names
/// (<https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#subject-name-strategy>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubjectStrategy {
    /// After the topic: `orders-value`, `orders-key`. All events of a topic have one schema.
    #[default]
    Topic,
    /// After the record: `shop.Order`. A topic may have events of several schemas, and topics share them.
    Record,
    /// After both: `orders-shop.Order`. A topic may have events of several schemas of its own.
    TopicRecord,
}

impl SubjectStrategy {
    /// Whether a subject's name has the record's in it.
    pub fn needs_record(self) -> bool {
        self != Self::Topic
    }

    /// The subject of a part of the messages of a topic; `record` is looked at where it is needed.
    pub fn subject(self, topic: &str, part: Part, record: &str) -> String {
        match self {
            Self::Topic => format!("{topic}-{}", part.name()),
            Self::Record => record.to_owned(),
            Self::TopicRecord => format!("{topic}-{record}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_named_as_confluents_clients_name_them() {
        for (strategy, subject) in [
            (SubjectStrategy::Topic, "orders-key"),
            (SubjectStrategy::Record, "shop.Order"),
            (SubjectStrategy::TopicRecord, "orders-shop.Order"),
        ] {
            assert_eq!(strategy.subject("orders", Part::Key, "shop.Order"), subject);
        }
        assert_eq!(SubjectStrategy::default().subject("orders", Part::Value, ""), "orders-value");
    }
}
