//! Promise 8: dead letters are durable. A parked event has left its lane's way and stays, visible, in the outbox's
//! care.

use std::time::Duration;

use eventferry_core::parked::{Next, ParkReason, ParkedAsk, ParkedEvent, ShownEvent, Stage};
use eventferry_core::{Lane, StoredEvent, Timestamp};

use super::{Kept, clause};
use crate::application::{Posted, about, exactly, tell};
use crate::bench::{Bench, events};
use crate::broken::{Broken, ensure};
use crate::clause::Clause;
use crate::desk::{BEHIND, LONG, cause, refused, refused_and};
use crate::erased::Seen;
use crate::relay::Relay;

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
        "A parked event is listed with its aggregate and size, and shown with all of it, why, since when, what next.",
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
    let (poisoned, other) = (bench.aggregate_in(0, 1), bench.aggregate_in(0, 2));
    let mut application = bench.application().await?;
    let mut relay = bench.started_relay("a").await?;
    let posted = application.post(&events(&poisoned, 1..=3)).await?;
    let shipped = application.post(&events(&other, 1..=2)).await?;
    let seen = relay.drain().await?;
    exactly(&seen, &[&posted[..], &shipped].concat(), "at first")?;
    let of_poisoned: Vec<_> = seen.iter().filter(|one| one.event.aggregate.id == poisoned).collect();
    relay.settle_parking(&seen, &[(of_poisoned[1], refused("too large")), (of_poisoned[2], BEHIND)]).await?;
    let later = application.post(&events(&other, 3..=3)).await?;
    for name in ["a", "b", "a"] {
        relay.leave().await?;
        relay = bench.started_relay(name).await?;
        let listed = listed(&mut relay, &posted).await?;
        let expected = told_of(&posted[1..]);
        ensure!(listed == expected, "relay {name} found {listed:?} parked, not {expected:?}");
        exactly(&relay.drain().await?, &later, &format!("as relay {name}"))?;
    }
    Ok(())
}

/// What is listed in the relay's lanes, in the words of what was enqueued, or as strangers; breaks the clause if people
/// are shown anything else of these lanes.
pub(super) async fn listed(relay: &mut Relay<'_>, posted: &[Posted]) -> Result<Vec<String>, Broken> {
    let listed = relay.parked().await?;
    let mut shown = relay.shown().await?;
    let lanes = relay.lanes();
    shown.retain(|one| lanes.contains(&one.key.lane));
    let keys: Vec<_> = listed.iter().map(|one| one.key).collect();
    let shown_keys: Vec<_> = shown.iter().map(|one| one.key).collect();
    ensure!(
        keys == shown_keys,
        "the list of parked events has {keys:?}, and people are shown {shown_keys:?}"
    );
    Ok(told(&listed, &shown, posted))
}

/// Parked events in the words of what was enqueued, by what people are shown of them.
fn told(parked: &[ParkedEvent], shown: &[ShownEvent<StoredEvent>], posted: &[Posted]) -> Vec<String> {
    let name = |one: &ParkedEvent| {
        let id = shown.iter().find(|shown| shown.key == one.key).map(|shown| shown.row.message_id);
        let event = posted.iter().find(|posted| Some(posted.message_id) == id);
        event.map_or_else(|| format!("a stranger {:?}", one.key), |posted| tell(&posted.event))
    };
    parked.iter().map(name).collect()
}

pub(super) fn told_of(posted: &[Posted]) -> Vec<String> {
    posted.iter().map(|one| tell(&one.event)).collect()
}

/// Breaks the clause unless a parked event is listed and shown as what it is.
fn is_copy_of(parked: &ParkedEvent, shown: &ShownEvent<StoredEvent>, record: &Seen) -> Kept {
    let told = tell(&record.event);
    let aggregate = &record.event.aggregate;
    ensure!(
        parked.aggregate_type == aggregate.kind && parked.aggregate_id == aggregate.id,
        "{told}: parked as about {} {}",
        parked.aggregate_type,
        parked.aggregate_id
    );
    let payload_bytes = record.event.payload.as_ref().map_or(0, Vec::len) as u64;
    let texts = (record.event.topic.len() + aggregate.kind.len() + aggregate.id.len()) as u64;
    ensure!(
        parked.size_bytes >= payload_bytes + texts,
        "{told}: listed with {} bytes, and its payload and names alone have {}",
        parked.size_bytes,
        payload_bytes + texts
    );
    ensure!(
        shown.row.message_id == record.message_id && shown.row.enqueued_at == record.enqueued_at,
        "{told}: shown as message {} of {:?}, which it is not",
        shown.row.message_id,
        shown.row.enqueued_at
    );
    ensure!(shown.row.event == record.event, "{told}: shown as {:?}", shown.row.event);
    ensure!(parked.key.lane == record.lane, "{told}: parked in lane {}", parked.key.lane.0);
    Ok(())
}

