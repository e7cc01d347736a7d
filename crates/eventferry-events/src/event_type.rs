//! What is known of one version of one event.

use eventferry_core::enqueue::{AGGREGATE_BYTES_MAX, TOPIC_CHARS_MAX};
use serde_json::Value;

use crate::registry::RegistryFault;
use crate::typed::TypedEvent;

/// The media type of payloads, unless something else is said.
pub(crate) const CONTENT_TYPE_DEFAULT: &str = "application/json";

/// One version of one event: its name, topic, aggregate and schemas.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EventType {
    /// The event's name, as in the header `event-type`.
    pub name: String,
    /// The broker's topic.
    pub topic: String,
    /// The version of the payload's form, 1 or more.
    pub version: u32,
    /// What kind of thing the event is about.
    pub aggregate: String,
    /// The payload's media type.
    pub content_type: String,
    /// The payload's JSON Schema: an object, or `true` or `false`. `None`: any payload will do.
    pub json_schema: Option<Value>,
    /// The text of an Avro schema.
    pub avro: Option<String>,
    /// The text of a Protobuf schema.
    pub protobuf: Option<String>,
    /// Who says so, for messages: a type's name or a file's.
    pub origin: String,
}

impl EventType {
    /// One of `application/json`, without schemas. Whether its parts can be is found when a registry is built of it.
    pub fn new(
        name: impl Into<String>,
        topic: impl Into<String>,
        version: u32,
        aggregate: impl Into<String>,
    ) -> Self {
        let name = name.into();
        let (topic, aggregate, origin) = (topic.into(), aggregate.into(), name.clone());
        let content_type = CONTENT_TYPE_DEFAULT.to_owned();
        let (json_schema, avro, protobuf) = (None, None, None);
        Self { name, topic, version, aggregate, content_type, json_schema, avro, protobuf, origin }
    }

    /// What a Rust type says of itself.
    pub fn of<T: TypedEvent>() -> Self {
        Self {
            content_type: T::CONTENT_TYPE.to_owned(),
            json_schema: T::json_schema(),
            avro: T::AVRO.map(str::to_owned),
            protobuf: T::PROTOBUF.map(str::to_owned),
            origin: std::any::type_name::<T>().to_owned(),
            ..Self::new(T::NAME, T::TOPIC, T::VERSION, T::AGGREGATE)
        }
    }

    /// Adds the payload's JSON Schema.
    #[must_use]
    pub fn json_schema(mut self, schema: Value) -> Self {
        self.json_schema = Some(schema);
        self
    }

    /// The name under which it is filed, such as `orders.created.v2`.
    pub(crate) fn label(&self) -> String {
        format!("{}.v{}", self.topic, self.version)
    }

    /// Whether its parts can be.
    pub(crate) fn check(&self) -> Result<(), RegistryFault> {
        let Self { name, topic, version, aggregate, origin, .. } = self;
        let is_legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let fault = |what: String| Err(RegistryFault::new(format!("{origin}: {what}")));
        if topic.is_empty() || topic.len() > TOPIC_CHARS_MAX || !topic.chars().all(is_legal) || is_dots(topic)
        {
            return fault(format!(
                "`{topic}` is no topic; give 1 to {TOPIC_CHARS_MAX} letters, digits, `.`, `_` and `-`"
            ));
        }
        if *version == 0 {
            return fault("the version is 0; the first is 1".into());
        }
        if name.is_empty() || name.contains(char::is_control) {
            return fault(
                "an event's name is at least one character, and none of them a control character".into(),
            );
        }
        if aggregate.is_empty() || aggregate.len() > AGGREGATE_BYTES_MAX || aggregate.contains('\0') {
            return fault(format!("an aggregate is 1 to {AGGREGATE_BYTES_MAX} bytes without a zero byte"));
        }
        if !self.json_schema.as_ref().is_none_or(|schema| schema.is_object() || schema.is_boolean()) {
            return fault("a JSON Schema is an object, or true or false".into());
        }
        Ok(())
    }
}

/// Names that Kafka keeps from being folders.
fn is_dots(topic: &str) -> bool {
    topic == "." || topic == ".."
}
