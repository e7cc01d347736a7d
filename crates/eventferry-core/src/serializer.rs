//! The contract of serializers: what an event's key, payload and headers become on their way to the broker.
//!
//! A serializer stands before a publisher, in the relay. What it cannot serialize is refused like a record that the
//! broker refuses: parked, with the reason, and its aggregate waits. What it must ask somebody else for (a schema
//! registry) it learns by topic: while that is away, events wait in memory and nothing is counted.
//! Dead letters are not serialized: they can be enqueued again as they are.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::future::Future;

use crate::event::{Header, MessageId};
use crate::fault::PublishFault;
use crate::record::{Row, Timestamp};

/// Turns events into what is sent.
///
/// A pair of serializers is one, too: the second takes what the first made.
pub trait Serializer: Send + Sync + 'static {
    /// Learns what [`Serializer::serialize`] must know of a topic: called after [`NotSerialized::Unknown`], until it
    /// succeeds. Afterwards the same event is not unknown again.
    ///
    /// # Errors
    /// `Unavailable`, `Throttled`: ask again later; the topic's events wait in memory, uncounted. `TopicRefused`:
    /// somebody must do something about this topic; its events wait, parked after a while, uncounted. `Misconfigured`:
    /// the relay stops.
    fn learn(&self, topic: &str) -> impl Future<Output = Result<(), PublishFault>> + Send;

    /// Serializes one event. Cheap: no I/O. Asked twice an event, before it is decided whether it may be sent and when
    /// it is sent, and the same both times: a time, say, is the event's own.
    ///
    /// # Errors
    /// See [`NotSerialized`].
    fn serialize(&self, row: &dyn Row) -> Result<Serialized, NotSerialized>;

    /// Whether every event is sent as it was enqueued, now and later: then nothing is asked of it. Default false.
    fn is_idle(&self) -> bool {
        false
    }
}

/// What is sent otherwise than it was enqueued.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serialized {
    /// The message's key, from which its partition is chosen; `None` (the default): as it was.
    pub key: Option<Vec<u8>>,
    /// The payload's bytes; `None` (the default): as it was. A tombstone remains one.
    pub payload: Option<Vec<u8>>,
    /// The payload's media type; `None` (the default): as it was.
    pub content_type: Option<String>,
    /// Headers to add behind the event's own.
    pub headers: Vec<Header>,
}

/// Why an event was not serialized.
#[derive(Debug)]
pub enum NotSerialized {
    /// Its topic must be learned first.
    Unknown,
    /// It cannot be, for this reason, which says where in the payload and shows nothing of it: it is parked.
    Refused(Box<PublishFault>),
}

impl Serialized {
    /// The event as it is to be sent.
    pub fn view<'a>(&'a self, row: &'a dyn Row) -> SerializedRow<'a> {
        SerializedRow { row, serialized: self }
    }
}

/// An event as its serializer wants it sent.
#[derive(Clone, Copy)]
pub struct SerializedRow<'a> {
    row: &'a dyn Row,
    serialized: &'a Serialized,
}

impl Row for SerializedRow<'_> {
    fn message_id(&self) -> MessageId {
        self.row.message_id()
    }

    fn topic(&self) -> &str {
        self.row.topic()
    }

    fn aggregate_type(&self) -> &str {
        self.row.aggregate_type()
    }

    fn aggregate_id(&self) -> &str {
        self.row.aggregate_id()
    }

    fn key(&self) -> Option<&[u8]> {
        self.serialized.key.as_deref().or_else(|| self.row.key())
    }

    fn payload(&self) -> Option<&[u8]> {
        let payload = self.row.payload()?;
        Some(self.serialized.payload.as_deref().unwrap_or(payload))
    }

    fn content_type(&self) -> Option<&str> {
        self.serialized.content_type.as_deref().or_else(|| self.row.content_type())
    }

    fn headers(&self, each: &mut dyn FnMut(&str, &[u8])) {
        self.row.headers(each);
        for Header { name, value } in &self.serialized.headers {
            each(name, value);
        }
    }

    fn partition(&self) -> Option<i32> {
        self.row.partition()
    }

    fn enqueued_at(&self) -> Timestamp {
        self.row.enqueued_at()
    }

    fn size_bytes(&self) -> usize {
        let Serialized { key, payload, content_type, headers } = self.serialized;
        let header = |header: &Header| size_of::<Header>() + header.name.len() + header.value.len();
        self.row.size_bytes()
            + key.as_ref().map_or(0, Vec::len)
            + payload.as_ref().map_or(0, Vec::len)
            + content_type.as_ref().map_or(0, String::len)
            + headers.iter().map(header).sum::<usize>()
    }
}

