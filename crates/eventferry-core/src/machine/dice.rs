//! Chance, from a seed: SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).

use core::time::Duration;

/// A source of numbers that is the same for the same seed.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Any duration from zero to this one.
    pub(super) fn up_to(&mut self, bound: Duration) -> Duration {
        let values = u128::from(u64::try_from(bound.as_micros()).unwrap_or(u64::MAX)) + 1;
        let micros = (u128::from(self.roll()) * values) >> 64;
        // Below 2^64, as both factors are at most that.
        Duration::from_micros(micros as u64)
    }

    /// Any number.
    pub(super) fn number(&mut self) -> u64 {
        self.roll()
    }

    fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
