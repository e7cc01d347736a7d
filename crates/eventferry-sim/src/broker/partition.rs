//! A partition, and the sequence numbers it expects of each producer.

use crate::agenda::{SECOND, Time};
use crate::broker::Wire;

/// What a producer must send next.
#[derive(Clone, Copy, Debug)]
struct Expected {
    producer: u32,
    epoch: u16,
    sequence: u32,
    seen_at: Time,
}

/// A producer that was silent for so long may be forgotten: far longer than its client waits before it lets a record
/// fly alone again.
const SILENCE_FORGOTTEN: Time = 20 * SECOND;

#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) topic: usize,
    expected: Vec<Expected>,
}

/// What a partition says to a batch, before it writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Write,
    /// It had it already: acknowledged, and not written again.
    Duplicate,
    /// Something before it is missing.
    OutOfOrder,
}

impl Partition {
    pub(crate) fn new(topic: usize) -> Self {
        Self { topic, expected: Vec::new() }
    }

    /// Checks a batch. The first of a producer that it does not know is taken whatever its number.
    pub(crate) fn admit(&mut self, now: Time, wire: &Wire) -> Verdict {
        let Wire { producer, epoch, sequence, .. } = *wire;
        let known = self.expected.iter_mut().find(|known| known.producer == producer && known.epoch == epoch);
        let next = sequence + wire.events.len() as u32;
        let Some(known) = known else {
            self.expected.push(Expected { producer, epoch, sequence: next, seen_at: now });
            return Verdict::Write;
        };
        known.seen_at = now;
        if next <= known.sequence {
            return Verdict::Duplicate;
        }
        if sequence != known.sequence {
            return Verdict::OutOfOrder;
        }
        known.sequence = next;
        Verdict::Write
    }

    pub(crate) fn forget_the_silent(&mut self, now: Time) {
        self.expected.retain(|known| now - known.seen_at < SILENCE_FORGOTTEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(epoch: u16, sequence: u32, records: u32) -> Wire {
        let events = (0..records).collect();
        Wire { producer: 1, connection: 0, domain: 0, sequence, epoch, events, transaction: None }
    }

    #[test]
    fn a_known_producer_may_leave_no_gap_and_a_fresh_one_may() {
        let mut partition = Partition::new(0);
        assert_eq!(partition.admit(0, &wire(0, 3, 2)), Verdict::Write, "whatever its first number is");
        assert_eq!(partition.admit(0, &wire(0, 3, 2)), Verdict::Duplicate);
        assert_eq!(partition.admit(0, &wire(0, 6, 1)), Verdict::OutOfOrder);
        assert_eq!(partition.admit(0, &wire(0, 5, 1)), Verdict::Write);
        assert_eq!(partition.admit(0, &wire(1, 9, 1)), Verdict::Write, "a new epoch is a fresh producer");
    }
}
