//! Promise 7: nothing is refused, and no attempt counted, because a server or a topic was away.

use eventferry_core::machine::{ChangeWhat, ParkWhy};
use eventferry_core::parked::Next;

use crate::agenda::Time;
use crate::database::{ParkedRow, ToldChange};
use crate::fault::FaultKind;
use crate::plan::Plan;
use crate::truth::{Poison, Truth};

/// An event is parked.
pub(crate) fn parked(number: u32, why: ParkWhy, (truth, plan, now): (&Truth, &Plan, Time)) -> Option<String> {
    let event = &truth.events[number as usize];
    match why {
        ParkWhy::Refused(next) => refused(number, (1, next), truth, plan),
        ParkWhy::TopicHeld => {
            let topic = usize::from(event.topic);
            let refused = plan.faults.iter().any(|fault| {
                let of = match fault.kind {
                    FaultKind::TopicGone { topic, .. } | FaultKind::TopicDenied { topic, .. } => Some(topic),
                    _ => None,
                };
                of == Some(topic) && fault.at <= now
            });
            // In transactions one that is refused with an unknown code makes way for others.
            let unproven = plan.exactly_once_ever().0 && event.ailment.poison == Poison::Unknown;
            (!refused && !unproven)
                .then(|| format!("e{number} is parked for its topic, which nobody took away"))
        }
        ParkWhy::Behind => {
            let behind = truth.of_aggregate[usize::from(event.aggregate)].iter().any(|other| {
                let parked =
                    truth.events[*other as usize].parked || truth.events[*other as usize].ended.is_some();
                *other != number && parked
            });
            (!behind).then(|| {
                format!("e{number} is parked behind another, and nothing of its aggregate was parked")
            })
        }
    }
}

/// A settlement changes a parked event.
pub(crate) fn changed(change: &ToldChange, before: &ParkedRow, truth: &Truth, plan: &Plan) -> Option<String> {
    let ChangeWhat::Refused { attempts, next, .. } = change.what else { return None };
    if !truth.events[before.event as usize].exists() {
        return None;
    }
    if attempts != before.attempts + 1 {
        let (number, counted) = (before.event, before.attempts);
        return Some(format!("e{number} had {counted} attempts, and has {attempts} after one more"));
    }
    refused(before.event, (attempts, next), truth, plan)
}

/// An event counts as refused so many times, which is to have this consequence.
fn refused(number: u32, (attempts, next): (u32, Next), truth: &Truth, plan: &Plan) -> Option<String> {
    let event = &truth.events[number as usize];
    if event.ailment.poison == Poison::None {
        return Some(format!("e{number} counts as refused, and nobody would refuse it"));
    }
    if attempts > event.refusals {
        let refusals = event.refusals;
        return Some(format!("e{number} has {attempts} attempts, and was refused {refusals} times"));
    }
    let policy = &plan.retries[usize::from(event.topic)];
    let spent = attempts >= policy.attempts;
    let right = match next {
        Next::Retry(_) => !spent,
        Next::Wait => spent && (!plan.settings.dead_letters || plan.some_without_letters),
        Next::Die => spent && plan.settings.dead_letters,
    };
    (!right).then(|| format!("e{number} is to {next:?} after {attempts} attempts of {}", policy.attempts))
}
