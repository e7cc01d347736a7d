//! Promise 3: of one aggregate, e1 is read before e2 if both are in one transaction and e1 was enqueued earlier, or if
//! e1's transaction was visibly committed before e2's enqueue began.

use eventferry_core::Lane;
use eventferry_core::lane::LANE_HASH_VECTORS;

use super::{Kept, clause};
use crate::application::{about, exactly};
use crate::bench::{Bench, event, events};
use crate::broken::ensure;
use crate::clause::Clause;
use crate::relay::Appetite;

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        3,
        "order-within-a-transaction",
        "Events of one transaction are read in the order of the calls and, within a call, of the slice.",
        [],
        order_within_a_transaction
    ),
    clause!(
        3,
        "order-across-transactions",
        "Events of a transaction are read after those of one that was committed before it enqueued them.",
        [],
        order_across_transactions
    ),
    clause!(
        3,
        "late-commit-keeps-order",
        "A late commit stands before what its aggregate enqueued after it, in one reading and in the next.",
        [ManyWriters],
        late_commit_keeps_order
    ),
    clause!(
        3,
        "early-begun-keeps-order",
        "A transaction that began first and enqueued after another's commit comes after it, in the same reading.",
        [ManyWriters],
        early_begun_keeps_order
    ),
    clause!(
        3,
        "page-size-keeps-order",
        "Order is the same in pages of one record, of a few bytes, and of everything.",
        [],
        page_size_keeps_order
    ),
    clause!(
        3,
        "small-pages-keep-late-order",
        "Late commits and new events of one aggregate keep their order in pages of one record and across owners.",
        [ManyWriters],
        small_pages_keep_late_order
    ),
    clause!(
        3,
        "lanes-follow-the-hash",
        "A record's lane is the contract's hash of its aggregate.",
        [],
        lanes_follow_the_hash
    ),
];

async fn order_within_a_transaction(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    application.begin().await?;
    let mut posted = Vec::new();
    for call in 0..5 {
        let first = 4 * call + 1;
        // Two aggregates in turns within each slice.
        let batch: Vec<_> = events("1", first..=first + 3)
            .into_iter()
            .zip(events("2", first..=first + 3))
            .flat_map(|(one, other)| [one, other])
            .collect();
        posted.extend(application.enqueue(&batch).await?);
    }
    application.commit().await?;
    let mut relay = bench.started_relay("a").await?;
    exactly(&relay.drain().await?, &posted, "after the commit")
}

async fn order_across_transactions(bench: &Bench) -> Kept {
    let (mut one, mut other) = (bench.application().await?, bench.application().await?);
    let mut posted = Vec::new();
    for number in 1..=10 {
        let application = if number % 2 == 0 { &mut one } else { &mut other };
        posted.extend(application.post(&[event("1", &number.to_string())]).await?);
    }
    let mut relay = bench.started_relay("a").await?;
    exactly(&relay.drain().await?, &posted, "after the commits")
}

async fn late_commit_keeps_order(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let (mut slow, mut quick) = (bench.application().await?, bench.application().await?);
    slow.begin().await?;
    let mut posted = slow.enqueue(&events("slow", 1..=2)).await?;
    let other = quick.post(&[event("quick", "1")]).await?;
    let early = relay.glance().await?;
    ensure!(
        early.iter().all(|record| record.message_id == other[0].message_id),
        "read an event before its transaction was committed"
    );
    posted.extend(slow.enqueue(&[event("slow", "3")]).await?);
    slow.commit().await?;
    posted.extend(quick.post(&events("slow", 4..=5)).await?);
    if early.is_empty() {
        posted.extend(other);
    }
    exactly(&relay.drain().await?, &posted, "after the late commit")?;
    relay.open_all().await?;
    if !early.is_empty() {
        let all = relay.drain().await?;
        return exactly(&about(&all, "slow"), &posted, "after reopening");
    }
    exactly(&relay.drain().await?, &posted, "after reopening")
}

