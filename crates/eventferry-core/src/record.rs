//! An event as a store reads it back, and the envelope in which it travels on.

use alloc::string::String;
use alloc::vec::Vec;

use crate::event::{Event, Header, MessageId};
use crate::lane::Lane;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Whole milliseconds since 1970, rounded down: a broker's unit.
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// The columns of one stored event, in whatever form its store got them.
///
/// A store hands rows over by the thousand, so this is a view and not a struct: a store that has the row in a
/// network buffer need not copy it. One without such worries hands over a [`StoredEvent`].
pub trait Row: Send + Sync + 'static {
    /// The message's identity, the same at every reading.
    fn message_id(&self) -> MessageId;
    /// The broker's topic.
    fn topic(&self) -> &str;
    /// What kind of thing the event is about.
    fn aggregate_type(&self) -> &str;
    /// Which one it is about.
    fn aggregate_id(&self) -> &str;
    /// The key the application gave, if it did.
    fn key(&self) -> Option<&[u8]>;
    /// The payload's bytes; `None` is a tombstone.
    fn payload(&self) -> Option<&[u8]>;
    /// The payload's media type, if the application gave one.
    fn content_type(&self) -> Option<&str>;
    /// Calls `each` for every header of the event's own, in order, repeated names included.
    fn headers(&self, each: &mut dyn FnMut(&str, &[u8]));
    /// The partition the application asked for, if it did.
    fn partition(&self) -> Option<i32>;
    /// When the event was enqueued, by the database's clock.
    fn enqueued_at(&self) -> Timestamp;
    /// About how many bytes the row takes in memory: at least those of its columns and 2 for each header. What is
    /// bounded in bytes is bounded by this, so it must be cheap.
    fn size_bytes(&self) -> usize;
}

/// An event as read back: what a feed hands over.
#[derive(Clone, Debug)]
pub struct Record<M, R> {
    /// The lane its aggregate falls into.
    pub lane: Lane,
    /// Its place in the lane; opaque to everybody but its store.
    pub mark: M,
    /// What was enqueued.
    pub row: R,
}

/// A [`Row`] that owns its columns: for stores that need no better, and for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// The message's identity.
    pub message_id: MessageId,
    /// What was enqueued; its own `message_id` is not looked at.
    pub event: Event,
    /// When it was enqueued.
    pub enqueued_at: Timestamp,
}

impl Row for StoredEvent {
    fn message_id(&self) -> MessageId {
        self.message_id
    }

    fn topic(&self) -> &str {
        &self.event.topic
    }

    fn aggregate_type(&self) -> &str {
        &self.event.aggregate.kind
    }

    fn aggregate_id(&self) -> &str {
        &self.event.aggregate.id
    }

    fn key(&self) -> Option<&[u8]> {
        self.event.key.as_deref()
    }

    fn payload(&self) -> Option<&[u8]> {
        self.event.payload.as_deref()
    }

    fn content_type(&self) -> Option<&str> {
        self.event.content_type.as_deref()
    }

    fn headers(&self, each: &mut dyn FnMut(&str, &[u8])) {
        for Header { name, value } in &self.event.headers {
            each(name, value);
        }
    }

    fn partition(&self) -> Option<i32> {
        self.event.partition
    }

    fn enqueued_at(&self) -> Timestamp {
        self.enqueued_at
    }

    fn size_bytes(&self) -> usize {
        let Event { topic, aggregate, key, payload, content_type, headers, .. } = &self.event;
        let texts = topic.len() + aggregate.kind.len() + aggregate.id.len();
        let header = |header: &Header| size_of::<Header>() + header.name.len() + header.value.len();
        size_of::<Self>()
            + texts
            + key.as_ref().map_or(0, Vec::len)
            + payload.as_ref().map_or(0, Vec::len)
            + content_type.as_ref().map_or(0, String::len)
            + headers.iter().map(header).sum::<usize>()
    }
}

/// What a publisher sends: a message ready for its topic, borrowed from the record it comes from.
#[derive(Clone, Copy)]
pub struct Envelope<'a> {
    row: &'a dyn Row,
}

impl<'a> Envelope<'a> {
    /// The envelope of a record.
    pub fn of(row: &'a dyn Row) -> Self {
        Self { row }
    }

    /// The topic to send to.
    pub fn topic(&self) -> &'a str {
        self.row.topic()
    }

    /// The partition to send to; `None`: the publisher chooses it from the key.
    pub fn partition(&self) -> Option<i32> {
        self.row.partition()
    }

    /// The event's key, else its aggregate's id.
    pub fn key(&self) -> &'a [u8] {
        self.row.key().unwrap_or_else(|| self.row.aggregate_id().as_bytes())
    }

    /// The payload's bytes; `None` is a tombstone.
    pub fn payload(&self) -> Option<&'a [u8]> {
        self.row.payload()
    }

    /// The message's time: when it was enqueued.
    pub fn timestamp(&self) -> Timestamp {
        self.row.enqueued_at()
    }

    /// Calls `each` for every header in the order of sending: `message-id`, `aggregate-type`, `aggregate-id`,
    /// `content-type` if the event has one, then the event's own.
    pub fn headers(&self, mut each: impl FnMut(&str, &[u8])) {
        each("message-id", &self.row.message_id().to_text());
        each("aggregate-type", self.row.aggregate_type().as_bytes());
        each("aggregate-id", self.row.aggregate_id().as_bytes());
        if let Some(content_type) = self.row.content_type() {
            each("content-type", content_type.as_bytes());
        }
        self.row.headers(&mut each);
    }

    /// The row's own measure: see [`Row::size_bytes`].
    pub fn size_bytes(&self) -> usize {
        self.row.size_bytes()
    }
}

/// A header with its bytes, for those who collect what [`Envelope::headers`] walks over.
pub fn collect_headers(envelope: &Envelope<'_>) -> Vec<(String, Vec<u8>)> {
    let mut headers = Vec::new();
    envelope.headers(|name, value| headers.push((name.into(), value.into())));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(event: Event) -> StoredEvent {
        StoredEvent { message_id: MessageId([0xab; 16]), event, enqueued_at: Timestamp(-1) }
    }

    #[test]
    fn the_key_is_the_aggregates_id_unless_given() {
        let row = stored(Event::new("t", ("order", 42)));
        assert_eq!(Envelope::of(&row).key(), b"42");
        let row = stored(Event::new("t", ("order", 42)).key("k"));
        assert_eq!(Envelope::of(&row).key(), b"k");
    }

    #[test]
    fn the_events_own_headers_follow_ours_in_order_with_repeats() {
        let row = stored(
            Event::new("t", ("order", 42))
                .payload("{}", "application/json")
                .header("b", "1")
                .header("b", [0]),
        );
        let headers = collect_headers(&Envelope::of(&row));
        let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["message-id", "aggregate-type", "aggregate-id", "content-type", "b", "b"]);
        assert_eq!(headers[5].1, [0]);
    }

    #[test]
    fn a_time_before_1970_rounds_down() {
        assert_eq!(Timestamp(-1).millis(), -1);
        assert_eq!(Timestamp(1999).millis(), 1);
    }
}
