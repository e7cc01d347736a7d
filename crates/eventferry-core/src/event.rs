//! What an application enqueues.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::cause::{CAUSATION_ID, CORRELATION_ID, Cause};
use crate::trace::TRACEPARENT;

/// An event as an application enqueues it: one message for one topic, about one aggregate.
///
/// ```
/// use eventferry_core::Event;
///
/// let event = Event::new("orders.created", ("order", 42))
///     .payload(br#"{"total": 7}"#.to_vec(), "application/json")
///     .header("tenant", "acme");
/// assert_eq!(event.aggregate.id, "42");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Names the message for its consumers and stays the same through every redelivery.
    /// `None` (the default): the store gives a random one.
    pub message_id: Option<MessageId>,
    /// The broker's topic, 1 to 249 characters.
    pub topic: String,
    /// The unit of order: events of one aggregate arrive in the order in which they were enqueued.
    pub aggregate: Aggregate,
    /// The message's key; `None` (the default): the aggregate's id.
    pub key: Option<Vec<u8>>,
    /// The message's bytes, untouched; `None` (the default) is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The payload's media type, sent as the header `content-type`.
    pub content_type: Option<String>,
    /// The event's own headers: order, repeated names and bytes are kept.
    pub headers: Vec<Header>,
    /// The partition to send to; `None` (the default): chosen from the key.
    pub partition: Option<i32>,
}

impl Event {
    /// An event for `topic` about `aggregate`, a pair of type and id, with no payload yet (a tombstone).
    pub fn new(topic: impl Into<String>, aggregate: impl Into<Aggregate>) -> Self {
        Self {
            message_id: None,
            topic: topic.into(),
            aggregate: aggregate.into(),
            key: None,
            payload: None,
            content_type: None,
            headers: Vec::new(),
            partition: None,
        }
    }

    /// Sets the payload's bytes and their media type.
    #[must_use]
    pub fn payload(mut self, bytes: impl Into<Vec<u8>>, content_type: impl Into<String>) -> Self {
        self.payload = Some(bytes.into());
        self.content_type = Some(content_type.into());
        self
    }

    /// Sets the message's key, which otherwise is the aggregate's id.
    #[must_use]
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a header after those already there; a name may repeat.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(Header { name: name.into(), value: value.into() });
        self
    }

    /// Adds the W3C trace context this event belongs to, as the header `traceparent`.
    #[must_use]
    pub fn traceparent(self, value: impl Into<String>) -> Self {
        self.header(TRACEPARENT, value.into().into_bytes())
    }

    /// Says which story this event belongs to, as the header `correlation-id`, in the place of one that is there.
    ///
    /// An event that begins a story needs none: those that follow take its message id.
    #[must_use]
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.headers.retain(|header| header.name != CORRELATION_ID);
        self.header(CORRELATION_ID, id.into().into_bytes())
    }

    /// Says what this event follows from: the message that is being handled, or its id.
    ///
    /// The header `causation-id` is that message's id, in the place of one that is there. The header `correlation-id`
    /// is that message's, else its message id; an event that has one of its own keeps it.
    ///
    /// ```
    /// use eventferry_core::{Event, MessageId};
    ///
    /// let handled: MessageId = "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f".parse()?;
    /// let event = Event::new("invoices.sent", ("invoice", 7)).caused_by(&handled);
    /// assert_eq!(event.headers[0].name, "causation-id");
    /// assert_eq!(event.headers[1].name, "correlation-id");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn caused_by(mut self, cause: &(impl Cause + ?Sized)) -> Self {
        let id = cause.message_id().to_string();
        self.headers.retain(|header| header.name != CAUSATION_ID);
        let event = self.header(CAUSATION_ID, id.as_bytes());
        if event.headers.iter().any(|header| header.name == CORRELATION_ID) {
            return event;
        }
        let story = cause.correlation_id().map_or(id, ToOwned::to_owned);
        event.correlation_id(story)
    }

    /// Sets the message id, for an application that has one of its own.
    #[must_use]
    pub fn message_id(mut self, id: MessageId) -> Self {
        self.message_id = Some(id);
        self
    }

    /// Sends the event to this partition instead of the one its key would choose.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }
}

