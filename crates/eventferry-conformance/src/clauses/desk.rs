//! Promise 8, what people see and decide: a decision is a wish on the event, and its lane's owner carries it out.

use std::time::Duration;

use eventferry_core::parked::{
    Change, Decision, Decisions, End, Next, ParkReason, ParkedFilter, ParkedKey, Stage,
};
use eventferry_core::{Event, MessageId};

use super::due::{keys, park_each, park_run, these};
use super::{Kept, clause};
use crate::application::{Posted, tell};
use crate::bench::{Bench, LEASE_SHORT, Patience, event};
use crate::broken::{Broken, ensure};
use crate::clause::Clause;
use crate::desk::{BEHIND, Due, LONG, act, cause, refused, refused_and};
use crate::relay::Relay;

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        8,
        "show-means-what-matches",
        "People are shown what matches every part of a filter: message, aggregate, topic, reason, stage, age.",
        [],
        show_means_what_matches
    ),
    clause!(
        8,
        "reason-is-a-class-or-words",
        "A reason is a class or part of the words, in any case, and no character of it stands for another.",
        [],
        reason_is_a_class_or_words
    ),
    clause!(
        8,
        "decision-fits-its-stage",
        "A decision is written onto what it fits; what it does not fit, or only waits behind, is counted apart.",
        [],
        decision_fits_its_stage
    ),
    clause!(
        8,
        "decision-reaches-its-owner",
        "A decision is shown, comes with what is due to each owner, and keeps its event back until it is carried out.",
        [],
        decision_reaches_its_owner
    ),
    clause!(
        8,
        "decision-is-cleared-by-its-change",
        "Once carried out, a decision is gone: retried, discarded or released, its event is what the change says.",
        [],
        decision_is_cleared_by_its_change
    ),
    clause!(
        8,
        "pending-decision-is-not-replaced",
        "While a decision is not carried out another is not taken, nor is the same.",
        [],
        pending_decision_is_not_replaced
    ),
    clause!(
        8,
        "decision-outlives-a-refusal",
        "A decision stays while its event is refused or postponed; refused itself, it goes and the event stays.",
        [],
        decision_outlives_a_refusal
    ),
    clause!(
        8,
        "decisions-are-audited",
        "Each decision taken leaves a line in the audit, with message, person and reason; so does what is recorded.",
        [Audit],
        decisions_are_audited
    ),
];

fn every() -> ParkedFilter {
    ParkedFilter::default()
}

/// Breaks the clause unless these are shown by the filter, in any order.
async fn shows(relay: &mut Relay<'_>, filter: &ParkedFilter, expected: &[&Posted]) -> Kept {
    let shown = relay.shown_by(filter).await?;
    let mut told: Vec<_> = shown.iter().map(|one| tell(&one.row.event)).collect();
    let mut wanted: Vec<_> = expected.iter().map(|one| tell(&one.event)).collect();
    told.sort_unstable();
    wanted.sort_unstable();
    ensure!(told == wanted, "{filter:?} shows {told:?}, not {wanted:?}");
    Ok(())
}

async fn show_means_what_matches(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let of = |topic: &str, kind: &str, id: &str, text: &str| {
        Event::new(topic, (kind, id)).payload(text, "text/plain")
    };
    let batch = [
        of("orders", "order", "1", "a"),
        of("orders", "order", "2", "b"),
        of("others", "order", "1", "c"),
        of("orders", "invoice", "1", "d"),
    ];
    let held = ParkReason::TopicHeld(cause("no such topic"));
    let reasons = [refused("no"), refused_and("never", Next::Die), BEHIND, held];
    let posted = park_each(bench, &mut relay, &batch, &reasons).await?;
    let [a, b, c, d] = &posted[..] else { return Err(Broken::new("4 events were posted")) };
    let text = |text: &str| Some(text.to_owned());
    let filters = [
        (every(), vec![a, b, c, d]),
        (ParkedFilter { message_ids: vec![b.message_id, d.message_id], ..every() }, vec![b, d]),
        (ParkedFilter { message_ids: vec![MessageId([7; 16])], ..every() }, vec![]),
        (ParkedFilter { aggregate_type: text("invoice"), ..every() }, vec![d]),
        (ParkedFilter { aggregate_id: text("1"), ..every() }, vec![a, c, d]),
        (ParkedFilter { aggregate_type: text("order"), aggregate_id: text("1"), ..every() }, vec![a, c]),
        (ParkedFilter { topic: text("others"), ..every() }, vec![c]),
        (ParkedFilter { topic: text("ORDERS"), ..every() }, vec![]),
        (ParkedFilter { reason: text("never"), ..every() }, vec![b]),
        (ParkedFilter { stage: Some(Stage::Waiting), ..every() }, vec![a]),
        (ParkedFilter { stage: Some(Stage::DeadLetterTopic), ..every() }, vec![b]),
        (ParkedFilter { stage: Some(Stage::Topic), ..every() }, vec![c, d]),
        (ParkedFilter { stage: Some(Stage::Topic), topic: text("orders"), ..every() }, vec![d]),
        (ParkedFilter { parked_for: Some(LONG), ..every() }, vec![]),
        (ParkedFilter { parked_for: Some(Duration::ZERO), ..every() }, vec![a, b, c, d]),
    ];
    for (filter, expected) in &filters {
        shows(&mut relay, filter, expected).await?;
    }
    let old = ParkedFilter { parked_for: Some(LEASE_SHORT), ..every() };
    let mut patience = Patience::new(bench.site());
    while relay.shown_by(&old).await?.len() < 4 {
        patience.tick("parked events to grow old").await?;
    }
    park_run(bench, &mut relay, "young", 1, refused("no")).await?;
    let shown = relay.shown_by(&ParkedFilter { parked_for: Some(LONG), ..every() }).await?;
    ensure!(shown.is_empty(), "{} events of this minute are shown as ten minutes old", shown.len());
    Ok(())
}

