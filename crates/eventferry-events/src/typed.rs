//! A type that says which event it is.

use eventferry_core::{Aggregate, EnqueueFault, Event, Header};
use serde::Serialize;
use serde_json::Value;

/// The header with an event's name, such as `OrderCreated`.
pub const EVENT_TYPE: &str = "event-type";

/// The header with the version of an event's payload, in decimal digits, such as `2`. An event without it is version 1.
pub const EVENT_VERSION: &str = "event-version";

/// A type whose values are events: each says its topic, its aggregate and its payload.
///
/// Implemented by `#[derive(Event)]`, which checks at compile time what can be checked there:
///
/// ```
/// use eventferry::events::TypedEvent as _;
///
/// #[derive(serde::Serialize, eventferry::Event)]
/// #[event(topic = "orders.created", aggregate = "order", version = 2)]
/// struct OrderCreated {
///     #[event(aggregate_id)]
///     id: u64,
///     total: u32,
/// }
///
/// let event = OrderCreated { id: 42, total: 7 }.to_event()?;
/// assert_eq!((event.topic.as_str(), event.aggregate.id.as_str()), ("orders.created", "42"));
/// assert_eq!(event.payload.as_deref(), Some(&br#"{"id":42,"total":7}"#[..]));
/// # Ok::<(), eventferry::EnqueueFault>(())
/// ```
pub trait TypedEvent: Serialize {
    /// The event's name, sent as the header [`EVENT_TYPE`].
    const NAME: &'static str;
    /// The broker's topic.
    const TOPIC: &'static str;
    /// The version of the payload's form, 1 or more; sent as the header [`EVENT_VERSION`].
    const VERSION: u32;
    /// What kind of thing the event is about.
    const AGGREGATE: &'static str;
    /// The payload's media type, some JSON.
    const CONTENT_TYPE: &'static str = "application/json";
    /// An Avro schema of the payload, if there is one.
    const AVRO: Option<&'static str> = None;
    /// A Protobuf schema of the payload, if there is one.
    const PROTOBUF: Option<&'static str> = None;

    /// Which aggregate the event is about.
    fn aggregate_id(&self) -> String;

    /// The message's key; `None` (the default): the aggregate's id.
    fn key(&self) -> Option<Vec<u8>> {
        None
    }

    /// The payload's JSON Schema; `None` (the default): it has none.
    fn json_schema() -> Option<Value>
    where
        Self: Sized,
    {
        None
    }

    /// The event to append: the value as JSON, and the headers [`EVENT_TYPE`] and [`EVENT_VERSION`].
    ///
    /// # Errors
    /// [`Refused`](eventferry_core::EnqueueFaultKind::Refused): the value has no JSON form, such as a map whose keys
    /// are not strings; change its type.
    fn to_event(&self) -> Result<Event, EnqueueFault> {
        let payload = serde_json::to_vec(self).map_err(|error| {
            let (name, topic) = (Self::NAME, Self::TOPIC);
            EnqueueFault::refused(format!("{name}, for topic `{topic}`: the value has no JSON form: {error}"))
        })?;
        let aggregate = Aggregate { kind: Self::AGGREGATE.into(), id: self.aggregate_id() };
        let mut event = Event::new(Self::TOPIC, aggregate).payload(payload, Self::CONTENT_TYPE);
        event.key = self.key();
        let version = Self::VERSION.to_string().into_bytes();
        event.headers = vec![
            Header { name: EVENT_TYPE.into(), value: Self::NAME.into() },
            Header { name: EVENT_VERSION.into(), value: version },
        ];
        Ok(event)
    }
}

/// What version these headers say: the first [`EVENT_VERSION`] counts, and without one it is 1.
///
/// # Errors
/// The header is there and is no version.
pub(crate) fn version_of<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<u32, NoVersion> {
    let value = headers.into_iter().find(|(name, _)| *name == EVENT_VERSION).map(|(_, value)| value);
    value.map_or(Ok(1), parsed_version)
}

pub(crate) fn parsed_version(value: &[u8]) -> Result<u32, NoVersion> {
    let is_decimal = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let version = std::str::from_utf8(value).ok().filter(|_| is_decimal).and_then(|text| text.parse().ok());
    version.filter(|version| *version > 0).ok_or(NoVersion)
}

/// A header [`EVENT_VERSION`] that is no number from 1 up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoVersion;

impl NoVersion {
    pub(crate) const MESSAGE: &'static str = "the header event-version is no number from 1 up";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_what_the_first_header_says_and_1_without_one() {
        let of = |values: &[&str]| version_of(values.iter().map(|value| (EVENT_VERSION, value.as_bytes())));
        assert_eq!(of(&[]), Ok(1));
        assert_eq!(of(&["2", "3"]), Ok(2));
        for wrong in ["", "0", "-1", "+1", "1.0", " 1", "4294967296", "x"] {
            assert_eq!(of(&[wrong]), Err(NoVersion), "{wrong}");
        }
    }
}
