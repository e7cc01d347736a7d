//! Promise 2: nothing is lost, whoever reads, settles, leaves and comes.

use std::time::Duration;

use eventferry_core::Lane;
use eventferry_core::store::{Anchor, Rest};

use super::{Kept, clause};
use crate::application::{about, exactly};
use crate::bench::{Bench, event, events};
use crate::broken::ensure;
use crate::clause::Clause;
use crate::relay::{Appetite, Reading, Relay};

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        2,
        "first-relay-reads-from-the-beginning",
        "The first relay ever reads what was enqueued before it came, and says so; a later one says it continues.",
        [],
        first_relay_reads_from_the_beginning
    ),
    clause!(
        2,
        "late-commit-is-read",
        "An event enqueued early and committed late is read, though later ones were read and settled before it.",
        [ManyWriters],
        late_commit_is_read
    ),
    clause!(
        2,
        "late-commit-outlives-its-owner",
        "A late commit is read by a new owner of its lane, in which later events were settled before it.",
        [ManyWriters],
        late_commit_outlives_its_owner
    ),
    clause!(
        2,
        "unsettled-is-read-again",
        "What was read and not settled is read again after reopening, in the same order.",
        [],
        unsettled_is_read_again
    ),
    clause!(
        2,
        "new-owner-goes-on-after-the-settled",
        "A new owner goes on right after the last settled event, in the middle of a page or a transaction.",
        [],
        new_owner_goes_on_after_the_settled
    ),
    clause!(
        2,
        "half-read-is-finished",
        "Half of what was there read in small pages and half of that settled: a new owner reads all the rest.",
        [],
        half_read_is_finished
    ),
    clause!(
        2,
        "quiet-is-quiet",
        "When a feed says that all is quiet, all that was committed before the call has been handed over.",
        [],
        quiet_is_quiet
    ),
    clause!(
        2,
        "lanes-left-out-catch-up",
        "Lanes that wishes leave out for a while are read in full when they are named again.",
        [],
        lanes_left_out_catch_up
    ),
    clause!(
        2,
        "passed-marks-can-be-settled",
        "Settling the marks of quiet lanes is valid and skips nothing that comes later.",
        [],
        passed_marks_can_be_settled
    ),
    clause!(
        2,
        "passed-marks-never-run-ahead",
        "A passed mark covers nothing that was not handed over: settling it after each page loses nothing.",
        [],
        passed_marks_never_run_ahead
    ),
    clause!(
        2,
        "closed-lane-starts-over",
        "A lane that was closed and opened again is read from its stored position.",
        [],
        closed_lane_starts_over
    ),
    clause!(
        2,
        "sweep-spares-the-unsettled",
        "A sweep removes no event that is not settled, whatever the retention.",
        [],
        sweep_spares_the_unsettled
    ),
    clause!(
        2,
        "positions-outlive-an-empty-outbox",
        "After everything was settled and swept, new events are read as ever.",
        [],
        positions_outlive_an_empty_outbox
    ),
];

async fn first_relay_reads_from_the_beginning(bench: &Bench) -> Kept {
    let posted = bench.application().await?.post(&events("1", 1..=3)).await?;
    let lane = Lane::of("order", "1", bench.lanes());
    let mut relay = bench.relay("a").await?;
    relay.take_all().await?;
    let anchor = Relay::anchor_of(&relay.open_all().await?, lane);
    ensure!(anchor == Some(Anchor::First), "the first relay's lane was opened as {anchor:?}, not First");
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "as the first relay")?;
    relay.settle(&seen[..1]).await?;
    relay.leave().await?;
    let mut successor = bench.relay("b").await?;
    successor.take_all().await?;
    let anchor = Relay::anchor_of(&successor.open_all().await?, lane);
    ensure!(
        anchor == Some(Anchor::Continued),
        "a lane with a settled event was opened as {anchor:?}, not Continued"
    );
    exactly(&successor.drain().await?, &posted[1..], "as the second relay")
}

async fn late_commit_is_read(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let (mut slow, mut quick) = (bench.application().await?, bench.application().await?);
    slow.begin().await?;
    let late = slow.enqueue(&events("slow", 1..=2)).await?;
    let mut rest = quick.post(&events("quick", 1..=3)).await?;
    let early = relay.glance().await?;
    relay.settle(&early).await?;
    rest.retain(|one| early.iter().all(|record| record.message_id != one.message_id));
    slow.commit().await?;
    rest.extend(late);
    rest.extend(quick.post(&[event("quick", "4")]).await?);
    exactly(&relay.drain().await?, &rest, "after the late commit")
}

async fn late_commit_outlives_its_owner(bench: &Bench) -> Kept {
    let (one, other) = (bench.aggregate_in(0, 1), bench.aggregate_in(0, 2));
    let mut relay = bench.started_relay("a").await?;
    let (mut slow, mut quick) = (bench.application().await?, bench.application().await?);
    slow.begin().await?;
    let mut rest = slow.enqueue(&events(&one, 1..=2)).await?;
    let quickly = quick.post(&events(&other, 1..=3)).await?;
    let early = relay.glance().await?;
    relay.settle(&early).await?;
    rest.extend(
        quickly.into_iter().filter(|one| early.iter().all(|record| record.message_id != one.message_id)),
    );
    slow.commit().await?;
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &rest, "as a new owner")
}