async fn reason_is_a_class_or_words(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let because = |class, message| ParkReason::Refused { cause: cause_of(class, message), next: Next::Wait };
    let batch: Vec<_> = ["1", "2", "3", "4"].map(|order| event(order, order)).into();
    let reasons = [
        because("MessageSizeTooLarge", "over 100 percent of the limit"),
        because("PolicyViolation", "at 100% of a_limit"),
        because("Unknown", "a\\limit of its own: 'quoted'"),
        BEHIND,
    ];
    let posted = park_each(bench, &mut relay, &batch, &reasons).await?;
    let [a, b, c, _] = &posted[..] else { return Err(Broken::new("4 events were posted")) };
    for (reason, expected) in [
        ("MessageSizeTooLarge", vec![a]),
        ("messagesizetoolarge", vec![a]),
        ("SizeToo", vec![]),
        ("LIMIT", vec![a, b, c]),
        ("100%", vec![b]),
        ("a_limit", vec![b]),
        ("a\\limit", vec![c]),
        ("'quoted'", vec![c]),
        ("unknown", vec![c]),
    ] {
        shows(&mut relay, &ParkedFilter { reason: Some(reason.into()), ..every() }, &expected).await?;
    }
    Ok(())
}

fn cause_of(class: &'static str, message: &'static str) -> eventferry_core::parked::Cause<'static> {
    eventferry_core::parked::Cause { class, message }
}

async fn decision_fits_its_stage(bench: &Bench) -> Kept {
    let held = ParkReason::TopicHeld(cause("no such topic"));
    let stands = [
        ("refused, to be retried", refused_and("no", Next::Retry(LONG)), None, [true, true, false]),
        ("for a held topic", held, None, [true, true, false]),
        ("behind another", BEHIND, None, [false, true, false]),
        ("waiting for a person", refused("no"), None, [true, true, false]),
        ("given up", refused_and("no", Next::Die), None, [false, true, false]),
        ("held", refused_and("no", Next::Die), Some(Change::Held), [false, false, true]),
    ];
    let mut relay = bench.started_relay("a").await?;
    for (nth, decision) in [Decision::Retry, Decision::Discard, Decision::Release].into_iter().enumerate() {
        let mut taken = 0;
        for (row, (what, reason, change, fits)) in stands.into_iter().enumerate() {
            let order = format!("order-{nth}-{row}");
            let posted = park_run(bench, &mut relay, &order, 1, reason).await?;
            if let Some(change) = change {
                let key = keys(&mut relay, &posted).await?[0];
                relay.change(&[(key, change)]).await?;
            }
            let decided = relay.decide_on(posted[0].message_id, decision).await?;
            let expected = Decisions { taken: u64::from(fits[nth]), refused: u64::from(!fits[nth]) };
            ensure!(decided == expected, "{decision:?} of what is {what}: {decided:?}, not {expected:?}");
            let shown = relay.shown_one(posted[0].message_id).await?;
            let written = fits[nth].then_some(decision);
            ensure!(
                shown.decision == written,
                "{decision:?} of what is {what}: it has decision {:?}, not {written:?}",
                shown.decision
            );
            taken += expected.taken;
        }
        let aggregates = |row: usize| format!("order-{nth}-{row}");
        let again = ParkedFilter { aggregate_id: Some(aggregates(0)), ..every() };
        let decided = relay.decide(&again, decision).await?;
        ensure!(decided.taken == 0 && decided.refused == 1, "decided again: {decided:?}");
        let decisions = relay.due_page(Due::default()).await?.decisions.len() as u64;
        ensure!(decisions >= taken, "{taken} decisions were taken, and their owner is told of {decisions}");
    }
    Ok(())
}

