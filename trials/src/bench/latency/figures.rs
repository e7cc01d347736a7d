//! Percentiles, ratios and growth.

use serde_json::{Value, json};

use crate::bench::outcome::{median, rounded};

/// What one contender took at one rate in one round, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figures {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
    /// The median of the first half of the events, and of the second.
    pub(super) halves_ms: [f64; 2],
}

/// Lag that grows: in the second half the median is over twice the first's, and by more than this, in milliseconds.
const GROWTH_MS: f64 = 5.0;

impl Figures {
    /// Of latencies in milliseconds, in the order of enqueueing; `None` of none.
    pub(super) fn of(latencies: &[f64]) -> Option<Self> {
        let (first, second) = latencies.split_at(latencies.len() / 2);
        let all = sorted(latencies);
        let half = |half: &[f64]| percentile(&sorted(half), 0.5).or(percentile(&all, 0.5));
        Some(Self {
            p50_ms: percentile(&all, 0.5)?,
            p99_ms: percentile(&all, 0.99)?,
            max_ms: *all.last()?,
            halves_ms: [half(first)?, half(second)?],
        })
    }

    /// Whether events waited longer and longer.
    pub(super) fn grows(&self) -> bool {
        let [first, second] = self.halves_ms;
        second > 2.0 * first && second - first > GROWTH_MS
    }
}

/// The least of the sorted figures that is no less than this share of them all.
fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

fn sorted(figures: &[f64]) -> Vec<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// What one contender took at one rate, over all rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// The medians of each round's ratio to the dual write; `None` without one.
    pub(super) ratios: Option<[f64; 2]>,
    /// In how many rounds lag grew.
    pub(super) grew: usize,
    pub(super) cpu_us: f64,
}

/// One round of a contender at a rate: its figures, those of the dual write in the same round, and the processor time,
/// in microseconds an event, of everybody together.
pub(super) type Round = (Figures, Option<Figures>, f64);

impl Summary {
    /// Of the rounds; `None` of none.
    pub(super) fn of(rounds: &[Round]) -> Option<Self> {
        let over =
            |figure: &dyn Fn(&Round) -> Option<f64>| median(rounds.iter().filter_map(figure).collect());
        let ratio = |figure: fn(&Figures) -> f64| {
            over(&|(own, base, _)| Some(figure(own) / base.as_ref().map(figure).filter(|base| *base > 0.0)?))
        };
        Some(Self {
            p50_ms: over(&|(own, ..)| Some(own.p50_ms))?,
            p99_ms: over(&|(own, ..)| Some(own.p99_ms))?,
            ratios: ratio(|own| own.p50_ms).zip(ratio(|own| own.p99_ms)).map(|(p50, p99)| [p50, p99]),
            grew: rounds.iter().filter(|(own, ..)| own.grows()).count(),
            cpu_us: over(&|(.., cpu)| Some(*cpu))?,
        })
    }

    /// For machines.
    pub(super) fn json(&self, name: &str, rate: u64) -> Value {
        json!({
            "name": name,
            "rate": rate,
            "p50_ms": rounded(self.p50_ms),
            "p99_ms": rounded(self.p99_ms),
            "ratio_p50": self.ratios.map(|[p50, _]| rounded(p50)),
            "ratio_p99": self.ratios.map(|[_, p99]| rounded(p99)),
            "rounds_with_growing_lag": self.grew,
            "cpu_us_per_event": rounded(self.cpu_us),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(p50_ms: f64, p99_ms: f64) -> Figures {
        Figures { p50_ms, p99_ms, max_ms: p99_ms, halves_ms: [p50_ms; 2] }
    }

    #[test]
    fn a_percentile_is_one_of_the_figures() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let all = Figures::of(&hundred).unwrap();
        assert_eq!((all.p50_ms, all.p99_ms, all.max_ms), (50.0, 99.0, 100.0));
        let one = Figures::of(&[7.0]).unwrap();
        assert_eq!((one.p50_ms, one.p99_ms, one.halves_ms), (7.0, 7.0, [7.0, 7.0]));
        assert_eq!(Figures::of(&[]), None);
    }

    #[test]
    fn lag_that_grows_is_told_from_a_slow_and_from_a_noisy_one() {
        let grows = |halves: [f64; 2]| {
            let latencies: Vec<f64> = halves.iter().flat_map(|half| [*half; 50]).collect();
            Figures::of(&latencies).unwrap().grows()
        };
        assert!(grows([10.0, 30.0]));
        assert!(!grows([30.0, 10.0]));
        assert!(!grows([100.0, 150.0]));
        assert!(!grows([1.0, 4.0]));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let rounds = [
            (figures(2.0, 10.0), Some(figures(1.0, 10.0)), 40.0),
            (figures(30.0, 90.0), Some(figures(10.0, 30.0)), 50.0),
            (figures(4.0, 40.0), Some(figures(4.0, 4.0)), 60.0),
        ];
        let summary = Summary::of(&rounds).unwrap();
        assert_eq!((summary.p50_ms, summary.p99_ms, summary.cpu_us), (4.0, 40.0, 50.0));
        assert_eq!(summary.ratios, Some([2.0, 3.0]));
        let alone = Summary::of(&[(figures(2.0, 10.0), None, 1.0)]).unwrap();
        assert_eq!(alone.ratios, None);
        assert_eq!(alone.json("poll", 50)["ratio_p99"], Value::Null);
    }
}
