//! Promise 5, what a former owner can do: nothing.

use eventferry_core::Lane;
use eventferry_core::parked::{Change, Next, Stage};
use eventferry_core::store::{Claim, Verdict};

use super::due::{keys, park_run, these};
use super::{Kept, clause};
use crate::application::exactly;
use crate::bench::{Bench, LEASE_LONG, events};
use crate::broken::ensure;
use crate::clause::Clause;
use crate::desk::{cause, refused};
use crate::erased::{Carried, Seen};
use crate::relay::Relay;

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        5,
        "old-epoch-is-fenced",
        "A settlement under the epoch of a former owner is Fenced and moves no position.",
        [],
        old_epoch_is_fenced
    ),
    clause!(
        5,
        "regained-lane-fences-its-past",
        "A settlement under a relay's own former epoch is Fenced, though it holds the lane again.",
        [],
        regained_lane_fences_its_past
    ),
    clause!(
        5,
        "fenced-parks-nothing",
        "A settlement that is Fenced parks nothing.",
        [],
        fenced_parks_nothing
    ),
    clause!(
        5,
        "fenced-changes-nothing",
        "A settlement that is Fenced changes nothing of what is parked, with marks or without.",
        [],
        fenced_changes_nothing
    ),
    clause!(
        5,
        "fence-is-for-each-lane",
        "In one call, a lane that is Fenced takes nothing from those that are not, and answers are in order.",
        [LaneByLane],
        fence_is_for_each_lane
    ),
    clause!(
        5,
        "late-settlement-of-a-former-owner-changes-nothing",
        "A former owner's settlement that comes after its successor's moves the position neither on nor back.",
        [],
        late_settlement_of_a_former_owner_changes_nothing
    ),
];

/// Makes the call and breaks the clause unless every answer is Fenced.
async fn is_fenced(relay: &mut Relay<'_>, carried: &[Carried], when: &str) -> Kept {
    let verdicts = relay.verdicts(carried).await?;
    ensure!(
        verdicts.iter().all(|verdict| *verdict == Verdict::Fenced),
        "{when}: a settlement under a former epoch was answered {verdicts:?}"
    );
    Ok(())
}

async fn old_epoch_is_fenced(bench: &Bench) -> Kept {
    let mut former = bench.started_relay("a").await?;
    let posted = bench.application().await?.post(&events("1", 1..=4)).await?;
    let seen = former.drain().await?;
    exactly(&seen, &posted, "as the former owner")?;
    let stale = former.carried_under(&former.leases, &seen);
    former.give_up_all().await?;
    let mut owner = bench.started_relay("b").await?;
    is_fenced(&mut former, &stale, "before the new owner had read").await?;
    exactly(&owner.drain().await?, &posted, "as the new owner")?;
    is_fenced(&mut former, &stale, "after the new owner had read").await?;
    owner.leave().await?;
    let mut last = bench.started_relay("c").await?;
    exactly(&last.drain().await?, &posted, "as the owner after that")
}

async fn regained_lane_fences_its_past(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let posted = bench.application().await?.post(&events("1", 1..=4)).await?;
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "at first")?;
    let stale = relay.carried_under(&relay.leases, &seen);
    relay.give_up_all().await?;
    relay.start().await?;
    is_fenced(&mut relay, &stale, "after the lane was given up and taken again").await?;
    exactly(&relay.drain().await?, &posted, "after it was opened again")
}

async fn fenced_parks_nothing(bench: &Bench) -> Kept {
    let mut former = bench.started_relay("a").await?;
    let posted = bench.application().await?.post(&events("1", 1..=3)).await?;
    let seen = former.drain().await?;
    exactly(&seen, &posted, "as the former owner")?;
    let marks: Vec<_> = seen.iter().map(|record| (record.lane, record.mark)).collect();
    let lease = former.lease_of(seen[0].lane)?;
    let parked: Vec<(&Seen, _)> = seen.iter().map(|record| (record, refused("refused"))).collect();
    let stale = [former.carried(lease, &marks, &parked)];
    former.give_up_all().await?;
    let mut owner = bench.started_relay("b").await?;
    is_fenced(&mut former, &stale, "after the lane changed hands").await?;
    let listed = owner.parked().await?;
    ensure!(listed.is_empty(), "a Fenced settlement parked {} events", listed.len());
    exactly(&owner.drain().await?, &posted, "as the new owner")
}