async fn unsettled_is_read_again(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    let mut posted = application.post(&events("1", 1..=4)).await?;
    posted.extend(application.post(&events("2", 1..=2)).await?);
    let mut relay = bench.started_relay("a").await?;
    exactly(&relay.drain().await?, &posted, "at first")?;
    relay.open_all().await?;
    exactly(&relay.drain().await?, &posted, "after reopening")?;
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &posted, "as a new owner")
}

async fn new_owner_goes_on_after_the_settled(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    let mut posted = application.post(&events("1", 1..=5)).await?;
    posted.extend(application.post(&events("1", 6..=8)).await?);
    for (round, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let mut relay = bench.started_relay(name).await?;
        let seen = relay.drain().await?;
        exactly(&seen, &posted[2 * round..], &format!("as owner {name}"))?;
        relay.settle(&seen[..2]).await?;
        relay.leave().await?;
    }
    let mut last = bench.started_relay("e").await?;
    exactly(&last.drain().await?, &[], "after all was settled")
}

async fn half_read_is_finished(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    let mut posted = Vec::new();
    for round in 0..4 {
        let first = 5 * round + 1;
        posted.extend(application.post(&events("1", first..=first + 4)).await?);
        posted.extend(application.post(&events("2", first..=first + 4)).await?);
    }
    let mut relay = bench.started_relay("a").await?;
    let small = Appetite { records_max: 3, ..relay.appetite() };
    let mut half = Reading::default();
    while half.records.len() < posted.len() / 2 {
        let sheet = relay.read(&small).await?;
        ensure!(
            sheet.rest == Rest::More || !sheet.records.is_empty(),
            "the feed was quiet after {} of {} events",
            half.records.len(),
            posted.len()
        );
        half.add(&sheet);
    }
    let settled = &half.records[..half.records.len() / 2];
    relay.settle(settled).await?;
    let settled: Vec<_> = settled.iter().map(|record| record.message_id).collect();
    posted.retain(|one| !settled.contains(&one.message_id));
    posted.extend(application.post(&events("1", 21..=25)).await?);
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    let other_pages = Appetite { records_max: 4, ..successor.appetite() };
    let rest = successor.drain_by(&other_pages).await?.records;
    exactly(&rest, &posted, "as a new owner")
}

async fn quiet_is_quiet(bench: &Bench) -> Kept {
    let orders: Vec<_> = (0..4).map(|lane| bench.aggregate_in(lane, 1)).collect();
    let mut application = bench.application().await?;
    let mut relay = bench.started_relay("a").await?;
    let small = Appetite { records_max: 2, ..relay.appetite() };
    let mut unread = Vec::new();
    for round in 0..4 {
        // Half of what was there is read, and more is committed: the other half is not all.
        let first = 4 * round + 1;
        let old = application.post(&events(&orders[0], first..=first + 3)).await?;
        let mut reading = Reading::default();
        reading.add(&relay.read(&small).await?);
        let new = application.post(&events(&orders[1], first..=first + 3)).await?;
        reading.records.extend(relay.drain().await?);
        exactly(&reading.records, &[&old[..], &new].concat(), "when all was quiet, after half a page")?;
        unread.extend(new);
        // One lane is opened again and so stands behind the others, which have something new.
        let other = application.post(&events(&orders[2], first..=first + 1)).await?;
        let behind = relay.lease_of(Lane(1))?;
        relay.open(&[behind]).await?;
        let seen = relay.drain().await?;
        let expected = [&unread[..], &other].concat();
        exactly(&seen, &expected, "when all was quiet, with one lane behind the others")?;
    }
    Ok(())
}

async fn lanes_left_out_catch_up(bench: &Bench) -> Kept {
    let orders: Vec<_> = (0..4).map(|lane| bench.aggregate_in(lane, 1)).collect();
    let mut application = bench.application().await?;
    let mut relay = bench.started_relay("a").await?;
    let some = Appetite { lanes: vec![Lane(0), Lane(1)], ..relay.appetite() };
    let (mut named, mut left_out) = (Vec::new(), Vec::new());
    let mut seen = Vec::new();
    for round in 0..3 {
        for (lane, order) in orders.iter().enumerate() {
            let first = 2 * round + 1;
            let posted = application.post(&events(order, first..=first + 1)).await?;
            if lane < 2 { named.extend(posted) } else { left_out.extend(posted) }
        }
        let reading = relay.drain_by(&some).await?;
        relay.settle_marks(&reading.marks, &[]).await?;
        seen.extend(reading.records);
    }
    exactly(&seen, &named, "in the lanes that were named")?;
    let caught_up = relay.drain().await?;
    exactly(&caught_up, &left_out, "when the other lanes were named again")?;
    relay.settle(&caught_up[..3]).await?;
    let settled: Vec<_> = caught_up[..3].iter().map(|record| record.message_id).collect();
    left_out.retain(|one| !settled.contains(&one.message_id));
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &left_out, "as a new owner")
}

