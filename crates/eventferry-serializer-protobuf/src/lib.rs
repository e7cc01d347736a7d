//! Protobuf for eventferry: JSON payloads to Protobuf's wire format and back, as a `.proto` file says.
//!
//! ```
//! use eventferry_schema_registry::{Format as _, Schema as _, SchemaSource};
//! use eventferry_serializer_protobuf::Protobuf;
//!
//! let text = r#"syntax = "proto3";
//!     package shop;
//!     message Order { int64 id = 1; repeated Line lines = 2; message Line { string sku = 1; } }"#;
//! let order = Protobuf.compile(&SchemaSource { text: text.to_owned(), references: Vec::new() })?;
//!
//! let encoded = order.encode(None, br#"{"id": 7, "lines": [{"sku": "a"}]}"#)?;
//! assert_eq!(encoded.body, [8, 7, 18, 3, 10, 1, b'a']);
//! assert_eq!(encoded.message_indexes, [0]);
//! assert_eq!(order.decode(&[0], &encoded.body)?, br#"{"id":"7","lines":[{"sku":"a"}]}"#);
//!
//! let line = order.encode(Some("shop.Order.Line"), br#"{"sku": "a"}"#)?;
//! assert_eq!(line.message_indexes, [0, 0]);
//!
//! let fault = order.encode(None, br#"{"lines": [{"sku": 1}]}"#).unwrap_err();
//! assert_eq!(fault.to_string(), "/lines/0/sku: wants a string, and is a number");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which JSON is which value
//!
//! Protobuf's own JSON mapping (<https://protobuf.dev/programming-guides/json/>), with these answers where it leaves
//! some open or where something could be lost:
//!
//! - A field is known by its name in JSON (`noteText`) and by that in the file (`note_text`). One that the message
//!   does not have is a fault, as are one that is there twice, two of a `oneof`, and a required one of proto2 that is
//!   missing.
//! - Integers are numbers or strings without point and exponent, in range. Never through a float: every digit counts.
//!   Those of 64 bits are written as strings.
//! - Floats are numbers or strings of one, `"NaN"`, `"Infinity"`, `"-Infinity"`; beyond the largest is a fault.
//! - Enums are a name or a number, and written as the name if there is one. A name that the enum does not have is a
//!   fault.
//! - `bytes` are Base64, in either alphabet, with padding or without; written in the standard one with padding.
//! - `null` leaves a field unset, except where it is a value (`google.protobuf.Value`, `NullValue`).
//! - A field of proto3 without presence that is its type's default is not sent and not written.
//! - Well-known types have their own forms: timestamps, durations, field masks, wrappers, structs, and `Any` of a
//!   message of the file or its imports.
//! - Fields are sent in the order of their numbers. Fields that the schema does not know are passed over in decoding.
//!   Extensions are not read and not written.
//!
//! # Schemas
//!
//! Imports are found among [`SchemaSource::references`] by the name that is imported, and `google/protobuf/*.proto`
//! are built in; nothing is opened. `record` asks for a message by its full name, also for a nested one; else it is
//! the first of the file. Message indexes count messages as their descriptors do, in which each `map` field makes a
//! nested message.
//!
//! # Bounds
//!
//! Messages lie at most 128 deep in each other. Lengths that the bytes do not bear out are faults, and take no
//! memory.

mod messages;
mod wire;
mod encode;
mod decode;
#[cfg(test)]
mod tests;

use eventferry_schema_registry::json::{Reader, at_root};
use eventferry_schema_registry::{Encoded, Format, PayloadFault, SchemaFault, SchemaSource, SchemaType};
use prost_reflect::MessageDescriptor;
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use crate::decode::Decoder;
use crate::encode::Encoder;
use crate::messages::{Id, Messages};

/// Protobuf as a [`Format`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Protobuf;

/// A `.proto` file, compiled.
#[derive(Debug)]
pub struct ProtobufSchema {
    messages: Messages,
    /// The file's own messages: their message indexes, their full name.
    own: Vec<(Vec<u32>, String, Id)>,
}

impl Format for Protobuf {
    type Schema = ProtobufSchema;

    fn schema_type(&self) -> SchemaType {
        SchemaType::Protobuf
    }

    fn compile(&self, source: &SchemaSource) -> Result<ProtobufSchema, SchemaFault> {
        let mut name = "schema.proto".to_owned();
        while source.references.iter().any(|(other, _)| *other == name) {
            name.insert(0, '_');
        }
        let mut files = ChainFileResolver::new();
        files.add(Given { name: name.clone(), source: source.clone() });
        files.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(files);
        // Its debug form says at which line.
        compiler.open_file(&name).map_err(|fault| SchemaFault(format!("{fault:?}")))?;
        let pool = compiler.descriptor_pool();
        let messages = Messages::new(&pool);
        let file = pool.get_file_by_name(&name);
        let mut own = Vec::new();
        for (place, message) in file.iter().flat_map(|file| file.messages()).enumerate() {
            list(&messages, message, vec![place as u32], &mut own);
        }
        if own.is_empty() {
            return Err(SchemaFault("the file has no message".to_owned()));
        }
        Ok(ProtobufSchema { messages, own })
    }
}

/// Lists a message and those that are nested in it. Entries of maps are messages too, and count, as in descriptors.
fn list(
    messages: &Messages,
    message: MessageDescriptor,
    indexes: Vec<u32>,
    own: &mut Vec<(Vec<u32>, String, Id)>,
) {
    let name = message.full_name().to_owned();
    let id = messages.named(&name).unwrap_or_default();
    own.push((indexes.clone(), name, id));
    for (place, nested) in message.child_messages().enumerate() {
        list(messages, nested, [&indexes[..], &[place as u32]].concat(), own);
    }
}

/// The texts that a schema came with; nothing else is opened.
struct Given {
    name: String,
    source: SchemaSource,
}

impl FileResolver for Given {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == self.name {
            return File::from_source(name, &self.source.text);
        }
        match self.source.references.iter().find(|(other, _)| other == name) {
            Some((_, text)) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

impl eventferry_schema_registry::Schema for ProtobufSchema {
    fn record(&self) -> Option<&str> {
        self.own.first().map(|(_, name, _)| name.as_str())
    }

    fn encode(&self, record: Option<&str>, json: &[u8]) -> Result<Encoded, PayloadFault> {
        let chosen = match record {
            Some(record) => self.own.iter().find(|(_, name, _)| name == record),
            None => self.own.first(),
        };
        let (indexes, _, id) = chosen
            .ok_or_else(|| at_root(format!("the schema has no message `{}`", record.unwrap_or_default())))?;
        let mut reader = Reader::new(json)?;
        // Shorter than its JSON nearly always.
        let mut body = Vec::with_capacity(json.len());
        Encoder { messages: &self.messages }.message(*id, &mut reader, &mut body, 0)?;
        reader.end()?;
        Ok(Encoded { message_indexes: indexes.clone(), body })
    }

    fn decode(&self, message_indexes: &[u32], body: &[u8]) -> Result<Vec<u8>, PayloadFault> {
        // None at all is the first message, too.
        let message_indexes = if message_indexes.is_empty() { &[0] } else { message_indexes };
        let found = self.own.iter().find(|(indexes, ..)| indexes == message_indexes);
        let (.., id) =
            found.ok_or_else(|| at_root(format!("the schema has no message {message_indexes:?}")))?;
        let mut json = Vec::with_capacity(2 * body.len());
        Decoder { messages: &self.messages }.message(*id, body, &mut json, 0)?;
        Ok(json)
    }
}