async fn early_begun_keeps_order(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let (mut early, mut quick) = (bench.application().await?, bench.application().await?);
    // It has enqueued something, so whatever a database gives a transaction at its first write it has.
    early.begin().await?;
    let unrelated = early.enqueue(&[event("unrelated", "1")]).await?;
    let mut posted = quick.post(&events("1", 1..=2)).await?;
    posted.extend(early.enqueue(&events("1", 3..=4)).await?);
    early.commit().await?;
    posted.extend(quick.post(&[event("1", "5")]).await?);
    posted.extend(unrelated);
    exactly(&relay.drain().await?, &posted, "in one reading")?;
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    let one = Appetite { records_max: 1, ..successor.appetite() };
    exactly(&successor.drain_by(&one).await?.records, &posted, "as a new owner, one by one")
}

async fn page_size_keeps_order(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    let mut posted = Vec::new();
    for round in 0..4 {
        let first = 3 * round + 1;
        for order in ["1", "2", "3"] {
            posted.extend(application.post(&events(order, first..=first + 2)).await?);
        }
    }
    let mut relay = bench.started_relay("a").await?;
    let usual = relay.appetite();
    for (what, appetite) in [
        ("in one page", usual.clone()),
        ("in pages of one record", Appetite { records_max: 1, ..usual.clone() }),
        ("in pages of two records", Appetite { records_max: 2, ..usual.clone() }),
        ("in pages of one byte", Appetite { bytes_max: 1, ..usual.clone() }),
        ("in pages of five bytes", Appetite { bytes_max: 5, ..usual }),
    ] {
        relay.open_all().await?;
        exactly(&relay.drain_by(&appetite).await?.records, &posted, what)?;
    }
    Ok(())
}

async fn small_pages_keep_late_order(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let mut quick = bench.application().await?;
    for round in 0..3 {
        // Late: open while something newer was read. New: of the same aggregate, after the late commit.
        let first = 4 * round + 1;
        let mut slow = bench.application().await?;
        slow.begin().await?;
        let mut posted = slow.enqueue(&events("1", first..=first + 1)).await?;
        posted.extend(quick.post(&events("aside", first..=first)).await?);
        let mut carried = relay.glance().await?;
        slow.commit().await?;
        posted.extend(quick.post(&events("1", first + 2..=first + 3)).await?);
        // Three more one by one, and the rest by somebody else.
        let one = Appetite { records_max: 1, ..relay.appetite() };
        let until = carried.len() + 3;
        for _ in 0..20 {
            if carried.len() < until {
                carried.extend(relay.read(&one).await?.records);
            }
        }
        relay.settle(&carried).await?;
        relay.leave().await?;
        relay = bench.started_relay(&format!("relay-{round}")).await?;
        let rest = relay.drain().await?;
        relay.settle(&rest).await?;
        // The successor's marks are another store instance's, so only what was read is put together.
        carried.extend(rest);
        exactly(&carried, &posted, &format!("both owners together, round {}", round + 1))?;
    }
    Ok(())
}

async fn lanes_follow_the_hash(bench: &Bench) -> Kept {
    let mut batch: Vec<_> = LANE_HASH_VECTORS
        .iter()
        .filter(|(kind, id, _)| !kind.is_empty() && !id.is_empty())
        .map(|(kind, id, _)| eventferry_core::Event::new("orders", (*kind, *id)))
        .collect();
    batch.extend((0..200).map(|number| event(&format!("order-{number}"), "1")));
    let mut application = bench.application().await?;
    let mut posted = Vec::new();
    for some in batch.chunks(20) {
        posted.extend(application.post(some).await?);
    }
    let mut relay = bench.started_relay("a").await?;
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "after the commit")?;
    for record in &seen {
        let aggregate = &record.event.aggregate;
        let lane = Lane::of(&aggregate.kind, &aggregate.id, bench.lanes());
        ensure!(
            record.lane == lane,
            "{} {} came in lane {}, not in lane {}",
            aggregate.kind,
            aggregate.id,
            record.lane.0,
            lane.0
        );
    }
    Ok(())
}
