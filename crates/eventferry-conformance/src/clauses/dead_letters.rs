//! Promise 8: dead letters are durable. A parked event has left its lane's way and stays, visible, in the outbox's care.

use std::time::Duration;

use eventferry_core::store::{ParkedAsk, ParkedEvent};
use eventferry_core::{Lane, Timestamp};

use super::{Kept, clause};
use crate::application::{Posted, about, exactly, tell};
use crate::bench::{Bench, events};
use crate::broken::ensure;
use crate::clause::Clause;
use crate::erased::Seen;

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        8,
        "parked-with-its-position",
        "Parking and the position are one: a parked event is listed and not read again, by whomever.",
        [],
        parked_with_its_position
    ),
    clause!(
        8,
        "parked-tells-what-and-why",
        "The list of parked events names each one's aggregate, topic, message id, reason and time.",
        [],
        parked_tells_what_and_why
    ),
    clause!(
        8,
        "parked-keeps-its-order",
        "Parked events are listed lane by lane in the order of parking, in pages of any size and from any place.",
        [],
        parked_keeps_its_order
    ),
    clause!(
        8,
        "parking-twice-parks-once",
        "Repeating a settlement that parks, also after a later one, parks nothing twice.",
        [],
        parking_twice_parks_once
    ),
    clause!(
        8,
        "parked-outlives-the-sweep",
        "Parked events stay when their lane was settled past them and the outbox was swept.",
        [],
        parked_outlives_the_sweep
    ),
    clause!(
        8,
        "gauge-counts-the-parked",
        "The figures count each lane's parked events, those that wait behind others included.",
        [],
        gauge_counts_the_parked
    ),
];

async fn parked_with_its_position(bench: &Bench) -> Kept {
    let (refused, other) = (bench.aggregate_in(0, 1), bench.aggregate_in(0, 2));
    let mut application = bench.application().await?;
    let mut relay = bench.started_relay("a").await?;
    let posted = application.post(&events(&refused, 1..=3)).await?;
    let shipped = application.post(&events(&other, 1..=2)).await?;
    let seen = relay.drain().await?;
    exactly(&seen, &[&posted[..], &shipped].concat(), "at first")?;
    let of_refused: Vec<_> = seen.iter().filter(|one| one.event.aggregate.id == refused).collect();
    relay.settle_parking(&seen, &[(of_refused[1], Some("too large")), (of_refused[2], None)]).await?;
    let later = application.post(&events(&other, 3..=3)).await?;
    for name in ["a", "b", "a"] {
        relay.leave().await?;
        relay = bench.started_relay(name).await?;
        let listed = told(&relay.parked().await?, &posted);
        let expected = told_of(&posted[1..]);
        ensure!(listed == expected, "relay {name} found {listed:?} parked, not {expected:?}");
        exactly(&relay.drain().await?, &later, &format!("as relay {name}"))?;
    }
    Ok(())
}

/// Parked events in the words of what was enqueued, or as strangers.
fn told(parked: &[ParkedEvent], posted: &[Posted]) -> Vec<String> {
    let name = |one: &ParkedEvent| {
        let event = posted.iter().find(|posted| posted.message_id == one.message_id);
        event.map_or_else(|| format!("a stranger {}", one.message_id), |posted| tell(&posted.event))
    };
    parked.iter().map(name).collect()
}

fn told_of(posted: &[Posted]) -> Vec<String> {
    posted.iter().map(|one| tell(&one.event)).collect()
}

/// Breaks the clause unless the parked event is this one.
fn is_copy_of(parked: &ParkedEvent, record: &Seen, refused: Option<&str>) -> Kept {
    let told = tell(&record.event);
    let aggregate = &record.event.aggregate;
    ensure!(
        parked.aggregate_type == aggregate.kind && parked.aggregate_id == aggregate.id,
        "{told}: parked as about {} {}",
        parked.aggregate_type,
        parked.aggregate_id
    );
    ensure!(
        parked.message_id == record.message_id,
        "{told}: parked as {}, which is not its message id {}",
        parked.message_id,
        record.message_id
    );
    ensure!(parked.topic == record.event.topic, "{told}: parked as for topic {}", parked.topic);
    ensure!(parked.key.lane == record.lane, "{told}: parked in lane {}", parked.key.lane.0);
    ensure!(
        parked.refused.as_deref() == refused,
        "{told}: parked because of {refused:?}, listed with {:?}",
        parked.refused
    );
    Ok(())
}

async fn parked_tells_what_and_why(bench: &Bench) -> Kept {
    let words = "message of 1,048,577 bytes is \"too large\": größer als erlaubt \u{1f980}";
    let mut relay = bench.started_relay("a").await?;
    let posted = bench.application().await?.post(&events("größe 日本", 1..=3)).await?;
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "at first")?;
    let before = relay.gauge().await?.at;
    relay.settle_parking(&seen, &[(&seen[0], Some(words)), (&seen[1], None), (&seen[2], None)]).await?;
    let after = relay.gauge().await?.at;
    let listed = relay.parked().await?;
    ensure!(listed.len() == 3, "parked 3 events, and {} are listed", listed.len());
    for ((one, record), refused) in listed.iter().zip(&seen).zip([Some(words), None, None]) {
        is_copy_of(one, record, refused)?;
        ensure!(
            (Timestamp(before.0 - 1000)..=after).contains(&one.parked_at),
            "parked between {before:?} and {after:?}, listed with {:?}",
            one.parked_at
        );
    }
    Ok(())
}

