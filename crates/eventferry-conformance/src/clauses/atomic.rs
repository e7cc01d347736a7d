//! Promise 1: an event exists if and only if the transaction, and the savepoint, that enqueued it commits.

use super::{Kept, clause};
use crate::application::exactly;
use crate::bench::{Bench, event, events};
use crate::clause::Clause;
use crate::subject::Step;

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        1,
        "committed-is-read",
        "Every event of a committed transaction is read, of however many calls and aggregates.",
        [],
        committed_is_read
    ),
    clause!(
        1,
        "rolled-back-is-never-read",
        "No event of a rolled back transaction is ever read.",
        [],
        rolled_back_is_never_read
    ),
    clause!(
        1,
        "savepoint-takes-its-own",
        "Rolling back to a savepoint removes the events enqueued after it and no others.",
        [Savepoints],
        savepoint_takes_its_own
    ),
    clause!(
        1,
        "uncommitted-is-invisible",
        "An event is not read before its transaction commits, and is read after.",
        [],
        uncommitted_is_invisible
    ),
    clause!(
        1,
        "lost-connection-rolls-back",
        "No event of a transaction whose connection was lost before its commit is ever read.",
        [],
        lost_connection_rolls_back
    ),
];

async fn committed_is_read(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    let mut relay = bench.started_relay("a").await?;
    application.begin().await?;
    let mut posted = Vec::new();
    for number in 1..=8 {
        let batch = events(&format!("order-{number}"), 1..=3);
        posted.extend(application.enqueue(&batch).await?);
    }
    application.commit().await?;
    posted.extend(application.post(&[event("order-1", "4")]).await?);
    exactly(&relay.drain().await?, &posted, "after the commits")
}

async fn rolled_back_is_never_read(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    let mut relay = bench.started_relay("a").await?;
    application.begin().await?;
    application.enqueue(&events("1", 1..=2)).await?;
    application.rollback().await?;
    exactly(&relay.drain().await?, &[], "after the rollback")?;
    let posted = application.post(&[event("1", "3")]).await?;
    exactly(&relay.drain().await?, &posted, "after the next transaction")?;
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &posted, "as a new owner")
}

async fn savepoint_takes_its_own(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    application.begin().await?;
    let mut posted = application.enqueue(&[event("1", "before the savepoint")]).await?;
    application.step(Step::Savepoint).await?;
    application.enqueue(&[event("1", "in the savepoint"), event("2", "in the savepoint")]).await?;
    application.step(Step::RollbackToSavepoint).await?;
    posted.extend(application.enqueue(&[event("1", "after the savepoint")]).await?);
    application.commit().await?;
    let mut relay = bench.started_relay("a").await?;
    exactly(&relay.drain().await?, &posted, "after the commit")
}

async fn uncommitted_is_invisible(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    let mut relay = bench.started_relay("a").await?;
    application.begin().await?;
    let posted = application.enqueue(&events("1", 1..=3)).await?;
    exactly(&relay.glance().await?, &[], "before the commit")?;
    application.commit().await?;
    exactly(&relay.drain().await?, &posted, "after the commit")
}

async fn lost_connection_rolls_back(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let mut lost = bench.application().await?;
    lost.begin().await?;
    lost.enqueue(&events("1", 1..=3)).await?;
    drop(lost);
    let posted = bench.application().await?.post(&[event("1", "4")]).await?;
    exactly(&relay.drain().await?, &posted, "after the connection was lost")?;
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    exactly(&successor.drain().await?, &posted, "as a new owner")
}
