//! Protobuf.

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

/// The format.
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
