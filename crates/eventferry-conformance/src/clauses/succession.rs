//! Promise 5, exactly once: who delivers so has all lanes or none, and what a former one can do: nothing.

use eventferry_core::Lane;
use eventferry_core::store::{Claim, Verdict};
use eventferry_core::transaction::{Agreement, Resolved};

use super::intents::{Run, successor};
use super::{Kept, clause};
use crate::application::exactly;
use crate::bench::{Bench, LEASE_LONG};
use crate::broken::ensure;
use crate::clause::Clause;
use crate::erased::Intended;
use crate::intents::stamp;
use crate::relay::Relay;

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        5,
        "all-lanes-or-none",
        "Whoever wants all lanes or none gets none while a relay that lives has one, and else all.",
        [Intents, LaneByLane],
        all_lanes_or_none
    ),
    clause!(
        5,
        "intent-under-a-lost-lease-is-fenced",
        "An intent of a former owner is Fenced and not written down, though it settles nothing at all.",
        [Intents],
        intent_under_a_lost_lease_is_fenced
    ),
    clause!(
        5,
        "intent-needs-all-its-leases",
        "An intent is Fenced and not written down if any of its leases is lost, though it settles nothing there.",
        [Intents, LaneByLane],
        intent_needs_all_its_leases
    ),
    clause!(
        5,
        "resolving-under-a-lost-lease-changes-nothing",
        "A former owner that asks what was shipped is told Fenced: nothing is carried out or forgotten.",
        [Intents],
        resolving_under_a_lost_lease_changes_nothing
    ),
    clause!(
        5,
        "resolving-needs-all-lanes",
        "Who asks what was shipped and holds a part of the lanes is told Fenced: nothing is carried out or forgotten.",
        [Intents, LaneByLane],
        resolving_needs_all_lanes
    ),
    clause!(
        5,
        "fenced-settlement-forgets-no-intent",
        "A settlement that is Fenced, made without transactions, forgets no intent of the lane's owner.",
        [Intents],
        fenced_settlement_forgets_no_intent
    ),
];

async fn all_lanes_or_none(bench: &Bench) -> Kept {
    let all = |take_max| Claim { keep: Vec::new(), take_max, lease: LEASE_LONG, whole: true };
    let mut one = bench.relay("a").await?;
    one.take_some(1).await?;
    let mut whole = bench.relay("b").await?;
    let held = whole.hold(all(bench.lanes())).await?.leases.len();
    ensure!(held == 0, "a relay that wants all lanes or none got {held} while another has one");
    one.leave().await?;
    let held = whole.hold(all(1)).await?.leases.len();
    ensure!(
        held == usize::from(bench.lanes()),
        "a relay that wants all lanes or none got {held} of {}, all of them free",
        bench.lanes()
    );
    let mut other = bench.relay("c").await?;
    let held = other.hold(all(bench.lanes())).await?.leases.len();
    ensure!(held == 0, "another one that wants all lanes got {held}");
    let held = other.take(LEASE_LONG).await?.leases.len();
    ensure!(held == 0, "one that wants any lanes got {held}, all of which another has");
    Ok(())
}

/// Breaks the clause unless an intent up to the first event, and one that settles nothing, are Fenced.
async fn intents_are_fenced(relay: &mut Relay<'_>, intents: &[Intended; 2], when: &str) -> Kept {
    for (intent, what) in intents.iter().zip(["an intent", "an empty intent"]) {
        let verdict = relay.try_intend(intent).await?;
        ensure!(verdict == Verdict::Fenced, "{what} was answered {verdict:?} {when}");
    }
    Ok(())
}

/// Breaks the clause unless no intent was written down: everything is still to come.
async fn nothing_was_intended(owner: &mut Relay<'_>, run: &Run) -> Kept {
    let resolved = owner.resolve(None).await?;
    ensure!(
        resolved == Resolved { agreement: Agreement::Agreed, newest: 0 },
        "after intents that were Fenced, resolving was answered {resolved:?}"
    );
    exactly(&owner.drain().await?, &run.posted, "after intents that were Fenced")
}

