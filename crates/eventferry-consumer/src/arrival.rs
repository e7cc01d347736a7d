//! An event as it arrived.

use std::fmt;

use eventferry_core::cause::{CAUSATION_ID, CORRELATION_ID};
use eventferry_core::fault::Fault;
use eventferry_core::{Aggregate, Cause, MessageId};

use crate::dead_letter::{self, DeadLetter};
use crate::trace::TraceContext;

/// An event as it arrived at a consumer, borrowed from the record that carried it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arrival<'a> {
    /// Names the message, the same through every redelivery: what an inbox goes by.
    pub message_id: MessageId,
    /// What kind of thing the event is about.
    pub aggregate_type: &'a str,
    /// Which one it is about. Events of one aggregate arrive in the order in which they were enqueued.
    pub aggregate_id: &'a str,
    /// The payload's media type, if the application gave one.
    pub content_type: Option<&'a str>,
    /// The record's key: the one the application gave, else the aggregate's id.
    pub key: Option<&'a [u8]>,
    /// The payload's bytes; `None` is a tombstone.
    pub payload: Option<&'a [u8]>,
    /// The event's own headers: order, repeated names and bytes as they were enqueued.
    pub headers: Vec<(&'a str, &'a [u8])>,
    /// The W3C trace context that the headers name. Those headers are among [`Arrival::headers`] too.
    pub trace: Option<TraceContext<'a>>,
    /// Why the event was given up, if this is a dead letter.
    pub dead_letter: Option<DeadLetter<'a>>,
}

/// Without key, payload and headers' values.
impl fmt::Debug for Arrival<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival")
            .field("message_id", &self.message_id)
            .field("aggregate_type", &self.aggregate_type)
            .field("aggregate_id", &self.aggregate_id)
            .field("content_type", &self.content_type)
            .field("payload_bytes", &self.payload.map(<[u8]>::len))
            .finish_non_exhaustive()
    }
}

/// Why a record is no event of eventferry's: a kind, and a message that names the header. It holds no header's value.
pub type DecodeFault = Fault<DecodeFaultKind>;

/// What to do about a record that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeFaultKind {
    /// A header that every event has is missing: another program wrote the record, or something on the way took its
    /// headers. Where others write to the topic too, pass it over.
    Missing(&'static str),
    /// A header is there and holds something else than it should: whoever wrote the record has a fault to mend.
    Malformed(&'static str),
}

impl<'a> Arrival<'a> {
    /// Decodes a record from its parts: its headers in their order, its key, and its payload, which is `None` for a
    /// tombstone. A header without a value counts as one with an empty value.
    ///
    /// The first headers named `message-id`, `aggregate-type` and `aggregate-id` are the event's place; a
    /// `content-type` right behind them is the payload's. Whatever else is called so is the event's own.
    ///
    /// # Errors
    /// [`Missing`](DecodeFaultKind::Missing) or [`Malformed`](DecodeFaultKind::Malformed), with the header's name.
    pub fn decode(
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        key: Option<&'a [u8]>,
        payload: Option<&'a [u8]>,
    ) -> Result<Self, DecodeFault> {
        let mut headers: Vec<_> = headers.into_iter().collect();
        let message_id = text(&mut headers, "message-id")?;
        let message_id =
            message_id.parse().map_err(|_| malformed("message-id", "the header message-id is not a UUID"))?;
        let aggregate_type = text(&mut headers, "aggregate-type")?;
        let aggregate_id = text(&mut headers, "aggregate-id")?;
        let content_type = match headers.first() {
            Some(("content-type", value)) => std::str::from_utf8(value).ok(),
            _ => None,
        };
        if content_type.is_some() {
            headers.remove(0);
        }
        let dead_letter = dead_letter::take(&mut headers);
        let trace = TraceContext::of(&headers);
        Ok(Self {
            message_id,
            aggregate_type,
            aggregate_id,
            content_type,
            key,
            payload,
            headers,
            trace,
            dead_letter,
        })
    }

    /// The unit of order, owned.
    pub fn aggregate(&self) -> Aggregate {
        (self.aggregate_type, self.aggregate_id).into()
    }

    /// The bytes of the first of the event's own headers that has this name.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().find(|(found, _)| *found == name).map(|(_, value)| *value)
    }

    /// The story this event belongs to, from the header `correlation-id`; `None`: it has none, or it is no text. What
    /// is enqueued while this is handled takes it by `event.caused_by(&arrival)`.
    pub fn correlation_id(&self) -> Option<&'a str> {
        std::str::from_utf8(self.header(CORRELATION_ID)?).ok()
    }

    /// The message whose handling enqueued this event, from the header `causation-id`; `None`: it has none, or it is no
    /// UUID.
    pub fn causation_id(&self) -> Option<MessageId> {
        std::str::from_utf8(self.header(CAUSATION_ID)?).ok()?.parse().ok()
    }
}

