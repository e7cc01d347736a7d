//! Promise 2, where a store has a doorbell: a relay that has lain down is woken for whatever it has not read.

use std::time::Duration;

use eventferry_core::store::Rest;

use super::{Kept, clause};
use crate::bench::{Bench, PATIENCE, event};
use crate::broken::{Broken, ensure};
use crate::clause::Clause;
use crate::pause::{both, poll_once, within};
use crate::relay::{Appetite, Relay};

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        2,
        "bell-rings-for-a-commit",
        "The bell rings for what is committed while it is waited for.",
        [Doorbell],
        bell_rings_for_a_commit
    ),
    clause!(
        2,
        "bell-rings-for-what-came-before-it",
        "The bell rings for what was committed after the last reading and before it was waited for.",
        [Doorbell],
        bell_rings_for_what_came_before_it
    ),
    clause!(
        2,
        "bell-rings-for-a-late-commit",
        "The bell rings for a commit of what was enqueued before the last reading.",
        [Doorbell],
        bell_rings_for_a_late_commit
    ),
    clause!(
        2,
        "bell-rings-on",
        "After it has rung, the bell rings for what is committed before it is waited for again, until it is left.",
        [Doorbell],
        bell_rings_on
    ),
    clause!(
        2,
        "bell-that-was-left-rings-again",
        "A bell whose waiting was given up rings when it is waited for again.",
        [Doorbell],
        bell_that_was_left_rings_again
    ),
    clause!(
        2,
        "still-means-nobody-enqueues",
        "A reading says that the log stands still only if nothing was committed since the one before, in any lane.",
        [Doorbell],
        still_means_nobody_enqueues
    ),
];

/// Reads until the log stands still.
async fn read_till_still(relay: &mut Relay<'_>, appetite: &Appetite) -> Kept {
    let mut patience = relay.patience();
    while relay.read(appetite).await?.rest != Rest::Still {
        patience.tick("a log in which nobody enqueues to stand still").await?;
    }
    Ok(())
}

/// A relay that holds every lane and has read until the log stood still.
async fn at_rest(bench: &Bench) -> Result<Relay<'_>, Broken> {
    let mut relay = bench.started_relay("sleeper").await?;
    let appetite = relay.appetite();
    read_till_still(&mut relay, &appetite).await?;
    Ok(relay)
}

/// Breaks the clause unless the bell rings.
async fn rings(relay: &mut Relay<'_>, what: &str) -> Kept {
    let rung = within(PATIENCE, relay.roles.wait()).await;
    ensure!(rung.is_some(), "the bell did not ring for {what} within {PATIENCE:?}");
    Ok(())
}

async fn bell_rings_for_a_commit(bench: &Bench) -> Kept {
    let mut relay = at_rest(bench).await?;
    let mut application = bench.application().await?;
    let (rung, posted) =
        both(rings(&mut relay, "a commit"), application.post(&[event("1", "while it waits")])).await;
    posted?;
    rung
}

async fn bell_rings_for_what_came_before_it(bench: &Bench) -> Kept {
    let mut relay = at_rest(bench).await?;
    bench.application().await?.post(&[event("1", "between looking and waiting")]).await?;
    rings(&mut relay, "what was committed after the last reading").await
}

async fn bell_rings_for_a_late_commit(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    // Before the transaction is open: a relay's books may need the database to themselves.
    let mut relay = bench.started_relay("sleeper").await?;
    application.begin().await?;
    application.enqueue(&[event("1", "early")]).await?;
    let appetite = relay.appetite();
    read_till_still(&mut relay, &appetite).await?;
    let (rung, committed) = both(rings(&mut relay, "a late commit"), application.commit()).await;
    committed?;
    rung
}

async fn bell_rings_on(bench: &Bench) -> Kept {
    let mut relay = at_rest(bench).await?;
    let mut application = bench.application().await?;
    let (rung, posted) =
        both(rings(&mut relay, "a commit"), application.post(&[event("1", "while it waits")])).await;
    posted?;
    rung?;
    for round in 0..3 {
        application.post(&[event("1", "between two waitings")]).await?;
        rings(&mut relay, "what was committed between two waitings").await?;
        if round == 1 {
            // Nobody rings now, and what is there is seen when the bell is waited for.
            relay.roles.get_up().await;
        }
    }
    Ok(())
}

async fn bell_that_was_left_rings_again(bench: &Bench) -> Kept {
    let mut relay = at_rest(bench).await?;
    poll_once(relay.roles.wait()).await;
    // Long enough to be connected and listening, then given up.
    let _ = within(Duration::from_millis(300), relay.roles.wait()).await;
    let appetite = relay.appetite();
    read_till_still(&mut relay, &appetite).await?;
    let mut application = bench.application().await?;
    let (rung, posted) =
        both(rings(&mut relay, "a commit"), application.post(&[event("1", "the second time")])).await;
    posted?;
    rung
}

async fn still_means_nobody_enqueues(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("sleeper").await?;
    let mut appetite = relay.appetite();
    appetite.lanes.truncate(1);
    let mut application = bench.application().await?;
    for lane in 0..2 {
        read_till_still(&mut relay, &appetite).await?;
        application.post(&[event(&bench.aggregate_in(lane, 0), "for this lane")]).await?;
        let rest = relay.read(&appetite).await?.rest;
        ensure!(
            rest != Rest::Still,
            "an event was committed in lane {lane}, and the log is said to stand still"
        );
    }
    Ok(())
}
