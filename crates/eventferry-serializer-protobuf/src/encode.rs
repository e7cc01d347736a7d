//! JSON to the wire, in one pass over the text.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use eventferry_schema_registry::PayloadFault;
use eventferry_schema_registry::json::{Kind as JsonKind, Reader, at_root, deeper, within};
use prost_reflect::DynamicMessage;
use prost_reflect::prost::Message as _;

use crate::messages::{Enum, Field, Id, Kind, Mapping, Message, Messages, Scalar, Shape};
use crate::wire::{Bits, WireType, put_length, write_tag, write_varint, zigzag};

/// Base64 as the JSON mapping reads it: either alphabet, with padding or without.
const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);

/// Writes messages.
#[derive(Clone, Copy)]
pub(crate) struct Encoder<'m> {
    pub(crate) messages: &'m Messages,
}

impl<'m> Encoder<'m> {
    /// Reads the next value and writes it as a message, without a length.
    pub(crate) fn message(
        &self,
        id: Id,
        reader: &mut Reader<'_>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), PayloadFault> {
        let depth = deeper(depth)?;
        let message = &self.messages.list[id];
        match message.mapping {
            Mapping::Plain => {
                let kind = reader.kind()?;
                if kind != JsonKind::Object {
                    let wanted = format!("an object of the message `{}`", message.descriptor.full_name());
                    return Err(unlike(&wanted, kind));
                }
                self.fields(message, reader, out, depth, false)
            }
            Mapping::Wrapper => match message.fields.first() {
                Some(field) => self.one(field, true, reader, out, depth).map(drop),
                None => Err(at_root("the wrapper has no field".to_owned())),
            },
            Mapping::Any => self.any(message, reader, out, depth),
            Mapping::WellKnown | Mapping::Value => well_known(message, reader, out),
        }
    }

    /// The fields of an object; `of_any`: it has the name of its type among them.
    fn fields(
        &self,
        message: &Message,
        reader: &mut Reader<'_>,
        out: &mut Vec<u8>,
        depth: usize,
        of_any: bool,
    ) -> Result<(), PayloadFault> {
        let mut members = reader.object()?;
        let start = out.len();
        let mut written: Vec<Written> = Vec::with_capacity(message.fields.len());
        let mut likely = 0;
        while let Some(key) = reader.key(&mut members)? {
            let Some(place) = message.place(&key, likely) else {
                if of_any && key == "@type" {
                    reader.skip()?;
                    continue;
                }
                let message = format!("the message `{}` has no such field", message.descriptor.full_name());
                return Err(within(at_root(message), &key));
            };
            likely = place + 1;
            if written.iter().any(|other| other.place == place) {
                return Err(within(at_root("is there twice".to_owned()), &key));
            }
            let before = out.len();
            let field = &message.fields[place];
            let is_set = self.field(field, reader, out, depth).map_err(|fault| within(fault, &key))?;
            if is_set && let Some(oneof) = field.oneof {
                let excludes =
                    |other: &&Written| other.is_set && message.fields[other.place].oneof == Some(oneof);
                if let Some(other) = written.iter().find(excludes) {
                    let other = &message.fields[other.place].name;
                    return Err(within(at_root(format!("excludes `{other}`: both are of one oneof")), &key));
                }
            }
            written.push(Written { place, is_set, start: before, end: out.len() });
        }
        let is_set = |place: usize| written.iter().any(|other| other.place == place && other.is_set);
        for (place, field) in message.fields.iter().enumerate() {
            if field.is_required && !is_set(place) {
                return Err(within(at_root("is missing, and required".to_owned()), &field.name));
            }
        }
        // In the order of their numbers, as other writers have them.
        if !written.is_sorted_by_key(|one| one.place) {
            written.sort_by_key(|one| one.place);
            let unordered = out.split_off(start);
            for one in written {
                out.extend_from_slice(&unordered[one.start - start..one.end - start]);
            }
        }
        Ok(())
    }

    /// One field with its tags; whether it is set.
    fn field(
        &self,
        field: &Field,
        reader: &mut Reader<'_>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<bool, PayloadFault> {
        if reader.kind()? == JsonKind::Null && !self.null_is_a_value(field) {
            reader.null()?;
            return Ok(false);
        }
        match field.shape {
            Shape::One { has_presence } => self.one(field, has_presence, reader, out, depth),
            Shape::List { is_packed } => self.list(field, is_packed, reader, out, depth),
            Shape::Map { key } => self.map(field, key, reader, out, depth),
        }
    }

