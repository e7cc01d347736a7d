//! Promise 8, what becomes of parked events: a settlement tells it, and it holds from then on.

use std::time::Duration;

use eventferry_core::parked::{Change, End, Next, ParkReason, ParkedKey, ShownEvent, Stage};
use eventferry_core::{Lane, StoredEvent};

use super::dead_letters::{listed, told_of};
use super::due::{keys, park_run, these};
use super::{Kept, clause};
use crate::application::{exactly, tell};
use crate::bench::{Bench, event, events};
use crate::broken::{Broken, ensure};
use crate::clause::Clause;
use crate::desk::{BEHIND, Due, LONG, cause, refused, refused_and};
use crate::relay::Relay;

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        8,
        "refused-again-tells-anew",
        "A refusal of a parked event tells its cause, how many attempts count, and what is to become of it.",
        [],
        refused_again_tells_anew
    ),
    clause!(
        8,
        "refused-twice-counts-once",
        "Repeating a refusal changes nothing, and one with fewer attempts than are known comes late: nor does it.",
        [],
        refused_twice_counts_once
    ),
    clause!(
        8,
        "postponed-keeps-its-attempts",
        "What is postponed is due after its pause and not before, with the same attempts and in the same stage.",
        [],
        postponed_keeps_its_attempts
    ),
    clause!(
        8,
        "held-waits-for-its-release",
        "After its dead letter an event may be held: neither it nor what waits behind it is due until it is settled.",
        [],
        held_waits_for_its_release
    ),
    clause!(
        8,
        "settled-is-done-with",
        "However it ended, a settled event is not due, listed, shown or counted, and what waited behind it is due.",
        [],
        settled_is_done_with
    ),
    clause!(
        8,
        "settled-stays-settled",
        "A change of an event that is settled, or is not there, changes nothing and is done.",
        [],
        settled_stays_settled
    ),
    clause!(
        8,
        "changes-and-parks-are-one",
        "One settlement tells changes in their order, parks and moves the position: all of it holds.",
        [],
        changes_and_parks_are_one
    ),
    clause!(
        8,
        "late-changes-change-nothing",
        "A settlement that comes again after a later one changes nothing of what is parked.",
        [],
        late_changes_change_nothing
    ),
];

const NOW: Next = Next::Retry(Duration::ZERO);

