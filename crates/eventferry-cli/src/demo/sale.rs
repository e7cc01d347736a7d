//! What an event of the shop says, written by the shop and read back by the checker.

use eventferry::{Event, Json, MessageId};
use serde::{Deserialize, Serialize};

use crate::ending::Trouble;

/// The aggregate type of every event.
const AGGREGATE_TYPE: &str = "order";

/// A change of an order: an event's identity and place, as committed or as delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sale {
    pub(crate) message_id: MessageId,
    pub(crate) order: u32,
    /// The order's changes are numbered from 1, without gaps: a change that is rolled back takes its number back.
    pub(crate) sequence: u32,
}

/// An event's payload.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    order: u32,
    sequence: u32,
    total_cents: u32,
}

/// The event of a change.
pub(crate) fn event(topic: &str, order: u32, sequence: u32, total_cents: u32) -> Result<Event, Trouble> {
    Event::new(topic, (AGGREGATE_TYPE, order))
        .json(&Payload { order, sequence, total_cents })
        .map_err(Trouble::bug)
}

impl Sale {
    /// Reads a delivered message: its payload, and the headers that must agree with it. `None`: it is damaged.
    pub(crate) fn of_message<'a>(
        payload: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Option<Self> {
        let Payload { order, sequence, .. } = serde_json::from_slice(payload?).ok()?;
        let (mut message_id, mut aggregate_type, mut aggregate_id) = (None, None, None);
        for (name, value) in headers {
            let value = std::str::from_utf8(value).ok()?;
            match name {
                "message-id" => message_id = Some(value.parse().ok()?),
                "aggregate-type" => aggregate_type = Some(value),
                "aggregate-id" => aggregate_id = Some(value),
                _ => {}
            }
        }
        let agrees = aggregate_type == Some(AGGREGATE_TYPE) && aggregate_id == Some(&*order.to_string());
        agrees.then_some(Self { message_id: message_id?, order, sequence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_shop_writes_the_checker_reads() {
        let event = event("t", 7, 3, 100).unwrap();
        let id = "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f";
        let read = |headers: &[(&'static str, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
            Sale::of_message(event.payload.as_deref(), headers)
        };
        let right = [("message-id", id), ("aggregate-type", "order"), ("aggregate-id", "7")];
        assert_eq!(read(&right), Some(Sale { message_id: id.parse().unwrap(), order: 7, sequence: 3 }));
        assert_eq!(read(&right[1..]), None);
        assert_eq!(read(&[right[0], right[1], ("aggregate-id", "8")]), None);
        assert_eq!(Sale::of_message(None, std::iter::empty()), None);
        assert_eq!(Sale::of_message(Some(b"{"), std::iter::empty()), None);
    }
}
