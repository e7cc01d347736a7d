//! What a publisher sends: an event's envelope, and that of a dead letter.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::parked::Death;
use crate::record::{Row, Timestamp};

/// A message ready for its topic, borrowed from the record it comes from.
#[derive(Clone, Copy)]
pub struct Envelope<'a> {
    row: &'a dyn Row,
    dead: Option<DeadLetter<'a>>,
}

/// What a dead letter's envelope says beside the event.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// The dead-letter topic.
    pub topic: &'a str,
    /// Why and when the event was given up.
    pub death: &'a Death,
    /// How many attempts were counted.
    pub attempts: u32,
    /// Where the event was when it was given up, for people; left out unless asked for.
    pub detail: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    /// The envelope of a record.
    pub fn of(row: &'a dyn Row) -> Self {
        Self { row, dead: None }
    }

    /// The envelope of a record that was given up: the same key, payload and headers, for the dead-letter topic, with
    /// headers that say why.
    pub fn of_dead(row: &'a dyn Row, letter: DeadLetter<'a>) -> Self {
        Self { row, dead: Some(letter) }
    }

    /// The record, if this is an event on its way to its own topic; `None` for a dead letter, which is sent as it was
    /// enqueued, so that it can be enqueued again.
    pub fn event(&self) -> Option<&'a dyn Row> {
        if self.dead.is_some() { None } else { Some(self.row) }
    }

    /// The topic to send to.
    pub fn topic(&self) -> &'a str {
        self.dead.map_or_else(|| self.row.topic(), |letter| letter.topic)
    }

    /// The partition to send to; `None`: the publisher chooses it from the key. A dead letter has none: its topic need
    /// not have as many.
    pub fn partition(&self) -> Option<i32> {
        if self.dead.is_some() { None } else { self.row.partition() }
    }

    /// The event's key, else its aggregate's id.
    pub fn key(&self) -> &'a [u8] {
        self.row.key().unwrap_or_else(|| self.row.aggregate_id().as_bytes())
    }

    /// The payload's bytes; `None` is a tombstone.
    pub fn payload(&self) -> Option<&'a [u8]> {
        self.row.payload()
    }

    /// The message's time: when it was enqueued; a dead letter's: when it was refused last, for a topic
    /// with a retention would delete an old one on arrival.
    pub fn timestamp(&self) -> Timestamp {
        self.dead.map_or_else(|| self.row.enqueued_at(), |letter| letter.death.failed_at)
    }

    /// Calls `each` for every header in the order of sending: `message-id`, `aggregate-type`, `aggregate-id`,
    /// `content-type` if the event has one, then the event's own. A dead letter's are followed by `dlq-reason`,
    /// `dlq-error-class`, `dlq-original-topic`, `dlq-failed-at` (RFC 3339, UTC) and `dlq-attempts`,
    /// `dlq-original-partition` if the event asked for one, and `dlq-detail` if that was asked for.
    pub fn headers(&self, mut each: impl FnMut(&str, &[u8])) {
        each("message-id", &self.row.message_id().to_text());
        each("aggregate-type", self.row.aggregate_type().as_bytes());
        each("aggregate-id", self.row.aggregate_id().as_bytes());
        if let Some(content_type) = self.row.content_type() {
            each("content-type", content_type.as_bytes());
        }
        self.row.headers(&mut each);
        if let Some(DeadLetter { death, attempts, detail, .. }) = &self.dead {
            each("dlq-reason", death.message.as_bytes());
            each("dlq-error-class", death.class.as_bytes());
            each("dlq-original-topic", self.row.topic().as_bytes());
            each("dlq-failed-at", death.failed_at.to_string().as_bytes());
            each("dlq-attempts", attempts.to_string().as_bytes());
            if let Some(partition) = self.row.partition() {
                each("dlq-original-partition", partition.to_string().as_bytes());
            }
            if let Some(detail) = detail {
                each("dlq-detail", detail.as_bytes());
            }
        }
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
    use crate::{Event, MessageId, StoredEvent};

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
    fn a_dead_letter_is_the_same_message_with_the_reason_after_it() {
        let row = stored(Event::new("orders", ("order", 42)).payload("{}", "application/json").partition(3));
        let failed_at = Timestamp(1_795_726_520_123_456);
        let death = Death { class: "MessageSizeTooLarge".into(), message: "too large".into(), failed_at };
        let dead = Envelope::of_dead(
            &row,
            DeadLetter { topic: "orders.dlq", death: &death, attempts: 5, detail: Some("lane 3") },
        );
        let alive = Envelope::of(&row);
        assert_eq!((dead.topic(), dead.partition(), dead.timestamp()), ("orders.dlq", None, failed_at));
        assert_eq!((dead.key(), dead.payload()), (alive.key(), alive.payload()));
        let headers = collect_headers(&dead);
        let (same, added) = headers.split_at(collect_headers(&alive).len());
        assert_eq!(same, collect_headers(&alive));
        let added: Vec<_> = added.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        assert_eq!(
            added,
            [
                ("dlq-reason", &b"too large"[..]),
                ("dlq-error-class", b"MessageSizeTooLarge"),
                ("dlq-original-topic", b"orders"),
                ("dlq-failed-at", b"2026-11-26T20:55:20.123456Z"),
                ("dlq-attempts", b"5"),
                ("dlq-original-partition", b"3"),
                ("dlq-detail", b"lane 3"),
            ]
        );
    }
}
