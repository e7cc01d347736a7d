//! Promise 8: what is parked leaves the outbox's care only by a decision, and there is none yet.

use crate::truth::Truth;

/// The parked events now; those that were parked before must be among them, unless a failover took them back.
pub(crate) fn still_parked(truth: &Truth, parked: &[u32]) -> Option<String> {
    let gone = |(number, event): &(usize, &crate::truth::Event)| {
        event.parked && event.exists() && !parked.contains(&(*number as u32))
    };
    let (number, _) = truth.events.iter().enumerate().find(gone)?;
    Some(format!("e{number} was parked and is not any more"))
}
