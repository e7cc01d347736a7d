//! Promise 8, when parked events come back: the ledger knows which are due, and hands them over in their order.

use std::time::Duration;

use eventferry_core::parked::{Change, DueEvent, End, Next, ParkReason, ParkedFilter, ParkedKey, Stage};
use eventferry_core::{Event, Lane, MessageId, StoredEvent, Timestamp};

use super::{Kept, clause};
use crate::application::{Posted, exactly, tell};
use crate::bench::{Bench, LEASE_SHORT, Patience, event, events};
use crate::broken::{Broken, ensure};
use crate::clause::Clause;
use crate::desk::{BEHIND, Due, LONG, cause, refused, refused_and};
use crate::erased::Seen;
use crate::relay::Relay;

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        8,
        "refused-is-due-after-its-time",
        "A refused event is due when its pause is over by the ledger's clock, and not before.",
        [],
        refused_is_due_after_its_time
    ),
    clause!(
        8,
        "waiting-is-due-when-retried",
        "An event that waits for a person is not due, nor what waits behind it, until it is retried: then from nought.",
        [],
        waiting_is_due_when_retried
    ),
    clause!(
        8,
        "held-topics-events-are-due-at-once",
        "An event parked because its topic takes nothing is due at once, with no attempt counted.",
        [],
        held_topics_events_are_due_at_once
    ),
    clause!(
        8,
        "given-up-is-due-as-a-dead-letter",
        "What was given up is due at once for the dead-letter topic, with class, words and time of its refusal.",
        [],
        given_up_is_due_as_a_dead_letter
    ),
    clause!(
        8,
        "given-up-stays-given-up",
        "What was given up never goes to its own topic again: after late refusals, retries, and with new owners.",
        [],
        given_up_stays_given_up
    ),
    clause!(
        8,
        "due-keeps-the-order",
        "Due events of an aggregate come in its order, and none comes before an earlier one that is not due.",
        [],
        due_keeps_the_order
    ),
    clause!(
        8,
        "due-passes-by-what-is-in-hand",
        "Asked for what is due after an event in hand, the ledger hands over nothing that stands behind one up to it.",
        [],
        due_passes_by_what_is_in_hand
    ),
    clause!(
        8,
        "due-until-told-otherwise",
        "What is due comes at each asking, to each owner, until a settlement says what became of it.",
        [],
        due_until_told_otherwise
    ),
    clause!(
        8,
        "due-names-its-lanes",
        "Due events and decisions come of the lanes that are asked for and of no other.",
        [],
        due_names_its_lanes
    ),
    clause!(
        8,
        "next-in-tells-how-long",
        "The ledger tells in how long the next event falls due that is not left out, and when none will by itself.",
        [],
        next_in_tells_how_long
    ),
    clause!(
        8,
        "parked-bytes-are-exact",
        "A parked event comes back byte for byte when it is due and when it is shown.",
        [],
        parked_bytes_are_exact
    ),
];

/// Posts so many events about one order, reads them and parks all: the first for a reason, the others behind it.
pub(super) async fn park_run(
    bench: &Bench,
    relay: &mut Relay<'_>,
    order: &str,
    count: usize,
    reason: ParkReason<'static>,
) -> Result<Vec<Posted>, Broken> {
    let reasons: Vec<_> = (0..count).map(|nth| if nth == 0 { reason } else { BEHIND }).collect();
    park_each(bench, relay, &events(order, 1..=count), &reasons).await
}

/// Posts events in one transaction, reads them and parks each for its reason.
pub(super) async fn park_each(
    bench: &Bench,
    relay: &mut Relay<'_>,
    events: &[Event],
    reasons: &[ParkReason<'static>],
) -> Result<Vec<Posted>, Broken> {
    let posted = bench.application().await?.post(events).await?;
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "before they were parked")?;
    let reason_of = |record: &Seen| {
        let mut both = posted.iter().zip(reasons);
        both.find(|(one, _)| one.message_id == record.message_id).map_or(BEHIND, |(_, reason)| *reason)
    };
    let parked: Vec<_> = seen.iter().map(|record| (record, reason_of(record))).collect();
    relay.settle_parking(&seen, &parked).await?;
    Ok(posted)
}

/// The keys of these messages in the list, in their order.
pub(super) async fn keys(relay: &mut Relay<'_>, posted: &[Posted]) -> Result<Vec<ParkedKey>, Broken> {
    let shown = relay.shown().await?;
    let key = |one: &Posted| shown.iter().find(|shown| shown.row.message_id == one.message_id);
    let keys: Vec<_> = posted.iter().filter_map(key).map(|shown| shown.key).collect();
    ensure!(
        keys.len() == posted.len(),
        "parked {} events, and {} of them are shown",
        posted.len(),
        keys.len()
    );
    Ok(keys)
}

