//! An event's columns, read where they lie in the driver's buffer.

use std::error::Error;

use eventferry_core::{MessageId, Row, Timestamp};
use tokio_postgres::types::{FromSql, Type};

/// The columns of `read_page.sql`, by place.
mod column {
    pub(super) const ID: usize = 0;
    pub(super) const LANE: usize = 1;
    pub(super) const CREATED_AT: usize = 2;
    pub(super) const MESSAGE_ID: usize = 3;
    pub(super) const TOPIC: usize = 4;
    pub(super) const AGGREGATE_TYPE: usize = 5;
    pub(super) const AGGREGATE_ID: usize = 6;
    pub(super) const KEY: usize = 7;
    pub(super) const PAYLOAD: usize = 8;
    pub(super) const CONTENT_TYPE: usize = 9;
    pub(super) const HEADERS: usize = 10;
    pub(super) const PARTITION: usize = 11;
}

/// An event as PostgreSQL sent it.
#[derive(Debug)]
pub struct PostgresRow {
    row: tokio_postgres::Row,
}

/// The bytes of a value, whatever its type.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Microseconds between 1970 and 2000, where PostgreSQL's time begins.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// What a row of a page is.
pub(crate) enum PageRow {
    Event {
        id: i64,
        lane: u16,
        row: PostgresRow,
    },
    /// The page looked this far and there is more beyond.
    LookedUpTo(i64),
}

impl PageRow {
    pub(crate) fn of(row: tokio_postgres::Row) -> Result<Self, tokio_postgres::Error> {
        let id = row.try_get(column::ID)?;
        match row.try_get::<_, Option<i32>>(column::LANE)? {
            // A lane is a 16-bit hash modulo the number of lanes.
            Some(lane) => Ok(Self::Event { id, lane: lane as u16, row: PostgresRow { row } }),
            None => Ok(Self::LookedUpTo(id)),
        }
    }
}

impl PostgresRow {
    fn text(&self, column: usize) -> &str {
        self.row.try_get(column).unwrap_or_default()
    }

    pub(crate) fn payload_bytes(&self) -> u64 {
        self.payload().map_or(0, <[u8]>::len) as u64
    }

    fn raw(&self, column: usize) -> Option<&[u8]> {
        self.row.try_get::<_, Option<Raw<'_>>>(column).ok().flatten().map(|raw| raw.0)
    }
}

impl Row for PostgresRow {
    fn message_id(&self) -> MessageId {
        let bytes = self.raw(column::MESSAGE_ID).and_then(|raw| raw.try_into().ok());
        MessageId(bytes.unwrap_or_default())
    }

    fn topic(&self) -> &str {
        self.text(column::TOPIC)
    }

    fn aggregate_type(&self) -> &str {
        self.text(column::AGGREGATE_TYPE)
    }

    fn aggregate_id(&self) -> &str {
        self.text(column::AGGREGATE_ID)
    }

    fn key(&self) -> Option<&[u8]> {
        self.raw(column::KEY)
    }

    fn payload(&self) -> Option<&[u8]> {
        self.raw(column::PAYLOAD)
    }

    fn content_type(&self) -> Option<&str> {
        self.row.try_get(column::CONTENT_TYPE).ok().flatten()
    }

    fn headers(&self, each: &mut dyn FnMut(&str, &[u8])) {
        let Some(array) = self.raw(column::HEADERS) else { return };
        let mut elements = Elements::of(array);
        while let (Some(name), Some(value)) = (elements.next(), elements.next()) {
            each(&String::from_utf8_lossy(name), value);
        }
    }

    fn partition(&self) -> Option<i32> {
        self.row.try_get(column::PARTITION).ok().flatten()
    }

    fn enqueued_at(&self) -> Timestamp {
        let micros =
            self.raw(column::CREATED_AT).and_then(|raw| raw.try_into().ok()).map_or(0, i64::from_be_bytes);
        Timestamp(micros.saturating_add(POSTGRES_EPOCH_MICROS))
    }
}

/// Microseconds since 1970 of a timestamptz in its binary form.
pub(crate) fn timestamp(row: &tokio_postgres::Row, column: usize) -> Option<Timestamp> {
    let raw: Option<Raw<'_>> = row.try_get(column).ok()?;
    let micros = i64::from_be_bytes(raw?.0.try_into().ok()?);
    Some(Timestamp(micros.saturating_add(POSTGRES_EPOCH_MICROS)))
}

/// The elements of a `bytea[]` in its binary form; a null is empty. An array of pairs, `{{name,value},...}`, reads like
/// the flat one.
///
/// Source: PostgreSQL's `array_send`: dimensions, flags and element type, 4 bytes each; length and lower bound of each
/// dimension; then each element's length (-1: null) and bytes, the last dimension first.
struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    fn of(array: &'a [u8]) -> Self {
        let dimensions = array.first_chunk::<4>().map_or(0, |count| i32::from_be_bytes(*count));
        let head = usize::try_from(dimensions).ok().and_then(|count| count.checked_mul(8)?.checked_add(12));
        Self { rest: head.and_then(|head| array.get(head..)).unwrap_or_default() }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let (element, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_an_array_come_in_order() {
        let mut array = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 3, 0, 0, 0, 1];
        array.extend([0, 0, 0, 1, b'a', 255, 255, 255, 255, 0, 0, 0, 2, 0, 9]);
        let elements: Vec<_> = Elements::of(&array).collect();
        assert_eq!(elements, [&b"a"[..], &[], &[0, 9]]);
    }

    #[test]
    fn an_array_of_pairs_reads_like_a_flat_one() {
        let mut array =
            vec![0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1];
        array.extend([0, 0, 0, 1, b'a', 0, 0, 0, 1, b'b']);
        assert_eq!(Elements::of(&array).collect::<Vec<_>>(), [b"a", b"b"]);
    }

    #[test]
    fn a_broken_array_ends_early() {
        let mut array = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 1, 0, 0, 0, 1];
        array.extend([0, 0, 0, 9, b'a']);
        assert_eq!(Elements::of(&array).count(), 0);
        assert_eq!(Elements::of(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 17]).count(), 0);
        assert_eq!(Elements::of(&[127, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 17]).count(), 0);
    }
}
