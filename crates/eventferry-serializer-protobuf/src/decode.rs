//! The wire to JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eventferry_schema_registry::PayloadFault;
use eventferry_schema_registry::json::{at_root, deeper, within, write_float, write_string};
use prost_reflect::DynamicMessage;

use crate::messages::{Field, Id, Kind, Mapping, Message, Messages, Scalar, Shape};
use crate::wire::{self, Raw, WireType, unzigzag};

/// Reads messages.
#[derive(Clone, Copy)]
pub(crate) struct Decoder<'m> {
    pub(crate) messages: &'m Messages,
}

impl Decoder<'_> {
    /// Reads a message and writes it as JSON.
    pub(crate) fn message(
        &self,
        id: Id,
        body: &[u8],
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), PayloadFault> {
        let depth = deeper(depth)?;
        let message = &self.messages.list[id];
        match message.mapping {
            Mapping::Plain => {
                out.push(b'{');
                self.fields(message, body, out, depth, true)?;
                out.push(b'}');
                Ok(())
            }
            Mapping::Wrapper => {
                let entries = entries(message, body)?;
                match (message.fields.first(), entries.last()) {
                    (Some(field), Some((_, raw))) => self.value(field.kind, *raw, out, depth),
                    (Some(field), None) => self.default(field.kind, out, depth),
                    (None, _) => Err(at_root("the wrapper has no field".to_owned())),
                }
            }
            Mapping::Any => self.any(message, body, out, depth),
            Mapping::WellKnown | Mapping::Value => well_known(message, body, out),
        }
    }

    /// The fields of an object, in the order of their numbers.
    fn fields(
        &self,
        message: &Message,
        body: &[u8],
        out: &mut Vec<u8>,
        depth: usize,
        mut is_first: bool,
    ) -> Result<(), PayloadFault> {
        let mut entries = entries(message, body)?;
        // Of fields that exclude each other the last one counts.
        let last_of = |oneof: usize| {
            let is_of = |(place, _): &&(usize, Raw<'_>)| message.fields[*place].oneof == Some(oneof);
            entries.iter().rfind(is_of).map(|(place, _)| *place)
        };
        let has_oneofs = message.fields.iter().any(|field| field.oneof.is_some());
        let lost: Vec<usize> = if has_oneofs {
            let is_lost = |place: &usize| {
                message.fields[*place].oneof.is_some_and(|oneof| last_of(oneof) != Some(*place))
            };
            (0..message.fields.len()).filter(is_lost).collect()
        } else {
            Vec::new()
        };
        entries.sort_by_key(|(place, _)| *place);
        for run in entries.chunk_by(|one, next| one.0 == next.0) {
            let field = &message.fields[run[0].0];
            if lost.contains(&run[0].0) {
                continue;
            }
            let start = out.len();
            if !is_first {
                out.push(b',');
            }
            write_string(out, &field.name);
            out.push(b':');
            let is_set = self.field(field, run, out, depth).map_err(|fault| within(fault, &field.name))?;
            if is_set {
                is_first = false;
            } else {
                out.truncate(start);
            }
        }
        Ok(())
    }

    /// A field of all that was sent of it; whether it is more than a default that is not written.
    fn field(
        &self,
        field: &Field,
        run: &[(usize, Raw<'_>)],
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<bool, PayloadFault> {
        match field.shape {
            Shape::One { has_presence } => {
                let Some((_, last)) = run.last() else { return Ok(false) };
                let start = out.len();
                match field.kind {
                    // A message that was sent in parts is one: their bytes together.
                    Kind::Message(id) if run.len() > 1 => {
                        let parts: Vec<&[u8]> =
                            run.iter().map(|(_, raw)| raw.bytes()).collect::<Result<_, _>>()?;
                        self.message(id, &parts.concat(), out, depth)?;
                    }
                    _ => self.value(field.kind, *last, out, depth)?,
                }
                let mut default = Vec::new();
                if !has_presence {
                    self.default(field.kind, &mut default, depth)?;
                }
                Ok(has_presence || out[start..] != default[..])
            }
            Shape::List { .. } => {
                out.push(b'[');
                let mut place: usize = 0;
                for (_, raw) in run {
                    self.items(field.kind, *raw, &mut place, out, depth)?;
                }
                out.push(b']');
                Ok(place > 0)
            }
            Shape::Map { key } => {
                out.push(b'{');
                for (place, entry) in map_entries(run)?.into_iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    let at = out.len();
                    match entry.key {
                        Some(raw) => scalar(key, raw, out)?,
                        None => default_scalar(key, out),
                    }
                    // Keys are strings in JSON, whatever they are.
                    if out.get(at) != Some(&b'"') {
                        out.insert(at, b'"');
                        out.push(b'"');
                    }
                    out.push(b':');
                    match entry.value {
                        Some(raw) => self.value(field.kind, raw, out, depth)?,
                        None => self.default(field.kind, out, depth)?,
                    }
                }
                out.push(b'}');
                Ok(true)
            }
        }
    }

    /// One item of a list, or as many as were packed together.
    fn items(
        &self,
        kind: Kind,
        raw: Raw<'_>,
        place: &mut usize,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), PayloadFault> {
        let mut item = |raw| {
            if *place > 0 {
                out.push(b',');
            }
            self.value(kind, raw, out, depth).map_err(|fault| within(fault, &place.to_string()))?;
            *place += 1;
            Ok::<_, PayloadFault>(())
        };
        match (kind.wire_type(), raw) {
            (WireType::Varint, Raw::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    item(Raw::Varint(wire::varint(&mut packed).map_err(at_root)?))?;
                }
                Ok(())
            }
            (WireType::Fixed32, Raw::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    item(Raw::Fixed32(u32::from_le_bytes(wire::fixed(&mut packed).map_err(at_root)?)))?;
                }
                Ok(())
            }
            (WireType::Fixed64, Raw::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    item(Raw::Fixed64(u64::from_le_bytes(wire::fixed(&mut packed).map_err(at_root)?)))?;
                }
                Ok(())
            }
            _ => item(raw),
        }
    }

    fn value(&self, kind: Kind, raw: Raw<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), PayloadFault> {
        match (kind, raw) {
            (Kind::Scalar(kind), raw) => scalar(kind, raw, out),
            (Kind::Enum(id), Raw::Varint(number)) => {
                let known = &self.messages.enums[id];
                // As other readers do, only the lower half is looked at.
                match known.symbol(number as i32) {
                    _ if known.is_null => out.extend_from_slice(b"null"),
                    Some(symbol) => write_string(out, symbol),
                    None => out.extend_from_slice((number as i32).to_string().as_bytes()),
                }
                Ok(())
            }
            (Kind::Message(id), Raw::Bytes(body)) | (Kind::Group(id), Raw::Group(body)) => {
                self.message(id, body, out, depth)
            }
            _ => Err(unlike()),
        }
    }

    fn default(&self, kind: Kind, out: &mut Vec<u8>, depth: usize) -> Result<(), PayloadFault> {
        match kind {
            Kind::Scalar(kind) => default_scalar(kind, out),
            Kind::Enum(_) => return self.value(kind, Raw::Varint(0), out, depth),
            Kind::Message(id) | Kind::Group(id) => return self.message(id, &[], out, depth),
        }
        Ok(())
    }

    fn any(
        &self,
        message: &Message,
        body: &[u8],
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), PayloadFault> {
        let entries = entries(message, body)?;
        let last = |number: usize| {
            entries.iter().rfind(|(place, _)| place + 1 == number).map(|(_, raw)| raw.bytes())
        };
        let Some(url) = last(1).transpose()? else {
            out.extend_from_slice(b"{}");
            return Ok(());
        };
        let url = text(url)?;
        let id = self.messages.named(url.rsplit('/').next().unwrap_or_default());
        let id = id.ok_or_else(|| {
            at_root("an Any of a message that neither the schema nor its imports have".to_owned())
        })?;
        let packed = &self.messages.list[id];
        let value = last(2).transpose()?.unwrap_or_default();
        out.extend_from_slice(b"{\"@type\":");
        write_string(out, url);
        if packed.mapping == Mapping::Plain {
            self.fields(packed, value, out, deeper(depth)?, false)?;
        } else {
            out.extend_from_slice(b",\"value\":");
            self.message(id, value, out, depth)?;
        }
        out.push(b'}');
        Ok(())
    }
}

