//! An event's columns, copied out of the driver's buffer.

use std::borrow::Cow;
use std::error::Error;

use eventferry_core::packed::Columns;
use eventferry_core::{PackedRow, Timestamp};
use tokio_postgres::types::{FromSql, Type};

/// The columns of an event, by place, in `read_page.sql` and wherever else events are read.
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
    // In `look.sql` only.
    pub(super) const CUR: usize = 12;
    pub(super) const BOUNDS: usize = 13;
    pub(super) const FLUSHED: usize = 14;
}

/// The bytes of a value, whatever its type.
struct Raw<'a>(&'a [u8]);

/// A text, which the server sends as UTF-8 because the driver asks for it.
struct Text<'a>(&'a str);

impl<'a> FromSql<'a> for Text<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(str::from_utf8(raw)?))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

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
        row: PackedRow,
    },
    /// The page looked this far and there is more beyond.
    LookedUpTo(i64),
}

impl PageRow {
    /// Copies the columns out of the driver's buffer, which would live as long as the last row of many.
    pub(crate) fn of(row: &tokio_postgres::Row) -> Result<Self, tokio_postgres::Error> {
        let id = row.try_get(column::ID)?;
        match row.try_get::<_, Option<i32>>(column::LANE)? {
            // A lane is a 16-bit hash modulo the number of lanes.
            Some(lane) => Ok(Self::Event { id, lane: lane as u16, row: packed(row)? }),
            None => Ok(Self::LookedUpTo(id)),
        }
    }
}

/// What a row of a look is.
pub(crate) enum LookRow {
    /// The window just opened: its `cur`, and floor, late floor, late through, cluster and timeline.
    Opened {
        cur: String,
        bounds: [i64; 5],
    },
    Page(PageRow),
    /// The last one: whether the log is on disk as far as it must be.
    Flushed(bool),
}

impl LookRow {
    /// See [`PageRow::of`].
    pub(crate) fn of(row: &tokio_postgres::Row) -> Result<Self, tokio_postgres::Error> {
        if let Some(flushed) = row.try_get(column::FLUSHED)? {
            return Ok(Self::Flushed(flushed));
        }
        match row.try_get(column::CUR)? {
            Some(cur) => {
                let bounds: Vec<i64> = row.try_get(column::BOUNDS)?;
                let bounds = std::array::from_fn(|at| bounds.get(at).copied().unwrap_or_default());
                Ok(Self::Opened { cur, bounds })
            }
            None => PageRow::of(row).map(Self::Page),
        }
    }
}

/// The event of a row.
pub(crate) fn packed(row: &tokio_postgres::Row) -> Result<PackedRow, tokio_postgres::Error> {
    let raw = |column| Ok(row.try_get::<_, Option<Raw<'_>>>(column)?.map(|raw| raw.0));
    let text = |column| row.try_get::<_, Option<Text<'_>>>(column).map(|text| text.map(|text| text.0));
    let columns = Columns {
        message_id: raw(column::MESSAGE_ID)?.unwrap_or_default(),
        topic: text(column::TOPIC)?.unwrap_or_default().into(),
        aggregate_type: text(column::AGGREGATE_TYPE)?.unwrap_or_default().into(),
        aggregate_id: text(column::AGGREGATE_ID)?.unwrap_or_default().into(),
        content_type: text(column::CONTENT_TYPE)?.map(Into::into),
        key: raw(column::KEY)?,
        headers: raw(column::HEADERS)?.map(headers_of).unwrap_or_default(),
        partition: row.try_get(column::PARTITION)?,
        enqueued_at: timestamp(row, column::CREATED_AT).unwrap_or(Timestamp(0)),
    };
    Ok(columns.with_payload(raw(column::PAYLOAD)?))
}

/// Microseconds since 1970 of a timestamptz in its binary form.
pub(crate) fn timestamp(row: &tokio_postgres::Row, column: usize) -> Option<Timestamp> {
    let raw: Option<Raw<'_>> = row.try_get(column).ok()?;
    timestamp_of(raw?.0)
}

/// The same of the value by itself.
pub(crate) fn timestamp_of(raw: &[u8]) -> Option<Timestamp> {
    let micros = i64::from_be_bytes(raw.try_into().ok()?);
    Some(Timestamp(micros.saturating_add(POSTGRES_EPOCH_MICROS)))
}

/// The elements of a `bytea[]` in its binary form, as headers are packed: the length of each in 4 bytes, and its bytes.
/// A null is empty. An array of pairs, `{{name,value},...}`, reads like the flat one.
///
/// Source: PostgreSQL's `array_send`: dimensions, flags and element type, 4 bytes each; length and lower bound of each
/// dimension; then each element's length (-1: null) and bytes, the last dimension first.
pub(crate) fn headers_of(array: &[u8]) -> Cow<'_, [u8]> {
    let has_nulls = array.get(4..8) != Some(&[0; 4]);
    let dimensions = array.first_chunk::<4>().map_or(0, |count| i32::from_be_bytes(*count));
    let head = usize::try_from(dimensions).ok().and_then(|count| count.checked_mul(8)?.checked_add(12));
    match head.and_then(|head| array.get(head..)) {
        Some(elements) if has_nulls => {
            let null = (-1i32).to_be_bytes();
            let mut packed = Vec::with_capacity(elements.len());
            let mut rest = elements;
            while let Some((length, after)) = rest.split_first_chunk::<4>() {
                let length = if *length == null { [0; 4] } else { *length };
                let (element, after) = after.split_at(after.len().min(u32::from_be_bytes(length) as usize));
                packed.extend_from_slice(&length);
                packed.extend_from_slice(element);
                rest = after;
            }
            packed.into()
        }
        elements => elements.unwrap_or_default().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An array of three elements, the second of them null.
    fn array(flags: u8, elements: &[u8]) -> Vec<u8> {
        let mut array = vec![0, 0, 0, 1, 0, 0, 0, flags, 0, 0, 0, 17, 0, 0, 0, 3, 0, 0, 0, 1];
        array.extend(elements);
        array
    }

    #[test]
    fn elements_are_packed_in_order() {
        let elements = [0, 0, 0, 1, b'a', 0, 0, 0, 2, 0, 9];
        assert_eq!(*headers_of(&array(0, &elements)), elements);
    }

    #[test]
    fn a_null_is_empty() {
        let elements = [0, 0, 0, 1, b'a', 255, 255, 255, 255, 0, 0, 0, 2, 0, 9];
        assert_eq!(*headers_of(&array(1, &elements)), [0, 0, 0, 1, b'a', 0, 0, 0, 0, 0, 0, 0, 2, 0, 9]);
    }

    #[test]
    fn an_empty_or_broken_array_has_none_and_panics_nowhere() {
        assert!(headers_of(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 17]).is_empty());
        for cut in 0..30 {
            let whole = array(1, &[0, 0, 0, 9, b'a', 255, 255, 255, 255, 0]);
            let _ = headers_of(&whole[..cut]);
        }
    }

    #[test]
    fn an_array_of_pairs_reads_like_a_flat_one() {
        let mut array =
            vec![0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1];
        let elements = [0, 0, 0, 1, b'a', 0, 0, 0, 1, b'b'];
        array.extend(elements);
        assert_eq!(*headers_of(&array), elements);
        assert!(headers_of(&[127, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 17]).is_empty());
    }
}
