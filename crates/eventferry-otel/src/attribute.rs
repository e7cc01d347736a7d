//! The names that the semantic conventions give, version 1.44.0, and the attributes that all our spans have in common.
//!
//! Written out here, for the crate of names has those that are in development behind a feature, and these are few.
//! <https://github.com/open-telemetry/semantic-conventions/blob/v1.44.0/docs/messaging/messaging-spans.md>,
//! <https://github.com/open-telemetry/semantic-conventions/blob/v1.44.0/docs/messaging/kafka.md>

use std::borrow::Cow;

use eventferry_core::MessageId;
use opentelemetry::KeyValue;

pub(crate) const SYSTEM: &str = "messaging.system";
pub(crate) const OPERATION_NAME: &str = "messaging.operation.name";
pub(crate) const OPERATION_TYPE: &str = "messaging.operation.type";
pub(crate) const DESTINATION: &str = "messaging.destination.name";
pub(crate) const PARTITION: &str = "messaging.destination.partition.id";
pub(crate) const MESSAGE_ID: &str = "messaging.message.id";
/// "Sometimes called Correlation ID."
pub(crate) const CONVERSATION_ID: &str = "messaging.message.conversation_id";
pub(crate) const CONSUMER_GROUP: &str = "messaging.consumer.group.name";
pub(crate) const KAFKA_KEY: &str = "messaging.kafka.message.key";
pub(crate) const KAFKA_TOMBSTONE: &str = "messaging.kafka.message.tombstone";
pub(crate) const KAFKA_OFFSET: &str = "messaging.kafka.offset";
pub(crate) const ERROR_TYPE: &str = "error.type";

/// The value of [`SYSTEM`] for which the attributes of Kafka's own page are set.
pub(crate) const KAFKA: &str = "kafka";

/// The longest key that becomes an attribute, in bytes; a longer one is left out.
pub(crate) const KEY_BYTES_MAX: usize = 256;

/// What is done with a message: the name and the type, which for us are one word.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Create,
    Send,
    Process,
}

impl Operation {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Send => "send",
            Self::Process => "process",
        }
    }

    /// A span's name: the operation and what it is done to.
    pub(crate) fn span_name(self, topic: &str) -> String {
        format!("{} {topic}", self.word())
    }
}

/// Attributes in the making.
#[derive(Debug)]
pub(crate) struct Attributes {
    is_kafka: bool,
    list: Vec<KeyValue>,
}

impl Attributes {
    /// Those that every span has.
    pub(crate) fn of(system: Cow<'static, str>, operation: Operation, topic: &str) -> Self {
        let (is_kafka, mut list) = (system == KAFKA, Vec::with_capacity(10));
        list.extend([
            KeyValue::new(SYSTEM, system),
            KeyValue::new(OPERATION_NAME, operation.word()),
            KeyValue::new(OPERATION_TYPE, operation.word()),
            KeyValue::new(DESTINATION, topic.to_owned()),
        ]);
        Self { is_kafka, list }
    }

    pub(crate) fn message(&mut self, id: Option<MessageId>) {
        self.list.extend(id.map(|id| KeyValue::new(MESSAGE_ID, id.to_string())));
    }

    pub(crate) fn conversation(&mut self, id: Option<&[u8]>) {
        let id = id.filter(|id| id.len() <= KEY_BYTES_MAX).and_then(|id| std::str::from_utf8(id).ok());
        self.list.extend(id.map(|id| KeyValue::new(CONVERSATION_ID, id.to_owned())));
    }

    pub(crate) fn partition(&mut self, partition: Option<i32>) {
        self.list.extend(partition.map(|partition| KeyValue::new(PARTITION, partition.to_string())));
    }

    /// Only what is text: "if the key has no unambiguous, canonical string form, don't include its value".
    pub(crate) fn key(&mut self, key: &[u8]) {
        if self.is_kafka && key.len() <= KEY_BYTES_MAX {
            let key = std::str::from_utf8(key).ok();
            self.list.extend(key.map(|key| KeyValue::new(KAFKA_KEY, key.to_owned())));
        }
    }

    pub(crate) fn tombstone(&mut self, is_tombstone: bool) {
        if self.is_kafka && is_tombstone {
            self.list.push(KeyValue::new(KAFKA_TOMBSTONE, true));
        }
    }

    pub(crate) fn offset(&mut self, offset: Option<i64>) {
        if self.is_kafka {
            self.list.extend(offset.map(|offset| KeyValue::new(KAFKA_OFFSET, offset)));
        }
    }

    pub(crate) fn group(&mut self, group: Option<String>) {
        self.list.extend(group.map(|group| KeyValue::new(CONSUMER_GROUP, group)));
    }

    pub(crate) fn into_list(self) -> Vec<KeyValue> {
        self.list
    }
}
