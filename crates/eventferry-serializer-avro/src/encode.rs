//! JSON to binary, in one pass over the text.

use eventferry_schema_registry::PayloadFault;

use crate::latin1;
use crate::schema::{Fixed, FixedMeaning, Id, Type, Types};
use crate::time::Clock;
use crate::{decimal, uuid};
use eventferry_schema_registry::json::{Kind, Reader, at_root, deeper, listed, within};

mod record;
mod union;

pub(crate) use union::Choice;

/// How long a payload may be in binary: a backstop, for a short text may ask for many long defaults.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 20;

/// Writes values of some types.
#[derive(Clone, Copy)]
pub(crate) struct Encoder<'t> {
    types: &'t Types,
    /// Whether it reads a schema's defaults, which know no logical types and no names of a union's branches.
    of_defaults: bool,
    bytes_max: usize,
}

impl<'t> Encoder<'t> {
    pub(crate) fn of_payloads(types: &'t Types) -> Self {
        Self { types, of_defaults: false, bytes_max: BODY_BYTES_MAX }
    }

    pub(crate) fn of_defaults(types: &'t Types, bytes_max: usize) -> Self {
        Self { types, of_defaults: true, bytes_max }
    }

    /// Reads the next value and writes it as one of this type.
    pub(crate) fn value(
        &self,
        id: Id,
        reader: &mut Reader<'_>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), PayloadFault> {
        match self.types.get(id) {
            Type::Null => match reader.kind()? {
                Kind::Null => reader.null(),
                other => Err(unlike("null", other)),
            },
            Type::Boolean => match reader.kind()? {
                Kind::Boolean => reader.boolean().map(|value| out.push(u8::from(value))),
                other => Err(unlike("true or false", other)),
            },
            Type::Int(clock) => {
                let value = self.whole(*clock, i32::MIN.into(), i32::MAX.into(), reader)?;
                write_long(out, value);
                Ok(())
            }
            Type::Long(clock) => {
                let value = self.whole(*clock, i64::MIN, i64::MAX, reader)?;
                write_long(out, value);
                Ok(())
            }
            Type::Float => {
                let value = float(reader, |text| text.parse::<f32>().ok().filter(|value| value.is_finite()))?;
                out.extend_from_slice(&value.unwrap_or_else(|named| named as f32).to_le_bytes());
                Ok(())
            }
            Type::Double => {
                let value = float(reader, |text| text.parse::<f64>().ok().filter(|value| value.is_finite()))?;
                out.extend_from_slice(&value.unwrap_or_else(|named| named).to_le_bytes());
                Ok(())
            }
            Type::Bytes(Some(meaning)) if !self.of_defaults => {
                let bytes = self.decimal(*meaning, reader)?;
                write_bytes(out, &bytes);
                Ok(())
            }
            Type::Bytes(_) => {
                let bytes = latin1_bytes(reader)?;
                write_bytes(out, &bytes);
                Ok(())
            }
            Type::String { is_uuid } => {
                let text = string(reader, if *is_uuid { "a UUID" } else { "a string" })?;
                if *is_uuid && !self.of_defaults && uuid::from_text(&text).is_none() {
                    return Err(at_root(uuid::WANTED.to_owned()));
                }
                write_bytes(out, text.as_bytes());
                Ok(())
            }
            Type::Fixed(fixed) => self.fixed(fixed, reader, out),
            Type::Enum(known) => {
                let text = string(reader, "a symbol of the enum")?;
                let place = known.place(&text).ok_or_else(|| {
                    at_root(format!("wants one of {} of the enum `{}`", listed(&known.symbols), known.name))
                })?;
                write_long(out, place as i64);
                Ok(())
            }
            Type::Array(items) => self.array(*items, reader, out, deeper(depth)?),
            Type::Map(values) => self.map(*values, reader, out, deeper(depth)?),
            Type::Union(union) => self.union(union, reader, out, depth),
            Type::Record(record) => self.record(record, reader, out, deeper(depth)?),
        }
    }

    fn whole(
        &self,
        clock: Option<Clock>,
        min: i64,
        max: i64,
        reader: &mut Reader<'_>,
    ) -> Result<i64, PayloadFault> {
        let clock = clock.filter(|_| !self.of_defaults);
        let value = match (reader.kind()?, clock) {
            (Kind::Number, _) => reader.number()?.parse().ok(),
            (Kind::String, Some(clock)) => Some(clock.read(&reader.string()?).map_err(at_root)?),
            (other, Some(clock)) => return Err(unlike(clock.wanted(), other)),
            (other, None) => return Err(unlike("a whole number", other)),
        };
        value.filter(|value| (min..=max).contains(value)).ok_or_else(|| {
            at_root(format!("wants a whole number from {min} to {max}, written without point and exponent"))
        })
    }

