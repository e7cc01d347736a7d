//! When each transaction is due: at a fixed rate, whatever becomes of those before it.

use std::time::Duration;

/// Above this rate, in events a second, transactions hold [`MANY`] events instead of one.
const SINGLE_RATE_MAX: u64 = 5_000;

/// The events of a transaction at high rates.
const MANY: u64 = 10;

/// The arrivals of transactions over a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrivals {
    /// Events a second.
    rate: u64,
    /// Events a transaction.
    pub(super) size: u64,
    /// How many transactions there are.
    pub(super) transactions: u64,
}

impl Arrivals {
    /// Those of `span` at `rate` events a second.
    pub(super) fn new(rate: u64, span: Duration) -> Self {
        let size = if rate > SINGLE_RATE_MAX { MANY } else { 1 };
        let events = (rate as f64 * span.as_secs_f64()) as u64;
        Self { rate, size, transactions: (events / size).max(1) }
    }

    /// How many events there are.
    pub(super) fn events(&self) -> u64 {
        self.transactions * self.size
    }

    /// When a transaction is due, from the beginning. Each has a slot of its own, and lies anywhere in it: in step with
    /// somebody's timer, all would meet it at the same place.
    pub(super) fn due(&self, transaction: u64) -> Duration {
        let slot = self.size as f64 / self.rate as f64;
        Duration::from_secs_f64((transaction as f64 + share(transaction)) * slot)
    }
}

/// A number from 0 up to 1 that looks like chance and is the same in every run (SplitMix64's last step).
fn share(number: u64) -> f64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_over_any_span() {
        for (rate, transactions, size) in [(50, 100, 1), (2_000, 4_000, 1), (10_000, 2_000, 10)] {
            let arrivals = Arrivals::new(rate, Duration::from_secs(2));
            assert_eq!((arrivals.transactions, arrivals.size), (transactions, size));
            assert_eq!(arrivals.events(), 2 * rate);
            assert!(arrivals.due(arrivals.transactions - 1) < Duration::from_secs(2));
        }
    }

    #[test]
    fn transactions_come_in_order_each_in_its_slot_and_not_in_step() {
        let arrivals = Arrivals::new(500, Duration::from_secs(1));
        let slot = Duration::from_millis(2);
        let mut places = Vec::new();
        for number in 0..arrivals.transactions {
            let before = slot * number as u32;
            let due = arrivals.due(number);
            assert!(due >= before && due <= before + slot, "{number}: {due:?}");
            places.push((due - before).as_secs_f64() / slot.as_secs_f64());
        }
        let mean = places.iter().sum::<f64>() / places.len() as f64;
        assert!((0.45..0.55).contains(&mean), "{mean}");
        assert!(places.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