async fn fenced_changes_nothing(bench: &Bench) -> Kept {
    let mut former = bench.started_relay("a").await?;
    let run = park_run(bench, &mut former, "1", 2, refused("no")).await?;
    let key = keys(&mut former, &run).await?[0];
    let posted = bench.application().await?.post(&events("2", 1..=2)).await?;
    let seen = former.drain().await?;
    exactly(&seen, &posted, "as the former owner")?;
    let retried = [(key, Change::Retried)];
    let alone = former.carried_changes(&former.leases, &retried);
    let mut with_marks = former.carried_under(&former.leases, &seen);
    with_marks.extend(alone.iter().cloned());
    former.give_up_all().await?;
    is_fenced(&mut former, &alone, "before anybody took the lane").await?;
    let mut owner = bench.started_relay("b").await?;
    is_fenced(&mut former, &alone, "after the lane changed hands").await?;
    is_fenced(&mut former, &with_marks, "after the lane changed hands").await?;
    these(&owner.due().await?, &[], "after a former owner told of a retry")?;
    owner.change(&[(key, Change::Refused { cause: cause("no"), attempts: 1, next: Next::Wait })]).await?;
    is_fenced(&mut former, &alone, "after the new owner told of something").await?;
    let shown = owner.shown_one(run[0].message_id).await?;
    ensure!(
        shown.stage == Stage::Waiting && shown.attempts == 1,
        "a Fenced settlement changed a parked event: {shown:?}"
    );
    these(&owner.due().await?, &[], "after a former owner told of a retry again")?;
    exactly(&owner.drain().await?, &posted, "as the new owner")
}

async fn fence_is_for_each_lane(bench: &Bench) -> Kept {
    let orders: Vec<_> = (0..3).map(|lane| bench.aggregate_in(lane, 1)).collect();
    let mut relay = bench.started_relay("a").await?;
    let mut application = bench.application().await?;
    let mut posted = Vec::new();
    for order in &orders {
        posted.push(application.post(&events(order, 1..=2)).await?);
    }
    let seen = relay.drain().await?;
    exactly(&seen, &posted.concat(), "at first")?;
    let mut calls = relay.carried_under(&relay.leases, &seen);
    calls.sort_by_key(|one| one.lease.lane);
    let keep: Vec<_> = relay.leases.iter().copied().filter(|lease| lease.lane != Lane(1)).collect();
    relay.hold(Claim { keep, take_max: 0, lease: LEASE_LONG, whole: false }).await?;
    let mut other = bench.relay("b").await?;
    other.take(LEASE_LONG).await?;
    other.open_all().await?;
    let verdicts = relay.verdicts(&calls).await?;
    ensure!(
        verdicts == [Verdict::Done, Verdict::Fenced, Verdict::Done],
        "of three lanes the second had changed hands, and the answers were {verdicts:?}"
    );
    exactly(&other.drain().await?, &posted[1], "as the new owner of the second lane")?;
    relay.leave().await?;
    other.leave().await?;
    let mut last = bench.started_relay("c").await?;
    exactly(&last.drain().await?, &posted[1], "as the owner of all lanes")
}

async fn late_settlement_of_a_former_owner_changes_nothing(bench: &Bench) -> Kept {
    let mut former = bench.started_relay("a").await?;
    let posted = bench.application().await?.post(&events("1", 1..=4)).await?;
    let by_former = former.drain().await?;
    exactly(&by_former, &posted, "as the former owner")?;
    let (early, late) = (
        former.carried_under(&former.leases, &by_former[..1]),
        former.carried_under(&former.leases, &by_former),
    );
    former.give_up_all().await?;
    let mut owner = bench.started_relay("b").await?;
    let by_owner = owner.drain().await?;
    exactly(&by_owner, &posted, "as the new owner")?;
    owner.settle(&by_owner[..2]).await?;
    is_fenced(&mut former, &early, "an earlier position").await?;
    is_fenced(&mut former, &late, "a later position").await?;
    owner.open_all().await?;
    exactly(&owner.drain().await?, &posted[2..], "after reopening")
}