impl<'b> Raw<'b> {
    fn bytes(self) -> Result<&'b [u8], PayloadFault> {
        match self {
            Raw::Bytes(bytes) | Raw::Group(bytes) => Ok(bytes),
            _ => Err(unlike()),
        }
    }
}

/// What was sent, by the places of fields; what the schema does not know is passed over.
fn entries<'b>(message: &Message, mut body: &'b [u8]) -> Result<Vec<(usize, Raw<'b>)>, PayloadFault> {
    let mut entries = Vec::with_capacity(message.fields.len());
    while !body.is_empty() {
        let (number, raw) = wire::field(&mut body).map_err(at_root)?;
        if let Some(place) = message.place_of_number(number) {
            entries.push((place, raw));
        }
    }
    Ok(entries)
}

#[derive(Default)]
struct MapEntry<'b> {
    key: Option<Raw<'b>>,
    value: Option<Raw<'b>>,
}

/// The entries of a map; of those with one key the last one counts.
fn map_entries<'b>(run: &[(usize, Raw<'b>)]) -> Result<Vec<MapEntry<'b>>, PayloadFault> {
    let mut entries: Vec<MapEntry<'b>> = Vec::with_capacity(run.len());
    let mut places = std::collections::HashMap::new();
    for (_, raw) in run {
        let mut body = raw.bytes()?;
        let mut entry = MapEntry::default();
        while !body.is_empty() {
            match wire::field(&mut body).map_err(at_root)? {
                (1, raw) => entry.key = Some(raw),
                (2, raw) => entry.value = Some(raw),
                _ => (),
            }
        }
        let place = *places.entry(entry.key).or_insert(entries.len());
        match entries.get_mut(place) {
            Some(former) => *former = entry,
            None => entries.push(entry),
        }
    }
    Ok(entries)
}

