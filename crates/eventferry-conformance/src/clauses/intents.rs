//! Promise 4, exactly once: what a transaction of the broker's settles is written down, carried out when that was
//! committed, and else forgotten.

use std::time::Duration;

use eventferry_core::parked::{Change, End, Next, ParkReason, ParkedKey, Stage};
use eventferry_core::store::Prepare;
use eventferry_core::transaction::{Agreement, Resolved};
use eventferry_core::{OutboxId, Stamp};

use super::dead_letters::{listed, told_of};
use super::due::{keys, park_each, these};
use super::{Kept, clause};
use crate::application::{Posted, exactly};
use crate::bench::{Bench, events};
use crate::broken::{Broken, ensure};
use crate::clause::Clause;
use crate::desk::{cause, refused};
use crate::erased::{Carried, Seen};
use crate::intents::{carrying, stamp};
use crate::relay::Relay;

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        4,
        "intent-settles-nothing",
        "An intent moves no position, parks nothing and ends no parked event by itself.",
        [Intents],
        intent_settles_nothing
    ),
    clause!(
        4,
        "committed-intents-are-carried-out",
        "What was committed is carried out by whoever asks next: positions, parks and ends of parked events, in order.",
        [Intents],
        committed_intents_are_carried_out
    ),
    clause!(
        4,
        "uncommitted-intents-are-forgotten",
        "What was intended and not committed is not carried out: neither before what was committed last nor after.",
        [Intents],
        uncommitted_intents_are_forgotten
    ),
    clause!(
        4,
        "resolving-again-changes-nothing",
        "Asked again what was shipped, a ledger agrees again and changes nothing.",
        [Intents],
        resolving_again_changes_nothing
    ),
    clause!(
        4,
        "settled-intent-is-not-carried-out",
        "What a lane has settled with a transaction or since is not carried out again.",
        [Intents],
        settled_intent_is_not_carried_out
    ),
    clause!(
        4,
        "sweep-spares-intents",
        "A sweep and later intents take none that may have to be carried out, though what all have settled may go.",
        [Intents],
        sweep_spares_intents
    ),
    clause!(
        4,
        "unknown-stamp-has-parted",
        "A stamp that the database does not know has parted from it: nothing is carried out, then or later.",
        [Intents],
        unknown_stamp_has_parted
    ),
    clause!(
        4,
        "no-stamp-has-parted-from-intents",
        "No stamp agrees with no intents, and has parted from any: nothing is carried out.",
        [Intents],
        no_stamp_has_parted_from_intents
    ),
    clause!(
        4,
        "settling-without-transactions-forgets-intents",
        "A settlement made without transactions forgets all intents: lanes have moved on from where they speak of.",
        [Intents],
        settling_without_transactions_forgets_intents
    ),
    clause!(
        4,
        "late-intent-changes-nothing",
        "An intent that comes again, or after one with a greater number, is done and changes nothing.",
        [Intents],
        late_intent_changes_nothing
    ),
    clause!(
        4,
        "numbers-are-given-once",
        "Resolving tells a number as great as any transaction's, also when its intent is forgotten and a lane has it.",
        [Intents],
        numbers_are_given_once
    ),
    clause!(
        4,
        "outbox-keeps-its-name",
        "An outbox has the same name at every start, of 1 to 200 characters, and no other has it.",
        [Intents],
        outbox_keeps_its_name
    ),
];

/// Events of one order, in the first lane, as its relay read them.
pub(super) struct Run {
    pub(super) posted: Vec<Posted>,
    pub(super) seen: Vec<Seen>,
}

impl Run {
    /// Posts and reads so many.
    pub(super) async fn read(bench: &Bench, relay: &mut Relay<'_>, count: usize) -> Result<Self, Broken> {
        let order = bench.aggregate_in(0, 1);
        let posted = bench.application().await?.post(&events(&order, 1..=count)).await?;
        let seen = relay.drain().await?;
        exactly(&seen, &posted, "at first")?;
        Ok(Self { posted, seen })
    }

    /// The settlement of the first so many that were not settled before: from `from` to before `to`.
    pub(super) fn carried(&self, relay: &Relay<'_>, from: usize, to: usize) -> Vec<Carried> {
        relay.carried_under(&relay.leases, &self.seen[from..to])
    }

