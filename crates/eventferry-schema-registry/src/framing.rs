//! How a message says by which schema it was written: before its bytes, or in a header.
//!
//! Both are Confluent's. Before the bytes stands a magic byte 0 and the schema's id in its registry, 4 bytes with the
//! highest first (<https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format>).
//! In the header `__value_schema_id`, or `__key_schema_id` for a key, stands a magic byte 1 and the schema's GUID, 16
//! bytes; the message's own bytes begin with nothing then (Confluent's `HeaderSchemaIdSerializer`; in the Python client
//! `SchemaId` in `confluent_kafka/schema_registry/common/serde.py`).
//!
//! For Protobuf the place of the message in its schema follows either, see [`write_message_indexes`].

use std::fmt;
use std::str::FromStr;

use eventferry_core::MessageId;

/// The first byte of an id.
const MAGIC_ID: u8 = 0;

/// The first byte of a GUID.
const MAGIC_GUID: u8 = 1;

/// No message is nested deeper: Protobuf's own compilers stop far before.
pub const MESSAGE_INDEXES_MAX: usize = 1_000;

/// A part of a message that a schema may describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Its key.
    Key,
    /// Its value, which is an event's payload.
    Value,
}

impl Part {
    /// The header in which its schema's GUID stands.
    pub fn header(self) -> &'static str {
        match self {
            Self::Key => "__key_schema_id",
            Self::Value => "__value_schema_id",
        }
    }

    /// As it is spelled at the end of a subject's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
        }
    }
}

/// Where a message says by which schema it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Before its bytes, by the schema's id: what every client of Confluent's reads.
    #[default]
    Prefix,
    /// In a header, by the schema's GUID, which is the same in all registries; the bytes are the format's alone. Needs
    /// a registry that gives GUIDs, Confluent's from 8.0 on.
    Header,
}

/// A schema's GUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub [u8; 16]);

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&MessageId(self.0), f)
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Guid {
    type Err = FramingFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = text.parse::<MessageId>();
        id.map(|MessageId(bytes)| Self(bytes))
            .map_err(|_| FramingFault::new("a GUID has 32 hexadecimal digits"))
    }
}

/// A schema's name in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SchemaId {
    /// Its id, given by one registry.
    Id(u32),
    /// Its GUID, the same in all registries.
    Guid(Guid),
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "id {id}"),
            Self::Guid(guid) => write!(f, "GUID {guid}"),
        }
    }
}

impl SchemaId {
    /// Writes it behind its magic byte.
    pub fn write(&self, into: &mut Vec<u8>) {
        match self {
            Self::Id(id) => {
                into.push(MAGIC_ID);
                into.extend_from_slice(&id.to_be_bytes());
            }
            Self::Guid(Guid(bytes)) => {
                into.push(MAGIC_GUID);
                into.extend_from_slice(bytes);
            }
        }
    }

    /// Reads it, and gives what follows. Either form is taken in either place, as Confluent's clients do.
    ///
    /// # Errors
    /// The bytes begin with no such thing: they were written without a registry, or cut off.
    pub fn read(bytes: &[u8]) -> Result<(Self, &[u8]), FramingFault> {
        let cut_off = || FramingFault::new("they end within the schema's id: they were cut off");
        match bytes.split_first() {
            Some((&MAGIC_ID, rest)) => {
                let (id, rest) = rest.split_first_chunk().ok_or_else(cut_off)?;
                Ok((Self::Id(u32::from_be_bytes(*id)), rest))
            }
            Some((&MAGIC_GUID, rest)) => {
                let (guid, rest) = rest.split_first_chunk().ok_or_else(cut_off)?;
                Ok((Self::Guid(Guid(*guid)), rest))
            }
            Some((other, _)) => Err(FramingFault(format!(
                "they begin with byte {other} instead of 0 or 1: they were written without a schema registry"
            ))),
            None => Err(FramingFault::new("there are none, where a schema's id is to be")),
        }
    }
}

/// Writes the place of a message in its Protobuf schema: its index, and for a nested one those of the messages around
/// it before. How many, then each, as zig-zag varints; the first message of all, `[0]`, is the single byte 0, and none
/// counts as that.
pub fn write_message_indexes(indexes: &[u32], into: &mut Vec<u8>) {
    if matches!(indexes, [] | [0]) {
        into.push(0);
        return;
    }
    write_varint(indexes.len() as u64, into);
    indexes.iter().for_each(|index| write_varint(u64::from(*index), into));
}

/// Reads the place of a message in its Protobuf schema, and gives what follows.
///
/// # Errors
/// The bytes are none: cut off, or out of bounds.
pub fn read_message_indexes(bytes: &[u8]) -> Result<(Vec<u32>, &[u8]), FramingFault> {
    let (count, mut rest) = read_varint(bytes)?;
    let count = usize::try_from(count).ok().filter(|count| *count <= MESSAGE_INDEXES_MAX);
    let count = count.ok_or_else(|| {
        FramingFault(format!(
            "they tell of more than {MESSAGE_INDEXES_MAX} Protobuf messages within each other"
        ))
    })?;
    if count == 0 {
        return Ok((vec![0], rest));
    }
    let mut indexes = Vec::with_capacity(count);
    for _ in 0..count {
        let (index, after) = read_varint(rest)?;
        indexes.push(
            u32::try_from(index).map_err(|_| FramingFault::new("a Protobuf message's index is too large"))?,
        );
        rest = after;
    }
    Ok((indexes, rest))
}

