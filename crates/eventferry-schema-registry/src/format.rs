//! What a format of payloads does: JSON in, bytes that a schema describes out, and back.

use std::fmt;

/// A format as registries name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SchemaType {
    /// `AVRO`, the one that is meant where none is named.
    Avro,
    /// `PROTOBUF`.
    Protobuf,
    /// `JSON`.
    Json,
}

impl SchemaType {
    /// As registries spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Protobuf => "PROTOBUF",
            Self::Json => "JSON",
        }
    }
}

/// A schema's text, and those of the schemas it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaSource {
    /// The schema itself.
    pub text: String,
    /// What it refers to, and what those refer to, each once and before whoever refers to it: the name by which it is
    /// referred to (an import, a full name, a URI), and its text.
    pub references: Vec<(String, String)>,
}

/// A format: compiles schemas.
pub trait Format: Send + Sync + 'static {
    /// A schema that was compiled.
    type Schema: Schema;

    /// Which one it is.
    fn schema_type(&self) -> SchemaType;

    /// Compiles a schema.
    ///
    /// # Errors
    /// It is none of this format; the message says where.
    fn compile(&self, source: &SchemaSource) -> Result<Self::Schema, SchemaFault>;
}

/// A schema that was compiled: reads and writes payloads.
pub trait Schema: Send + Sync + 'static {
    /// The full name of the record that is written unless another is asked for: what subjects by record are named
    /// after. `None`: the schema names none.
    fn record(&self) -> Option<&str>;

    /// Turns a JSON payload into the format's bytes. `record`: the full name of the message to write, where a schema
    /// has several; `None`: its first.
    ///
    /// # Errors
    /// The payload does not fit; the fault names the field and shows nothing of its value.
    fn encode(&self, record: Option<&str>, json: &[u8]) -> Result<Encoded, PayloadFault>;

    /// Turns the format's bytes into JSON. `message_indexes` as they were sent.
    ///
    /// # Errors
    /// The bytes do not fit the schema.
    fn decode(&self, message_indexes: &[u32], body: &[u8]) -> Result<Vec<u8>, PayloadFault>;
}

/// A payload in its format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Which message of a Protobuf schema it is: its index, and for a nested one those of the messages around it
    /// before. Empty for other formats.
    pub message_indexes: Vec<u32>,
    /// The bytes.
    pub body: Vec<u8>,
}

/// A schema cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaFault(pub String);

impl fmt::Display for SchemaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SchemaFault {}

/// A payload does not fit its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadFault {
    /// Where, as a JSON pointer (RFC 6901); empty: the payload as a whole.
    pub path: String,
    /// What is wrong and what would be right; no value of the payload's.
    pub message: String,
}

impl fmt::Display for PayloadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "the payload" } else { &self.path };
        write!(f, "{path}: {}", self.message)
    }
}

impl std::error::Error for PayloadFault {}
