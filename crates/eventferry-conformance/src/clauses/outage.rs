//! Promise 7: an outage is not a failure. What passes is waited out and repeated, what does not pass is said, and the
//! figures tell people which it is.

use std::time::Duration;

use eventferry_core::store::{Claim, Gauge, LaneGauge, Prepare, Rest, Wish};
use eventferry_core::{Lane, StoreFaultKind, Timestamp};

use super::{Kept, clause};
use crate::application::{about, exactly};
use crate::bench::{Bench, LEASE_LONG, LEASE_SHORT, Patience, events};
use crate::broken::{Broken, ensure};
use crate::clause::Clause;
use crate::desk::{BEHIND, refused};
use crate::pause::poll_once;
use crate::relay::Reading;

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        7,
        "missing-schema-is-said",
        "Checking an outbox without a schema is answered Misconfigured, and making it says from which version.",
        [],
        missing_schema_is_said
    ),
    clause!(
        7,
        "applying-twice-is-harmless",
        "Applying the schema again changes nothing: no version, no event, no position.",
        [],
        applying_twice_is_harmless
    ),
    clause!(
        7,
        "dropped-call-leaves-its-role-usable",
        "A call that is dropped before it answers can be made again, and loses nothing.",
        [],
        dropped_call_leaves_its_role_usable
    ),
    clause!(
        7,
        "lapsed-lease-nobody-took-goes-on",
        "A relay that comes back after its lease, when nobody took its lanes, keeps them and settles what it carried.",
        [],
        lapsed_lease_nobody_took_goes_on
    ),
    clause!(
        7,
        "what-is-held-back-is-said",
        "A feed that holds events back until a slow transaction ends says so and since when, not that all is quiet.",
        [Stall, ManyWriters],
        what_is_held_back_is_said
    ),
    clause!(
        7,
        "gauge-tells-what-waits",
        "The figures say of each lane how many committed events are not settled, and since when the oldest waits.",
        [InTable],
        gauge_tells_what_waits
    ),
    clause!(
        7,
        "gauge-tells-who-owns",
        "The figures say who owns each lane under which epoch, and which relays live.",
        [],
        gauge_tells_who_owns
    ),
];

async fn missing_schema_is_said(bench: &Bench) -> Kept {
    let bare = bench.site().another().await?;
    let answer = bare.store().await?.prepare(Prepare::Check).await;
    match &answer {
        Ok(_) => return Err(Broken::new("an outbox without a schema passed the check")),
        Err(fault) => ensure!(
            *fault.kind() == StoreFaultKind::Misconfigured,
            "a missing schema was answered {:?}, not Misconfigured: {fault}",
            fault.kind()
        ),
    }
    let (_, made) = bare.prepared(Prepare::Apply).await?;
    ensure!(
        made.upgraded_from == Some(0),
        "making the schema said upgraded from {:?}, not 0",
        made.upgraded_from
    );
    let (_, checked) = bare.prepared(Prepare::Check).await?;
    ensure!(
        checked.version == made.version && checked.lanes == made.lanes && checked.upgraded_from.is_none(),
        "made {made:?} and then found {checked:?}"
    );
    Ok(())
}

async fn applying_twice_is_harmless(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let (_, before) = bench.site().prepared(Prepare::Check).await?;
    let mut application = bench.application().await?;
    let posted = application.post(&events("1", 1..=4)).await?;
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "at first")?;
    relay.settle(&seen[..2]).await?;
    let (_, again) = bench.site().prepared(Prepare::Apply).await?;
    ensure!(again == before, "found {before:?}, applied the schema again and got {again:?}");
    relay.settle(&seen[2..3]).await?;
    let kept = relay.beat().await?;
    ensure!(
        kept.leases.len() == usize::from(bench.lanes()),
        "after the schema was applied again a relay held {} lanes",
        kept.leases.len()
    );
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &posted[3..], "as a new owner")
}

