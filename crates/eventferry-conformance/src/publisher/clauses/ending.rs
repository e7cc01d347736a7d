//! Promises 2, 5 and 6: each message that was taken is answered once, and after its session's end nothing more comes.

use std::time::Duration;

use eventferry_core::Envelope;
use eventferry_core::publisher::{Outcome, Role, Taken};

use super::{Kept, clause};
use crate::broken::ensure;
use crate::publisher::bench::{Bench, holds, row};
use crate::publisher::clause::Clause;

pub(super) static ANSWERS: &[Clause] = &[
    clause!(
        2,
        "each-is-reported-once",
        "Every message that was taken is reported exactly once.",
        [],
        each_is_reported_once
    ),
    clause!(
        2,
        "dropped-wait-loses-no-report",
        "Waiting for reports can be given up at any time, and loses none.",
        [],
        dropped_wait_loses_no_report
    ),
    clause!(
        2,
        "abandon-waits-for-what-is-in-flight",
        "A session that ends waits for what is in flight, within the time it is given.",
        [],
        abandon_waits_for_what_is_in_flight
    ),
    clause!(
        2,
        "abandon-answers-for-the-rest",
        "A session that ends at once answers for each message not yet reported, and what it acknowledged is there.",
        [],
        abandon_answers_for_the_rest
    ),
];

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        5,
        "nothing-comes-after-abandon",
        "After a session has ended, nothing more of it reaches the broker.",
        [],
        nothing_comes_after_abandon
    ),
    clause!(
        6,
        "sessions-end-apart",
        "The end of one session harms nothing that is in flight in another.",
        [],
        sessions_end_apart
    ),
    clause!(
        6,
        "refusal-harms-no-other",
        "In a session for single events, the refusal of one harms none that is sent beside it.",
        [Limits],
        refusal_harms_no_other
    ),
];

async fn each_is_reported_once(bench: &Bench) -> Kept {
    let topic = bench.topic(4).await?;
    for role in [Role::Main, Role::Alone] {
        let mut line = bench.line(role).await?;
        for nth in 0..50 {
            line.send(&row(&topic, &format!("{}", nth % 7), &nth.to_string())).await?;
        }
        line.answered().await?;
        let answers = line.abandon(Duration::ZERO).await?;
        answers.all_acknowledged()?;
    }
    Ok(())
}

async fn dropped_wait_loses_no_report(bench: &Bench) -> Kept {
    let topic = bench.topic(1).await?;
    let mut line = bench.line(Role::Main).await?;
    let rows: Vec<_> = (0..30).map(|nth| row(&topic, "1", &nth.to_string())).collect();
    for row in &rows {
        line.send(row).await?;
        line.glance().await;
    }
    line.answered().await?;
    line.abandon(Duration::ZERO).await?.all_acknowledged()?;
    holds(bench, &topic, &rows, "though nobody waited").await
}

async fn abandon_waits_for_what_is_in_flight(bench: &Bench) -> Kept {
    let topic = bench.topic(4).await?;
    let rows: Vec<_> = (0..40).map(|nth| row(&topic, &format!("{}", nth % 5), &nth.to_string())).collect();
    let mut line = bench.line(Role::Main).await?;
    line.send_all(&rows).await?;
    line.abandon(bench.patience()).await?.all_acknowledged()?;
    holds(bench, &topic, &rows, "after the session ended in its time").await
}

