//! Exactly once: what a transaction holds is read when it is committed, and who takes over ends all before.

use std::time::Duration;

use eventferry_core::publisher::{Outcome, Taken};
use eventferry_core::{Envelope, Stamp};

use super::{Kept, clause};
use crate::broken::ensure;
use crate::publisher::bench::{Bench, holds, row};
use crate::publisher::clause::Clause;

/// Promise 4: once.
pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        4,
        "uncommitted-is-not-read",
        "What a transaction holds is not read before it is committed, though it was acknowledged, and all of it after.",
        [Transactions],
        uncommitted_is_not_read
    ),
    clause!(
        4,
        "commit-is-of-the-earliest",
        "A commit is of the earliest transaction, while the next is being filled.",
        [Transactions],
        commit_is_of_the_earliest
    ),
    clause!(
        4,
        "begun-shows-the-committed",
        "When a transaction is begun, those begun so many before it as the publisher declares can be read.",
        [Transactions],
        begun_shows_the_committed
    ),
    clause!(
        4,
        "aborted-is-never-read",
        "With a record refused, its transaction is thrown away and none of it is ever read; the session goes on.",
        [Transactions, Limits],
        aborted_is_never_read
    ),
    clause!(
        4,
        "last-stamp-comes-back",
        "Who takes over is told the stamp of the transaction committed last, empty or not; none if none ever was.",
        [Transactions],
        last_stamp_comes_back
    ),
];

/// Promise 5: those before are over.
pub(super) static TAKING_OVER: &[Clause] = &[
    clause!(
        5,
        "take-over-ends-what-was-open",
        "After a take-over a former session commits nothing, and what it had open is never read.",
        [Transactions],
        take_over_ends_what_was_open
    ),
    clause!(
        5,
        "take-over-shows-the-committed",
        "When a take-over is done, all that former sessions committed can be read.",
        [Transactions],
        take_over_shows_the_committed
    ),
    clause!(
        5,
        "outboxes-are-taken-over-apart",
        "Taking one outbox over leaves the sessions and stamps of others alone.",
        [Transactions],
        outboxes_are_taken_over_apart
    ),
];

/// A stamp that uses all the bits there are.
fn stamp(number: u64) -> Stamp {
    Stamp { number, nonce: u64::MAX - number }
}

async fn uncommitted_is_not_read(bench: &Bench) -> Kept {
    let topic = bench.topic(2).await?;
    let rows: Vec<_> = (0..6).map(|nth| row(&topic, &(nth % 2).to_string(), &nth.to_string())).collect();
    let (mut line, _) = bench.take_over(bench.publisher(), &bench.outbox()).await?;
    line.begin(stamp(1)).await?;
    line.send_all(&rows).await?;
    line.answered().await?;
    holds(bench, &topic, &[], "in a transaction that is open").await?;
    line.commit().await?;
    bench.comes_to_hold(&topic, &rows, "after the commit").await?;
    line.answers.all_acknowledged()
}

async fn commit_is_of_the_earliest(bench: &Bench) -> Kept {
    let topic = bench.topic(1).await?;
    let rows: Vec<_> = (0..3).map(|nth| row(&topic, "1", &nth.to_string())).collect();
    let (mut line, _) = bench.take_over(bench.publisher(), &bench.outbox()).await?;
    for (number, row) in (1..).zip(&rows) {
        line.begin(stamp(number)).await?;
        line.send(row).await?;
        line.answered().await?;
        if number > 1 {
            // The next is filled already.
            line.commit().await?;
            let committed = &rows[..number as usize - 1];
            bench.comes_to_hold(&topic, committed, "with the next transaction filled").await?;
        }
    }
    line.commit().await?;
    bench.comes_to_hold(&topic, &rows, "after the last commit").await?;
    line.answers.all_acknowledged()
}

async fn begun_shows_the_committed(bench: &Bench) -> Kept {
    let topic = bench.topic(1).await?;
    let later = bench.declared().abilities.transactions.map_or(1, |later| u64::from(later.get()));
    let sent = row(&topic, "1", "committed");
    let (mut line, _) = bench.take_over(bench.publisher(), &bench.outbox()).await?;
    line.begin(stamp(1)).await?;
    line.send(&sent).await?;
    line.answered().await?;
    line.commit().await?;
    for number in 2..=1 + later {
        line.begin(stamp(number)).await?;
        if number <= later {
            line.commit().await?;
        }
    }
    holds(bench, &topic, &[sent], &format!("when the transaction {later} later was begun")).await
}

