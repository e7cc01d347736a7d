//! Promise 10: enqueue never waits for relays, and what cannot be enqueued is refused clearly.

use std::time::Duration;

use eventferry_core::enqueue::{AGGREGATE_BYTES_MAX, TOPIC_CHARS_MAX};
use eventferry_core::{EnqueueFaultKind, Event};

use super::{Kept, clause};
use crate::application::exactly;
use crate::bench::{Bench, event, events};
use crate::broken::{Broken, ensure};
use crate::clause::Clause;
use crate::desk::{BEHIND, refused};
use crate::relay::Appetite;

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        10,
        "enqueue-needs-no-relay",
        "Events can be enqueued before any relay ever came, and after all have gone.",
        [],
        enqueue_needs_no_relay
    ),
    clause!(
        10,
        "enqueue-while-everything-is-held",
        "Events can be enqueued while relays hold, read, settle and park in every lane.",
        [],
        enqueue_while_everything_is_held
    ),
    clause!(
        10,
        "sweep-and-enqueue-pass-each-other",
        "A sweep beside an open transaction ends, and others can enqueue meanwhile.",
        [ManyWriters],
        sweep_and_enqueue_pass_each_other
    ),
    clause!(
        10,
        "limits-are-refused",
        "An event over a limit is refused as such, nothing of its call is added, and the transaction goes on.",
        [],
        limits_are_refused
    ),
    clause!(
        10,
        "nothing-enqueued-is-nothing",
        "Enqueueing no events does nothing, and a transaction that enqueued nothing leaves nothing.",
        [],
        nothing_enqueued_is_nothing
    ),
];

async fn enqueue_needs_no_relay(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    let mut posted = application.post(&events("1", 1..=20)).await?;
    let mut relay = bench.started_relay("a").await?;
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "as the first relay")?;
    relay.settle(&seen[..10]).await?;
    relay.leave().await?;
    drop(relay);
    posted.drain(..10);
    posted.extend(application.post(&events("1", 21..=30)).await?);
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &posted, "as the next relay")
}

async fn enqueue_while_everything_is_held(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    let mut bystander = bench.relay("b").await?;
    let mut relay = bench.started_relay("a").await?;
    bystander.beat().await?;
    let mut posted = application.post(&events("1", 1..=10)).await?;
    let small = Appetite { records_max: 2, ..relay.appetite() };
    let mut seen = Vec::new();
    // Each round: half a page read, an enqueue, a settlement, an enqueue.
    for round in 0..4 {
        let first = 11 + 4 * round;
        let page = relay.read(&small).await?.records;
        posted.extend(application.post(&events("1", first..=first + 1)).await?);
        let behind = round > 0;
        let parked: Vec<_> = page
            .iter()
            .enumerate()
            .map(|(nth, record)| (record, if nth == 0 && !behind { refused("no") } else { BEHIND }))
            .collect();
        relay.settle_parking(&page, &parked).await?;
        posted.extend(application.post(&events("1", first + 2..=first + 3)).await?);
        seen.extend(page);
        bystander.beat().await?;
    }
    seen.extend(relay.drain().await?);
    exactly(&seen, &posted, "in the end")
}

async fn sweep_and_enqueue_pass_each_other(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let (mut slow, mut quick) = (bench.application().await?, bench.application().await?);
    let first = quick.post(&events("1", 1..=4)).await?;
    let seen = relay.drain().await?;
    exactly(&seen, &first, "at first")?;
    relay.settle(&seen).await?;
    slow.begin().await?;
    let mut posted = slow.enqueue(&events("slow", 1..=2)).await?;
    for round in 0..3 {
        // Whether it removes anything beside the open transaction is its own affair; that it answers is not.
        if let Err(fault) = relay.roles.sweep(Duration::ZERO).await {
            let kind = *fault.kind();
            ensure!(
                kind == eventferry_core::StoreFaultKind::Contended,
                "a sweep beside an open transaction was answered {kind:?}: {fault}"
            );
        }
        posted.extend(quick.post(&events("2", 2 * round + 1..=2 * round + 2)).await?);
    }
    posted.extend(slow.enqueue(&events("slow", 3..=4)).await?);
    slow.commit().await?;
    exactly(&relay.drain().await?, &posted, "after the sweeps")
}

/// Events that break a limit, each with the limit's name.
fn over_the_limits(payload_bytes_max: u64) -> Vec<(&'static str, Event)> {
    let long = "x".repeat(AGGREGATE_BYTES_MAX + 1);
    let mut events = vec![
        ("an empty topic", Event::new("", ("order", 1))),
        ("a long topic", Event::new("t".repeat(TOPIC_CHARS_MAX + 1), ("order", 1))),
        ("an empty aggregate type", Event::new("orders", ("", 1))),
        ("an empty aggregate id", Event::new("orders", ("order", ""))),
        ("a long aggregate type", Event::new("orders", (long.as_str(), 1))),
        ("a long aggregate id", Event::new("orders", ("order", long.as_str()))),
        ("a zero byte in the aggregate type", Event::new("orders", ("or\0der", 1))),
        ("a zero byte in the aggregate id", Event::new("orders", ("order", "1\0"))),
        ("a negative partition", event("1", "1").partition(-1)),
    ];
    // A limit that this test's memory cannot break is believed.
    if payload_bytes_max < 32 << 20 {
        let payload = vec![7; payload_bytes_max as usize + 1];
        events.push(("a large payload", event("1", "").payload(payload, "application/octet-stream")));
    }
    events
}

async fn limits_are_refused(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    application.begin().await?;
    let mut posted = application.enqueue(&[event("1", "first")]).await?;
    for (limit, bad) in over_the_limits(bench.declared().capabilities.payload_bytes_max) {
        // In the middle of its call, so that what stands before it shows whether nothing was added.
        match application.try_enqueue(&[event("1", "before"), bad, event("1", "after")]).await {
            Ok(_) => return Err(Broken::new(format!("{limit} was accepted"))),
            Err(fault) => ensure!(
                fault.kind() == EnqueueFaultKind::Refused,
                "{limit} was answered {:?}, not Refused: {fault}",
                fault.kind()
            ),
        }
        posted.extend(application.enqueue(&[event("1", limit)]).await?);
    }
    application.commit().await?;
    let mut relay = bench.started_relay("a").await?;
    exactly(&relay.drain().await?, &posted, "after the commit")
}

async fn nothing_enqueued_is_nothing(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    let mut relay = bench.started_relay("a").await?;
    application.post(&[]).await?;
    application.begin().await?;
    application.commit().await?;
    exactly(&relay.drain().await?, &[], "after nothing was enqueued")?;
    application.begin().await?;
    let mut posted = application.enqueue(&[event("1", "1")]).await?;
    application.enqueue(&[]).await?;
    posted.extend(application.enqueue(&[event("1", "2")]).await?);
    application.commit().await?;
    exactly(&relay.drain().await?, &posted, "after nothing was enqueued amid something")
}