    /// The same, with one of them parked.
    fn carried_parking(
        &self,
        relay: &Relay<'_>,
        (from, to): (usize, usize),
        parked: usize,
        reason: ParkReason<'static>,
    ) -> Result<Vec<Carried>, Broken> {
        let marks: Vec<_> = self.seen[from..to].iter().map(|record| (record.lane, record.mark)).collect();
        let lease = relay.lease_of(self.seen[0].lane)?;
        Ok(vec![relay.carried(lease, &marks, &[(&self.seen[parked], reason)])])
    }
}

/// A parked event of another order, in the second lane, that waits for a person.
async fn waiting(bench: &Bench, relay: &mut Relay<'_>) -> Result<(Vec<Posted>, ParkedKey), Broken> {
    let order = bench.aggregate_in(1, 1);
    let parked = park_each(bench, relay, &events(&order, 1..=1), &[refused("no")]).await?;
    let key = keys(relay, &parked).await?[0];
    Ok((parked, key))
}

/// Another relay that holds all lanes and has asked what was shipped; it has opened them.
pub(super) async fn successor<'b>(
    bench: &'b Bench,
    relay: &mut Relay<'_>,
    name: &str,
    committed: Option<Stamp>,
    expected: Agreement,
) -> Result<Relay<'b>, Broken> {
    relay.leave().await?;
    let mut next = bench.relay(name).await?;
    next.take_all().await?;
    next.resolves(committed, expected, "after the lanes changed hands").await?;
    next.open_all().await?;
    Ok(next)
}

async fn intent_settles_nothing(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let (parked, key) = waiting(bench, &mut relay).await?;
    let run = Run::read(bench, &mut relay, 3).await?;
    let mut carried = run.carried_parking(&relay, (0, 2), 1, refused("too large"))?;
    carried.extend(relay.carried_changes(&relay.leases, &[(key, Change::Settled(End::Shipped))]));
    relay.intend(1, 0, carried).await?;
    ensure!(
        listed(&mut relay, &parked).await? == told_of(&parked),
        "an intent that was written down parked an event, or ended one"
    );
    relay.open_all().await?;
    exactly(&relay.drain().await?, &run.posted, "after an intent was written down")
}

async fn committed_intents_are_carried_out(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let (_, key) = waiting(bench, &mut relay).await?;
    let run = Run::read(bench, &mut relay, 4).await?;
    relay.intend(1, 0, run.carried_parking(&relay, (0, 2), 1, refused("too large"))?).await?;
    let mut second = run.carried(&relay, 2, 3);
    second.extend(relay.carried_changes(&relay.leases, &[(key, Change::Settled(End::Shipped))]));
    relay.intend(2, 1, second).await?;
    let mut owner = successor(bench, &mut relay, "b", Some(stamp(2)), Agreement::Agreed).await?;
    let left = listed(&mut owner, &run.posted).await?;
    ensure!(
        left == told_of(&run.posted[1..2]),
        "one event was to be parked and one parked before to end, and {left:?} is parked"
    );
    let shown = owner.shown_one(run.posted[1].message_id).await?;
    ensure!(
        shown.stage == Stage::Waiting && shown.message.as_deref() == Some("too large"),
        "an event was parked by an intent, and is shown as {shown:?}"
    );
    exactly(&owner.drain().await?, &run.posted[3..], "after what was committed was carried out")
}

async fn uncommitted_intents_are_forgotten(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let run = Run::read(bench, &mut relay, 4).await?;
    relay.intend(1, 0, run.carried(&relay, 0, 1)).await?;
    // The broker threw it away, for a record of it was refused: those go again, without that one.
    relay.intend(2, 1, run.carried_parking(&relay, (1, 3), 1, refused("too large"))?).await?;
    relay.intend(3, 1, run.carried(&relay, 1, 2)).await?;
    relay.intend(4, 3, run.carried(&relay, 2, 3)).await?;
    let mut owner = successor(bench, &mut relay, "b", Some(stamp(3)), Agreement::Agreed).await?;
    let parked = owner.parked().await?;
    ensure!(parked.is_empty(), "an intent that was not committed parked {parked:?}");
    exactly(&owner.drain().await?, &run.posted[2..], "with two of four committed")?;
    let mut last = successor(bench, &mut owner, "c", Some(stamp(3)), Agreement::Agreed).await?;
    exactly(&last.drain().await?, &run.posted[2..], "with two of four committed, asked again")
}