/// A number that is not negative, as a zig-zag varint.
fn write_varint(number: u64, into: &mut Vec<u8>) {
    let mut left = number << 1;
    while left > 0x7f {
        // The lowest seven bits, and a mark that more follow.
        into.push(left.to_le_bytes()[0] | 0x80);
        left >>= 7;
    }
    into.push(left.to_le_bytes()[0]);
}

fn read_varint(bytes: &[u8]) -> Result<(u64, &[u8]), FramingFault> {
    let mut number = 0_u64;
    // Five bytes hold all that is in bounds.
    for (at, byte) in bytes.iter().enumerate().take(5) {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            if number & 1 == 1 {
                return Err(FramingFault::new("a Protobuf message's index is negative"));
            }
            return Ok((number >> 1, &bytes[at + 1..]));
        }
    }
    let what = if bytes.len() < 5 {
        "they end within the indexes of a Protobuf message: they were cut off"
    } else {
        "a Protobuf message's index is too large"
    };
    Err(FramingFault::new(what))
}

/// Bytes do not say by which schema they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramingFault(String);

impl FramingFault {
    fn new(what: &str) -> Self {
        Self(what.to_owned())
    }
}

impl fmt::Display for FramingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bytes do not say by which schema they were written: {}", self.0)
    }
}

impl std::error::Error for FramingFault {}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(id: SchemaId, indexes: Option<&[u32]>) -> Vec<u8> {
        let mut bytes = Vec::new();
        id.write(&mut bytes);
        if let Some(indexes) = indexes {
            write_message_indexes(indexes, &mut bytes);
        }
        bytes
    }

    /// Numbers without a pattern, the same in each run (Vigna's splitmix64).
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }

        fn id(&mut self) -> SchemaId {
            let number = self.roll();
            if number.is_multiple_of(2) {
                let digits = u128::from(self.roll()) << 64 | u128::from(self.roll());
                SchemaId::Guid(Guid(digits.to_be_bytes()))
            } else {
                SchemaId::Id((number >> 32) as u32 >> (number % 29))
            }
        }

        fn indexes(&mut self) -> Vec<u32> {
            (0..1 + self.roll() % 6).map(|_| (self.roll() as u32) >> (self.roll() % 32)).collect()
        }
    }

    #[test]
    fn bytes_are_those_of_the_wire_format() {
        let guid: Guid = "00112233-4455-6677-8899-aabbccddeeff".parse().unwrap();
        assert_eq!(written(SchemaId::Id(0x0102_0304), None), [0, 1, 2, 3, 4]);
        assert_eq!(written(SchemaId::Guid(guid), None)[..3], [1, 0, 0x11]);
        for (indexes, bytes) in [
            (&[0][..], &[0][..]),
            (&[], &[0]),
            (&[1], &[2, 2]),
            (&[0, 0], &[4, 0, 0]),
            (&[1, 0, 64], &[6, 2, 0, 0x80, 1]),
        ] {
            assert_eq!(written(SchemaId::Id(7), Some(indexes))[5..], *bytes, "{indexes:?}");
        }
    }

    #[test]
    fn whatever_is_written_reads_back_with_what_follows() {
        let mut dice = Dice(8);
        for _ in 0..20_000 {
            let (id, indexes) = (dice.id(), dice.indexes());
            let mut bytes = written(id, Some(&indexes));
            bytes.extend_from_slice(b"body");
            let (read, rest) = SchemaId::read(&bytes).unwrap();
            let (read_indexes, rest) = read_message_indexes(rest).unwrap();
            assert_eq!((read, read_indexes, rest), (id, indexes, &b"body"[..]));
        }
    }

    #[test]
    fn whatever_is_cut_off_is_refused() {
        let mut dice = Dice(9);
        for _ in 0..2_000 {
            let (id, indexes) = (dice.id(), dice.indexes());
            let whole = written(id, Some(&indexes));
            for cut in 0..whole.len() {
                let read = SchemaId::read(&whole[..cut]).and_then(|(_, rest)| read_message_indexes(rest));
                assert!(read.is_err(), "{:?} of {whole:?}", &whole[..cut]);
            }
        }
    }

    #[test]
    fn foreign_bytes_are_refused_and_say_what_is_there_instead() {
        for (bytes, says) in [
            (&b"{\"total\":7}"[..], "begin with byte 123 instead of 0 or 1"),
            (b"", "there are none"),
            (&[0, 0, 0, 1], "they were cut off"),
            (&[1, 0, 0, 0, 1], "they were cut off"),
        ] {
            let fault = SchemaId::read(bytes).unwrap_err().to_string();
            assert!(fault.contains(says), "{fault}");
        }
        for (bytes, says) in [
            (&[][..], "cut off"),
            (&[2], "cut off"),
            (&[1], "negative"),
            (&[2, 3], "negative"),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 1], "too large"),
            (&[0xfe, 0xff, 0x7f], "more than 1000"),
            (&[2, 0xfe, 0xff, 0xff, 0xff, 0x7f], "too large"),
        ] {
            let fault = read_message_indexes(bytes).unwrap_err().to_string();
            assert!(fault.contains(says), "{bytes:?}: {fault}");
        }
    }
}
