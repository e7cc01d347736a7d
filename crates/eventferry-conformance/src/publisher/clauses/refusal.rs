//! Promises 3 and 4: what is refused is not there, and in a pipeline nothing comes after it.

use eventferry_core::publisher::{Outcome, Role, Route, Taken};
use eventferry_core::{Envelope, PublishFaultKind};

use super::{Kept, clause};
use crate::broken::{Broken, ensure};
use crate::publisher::bench::{Bench, Line, row};
use crate::publisher::clause::Clause;

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        3,
        "nothing-is-written-after-a-refusal",
        "In a pipeline, what was sent after a refused message is not written, and each of it is answered.",
        [Gapless, Limits],
        nothing_is_written_after_a_refusal
    ),
    clause!(
        3,
        "ended-session-takes-nothing",
        "After a refusal a pipelining session takes nothing more, and the next session goes on.",
        [Gapless, Limits],
        ended_session_takes_nothing
    ),
    clause!(
        4,
        "refused-is-not-there",
        "A message that the broker will not have is reported as refused for its own sake, and is not in the topic.",
        [Limits],
        refused_is_not_there
    ),
];

/// The limit that topics get, and a text that is over it.
const LIMIT: usize = 4_000;

fn too_large() -> String {
    "x".repeat(2 * LIMIT)
}

/// A line in whose domain one message is acknowledged, and a topic that got a limit afterwards.
async fn line_to_a_limit(bench: &Bench) -> Result<(String, Line<'_>), Broken> {
    let topic = bench.topic(1).await?;
    let mut line = bench.line(Role::Main).await?;
    line.send(&row(&topic, "1", "0")).await?;
    line.answered().await?;
    bench.limit(&topic, LIMIT).await?;
    Ok((topic, line))
}

async fn nothing_is_written_after_a_refusal(bench: &Bench) -> Kept {
    let (topic, mut line) = line_to_a_limit(bench).await?;
    let domain = line.domain(&Envelope::of(&row(&topic, "1", "1")))?;
    // Whether those after the refused one are taken is a matter of how soon it is.
    for text in ["1", &too_large(), "3", "4", "5"] {
        line.offer_to(domain, &Envelope::of(&row(&topic, "1", text)));
    }
    line.abandon(bench.patience()).await?.once()?;
    let texts = bench.texts(&topic).await?;
    ensure!(
        texts == ["0"] || texts == ["0", "1"],
        "the message after `1` was refused, and the topic has {:?}",
        texts.iter().map(|text| &text[..text.len().min(20)]).collect::<Vec<_>>()
    );
    Ok(())
}

async fn ended_session_takes_nothing(bench: &Bench) -> Kept {
    let (topic, mut line) = line_to_a_limit(bench).await?;
    let domain = line.domain(&Envelope::of(&row(&topic, "1", "late")))?;
    line.offer_to(domain, &Envelope::of(&row(&topic, "1", &too_large())));
    line.answered().await?;
    let taken = line.offer_to(domain, &Envelope::of(&row(&topic, "1", "late")));
    ensure!(taken == Taken::Ended, "after a refusal the session said {taken:?} to the next message");
    line.abandon(bench.patience()).await?.once()?;
    bench.learn(bench.publisher(), &topic).await?;
    let mut next = bench.line(Role::Main).await?;
    next.send(&row(&topic, "1", "next")).await?;
    next.answered().await?;
    next.answers.all_acknowledged()?;
    let texts = bench.texts(&topic).await?;
    ensure!(
        texts == ["0", "next"],
        "one session ended after `0`, another sent `next`, and the topic has {texts:?}"
    );
    Ok(())
}

async fn refused_is_not_there(bench: &Bench) -> Kept {
    let topic = bench.topic(1).await?;
    bench.limit(&topic, LIMIT).await?;
    let mut line = bench.line(Role::Alone).await?;
    let large = row(&topic, "1", &too_large());
    line.offer(&Envelope::of(&large))?;
    line.answered().await?;
    let token = line.answers.taken[0];
    match line.answers.of(token)? {
        Outcome::Refused(fault) => ensure!(
            *fault.kind() == PublishFaultKind::Rejected && fault.class().is_some(),
            "a message over the limit was refused as {:?}, of class {:?}: {fault}",
            fault.kind(),
            fault.class()
        ),
        other => return Err(Broken::new(format!("a message over the limit was {other:?}"))),
    }
    let texts = bench.texts(&topic).await?;
    ensure!(texts.is_empty(), "a message was refused, and the topic has {} messages", texts.len());
    // Now that it may know the limit, it may say so before sending.
    bench.learn(bench.publisher(), &topic).await?;
    if let Route::Refused(fault) = bench.publisher().route(&Envelope::of(&large)) {
        let kind = *fault.kind();
        ensure!(
            kind == PublishFaultKind::Rejected,
            "a message over a learned limit was routed {kind:?}: {fault}"
        );
    }
    let mut line = bench.line(Role::Alone).await?;
    line.send(&row(&topic, "1", "fits")).await?;
    line.answered().await?;
    line.answers.all_acknowledged()
}
