//! The doorbell: a relay that lies at it looks when it rings, and nothing that rings is found by polling alone.

use crate::agenda::{MILLISECOND, Time};

/// How long an event may lie there that a sleeper finds by itself: rings take a few milliseconds, and so do readings.
const BEFORE_THE_RING_MAX: Time = 100 * MILLISECOND;

/// A relay that was rung up has nothing more to do.
pub(crate) fn looks_when_rung(reads: bool) -> Option<String> {
    (!reads).then(|| "a relay was rung up, and sleeps on without a look".to_owned())
}

/// A relay that has slept since `asleep` finds an event that is visible since `visible`, where no ring is missed.
pub(crate) fn found_asleep(number: u32, visible: Time, asleep: Time, now: Time) -> Option<String> {
    if visible < asleep {
        return Some(format!("e{number} was there before a relay lay down, which did not look once more"));
    }
    let late = now.saturating_sub(visible);
    (late > BEFORE_THE_RING_MAX)
        .then(|| format!("e{number} lay {} ms beside a sleeper, and no bell was heard", late / MILLISECOND))
}
