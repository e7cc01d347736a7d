//! Promise 2: each committed event is delivered or parked, whatever crashes.

use crate::truth::{Event, Fate};

/// A position has passed an event: nobody will read it again.
pub(crate) fn passed(number: u32, event: &Event) -> Option<String> {
    let kept = event.deliveries > 0 || event.parked || !event.exists();
    (!kept).then(|| format!("a position passed e{number}, which is neither delivered nor parked"))
}

/// Everything has come to rest, or had the time to.
pub(crate) fn at_the_end(events: &[Event]) -> Option<String> {
    let waits = |event: &&Event| event.fate == Fate::Durable && !event.settled;
    let count = events.iter().filter(waits).count();
    let first = events.iter().position(|event| waits(&event))?;
    let Event { aggregate, lane, deliveries, parked, .. } = events[first];
    Some(format!(
        "{count} events are not settled in the end, the first of them e{first} of aggregate {aggregate} in lane \
         {lane}: delivered {deliveries} times, {}",
        if parked { "parked" } else { "not parked" }
    ))
}

/// What was settled must have stayed delivered or parked.
pub(crate) fn gone_in_the_end(events: &[Event]) -> Option<String> {
    let gone = |event: &Event| event.fate == Fate::Durable && event.deliveries == 0 && !event.parked;
    let first = events.iter().position(gone)?;
    Some(format!("e{first} is neither delivered nor parked in the end"))
}