async fn dropped_call_leaves_its_role_usable(bench: &Bench) -> Kept {
    let mut relay = bench.relay("a").await?;
    let claim = Claim { keep: Vec::new(), take_max: bench.lanes(), lease: LEASE_LONG, whole: false };
    // Twice: the first call of a role connects.
    for _ in 0..2 {
        poll_once(relay.roles.hold(claim.clone())).await;
    }
    relay.take_all().await?;
    let leases = relay.leases.clone();
    for _ in 0..2 {
        poll_once(relay.roles.open(&leases)).await;
    }
    relay.open_all().await?;
    let posted = bench.application().await?.post(&events("1", 1..=6)).await?;
    let lanes = relay.lanes();
    for _ in 0..2 {
        // It may have handed over what nobody received, so the lanes are opened again.
        poll_once(relay.roles.read(Wish { lanes: &lanes, records_max: 2, bytes_max: 1000 })).await;
        relay.open_all().await?;
    }
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "after readings that were dropped")?;
    let carried = relay.carried_under(&leases, &seen[..4]);
    for _ in 0..2 {
        poll_once(relay.roles.settle(&carried)).await;
    }
    relay.settle(&seen[..4]).await?;
    for _ in 0..2 {
        poll_once(relay.roles.gauge()).await;
        poll_once(relay.roles.sweep(Duration::from_secs(1))).await;
    }
    relay.gauge().await?;
    relay.sweep(Duration::ZERO).await?;
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &posted[4..], "as a new owner")
}

async fn lapsed_lease_nobody_took_goes_on(bench: &Bench) -> Kept {
    let mut relay = bench.relay("a").await?;
    let before = relay.take(LEASE_SHORT).await?.leases;
    relay.open_all().await?;
    let posted = bench.application().await?.post(&events("1", 1..=4)).await?;
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "at first")?;
    let mut patience = Patience::new(bench.site());
    while relay.gauge().await?.relays.iter().any(|one| one.id == "a" && one.live) {
        patience.tick("the figures to say that the relay's lease ran out").await?;
    }
    let mut after = relay.beat().await?.leases;
    let mut kept = before;
    after.sort_unstable();
    kept.sort_unstable();
    ensure!(
        after == kept,
        "nobody took its {} lanes, and the relay came back to {}",
        kept.len(),
        after.len()
    );
    relay.settle(&seen[..2]).await?;
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &posted[2..], "as a new owner")
}

async fn what_is_held_back_is_said(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let (mut slow, mut quick) = (bench.application().await?, bench.application().await?);
    slow.begin().await?;
    let mut posted = slow.enqueue(&events("slow", 1..=1)).await?;
    posted.extend(quick.post(&events("quick", 1..=2)).await?);
    let mut reading = Reading::default();
    let rest = relay.read_on(&relay.appetite(), &mut reading).await?;
    let now = relay.gauge().await?.at;
    if reading.records.len() < 2 {
        ensure!(
            matches!(rest, Rest::Waiting(since) if since <= now),
            "two committed events were held back, and at {now:?} the feed said {rest:?}"
        );
    }
    slow.commit().await?;
    reading.records.extend(relay.drain().await?);
    exactly(&reading.records, &posted, "after the slow transaction had ended")
}

/// Breaks the clause unless a lane's figures are these.
fn waits(gauge: &Gauge, lane: Lane, records: u64, oldest: Option<Timestamp>, when: &str) -> Kept {
    let LaneGauge { lag_records, oldest_unsettled, .. } = &gauge.lanes[usize::from(lane.0)];
    ensure!(*lag_records == records, "{when}: lane {} lags by {lag_records} events, not {records}", lane.0);
    // A store may keep whole milliseconds.
    let near = match (oldest_unsettled, oldest) {
        (Some(told), Some(expected)) => told.0.abs_diff(expected.0) < 1000,
        (told, expected) => told.is_none() && expected.is_none(),
    };
    ensure!(
        near,
        "{when}: the oldest event of lane {} waits since {oldest_unsettled:?}, not {oldest:?}",
        lane.0
    );
    Ok(())
}