/// Breaks the clause unless these events came, of each aggregate in this order.
pub(super) fn these(due: &[DueEvent<StoredEvent>], expected: &[Posted], when: &str) -> Kept {
    let mut came: Vec<_> = due.iter().map(|one| (one.row.message_id, &one.row.event)).collect();
    let mut wanted: Vec<_> = expected.iter().map(|one| (one.message_id, &one.event)).collect();
    for list in [&mut came, &mut wanted] {
        list.sort_by_key(|(_, event)| (&event.aggregate.kind, &event.aggregate.id));
    }
    let ids = |list: &[(MessageId, &Event)]| -> Vec<_> { list.iter().map(|(id, _)| *id).collect() };
    let told =
        |list: &[(MessageId, &Event)]| -> Vec<_> { list.iter().map(|(_, event)| tell(event)).collect() };
    ensure!(
        ids(&came) == ids(&wanted),
        "{when}: due are {:?} and should be {:?}",
        told(&came),
        told(&wanted)
    );
    Ok(())
}

async fn refused_is_due_after_its_time(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let before = relay.gauge().await?.at;
    let pause = LEASE_SHORT;
    let posted = park_run(bench, &mut relay, "1", 3, refused_and("no", Next::Retry(pause))).await?;
    let due = relay.await_due().await?;
    let at = relay.gauge().await?.at;
    these(&due, &posted, "when the pause was over")?;
    ensure!(
        at.0 - before.0 >= pause.as_micros() as i64 - 1000,
        "an event was due {} µs after it was parked for {pause:?}",
        at.0 - before.0
    );
    ensure!(
        due[0].attempts == 1 && due[1].attempts == 0 && due.iter().all(|one| one.death.is_none()),
        "one attempt counts of the first, none of those behind, and they came with {:?}",
        due.iter().map(|one| one.attempts).collect::<Vec<_>>()
    );
    Ok(())
}

async fn waiting_is_due_when_retried(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let posted = park_run(bench, &mut relay, "1", 3, refused("no")).await?;
    let keys = keys(&mut relay, &posted).await?;
    let page = relay.due_page(Due::default()).await?;
    these(&page.events, &[], "while a person is waited for")?;
    ensure!(
        page.next_in.is_none(),
        "nothing falls due by itself, and the next one does in {:?}",
        page.next_in
    );
    relay.change(&[(keys[0], Change::Retried)]).await?;
    let due = relay.due().await?;
    these(&due, &posted, "after it was retried")?;
    ensure!(due[0].attempts == 0, "retried, and {} attempts count", due[0].attempts);
    let shown = relay.shown_one(posted[0].message_id).await?;
    ensure!(shown.stage == Stage::Topic, "retried, and shown in {:?}", shown.stage);
    Ok(())
}

async fn held_topics_events_are_due_at_once(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let held = ParkReason::TopicHeld(cause("no such topic"));
    let posted = park_run(bench, &mut relay, "1", 3, held).await?;
    let due = relay.due().await?;
    these(&due, &posted, "with no topic left out")?;
    let attempts: Vec<_> = due.iter().map(|one| one.attempts).collect();
    ensure!(attempts == [0, 0, 0], "no attempt counts for a held topic, and {attempts:?} do");
    Ok(())
}

/// Breaks the clause unless this event is due as a dead letter with this cause.
fn is_dying(one: &DueEvent<StoredEvent>, message: &str, refused_at: (Timestamp, Timestamp)) -> Kept {
    let told = tell(&one.row.event);
    let Some(death) = &one.death else {
        return Err(Broken::new(format!("{told} was given up and is due for its own topic")));
    };
    ensure!(
        death.class == "MessageSizeTooLarge" && death.message == message,
        "{told}: died of `MessageSizeTooLarge`, `{message}`, and comes with {death:?}"
    );
    let (before, after) = refused_at;
    ensure!(
        (Timestamp(before.0 - 1000)..=after).contains(&death.failed_at),
        "{told}: refused between {before:?} and {after:?}, and comes with {:?}",
        death.failed_at
    );
    Ok(())
}

