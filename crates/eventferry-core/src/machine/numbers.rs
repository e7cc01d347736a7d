//! Numbers by key, for the one map that every record is looked up in twice.

use alloc::vec;
use alloc::vec::Vec;

use super::entry::AggregateKey;

/// A map from aggregates to numbers: open addressing with linear probing, at most half full.
///
/// The keys are hashes already, so their low bits choose the place. It is never walked over, so its order decides
/// nothing; and it has no seed, so a run repeats itself.
pub(super) struct Numbers {
    places: Vec<Option<(AggregateKey, u32)>>,
    taken: usize,
}

const PLACES_MIN: usize = 64;

impl Numbers {
    pub(super) fn new() -> Self {
        Self { places: vec![None; PLACES_MIN], taken: 0 }
    }

    /// The number of a key, which `fresh` gives to one that has none.
    pub(super) fn get_or_insert_with(&mut self, key: AggregateKey, fresh: impl FnOnce() -> u32) -> u32 {
        let mut at = self.home(key);
        while let Some((other, number)) = self.places[at] {
            if other == key {
                return number;
            }
            at = self.next(at);
        }
        let number = fresh();
        self.places[at] = Some((key, number));
        self.taken += 1;
        if self.taken * 2 > self.places.len() {
            self.grow();
        }
        number
    }

    /// Forgets a key.
    pub(super) fn remove(&mut self, key: AggregateKey) {
        let mut hole = self.home(key);
        while self.places[hole].is_some_and(|(other, _)| other != key) {
            hole = self.next(hole);
        }
        if self.places[hole].take().is_none() {
            return;
        }
        self.taken -= 1;
        // Whoever had to go past the hole moves into it (Knuth, TAOCP 3, 6.4, algorithm R).
        let mut at = self.next(hole);
        while let Some((key, _)) = self.places[at] {
            let mask = self.places.len() - 1;
            let (from_home, from_hole) =
                (at.wrapping_sub(self.home(key)) & mask, at.wrapping_sub(hole) & mask);
            if from_home >= from_hole {
                self.places[hole] = self.places[at].take();
                hole = at;
            }
            at = self.next(at);
        }
    }

    fn grow(&mut self) {
        let doubled = vec![None; self.places.len() * 2];
        for (key, number) in core::mem::replace(&mut self.places, doubled).into_iter().flatten() {
            let mut at = self.home(key);
            while self.places[at].is_some() {
                at = self.next(at);
            }
            self.places[at] = Some((key, number));
        }
    }

    fn home(&self, key: AggregateKey) -> usize {
        // The length is a power of two.
        key.0 as usize & (self.places.len() - 1)
    }

    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.places.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    #[test]
    fn it_answers_as_an_ordered_map_does() {
        let (mut numbers, mut model) = (Numbers::new(), BTreeMap::new());
        let mut state = 1u64;
        for round in 0..20_000u32 {
            // Keys that crowd a few places, at both ends.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = AggregateKey((state >> 40 & 7).wrapping_sub(3).wrapping_mul(1 + (state >> 50 & 63)));
            if state >> 33 & 3 == 0 {
                numbers.remove(key);
                model.remove(&key);
            } else {
                let given = numbers.get_or_insert_with(key, || round);
                assert_eq!(given, *model.entry(key).or_insert(round));
            }
            assert_eq!(numbers.taken, model.len());
        }
        for (key, number) in model {
            assert_eq!(numbers.get_or_insert_with(key, || u32::MAX), number);
        }
    }
}
