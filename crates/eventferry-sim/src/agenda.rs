//! Virtual time: what will happen when.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Microseconds since the beginning of a run.
pub(crate) type Time = u64;

pub(crate) const MILLISECOND: Time = 1_000;
pub(crate) const SECOND: Time = 1_000_000;

/// What will happen, in the order of time; what was entered earlier goes first at the same time.
pub(crate) struct Agenda<W> {
    heap: BinaryHeap<Entry<W>>,
    entered: u64,
}

struct Entry<W> {
    at: Time,
    number: u64,
    what: W,
}

impl<W> Entry<W> {
    fn rank(&self) -> (Time, u64) {
        (self.at, self.number)
    }
}

impl<W> Ord for Entry<W> {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives its greatest first.
        other.rank().cmp(&self.rank())
    }
}

impl<W> PartialOrd for Entry<W> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<W> PartialEq for Entry<W> {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl<W> Eq for Entry<W> {}

impl<W> Agenda<W> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::with_capacity(256), entered: 0 }
    }

    pub(crate) fn enter(&mut self, at: Time, what: W) {
        self.entered += 1;
        self.heap.push(Entry { at, number: self.entered, what });
    }

    pub(crate) fn next(&mut self) -> Option<(Time, W)> {
        self.heap.pop().map(|entry| (entry.at, entry.what))
    }
}
