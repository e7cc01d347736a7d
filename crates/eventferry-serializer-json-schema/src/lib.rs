//! JSON Schema for eventferry: payloads are held against a schema and pass untouched.
//!
//! ```
//! use eventferry_schema_registry::{Format as _, Schema as _, SchemaSource};
//! use eventferry_serializer_json_schema::JsonSchema;
//!
//! let text = r#"{"title": "Order", "type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}"#;
//! let order = JsonSchema.compile(&SchemaSource { text: text.to_owned(), references: Vec::new() })?;
//! assert_eq!(order.record(), Some("Order"));
//!
//! let json = br#"{"z": 1.10, "id": 9007199254740993}"#;
//! assert_eq!(order.encode(None, json)?.body, json);
//!
//! let fault = order.encode(None, br#"{"id": "x"}"#).unwrap_err();
//! assert_eq!(fault.to_string(), "/id: the value is not of type \"integer\" (the schema's /properties/id/type)");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - *Untouched*: what is sent are the payload's own bytes, with the order of its keys, its white space and every
//!   digit. The rules see numbers that are no 64-bit integers as the nearest float, and of a key that is there twice
//!   the last.
//! - *Drafts* 4 to 2020-12, by `$schema`; a schema that names none is of draft 7, as Confluent's serializers have it.
//!   `format` is checked where its draft says so.
//! - *References* (`$ref`) are found among [`SchemaSource::references`]: by the name as it is, by `$id`, or, where
//!   the name is relative, behind the schema's own address. Nothing is fetched from the network or from files, for
//!   this crate builds `jsonschema` without what could.
//! - *A fault* has the place as a JSON pointer and the rule as one into the schema, and nothing of the value. Of
//!   several it is the first.
//! - *The record* that subjects are named after is the schema's `title`.

use std::error::Error;

use eventferry_schema_registry::{Encoded, Format, PayloadFault, SchemaFault, SchemaSource, SchemaType};
use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, Retrieve, Uri, ValidationError, Validator};
use serde_json::Value;

#[cfg(test)]
mod tests;

/// JSON Schema as a [`Format`].
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonSchema;

/// A JSON Schema, compiled.
#[derive(Debug)]
pub struct CompiledJsonSchema {
    validator: Validator,
    title: Option<String>,
}

impl Format for JsonSchema {
    type Schema = CompiledJsonSchema;

    fn schema_type(&self) -> SchemaType {
        SchemaType::Json
    }

    fn compile(&self, source: &SchemaSource) -> Result<CompiledJsonSchema, SchemaFault> {
        let schema = parsed(&source.text).map_err(SchemaFault)?;
        let mut given = Given { schemas: Vec::with_capacity(source.references.len()) };
        for (name, text) in &source.references {
            let schema = parsed(text)
                .map_err(|fault| SchemaFault(format!("the schema `{name}` that is referred to: {fault}")))?;
            given.schemas.push((name.clone(), schema));
        }
        // Relative references need an address to be relative to.
        let mut options = jsonschema::options().with_retriever(given).with_base_uri("schema:///");
        if schema.get("$schema").is_none() {
            options = options.with_draft(Draft::Draft7);
        }
        let validator = options.build(&schema).map_err(|fault| SchemaFault(not_compiled(&fault)))?;
        let title = schema.get("title").and_then(Value::as_str).map(str::to_owned);
        Ok(CompiledJsonSchema { validator, title })
    }
}

impl eventferry_schema_registry::Schema for CompiledJsonSchema {
    fn record(&self) -> Option<&str> {
        self.title.as_deref()
    }

    fn encode(&self, record: Option<&str>, json: &[u8]) -> Result<Encoded, PayloadFault> {
        if let Some(record) = record
            && self.record() != Some(record)
        {
            return Err(at("", format!("the schema's title is not `{record}`")));
        }
        self.validate(json)?;
        Ok(Encoded { message_indexes: Vec::new(), body: json.to_vec() })
    }