async fn parked_keeps_its_order(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let mut application = bench.application().await?;
    // Lanes in the opposite order of parking; within each lane two settlements.
    let mut expected = Vec::new();
    for lane in [2, 1, 0] {
        let order = bench.aggregate_in(lane, 1);
        let mut of_lane = Vec::new();
        for first in [1, 4] {
            let posted = application.post(&events(&order, first..=first + 2)).await?;
            let seen = relay.drain().await?;
            exactly(&seen, &posted, "at first")?;
            relay.settle_parking(&seen, &[(&seen[1], Some("no")), (&seen[2], None)]).await?;
            of_lane.extend_from_slice(&posted[1..]);
        }
        expected.splice(0..0, of_lane);
    }
    let lanes = relay.lanes();
    for limit in [1, 2, 5, 100] {
        let mut listed: Vec<ParkedEvent> = Vec::new();
        for _ in 0..=expected.len() {
            let after = listed.last().map(|one| one.key);
            let page = relay.parked_page(ParkedAsk { lanes: &lanes, after, limit }).await?;
            ensure!(
                page.events.len() <= limit as usize,
                "asked for at most {limit} parked events and got {}",
                page.events.len()
            );
            listed.extend(page.events);
            if !page.more {
                break;
            }
        }
        let (listed_told, all_told) = (told(&listed, &expected), told_of(&expected));
        ensure!(listed_told == all_told, "in pages of {limit}: listed {listed_told:?}, not {all_told:?}");
        let ascending = listed.windows(2).all(|pair| pair[0].key < pair[1].key);
        ensure!(ascending, "in pages of {limit}: the keys of parked events do not ascend");
    }
    let one_lane = relay.parked_page(ParkedAsk { lanes: &[Lane(1)], after: None, limit: 100 }).await?;
    let (listed, of_lane) = (told(&one_lane.events, &expected), told_of(&expected[4..8]));
    ensure!(listed == of_lane, "asked for lane 1: listed {listed:?}, not {of_lane:?}");
    Ok(())
}

async fn parking_twice_parks_once(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let posted = bench.application().await?.post(&events("1", 1..=4)).await?;
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "at first")?;
    let first = [(&seen[0], Some("no")), (&seen[1], None)];
    for _ in 0..3 {
        relay.settle_parking(&seen[..2], &first).await?;
    }
    relay.settle_parking(&seen[2..3], &[(&seen[2], None)]).await?;
    relay.settle_parking(&seen[..2], &first).await?;
    let (listed, expected) = (told(&relay.parked().await?, &posted), told_of(&posted[..3]));
    ensure!(listed == expected, "parked {expected:?} several times over, and {listed:?} is listed");
    relay.open_all().await?;
    exactly(&relay.drain().await?, &posted[3..], "after reopening")
}

async fn parked_outlives_the_sweep(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let posted = bench.application().await?.post(&events("1", 1..=4)).await?;
    let reading = relay.drain_all().await?;
    let seen = reading.records;
    exactly(&seen, &posted, "at first")?;
    relay.settle_marks(&reading.marks, &[(&seen[2], Some("no")), (&seen[3], None)]).await?;
    let before = relay.parked().await?;
    relay.sweep_away(4).await?;
    relay.sweep(Duration::ZERO).await?;
    let after = relay.parked().await?;
    ensure!(before.len() == 2, "parked 2 events, and {} are listed", before.len());
    let expected = told_of(&posted[2..]);
    ensure!(after == before, "parked {expected:?}, and after the sweep found {:?}", told(&after, &posted));
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &[], "as a new owner")?;
    let listed = successor.parked().await?;
    ensure!(listed == before, "parked {expected:?}, and a new owner found {:?}", told(&listed, &posted));
    Ok(())
}

async fn gauge_counts_the_parked(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let mut application = bench.application().await?;
    let orders = [bench.aggregate_in(0, 1), bench.aggregate_in(1, 1)];
    let one = application.post(&events(&orders[0], 1..=4)).await?;
    let other = application.post(&events(&orders[1], 1..=3)).await?;
    let seen = relay.drain().await?;
    exactly(&seen, &[one, other].concat(), "at first")?;
    let (in_one, in_other) = (about(&seen, &orders[0]), about(&seen, &orders[1]));
    let parked =
        [(&in_one[1], Some("no")), (&in_one[2], None), (&in_one[3], None), (&in_other[2], Some("no"))];
    let all: Vec<_> = in_one.iter().chain(&in_other).cloned().collect();
    relay.settle_parking(&all, &parked).await?;
    let gauge = relay.gauge().await?;
    let counts: Vec<_> = gauge.lanes.iter().map(|lane| lane.parked).take(3).collect();
    ensure!(
        counts == [3, 1, 0],
        "3, 1 and 0 events of three lanes are parked, and the figures say {counts:?}"
    );
    Ok(())
}