fn well_known(message: &Message, body: &[u8], out: &mut Vec<u8>) -> Result<(), PayloadFault> {
    let name = message.descriptor.full_name();
    let parsed = DynamicMessage::decode(message.descriptor.clone(), body)
        .map_err(|_| at_root(format!("bytes that are no `{name}`")))?;
    let json =
        serde_json::to_vec(&parsed).map_err(|_| at_root(format!("a `{name}` that has no JSON form")))?;
    out.extend_from_slice(&json);
    Ok(())
}

fn scalar(scalar: Scalar, raw: Raw<'_>, out: &mut Vec<u8>) -> Result<(), PayloadFault> {
    let quoted = |out: &mut Vec<u8>, text: String| write_string(out, &text);
    let plain = |out: &mut Vec<u8>, text: String| out.extend_from_slice(text.as_bytes());
    match (scalar, raw) {
        (Scalar::Int32, Raw::Varint(value)) => plain(out, (value as i32).to_string()),
        (Scalar::Uint32, Raw::Varint(value)) => plain(out, (value as u32).to_string()),
        (Scalar::Sint32, Raw::Varint(value)) => {
            plain(out, (unzigzag(value & u64::from(u32::MAX)) as i32).to_string())
        }
        (Scalar::Int64, Raw::Varint(value)) => quoted(out, (value as i64).to_string()),
        (Scalar::Uint64, Raw::Varint(value)) => quoted(out, value.to_string()),
        (Scalar::Sint64, Raw::Varint(value)) => quoted(out, unzigzag(value).to_string()),
        (Scalar::Fixed32, Raw::Fixed32(value)) => plain(out, value.to_string()),
        (Scalar::Sfixed32, Raw::Fixed32(value)) => plain(out, (value as i32).to_string()),
        (Scalar::Fixed64, Raw::Fixed64(value)) => quoted(out, value.to_string()),
        (Scalar::Sfixed64, Raw::Fixed64(value)) => quoted(out, (value as i64).to_string()),
        (Scalar::Float, Raw::Fixed32(bits)) => {
            let value = f32::from_bits(bits);
            write_float(out, value.into(), || format!("{value:?}"));
        }
        (Scalar::Double, Raw::Fixed64(bits)) => {
            let value = f64::from_bits(bits);
            write_float(out, value, || format!("{value:?}"));
        }
        (Scalar::Bool, Raw::Varint(value)) => plain(out, (value != 0).to_string()),
        (Scalar::String, Raw::Bytes(bytes)) => write_string(out, text(bytes)?),
        (Scalar::Bytes, Raw::Bytes(bytes)) => quoted(out, STANDARD.encode(bytes)),
        _ => return Err(unlike()),
    }
    Ok(())
}

fn default_scalar(scalar: Scalar, out: &mut Vec<u8>) {
    out.extend_from_slice(match scalar {
        Scalar::Double | Scalar::Float => b"0.0".as_slice(),
        Scalar::Int64 | Scalar::Uint64 | Scalar::Sint64 | Scalar::Fixed64 | Scalar::Sfixed64 => b"\"0\"",
        Scalar::Bool => b"false",
        Scalar::String | Scalar::Bytes => b"\"\"",
        _ => b"0",
    });
}

fn text(bytes: &[u8]) -> Result<&str, PayloadFault> {
    std::str::from_utf8(bytes).map_err(|_| at_root("a string that is not UTF-8".to_owned()))
}

fn unlike() -> PayloadFault {
    at_root("bytes of another type than the schema's".to_owned())
}
