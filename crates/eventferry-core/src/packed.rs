//! A row in the fewest allocations, and headers in one run of bytes: for stores whose drivers lend columns.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::event::{Header, MessageId};
use crate::record::{Row, Timestamp};

/// A [`Row`] in two allocations: one text and one run of bytes. It holds nothing of its driver's buffers, so what is
/// kept in memory is what is counted.
#[derive(Clone, PartialEq, Eq)]
pub struct PackedRow {
    message_id: MessageId,
    enqueued_at: Timestamp,
    partition: Option<i32>,
    /// Topic, aggregate type, aggregate id, content type.
    text: Box<str>,
    topic_end: u32,
    type_end: u32,
    id_end: u32,
    has_content_type: bool,
    /// Key, headers, payload.
    bytes: Box<[u8]>,
    key_end: u32,
    headers_end: u32,
    has_key: bool,
    has_payload: bool,
}

/// The columns of a row where a driver or database holds them, to be packed.
#[derive(Clone, Debug)]
pub struct Columns<'a> {
    /// 16 bytes; fewer are filled up with zeros.
    pub message_id: &'a [u8],
    /// The broker's topic.
    pub topic: Cow<'a, str>,
    /// What kind of thing it is about.
    pub aggregate_type: Cow<'a, str>,
    /// Which one.
    pub aggregate_id: Cow<'a, str>,
    /// The payload's media type.
    pub content_type: Option<Cow<'a, str>>,
    /// The application's key.
    pub key: Option<&'a [u8]>,
    /// As [`packed_headers`] writes them.
    pub headers: Cow<'a, [u8]>,
    /// The partition asked for.
    pub partition: Option<i32>,
    /// When it was enqueued.
    pub enqueued_at: Timestamp,
}

impl Columns<'_> {
    /// Copies everything, with the payload.
    pub fn with_payload(&self, payload: Option<&[u8]>) -> PackedRow {
        let content_type = self.content_type.as_deref();
        let text = [&self.topic, &self.aggregate_type, &self.aggregate_id, content_type.unwrap_or_default()]
            .concat();
        let key = self.key.unwrap_or_default();
        // No database holds columns of 4 GiB.
        let topic_end = self.topic.len() as u32;
        let type_end = topic_end + self.aggregate_type.len() as u32;
        let mut message_id = [0; 16];
        for (to, from) in message_id.iter_mut().zip(self.message_id) {
            *to = *from;
        }
        PackedRow {
            message_id: MessageId(message_id),
            enqueued_at: self.enqueued_at,
            partition: self.partition,
            text: text.into(),
            topic_end,
            type_end,
            id_end: type_end + self.aggregate_id.len() as u32,
            has_content_type: content_type.is_some(),
            bytes: [key, &self.headers, payload.unwrap_or_default()].concat().into(),
            key_end: key.len() as u32,
            headers_end: (key.len() + self.headers.len()) as u32,
            has_key: self.key.is_some(),
            has_payload: payload.is_some(),
        }
    }
}

impl Row for PackedRow {
    fn message_id(&self) -> MessageId {
        self.message_id
    }

    fn topic(&self) -> &str {
        &self.text[..self.topic_end as usize]
    }

    fn aggregate_type(&self) -> &str {
        &self.text[self.topic_end as usize..self.type_end as usize]
    }

    fn aggregate_id(&self) -> &str {
        &self.text[self.type_end as usize..self.id_end as usize]
    }

    fn key(&self) -> Option<&[u8]> {
        self.has_key.then(|| &self.bytes[..self.key_end as usize])
    }

    fn payload(&self) -> Option<&[u8]> {
        self.has_payload.then(|| &self.bytes[self.headers_end as usize..])
    }

    fn content_type(&self) -> Option<&str> {
        self.has_content_type.then(|| &self.text[self.id_end as usize..])
    }

    fn headers(&self, each: &mut dyn FnMut(&str, &[u8])) {
        each_header(&self.bytes[self.key_end as usize..self.headers_end as usize], each);
    }

    fn partition(&self) -> Option<i32> {
        self.partition
    }

    fn enqueued_at(&self) -> Timestamp {
        self.enqueued_at
    }

    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.text.len() + self.bytes.len()
    }
}

/// Without the payload.
impl fmt::Debug for PackedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedRow")
            .field("message_id", &self.message_id)
            .field("topic", &self.topic())
            .field("aggregate_type", &self.aggregate_type())
            .field("aggregate_id", &self.aggregate_id())
            .finish_non_exhaustive()
    }
}

