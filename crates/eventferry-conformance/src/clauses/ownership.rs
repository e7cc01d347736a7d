//! Promise 5, who owns what: a lane has one owner at a time, and each change of hands is counted.

use std::collections::BTreeMap;
use std::time::Duration;

use eventferry_core::store::{Claim, Held};
use eventferry_core::{Lane, Lease, StoreFaultKind};

use super::{Kept, clause};
use crate::bench::{Bench, LEASE_LONG, LEASE_SHORT, Patience};
use crate::broken::{Broken, ensure};
use crate::clause::Clause;
use crate::pause::both;
use crate::relay::Relay;

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        5,
        "every-lane-is-held-once",
        "Every lane is handed out, to one relay at a time, also when two ask at once.",
        [],
        every_lane_is_held_once
    ),
    clause!(
        5,
        "take-max-is-kept",
        "A relay is given at most as many lanes as it asked for, beside those it keeps.",
        [LaneByLane],
        take_max_is_kept
    ),
    clause!(
        5,
        "lane-left-out-is-freed",
        "A lane that a relay leaves out of what it keeps is free at once; the others stay its own.",
        [LaneByLane],
        lane_left_out_is_freed
    ),
    clause!(
        5,
        "kept-lease-keeps-its-epoch",
        "Renewing a lease changes neither its lane nor its epoch.",
        [],
        kept_lease_keeps_its_epoch
    ),
    clause!(
        5,
        "epoch-grows-with-each-owner",
        "A lane's epoch grows each time it changes hands, also back into the same hands.",
        [],
        epoch_grows_with_each_owner
    ),
    clause!(
        5,
        "living-relay-keeps-its-lanes",
        "A lane is not taken from a relay whose lease still runs.",
        [],
        living_relay_keeps_its_lanes
    ),
    clause!(
        5,
        "dead-relays-lanes-are-taken",
        "The lanes of a relay that no longer beats are taken after its lease, and not before.",
        [],
        dead_relays_lanes_are_taken
    ),
    clause!(
        5,
        "lost-lease-is-missing",
        "A relay that beats after another has taken its lanes is not told that it holds them.",
        [],
        lost_lease_is_missing
    ),
    clause!(
        5,
        "leaving-frees-at-once",
        "A relay that leaves frees its lanes at once and counts no longer as alive.",
        [],
        leaving_frees_at_once
    ),
    clause!(
        5,
        "living-relays-are-counted",
        "Each answer says how many relays live: those whose heartbeat has not run out.",
        [],
        living_relays_are_counted
    ),
    clause!(
        5,
        "one-name-one-relay",
        "Of two living relays of one name, one is told so: Misconfigured.",
        [],
        one_name_one_relay
    ),
    clause!(
        5,
        "restarted-relay-gets-higher-epochs",
        "A relay that crashed and restarts gets its lanes back within its former lease, all with higher epochs.",
        [],
        restarted_relay_gets_higher_epochs
    ),
];

/// Breaks the clause if one lane is in both.
fn apart(one: &[Lease], other: &[Lease], when: &str) -> Kept {
    for lease in one {
        let twice = other.iter().any(|theirs| theirs.lane == lease.lane);
        ensure!(!twice, "{when}: lane {} is held by two relays", lease.lane.0);
    }
    Ok(())
}

/// Breaks the clause unless these are all lanes, each once.
fn all_once(bench: &Bench, leases: &[Lease], when: &str) -> Kept {
    let mut lanes: Vec<_> = leases.iter().map(|lease| lease.lane.0).collect();
    lanes.sort_unstable();
    let all: Vec<_> = (0..bench.lanes()).collect();
    ensure!(lanes == all, "{when}: held lanes {lanes:?}, not each of {} once", bench.lanes());
    Ok(())
}

/// Breaks the clause unless each lane's epoch is higher than it was.
fn higher(before: &[Lease], after: &[Lease], when: &str) -> Kept {
    let epochs: BTreeMap<Lane, u64> = before.iter().map(|lease| (lease.lane, lease.epoch)).collect();
    for lease in after {
        let Some(epoch) = epochs.get(&lease.lane) else { continue };
        ensure!(
            lease.epoch > *epoch,
            "{when}: lane {} changed hands with epoch {}, which was {epoch} before",
            lease.lane.0,
            lease.epoch
        );
    }
    Ok(())
}

