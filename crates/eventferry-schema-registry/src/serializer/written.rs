//! Payloads and keys as they are written by a schema.

use std::fmt;
use std::sync::Arc;

use eventferry_core::{Header, NotSerialized, PublishFault, PublishFaultKind};

use super::learned::Asked;
use super::{Others, PAYLOAD_MISMATCH, PartSchema};
use crate::format::{PayloadFault, Schema, SchemaType};
use crate::framing::{Framing, Part, SchemaId, write_message_indexes};

/// Writes a part of messages by one schema.
pub(super) struct Writer {
    pub(super) schema: Arc<dyn Schema>,
    /// Which of the schema's records; `None`: its first.
    pub(super) record: Option<String>,
    pub(super) schema_type: SchemaType,
    pub(super) part: Part,
    pub(super) framing: Framing,
    pub(super) id: SchemaId,
    /// For people.
    pub(super) subject: String,
    pub(super) asked: Asked,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("id", &self.id).field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl Writer {
    /// The media type of what it writes; `None`: as it was.
    pub(super) fn content_type(&self) -> Option<&'static str> {
        Some(match (self.framing, self.schema_type) {
            (Framing::Prefix, SchemaType::Avro) => "application/vnd.confluent.avro",
            (Framing::Prefix, SchemaType::Protobuf) => "application/vnd.confluent.protobuf",
            (Framing::Prefix, SchemaType::Json) => "application/vnd.confluent.json",
            (Framing::Header, SchemaType::Avro) => "application/avro",
            (Framing::Header, SchemaType::Protobuf) => "application/protobuf",
            (Framing::Header, SchemaType::Json) => return None,
        })
    }

    /// Writes a payload; with a header where the schema is named in one.
    pub(super) fn value(&self, json: &[u8]) -> Result<(Vec<u8>, Option<Header>), NotSerialized> {
        self.write(json).map_err(|fault| self.refused(&fault))
    }

    /// Writes a key: its text as a string, or else as the JSON that it is.
    pub(super) fn key(&self, key: &[u8]) -> Result<(Vec<u8>, Option<Header>), NotSerialized> {
        let Ok(text) = std::str::from_utf8(key) else {
            let message = "it is not UTF-8, and so neither a text nor JSON".to_owned();
            return Err(self.refused(&PayloadFault { path: String::new(), message }));
        };
        let string = serde_json::Value::from(text).to_string();
        let written = self.write(string.as_bytes()).or_else(|as_text| {
            match serde_json::from_slice::<serde::de::IgnoredAny>(key) {
                Ok(_) => self.write(key),
                Err(_) => Err(as_text),
            }
        });
        written.map_err(|fault| self.refused(&fault))
    }

    fn write(&self, json: &[u8]) -> Result<(Vec<u8>, Option<Header>), PayloadFault> {
        let encoded = self.schema.encode(self.record.as_deref(), json)?;
        let mut named = Vec::with_capacity(24);
        self.id.write(&mut named);
        if self.schema_type == SchemaType::Protobuf {
            write_message_indexes(&encoded.message_indexes, &mut named);
        }
        Ok(match self.framing {
            Framing::Prefix => {
                named.extend_from_slice(&encoded.body);
                (named, None)
            }
            Framing::Header => {
                (encoded.body, Some(Header { name: self.part.header().to_owned(), value: named }))
            }
        })
    }

    fn refused(&self, fault: &PayloadFault) -> NotSerialized {
        let place = match self.part {
            Part::Key => "in the key, ",
            Part::Value => "",
        };
        let what =
            format!("{place}{fault}; it is to fit the schema with {} of subject {}", self.id, self.subject);
        mismatch(what)
    }
}

fn mismatch(what: String) -> NotSerialized {
    let fault = PublishFault::new(PublishFaultKind::Rejected, what).of_class(PAYLOAD_MISMATCH);
    NotSerialized::Refused(Box::new(fault))
}

/// Whether a media type is JSON's, or one built on it (RFC 6839).
pub(super) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
}

/// Lets a payload pass that is not JSON, or refuses it.
pub(super) fn passes(schema: &PartSchema, content_type: &str) -> Result<(), NotSerialized> {
    let is_written = content_type.starts_with("application/vnd.confluent.");
    if schema.others == Others::Pass || is_written {
        return Ok(());
    }
    Err(mismatch(format!(
        "the payload is {content_type}, and its topic takes JSON, to be written by its schema: enqueue JSON, or let \
         others pass"
    )))
}

/// Whether a key is written by a schema already: no text begins with the byte 0.
pub(super) fn is_framed_key(key: &[u8]) -> bool {
    key.len() >= 5 && key[0] == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_known_by_its_media_type() {
        for json in
            ["application/json", "Application/JSON; charset=utf-8", "text/json", "application/vnd.shop+json"]
        {
            assert!(is_json(json), "{json}");
        }
        for other in
            ["", "text/plain", "application/avro", "application/vnd.confluent.json", "application/jsonl"]
        {
            assert!(!is_json(other), "{other}");
        }
    }
}
