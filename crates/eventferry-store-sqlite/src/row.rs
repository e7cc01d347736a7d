//! Columns as SQLite lends them.

use std::borrow::Cow;

use eventferry_core::Timestamp;
use eventferry_core::packed::{Columns, push_header};
use rusqlite::CachedStatement;
use rusqlite::types::{ToSqlOutput, ValueRef};

/// A column's bytes, whether an application wrote them as text or as a blob; `None`: NULL.
pub(crate) fn bytes_of(column: ValueRef<'_>) -> Option<&[u8]> {
    match column {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes),
        // Checks keep numbers out.
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => None,
    }
}

/// A column's text. SQLite does not look whether text is UTF-8; what is not is replaced, always alike, rather than
/// letting one event stop a lane.
pub(crate) fn text_of(column: ValueRef<'_>) -> Option<Cow<'_, str>> {
    bytes_of(column).map(String::from_utf8_lossy)
}

/// An event's columns, where they stand in `sql/read.sql` and `sql/parked_row.sql`, without the payload.
pub(crate) fn columns_of<'a>(
    row: &'a rusqlite::Row<'_>,
    json_headers: &mut CachedStatement<'_>,
) -> rusqlite::Result<Columns<'a>> {
    Ok(Columns {
        message_id: bytes_of(row.get_ref(8)?).unwrap_or_default(),
        topic: text_of(row.get_ref(4)?).unwrap_or_default(),
        aggregate_type: text_of(row.get_ref(1)?).unwrap_or_default(),
        aggregate_id: text_of(row.get_ref(2)?).unwrap_or_default(),
        content_type: text_of(row.get_ref(6)?),
        key: bytes_of(row.get_ref(5)?),
        headers: match row.get_ref(7)? {
            ValueRef::Text(json) => headers_of_json(json_headers, json).into(),
            blob => bytes_of(blob).unwrap_or_default().into(),
        },
        partition: row.get(9)?,
        enqueued_at: Timestamp(row.get(10)?),
    })
}

/// The headers of a JSON object in our encoding, walked over by SQLite, which keeps order and repeated names. What it
/// cannot read is handed on as it is, and comes out under a name that says so.
fn headers_of_json(statement: &mut CachedStatement<'_>, json: &[u8]) -> Vec<u8> {
    let mut blob = Vec::new();
    let mut walk = || {
        let mut headers = statement.query([ToSqlOutput::Borrowed(ValueRef::Text(json))])?;
        while let Some(header) = headers.next()? {
            let (name, value) = (bytes_of(header.get_ref(0)?), bytes_of(header.get_ref(1)?));
            push_header(&mut blob, name.unwrap_or_default(), value.unwrap_or_default());
        }
        Ok::<_, rusqlite::Error>(())
    };
    if walk().is_err() {
        return json.to_vec();
    }
    blob
}