async fn abandon_answers_for_the_rest(bench: &Bench) -> Kept {
    let topic = bench.topic(1).await?;
    let mut line = bench.line(Role::Main).await?;
    let rows: Vec<_> = (0..40).map(|nth| row(&topic, "1", &nth.to_string())).collect();
    line.send(&rows[0]).await?;
    line.answered().await?;
    line.send_all(&rows[1..]).await?;
    let answers = line.abandon(Duration::ZERO).await?;
    answers.once()?;
    let acknowledged =
        answers.reports.iter().filter(|report| matches!(report.outcome, Outcome::Acknowledged)).count();
    let texts = bench.texts(&topic).await?;
    let expected: Vec<_> = (0..texts.len()).map(|nth| nth.to_string()).collect();
    ensure!(
        texts == expected,
        "in one domain what arrives is a beginning of what was sent, and it is {texts:?}"
    );
    ensure!(
        texts.len() >= acknowledged,
        "{acknowledged} messages were acknowledged, and {} are in the topic",
        texts.len()
    );
    Ok(())
}

async fn nothing_comes_after_abandon(bench: &Bench) -> Kept {
    let topic = bench.topic(1).await?;
    let mut line = bench.line(Role::Main).await?;
    for nth in 0..40 {
        line.send(&row(&topic, "1", &nth.to_string())).await?;
    }
    line.abandon(Duration::ZERO).await?.once()?;
    let mut next = bench.line(Role::Main).await?;
    next.send(&row(&topic, "1", "later 0")).await?;
    next.answered().await?;
    // What the broker had received may have been written meanwhile; from here on nothing is.
    let before = bench.texts(&topic).await?;
    let last = before.last().map_or("", String::as_str);
    ensure!(last == "later 0", "the next session sent `later 0`, and after it the topic has `{last}`");
    next.send(&row(&topic, "1", "later 1")).await?;
    next.answered().await?;
    let after = bench.texts(&topic).await?;
    let expected = [&before[..], &["later 1".into()]].concat();
    ensure!(
        after == expected,
        "the next session sent `later 1`, and the topic has {after:?}, not {expected:?}"
    );
    Ok(())
}

async fn sessions_end_apart(bench: &Bench) -> Kept {
    let topic = bench.topic(4).await?;
    let mut one = bench.line(Role::Main).await?;
    let mut other = bench.line(Role::Alone).await?;
    let rows: Vec<_> = (0..20).map(|nth| row(&topic, &format!("{}", nth % 5), &nth.to_string())).collect();
    one.send_all(&rows).await?;
    let passing = row(&topic, "other", "passing");
    other.send(&passing).await?;
    other.answered().await?;
    other.abandon(Duration::ZERO).await?.all_acknowledged()?;
    one.answered().await?;
    one.send(&row(&topic, "0", "last")).await?;
    one.answered().await?;
    one.answers.all_acknowledged()?;
    let sent = [&rows[..], &[passing, row(&topic, "0", "last")]].concat();
    holds(bench, &topic, &sent, "after another session had ended").await
}

async fn refusal_harms_no_other(bench: &Bench) -> Kept {
    let topic = bench.topic(1).await?;
    bench.limit(&topic, 4_000).await?;
    let mut line = bench.line(Role::Alone).await?;
    let texts = ["1".into(), "x".repeat(8_000), "3".into(), "4".into(), "5".into()];
    let rows = texts.map(|text: String| row(&topic, "1", &text));
    line.send(&rows[0]).await?;
    line.answered().await?;
    let domain = line.domain(&Envelope::of(&rows[0]))?;
    for row in &rows[1..] {
        let taken = line.offer_to(domain, &Envelope::of(row));
        ensure!(taken == Taken::Yes, "a session for single events took a message not, but said {taken:?}");
    }
    line.answered().await?;
    let answers = line.abandon(bench.patience()).await?;
    answers.once()?;
    for (nth, token) in answers.taken.iter().enumerate() {
        let outcome = answers.of(*token)?;
        let is_right = match nth {
            1 => matches!(outcome, Outcome::Refused(_)),
            _ => matches!(outcome, Outcome::Acknowledged),
        };
        ensure!(is_right, "of five messages the second is too large, and number {} was {outcome:?}", nth + 1);
    }
    let innocent = [&rows[..1], &rows[2..]].concat();
    holds(bench, &topic, &innocent, "beside a refused message").await
}