async fn resolving_again_changes_nothing(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let run = Run::read(bench, &mut relay, 3).await?;
    let now = ParkReason::Refused { cause: cause("no"), next: Next::Retry(Duration::ZERO) };
    relay.intend(1, 0, run.carried_parking(&relay, (0, 2), 1, now)?).await?;
    let mut owner = successor(bench, &mut relay, "b", Some(stamp(1)), Agreement::Agreed).await?;
    let key = keys(&mut owner, &run.posted[1..2]).await?[0];
    let again = Change::Refused { cause: cause("still"), attempts: 2, next: Next::Wait };
    let told = owner.carried_changes(&owner.leases, &[(key, again)]);
    owner.settle_carried(&carrying(1, told)).await?;
    for _ in 0..2 {
        owner.resolves(Some(stamp(1)), Agreement::Agreed, "asked again").await?;
        let left = listed(&mut owner, &run.posted).await?;
        ensure!(left == told_of(&run.posted[1..2]), "after asking again {left:?} is parked");
        let shown = owner.shown_one(run.posted[1].message_id).await?;
        ensure!(
            shown.stage == Stage::Waiting && shown.attempts == 2,
            "asking again what was shipped changed a parked event: {shown:?}"
        );
    }
    owner.open_all().await?;
    exactly(&owner.drain().await?, &run.posted[2..], "after asking again")
}

async fn settled_intent_is_not_carried_out(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let (waits, key) = waiting(bench, &mut relay).await?;
    let run = Run::read(bench, &mut relay, 3).await?;
    let mut carried = run.carried_parking(&relay, (0, 2), 1, refused("too large"))?;
    carried.extend(relay.carried_changes(&relay.leases, &[(key, Change::Retried)]));
    relay.intend(1, 0, carried.clone()).await?;
    relay.settle_carried(&carrying(1, carried)).await?;
    // Told again, the retry would be another.
    let since = Change::Refused { cause: cause("no"), attempts: 1, next: Next::Wait };
    let told = relay.carried_changes(&relay.leases, &[(key, since)]);
    relay.settle_carried(&carrying(1, told)).await?;
    let mut owner = successor(bench, &mut relay, "b", Some(stamp(1)), Agreement::Agreed).await?;
    these(&owner.due().await?, &[], "after an intent that was settled")?;
    let shown = owner.shown_one(waits[0].message_id).await?;
    ensure!(
        shown.stage == Stage::Waiting && shown.attempts == 1,
        "an intent that was settled was carried out again: {shown:?}"
    );
    let parked = owner.parked().await?.len();
    ensure!(parked == 2, "an intent that was settled was carried out again: {parked} events are parked");
    exactly(&owner.drain().await?, &run.posted[2..], "after an intent that was settled")
}

async fn sweep_spares_intents(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let run = Run::read(bench, &mut relay, 5).await?;
    for number in 1..=4 {
        let carried = run.carried(&relay, number - 1, number);
        let mut intended = relay.intended(number as u64, number as u64 - 1, carried.clone());
        // The second is settled when the third is written down.
        intended.settled = if number < 3 { 0 } else { 2 };
        relay.try_intend(&intended).await?;
        if number < 3 {
            relay.settle_carried(&carrying(number as u64, carried)).await?;
        }
        relay.sweep(Duration::ZERO).await?;
    }
    let mut owner = successor(bench, &mut relay, "b", Some(stamp(4)), Agreement::Agreed).await?;
    exactly(&owner.drain().await?, &run.posted[4..], "with four of five committed, and two of them settled")
}