impl Cause for Arrival<'_> {
    fn message_id(&self) -> MessageId {
        self.message_id
    }

    fn correlation_id(&self) -> Option<&str> {
        Arrival::correlation_id(self)
    }
}

/// Takes the first header of this name, which must be there and be text.
fn text<'a>(headers: &mut Vec<(&'a str, &'a [u8])>, name: &'static str) -> Result<&'a str, DecodeFault> {
    let at = headers.iter().position(|(found, _)| *found == name);
    let at = at.ok_or_else(|| Fault::new(DecodeFaultKind::Missing(name), format!("no header {name}")))?;
    let (_, value) = headers.remove(at);
    std::str::from_utf8(value).map_err(|_| malformed(name, format!("the header {name} is not UTF-8")))
}

pub(crate) fn malformed(name: &'static str, message: impl Into<String>) -> DecodeFault {
    Fault::new(DecodeFaultKind::Malformed(name), message)
}

#[cfg(test)]
mod tests {
    use eventferry_core::envelope::{DeadLetter as Letter, collect_headers};
    use eventferry_core::parked::Death;
    use eventferry_core::{Envelope, Event, StoredEvent, Timestamp};

    use super::*;

    const ID: &str = "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f";

    fn stored(event: Event) -> StoredEvent {
        StoredEvent { message_id: ID.parse().unwrap(), event, enqueued_at: Timestamp(0) }
    }

    /// Lends the headers of an envelope.
    fn lent(headers: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
        headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect()
    }

    fn own(event: &Event) -> Vec<(&str, &[u8])> {
        event.headers.iter().map(|header| (header.name.as_str(), header.value.as_slice())).collect()
    }

    #[track_caller]
    fn comes_back(event: Event) {
        let row = stored(event.clone());
        let envelope = Envelope::of(&row);
        let headers = collect_headers(&envelope);
        let arrival = Arrival::decode(lent(&headers), Some(envelope.key()), envelope.payload()).unwrap();
        assert_eq!(arrival.message_id.to_string(), ID);
        assert_eq!(arrival.aggregate(), event.aggregate);
        assert_eq!(arrival.content_type, event.content_type.as_deref());
        assert_eq!(arrival.key, Some(envelope.key()));
        assert_eq!(arrival.payload, event.payload.as_deref());
        assert_eq!(arrival.headers, own(&event));
        assert!(arrival.dead_letter.is_none());
    }

    #[test]
    fn an_event_comes_back_as_it_was_enqueued() {
        let plain = Event::new("t", ("order", 42));
        comes_back(plain.clone());
        comes_back(plain.clone().payload("{}", "application/json").key([0, 255]));
        comes_back(plain.clone().header("b", "1").header("a", [0, 255]).header("b", "2").header("", ""));
        let borrowed_names = plain.clone().payload("", "text/plain").header("message-id", "own");
        comes_back(borrowed_names.header("aggregate-id", "own").header("content-type", "own"));
        comes_back(plain.header("a", "1").header("content-type", "own").header("dlq-reason", "own"));
    }