async fn every_lane_is_held_once(bench: &Bench) -> Kept {
    let (mut one, mut other) = (bench.relay("a").await?, bench.relay("b").await?);
    for round in 1..=3 {
        let (first, second) = both(one.take(LEASE_LONG), other.take(LEASE_LONG)).await;
        let (first, second) = (first?, second?);
        let when = format!("after both asked at once, time {round}");
        ensure!(
            first.lanes_total == bench.lanes() && second.lanes_total == bench.lanes(),
            "{when}: told of {} and {} lanes in all, of {}",
            first.lanes_total,
            second.lanes_total,
            bench.lanes()
        );
        apart(&first.leases, &second.leases, &when)?;
        // Whatever the race left over is there for whoever asks again.
        let first = one.take(LEASE_LONG).await?;
        let second = other.take(LEASE_LONG).await?;
        apart(&first.leases, &second.leases, &when)?;
        all_once(bench, &[first.leases, second.leases].concat(), &when)?;
        one.give_up_all().await?;
        other.give_up_all().await?;
    }
    Ok(())
}

async fn take_max_is_kept(bench: &Bench) -> Kept {
    let (mut one, mut other) = (bench.relay("a").await?, bench.relay("b").await?);
    for (take_max, expected) in [(0, 0), (1, 1), (2, 3), (0, 3)] {
        let held = one.take_some(take_max).await?;
        ensure!(
            held.leases.len() == expected,
            "asked for {take_max} lanes beside those kept and holds {}, not {expected}",
            held.leases.len()
        );
    }
    let rest = other.take(LEASE_LONG).await?;
    let expected = usize::from(bench.lanes()) - 3;
    ensure!(rest.leases.len() == expected, "{expected} lanes were free and {} were given", rest.leases.len());
    apart(&one.leases, &other.leases, "after both took theirs")
}

async fn lane_left_out_is_freed(bench: &Bench) -> Kept {
    let (mut one, mut other) = (bench.relay("a").await?, bench.relay("b").await?);
    one.take_all().await?;
    let all = one.leases.clone();
    let keep: Vec<_> = all.iter().copied().filter(|lease| lease.lane != Lane(1)).collect();
    let held = one.hold(Claim { keep: keep.clone(), take_max: 0, lease: LEASE_LONG, whole: false }).await?;
    ensure!(
        sorted(&held.leases) == sorted(&keep),
        "kept all lanes but one, and holds {:?} instead of {:?}",
        sorted(&held.leases),
        sorted(&keep)
    );
    let taken = other.take(LEASE_LONG).await?.leases;
    ensure!(
        taken.len() == 1 && taken[0].lane == Lane(1),
        "lane 1 was freed and nothing else; another relay got {taken:?}"
    );
    higher(&all, &taken, "after lane 1 was freed")?;
    let held = one.take(LEASE_LONG).await?;
    ensure!(sorted(&held.leases) == sorted(&keep), "a relay got back a lane that another holds");
    Ok(())
}

fn sorted(leases: &[Lease]) -> Vec<Lease> {
    let mut leases = leases.to_vec();
    leases.sort_unstable();
    leases
}

async fn kept_lease_keeps_its_epoch(bench: &Bench) -> Kept {
    let mut relay = bench.relay("a").await?;
    relay.take_all().await?;
    let before = sorted(&relay.leases);
    for _ in 0..3 {
        bench.site().tick().await;
        let held = relay.take(LEASE_LONG).await?;
        ensure!(sorted(&held.leases) == before, "the leases changed while they were kept");
    }
    Ok(())
}

async fn epoch_grows_with_each_owner(bench: &Bench) -> Kept {
    let (mut one, mut other) = (bench.relay("a").await?, bench.relay("b").await?);
    one.take_all().await?;
    let first = one.leases.clone();
    one.give_up_all().await?;
    one.take_all().await?;
    let second = one.leases.clone();
    higher(&first, &second, "given up and taken again by the same relay")?;
    one.leave().await?;
    other.take_all().await?;
    let third = other.leases.clone();
    higher(&second, &third, "taken by another relay")?;
    other.leave().await?;
    one.take_all().await?;
    higher(&third, &one.leases, "taken back after it had left")
}

async fn living_relay_keeps_its_lanes(bench: &Bench) -> Kept {
    let (mut one, mut other) = (bench.relay("a").await?, bench.relay("b").await?);
    one.take_all().await?;
    let leases = sorted(&one.leases);
    for _ in 0..3 {
        bench.site().tick().await;
        let held = other.take(LEASE_LONG).await?;
        ensure!(held.leases.is_empty(), "took {} lanes of a relay whose lease runs", held.leases.len());
    }
    ensure!(sorted(&one.beat().await?.leases) == leases, "a living relay's leases changed");
    Ok(())
}

/// Lets `heir` ask until the lanes of a relay that no longer beats are its own; how long after `since` that was.
async fn wait_for_heir(bench: &Bench, heir: &mut Relay<'_>, since: Duration) -> Result<Duration, Broken> {
    let mut patience = Patience::new(bench.site());
    loop {
        let held = heir.take(LEASE_LONG).await?;
        let waited = bench.site().elapsed() - since;
        if held.leases.len() == usize::from(bench.lanes()) {
            return Ok(waited);
        }
        patience.tick("all lanes of a relay whose lease ran out").await?;
    }
}