    fn null_is_a_value(&self, field: &Field) -> bool {
        matches!(field.shape, Shape::One { .. })
            && match field.kind {
                Kind::Message(id) => self.messages.list[id].mapping == Mapping::Value,
                Kind::Enum(id) => self.messages.enums[id].is_null,
                _ => false,
            }
    }

    fn one(
        &self,
        field: &Field,
        has_presence: bool,
        reader: &mut Reader<'_>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<bool, PayloadFault> {
        let start = out.len();
        write_tag(out, field.number, field.kind.wire_type());
        let is_default = self.value(field, reader, out, depth)?;
        if is_default && !has_presence {
            out.truncate(start);
        }
        Ok(true)
    }

    fn list(
        &self,
        field: &Field,
        is_packed: bool,
        reader: &mut Reader<'_>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<bool, PayloadFault> {
        let kind = reader.kind()?;
        if kind != JsonKind::Array {
            return Err(unlike("an array", kind));
        }
        let mut items = reader.array()?;
        let start = out.len();
        if is_packed {
            write_tag(out, field.number, WireType::Bytes);
        }
        let items_start = out.len();
        let mut count: usize = 0;
        while reader.item(&mut items)? {
            if !is_packed {
                write_tag(out, field.number, field.kind.wire_type());
            }
            self.value(field, reader, out, depth).map_err(|fault| within(fault, &count.to_string()))?;
            count += 1;
        }
        if count == 0 {
            out.truncate(start);
        } else if is_packed {
            put_length(out, items_start);
        }
        Ok(count > 0)
    }

    fn map(
        &self,
        field: &Field,
        key_type: Scalar,
        reader: &mut Reader<'_>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<bool, PayloadFault> {
        let kind = reader.kind()?;
        if kind != JsonKind::Object {
            return Err(unlike("an object", kind));
        }
        let mut members = reader.object()?;
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = reader.key(&mut members)? {
            write_tag(out, field.number, WireType::Bytes);
            let start = out.len();
            let at = |fault| within(fault, &key);
            write_tag(out, 1, key_type.wire_type());
            scalar_of_text(key_type, &key, out).map_err(at)?;
            write_tag(out, 2, field.kind.wire_type());
            self.value(field, reader, out, depth).map_err(at)?;
            put_length(out, start);
            if let Some(twice) = seen.replace(key) {
                return Err(within(at_root("is there twice".to_owned()), &twice));
            }
        }
        Ok(!seen.is_empty())
    }

    /// A field's value without its tag; whether it is the type's default.
    fn value(
        &self,
        field: &Field,
        reader: &mut Reader<'_>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<bool, PayloadFault> {
        match field.kind {
            Kind::Scalar(scalar) => self::scalar(scalar, reader, out),
            Kind::Enum(id) => enumeration(&self.messages.enums[id], reader, out),
            Kind::Message(id) => {
                let start = out.len();
                self.message(id, reader, out, depth)?;
                put_length(out, start);
                Ok(false)
            }
            Kind::Group(id) => {
                self.message(id, reader, out, depth)?;
                write_tag(out, field.number, WireType::End);
                Ok(false)
            }
        }
    }

    /// `{"@type": URL, …}`: the fields of the message of that name, or its own form as `value`.
    fn any(
        &self,
        message: &Message,
        reader: &mut Reader<'_>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), PayloadFault> {
        let kind = reader.kind()?;
        if kind != JsonKind::Object {
            return Err(unlike("an object with `@type`", kind));
        }
        let Some(url) = type_url(&mut reader.clone())? else {
            // `{}` is an Any that is not set.
            return self.fields(message, reader, out, depth, false);
        };
        let name = url.rsplit('/').next().unwrap_or_default();
        let known = self.messages.named(name);
        let id = known.ok_or_else(|| {
            within(at_root("names no message of the schema or its imports".to_owned()), "@type")
        })?;
        write_tag(out, 1, WireType::Bytes);
        write_varint(out, url.len() as u64);
        out.extend_from_slice(url.as_bytes());
        write_tag(out, 2, WireType::Bytes);
        let start = out.len();
        let packed = &self.messages.list[id];
        if packed.mapping == Mapping::Plain {
            self.fields(packed, reader, out, deeper(depth)?, true)?;
        } else {
            let mut members = reader.object()?;
            while let Some(key) = reader.key(&mut members)? {
                match &*key {
                    "@type" => reader.skip()?,
                    "value" => {
                        self.message(id, reader, out, depth).map_err(|fault| within(fault, "value"))?
                    }
                    _ => return Err(within(at_root("wants `@type` and `value` only".to_owned()), &key)),
                }
            }
        }
        put_length(out, start);
        Ok(())
    }
}

