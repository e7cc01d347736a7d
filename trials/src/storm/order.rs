//! Promise 3, held against what the broker has.
//!
//! Of two events of one aggregate, e1 must come first if both are of one transaction and e1 was enqueued earlier, or
//! if e1's commit was visible before the statement that enqueued e2 was sent. What comes first is read off the broker,
//! and concerns first deliveries:
//! - within a partition, the smaller offset;
//! - across partitions, the time of appending, by the broker's clock (`message.timestamp.type=LogAppendTime`). It
//!   counts milliseconds, so only a later time is held against an event; two in one millisecond pass.

use std::collections::BTreeMap;

use super::findings::{Breach, Findings};
use super::history::Moment;

/// An event that arrived, with its first delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    pub(super) number: u64,
    pub(super) aggregate: u32,
    pub(super) transaction: usize,
    pub(super) began: Moment,
    /// Others saw it by then; `None`: nobody knows when.
    pub(super) visible: Option<Moment>,
    pub(super) partition: (usize, i32),
    pub(super) offset: i64,
    pub(super) appended_ms: i64,
}

/// How much order was demanded, and so looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Demanded {
    /// Pairs of events of which one had to come first.
    pub(super) pairs: u64,
}

/// What of the events that must come before some event arrived last.
#[derive(Default)]
struct Latest {
    count: u64,
    by_partition: BTreeMap<(usize, i32), First>,
    by_time: Option<First>,
}

/// Holds every event against all that must come before it. `one_clock`: times of all partitions can be compared.
pub(super) fn check(firsts: &mut [First], one_clock: bool, findings: &mut Findings) -> Demanded {
    let mut demanded = Demanded::default();
    firsts.sort_by_key(|first| (first.aggregate, first.transaction, first.number));
    for of_one in firsts.chunk_by(|a, b| a.aggregate == b.aggregate) {
        for together in of_one.chunk_by(|a, b| a.transaction == b.transaction) {
            let mut latest = Latest::default();
            for first in together {
                demanded.pairs += latest.count;
                latest.hold_against(first, "enqueued earlier in the same transaction", one_clock, findings);
                latest.add(first);
            }
        }
        demanded.pairs += check_commits(of_one, one_clock, findings);
    }
    demanded
}

/// Across transactions: events by when they began, beside events by when they were visible.
fn check_commits(of_one: &[First], one_clock: bool, findings: &mut Findings) -> u64 {
    let mut beginning: Vec<&First> = of_one.iter().collect();
    beginning.sort_by_key(|first| first.began);
    let mut visible: Vec<(Moment, &First)> =
        of_one.iter().filter_map(|first| Some((first.visible?, first))).collect();
    visible.sort_by_key(|(moment, _)| *moment);
    let mut visible = visible.into_iter().peekable();
    let (mut latest, mut pairs) = (Latest::default(), 0);
    for first in beginning {
        while let Some((_, earlier)) = visible.next_if(|(moment, _)| *moment < first.began) {
            latest.add(earlier);
        }
        pairs += latest.count;
        latest.hold_against(first, "committed before the later one was begun", one_clock, findings);
    }
    pairs
}

impl Latest {
    fn add(&mut self, first: &First) {
        self.count += 1;
        let here = self.by_partition.entry(first.partition).or_insert(*first);
        if first.offset > here.offset {
            *here = *first;
        }
        if self.by_time.is_none_or(|latest| first.appended_ms > latest.appended_ms) {
            self.by_time = Some(*first);
        }
    }

    /// All of these must have come before `first`.
    fn hold_against(&self, first: &First, why: &str, one_clock: bool, findings: &mut Findings) {
        let here = self.by_partition.get(&first.partition).filter(|earlier| earlier.offset > first.offset);
        let elsewhere = self.by_time.as_ref().filter(|earlier| {
            one_clock && earlier.partition != first.partition && earlier.appended_ms > first.appended_ms
        });
        if let Some(earlier) = here.or(elsewhere) {
            findings.add(Breach::Order, || {
                format!(
                    "aggregate {}: {} was {why}, and came later: {} and {}",
                    first.aggregate,
                    earlier.number,
                    earlier.place(),
                    first.place()
                )
            });
        }
    }
}

impl First {
    fn place(&self) -> String {
        let Self { number, partition: (topic, partition), offset, appended_ms, .. } = self;
        format!(
            "event {number} of transaction {} begun at {}, visible at {:?}, is at topic {topic} partition {partition} \
             offset {offset}, appended at {appended_ms} ms",
            self.transaction, self.began, self.visible
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(number: u64, transaction: usize, began: Moment, visible: Moment) -> First {
        let offset = number as i64;
        First {
            number,
            aggregate: 1,
            transaction,
            began,
            visible: Some(visible),
            partition: (0, 0),
            offset,
            appended_ms: offset,
        }
    }

    fn breaches(mut firsts: Vec<First>, one_clock: bool) -> (u64, u64) {
        let mut findings = Findings::default();
        let demanded = check(&mut firsts, one_clock, &mut findings);
        (findings.count(Breach::Order), demanded.pairs)
    }

    #[test]
    fn events_of_one_transaction_keep_their_order() {
        let (one, two) = (first(1, 1, 1, 9), first(2, 1, 2, 9));
        assert_eq!(breaches(vec![one, two], true), (0, 1));
        assert_eq!(breaches(vec![First { offset: 3, ..one }, two], true), (1, 1));
    }

    #[test]
    fn what_was_visible_before_the_other_began_comes_first() {
        let (one, two) = (first(1, 1, 1, 2), first(2, 2, 3, 4));
        assert_eq!(breaches(vec![one, two], true), (0, 1));
        assert_eq!(breaches(vec![First { offset: 3, ..one }, two], true), (1, 1));
    }

    #[test]
    fn what_ran_side_by_side_has_no_order() {
        let (one, two) = (first(1, 1, 1, 4), first(2, 2, 3, 5));
        assert_eq!(breaches(vec![First { offset: 3, ..one }, two], true), (0, 0));
        let unheard = First { visible: None, offset: 3, ..first(1, 1, 1, 2) };
        assert_eq!(breaches(vec![unheard, two], true), (0, 0));
    }

    #[test]
    fn aggregates_have_no_order_between_them() {
        let (one, two) = (first(1, 1, 1, 2), First { aggregate: 2, ..first(2, 2, 3, 4) });
        assert_eq!(breaches(vec![First { offset: 3, ..one }, two], true), (0, 0));
    }

    #[test]
    fn across_partitions_a_later_time_is_held_against_an_event_and_the_same_is_not() {
        let (one, two) = (first(1, 1, 1, 2), first(2, 2, 3, 4));
        let elsewhere = |appended_ms| First { partition: (1, 0), appended_ms, offset: 90, ..one };
        assert_eq!(breaches(vec![elsewhere(2), two], true), (0, 1));
        assert_eq!(breaches(vec![elsewhere(3), two], true), (1, 1));
        assert_eq!(breaches(vec![elsewhere(3), two], false), (0, 1));
    }

    #[test]
    fn the_last_of_many_that_must_come_first_is_found_in_each_partition() {
        let mut firsts: Vec<First> = (1..=6).map(|n| first(n, n as usize, n * 2, n * 2 + 1)).collect();
        firsts[1].partition = (0, 1);
        assert_eq!(breaches(firsts.clone(), true), (0, 15));
        // Event 3 comes after 4, 5 and 6, each of which is held against it.
        firsts[2].offset = 90;
        assert_eq!(breaches(firsts, true), (3, 15));
    }
}