async fn intent_under_a_lost_lease_is_fenced(bench: &Bench) -> Kept {
    let mut former = bench.started_relay("a").await?;
    let run = Run::read(bench, &mut former, 2).await?;
    let intents = [former.intended(1, 0, run.carried(&former, 0, 1)), former.intended(2, 0, Vec::new())];
    former.leave().await?;
    intents_are_fenced(&mut former, &intents, "with all lanes given up").await?;
    let mut owner = bench.started_relay("b").await?;
    intents_are_fenced(&mut former, &intents, "with all lanes another's").await?;
    nothing_was_intended(&mut owner, &run).await
}

async fn intent_needs_all_its_leases(bench: &Bench) -> Kept {
    let mut former = bench.started_relay("a").await?;
    let run = Run::read(bench, &mut former, 2).await?;
    let intents = [former.intended(1, 0, run.carried(&former, 0, 1)), former.intended(2, 0, Vec::new())];
    // The lane of the events is kept, and another is lost.
    let keep: Vec<_> = former.leases.iter().copied().filter(|lease| lease.lane != Lane(1)).collect();
    former.hold(Claim { keep, take_max: 0, lease: LEASE_LONG, whole: false }).await?;
    intents_are_fenced(&mut former, &intents, "with a lane given up").await?;
    former.leave().await?;
    nothing_was_intended(&mut bench.started_relay("b").await?, &run).await
}

async fn resolving_under_a_lost_lease_changes_nothing(bench: &Bench) -> Kept {
    let mut former = bench.started_relay("a").await?;
    let run = Run::read(bench, &mut former, 3).await?;
    former.intend(1, 0, run.carried(&former, 0, 1)).await?;
    let leases = former.leases.clone();
    former.leave().await?;
    former.leases.clone_from(&leases);
    let when = "by a former owner";
    former.resolves(Some(stamp(1)), Agreement::Fenced, when).await?;
    former.leases.clear();
    let mut owner = successor(bench, &mut former, "b", Some(stamp(1)), Agreement::Agreed).await?;
    let seen = owner.drain().await?;
    exactly(&seen, &run.posted[1..], "with one of three committed")?;
    let carried = owner.carried_under(&owner.leases, &seen[..1]);
    owner.intend(2, 1, carried).await?;
    former.leases = leases;
    for committed in [Some(stamp(1)), Some(stamp(2)), None] {
        former.resolves(committed, Agreement::Fenced, when).await?;
    }
    let mut last = successor(bench, &mut owner, "c", Some(stamp(2)), Agreement::Agreed).await?;
    exactly(&last.drain().await?, &run.posted[2..], "with two of three committed")
}

async fn resolving_needs_all_lanes(bench: &Bench) -> Kept {
    let mut one = bench.started_relay("a").await?;
    let run = Run::read(bench, &mut one, 2).await?;
    one.intend(1, 0, run.carried(&one, 0, 1)).await?;
    // The lane of the events is kept, and another is given up.
    let keep: Vec<_> = one.leases.iter().copied().filter(|lease| lease.lane != Lane(1)).collect();
    one.hold(Claim { keep, take_max: 0, lease: LEASE_LONG, whole: false }).await?;
    for committed in [Some(stamp(1)), None] {
        one.resolves(committed, Agreement::Fenced, "with a lane given up").await?;
    }
    let mut next = successor(bench, &mut one, "b", Some(stamp(1)), Agreement::Agreed).await?;
    exactly(&next.drain().await?, &run.posted[1..], "with one of two committed")
}

async fn fenced_settlement_forgets_no_intent(bench: &Bench) -> Kept {
    let mut former = bench.started_relay("a").await?;
    let run = Run::read(bench, &mut former, 2).await?;
    let stale = run.carried(&former, 0, 1);
    former.leave().await?;
    let mut owner = bench.started_relay("b").await?;
    let seen = owner.drain().await?;
    exactly(&seen, &run.posted, "as the new owner")?;
    let carried = owner.carried_under(&owner.leases, &seen[..1]);
    owner.intend(1, 0, carried).await?;
    let verdicts = former.verdicts(&stale).await?;
    ensure!(
        verdicts.iter().all(|verdict| *verdict == Verdict::Fenced),
        "a former owner's settlement was answered {verdicts:?}"
    );
    let mut last = successor(bench, &mut owner, "c", Some(stamp(1)), Agreement::Agreed).await?;
    exactly(&last.drain().await?, &run.posted[1..], "after a former owner's settlement")
}
