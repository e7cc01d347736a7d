//! Columns as SQLite lends them.

use std::borrow::Cow;

use rusqlite::types::ValueRef;

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