async fn parked_tells_what_and_why(bench: &Bench) -> Kept {
    let words = "message of 1,048,577 bytes is \"too large\": größer als erlaubt \u{1f980}";
    let mut relay = bench.started_relay("a").await?;
    let posted = bench.application().await?.post(&events("größe 日本", 1..=4)).await?;
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "at first")?;
    let before = relay.gauge().await?.at;
    let why =
        [refused(words), BEHIND, ParkReason::TopicHeld(cause(words)), refused_and(words, Next::Retry(LONG))];
    let parked: Vec<_> = seen.iter().zip(why).collect();
    relay.settle_parking(&seen, &parked).await?;
    let after = relay.gauge().await?.at;
    let (listed, shown) = (relay.parked().await?, relay.shown().await?);
    ensure!(
        listed.len() == 4 && shown.len() == 4,
        "parked 4, listed {}, shown {}",
        listed.len(),
        shown.len()
    );
    let parked_at = Timestamp(before.0 - 1000)..=after;
    let expected = [
        (Stage::Waiting, 1, true, None),
        (Stage::Topic, 0, false, None),
        (Stage::Topic, 0, true, Some(0)),
        (Stage::Topic, 1, true, Some(LONG.as_micros() as i64)),
    ];
    for (((listed, shown), record), (stage, attempts, has_cause, due_in)) in
        listed.iter().zip(&shown).zip(&seen).zip(expected)
    {
        is_copy_of(listed, shown, record)?;
        let told = tell(&record.event);
        ensure!(parked_at.contains(&shown.parked_at), "{told}: parked in {parked_at:?}, shown {shown:?}");
        ensure!(
            shown.stage == stage && shown.attempts == attempts && shown.decision.is_none(),
            "{told}: expected {stage:?}, {attempts} attempts and no decision, shown {shown:?}"
        );
        let (class, message) = (shown.class.as_deref(), shown.message.as_deref());
        let expected = (has_cause.then_some("MessageSizeTooLarge"), has_cause.then_some(words));
        ensure!((class, message) == expected, "{told}: parked because of {expected:?}, shown {shown:?}");
        let due_at = due_in.map(|micros| Timestamp(before.0 - 1000 + micros)..=Timestamp(after.0 + micros));
        let is_due = match (shown.due_at, &due_at) {
            (Some(at), Some(expected)) => expected.contains(&at),
            (at, expected) => at.is_none() && expected.is_none(),
        };
        ensure!(is_due, "{told}: expected to be due in {due_at:?}, shown {shown:?}");
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
            relay.settle_parking(&seen, &[(&seen[1], refused("no")), (&seen[2], BEHIND)]).await?;
            of_lane.extend_from_slice(&posted[1..]);
        }
        expected.splice(0..0, of_lane);
    }
    let (lanes, shown) = (relay.lanes(), relay.shown().await?);
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
        let (listed_told, all_told) = (told(&listed, &shown, &expected), told_of(&expected));
        ensure!(listed_told == all_told, "in pages of {limit}: listed {listed_told:?}, not {all_told:?}");
        let ascending = listed.windows(2).all(|pair| pair[0].key < pair[1].key);
        ensure!(ascending, "in pages of {limit}: the keys of parked events do not ascend");
    }
    let one_lane = relay.parked_page(ParkedAsk { lanes: &[Lane(1)], after: None, limit: 100 }).await?;
    let (listed, of_lane) = (told(&one_lane.events, &shown, &expected), told_of(&expected[4..8]));
    ensure!(listed == of_lane, "asked for lane 1: listed {listed:?}, not {of_lane:?}");
    Ok(())
}

async fn parking_twice_parks_once(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let posted = bench.application().await?.post(&events("1", 1..=4)).await?;
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "at first")?;
    let first = [(&seen[0], refused("no")), (&seen[1], BEHIND)];
    for _ in 0..3 {
        relay.settle_parking(&seen[..2], &first).await?;
    }
    relay.settle_parking(&seen[2..3], &[(&seen[2], BEHIND)]).await?;
    relay.settle_parking(&seen[..2], &first).await?;
    let (listed, expected) = (listed(&mut relay, &posted).await?, told_of(&posted[..3]));
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
    relay.settle_marks(&reading.marks, &[(&seen[2], refused("no")), (&seen[3], BEHIND)]).await?;
    let before = relay.parked().await?;
    relay.sweep_away(4).await?;
    relay.sweep(Duration::ZERO).await?;
    let after = relay.parked().await?;
    let left = listed(&mut relay, &posted).await?;
    ensure!(before.len() == 2, "parked 2 events, and {} are listed", before.len());
    let expected = told_of(&posted[2..]);
    ensure!(left == expected && after == before, "parked {expected:?}, and after the sweep found {left:?}");
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &[], "as a new owner")?;
    let left = listed(&mut successor, &posted).await?;
    ensure!(left == expected, "parked {expected:?}, and a new owner found {left:?}");
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
    let parked = [
        (&in_one[1], refused("no")),
        (&in_one[2], BEHIND),
        (&in_one[3], BEHIND),
        (&in_other[2], refused("no")),
    ];
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
