//! Promise 2: each committed event is delivered or parked, whatever crashes.

use eventferry_core::parked::End;

use crate::truth::{Event, Fate};

/// A position has passed an event: nobody will read it again.
pub(crate) fn passed(number: u32, event: &Event) -> Option<String> {
    let kept = event.is_carried()
        || event.is_committed()
        || event.parked
        || event.ended.is_some()
        || !event.exists();
    (!kept).then(|| format!("a position passed e{number}, which is neither delivered nor parked"))
}

/// Everything has come to rest, or had the time to, save in lanes that have as many parked events as they may.
pub(crate) fn at_the_end(events: &[Event], full: &[u16]) -> Option<String> {
    let waits = |event: &&Event| event.fate == Fate::Durable && !event.settled && !full.contains(&event.lane);
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
    let gone = |event: &Event| {
        let kept = event.is_carried()
            || event.is_committed()
            || event.parked
            || !event.settled
            || event.ended == Some(End::Discarded);
        event.fate == Fate::Durable && !kept
    };
    let first = events.iter().position(gone)?;
    Some(format!("e{first} is neither delivered nor parked in the end"))
}

/// A parked event waits in the end, and nothing keeps it.
pub(crate) fn stuck(number: Option<u32>, events: &[Event]) -> Option<String> {
    let number = number?;
    let Event { aggregate, lane, ailment, .. } = events[number as usize];
    Some(format!(
        "e{number} of aggregate {aggregate} in lane {lane} is still parked in the end, and nothing keeps it: \
         {ailment:?}"
    ))
}