async fn gauge_tells_what_waits(bench: &Bench) -> Kept {
    let mut watcher = bench.relay("watcher").await?;
    let mut application = bench.application().await?;
    let (here, there) = (bench.aggregate_in(1, 1), bench.aggregate_in(2, 1));
    waits(&watcher.gauge().await?, Lane(1), 0, None, "before anything was enqueued")?;
    let before = watcher.gauge().await?.at;
    let mut posted = application.post(&events(&here, 1..=2)).await?;
    bench.site().tick().await;
    posted.extend(application.post(&events(&here, 3..=5)).await?);
    posted.extend(application.post(&events(&there, 1..=2)).await?);
    let unread = watcher.gauge().await?;
    let oldest = unread.lanes[1].oldest_unsettled;
    ensure!(
        oldest.is_some_and(|oldest| oldest.0 > before.0 - 1000 && oldest <= unread.at),
        "before any relay came: the oldest event waits since {oldest:?}, enqueued after {before:?}"
    );
    waits(&unread, Lane(1), 5, oldest, "before any relay came")?;
    waits(&unread, Lane(3), 0, None, "before any relay came")?;
    let mut relay = bench.started_relay("a").await?;
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "at first")?;
    let (in_here, in_there) = (about(&seen, &here), about(&seen, &there));
    let read = watcher.gauge().await?;
    waits(&read, Lane(1), 5, Some(in_here[0].enqueued_at), "read and not settled")?;
    waits(&read, Lane(2), 2, Some(in_there[0].enqueued_at), "read and not settled")?;
    relay.settle(&in_here[..3]).await?;
    let halfway = watcher.gauge().await?;
    waits(&halfway, Lane(1), 2, Some(in_here[3].enqueued_at), "three of five settled")?;
    waits(&halfway, Lane(2), 2, Some(in_there[0].enqueued_at), "with another lane settled")?;
    relay.settle_parking(&in_there, &[(&in_there[0], refused("no")), (&in_there[1], BEHIND)]).await?;
    relay.settle(&in_here[3..]).await?;
    let done = watcher.gauge().await?;
    waits(&done, Lane(1), 0, None, "all settled")?;
    waits(&done, Lane(2), 0, None, "all parked")
}

async fn gauge_tells_who_owns(bench: &Bench) -> Kept {
    let (mut one, mut other) = (bench.relay("a").await?, bench.relay("b").await?);
    let free = other.gauge().await?;
    ensure!(
        free.lanes.iter().all(|lane| lane.owner.is_none()),
        "before any relay came: a lane is said to have an owner"
    );
    one.take_all().await?;
    let before_beat = other.gauge().await?.at;
    bench.site().tick().await;
    other.beat().await?;
    let held = one.gauge().await?;
    for lease in &one.leases {
        let lane = &held.lanes[usize::from(lease.lane.0)];
        ensure!(
            lane.owner.as_deref() == Some("a") && lane.epoch == lease.epoch,
            "lane {} is held by a under epoch {}, and the figures say {:?} under {}",
            lane.lane.0,
            lease.epoch,
            lane.owner,
            lane.epoch
        );
    }
    let live: Vec<_> = held.relays.iter().filter(|one| one.live).map(|one| one.id.as_str()).collect();
    ensure!(live == ["a", "b"], "relays a and b live, and the figures say {live:?}");
    let beat = held.relays.iter().find(|one| one.id == "b").map(|one| one.last_beat);
    ensure!(
        beat.is_some_and(|beat| beat.0 > before_beat.0 - 1000 && beat <= held.at),
        "b beat between {before_beat:?} and {:?}, and the figures say {beat:?}",
        held.at
    );
    one.leave().await?;
    let left = other.gauge().await?;
    ensure!(
        left.lanes.iter().all(|lane| lane.owner.is_none()),
        "after the owner left: a lane is still said to have an owner"
    );
    let live: Vec<_> = left.relays.iter().filter(|one| one.live).map(|one| one.id.as_str()).collect();
    ensure!(live == ["b"], "after a left, relay b lives, and the figures say {live:?}");
    Ok(())
}
