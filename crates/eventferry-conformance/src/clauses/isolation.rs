//! Promise 6: one event, aggregate, lane or transaction delays nothing but itself.

use eventferry_core::parked::{Next, ParkReason};
use eventferry_core::{Event, Lane};

use super::due::{park_each, park_run, these};
use super::{Kept, clause};
use crate::application::{about, exactly};
use crate::bench::{Bench, event, events};
use crate::broken::ensure;
use crate::clause::Clause;
use crate::desk::{BEHIND, Due, LONG, cause, refused, refused_and};
use crate::relay::Appetite;

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        6,
        "wish-names-its-lanes",
        "A reading hands over events of the lanes that the wish names and of no other.",
        [],
        wish_names_its_lanes
    ),
    clause!(
        6,
        "lanes-settle-apart",
        "Settling one lane moves no other lane's position.",
        [],
        lanes_settle_apart
    ),
    clause!(
        6,
        "slow-transaction-delays-nobody",
        "While a transaction that has enqueued stays open, what others commit is read.",
        [ManyWriters, NoStall],
        slow_transaction_delays_nobody
    ),
    clause!(
        6,
        "relays-read-apart",
        "Two relays that share the lanes read each its own, all of it, whatever the other does.",
        [LaneByLane],
        relays_read_apart
    ),
    clause!(
        6,
        "left-out-topic-waits-by-itself",
        "Parked events for a topic that is left out wait, and what stands behind them; all others are due.",
        [],
        left_out_topic_waits_by_itself
    ),
    clause!(
        6,
        "parked-aggregates-wait-apart",
        "A parked event that is not due holds back its own aggregate and no other of its lane.",
        [],
        parked_aggregates_wait_apart
    ),
];

async fn wish_names_its_lanes(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let mut application = bench.application().await?;
    let mut posted = Vec::new();
    for lane in 0..4 {
        posted.push(application.post(&events(&bench.aggregate_in(lane, 1), 1..=3)).await?);
    }
    for (lane, of_lane) in (0..4).zip(&posted) {
        for records_max in [2, 500] {
            let one = Appetite { lanes: vec![Lane(lane)], records_max, ..relay.appetite() };
            let lease = relay.lease_of(Lane(lane))?;
            relay.open(&[lease]).await?;
            let reading = relay.drain_by(&one).await?;
            exactly(&reading.records, of_lane, &format!("with a wish for lane {lane}"))?;
            let strange = reading.marks.iter().find(|(marked, _)| *marked != Lane(lane));
            ensure!(strange.is_none(), "a wish for lane {lane} alone brought a mark of another");
        }
    }
    Ok(())
}

async fn lanes_settle_apart(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let mut application = bench.application().await?;
    let other = application.post(&events(&bench.aggregate_in(0, 1), 1..=3)).await?;
    let settled = application.post(&events(&bench.aggregate_in(1, 1), 1..=3)).await?;
    let last = application.post(&events(&bench.aggregate_in(2, 1), 1..=3)).await?;
    let seen = relay.drain().await?;
    exactly(&seen, &[&other[..], &settled, &last].concat(), "at first")?;
    relay.settle(&about(&seen, &bench.aggregate_in(1, 1))).await?;
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &[other, last].concat(), "as a new owner")
}

async fn slow_transaction_delays_nobody(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let (mut slow, mut quick) = (bench.application().await?, bench.application().await?);
    slow.begin().await?;
    let late = slow.enqueue(&[event("slow", "1")]).await?;
    for round in 0..3 {
        let first = 2 * round + 1;
        let posted = quick.post(&events("quick", first..=first + 1)).await?;
        let seen = relay.drain().await?;
        exactly(&seen, &posted, "while another transaction was open")?;
        relay.settle(&seen).await?;
    }
    slow.commit().await?;
    exactly(&relay.drain().await?, &late, "after it was committed")
}

async fn relays_read_apart(bench: &Bench) -> Kept {
    let half = bench.lanes() / 2;
    let (mut one, mut other) = (bench.relay("a").await?, bench.relay("b").await?);
    for relay in [&mut one, &mut other] {
        relay.take_some(half).await?;
        relay.open_all().await?;
    }
    let mut application = bench.application().await?;
    let (mut for_one, mut for_other) = (Vec::new(), Vec::new());
    for number in 0..30 {
        let order = format!("order-{number}");
        let posted = application.post(&events(&order, 1..=2)).await?;
        let lane = Lane::of("order", &order, bench.lanes());
        if one.lease_of(lane).is_ok() {
            for_one.extend(posted);
        } else if other.lease_of(lane).is_ok() {
            for_other.extend(posted);
        }
    }
    let seen = one.drain().await?;
    exactly(&seen, &for_one, "as the first relay")?;
    one.settle(&seen).await?;
    exactly(&other.drain().await?, &for_other, "as the second relay")?;
    one.open_all().await?;
    other.open_all().await?;
    exactly(&one.drain().await?, &[], "as the first relay, after it had settled")?;
    exactly(&other.drain().await?, &for_other, "as the second relay, which had not")
}

async fn left_out_topic_waits_by_itself(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let held = ParkReason::TopicHeld(cause("no such topic"));
    let die = refused_and("no", Next::Die);
    let of = |topic: &str, order: &str, text: &str| {
        Event::new(topic, ("order", order)).payload(text, "text/plain")
    };
    let (one, two, three) = (bench.aggregate_in(1, 1), bench.aggregate_in(1, 2), bench.aggregate_in(1, 3));
    let batch = [
        of("gone", &one, "1"),
        of("orders", &one, "2"),
        of("orders", &two, "3"),
        of("gone", &two, "4"),
        of("orders", &two, "5"),
        of("gone", &three, "6"),
        of("orders", &three, "7"),
    ];
    // What was given up goes to the dead-letter topic, whatever has become of its own.
    let posted =
        park_each(bench, &mut relay, &batch, &[held, BEHIND, held, BEHIND, BEHIND, die, BEHIND]).await?;
    let without = Due { except_topics: &["gone", "nowhere"], ..Due::default() };
    let page = relay.due_page(without).await?;
    these(&page.events, &[&posted[2..3], &posted[5..]].concat(), "with a topic left out")?;
    ensure!(!page.more, "a page with all that is due says that there is more");
    these(&relay.due().await?, &posted, "with no topic left out")
}

async fn parked_aggregates_wait_apart(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let held = ParkReason::TopicHeld(cause("no such topic"));
    let mut due = Vec::new();
    let later = refused_and("no", Next::Retry(LONG));
    for (nth, reason) in [refused("no"), held, later, held].into_iter().enumerate() {
        let run = park_run(bench, &mut relay, &bench.aggregate_in(1, nth), 2, reason).await?;
        if reason == held {
            due.extend(run);
        }
    }
    these(&relay.due().await?, &due, "beside aggregates that wait")
}
