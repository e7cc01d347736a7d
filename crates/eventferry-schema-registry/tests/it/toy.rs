//! A tiny format: a schema is a JSON Schema whose one keyword of ours, `fields`, names the fields that a payload must
//! have, and a record; the bytes are the payload behind the schema's length. The registry takes it for JSON Schema.

use eventferry_schema_registry::{
    Encoded, Format, PayloadFault, Schema, SchemaFault, SchemaSource, SchemaType,
};
use serde_json::Value;

/// The format, under whichever name.
pub(crate) struct Toy(pub(crate) SchemaType);

pub(crate) struct ToySchema {
    record: Option<String>,
    fields: Vec<String>,
    indexes: Vec<u32>,
    /// How many schemas it refers to, all in all.
    references: usize,
    is_text: bool,
}

/// A toy schema's text.
pub(crate) fn schema(record: &str, fields: &[&str]) -> String {
    serde_json::json!({ "title": record, "type": "object", "required": fields }).to_string()
}

/// One that takes strings.
pub(crate) fn text() -> String {
    serde_json::json!({ "type": "string" }).to_string()
}

impl Format for Toy {
    type Schema = ToySchema;

    fn schema_type(&self) -> SchemaType {
        self.0
    }

    fn compile(&self, source: &SchemaSource) -> Result<ToySchema, SchemaFault> {
        let json: Value =
            serde_json::from_str(&source.text).map_err(|_| SchemaFault("it is no JSON".to_owned()))?;
        let fields = json["required"].as_array().cloned().unwrap_or_default();
        Ok(ToySchema {
            record: json["title"].as_str().map(str::to_owned),
            fields: fields.iter().filter_map(|field| field.as_str().map(str::to_owned)).collect(),
            indexes: if self.0 == SchemaType::Protobuf { vec![1, 0] } else { Vec::new() },
            references: source.references.len(),
            is_text: json["type"] == "string",
        })
    }
}

impl Schema for ToySchema {
    fn record(&self) -> Option<&str> {
        self.record.as_deref()
    }

    fn encode(&self, record: Option<&str>, json: &[u8]) -> Result<Encoded, PayloadFault> {
        let fault = |path: &str, message: &str| PayloadFault { path: path.into(), message: message.into() };
        let value: Value = serde_json::from_slice(json).map_err(|_| fault("", "it is no JSON"))?;
        if self.is_text != value.is_string() {
            return Err(fault("", "it is of another type"));
        }
        if let Some(missing) = self.fields.iter().find(|field| value.get(field.as_str()).is_none()) {
            return Err(fault(&format!("/{missing}"), "it is missing"));
        }
        let mut body = format!("{}|{}|", record.unwrap_or_default(), self.references).into_bytes();
        body.extend_from_slice(json);
        Ok(Encoded { message_indexes: self.indexes.clone(), body })
    }

    fn decode(&self, message_indexes: &[u32], body: &[u8]) -> Result<Vec<u8>, PayloadFault> {
        let fault = |message: &str| PayloadFault { path: String::new(), message: message.into() };
        if message_indexes != self.indexes {
            return Err(fault("it is another message"));
        }
        let mut bars = body.iter().enumerate().filter(|(_, byte)| **byte == b'|');
        match bars.nth(1) {
            Some((at, _)) => Ok(body[at + 1..].to_vec()),
            None => Err(fault("it was cut off")),
        }
    }
}
