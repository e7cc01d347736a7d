//! Avro.

mod schema;
mod parse;
mod encode;
mod decode;
mod decimal;
mod time;
mod uuid;
mod latin1;
#[cfg(test)]
mod tests;

use eventferry_schema_registry::{Encoded, Format, PayloadFault, SchemaFault, SchemaSource, SchemaType};

use crate::decode::Decoder;
use crate::encode::Encoder;
use crate::schema::{Id, Type, Types};
use eventferry_schema_registry::json::{Reader, at_root};

/// The format.
#[derive(Clone, Copy, Debug, Default)]
pub struct Avro;

/// A schema of Avro's, compiled.
#[derive(Debug)]
pub struct AvroSchema {
    types: Types,
    root: Id,
}

impl Format for Avro {
    type Schema = AvroSchema;

    fn schema_type(&self) -> SchemaType {
        SchemaType::Avro
    }

    fn compile(&self, source: &SchemaSource) -> Result<AvroSchema, SchemaFault> {
        let (types, root) = parse::parse(source)?;
        Ok(AvroSchema { types, root })
    }
}

impl eventferry_schema_registry::Schema for AvroSchema {
    fn record(&self) -> Option<&str> {
        self.types.get(self.root).full_name()
    }

    fn encode(&self, record: Option<&str>, json: &[u8]) -> Result<Encoded, PayloadFault> {
        let mut reader = Reader::new(json)?;
        // Binary is shorter than its JSON nearly always.
        let mut body = Vec::with_capacity(json.len());
        let id = self.chosen(record, &mut body)?;
        Encoder::of_payloads(&self.types).value(id, &mut reader, &mut body, 0)?;
        reader.end()?;
        if self.is_bytes() {
            decode::drop_length(&mut body)?;
        }
        Ok(Encoded { message_indexes: Vec::new(), body })
    }

    fn decode(&self, _: &[u32], body: &[u8]) -> Result<Vec<u8>, PayloadFault> {
        let with_length = self.is_bytes().then(|| encode::with_length(body));
        let mut decoder = Decoder::new(&self.types, with_length.as_deref().unwrap_or(body));
        let mut json = Vec::with_capacity(2 * body.len());
        decoder.value(self.root, &mut json, 0)?;
        decoder.end()?;
        Ok(json)
    }
}

impl AvroSchema {
    /// A schema that is `bytes` and nothing around it: the clients of this kind of registry send those as they are,
    /// without the length that Avro puts before them.
    fn is_bytes(&self) -> bool {
        matches!(self.types.get(self.root), Type::Bytes(_))
    }

    /// The type that is to be written; where it is a branch of the schema's union, its place is written before it.
    fn chosen(&self, record: Option<&str>, body: &mut Vec<u8>) -> Result<Id, PayloadFault> {
        let Some(record) = record else { return Ok(self.root) };
        let root = self.types.get(self.root);
        if root.full_name() == Some(record) {
            return Ok(self.root);
        }
        if let Type::Union(union) = root
            && let Some(place) = union.named(record)
        {
            encode::write_long(body, place as i64);
            return Ok(union.branches[place].id);
        }
        Err(at_root(format!("the schema describes no `{record}`")))
    }
}
