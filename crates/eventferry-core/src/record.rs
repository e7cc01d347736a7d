//! An event as a store reads it back.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

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

/// RFC 3339 in UTC with microseconds, such as `2026-11-26T20:55:20.000001Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: i64 = 86_400_000_000;
        let (days, micros) = (self.0.div_euclid(DAY), self.0.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z")
    }
}

/// Year, month and day of a day counted from 1970-01-01, by the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is a year's last, in cycles of 400 years, which have 146,097
/// days.
fn civil(days: i64) -> (i64, i64, i64) {
    let from_march_0000 = days + 719_468;
    let (cycle, day_of_cycle) = (from_march_0000.div_euclid(146_097), from_march_0000.rem_euclid(146_097));
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = cycle * 400 + year_of_cycle + i64::from(month <= 2);
    (year, month, day)
}

/// The columns of one stored event, in whatever form its store got them.
///
/// A store hands rows over by the thousand, so this is a view and not a struct: a store that has the row in a
/// network buffer need not copy it. One without such worries hands over a [`StoredEvent`].
pub trait Row: Send + Sync {
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_time_before_1970_rounds_down() {
        assert_eq!(Timestamp(-1).millis(), -1);
        assert_eq!(Timestamp(1999).millis(), 1);
    }

    #[test]
    fn a_time_is_shown_as_the_calendar_has_it() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (4_107_542_400_000_001, "2100-03-01T00:00:00.000001Z"),
            (1_795_726_520_123_456, "2026-11-26T20:55:20.123456Z"),
        ] {
            assert_eq!(Timestamp(micros).to_string(), text);
        }
    }
}
