//! Decisions on parked events: written onto them here, carried out by the relay that owns their lanes.

use eventferry::MessageId;
use eventferry::core::Row;
use eventferry::core::parked::{Decision, Decisions, Desk, ParkedFilter, ShownEvent, Stage};
use eventferry::core::store::Store;
use jiff::Timestamp;
use serde::Serialize;

use super::line::{Detail, EventLine};
use super::table::{List, NOTHING};
use super::walk::Walk;
use super::{LISTED, decision_name, desk, filter};
use crate::arguments::DecideArguments;
use crate::ending::{Ending, Trouble};
use crate::output::print;
use crate::person;
use crate::table::counted;

/// Decides, or shows what would be decided.
pub(super) async fn decide<S: Store>(
    store: S,
    decision: Decision,
    arguments: &DecideArguments,
) -> Result<Ending, Trouble> {
    let mut filter = filter::decided(&arguments.filter, arguments.all)?;
    let act = person::act(&arguments.person)?;
    let mut desk = desk(store).await?;
    if arguments.dry_run {
        return rehearse(&mut desk, &filter, decision, arguments).await;
    }
    let mut passed_over = 0;
    if let Some(limit) = arguments.limit {
        let first = first(&mut desk, &filter, decision, limit).await?;
        passed_over = first.passed_over;
        filter.message_ids = first.message_ids;
        if filter.message_ids.is_empty() {
            return report(decision, Decisions { taken: 0, refused: passed_over }, arguments.json);
        }
    }
    let Decisions { taken, refused } = desk.decide(&filter, decision, &act).await?;
    report(decision, Decisions { taken, refused: refused + passed_over }, arguments.json)
}

/// The first events that a decision fits.
#[derive(Default)]
struct First {
    message_ids: Vec<MessageId>,
    /// How many before them it does not fit.
    passed_over: u64,
}

async fn first<D: Desk>(
    desk: &mut D,
    filter: &ParkedFilter,
    decision: Decision,
    limit: u64,
) -> Result<First, Trouble> {
    let mut first = First::default();
    let mut walk = Walk::new(desk, filter, None);
    loop {
        let events = walk.next().await?;
        if events.is_empty() {
            return Ok(first);
        }
        for event in &events {
            if !fits(decision, event) {
                first.passed_over += 1;
                continue;
            }
            first.message_ids.push(event.row.message_id());
            if first.message_ids.len() as u64 == limit {
                return Ok(first);
            }
        }
    }
}

/// Whether a decision can be written onto an event.
fn fits<R>(decision: Decision, event: &ShownEvent<R>) -> bool {
    let waits_only = event.stage == Stage::Topic && event.class.is_none();
    event.decision.is_none() && decision.fits(event.stage) && !(decision == Decision::Retry && waits_only)
}

/// Shows what would be decided.
async fn rehearse<D: Desk>(
    desk: &mut D,
    filter: &ParkedFilter,
    decision: Decision,
    arguments: &DecideArguments,
) -> Result<Ending, Trouble> {
    let limit = arguments.limit.unwrap_or(u64::MAX);
    let mut list = List::new(Timestamp::now());
    let mut counts = Decisions::default();
    let mut walk = Walk::new(desk, filter, None);
    'walk: loop {
        let events = walk.next().await?;
        if events.is_empty() {
            break;
        }
        for event in &events {
            if !fits(decision, event) {
                counts.refused += 1;
                continue;
            }
            counts.taken += 1;
            if arguments.json {
                print(&EventLine::of(event, Detail::Place).json()?)?;
            } else if list.len() < LISTED {
                list.add(event);
            }
            if counts.taken == limit {
                break 'walk;
            }
        }
    }
    if arguments.json {
        return Ok(Ending::Done);
    }
    if counts == Decisions::default() {
        print(NOTHING)?;
        return Ok(Ending::Done);
    }
    let was_cut = list.len() < counts.taken;
    if counts.taken > 0 {
        print(&format!("{}\n", list.text(was_cut)))?;
    }
    let name = decision_name(decision);
    let taken = counted(counts.taken, "event");
    print(&format!("{name} would be decided for {taken}; nothing was changed\n{}", unfit(decision, counts)))?;
    Ok(Ending::Done)
}

/// What was decided, as JSON.
#[derive(Debug, Serialize)]
struct Decided {
    decision: &'static str,
    /// Events that have the decision now.
    taken: u64,
    /// Events that match and that it does not fit.
    refused: u64,
}

fn report(decision: Decision, counts: Decisions, json: bool) -> Result<Ending, Trouble> {
    let Decisions { taken, refused } = counts;
    let name = decision_name(decision);
    if json {
        let decided = Decided { decision: name, taken, refused };
        print(&format!("{}\n", serde_json::to_string(&decided).map_err(Trouble::bug)?))?;
        return Ok(Ending::Done);
    }
    print(&match (taken, refused) {
        (0, 0) => NOTHING.to_owned(),
        (0, _) => format!("{name} was decided for no event\n{}", unfit(decision, counts)),
        _ => format!(
            "{name} is decided for {}: the relay that owns their lanes carries it out\n{}",
            counted(taken, "event"),
            unfit(decision, counts)
        ),
    })?;
    Ok(Ending::Done)
}

/// Why there are events that a decision does not fit, if there are.
fn unfit(decision: Decision, counts: Decisions) -> String {
    if counts.refused == 0 {
        return String::new();
    }
    let fits = match decision {
        Decision::Retry => "stage topic, once it was refused itself, and waiting",
        Decision::Discard => "every stage but held",
        Decision::Release => "stage held",
    };
    format!(
        "{} more {} and it does not fit: {} fits events without an earlier decision in {fits}\n",
        counted(counts.refused, "event"),
        if counts.refused == 1 { "matches" } else { "match" },
        decision_name(decision),
    )
}

#[cfg(test)]
mod tests {
    use super::super::walk::tests::event;
    use super::*;

    #[test]
    fn a_decision_fits_as_the_contract_says() {
        for (stage, refused, fitting) in [
            (Stage::Topic, true, &[Decision::Retry, Decision::Discard][..]),
            (Stage::Topic, false, &[Decision::Discard]),
            (Stage::DeadLetterTopic, true, &[Decision::Discard]),
            (Stage::Waiting, true, &[Decision::Retry, Decision::Discard]),
            (Stage::Held, true, &[Decision::Release]),
        ] {
            let mut event = event(1);
            event.stage = stage;
            event.class = event.class.filter(|_| refused);
            let all = [Decision::Retry, Decision::Discard, Decision::Release];
            let found: Vec<_> = all.into_iter().filter(|decision| fits(*decision, &event)).collect();
            assert_eq!(found, fitting, "{stage:?}");
            event.decision = Some(Decision::Discard);
            assert!(!all.into_iter().any(|decision| fits(decision, &event)));
        }
    }

    #[test]
    fn what_did_not_fit_is_explained() {
        let counts = |refused| Decisions { taken: 1, refused };
        assert_eq!(unfit(Decision::Retry, counts(0)), "");
        assert!(unfit(Decision::Release, counts(1)).starts_with("1 event more matches"));
        assert!(unfit(Decision::Discard, counts(2)).ends_with("in every stage but held\n"));
    }
}