impl<A: Serializer, B: Serializer> Serializer for (A, B) {
    async fn learn(&self, topic: &str) -> Result<(), PublishFault> {
        self.0.learn(topic).await?;
        self.1.learn(topic).await
    }

    fn serialize(&self, row: &dyn Row) -> Result<Serialized, NotSerialized> {
        let first = self.0.serialize(row)?;
        let second = self.1.serialize(&first.view(row))?;
        let mut headers = first.headers;
        headers.extend(second.headers);
        Ok(Serialized {
            key: second.key.or(first.key),
            payload: second.payload.or(first.payload),
            content_type: second.content_type.or(first.content_type),
            headers,
        })
    }

    fn is_idle(&self) -> bool {
        self.0.is_idle() && self.1.is_idle()
    }
}

/// None, or one.
impl<S: Serializer> Serializer for Option<S> {
    async fn learn(&self, topic: &str) -> Result<(), PublishFault> {
        match self {
            Some(serializer) => serializer.learn(topic).await,
            None => Ok(()),
        }
    }

    fn serialize(&self, row: &dyn Row) -> Result<Serialized, NotSerialized> {
        self.as_ref().map_or_else(|| Ok(Serialized::default()), |serializer| serializer.serialize(row))
    }

    fn is_idle(&self) -> bool {
        self.as_ref().is_none_or(Serializer::is_idle)
    }
}

/// Whether a media type is one of JSON: `application/json`, or one that ends in `+json`
/// ([RFC 6839](https://www.rfc-editor.org/rfc/rfc6839#section-3.1)), whatever parameters follow.
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let suffix = essence.len().checked_sub("+json".len()).and_then(|at| essence.get(at..));
    essence.eq_ignore_ascii_case("application/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json") && essence.contains('/'))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{Envelope, Event, StoredEvent};

    /// Puts its mark before a payload, and a header behind.
    struct Marks(u8);

    impl Serializer for Marks {
        async fn learn(&self, _: &str) -> Result<(), PublishFault> {
            Ok(())
        }

        fn serialize(&self, row: &dyn Row) -> Result<Serialized, NotSerialized> {
            let payload = row.payload().map(|payload| [&[self.0], payload].concat());
            let headers = vec![Header { name: "mark".into(), value: vec![self.0] }];
            Ok(Serialized { payload, headers, ..Serialized::default() })
        }
    }

    fn stored(event: Event) -> StoredEvent {
        StoredEvent { message_id: MessageId([1; 16]), event, enqueued_at: Timestamp(0) }
    }

    #[test]
    fn the_second_of_a_pair_takes_what_the_first_made() {
        let row = stored(Event::new("t", ("order", 1)).payload("p", "text/plain").header("own", "1"));
        let serialized = (Marks(1), Some(Marks(2))).serialize(&row).unwrap();
        let view = serialized.view(&row);
        let envelope = Envelope::of(&view);
        assert_eq!((envelope.payload(), envelope.key()), (Some(&[2, 1, b'p'][..]), &b"1"[..]));
        let mut names = Vec::new();
        view.headers(&mut |name, value| names.push((String::from(name), value.to_vec())));
        let names: Vec<_> = names.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        assert_eq!(names, [("own", &b"1"[..]), ("mark", &[1]), ("mark", &[2])]);
    }

    #[test]
    fn json_is_known_by_its_media_type() {
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.acme+json;v=1"] {
            assert!(is_json(json), "{json}");
        }
        for other in ["", "json", "+json", "text/plain", "application/json-seq", "application/avro;x=+json"] {
            assert!(!is_json(other), "{other}");
        }
    }

    #[test]
    fn what_is_made_of_none_is_idle() {
        assert!((None::<Marks>, (None::<Marks>, None::<Marks>)).is_idle());
        assert!(!(None::<Marks>, (Some(Marks(1)), None::<Marks>)).is_idle());
    }

    #[test]
    fn a_tombstone_remains_one() {
        let row = stored(Event::new("t", ("order", 1)));
        let serialized = Serialized { payload: Some(vec![1]), ..Serialized::default() };
        assert_eq!(serialized.view(&row).payload(), None);
    }
}