fn refusal(message: &'static str, attempts: u32, next: Next) -> Change<'static> {
    Change::Refused { cause: cause(message), attempts, next }
}

/// Breaks the clause unless an event stands here, with these words and attempts.
fn stands(shown: &ShownEvent<StoredEvent>, stage: Stage, attempts: u32, words: &str, when: &str) -> Kept {
    let told = tell(&shown.row.event);
    ensure!(
        shown.stage == stage && shown.attempts == attempts && shown.message.as_deref() == Some(words),
        "{when}: {told} should be in {stage:?} after {attempts} attempts because of `{words}`, and is shown {shown:?}"
    );
    Ok(())
}

async fn refused_again_tells_anew(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let posted = park_run(bench, &mut relay, "1", 2, refused_and("first", NOW)).await?;
    let key = keys(&mut relay, &posted).await?[0];
    let id = posted[0].message_id;
    relay.change(&[(key, refusal("second", 2, NOW))]).await?;
    stands(&relay.shown_one(id).await?, Stage::Topic, 2, "second", "refused again")?;
    let due = relay.due().await?;
    these(&due, &posted, "refused again without a pause")?;
    ensure!(due[0].attempts == 2, "two attempts were told, and {} come", due[0].attempts);
    relay.change(&[(key, refusal("third", 3, Next::Retry(LONG)))]).await?;
    stands(&relay.shown_one(id).await?, Stage::Topic, 3, "third", "refused a third time")?;
    these(&relay.due().await?, &[], "refused again with a pause")?;
    // Not one more than before: what an attempt counts as is for the relay to say.
    relay.change(&[(key, refusal("seventh", 7, Next::Wait))]).await?;
    stands(&relay.shown_one(id).await?, Stage::Waiting, 7, "seventh", "refused a last time")?;
    these(&relay.due().await?, &[], "with its attempts used up")
}

async fn refused_twice_counts_once(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let posted = park_run(bench, &mut relay, "1", 1, refused_and("first", NOW)).await?;
    let key = keys(&mut relay, &posted).await?[0];
    let second = [(key, refusal("second", 2, NOW))];
    for time in 1..=3 {
        relay.change(&second).await?;
        let when = format!("told of one refusal, time {time}");
        stands(&relay.shown_one(posted[0].message_id).await?, Stage::Topic, 2, "second", &when)?;
    }
    relay.change(&[(key, refusal("third", 3, Next::Retry(LONG)))]).await?;
    let before = relay.shown_one(posted[0].message_id).await?;
    relay.change(&second).await?;
    let after = relay.shown_one(posted[0].message_id).await?;
    stands(&after, Stage::Topic, 3, "third", "after the second refusal came late")?;
    ensure!(before.due_at == after.due_at, "a late refusal moved the time of an event: {after:?}");
    these(&relay.due().await?, &[], "after the second refusal came late")
}

async fn postponed_keeps_its_attempts(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let posted = park_run(bench, &mut relay, "1", 1, refused_and("no", NOW)).await?;
    let dying = park_run(bench, &mut relay, "2", 1, refused_and("never", Next::Die)).await?;
    let (key, dead) = (keys(&mut relay, &posted).await?[0], keys(&mut relay, &dying).await?[0]);
    relay.change(&[(key, Change::Postponed(LONG)), (dead, Change::Postponed(LONG))]).await?;
    let page = relay.due_page(Due::default()).await?;
    these(&page.events, &[], "postponed")?;
    ensure!(
        page.next_in.is_some_and(|next| next <= LONG && next > LONG / 2),
        "postponed for {LONG:?}, and the next falls due in {:?}",
        page.next_in
    );
    stands(&relay.shown_one(posted[0].message_id).await?, Stage::Topic, 1, "no", "postponed")?;
    let shown = relay.shown_one(dying[0].message_id).await?;
    stands(&shown, Stage::DeadLetterTopic, 1, "never", "postponed as a dead letter")?;
    relay
        .change(&[(key, Change::Postponed(Duration::ZERO)), (dead, Change::Postponed(Duration::ZERO))])
        .await?;
    let due = relay.due().await?;
    ensure!(due.len() == 2, "postponed by nothing, and {} of 2 are due", due.len());
    for one in &due {
        ensure!(one.attempts == 1, "postponed, and {} attempts count instead of 1", one.attempts);
        ensure!(one.death.is_some() == (one.key == dead), "a dead letter is one before and after: {one:?}");
    }
    Ok(())
}

async fn held_waits_for_its_release(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let posted = park_run(bench, &mut relay, "1", 3, refused_and("no", Next::Die)).await?;
    let key = keys(&mut relay, &posted).await?[0];
    relay.change(&[(key, Change::Held)]).await?;
    let page = relay.due_page(Due::default()).await?;
    these(&page.events, &[], "held")?;
    ensure!(page.next_in.is_none(), "held, and something falls due in {:?}", page.next_in);
    let shown = relay.shown_one(posted[0].message_id).await?;
    ensure!(shown.stage == Stage::Held, "held, and shown in {:?}", shown.stage);
    let listed = listed(&mut relay, &posted).await?;
    ensure!(listed == told_of(&posted), "held, and {listed:?} is listed");
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    these(&successor.due().await?, &[], "held, to a new owner")?;
    successor.change(&[(key, Change::Settled(End::DeadLettered))]).await?;
    these(&successor.due().await?, &posted[1..], "released")
}

/// How many events the figures count as parked, over all lanes.
async fn counted(relay: &mut Relay<'_>) -> Result<u64, Broken> {
    Ok(relay.gauge().await?.lanes.iter().map(|lane| lane.parked).sum())
}

async fn settled_is_done_with(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let ends = [
        (End::Shipped, refused_and("no", NOW)),
        (End::DeadLettered, refused_and("no", Next::Die)),
        (End::Discarded, refused("no")),
    ];
    for (nth, (end, reason)) in (1..).zip(ends) {
        let posted = park_run(bench, &mut relay, &format!("order-{nth}"), 3, reason).await?;
        let keys = keys(&mut relay, &posted).await?;
        relay.change(&[(keys[0], Change::Settled(end))]).await?;
        these(&relay.due().await?, &posted[1..], &format!("the first {end:?}"))?;
        let listed_now = listed(&mut relay, &posted).await?;
        ensure!(listed_now == told_of(&posted[1..]), "the first {end:?}, and {listed_now:?} is listed");
        let count = counted(&mut relay).await?;
        ensure!(count == 2, "the first of three {end:?}, and {count} are counted");
        relay.change(&[(keys[1], Change::Settled(end)), (keys[2], Change::Settled(end))]).await?;
        these(&relay.due().await?, &[], &format!("all {end:?}"))?;
        let (listed_now, count) = (listed(&mut relay, &posted).await?, counted(&mut relay).await?);
        ensure!(
            listed_now.is_empty() && count == 0,
            "all {end:?}: {listed_now:?} is listed, {count} counted"
        );
    }
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    these(&successor.due().await?, &[], "to a new owner")?;
    exactly(&successor.drain().await?, &[], "as a new owner")
}

async fn settled_stays_settled(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let posted = park_run(bench, &mut relay, "1", 2, refused_and("no", NOW)).await?;
    let keys = keys(&mut relay, &posted).await?;
    relay.change(&[(keys[0], Change::Settled(End::Shipped))]).await?;
    let stranger = ParkedKey { ordinal: i64::MAX, ..keys[0] };
    let changes = [
        refusal("late", 9, NOW),
        refusal("late", 9, Next::Die),
        Change::Postponed(LONG),
        Change::Retried,
        Change::Held,
        Change::DecisionRefused,
        Change::Settled(End::Discarded),
    ];
    for key in [keys[0], stranger] {
        for change in changes {
            relay.change(&[(key, change)]).await?;
            let when = format!("after {change:?} of an event settled or not there");
            let listed = listed(&mut relay, &posted).await?;
            ensure!(listed == told_of(&posted[1..]), "{when}: {listed:?} is listed");
            these(&relay.due().await?, &posted[1..], &when)?;
        }
    }
    Ok(())
}

async fn changes_and_parks_are_one(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let order = bench.aggregate_in(1, 1);
    let mut posted = park_run(bench, &mut relay, &order, 3, refused("no")).await?;
    let keys = keys(&mut relay, &posted).await?;
    posted.extend(bench.application().await?.post(&events(&order, 4..=5)).await?);
    let seen = relay.drain().await?;
    exactly(&seen, &posted[3..], "behind what is parked")?;
    let marks: Vec<_> = seen.iter().map(|record| (record.lane, record.mark)).collect();
    let lease = relay.lease_of(Lane(1))?;
    let mut carried = relay.carried(lease, &marks, &[(&seen[0], BEHIND), (&seen[1], BEHIND)]);
    carried.changes = vec![
        (keys[1], Change::Settled(End::Discarded)),
        (keys[0], Change::Retried),
        (keys[0], refusal("again", 1, NOW)),
    ];
    relay.settle_carried(&[carried]).await?;
    let left = [&posted[..1], &posted[2..]].concat();
    let listed = listed(&mut relay, &posted).await?;
    ensure!(listed == told_of(&left), "changed, parked and settled at once: {listed:?} is listed");
    stands(&relay.shown_one(posted[0].message_id).await?, Stage::Topic, 1, "again", "retried and refused")?;
    these(&relay.due().await?, &left, "retried and refused")?;
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &[], "as a new owner")
}

