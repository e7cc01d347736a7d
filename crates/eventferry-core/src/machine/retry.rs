//! What becomes of an event that was refused: how often it is tried again, when, and what then.

use core::time::Duration;

use super::dice::Dice;

/// How refused events of a topic are retried. Outages never count as attempts, whatever this says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How many attempts an event has, the first included; default 5, at least 1.
    pub attempts: u32,
    /// How long before the next one; default [`Backoff::Exponential`] from 200 ms to 30 s.
    pub backoff: Backoff,
    /// Whether refusals with a code that nobody knows count, once they are put down to the event; default true. If
    /// not, such an event is tried for ever.
    pub unknown_counts: bool,
    /// What follows a dead letter; default [`OnDead::Continue`].
    pub on_dead: OnDead,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        let backoff = Backoff::Exponential { min: Duration::from_millis(200), max: Duration::from_secs(30) };
        Self { attempts: 5, backoff, unknown_counts: true, on_dead: OnDead::Continue }
    }
}

/// How long to wait before the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backoff {
    /// Always this long.
    Fixed(Duration),
    /// This long after the first attempt, twice as long after the second, and so on.
    Linear {
        /// The step.
        step: Duration,
        /// The longest.
        max: Duration,
    },
    /// Any time up to a bound that begins at `min` and doubles with each attempt (full jitter, so that events refused
    /// together do not come back together).
    Exponential {
        /// The first bound.
        min: Duration,
        /// The longest.
        max: Duration,
    },
}

impl Backoff {
    /// How long to wait after this many attempts, which is at least 1.
    pub(super) fn pause(self, attempts: u32, dice: &mut Dice) -> Duration {
        match self {
            Self::Fixed(pause) => pause,
            Self::Linear { step, max } => step.saturating_mul(attempts).min(max),
            Self::Exponential { min, max } => {
                let doublings = attempts.saturating_sub(1).min(31);
                dice.up_to(min.saturating_mul(1 << doublings).min(max))
            }
        }
    }
}

/// What follows a dead letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDead {
    /// The aggregate goes on.
    #[default]
    Continue,
    /// The aggregate is held until a person releases it.
    Hold,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound() {
        let mut dice = Dice::new(1);
        let (step, max) = (Duration::from_millis(200), Duration::from_millis(500));
        let linear = Backoff::Linear { step, max };
        let pauses = [1, 2, 3, u32::MAX].map(|attempts| linear.pause(attempts, &mut dice).as_millis());
        assert_eq!(pauses, [200, 400, 500, 500]);
        let fixed = Backoff::Fixed(step);
        assert_eq!([1, 9].map(|attempts| fixed.pause(attempts, &mut dice)), [step, step]);
    }

    #[test]
    fn jitter_takes_any_time_below_a_doubling_bound() {
        let mut dice = Dice::new(1);
        let (min, max) = (Duration::from_millis(200), Duration::from_secs(30));
        let backoff = Backoff::Exponential { min, max };
        for attempts in 1..40 {
            let bound = min.saturating_mul(1 << (attempts - 1).min(31)).min(max);
            let pauses: [Duration; 100] = core::array::from_fn(|_| backoff.pause(attempts, &mut dice));
            let (shortest, longest) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
            assert!(*longest <= bound && *longest > bound * 3 / 4, "{attempts}: {longest:?} of {bound:?}");
            assert!(*shortest < bound / 4, "{attempts}: {shortest:?} of {bound:?}");
        }
    }
}