    fn decode(&self, _: &[u32], body: &[u8]) -> Result<Vec<u8>, PayloadFault> {
        self.validate(body)?;
        Ok(body.to_vec())
    }
}

impl CompiledJsonSchema {
    fn validate(&self, json: &[u8]) -> Result<(), PayloadFault> {
        let value: Value = serde_json::from_slice(json).map_err(|fault| {
            at(
                "",
                format!(
                    "this is not JSON, or has numbers beyond all floats: line {}, column {}",
                    fault.line(),
                    fault.column()
                ),
            )
        })?;
        self.validator.validate(&value).map_err(|fault| unfit(&fault))
    }
}

/// The schemas that one came with; nothing is fetched.
struct Given {
    schemas: Vec<(String, Value)>,
}

impl Retrieve for Given {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn Error + Send + Sync>> {
        let uri = uri.as_str();
        let named = |(name, _): &&(String, Value)| *name == uri;
        let identified = |(_, schema): &&(String, Value)| schema.get("$id").is_some_and(|id| id == uri);
        // A relative name was resolved against the schema's own address, whatever that is.
        let relative = |(name, _): &&(String, Value)| {
            uri.strip_suffix(name.trim_start_matches("./")).is_some_and(|before| before.ends_with('/'))
        };
        let mut schemas = self.schemas.iter();
        let found = schemas
            .clone()
            .find(named)
            .or_else(|| schemas.clone().find(identified))
            .or_else(|| schemas.by_ref().filter(relative).max_by_key(|(name, _)| name.len()));
        match found {
            Some((_, schema)) => Ok(schema.clone()),
            None => {
                Err(format!("`{uri}` is not among the schema's references, and nothing is fetched").into())
            }
        }
    }
}

fn parsed(text: &str) -> Result<Value, String> {
    let schema: Value = serde_json::from_str(text).map_err(|fault| format!("it is not JSON: {fault}"))?;
    match schema {
        Value::Object(_) | Value::Bool(_) => Ok(schema),
        _ => Err("a JSON Schema is an object, true or false".to_owned()),
    }
}

fn not_compiled(fault: &ValidationError<'_>) -> String {
    // What could not be found is said by the fault behind.
    let behind = match fault.kind() {
        ValidationErrorKind::Referencing(referencing) => Error::source(referencing),
        _ => None,
    };
    let path = fault.instance_path().as_str();
    let message = behind.map_or_else(|| fault.to_string(), ToString::to_string);
    if path.is_empty() { message } else { format!("{path}: {message}") }
}

/// What does not fit, without its value, and the rule that says so.
fn unfit(fault: &ValidationError<'_>) -> PayloadFault {
    let path = fault.instance_path().as_str();
    let rule = fault.schema_path().as_str();
    let by = |what: String| format!("{what} (the schema's {rule})");
    match fault.kind() {
        ValidationErrorKind::Required { property: Value::String(name) } => {
            at(&below(path, name), by("is missing".to_owned()))
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let path = unexpected.first().map_or_else(|| path.to_owned(), |name| below(path, name));
            at(&path, by("is not allowed".to_owned()))
        }
        // Their messages show items.
        ValidationErrorKind::UnevaluatedItems { .. } | ValidationErrorKind::AdditionalItems { .. } => {
            at(path, by("has items that are not allowed".to_owned()))
        }
        ValidationErrorKind::PropertyNames { .. } => {
            at(path, by("has names that are not allowed".to_owned()))
        }
        ValidationErrorKind::FromUtf8 { .. } => at(path, by("is no text".to_owned())),
        _ => at(path, by(fault.masked_with("the value").to_string())),
    }
}

fn below(path: &str, name: &str) -> String {
    format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn at(path: &str, message: String) -> PayloadFault {
    PayloadFault { path: path.to_owned(), message }
}
