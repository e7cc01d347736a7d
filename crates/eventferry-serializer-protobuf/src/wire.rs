//! The wire format (<https://protobuf.dev/programming-guides/encoding/>).

use crate::messages::Scalar;

/// How a field lies on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
    Start = 3,
    End = 4,
    Fixed32 = 5,
}

/// A field as it lies on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Raw<'b> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'b [u8]),
    /// What lies between a group's tags.
    Group(&'b [u8]),
}

/// What a value is in bits, before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bits {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
}

impl Bits {
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Varint(value) => write_varint(out, value),
            Self::Fixed64(value) => out.extend_from_slice(&value.to_le_bytes()),
            Self::Fixed32(value) => out.extend_from_slice(&value.to_le_bytes()),
        }
    }

    pub(crate) fn is_zero(self) -> bool {
        matches!(self, Self::Varint(0) | Self::Fixed64(0) | Self::Fixed32(0))
    }
}

impl Scalar {
    pub(crate) fn wire_type(self) -> WireType {
        match self {
            Self::Double | Self::Fixed64 | Self::Sfixed64 => WireType::Fixed64,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => WireType::Fixed32,
            Self::String | Self::Bytes => WireType::Bytes,
            _ => WireType::Varint,
        }
    }
}

pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

pub(crate) fn write_tag(out: &mut Vec<u8>, number: u32, wire_type: WireType) {
    write_varint(out, u64::from(number) << 3 | wire_type as u64);
}

pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Puts its length before what was written since `start`.
pub(crate) fn put_length(out: &mut Vec<u8>, start: usize) {
    let end = out.len();
    write_varint(out, (end - start) as u64);
    let length = out.len() - end;
    out[start..].rotate_right(length);
}

/// Takes a number from the front.
pub(crate) fn varint(rest: &mut &[u8]) -> Result<u64, String> {
    let mut value: u64 = 0;
    for (place, byte) in rest.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * place as u32).unwrap_or(0);
        if byte & 0x80 == 0 {
            *rest = &rest[place + 1..];
            return Ok(value);
        }
    }
    Err("a number that has no end, or more than 64 bits".to_owned())
}

/// Takes a field from the front: its number, and what it is.
pub(crate) fn field<'b>(rest: &mut &'b [u8]) -> Result<(u32, Raw<'b>), String> {
    let (number, wire_type) = tag(rest)?;
    let raw = match wire_type {
        WireType::Varint => Raw::Varint(varint(rest)?),
        WireType::Fixed64 => Raw::Fixed64(u64::from_le_bytes(fixed(rest)?)),
        WireType::Fixed32 => Raw::Fixed32(u32::from_le_bytes(fixed(rest)?)),
        WireType::Bytes => Raw::Bytes(bytes(rest)?),
        WireType::Start => Raw::Group(group(rest, number)?),
        WireType::End => return Err("a group ends that has not begun".to_owned()),
    };
    Ok((number, raw))
}

fn tag(rest: &mut &[u8]) -> Result<(u32, WireType), String> {
    let tag =
        u32::try_from(varint(rest)?).map_err(|_| "a field's number is beyond what is allowed".to_owned())?;
    let wire_type = match tag & 7 {
        0 => WireType::Varint,
        1 => WireType::Fixed64,
        2 => WireType::Bytes,
        3 => WireType::Start,
        4 => WireType::End,
        5 => WireType::Fixed32,
        _ => return Err("a field of a kind that does not exist".to_owned()),
    };
    if tag >> 3 == 0 { Err("a field's number is 0".to_owned()) } else { Ok((tag >> 3, wire_type)) }
}

/// What lies between a group's tags; groups within are counted, not entered.
fn group<'b>(rest: &mut &'b [u8], number: u32) -> Result<&'b [u8], String> {
    let start = *rest;
    let mut open = vec![number];
    loop {
        let before = rest.len();
        let (number, wire_type) = tag(rest)?;
        match wire_type {
            WireType::Varint => drop(varint(rest)?),
            WireType::Fixed64 => drop(fixed::<8>(rest)?),
            WireType::Fixed32 => drop(fixed::<4>(rest)?),
            WireType::Bytes => drop(bytes(rest)?),
            WireType::Start => open.push(number),
            WireType::End if open.pop() != Some(number) => {
                return Err("a group ends that has not begun".to_owned());
            }
            WireType::End if open.is_empty() => return Ok(&start[..start.len() - before]),
            WireType::End => (),
        }
    }
}

pub(crate) fn fixed<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], String> {
    let (head, after) =
        rest.split_first_chunk::<N>().ok_or_else(|| "the bytes end within a number".to_owned())?;
    *rest = after;
    Ok(*head)
}

fn bytes<'b>(rest: &mut &'b [u8]) -> Result<&'b [u8], String> {
    let length = varint(rest)?;
    let found = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
    let (head, after) =
        found.ok_or_else(|| format!("{length} bytes are announced, and {} are there", rest.len()))?;
    *rest = after;
    Ok(head)
}