/// The unit of order: a type and an id, such as `("order", 42)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Aggregate {
    /// What kind of thing it is, such as `order`; 1 character or more.
    pub kind: String,
    /// Which one it is; 1 character or more.
    pub id: String,
}

impl<K: Into<String>, I: ToString> From<(K, I)> for Aggregate {
    fn from((kind, id): (K, I)) -> Self {
        Self { kind: kind.into(), id: id.to_string() }
    }
}

/// A name and the bytes that go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The header's name; need not be unique.
    pub name: String,
    /// The header's value, untouched.
    pub value: Vec<u8>,
}

/// A message's identity: a UUID that stays the same through every redelivery.
///
/// It is random or the caller's, never derived from an id or a transaction of the database: those are given out
/// again after a failover to an older copy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub [u8; 16]);

/// The length of a message id written with hyphens.
pub const MESSAGE_ID_TEXT_BYTES: usize = 36;

impl MessageId {
    /// The hyphenated lower-case form, without allocating.
    pub fn to_text(self) -> [u8; MESSAGE_ID_TEXT_BYTES] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; MESSAGE_ID_TEXT_BYTES];
        let mut at = 0;
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = DIGITS[usize::from(byte >> 4)];
            text[at + 1] = DIGITS[usize::from(byte & 15)];
            at += 2;
        }
        text
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.to_text()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MessageId {
    type Err = NotAMessageId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 16];
        let mut digits = text.bytes().filter(|byte| *byte != b'-');
        for byte in &mut bytes {
            let (Some(high), Some(low)) = (digits.next().and_then(digit), digits.next().and_then(digit))
            else {
                return Err(NotAMessageId(text.to_owned()));
            };
            *byte = high << 4 | low;
        }
        if digits.next().is_some() {
            return Err(NotAMessageId(text.to_owned()));
        }
        Ok(Self(bytes))
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The text is not a UUID of 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAMessageId(String);

impl fmt::Display for NotAMessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a UUID: give 32 hexadecimal digits, with or without hyphens", self.0)
    }
}

impl core::error::Error for NotAMessageId {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_reads_back_what_it_writes() {
        let text = "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f";
        let id: MessageId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!("0189F7EAAE2C78098AEBB819CF5E9E7F".parse(), Ok(id));
    }

    struct Story(&'static str);

    impl Cause for Story {
        fn message_id(&self) -> MessageId {
            MessageId([1; 16])
        }

        fn correlation_id(&self) -> Option<&str> {
            Some(self.0)
        }
    }

    fn ids(event: &Event) -> Vec<(&str, &str)> {
        let text = |value| core::str::from_utf8(value).unwrap();
        event.headers.iter().map(|header| (header.name.as_str(), text(&header.value))).collect()
    }

    #[test]
    fn what_follows_from_a_message_has_its_id_and_its_story() {
        let id = "01010101-0101-0101-0101-010101010101";
        let event = Event::new("t", ("order", 1));
        let first = event.clone().caused_by(&MessageId([1; 16]));
        assert_eq!(ids(&first), [("causation-id", id), ("correlation-id", id)]);
        let later = event.clone().caused_by(&Story("s"));
        assert_eq!(ids(&later), [("causation-id", id), ("correlation-id", "s")]);
        let own = event.clone().correlation_id("own").caused_by(&Story("s"));
        assert_eq!(ids(&own), [("correlation-id", "own"), ("causation-id", id)]);
        let own = event.caused_by(&MessageId([2; 16])).caused_by(&Story("s")).correlation_id("own");
        assert_eq!(ids(&own), [("causation-id", id), ("correlation-id", "own")]);
    }

    #[test]
    fn what_is_no_uuid_is_refused_with_its_text() {
        for text in
            ["", "0189f7ea", "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f0", "g189f7ea-ae2c-7809-8aeb-b819cf5e9e7f"]
        {
            let refused = text.parse::<MessageId>().unwrap_err();
            assert!(refused.to_string().contains(text));
        }
    }
}
