//! When each event was committed, and when a consumer had it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A transaction that waited less than this for a connection was not late: so coarse are clocks and wake-ups.
const LATE_MIN: Duration = Duration::from_millis(1);

/// The moments of a cell's events, by number. Nanoseconds since the beginning; 0: not yet.
pub(super) struct Marks {
    began: Instant,
    /// Events a transaction.
    size: u64,
    /// Of each transaction: when its commit had returned, less the time that it had begun too late.
    committed: Box<[AtomicU64]>,
    /// Of each event: when a consumer first had it.
    arrived: Box<[AtomicU64]>,
    /// How many events have arrived.
    arrivals: AtomicU64,
    /// How many came once more.
    repeats: AtomicU64,
}

impl Marks {
    /// For these many transactions of `size` events each.
    pub(super) fn new(transactions: u64, size: u64) -> Self {
        let nothing = |count: u64| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            began: Instant::now(),
            size,
            committed: nothing(transactions),
            arrived: nothing(transactions * size),
            arrivals: AtomicU64::new(0),
            repeats: AtomicU64::new(0),
        }
    }

    /// A transaction's commit has returned. It began `late` after it was due, for want of a connection: this counts as
    /// if the commit had been that much earlier, since whoever was to be served waited.
    pub(super) fn commit(&self, transaction: u64, returned: Instant, late: Duration) {
        let late = if late < LATE_MIN { Duration::ZERO } else { late };
        let nanos = self.nanos(returned).saturating_sub(nanos(late)).max(1);
        self.committed[transaction as usize].store(nanos, Ordering::Relaxed);
    }

    /// A consumer has an event. Numbers that are nobody's are passed over.
    pub(super) fn arrive(&self, event: u64, at: Instant) {
        let Some(arrived) = self.arrived.get(event as usize) else { return };
        let first = arrived.compare_exchange(0, self.nanos(at), Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if first { &self.arrivals } else { &self.repeats }.fetch_add(1, Ordering::Relaxed);
    }

    /// How many events have arrived.
    pub(super) fn arrivals(&self) -> u64 {
        self.arrivals.load(Ordering::Relaxed)
    }

    /// How many events came more than once.
    pub(super) fn repeats(&self) -> u64 {
        self.repeats.load(Ordering::Relaxed)
    }

    /// How long each event from this one on took, in milliseconds, in the order of enqueueing. One that was there
    /// before its writer knew of its commit took no time.
    pub(super) fn latencies_ms(&self, from: u64) -> Vec<f64> {
        let of = |(event, arrived): (usize, &AtomicU64)| {
            let committed = self.committed[event / self.size as usize].load(Ordering::Relaxed);
            arrived.load(Ordering::Relaxed).saturating_sub(committed) as f64 / 1e6
        };
        self.arrived.iter().enumerate().skip(from as usize).map(of).collect()
    }

    fn nanos(&self, at: Instant) -> u64 {
        nanos(at.saturating_duration_since(self.began)).max(1)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_event_takes_from_its_commit_to_its_first_arrival() {
        let marks = Marks::new(2, 2);
        let at = |ms: u32| marks.began + MS * ms;
        marks.commit(0, at(10), Duration::ZERO);
        marks.commit(1, at(20), Duration::ZERO);
        for (event, ms) in [(0, 12), (0, 15), (1, 13), (2, 19), (3, 24), (99, 1)] {
            marks.arrive(event, at(ms));
        }
        assert_eq!(marks.latencies_ms(0), [2.0, 3.0, 0.0, 4.0]);
        assert_eq!(marks.latencies_ms(2), [0.0, 4.0]);
        assert_eq!((marks.arrivals(), marks.repeats()), (4, 1));
    }

    #[test]
    fn a_writer_that_falls_behind_hides_nothing() {
        let marks = Marks::new(2, 1);
        let at = |ms: u32| marks.began + MS * ms;
        marks.commit(0, at(50), MS * 30);
        marks.commit(1, at(60), MS / 2);
        marks.arrive(0, at(52));
        marks.arrive(1, at(62));
        assert_eq!(marks.latencies_ms(0), [32.0, 2.0]);
    }
}