async fn given_up_is_due_as_a_dead_letter(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let words = "\"too large\": größer als erlaubt \u{1f980}";
    let before = relay.gauge().await?.at;
    let posted = park_run(bench, &mut relay, "1", 2, refused_and(words, Next::Die)).await?;
    let after = relay.gauge().await?.at;
    bench.site().tick().await;
    let due = relay.due().await?;
    these(&due, &posted, "after it was given up")?;
    is_dying(&due[0], words, (before, after))?;
    ensure!(due[0].attempts == 1, "one attempt was made, and {} count", due[0].attempts);
    ensure!(due[1].death.is_none(), "what waits behind a dead letter is due as one");
    let later = park_run(bench, &mut relay, "2", 1, refused_and("no", Next::Retry(Duration::ZERO))).await?;
    let key = keys(&mut relay, &later).await?[0];
    let before = relay.gauge().await?.at;
    let refusal = Change::Refused { cause: cause("last words"), attempts: 5, next: Next::Die };
    relay.change(&[(key, refusal)]).await?;
    let after = relay.gauge().await?.at;
    bench.site().tick().await;
    let due: Vec<_> = relay.due().await?.into_iter().filter(|one| one.key == key).collect();
    these(&due, &later, "after its last attempt")?;
    is_dying(&due[0], "last words", (before, after))?;
    ensure!(due[0].attempts == 5, "five attempts were made, and {} count", due[0].attempts);
    Ok(())
}

async fn given_up_stays_given_up(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let posted = park_run(bench, &mut relay, "1", 1, refused_and("no", Next::Retry(Duration::ZERO))).await?;
    let key = keys(&mut relay, &posted).await?[0];
    let refusal = |attempts, next| Change::Refused { cause: cause("no"), attempts, next };
    relay.change(&[(key, refusal(3, Next::Die))]).await?;
    let late = [refusal(2, Next::Retry(Duration::ZERO)), Change::Postponed(Duration::ZERO), Change::Retried];
    for change in late {
        relay.change(&[(key, change)]).await?;
        let due = relay.due().await?;
        these(&due, &posted, &format!("after a late {change:?}"))?;
        ensure!(due[0].death.is_some(), "given up, and after a late {change:?} due for its own topic");
    }
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    let due = successor.due().await?;
    these(&due, &posted, "to a new owner")?;
    ensure!(due[0].death.is_some(), "given up, and due for its own topic with a new owner");
    Ok(())
}

async fn due_keeps_the_order(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let held = ParkReason::TopicHeld(cause("no such topic"));
    let later = refused_and("no", Next::Retry(LONG));
    let one = [held, BEHIND, later, BEHIND, held];
    let first = park_each(bench, &mut relay, &events("1", 1..=5), &one).await?;
    let second = park_run(bench, &mut relay, "1", 2, held).await?;
    these(&relay.due().await?, &first[..2], "with the third not due")?;
    let key = keys(&mut relay, &first).await?[2];
    relay.change(&[(key, Change::Postponed(Duration::ZERO))]).await?;
    these(&relay.due().await?, &[first, second].concat(), "with all of them due")
}

async fn due_passes_by_what_is_in_hand(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let held = ParkReason::TopicHeld(cause("no such topic"));
    let [waits, first, second] = [1, 2, 3].map(|nth| bench.aggregate_in(1, nth));
    // The first may fall due between two askings: what waits behind it must not come without it.
    let waiting = park_run(bench, &mut relay, &waits, 1, refused_and("no", Next::Retry(LONG))).await?;
    let run = park_run(bench, &mut relay, &first, 3, held).await?;
    let other = park_run(bench, &mut relay, &second, 2, held).await?;
    park_run(bench, &mut relay, &waits, 2, BEHIND).await?;
    let keys = keys(&mut relay, &[waiting, run.clone(), other.clone()].concat()).await?;
    let all = [run, other.clone()].concat();
    for (in_hand, expected) in [&all[..], &other, &other, &other, &[], &[]].into_iter().enumerate() {
        let page = relay.due_page(Due { after: Some(keys[in_hand]), ..Due::default() }).await?;
        these(&page.events, expected, &format!("after event {in_hand}"))?;
        ensure!(!page.more, "after event {in_hand}: a page with all that is due says that there is more");
    }
    relay.change(&[(keys[0], Change::Postponed(Duration::ZERO))]).await?;
    let page = relay.due_page(Due { after: Some(keys[0]), ..Due::default() }).await?;
    these(&page.events, &all, "after one that was passed over and has fallen due")
}

async fn due_until_told_otherwise(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let posted = park_run(bench, &mut relay, "1", 3, refused_and("no", Next::Retry(Duration::ZERO))).await?;
    for time in ["first", "second"] {
        these(&relay.due().await?, &posted, &format!("at the {time} asking"))?;
    }
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    these(&successor.due().await?, &posted, "to the next owner")?;
    let key = keys(&mut successor, &posted).await?[0];
    successor.change(&[(key, Change::Settled(End::Shipped))]).await?;
    these(&successor.due().await?, &posted[1..], "after the first was shipped")
}