/// Breaks the clause unless these decisions come with what is due.
async fn hears(
    relay: &mut Relay<'_>,
    due: Due,
    expected: &[(ParkedKey, Decision, Stage)],
    when: &str,
) -> Kept {
    let decisions = relay.due_page(due).await?.decisions;
    let told: Vec<_> = decisions.iter().map(|one| (one.key, one.decision, one.stage)).collect();
    let shown = relay.shown().await?;
    for one in &decisions {
        let row = shown.iter().find(|shown| shown.key == one.key).map(|shown| &shown.row.event.aggregate);
        let is_its_own = row.is_some_and(|row| row.kind == one.aggregate_type && row.id == one.aggregate_id);
        ensure!(is_its_own, "{when}: {one:?} is about {row:?}");
    }
    ensure!(told == expected, "{when}: the owner is told of {decisions:?}, not {expected:?}");
    Ok(())
}

async fn decision_reaches_its_owner(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let held = ParkReason::TopicHeld(cause("no such topic"));
    let waiting = park_run(bench, &mut relay, &bench.aggregate_in(0, 1), 1, refused("no")).await?;
    let posted = park_run(bench, &mut relay, &bench.aggregate_in(1, 1), 3, held).await?;
    let keys = keys(&mut relay, &[waiting.clone(), posted.clone()].concat()).await?;
    these(&relay.due().await?, &posted, "before anything was decided")?;
    // A person's tool is not a relay.
    let mut tool = bench.relay("tool").await?;
    let filter = ParkedFilter { message_ids: vec![waiting[0].message_id, posted[1].message_id], ..every() };
    let decided = tool.decide(&filter, Decision::Discard).await?;
    ensure!(decided == Decisions { taken: 2, refused: 0 }, "two events were to be discarded: {decided:?}");
    let both = [(keys[0], Decision::Discard, Stage::Waiting), (keys[2], Decision::Discard, Stage::Topic)];
    for after in [None, Some(keys[1]), Some(keys[3])] {
        hears(&mut relay, Due { after, ..Due::default() }, &both, &format!("after {after:?}")).await?;
    }
    these(&relay.due().await?, &posted[..1], "with the second to be discarded")?;
    let one = Due { records_max: 1, ..Due::default() };
    hears(&mut relay, one, &both[..1], "asked for one record at most").await?;
    for (shown, id) in [(true, waiting[0].message_id), (false, posted[0].message_id)] {
        let decision = tool.shown_one(id).await?.decision;
        ensure!(decision.is_some() == shown, "decided {shown}, and shown with decision {decision:?}");
    }
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    hears(&mut successor, Due::default(), &both, "as a new owner").await?;
    these(&successor.due().await?, &posted[..1], "to a new owner")
}

async fn decision_is_cleared_by_its_change(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let waiting = park_run(bench, &mut relay, "1", 2, refused("no")).await?;
    let key = keys(&mut relay, &waiting).await?[0];
    relay.decide_on(waiting[0].message_id, Decision::Retry).await?;
    relay.change(&[(key, Change::Retried)]).await?;
    hears(&mut relay, Due::default(), &[], "after the retry").await?;
    let due = relay.due().await?;
    these(&due, &waiting, "after the retry")?;
    ensure!(due[0].attempts == 0, "retried, and {} attempts count", due[0].attempts);
    let shown = relay.shown_one(waiting[0].message_id).await?;
    ensure!(shown.decision.is_none(), "retried, and shown with decision {:?}", shown.decision);
    relay.decide_on(waiting[0].message_id, Decision::Discard).await?;
    relay.change(&[(key, Change::Settled(End::Discarded))]).await?;
    hears(&mut relay, Due::default(), &[], "after it was discarded").await?;
    these(&relay.due().await?, &waiting[1..], "after it was discarded")?;
    let dead = park_run(bench, &mut relay, "2", 2, refused_and("no", Next::Die)).await?;
    let key = keys(&mut relay, &dead).await?[0];
    relay.change(&[(key, Change::Held)]).await?;
    relay.decide_on(dead[0].message_id, Decision::Release).await?;
    hears(&mut relay, Due::default(), &[(key, Decision::Release, Stage::Held)], "to be released").await?;
    relay.change(&[(key, Change::Settled(End::DeadLettered))]).await?;
    hears(&mut relay, Due::default(), &[], "after the release").await?;
    these(&relay.due().await?, &[&waiting[1..], &dead[1..]].concat(), "after the release")
}

