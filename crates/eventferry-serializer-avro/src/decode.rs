//! Binary to JSON.

use eventferry_schema_registry::PayloadFault;

use crate::encode::{Choice, Encoder};
use crate::schema::{Fixed, FixedMeaning, Id, Record, Type, Types, Union};
use crate::time::Clock;
use crate::{latin1, uuid};
use eventferry_schema_registry::json::{Kind, Reader, at_root, deeper, within, write_float, write_string};

/// How many values are read for each byte there is, and beside them: a value may have no bytes (`null`, a record
/// without fields), and a few bytes may say that 2^60 of them follow.
const VALUES_PER_BYTE_MAX: usize = 64;
const VALUES_MAX: usize = 10_000;

/// Reads values of some types.
pub(crate) struct Decoder<'t, 'b> {
    types: &'t Types,
    rest: &'b [u8],
    values_left: usize,
}

impl<'t, 'b> Decoder<'t, 'b> {
    pub(crate) fn new(types: &'t Types, body: &'b [u8]) -> Self {
        let values_left = body.len().saturating_mul(VALUES_PER_BYTE_MAX).saturating_add(VALUES_MAX);
        Self { types, rest: body, values_left }
    }

    /// That nothing is left.
    pub(crate) fn end(&self) -> Result<(), PayloadFault> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(at_root(format!("{left} bytes are left behind the value: it is of another schema"))),
        }
    }

    /// Reads a value of this type and writes it as JSON.
    pub(crate) fn value(&mut self, id: Id, out: &mut Vec<u8>, depth: usize) -> Result<(), PayloadFault> {
        let spent = self.values_left.checked_sub(1);
        self.values_left = spent.ok_or_else(|| at_root("far more values than bytes".to_owned()))?;
        let types = self.types;
        match types.get(id) {
            Type::Null => out.extend_from_slice(b"null"),
            Type::Boolean => match self.take(1)? {
                [0] => out.extend_from_slice(b"false"),
                [1] => out.extend_from_slice(b"true"),
                _ => return Err(at_root("a boolean that is neither 0 nor 1".to_owned())),
            },
            Type::Int(clock) => {
                let value =
                    i32::try_from(self.long()?).map_err(|_| at_root("an int beyond 32 bits".to_owned()))?;
                write_whole(out, *clock, value.into());
            }
            Type::Long(clock) => {
                let value = self.long()?;
                write_whole(out, *clock, value);
            }
            Type::Float => {
                let value = f32::from_le_bytes(self.array()?);
                write_float(out, value.into(), || format!("{value:?}"));
            }
            Type::Double => {
                let value = f64::from_le_bytes(self.array()?);
                write_float(out, value, || format!("{value:?}"));
            }
            Type::Bytes(None) => write_string(out, &latin1::to_text(self.bytes()?)),
            Type::Bytes(Some(decimal)) => {
                let text = decimal.text(self.bytes()?).map_err(at_root)?;
                write_string(out, &text);
            }
            Type::String { .. } => {
                let bytes = self.bytes()?;
                let text = std::str::from_utf8(bytes)
                    .map_err(|_| at_root("a string that is not UTF-8".to_owned()))?;
                write_string(out, text);
            }
            Type::Fixed(fixed) => self.fixed(fixed, out)?,
            Type::Enum(known) => {
                let place = usize::try_from(self.long()?).ok();
                let symbol = place.and_then(|place| known.symbols.get(place));
                let symbol =
                    symbol.ok_or_else(|| at_root(format!("the enum `{}` has fewer symbols", known.name)))?;
                write_string(out, symbol);
            }
            Type::Array(items) => self.items(*items, out, deeper(depth)?)?,
            Type::Map(values) => self.entries(*values, out, deeper(depth)?)?,
            Type::Union(union) => self.union(union, out, depth)?,
            Type::Record(record) => self.record(record, out, deeper(depth)?)?,
        }
        Ok(())
    }

    fn fixed(&mut self, fixed: &Fixed, out: &mut Vec<u8>) -> Result<(), PayloadFault> {
        let bytes = self.take(fixed.size_bytes)?;
        let text = match fixed.meaning {
            FixedMeaning::Bytes => latin1::to_text(bytes),
            FixedMeaning::Decimal(decimal) => decimal.text(bytes).map_err(at_root)?,
            FixedMeaning::Uuid => bytes.try_into().map(uuid::to_text).unwrap_or_default(),
        };
        write_string(out, &text);
        Ok(())
    }

    fn items(&mut self, items: Id, out: &mut Vec<u8>, depth: usize) -> Result<(), PayloadFault> {
        out.push(b'[');
        let mut place: usize = 0;
        while let Some(count) = self.block()? {
            for _ in 0..count {
                if place > 0 {
                    out.push(b',');
                }
                self.value(items, out, depth).map_err(|fault| within(fault, &place.to_string()))?;
                place += 1;
            }
        }
        out.push(b']');
        Ok(())
    }

    fn entries(&mut self, values: Id, out: &mut Vec<u8>, depth: usize) -> Result<(), PayloadFault> {
        out.push(b'{');
        let mut seen = std::collections::HashSet::new();
        while let Some(count) = self.block()? {
            for _ in 0..count {
                if !seen.is_empty() {
                    out.push(b',');
                }
                let key = std::str::from_utf8(self.bytes()?);
                let key = key.map_err(|_| at_root("a key that is not UTF-8".to_owned()))?;
                if !seen.insert(key) {
                    return Err(within(at_root("is there twice".to_owned()), key));
                }
                write_string(out, key);
                out.push(b':');
                self.value(values, out, depth).map_err(|fault| within(fault, key))?;
            }
        }
        out.push(b'}');
        Ok(())
    }

    fn record(&mut self, record: &Record, out: &mut Vec<u8>, depth: usize) -> Result<(), PayloadFault> {
        out.push(b'{');
        for (place, field) in record.fields.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            // A field's name needs no escapes.
            out.push(b'"');
            out.extend_from_slice(field.name.as_bytes());
            out.extend_from_slice(b"\":");
            self.value(field.id, out, depth).map_err(|fault| within(fault, &field.name))?;
        }
        out.push(b'}');
        Ok(())
    }

    fn union(&mut self, union: &Union, out: &mut Vec<u8>, depth: usize) -> Result<(), PayloadFault> {
        let place = usize::try_from(self.long()?).ok().filter(|place| *place < union.branches.len());
        let place = place.ok_or_else(|| at_root("the union has fewer branches".to_owned()))?;
        let branch = &union.branches[place];
        let start = out.len();
        self.value(branch.id, out, depth)?;
        // The plain form, unless it would be read as something else.
        let kind = out.get(start).copied().and_then(Kind::by_first);
        let is_alone = kind.is_some_and(|kind| kind != Kind::Object && union.taking(kind).len() == 1);
        let choose = |mut reader| Encoder::of_payloads(self.types).choose(union, &mut reader);
        if !is_alone && Reader::new(&out[start..]).and_then(choose) != Ok(Choice::Plain(place)) {
            let plain = out.split_off(start);
            out.push(b'{');
            write_string(out, &branch.name);
            out.push(b':');
            out.extend_from_slice(&plain);
            out.push(b'}');
        }
        Ok(())
    }

    /// How many items the next block has; `None`: there is none.
    fn block(&mut self) -> Result<Option<u64>, PayloadFault> {
        match self.long()? {
            0 => Ok(None),
            count if count < 0 => {
                // Its length in bytes follows, for those who pass over it.
                self.long()?;
                Ok(Some(count.unsigned_abs()))
            }
            count => Ok(Some(count.unsigned_abs())),
        }
    }

    fn long(&mut self) -> Result<i64, PayloadFault> {
        let mut value: u64 = 0;
        for (place, byte) in self.rest.iter().enumerate().take(10) {
            if place == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[place + 1..];
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(at_root("a number that has no end, or more than 64 bits".to_owned()))
    }

    fn bytes(&mut self) -> Result<&'b [u8], PayloadFault> {
        let length = self.long()?;
        let length = usize::try_from(length).map_err(|_| at_root("a length below zero".to_owned()))?;
        self.take(length)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PayloadFault> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], PayloadFault> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or_else(|| {
            at_root(format!("{length} bytes are announced, and {} are there", self.rest.len()))
        })?;
        self.rest = rest;
        Ok(head)
    }
}

/// Takes the length away from before bytes.
pub(crate) fn drop_length(body: &mut Vec<u8>) -> Result<(), PayloadFault> {
    let types = Types::default();
    let mut decoder = Decoder::new(&types, body);
    decoder.long()?;
    let length = body.len() - decoder.rest.len();
    body.drain(..length);
    Ok(())
}

fn write_whole(out: &mut Vec<u8>, clock: Option<Clock>, value: i64) {
    match clock.and_then(|clock| clock.text(value)) {
        Some(text) => write_string(out, &text),
        None => out.extend_from_slice(value.to_string().as_bytes()),
    }
}