    #[test]
    fn a_dead_letter_says_why_and_is_the_event_otherwise() {
        let event = Event::new("orders", ("order", 42)).header("b", [0]).header("b", "2").partition(3);
        let row = stored(event.clone());
        let failed_at = Timestamp(1_795_726_520_123_456);
        let death = Death { class: "MessageSizeTooLarge".into(), message: "too large".into(), failed_at };
        let letter = Letter { topic: "orders.dlq", death: &death, attempts: 5, detail: Some("lane 3") };
        let headers = collect_headers(&Envelope::of_dead(&row, letter));
        let arrival = Arrival::decode(lent(&headers), None, None).unwrap();
        assert_eq!(arrival.headers, own(&event));
        let dead = arrival.dead_letter.unwrap();
        assert_eq!((&*dead.reason, &*dead.error_class), ("too large", "MessageSizeTooLarge"));
        assert_eq!((&*dead.original_topic, dead.original_partition), ("orders", Some(3)));
        assert_eq!((dead.failed_at, dead.attempts), (Some(failed_at), Some(5)));
        assert_eq!(dead.detail.as_deref(), Some("lane 3"));
    }

    #[test]
    fn a_story_goes_on_from_one_arrival_to_the_next() {
        let arrives = |event: Event| {
            let row = stored(event);
            let headers = collect_headers(&Envelope::of(&row));
            let arrival = Arrival::decode(lent(&headers), None, None).unwrap();
            let (correlation, causation) = (arrival.correlation_id(), arrival.causation_id());
            let next = Event::new("t", ("order", 1)).caused_by(&arrival);
            (correlation.map(str::to_owned), causation.map(|id| id.to_string()), next)
        };
        let (correlation, causation, second) = arrives(Event::new("t", ("order", 1)));
        assert_eq!((correlation, causation), (None, None));
        let (correlation, causation, third) = arrives(second);
        assert_eq!((correlation.as_deref(), causation.as_deref()), (Some(ID), Some(ID)));
        assert_eq!(arrives(third).0.as_deref(), Some(ID));
        let bad = Event::new("t", ("order", 1)).header("correlation-id", [255]).header("causation-id", "no");
        let (correlation, causation, _) = arrives(bad);
        assert_eq!((correlation, causation), (None, None));
    }

    #[test]
    fn what_is_missing_or_malformed_is_named_and_shows_no_value() {
        let good =
            [("message-id", ID.as_bytes()), ("aggregate-type", &b"order"[..]), ("aggregate-id", b"42")];
        for (name, _) in good {
            let fault = Arrival::decode(good.into_iter().filter(|(found, _)| *found != name), None, None);
            let fault = fault.unwrap_err();
            assert_eq!(*fault.kind(), DecodeFaultKind::Missing(name));
            assert_eq!(fault.message(), format!("no header {name}"));
        }
        for (name, value, says) in [
            ("message-id", &b"sesame"[..], "is not a UUID"),
            ("message-id", b"", "is not a UUID"),
            ("message-id", &[255], "is not UTF-8"),
            ("aggregate-type", &[255], "is not UTF-8"),
            ("aggregate-id", &[0xc3], "is not UTF-8"),
        ] {
            let bad = good.map(|(found, old)| (found, if found == name { value } else { old }));
            let fault = Arrival::decode(bad, None, None).unwrap_err();
            assert_eq!(*fault.kind(), DecodeFaultKind::Malformed(name));
            assert!(fault.message().contains(says) && !fault.message().contains("sesame"), "{fault}");
            assert!(fault.message().contains(name), "{fault}");
        }
        assert_eq!(
            *Arrival::decode([], None, None).unwrap_err().kind(),
            DecodeFaultKind::Missing("message-id")
        );
    }

    #[test]
    fn no_payload_is_shown_in_passing() {
        let row =
            stored(Event::new("t", ("order", 42)).payload("sesame", "text/plain").header("a", "sesame"));
        let headers = collect_headers(&Envelope::of(&row));
        let arrival = Arrival::decode(lent(&headers), Some(b"sesame"), Some(b"sesame")).unwrap();
        assert!(!format!("{arrival:?}").contains("sesame"));
        assert!(!format!("{:?}", b"sesame").is_empty());
    }
}
