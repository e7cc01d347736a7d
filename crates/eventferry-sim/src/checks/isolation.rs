//! Promise 6: what is refused delays nothing but itself.

use crate::agenda::{SECOND, Time};

/// In calm weather events are delivered within this time, save those that wait for a topic or behind a refusal; and the
/// time for which a relay is patient with a topic.
const DELAY_MAX: Time = 4 * SECOND;

/// A consumer sees an innocent event for the first time, in a run where nothing but refusals goes wrong; it is visible,
/// and there is a relay, since then.
pub(crate) fn delivered(number: u32, since: Time, now: Time, patience: Time) -> Option<String> {
    let late = now.saturating_sub(since);
    (late > DELAY_MAX + patience)
        .then(|| format!("e{number} was delivered {} ms after its commit, in calm weather", late / 1_000))
}
