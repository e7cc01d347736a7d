//! Chance that can be had again: the same seed throws the same.

use std::ops::Range;

/// Seeded chance: splitmix64, which needs no more state than its seed.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Dice of their own for each of those who throw at the same time.
    pub(super) fn for_one(seed: u64, which: u64) -> Self {
        let mut dice = Self(seed ^ which.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Self(dice.throw())
    }

    pub(super) fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of a range that is not empty.
    pub(super) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.throw() % (range.end - range.start).max(1)
    }

    /// An index below a length that is not zero.
    pub(super) fn below(&mut self, length: usize) -> usize {
        (self.throw() % length.max(1) as u64) as usize
    }

    /// True once in so many times.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.throw().is_multiple_of(times)
    }

    /// One of these, each as likely as its weight says.
    pub(super) fn weighed<T: Copy>(&mut self, of: &[(u64, T)]) -> T {
        let mut left = self.within(0..of.iter().map(|(weight, _)| weight).sum());
        let mut chosen = of[0].1;
        for (weight, one) in of {
            chosen = *one;
            if left < *weight {
                break;
            }
            left -= weight;
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_throws_the_same() {
        let throws = |mut dice: Dice| [dice.throw(), dice.throw(), dice.throw()];
        assert_eq!(throws(Dice::for_one(7, 1)), throws(Dice::for_one(7, 1)));
        assert_ne!(throws(Dice::for_one(7, 1)), throws(Dice::for_one(7, 2)));
        assert_ne!(throws(Dice::for_one(7, 1)), throws(Dice::for_one(8, 1)));
    }

    #[test]
    fn weights_are_kept_to() {
        let mut dice = Dice::for_one(0, 1);
        let heavy = (0..1000).filter(|_| dice.weighed(&[(0, 'a'), (9, 'b'), (1, 'c')]) == 'b').count();
        assert!((850..950).contains(&heavy), "{heavy}");
    }
}