async fn aborted_is_never_read(bench: &Bench) -> Kept {
    const LIMIT: usize = 2_000;
    // A refusal may make a publisher doubt what it knew of its topic: what follows is for another.
    let (topic, other) = (bench.topic(1).await?, bench.topic(1).await?);
    bench.limit(&topic, LIMIT).await?;
    let (before, with, too_large) =
        (row(&topic, "1", "before"), row(&topic, "1", "with it"), row(&topic, "1", &"x".repeat(2 * LIMIT)));
    let after = row(&other, "1", "after");
    let (mut line, _) = bench.take_over(bench.publisher(), &bench.outbox()).await?;
    line.begin(stamp(1)).await?;
    line.send(&before).await?;
    line.answered().await?;
    line.commit().await?;
    line.begin(stamp(2)).await?;
    line.send(&with).await?;
    line.answered().await?;
    let refused = line.send(&too_large).await?;
    line.answered().await?;
    let outcome = line.answers.of(refused)?;
    ensure!(
        matches!(outcome, Outcome::Refused(_)),
        "a message over its topic's limit was answered {outcome:?} in a transaction"
    );
    line.abort().await?;
    line.begin(stamp(3)).await?;
    line.send(&after).await?;
    line.answered().await?;
    line.commit().await?;
    bench.comes_to_hold(&other, &[after], "in the transaction after the one that was thrown away").await?;
    bench.comes_to_hold(&topic, &[before], "after a transaction was thrown away").await
}

async fn last_stamp_comes_back(bench: &Bench) -> Kept {
    let topic = bench.topic(1).await?;
    let outbox = bench.outbox();
    let (mut line, last) = bench.take_over(bench.publisher(), &outbox).await?;
    ensure!(last.is_none(), "nothing was ever committed, and the last stamp was told as {last:?}");
    for number in 1..=3 {
        line.begin(stamp(number)).await?;
        if number < 3 {
            line.send(&row(&topic, "1", &number.to_string())).await?;
            line.answered().await?;
        }
        line.commit().await?;
    }
    let (mut next, last) = bench.take_over(bench.publisher(), &outbox).await?;
    ensure!(
        last == Some(stamp(3)),
        "three transactions were committed, the last one empty, and the last stamp was told as {last:?}"
    );
    next.begin(stamp(7)).await?;
    next.send(&row(&topic, "1", "open")).await?;
    next.answered().await?;
    let other = bench.another().await?;
    let (_, last) = bench.take_over(&*other, &outbox).await?;
    ensure!(last == Some(stamp(3)), "a fourth one was open, and the last stamp was told as {last:?}");
    Ok(())
}

async fn take_over_ends_what_was_open(bench: &Bench) -> Kept {
    let topic = bench.topic(1).await?;
    let outbox = bench.outbox();
    let (mut former, _) = bench.take_over(bench.publisher(), &outbox).await?;
    former.begin(stamp(1)).await?;
    former.send(&row(&topic, "1", "open")).await?;
    former.answered().await?;
    let other = bench.another().await?;
    bench.learn(&*other, &topic).await?;
    let (mut line, last) = bench.take_over(&*other, &outbox).await?;
    ensure!(last.is_none(), "nothing was committed, and the last stamp was told as {last:?}");
    let committed = former.try_commit().await?;
    ensure!(
        !matches!(committed, Outcome::Acknowledged),
        "the commit of a former session was acknowledged after a take-over"
    );
    // Whatever it tries.
    if former.try_begin(stamp(2)) == Taken::Yes {
        let late = row(&topic, "1", "late");
        if former.offer(&Envelope::of(&late))? == Taken::Yes {
            former.try_commit().await?;
        }
    }
    former.abandon(Duration::from_secs(1)).await?;
    let sent = row(&topic, "1", "of the next");
    line.begin(stamp(3)).await?;
    line.send(&sent).await?;
    line.answered().await?;
    line.commit().await?;
    bench.comes_to_hold(&topic, &[sent], "after a take-over").await
}

async fn take_over_shows_the_committed(bench: &Bench) -> Kept {
    let topic = bench.topic(2).await?;
    let rows: Vec<_> = (0..4).map(|nth| row(&topic, &(nth % 2).to_string(), &nth.to_string())).collect();
    let outbox = bench.outbox();
    let (mut former, _) = bench.take_over(bench.publisher(), &outbox).await?;
    for (number, rows) in (1..).zip(rows.chunks(2)) {
        former.begin(stamp(number)).await?;
        former.send_all(rows).await?;
        former.answered().await?;
        former.commit().await?;
    }
    let other = bench.another().await?;
    let (_, last) = bench.take_over(&*other, &outbox).await?;
    ensure!(last == Some(stamp(2)), "two were committed, and the last stamp was told as {last:?}");
    holds(bench, &topic, &rows, "when a take-over was done").await
}

async fn outboxes_are_taken_over_apart(bench: &Bench) -> Kept {
    let topic = bench.topic(1).await?;
    let sent = row(&topic, "1", "of the first");
    let (mut line, _) = bench.take_over(bench.publisher(), &bench.outbox()).await?;
    line.begin(stamp(1)).await?;
    line.send(&sent).await?;
    line.answered().await?;
    line.commit().await?;
    line.begin(stamp(2)).await?;
    let more = row(&topic, "1", "more of it");
    line.send(&more).await?;
    line.answered().await?;
    let (_, last) = bench.take_over(bench.publisher(), &bench.outbox()).await?;
    ensure!(last.is_none(), "another outbox was told {last:?} as the stamp committed last");
    line.commit().await?;
    bench.comes_to_hold(&topic, &[sent, more], "after another outbox was taken over").await
}