/// The encoding of headers in a blob: for each the length of its name in 4 bytes, the name, the length of its value in
/// 4 bytes, the value; lengths big-endian. It keeps order, repeated names and bytes. No header: NULL.
pub fn packed_headers(headers: &[Header]) -> Option<Vec<u8>> {
    if headers.is_empty() {
        return None;
    }
    let mut blob = Vec::new();
    for Header { name, value } in headers {
        push_header(&mut blob, name.as_bytes(), value);
    }
    Some(blob)
}

/// Adds one header to a blob.
pub fn push_header(blob: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, value] {
        // No database holds a header of 4 GiB.
        blob.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        blob.extend_from_slice(part);
    }
}

/// The name under which a blob of headers comes that is none.
const UNREADABLE: &str = "eventferry-unreadable-headers";

/// Walks over the headers of a blob. One that is not in the encoding comes whole, under a name that says so: the event
/// goes on, and nothing of it is lost.
fn each_header(blob: &[u8], each: &mut dyn FnMut(&str, &[u8])) {
    if headers_of(blob).any(|header| header.is_none()) {
        return each(UNREADABLE, blob);
    }
    for (name, value) in headers_of(blob).flatten() {
        each(name, value);
    }
}

/// The headers of a blob; a last `None` says that what follows is not in the encoding.
fn headers_of(mut blob: &[u8]) -> impl Iterator<Item = Option<(&str, &[u8])>> {
    fn part<'a>(blob: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (length, rest) = blob.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        *blob = rest;
        Some(part)
    }
    core::iter::from_fn(move || {
        if blob.is_empty() {
            return None;
        }
        let header = part(&mut blob).and_then(|name| Some((str::from_utf8(name).ok()?, part(&mut blob)?)));
        if header.is_none() {
            blob = &[];
        }
        Some(header)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;
    use alloc::string::String;

    fn walked(blob: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut headers = Vec::new();
        each_header(blob, &mut |name, value| headers.push((name.to_owned(), value.to_vec())));
        headers
    }

    fn header(name: &str, value: &[u8]) -> Header {
        Header { name: name.into(), value: value.into() }
    }

    #[test]
    fn headers_keep_order_repeats_and_bytes() {
        let headers = [header("b", &[0, 255]), header("", b""), header("b", b"2"), header("größe", b"x")];
        let blob = packed_headers(&headers).unwrap();
        let expected: Vec<_> = headers.iter().map(|h| (h.name.clone(), h.value.clone())).collect();
        assert_eq!(walked(&blob), expected);
        assert_eq!(packed_headers(&[]), None);
        assert_eq!(walked(&[]), []);
    }

    #[test]
    fn a_blob_that_holds_no_headers_comes_whole() {
        let whole = packed_headers(&[header("name", b"value")]).unwrap();
        for cut in 1..whole.len() {
            assert_eq!(walked(&whole[..cut]), [(UNREADABLE.to_owned(), whole[..cut].to_vec())]);
        }
        let not_text = [0, 0, 0, 1, 0xff, 0, 0, 0, 0];
        assert_eq!(walked(&not_text), [(UNREADABLE.to_owned(), not_text.to_vec())]);
    }

    #[test]
    fn a_row_gives_back_each_column() {
        let columns = Columns {
            message_id: &[7; 16],
            topic: "t".into(),
            aggregate_type: "größe".into(),
            aggregate_id: "42".into(),
            content_type: None,
            key: Some(b""),
            headers: packed_headers(&[header("a", b"1")]).unwrap().into(),
            partition: Some(3),
            enqueued_at: Timestamp(5),
        };
        let tombstone = columns.with_payload(None);
        assert_eq!(tombstone.payload(), None);
        assert_eq!(tombstone.content_type(), None);
        let row = columns.with_payload(Some(b"{}"));
        assert_eq!((row.topic(), row.aggregate_type(), row.aggregate_id()), ("t", "größe", "42"));
        assert_eq!((row.key(), row.payload()), (Some(&b""[..]), Some(&b"{}"[..])));
        assert_eq!(
            (row.message_id(), row.partition(), row.enqueued_at()),
            (MessageId([7; 16]), Some(3), Timestamp(5))
        );
        let mut names = Vec::new();
        row.headers(&mut |name, _| names.push(name.to_owned()));
        assert_eq!(names, ["a"]);
    }
}