/// Where a field lies that was written.
struct Written {
    place: usize,
    is_set: bool,
    start: usize,
    end: usize,
}

impl Kind {
    pub(crate) fn wire_type(self) -> WireType {
        match self {
            Self::Scalar(scalar) => scalar.wire_type(),
            Self::Enum(_) => WireType::Varint,
            Self::Message(_) => WireType::Bytes,
            Self::Group(_) => WireType::Start,
        }
    }
}

fn type_url<'a>(reader: &mut Reader<'a>) -> Result<Option<std::borrow::Cow<'a, str>>, PayloadFault> {
    let mut members = reader.object()?;
    while let Some(key) = reader.key(&mut members)? {
        if key == "@type" {
            return reader.string().map(Some).map_err(|fault| within(fault, "@type"));
        }
        reader.skip()?;
    }
    Ok(None)
}

fn well_known(message: &Message, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), PayloadFault> {
    let mark = reader.mark();
    reader.skip()?;
    let mut json = serde_json::Deserializer::from_str(reader.since(mark));
    // Its message may show the value, so one of ours is said instead.
    let parsed = DynamicMessage::deserialize(message.descriptor.clone(), &mut json).map_err(|_| {
        let wanted = match message.descriptor.name() {
            "Timestamp" => "a time with its offset such as \"2024-02-29T23:59:59.5Z\" (RFC 3339)",
            "Duration" => "a number of seconds such as \"1.5s\"",
            "FieldMask" => "paths such as \"user.name,total\"",
            "Struct" => "an object",
            "ListValue" => "an array",
            _ => "a JSON value",
        };
        at_root(format!("wants {wanted}"))
    })?;
    out.extend_from_slice(&parsed.encode_to_vec());
    Ok(())
}

