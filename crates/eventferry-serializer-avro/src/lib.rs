//! Avro for eventferry: JSON payloads to Avro's binary form and back, as a schema says.
//!
//! ```
//! use eventferry_schema_registry::{Format as _, Schema as _, SchemaSource};
//! use eventferry_serializer_avro::Avro;
//!
//! let text = r#"{"type": "record", "name": "shop.Order", "fields": [
//!     {"name": "id", "type": "long"},
//!     {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
//!     {"name": "note", "type": ["null", "string"], "default": null}]}"#;
//! let order = Avro.compile(&SchemaSource { text: text.to_owned(), references: Vec::new() })?;
//! assert_eq!(order.record(), Some("shop.Order"));
//!
//! let encoded = order.encode(None, br#"{"id": 7, "total": 12.5}"#)?;
//! assert_eq!(encoded.body, [14, 4, 0x04, 0xe2, 0]);
//! assert_eq!(order.decode(&[], &encoded.body)?, br#"{"id":7,"total":"12.50","note":null}"#);
//!
//! let fault = order.encode(None, br#"{"id": 7, "total": 12.505}"#).unwrap_err();
//! assert_eq!(fault.to_string(), "/total: wants at most 2 digits behind the point");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which JSON is which value
//!
//! Plain JSON as people write it, and Avro's own JSON encoding
//! (<https://avro.apache.org/docs/1.12.0/specification/#json-encoding>). What is decoded is written in the plain
//! form, in one way for each value, and encoding that gives the same bytes again.
//!
//! What is written in decoding is said where there are several ways to write a value.
//!
//! - record: an object. A field that is missing takes its default and is a fault if it has none; one that the record
//!   does not have is a fault, as is one that is there twice
//! - `int`, `long`: a number without point and exponent, in range. Never through a float: every digit counts
//! - `float`, `double`: a number that is not beyond the largest, `"NaN"`, `"Infinity"`, `"-Infinity"`. Written as the
//!   shortest text that is the same number, whole ones as `5.0`
//! - `bytes`, `fixed`: a string of characters U+0000 to U+00FF, each for the byte of its number, as in Avro's own
//!   encoding and in the defaults of schemas. Not Base64: a text would then mean two things
//! - enum: its symbol
//! - map: an object; a key that is there twice is a fault
//! - `decimal`: a number or a string of one, digit by digit; a digit too many is a fault, zeros at the end are none.
//!   Written as a string with all digits behind the point
//! - `uuid`: a string of 8-4-4-4-12 hexadecimal digits
//! - `date`: `"2024-02-29"`, or the days as a number
//! - `time-*`: `"23:59:59.5"`, or the number
//! - `timestamp-*`: RFC 3339 with an offset, or the number. Written in UTC, with 0, 3, 6 or 9 digits of a second.
//!   Finer than what the schema counts in is a fault
//! - `local-timestamp-*`: the same without offset
//!
//! A date or time that has no text (before the year 0, after 9999, 24 hours and more) is written as a number. Other
//! logical types, and those on types where they do not belong, are ignored, as the spec wants it.
//!
//! # Unions
//!
//! 1. `null` is the branch `null`.
//! 2. An object whose only key is the name of a branch (`string`, `shop.Card`) is Avro's own encoding, and its value
//!    is of that branch.
//! 3. Any other value is of the first branch, in the schema's order, that fits. An object fits a record if each key
//!    is a field and each field without default is there; deeper is not looked.
//! 4. Where only one branch takes a value of that kind, what is wrong with the value is said of that branch.
//!
//! In decoding a value is written plainly if these rules lead back to its branch, else with the branch's name.
//!
//! # Schemas
//!
//! Names of other schemas are known if they are among [`SchemaSource::references`]. Where the schema is a union of
//! records, `record` asks for one of them by its full name. A schema that is `bytes` and nothing around it goes
//! without its length, as the clients of such registries have it.
//!
//! # Bounds
//!
//! Values lie at most 128 deep in each other, a payload has at most 64 MiB in binary, decimals at most 4096 digits.
//! Counts and lengths that the bytes do not bear out are faults, and take no memory.

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

/// Avro as a [`Format`].
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
