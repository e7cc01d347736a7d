//! Promise 3: first deliveries of an aggregate's events keep their order, across topics and partitions too.

use crate::truth::Truth;

/// A consumer sees an event for the first time, or somebody parks it.
pub(crate) fn delivered(number: u32, truth: &Truth) -> Option<String> {
    let event = &truth.events[number as usize];
    for earlier in &truth.of_aggregate[usize::from(event.aggregate)] {
        let before = &truth.events[*earlier as usize];
        if !before.is_carried() && before.exists() && before.precedes(event) {
            let state = if before.parked { "is parked" } else { "is not delivered" };
            return Some(format!(
                "e{number} of aggregate {} was delivered before e{earlier}, which {state}",
                event.aggregate
            ));
        }
    }
    None
}