async fn pending_decision_is_not_replaced(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let posted = park_run(bench, &mut relay, "1", 1, refused("no")).await?;
    let (key, id) = (keys(&mut relay, &posted).await?[0], posted[0].message_id);
    let first = relay.decide_on(id, Decision::Retry).await?;
    ensure!(first == Decisions { taken: 1, refused: 0 }, "the first decision: {first:?}");
    for decision in [Decision::Discard, Decision::Retry] {
        let second = relay.decide_on(id, decision).await?;
        ensure!(
            second == Decisions { taken: 0, refused: 1 },
            "{decision:?} while a retry is not carried out: {second:?}"
        );
    }
    hears(&mut relay, Due::default(), &[(key, Decision::Retry, Stage::Waiting)], "decided thrice").await?;
    relay.change(&[(key, Change::Retried)]).await?;
    let third = relay.decide_on(id, Decision::Discard).await?;
    ensure!(third == Decisions { taken: 1, refused: 0 }, "after the retry was carried out: {third:?}");
    Ok(())
}

async fn decision_outlives_a_refusal(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let posted = park_run(bench, &mut relay, "1", 2, refused_and("no", Next::Retry(Duration::ZERO))).await?;
    let (key, id) = (keys(&mut relay, &posted).await?[0], posted[0].message_id);
    relay.decide_on(id, Decision::Retry).await?;
    relay.change(&[(key, Change::Postponed(LONG))]).await?;
    hears(&mut relay, Due::default(), &[(key, Decision::Retry, Stage::Topic)], "postponed").await?;
    // It was in flight when the person decided, and that attempt was its last.
    relay.change(&[(key, Change::Refused { cause: cause("last"), attempts: 5, next: Next::Die })]).await?;
    hears(&mut relay, Due::default(), &[(key, Decision::Retry, Stage::DeadLetterTopic)], "given up").await?;
    these(&relay.due().await?, &[], "given up, with a decision that does not fit any more")?;
    relay.change(&[(key, Change::DecisionRefused)]).await?;
    hears(&mut relay, Due::default(), &[], "after the decision was refused").await?;
    let due = relay.due().await?;
    these(&due, &posted, "after the decision was refused")?;
    ensure!(
        due[0].death.is_some() && due[0].attempts == 5,
        "a refused decision leaves its event as it is, and it comes as {:?}",
        due[0]
    );
    let shown = relay.shown_one(id).await?;
    ensure!(shown.decision.is_none(), "refused, and shown with decision {:?}", shown.decision);
    Ok(())
}

async fn decisions_are_audited(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let posted = park_run(bench, &mut relay, "1", 3, refused("no")).await?;
    let mine = |lines: Vec<crate::subject::Audited>, why: &str| -> Vec<_> {
        lines.into_iter().filter(|line| line.why == why).collect()
    };
    let before = bench.site().audit().await?;
    ensure!(before.is_empty(), "nobody decided anything, and the audit has {} lines", before.len());
    let why = "größer als erlaubt: 'quoted' \u{1f980}";
    let of_run = ParkedFilter { aggregate_id: Some("1".into()), ..every() };
    relay.decide_as(&of_run, Decision::Retry, &act("retry the first")).await?;
    relay.decide_as(&of_run, Decision::Discard, &act(why)).await?;
    relay
        .roles
        .record("replay of a dead-letter topic", &act("recorded"))
        .await
        .map_err(|fault| Broken::call("record", &fault))?;
    let lines = bench.site().audit().await?;
    ensure!(lines.len() == 4, "3 decisions were taken and 1 deed recorded, and the audit has {lines:?}");
    ensure!(lines.iter().all(|line| line.who == "ann"), "ann decided, and the audit has {lines:?}");
    let discarded: Vec<_> = mine(lines.clone(), why).into_iter().map(|line| line.message_id).collect();
    let ids = |posted: &[Posted]| -> Vec<_> { posted.iter().map(|one| Some(one.message_id)).collect() };
    ensure!(
        discarded.len() == 2 && ids(&posted[1..]).iter().all(|id| discarded.contains(id)),
        "two events were to be discarded, and the audit has {lines:?}"
    );
    let retried = mine(lines.clone(), "retry the first");
    ensure!(
        retried.len() == 1 && retried[0].message_id == Some(posted[0].message_id),
        "one event was to be retried, and the audit has {lines:?}"
    );
    let recorded = mine(lines.clone(), "recorded");
    ensure!(
        recorded.len() == 1
            && recorded[0].message_id.is_none()
            && recorded[0].what == "replay of a dead-letter topic",
        "one deed was recorded, and the audit has {lines:?}"
    );
    Ok(())
}