async fn due_names_its_lanes(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let held = ParkReason::TopicHeld(cause("no such topic"));
    let mut of_lanes = Vec::new();
    for lane in 0..3 {
        of_lanes.push(park_run(bench, &mut relay, &bench.aggregate_in(lane, 1), 2, held).await?);
    }
    for (lane, posted) in (0..3).zip(&of_lanes) {
        let page = relay.due_page_of(&[Lane(lane)], Due::default()).await?;
        these(&page.events, posted, &format!("asked for lane {lane}"))?;
    }
    relay.decide(&ParkedFilter::default(), eventferry_core::parked::Decision::Discard).await?;
    let page = relay.due_page_of(&[Lane(0), Lane(2)], Due::default()).await?;
    let lanes: Vec<_> = page.decisions.iter().map(|one| one.key.lane.0).collect();
    ensure!(lanes == [0, 0, 2, 2], "asked for lanes 0 and 2, and decisions came of lanes {lanes:?}");
    Ok(())
}

async fn next_in_tells_how_long(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let nothing = relay.due_page(Due::default()).await?;
    ensure!(nothing.next_in.is_none(), "nothing is parked, and the next falls due in {:?}", nothing.next_in);
    let after = |pause| refused_and("no", Next::Retry(pause));
    for (order, topic, pause) in [("1", "orders", 4 * LONG), ("2", "others", LONG), ("3", "orders", 2 * LONG)]
    {
        let event = Event::new(topic, ("order", order)).payload("1", "text/plain");
        park_each(bench, &mut relay, &[event], &[after(pause)]).await?;
    }
    let asked = |except_topics| Due { except_topics, ..Due::default() };
    for (except_topics, expected) in
        [(&[][..], Some(LONG)), (&["others"], Some(2 * LONG)), (&["orders", "others"], None)]
    {
        let page = relay.due_page(asked(except_topics)).await?;
        these(&page.events, &[], "with all of them to come")?;
        let is_near = match (page.next_in, expected) {
            (Some(told), Some(expected)) => told <= expected && told > expected - LONG / 4,
            (told, expected) => told.is_none() && expected.is_none(),
        };
        ensure!(
            is_near,
            "without {except_topics:?} the next falls due in {:?}, not {expected:?}",
            page.next_in
        );
    }
    let mut patience = Patience::new(bench.site());
    park_run(bench, &mut relay, "4", 1, after(LEASE_SHORT)).await?;
    while relay.due_page(Due::default()).await?.next_in.is_some_and(|next| next <= LEASE_SHORT) {
        patience.tick("an event that falls due to be told of no longer as the next").await?;
    }
    ensure!(relay.due().await?.len() == 1, "an event was told of as the next, and no longer, and is not due");
    Ok(())
}

async fn parked_bytes_are_exact(bench: &Bench) -> Kept {
    let all: Vec<u8> = (0..=255).collect();
    let base = |id: &str| Event::new("orders", ("order", id));
    let mut empty = base("2");
    empty.payload = Some(Vec::new());
    let batch = [
        base("1"),
        empty,
        base("3").payload(all.clone(), "application/octet-stream").key(all.clone()).partition(0),
        base("4").payload("{}", "text/größe").key([]).partition(i32::MAX),
        base("5").header("b", "1").header("a", all).header("b", []).header("B", "2").header("größe", [0]),
        Event::new("größe 日本", (" it's \"quoted\" ", "\\x41 \u{1f980}\n")).payload("5", "text/plain"),
    ];
    let mut relay = bench.started_relay("a").await?;
    let posted = bench.application().await?.post(&batch).await?;
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "at first")?;
    let held = ParkReason::TopicHeld(cause("no such topic"));
    let parked: Vec<_> = seen.iter().map(|record| (record, held)).collect();
    relay.settle_parking(&seen, &parked).await?;
    let due: Vec<_> = relay.due().await?.into_iter().map(|one| one.row).collect();
    let shown: Vec<_> = relay.shown().await?.into_iter().map(|one| one.row).collect();
    for (how, rows) in [("due", due), ("shown", shown)] {
        ensure!(rows.len() == seen.len(), "parked {} events, {how} are {}", seen.len(), rows.len());
        for record in &seen {
            let told = tell(&record.event);
            let row = rows.iter().find(|row| row.message_id == record.message_id);
            let Some(row) = row else { return Err(Broken::new(format!("{told} is not {how}"))) };
            ensure!(
                row.event == record.event && row.enqueued_at == record.enqueued_at,
                "{told}: {how} as {:?} of {:?}, and was read as {:?} of {:?}",
                row.event,
                row.enqueued_at,
                record.event,
                record.enqueued_at
            );
        }
    }
    let again = event("7", "after them");
    let later = bench.application().await?.post(&[again]).await?;
    exactly(&relay.drain().await?, &later, "after all were parked")
}