async fn unknown_stamp_has_parted(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let run = Run::read(bench, &mut relay, 3).await?;
    relay.intend(1, 0, run.carried(&relay, 0, 1)).await?;
    let others = Stamp { nonce: 7, ..stamp(1) };
    let mut owner = successor(bench, &mut relay, "b", Some(others), Agreement::Parted).await?;
    exactly(&owner.drain().await?, &run.posted, "with another's transaction of the same number committed")?;
    let mut owner = successor(bench, &mut owner, "c", Some(stamp(1)), Agreement::Parted).await?;
    let seen = owner.drain().await?;
    exactly(&seen, &run.posted, "with a transaction committed whose intent was forgotten")?;
    // A chain that begins anew is known.
    let carried = owner.carried_under(&owner.leases, &seen[..2]);
    owner.intend(2, 1, carried).await?;
    let mut last = successor(bench, &mut owner, "d", Some(stamp(2)), Agreement::Agreed).await?;
    exactly(&last.drain().await?, &run.posted[2..], "with a transaction committed after that")
}

async fn no_stamp_has_parted_from_intents(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let resolved = relay.resolve(None).await?;
    ensure!(
        resolved == Resolved { agreement: Agreement::Agreed, newest: 0 },
        "with no intent ever, and nothing committed, resolving was answered {resolved:?}"
    );
    let run = Run::read(bench, &mut relay, 2).await?;
    relay.intend(1, 0, run.carried(&relay, 0, 1)).await?;
    let mut owner = successor(bench, &mut relay, "b", None, Agreement::Parted).await?;
    exactly(&owner.drain().await?, &run.posted, "with an intent, and nothing committed")?;
    owner.resolves(None, Agreement::Agreed, "with all intents forgotten").await
}

async fn settling_without_transactions_forgets_intents(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let run = Run::read(bench, &mut relay, 3).await?;
    relay.intend(1, 0, run.carried_parking(&relay, (0, 2), 1, refused("too large"))?).await?;
    relay.settle(&run.seen[..1]).await?;
    let mut owner = successor(bench, &mut relay, "b", Some(stamp(1)), Agreement::Parted).await?;
    let parked = owner.parked().await?;
    ensure!(parked.is_empty(), "an intent outlived a settlement without transactions and parked {parked:?}");
    exactly(&owner.drain().await?, &run.posted[1..], "after a settlement without transactions")
}

async fn late_intent_changes_nothing(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let run = Run::read(bench, &mut relay, 3).await?;
    relay.intend(2, 0, run.carried(&relay, 0, 1)).await?;
    relay.intend(2, 0, run.carried(&relay, 0, 1)).await?;
    relay.intend(1, 0, run.carried_parking(&relay, (0, 2), 0, refused("too large"))?).await?;
    let mut owner = successor(bench, &mut relay, "b", Some(stamp(1)), Agreement::Parted).await?;
    let parked = owner.parked().await?;
    ensure!(parked.is_empty(), "an intent that came late parked {parked:?}");
    exactly(&owner.drain().await?, &run.posted, "after an intent that came late")
}

async fn numbers_are_given_once(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let run = Run::read(bench, &mut relay, 2).await?;
    relay.intend(1, 0, run.carried(&relay, 0, 1)).await?;
    relay.intend(2, 1, run.carried(&relay, 1, 2)).await?;
    for (committed, when) in [
        (Some(stamp(2)), "with two intents"),
        (None, "with the broker's history gone"),
        (None, "with all intents forgotten"),
    ] {
        let Resolved { newest, .. } = relay.resolve(committed).await?;
        ensure!(
            newest >= 2,
            "{when}: a lane carries transaction 2, and the greatest number is told as {newest}"
        );
    }
    Ok(())
}

async fn outbox_keeps_its_name(bench: &Bench) -> Kept {
    let mut names = Vec::new();
    for how in [Prepare::Check, Prepare::Apply, Prepare::Check] {
        names.push(bench.site().prepared(how).await?.1.outbox);
    }
    ensure!(names.windows(2).all(|pair| pair[0] == pair[1]), "one outbox is called {names:?}");
    let OutboxId(name) = &names[0];
    ensure!(
        (1..=200).contains(&name.chars().count()),
        "an outbox is called `{name}`, and a name has 1 to 200 characters"
    );
    let other = bench.site().another().await?.prepared(Prepare::Apply).await?.1.outbox;
    ensure!(other != names[0], "two outboxes are called `{name}`");
    Ok(())
}