async fn dead_relays_lanes_are_taken(bench: &Bench) -> Kept {
    let (mut dead, mut heir) = (bench.relay("a").await?, bench.relay("b").await?);
    heir.beat().await?;
    // Its first lease is long, the renewal short: the renewal counts.
    dead.take(LEASE_LONG).await?;
    let since = bench.site().elapsed();
    let former = dead.take(LEASE_SHORT).await?.leases;
    all_once(bench, &former, "as the only relay that asked")?;
    drop(dead);
    let waited = wait_for_heir(bench, &mut heir, since).await?;
    ensure!(
        waited >= LEASE_SHORT,
        "lanes were taken {waited:?} after a lease of {LEASE_SHORT:?} was asked for"
    );
    higher(&former, &heir.leases, "taken from a dead relay")
}

async fn lost_lease_is_missing(bench: &Bench) -> Kept {
    let (mut slow, mut heir) = (bench.relay("a").await?, bench.relay("b").await?);
    let since = bench.site().elapsed();
    slow.take(LEASE_SHORT).await?;
    wait_for_heir(bench, &mut heir, since).await?;
    let held = slow.take(LEASE_LONG).await?;
    ensure!(
        held.leases.is_empty(),
        "a relay whose lanes another has taken was told that it holds {}",
        held.leases.len()
    );
    let kept = heir.beat().await?;
    all_once(bench, &kept.leases, "after the former owner beat again")
}

async fn leaving_frees_at_once(bench: &Bench) -> Kept {
    let (mut one, mut other) = (bench.relay("a").await?, bench.relay("b").await?);
    one.take_all().await?;
    other.beat().await?;
    let left = one.leave().await?;
    ensure!(left.leases.is_empty(), "a relay that left was told that it holds {} lanes", left.leases.len());
    ensure!(left.relays_live == 1, "a relay that left, with one other alive, counted {}", left.relays_live);
    let held = other.take(LEASE_LONG).await?;
    all_once(bench, &held.leases, "after the other relay had left")?;
    ensure!(held.relays_live == 1, "the last relay alive counted {} relays", held.relays_live);
    Ok(())
}

async fn living_relays_are_counted(bench: &Bench) -> Kept {
    let counted = |held: &Held, expected: u32, when: &str| -> Kept {
        ensure!(held.relays_live == expected, "{when}: counted {} relays, not {expected}", held.relays_live);
        Ok(())
    };
    let (mut one, mut other) = (bench.relay("a").await?, bench.relay("b").await?);
    let mut third = bench.relay("c").await?;
    counted(&one.take(LEASE_LONG).await?, 1, "alone")?;
    counted(&other.beat().await?, 2, "as the second, without a lane")?;
    counted(&one.beat().await?, 2, "after the second came")?;
    counted(
        &third.hold(Claim { keep: vec![], take_max: 0, lease: LEASE_SHORT, whole: false }).await?,
        3,
        "as the third",
    )?;
    drop(third);
    other.leave().await?;
    let mut patience = Patience::new(bench.site());
    loop {
        let live = one.beat().await?.relays_live;
        if live == 1 {
            return Ok(());
        }
        ensure!(live == 2, "after one of three left, counted {live}");
        patience.tick("a relay whose lease ran out to count no longer").await?;
    }
}

async fn one_name_one_relay(bench: &Bench) -> Kept {
    let (mut one, mut other) = (bench.relay("same").await?, bench.relay("same").await?);
    one.take(LEASE_LONG).await?;
    let mut told =
        match other.roles.hold(Claim { keep: vec![], take_max: 1, lease: LEASE_LONG, whole: false }).await {
            Ok(held) => {
                other.leases = held.leases;
                false
            }
            Err(fault) => *fault.kind() == StoreFaultKind::Misconfigured,
        };
    for _ in 0..3 {
        for relay in [&mut one, &mut other] {
            match relay.try_beat().await {
                Err(fault) if *fault.kind() == StoreFaultKind::Misconfigured => told = true,
                Err(fault) => Patience::new(bench.site()).bear("hold", fault).await?,
                Ok(_) => {}
            }
        }
    }
    ensure!(told, "two relays named `same` beat in turns and neither was told");
    Ok(())
}

async fn restarted_relay_gets_higher_epochs(bench: &Bench) -> Kept {
    let mut crashed = bench.relay("a").await?;
    let before = crashed.take(LEASE_SHORT).await?.leases;
    all_once(bench, &before, "as the only relay that asked")?;
    drop(crashed);
    let mut restarted = bench.restarted_relay("a").await?;
    let held = restarted.beat().await?;
    all_once(bench, &held.leases, "after a restart under the same name")?;
    higher(&before, &held.leases, "after a restart under the same name")?;
    ensure!(held.relays_live == 1, "a restarted relay, alone, counted {} relays", held.relays_live);
    Ok(())
}