async fn passed_marks_can_be_settled(bench: &Bench) -> Kept {
    let orders: Vec<_> = (0..4).map(|lane| bench.aggregate_in(lane, 1)).collect();
    let mut application = bench.application().await?;
    let mut relay = bench.started_relay("a").await?;
    let everything = relay.appetite();
    for order in &orders[1..] {
        // Every round another lane is the only one with events: the others are quiet.
        let posted = application.post(&events(order, 1..=3)).await?;
        let reading = relay.drain_by(&everything).await?;
        exactly(&reading.records, &posted, &format!("with events of {order} alone"))?;
        relay.settle_marks(&reading.marks, &[]).await?;
    }
    relay.leave().await?;
    let mut posted = Vec::new();
    for order in &orders {
        posted.extend(application.post(&events(order, 4..=5)).await?);
    }
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &posted, "as a new owner")
}

async fn passed_marks_never_run_ahead(bench: &Bench) -> Kept {
    let orders: Vec<_> = (0..4).map(|lane| bench.aggregate_in(lane, 1)).collect();
    let mut application = bench.application().await?;
    let mut posted = Vec::new();
    for order in orders.iter().chain(&orders) {
        posted.extend(application.post(&events(order, 1..=2)).await?);
    }
    let mut seen = Vec::new();
    for owner in 0..=2 * posted.len() {
        let mut relay = bench.started_relay(&format!("relay-{owner}")).await?;
        // Two pages of one record each, settled with all that was passed, and then somebody else.
        let one = Appetite { records_max: 1, ..relay.appetite() };
        let mut reading = Reading::default();
        for _ in 0..2 {
            reading.add(&relay.read(&one).await?);
        }
        relay.settle_marks(&reading.marks, &[]).await?;
        relay.leave().await?;
        let nothing_left = reading.records.is_empty();
        seen.extend(reading.records);
        if nothing_left && seen.len() >= posted.len() {
            break;
        }
    }
    exactly(&seen, &posted, "all owners together")
}

async fn closed_lane_starts_over(bench: &Bench) -> Kept {
    let (one, other) = (bench.aggregate_in(0, 1), bench.aggregate_in(1, 1));
    let mut application = bench.application().await?;
    let mut relay = bench.started_relay("a").await?;
    let here = application.post(&events(&one, 1..=4)).await?;
    let there = application.post(&events(&other, 1..=2)).await?;
    let seen = relay.drain().await?;
    exactly(&seen, &[&here[..], &there].concat(), "at first")?;
    relay.settle(&about(&seen, &one)[..1]).await?;
    relay.roles.close(&[Lane(0)]);
    let more = application.post(&events(&other, 3..=4)).await?;
    let without = Appetite { lanes: vec![Lane(1)], ..relay.appetite() };
    exactly(&relay.drain_by(&without).await?.records, &more, "with the lane closed")?;
    let lease = relay.lease_of(Lane(0))?;
    relay.open(&[lease]).await?;
    exactly(&relay.drain().await?, &here[1..], "with the lane open again")?;
    relay.open_all().await?;
    let unsettled = [&here[1..], &there, &more].concat();
    exactly(&relay.drain().await?, &unsettled, "with all lanes open again")
}

async fn sweep_spares_the_unsettled(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    let mut relay = bench.started_relay("a").await?;
    let mut posted = application.post(&events("1", 1..=6)).await?;
    posted.extend(application.post(&events("2", 1..=2)).await?);
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "at first")?;
    relay.settle(&about(&seen, "1")[..3]).await?;
    bench.site().age(Duration::from_secs(3600)).await?;
    for _ in 0..5 {
        bench.site().tick().await;
        relay.sweep(Duration::ZERO).await?;
    }
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &posted[3..], "after the sweeps, as a new owner")
}

async fn positions_outlive_an_empty_outbox(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    let mut relay = bench.started_relay("a").await?;
    for (round, swept_by) in ["a", "b", "c"].into_iter().enumerate() {
        let first = 5 * round + 1;
        let posted = application.post(&events("1", first..=first + 4)).await?;
        let reading = relay.drain_all().await?;
        exactly(&reading.records, &posted, &format!("before sweep {swept_by}"))?;
        relay.settle_marks(&reading.marks, &[]).await?;
        // Whether they go is another clause's question, and not every store has anything left to remove.
        relay.sweep_away(5).await?;
        if round == 1 {
            relay.leave().await?;
            relay = bench.started_relay("successor").await?;
        }
    }
    let posted = application.post(&events("1", 16..=18)).await?;
    relay.leave().await?;
    let mut last = bench.started_relay("last").await?;
    exactly(&last.drain().await?, &posted, "after everything was swept")
}