fn enumeration(known: &Enum, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<bool, PayloadFault> {
    let number = match reader.kind()? {
        JsonKind::Null if known.is_null => reader.null().map(|()| Some(0))?,
        JsonKind::String => known.number(&reader.string()?),
        JsonKind::Number => reader.number()?.parse().ok(),
        other => return Err(unlike("a name of the enum's", other)),
    };
    let number: i32 = number.ok_or_else(|| {
        let names = eventferry_schema_registry::json::listed(&known.symbols);
        at_root(format!("wants one of {names} of the enum `{}`", known.name))
    })?;
    write_varint(out, i64::from(number) as u64);
    Ok(number == 0)
}

/// A scalar in its JSON form; whether it is the type's default.
fn scalar(scalar: Scalar, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<bool, PayloadFault> {
    match (scalar, reader.kind()?) {
        (Scalar::Bool, JsonKind::Boolean) => {
            let value = reader.boolean()?;
            out.push(u8::from(value));
            Ok(!value)
        }
        (Scalar::String, JsonKind::String) => {
            let text = reader.string()?;
            write_varint(out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
            Ok(text.is_empty())
        }
        (Scalar::Bytes, JsonKind::String) => {
            let text = reader.string()?;
            let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
            let bytes =
                engine.decode(text.as_bytes()).map_err(|_| at_root("wants bytes in Base64".to_owned()))?;
            write_varint(out, bytes.len() as u64);
            out.extend_from_slice(&bytes);
            Ok(bytes.is_empty())
        }
        (Scalar::Bool | Scalar::String | Scalar::Bytes, other) => Err(unlike(wanted(scalar), other)),
        (_, JsonKind::Number) => number(scalar, reader.number()?, out),
        (_, JsonKind::String) => number(scalar, &reader.string()?, out),
        (_, other) => Err(unlike(wanted(scalar), other)),
    }
}

/// A map's key.
fn scalar_of_text(scalar: Scalar, text: &str, out: &mut Vec<u8>) -> Result<(), PayloadFault> {
    match (scalar, text) {
        (Scalar::String, _) => {
            write_varint(out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
        (Scalar::Bool, "true") => out.push(1),
        (Scalar::Bool, "false") => out.push(0),
        (Scalar::Bool, _) => return Err(at_root(format!("is a key, and wants {}", wanted(scalar)))),
        _ => drop(number(scalar, text, out)?),
    }
    Ok(())
}

fn number(scalar: Scalar, text: &str, out: &mut Vec<u8>) -> Result<bool, PayloadFault> {
    let bits = bits(scalar, text).ok_or_else(|| at_root(format!("wants {}", wanted(scalar))))?;
    bits.write(out);
    Ok(bits.is_zero())
}

/// A number's bits; never through a float that it is not, so that every digit counts.
fn bits(scalar: Scalar, text: &str) -> Option<Bits> {
    let finite = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite());
    // Rust's numbers also have a plus in front, and names.
    let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let is_float = matches!(scalar, Scalar::Double | Scalar::Float);
    if !is_number && !is_float {
        return None;
    }
    Some(match scalar {
        Scalar::Int32 => Bits::Varint(i64::from(text.parse::<i32>().ok()?) as u64),
        Scalar::Int64 => Bits::Varint(text.parse::<i64>().ok()? as u64),
        Scalar::Uint32 => Bits::Varint(text.parse::<u32>().ok()?.into()),
        Scalar::Uint64 => Bits::Varint(text.parse().ok()?),
        Scalar::Sint32 => Bits::Varint(zigzag(text.parse::<i32>().ok()?.into())),
        Scalar::Sint64 => Bits::Varint(zigzag(text.parse().ok()?)),
        Scalar::Fixed32 => Bits::Fixed32(text.parse().ok()?),
        Scalar::Fixed64 => Bits::Fixed64(text.parse().ok()?),
        Scalar::Sfixed32 => Bits::Fixed32(text.parse::<i32>().ok()? as u32),
        Scalar::Sfixed64 => Bits::Fixed64(text.parse::<i64>().ok()? as u64),
        Scalar::Double | Scalar::Float => {
            let named = match text {
                "NaN" => Some(f64::NAN),
                "Infinity" => Some(f64::INFINITY),
                "-Infinity" => Some(f64::NEG_INFINITY),
                _ => None,
            };
            match (scalar, named) {
                (Scalar::Double, Some(value)) => Bits::Fixed64(value.to_bits()),
                (_, Some(value)) => Bits::Fixed32((value as f32).to_bits()),
                _ if !is_number => return None,
                (Scalar::Double, None) => Bits::Fixed64(finite(text)?.to_bits()),
                (_, None) => {
                    Bits::Fixed32(text.parse::<f32>().ok().filter(|value| value.is_finite())?.to_bits())
                }
            }
        }
        Scalar::Bool | Scalar::String | Scalar::Bytes => return None,
    })
}

fn wanted(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Double => "a number, \"NaN\", \"Infinity\" or \"-Infinity\"",
        Scalar::Float => "a number of 32 bits, \"NaN\", \"Infinity\" or \"-Infinity\"",
        Scalar::Int32 | Scalar::Sint32 | Scalar::Sfixed32 => {
            "a whole number from -2^31 to 2^31-1, written without point and exponent"
        }
        Scalar::Int64 | Scalar::Sint64 | Scalar::Sfixed64 => {
            "a whole number from -2^63 to 2^63-1, as a string or not, written without point and exponent"
        }
        Scalar::Uint32 | Scalar::Fixed32 => {
            "a whole number from 0 to 2^32-1, written without point and exponent"
        }
        Scalar::Uint64 | Scalar::Fixed64 => {
            "a whole number from 0 to 2^64-1, as a string or not, written without point and exponent"
        }
        Scalar::Bool => "true or false",
        Scalar::String => "a string",
        Scalar::Bytes => "bytes in Base64",
    }
}

fn unlike(wanted: &str, found: JsonKind) -> PayloadFault {
    at_root(format!("wants {wanted}, and is {}", found.name()))
}
