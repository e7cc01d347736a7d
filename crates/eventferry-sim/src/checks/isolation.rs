//! Promise 6: what is refused delays nothing but itself.

use crate::agenda::{SECOND, Time};
use crate::truth::Event;

/// A calm run's events are delivered within this time, save those that wait for a topic or behind a refusal.
pub(crate) const DELAY_MAX: Time = 8 * SECOND;

/// A consumer sees an innocent event for the first time, in a run where nothing but refusals goes wrong.
pub(crate) fn delivered(number: u32, event: &Event, now: Time) -> Option<String> {
    let late = now.saturating_sub(event.visible_at);
    (late > DELAY_MAX)
        .then(|| format!("e{number} was delivered {} ms after its commit, in calm weather", late / 1_000))
}