async fn late_changes_change_nothing(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let (order, other) = (bench.aggregate_in(1, 1), bench.aggregate_in(1, 2));
    let held = ParkReason::TopicHeld(cause("no such topic"));
    let posted = park_run(bench, &mut relay, &order, 2, held).await?;
    let key = keys(&mut relay, &posted).await?[0];
    let shipped = bench.application().await?.post(&[event(&other, "1"), event(&other, "2")]).await?;
    let seen = relay.drain().await?;
    exactly(&seen, &shipped, "beside what is parked")?;
    let lease = relay.lease_of(Lane(1))?;
    let mut early = relay.carried(lease, &[(seen[0].lane, seen[0].mark)], &[]);
    early.changes = vec![(key, Change::Postponed(LONG))];
    let mut later = relay.carried(lease, &[(seen[1].lane, seen[1].mark)], &[]);
    later.changes = vec![(key, Change::Postponed(Duration::ZERO))];
    relay.settle_carried(std::slice::from_ref(&early)).await?;
    these(&relay.due().await?, &[], "postponed")?;
    relay.settle_carried(&[later]).await?;
    these(&relay.due().await?, &posted, "due again")?;
    relay.settle_carried(&[early]).await?;
    these(&relay.due().await?, &posted, "after the settlement that postponed came again")?;
    relay.open_all().await?;
    exactly(&relay.drain().await?, &[], "after reopening")
}
