//! Promise 4: duplicates only where something was uncertain, and no more of them than that explains.

use crate::agenda::Time;
use crate::database::Mark;
use crate::truth::{Event, Truth};

/// A relay hands an event to its client, from the log or from among the parked ones.
pub(crate) fn sent(number: u32, parked: bool, truth: &Truth) -> Option<String> {
    let event = &truth.events[number as usize];
    match event.ended {
        _ if !event.exists() => None,
        Some(end) => Some(format!("e{number} is sent though it is settled: {end:?}")),
        None if parked => None,
        None => event.settled.then(|| format!("e{number} is sent though a position had passed it")),
    }
}

/// A lane's position was moved here: what lies behind it and was settled before is going to be sent again.
pub(crate) fn moved_back(truth: &Truth, lane: u16, mark: &Mark) -> Option<String> {
    let unsettled = |event: &Event| {
        event.lane == lane && event.settled && event.exists() && !mark.covers(event.xid, event.id)
    };
    let number = truth.events.iter().position(unsettled)?;
    Some(format!("the position of lane {lane} moved back behind e{number}"))
}

/// A consumer sees an event again, or one of the dead-letter topic.
pub(crate) fn delivered_again(number: u32, truth: &Truth, now: Time) -> Option<String> {
    let event = &truth.events[number as usize];
    let since = event.handed_at.unwrap_or(0);
    let excuses = truth.incidents.iter().filter(|one| one.from <= now && one.until >= since);
    let most = 1 + excuses.map(|one| one.repeats).sum::<u32>();
    let (deliveries, letters) = (event.deliveries, event.letters);
    (deliveries + letters > most).then(|| {
        format!(
            "e{number} was delivered {deliveries} times, and {letters} times as a dead letter; what was uncertain \
             explains {most}"
        )
    })
}
