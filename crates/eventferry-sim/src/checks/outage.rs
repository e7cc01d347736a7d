//! Promise 7: nothing is parked because a server was away.

use crate::truth::{Poison, Truth};

/// An event is parked.
pub(crate) fn parked(number: u32, refused: bool, truth: &Truth) -> Option<String> {
    let event = &truth.events[number as usize];
    if refused {
        let innocent = event.poison == Poison::None;
        return innocent.then(|| format!("e{number} is parked as refused, and nobody would refuse it"));
    }
    let behind = truth.of_aggregate[usize::from(event.aggregate)].iter().any(|other| {
        let other = &truth.events[*other as usize];
        other.parked && other.poison != Poison::None
    });
    (!behind).then(|| format!("e{number} is parked behind another, and nothing of its aggregate was refused"))
}
