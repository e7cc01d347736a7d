//! pgoutput's messages, version 1, and the columns of an event in them.
//!
//! Source: PostgreSQL 18 documentation, "Logical Replication Message Formats". Nothing is copied here: columns are lent
//! from the wire's buffer.

use eventferry_core::packed::Columns;
use eventferry_core::{PackedRow, Timestamp};

use crate::PAYLOAD_BYTES_MAX;
use crate::row::{headers_of, timestamp_of};

/// A message, as far as we look at it.
pub(super) enum Message<'a> {
    Begin {
        commit: u64,
        xid: u32,
    },
    Commit {
        end: u64,
    },
    /// A table whose rows may follow.
    Relation {
        id: u32,
        body: &'a [u8],
    },
    Insert {
        relation: u32,
        tuple: &'a [u8],
    },
    /// What was emitted in the transaction, under a prefix.
    Emitted {
        prefix: &'a [u8],
        content: &'a [u8],
    },
    Other,
}

/// Takes bytes from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(*self.take(4)?.first_chunk()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(*self.take(8)?.first_chunk()?))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.take(end)?;
        self.take(1)?;
        Some(text)
    }
}

impl<'a> Message<'a> {
    /// Reads a message; `None`: it is cut short, or none of ours.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        Some(match bytes.u8()? {
            b'B' => {
                let commit = bytes.u64()?;
                bytes.take(8)?;
                Self::Begin { commit, xid: bytes.u32()? }
            }
            b'C' => {
                bytes.take(1 + 8)?;
                Self::Commit { end: bytes.u64()? }
            }
            b'R' => Self::Relation { id: bytes.u32()?, body: bytes.0 },
            b'I' => {
                let relation = bytes.u32()?;
                if bytes.u8()? != b'N' {
                    return None;
                }
                Self::Insert { relation, tuple: bytes.0 }
            }
            b'M' => {
                let transactional = bytes.u8()? & 1 == 1;
                bytes.take(8)?;
                let prefix = bytes.text()?;
                let length = bytes.u32()? as usize;
                let content = bytes.take(length)?;
                if transactional { Self::Emitted { prefix, content } } else { Self::Other }
            }
            // Updates, deletes, truncation, types, origins.
            b'U' | b'D' | b'T' | b'Y' | b'O' => Self::Other,
            _ => return None,
        })
    }
}

/// The columns of an event that are looked for, by their names in the table.
const NAMES: [&str; 12] = [
    "xid",
    "id",
    "created_at",
    "message_id",
    "topic",
    "aggregate_type",
    "aggregate_id",
    "key",
    "payload",
    "content_type",
    "headers",
    "partition",
];

/// An event's columns in binary form, lent.
#[derive(Default)]
pub(super) struct Tuple<'a>([Option<&'a [u8]>; NAMES.len()]);

/// Which column of a table is which of an event's; `None` for one that is not looked at.
pub(super) struct Layout(Vec<Option<usize>>);

impl Layout {
    /// The layout of a table, if it is the outbox.
    pub(super) fn of(relation: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(relation);
        if (bytes.text()?, bytes.text()?) != (b"eventferry", b"outbox") {
            return None;
        }
        bytes.u8()?;
        let mut places = Vec::new();
        for _ in 0..bytes.u16()? {
            bytes.u8()?;
            let name = bytes.text()?;
            bytes.take(8)?;
            places.push(NAMES.iter().position(|known| known.as_bytes() == name));
        }
        Some(Self(places))
    }

    /// A row of the table.
    pub(super) fn tuple<'a>(&self, tuple: &'a [u8]) -> Option<Tuple<'a>> {
        let mut bytes = Bytes(tuple);
        let mut columns = Tuple::default();
        let count = usize::from(bytes.u16()?);
        for place in 0..count {
            let value = match bytes.u8()? {
                b'n' | b'u' => None,
                _ => {
                    let length = bytes.u32()? as usize;
                    Some(bytes.take(length)?)
                }
            };
            if let Some(Some(place)) = self.0.get(place) {
                columns.0[*place] = value;
            }
        }
        Some(columns)
    }
}

impl<'a> Tuple<'a> {
    /// The event in a message's content: a record in binary form, its fields in the order of [`NAMES`].
    pub(super) fn of_record(content: &'a [u8]) -> Option<Self> {
        let mut bytes = Bytes(content);
        let mut columns = Self::default();
        if bytes.u32()? as usize != NAMES.len() {
            return None;
        }
        for column in &mut columns.0 {
            bytes.take(4)?;
            let length = bytes.u32()?;
            *column = if length == u32::MAX { None } else { Some(bytes.take(length as usize)?) };
        }
        Some(columns)
    }

    /// Whether `eventferry.emit_event()` would have written it: what breaks its limits cannot be parked, and would stop
    /// a relay.
    pub(super) fn could_be_emitted(&self) -> bool {
        let has = |place: usize, bytes: usize| self.0[place].is_some_and(|value| value.len() == bytes);
        let is_text = |place| self.text(place).is_some_and(|text: &str| !text.contains('\0'));
        let is_name = |place| is_text(place) && (1..=1024).contains(&self.0[place].map_or(0, <[u8]>::len));
        has(0, 8)
            && has(1, 8)
            && has(2, 8)
            && has(3, 16)
            && is_text(4)
            && (1..=249).contains(&self.text(4).unwrap_or_default().chars().count())
            && is_name(5)
            && is_name(6)
            && self.0[8].is_none_or(|payload| payload.len() as u64 <= PAYLOAD_BYTES_MAX)
            && (self.0[9].is_none() || is_text(9))
            && self.0[11]
                .is_none_or(|raw| raw.first_chunk::<4>().is_some_and(|raw| i32::from_be_bytes(*raw) >= 0))
    }

    /// Whether this transaction enqueued it. A row that was moved or put back by hand has another's xid.
    pub(super) fn is_of(&self, xid: u32) -> bool {
        self.0[0].and_then(|own| own.last_chunk::<4>()).is_some_and(|own| u32::from_be_bytes(*own) == xid)
    }

    pub(super) fn id(&self) -> Option<i64> {
        Some(i64::from_be_bytes(self.0[1]?.try_into().ok()?))
    }

    /// Aggregate type and id.
    pub(super) fn aggregate(&self) -> Option<(&'a str, &'a str)> {
        Some((self.text(5)?, self.text(6)?))
    }

    fn text(&self, place: usize) -> Option<&'a str> {
        str::from_utf8(self.0[place]?).ok()
    }

    /// The event; two allocations.
    pub(super) fn pack(&self) -> Option<PackedRow> {
        let columns = Columns {
            message_id: self.0[3]?,
            topic: self.text(4)?.into(),
            aggregate_type: self.text(5)?.into(),
            aggregate_id: self.text(6)?.into(),
            content_type: self.text(9).map(Into::into),
            key: self.0[7],
            headers: self.0[10].map(headers_of).unwrap_or_default(),
            partition: self.0[11].and_then(|raw| Some(i32::from_be_bytes(raw.try_into().ok()?))),
            enqueued_at: self.0[2].and_then(timestamp_of).unwrap_or(Timestamp(0)),
        };
        Some(columns.with_payload(self.0[8]))
    }
}
