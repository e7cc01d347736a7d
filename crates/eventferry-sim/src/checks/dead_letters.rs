//! Promise 8: what is parked leaves the outbox's care only when a topic has acknowledged it, or a person let it go;
//! death is decided before it is carried, and is final.

use eventferry_core::machine::{ChangeWhat, OnDead};
use eventferry_core::parked::{Decision, End, Stage};

use crate::database::{ParkedRow, ToldChange};
use crate::plan::Plan;
use crate::truth::{Event, Truth};

/// The parked events now; those that were parked before must be among them, unless a failover took them back.
pub(crate) fn still_parked(truth: &Truth, parked: &[u32]) -> Option<String> {
    let gone = |(number, event): &(usize, &Event)| {
        event.parked && event.exists() && !parked.contains(&(*number as u32))
    };
    let (number, _) = truth.events.iter().enumerate().find(gone)?;
    Some(format!("e{number} was parked and is not any more"))
}

/// A relay hands an event, or its dead letter, to its client.
pub(crate) fn sent(number: u32, dying: bool, truth: &Truth) -> Option<String> {
    let event = &truth.events[number as usize];
    if dying {
        let alive = event.exists() && !event.died;
        return alive.then(|| format!("e{number} goes to the dead-letter topic, and nobody has given it up"));
    }
    if event.died && event.exists() {
        return Some(format!("e{number} was given up, and goes to its own topic again"));
    }
    let holding = truth.of_aggregate[usize::from(event.aggregate)].iter().find(|other| {
        let other = &truth.events[**other as usize];
        other.holds && other.exists() && other.precedes(event)
    })?;
    Some(format!("e{number} goes to its topic, and the dead letter of e{holding} holds its aggregate"))
}

/// A settlement changes a parked event.
pub(crate) fn changed(change: &ToldChange, before: &ParkedRow, truth: &Truth, plan: &Plan) -> Option<String> {
    let event = &truth.events[before.event as usize];
    if !event.exists() {
        return None;
    }
    let policy = &plan.retries[usize::from(event.topic)];
    let shipped = event.deliveries > 0 || event.committed;
    let lettered = (event.letters > 0 || event.letter_committed) && before.stage == Stage::DeadLetterTopic;
    let released = before.stage == Stage::Held && before.decision == Some(Decision::Release);
    let right = match change.what {
        ChangeWhat::Refused { .. } => before.stage == Stage::Topic && change.cause == Some(before.event),
        ChangeWhat::Postponed(_) => matches!(before.stage, Stage::Topic | Stage::DeadLetterTopic),
        ChangeWhat::Retried => {
            before.decision == Some(Decision::Retry)
                && matches!(before.stage, Stage::Topic | Stage::Waiting)
                && !event.died
        }
        ChangeWhat::Held => lettered && policy.on_dead == OnDead::Hold,
        ChangeWhat::Settled(End::Shipped) => shipped && before.stage == Stage::Topic,
        ChangeWhat::Settled(End::DeadLettered) => {
            (lettered && policy.on_dead == OnDead::Continue) || released
        }
        ChangeWhat::Settled(End::Discarded) => {
            before.decision == Some(Decision::Discard) && before.stage != Stage::Held
        }
        ChangeWhat::DecisionRefused => before.decision.is_some(),
    };
    (!right).then(|| {
        format!(
            "e{} becomes {:?}, and was {:?} with the decision {:?}; its topic has it {} times, the dead-letter topic \
             {}",
            before.event, change.what, before.stage, before.decision, event.deliveries, event.letters
        )
    })
}
