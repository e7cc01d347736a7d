//! A registry as an AsyncAPI document (<https://www.asyncapi.com/docs/reference/specification/v3.0.0>).

use serde_json::{Map, Value, json};

use crate::event_type::EventType;
use crate::ordered;
use crate::registry::Registry;

/// What an AsyncAPI document says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsyncApi<'a> {
    /// The application's name.
    pub title: &'a str,
    /// The document's version, such as `1.0.0`.
    pub version: &'a str,
}

/// Where the schemas are.
const SCHEMAS: &str = "#/components/schemas";

impl Registry {
    /// The events as an AsyncAPI 3.0 document, in JSON: a channel for each topic, a message for each version, and
    /// schemas for payloads and headers. The same registry gives the same bytes.
    ///
    /// A reference inside a schema is one to a place in that schema; in the document it leads there.
    pub fn asyncapi(&self, about: AsyncApi<'_>) -> String {
        let (mut channels, mut operations) = (Map::new(), Map::new());
        let (mut messages, mut schemas) = (Map::new(), Map::new());
        for (topic, listed) in self.topics.iter() {
            let types = || listed.versions.values().map(|listed| &listed.event_type);
            let reference = |label: String| json!({"$ref": format!("#/components/messages/{label}")});
            let of_channel: Map<_, _> =
                types().map(|event_type| (event_type.label(), reference(event_type.label()))).collect();
            let sent: Vec<_> = types()
                .map(|event_type| json!({"$ref": format!("#/channels/{topic}/messages/{}", event_type.label())}))
                .collect();
            channels.insert(topic.clone(), json!({"address": topic, "messages": of_channel}));
            let channel = json!({"$ref": format!("#/channels/{topic}")});
            let operation = json!({"action": "send", "channel": channel, "messages": sent});
            operations.insert(format!("send.{topic}"), operation);
            for event_type in types() {
                messages.insert(event_type.label(), message(event_type));
                if let Some(schema) = &event_type.json_schema {
                    schemas.insert(
                        event_type.label(),
                        within(schema, &format!("{SCHEMAS}/{}", event_type.label())),
                    );
                }
            }
        }
        ordered::pretty(&json!({
            "asyncapi": "3.0.0",
            "info": {"title": about.title, "version": about.version},
            "defaultContentType": "application/json",
            "channels": channels,
            "operations": operations,
            "components": {"messages": messages, "schemas": schemas},
        }))
    }
}

fn message(event_type: &EventType) -> Value {
    let EventType { name, version, aggregate, content_type, .. } = event_type;
    let mut message = json!({
        "name": name,
        "title": format!("{name}, version {version}"),
        "contentType": content_type,
        "headers": {
            "type": "object",
            "properties": {
                "message-id": {"type": "string", "format": "uuid"},
                "aggregate-type": {"type": "string", "const": aggregate},
                "aggregate-id": {"type": "string"},
                "event-type": {"type": "string", "const": name},
                "event-version": {"type": "string", "const": version.to_string()},
            },
        },
    });
    if let Some(fields) = message.as_object_mut() {
        if event_type.json_schema.is_some() {
            let schema = format!("{SCHEMAS}/{}", event_type.label());
            fields.insert("payload".into(), json!({"$ref": schema}));
        }
        for (field, text) in [("x-avro", &event_type.avro), ("x-protobuf", &event_type.protobuf)] {
            if let Some(text) = text {
                fields.insert(field.into(), text.as_str().into());
            }
        }
    }
    message
}

/// A schema whose references to places in itself lead to places below `at`.
fn within(schema: &Value, at: &str) -> Value {
    match schema {
        Value::Object(keywords) => {
            let moved = keywords.iter().map(|(keyword, value)| (keyword.clone(), moved(keyword, value, at)));
            Value::Object(moved.collect())
        }
        Value::Array(schemas) => schemas.iter().map(|schema| within(schema, at)).collect(),
        other => other.clone(),
    }
}

/// What stands at a keyword.
fn moved(keyword: &str, value: &Value, at: &str) -> Value {
    match (keyword, value) {
        ("$ref", Value::String(reference)) => match reference.strip_prefix('#') {
            Some(place) if place.is_empty() || place.starts_with('/') => format!("{at}{place}").into(),
            // An anchor, or another document.
            _ => value.clone(),
        },
        // Names of the application's, whatever they are, and a schema at each.
        (
            "properties" | "patternProperties" | "dependentSchemas" | "$defs" | "definitions",
            Value::Object(named),
        ) => Value::Object(named.iter().map(|(name, schema)| (name.clone(), within(schema, at))).collect()),
        // Values of payloads, in which a `$ref` is only a name.
        ("const" | "enum" | "default" | "examples", _) => value.clone(),
        _ => within(value, at),
    }
}