    fn decimal(&self, meaning: decimal::Decimal, reader: &mut Reader<'_>) -> Result<Vec<u8>, PayloadFault> {
        let text = match reader.kind()? {
            Kind::Number => reader.number()?.into(),
            Kind::String => reader.string()?,
            other => return Err(unlike("a decimal as a number or a string", other)),
        };
        // A string must be a number as JSON writes one, too.
        let mut number = Reader::new(text.as_bytes())?;
        let is_number = number.mark() == 0 && number.number() == Ok(&*text);
        if !is_number {
            return Err(at_root("wants a decimal such as \"12.50\"".to_owned()));
        }
        meaning.read(&text).map_err(at_root)
    }

    fn fixed(&self, fixed: &Fixed, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), PayloadFault> {
        let bytes = match fixed.meaning {
            FixedMeaning::Decimal(meaning) if !self.of_defaults => {
                let bytes = self.decimal(meaning, reader)?;
                decimal::widened(&bytes, fixed.size_bytes)
                    .ok_or_else(|| at_root(format!("wants a decimal that fits {} bytes", fixed.size_bytes)))?
            }
            FixedMeaning::Uuid if !self.of_defaults => {
                let bytes = uuid::from_text(&string(reader, "a UUID")?);
                bytes.ok_or_else(|| at_root(uuid::WANTED.to_owned()))?.to_vec()
            }
            _ => latin1_bytes(reader)?,
        };
        if bytes.len() != fixed.size_bytes {
            let Fixed { name, size_bytes, .. } = fixed;
            let message =
                format!("wants {size_bytes} bytes of `{name}`, each as the character of its number");
            return Err(at_root(message));
        }
        out.extend_from_slice(&bytes);
        Ok(())
    }

    fn array(
        &self,
        items: Id,
        reader: &mut Reader<'_>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), PayloadFault> {
        let kind = reader.kind()?;
        if kind != Kind::Array {
            return Err(unlike("an array", kind));
        }
        let mut list = reader.array()?;
        let start = out.len();
        let mut count = 0;
        while reader.item(&mut list)? {
            self.value(items, reader, out, depth).map_err(|fault| within(fault, &count.to_string()))?;
            self.bounded(out)?;
            count += 1;
        }
        write_block(out, start, count);
        Ok(())
    }

    fn map(
        &self,
        values: Id,
        reader: &mut Reader<'_>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), PayloadFault> {
        let kind = reader.kind()?;
        if kind != Kind::Object {
            return Err(unlike("an object", kind));
        }
        let mut list = reader.object()?;
        let start = out.len();
        let mut count = 0;
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = reader.key(&mut list)? {
            write_bytes(out, key.as_bytes());
            self.value(values, reader, out, depth).map_err(|fault| within(fault, &key))?;
            self.bounded(out)?;
            count += 1;
            if let Some(twice) = seen.replace(key) {
                return Err(within(at_root("is there twice".to_owned()), &twice));
            }
        }
        write_block(out, start, count);
        Ok(())
    }

    fn bounded(&self, out: &[u8]) -> Result<(), PayloadFault> {
        if out.len() <= self.bytes_max {
            Ok(())
        } else {
            Err(at_root(format!("is longer than {} bytes in binary", self.bytes_max)))
        }
    }
}

/// A finite number, or one of the three that JSON has only as strings.
fn float<T>(
    reader: &mut Reader<'_>,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Result<T, f64>, PayloadFault> {
    match reader.kind()? {
        Kind::Number => {
            let value = parse(reader.number()?);
            value
                .map(Ok)
                .ok_or_else(|| at_root("wants a number that is not beyond the type's largest".to_owned()))
        }
        Kind::String => match &*reader.string()? {
            "NaN" => Ok(Err(f64::NAN)),
            "Infinity" => Ok(Err(f64::INFINITY)),
            "-Infinity" => Ok(Err(f64::NEG_INFINITY)),
            _ => Err(at_root("wants a number, \"NaN\", \"Infinity\" or \"-Infinity\"".to_owned())),
        },
        other => Err(unlike("a number", other)),
    }
}

fn string<'a>(reader: &mut Reader<'a>, wanted: &str) -> Result<std::borrow::Cow<'a, str>, PayloadFault> {
    match reader.kind()? {
        Kind::String => reader.string(),
        other => Err(unlike(wanted, other)),
    }
}

fn latin1_bytes(reader: &mut Reader<'_>) -> Result<Vec<u8>, PayloadFault> {
    let text = string(reader, "bytes as a string")?;
    latin1::from_text(&text).ok_or_else(|| {
        at_root("wants bytes, each as the character of its number, U+0000 to U+00FF".to_owned())
    })
}

fn unlike(wanted: &str, found: Kind) -> PayloadFault {
    at_root(format!("wants {wanted}, and is {}", found.name()))
}

/// An `int` or `long`: zigzag, seven bits a byte.
pub(crate) fn write_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Bytes behind their length.
pub(crate) fn with_length(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 10);
    write_bytes(&mut out, bytes);
    out
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// Makes what was written since `start` one block of `count` items, and ends the array or map.
fn write_block(out: &mut Vec<u8>, start: usize, count: i64) {
    if count > 0 {
        let end = out.len();
        write_long(out, count);
        // The count was not known before; it is turned to the front.
        let length = out.len() - end;
        out[start..].rotate_right(length);
    }
    out.push(0);
}
