//! Promise 4: few duplicates. What was handed over or settled does not come again.

use eventferry_core::Lane;
use eventferry_core::parked::{Change, End};
use eventferry_core::store::{Anchor, Verdict};

use super::dead_letters::{listed, told_of};
use super::due::{keys, park_run};
use super::{Kept, clause};
use crate::application::exactly;
use crate::bench::{Bench, LEASE_SHORT, event, events};
use crate::broken::ensure;
use crate::clause::Clause;
use crate::desk::refused;
use crate::relay::{Appetite, Relay};

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        4,
        "once-for-each-opening",
        "However often and in whatever pages a lane is read, an event comes once for each opening.",
        [],
        once_for_each_opening
    ),
    clause!(
        4,
        "settled-is-not-read-again",
        "What was settled is not read again, neither after reopening nor by a new owner nor by a restarted relay.",
        [],
        settled_is_not_read_again
    ),
    clause!(
        4,
        "settling-twice-changes-nothing",
        "A repeated settlement is done, and changes nothing.",
        [],
        settling_twice_changes_nothing
    ),
    clause!(
        4,
        "older-settlement-changes-nothing",
        "A settlement that comes after a later one is done, and does not move the position back.",
        [],
        older_settlement_changes_nothing
    ),
    clause!(
        4,
        "message-ids-are-random-and-stable",
        "A message id that the store gives is no other event's, looks random, and is the same at every reading.",
        [],
        message_ids_are_random_and_stable
    ),
    clause!(
        4,
        "parked-is-not-read-after-a-rewind",
        "A feed whose positions were taken back says so, and leaves out what is parked and what was.",
        [Rewind],
        parked_is_not_read_after_a_rewind
    ),
];

async fn once_for_each_opening(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    let mut relay = bench.started_relay("a").await?;
    for (round, records_max) in [500, 1, 2, 3].into_iter().enumerate() {
        let first = 4 * round + 1;
        let mut posted = application.post(&events("1", first..=first + 3)).await?;
        posted.extend(application.post(&events("2", first..=first + 3)).await?);
        let appetite = Appetite { records_max, ..relay.appetite() };
        let when = format!("in pages of {records_max}");
        exactly(&relay.drain_by(&appetite).await?.records, &posted, &when)?;
        exactly(&relay.drain_by(&appetite).await?.records, &[], &format!("{when}, once more"))?;
    }
    Ok(())
}

async fn settled_is_not_read_again(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    let mut relay = bench.started_relay("a").await?;
    let mut posted = application.post(&events("1", 1..=4)).await?;
    posted.extend(application.post(&events("2", 1..=4)).await?);
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "at first")?;
    relay.settle(&seen).await?;
    relay.open_all().await?;
    exactly(&relay.drain().await?, &[], "after reopening")?;
    relay.take(LEASE_SHORT).await?;
    drop(relay);
    let mut restarted = bench.restarted_relay("a").await?;
    exactly(&restarted.drain().await?, &[], "as a restarted relay")?;
    restarted.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &[], "as a new owner")
}

async fn settling_twice_changes_nothing(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    let mut relay = bench.started_relay("a").await?;
    let posted = application.post(&events("1", 1..=5)).await?;
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "at first")?;
    let carried = relay.carried_under(&relay.leases, &seen[..2]);
    for time in 1..=3 {
        let verdicts = relay.verdicts(&carried).await?;
        ensure!(verdicts == [Verdict::Done], "the settlement was answered {verdicts:?} at call {time}");
    }
    relay.open_all().await?;
    exactly(&relay.drain().await?, &posted[2..], "after reopening")?;
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &posted[2..], "as a new owner")
}

async fn older_settlement_changes_nothing(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    let mut relay = bench.started_relay("a").await?;
    let posted = application.post(&events("1", 1..=5)).await?;
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "at first")?;
    let older = relay.carried_under(&relay.leases, &seen[..1]);
    relay.settle(&seen[..1]).await?;
    relay.settle(&seen[1..4]).await?;
    let verdicts = relay.verdicts(&older).await?;
    ensure!(verdicts == [Verdict::Done], "the older settlement was answered {verdicts:?}");
    relay.open_all().await?;
    exactly(&relay.drain().await?, &posted[4..], "after reopening")?;
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &posted[4..], "as a new owner")
}

async fn message_ids_are_random_and_stable(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    let batch: Vec<_> = (0..20).map(|_| event("1", "all alike")).collect();
    let mut posted = application.post(&batch).await?;
    posted.extend(application.post(&batch).await?);
    for (index, one) in posted.iter().enumerate() {
        let id = one.message_id;
        ensure!(
            posted[..index].iter().all(|earlier| earlier.message_id != id),
            "message id {id} was given to two events"
        );
        // Ids that count share their last half but for a few bits; those of a clock share their first.
        let alike = |other: &[u8; 16]| id.0.iter().zip(other).filter(|(mine, its)| mine == its).count();
        let most_alike =
            posted[..index].iter().map(|earlier| alike(&earlier.message_id.0)).max().unwrap_or(0);
        ensure!(most_alike < 12, "message ids {id} and another differ in {} bytes only", 16 - most_alike);
    }
    let mut relay = bench.started_relay("a").await?;
    for reading in ["at first", "after reopening"] {
        relay.open_all().await?;
        exactly(&relay.drain().await?, &posted, reading)?;
    }
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &posted, "as a new owner")
}

async fn parked_is_not_read_after_a_rewind(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let ends = [End::Shipped, End::DeadLettered, End::Discarded];
    let mut settled = Vec::new();
    for (nth, end) in ends.into_iter().enumerate() {
        let run = park_run(bench, &mut relay, &bench.aggregate_in(1, nth), 2, refused("no")).await?;
        let keys = keys(&mut relay, &run).await?;
        relay.change(&keys.iter().map(|key| (*key, Change::Settled(end))).collect::<Vec<_>>()).await?;
        settled.extend(run);
    }
    let order = bench.aggregate_in(1, 4);
    let parked = park_run(bench, &mut relay, &order, 2, refused("no")).await?;
    let unread = bench.application().await?.post(&events(&order, 3..=4)).await?;
    relay.leave().await?;
    drop(relay);
    bench.site().rewind().await?;
    let mut relay = bench.relay("b").await?;
    relay.take_all().await?;
    let opened = relay.open_all().await?;
    let anchor = Relay::anchor_of(&opened, Lane(1));
    ensure!(
        matches!(anchor, Some(Anchor::Restored | Anchor::FailedOver)),
        "the positions were taken back, and the lane was opened as {anchor:?}"
    );
    exactly(&relay.drain().await?, &unread, "after the positions were taken back")?;
    let listed = listed(&mut relay, &[settled, parked.clone()].concat()).await?;
    ensure!(listed == told_of(&parked), "after the positions were taken back {listed:?} is listed");
    Ok(())
}
