//! Promise 7: a topic that is not there is no outage and no failure of its events: they wait until it is.

use eventferry_core::publisher::{Role, Route};
use eventferry_core::{Envelope, PublishFaultKind};

use super::{Kept, clause};
use crate::broken::{Broken, ensure};
use crate::publisher::bench::{Bench, holds, row};
use crate::publisher::clause::Clause;

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        7,
        "missing-topic-is-refused-as-such",
        "A topic that does not exist is refused as a topic, and once it exists it is learned.",
        [],
        missing_topic_is_refused_as_such
    ),
    clause!(
        7,
        "unlearned-topic-is-unknown",
        "A message for a topic that was not learned is routed nowhere, and said to be unknown.",
        [],
        unlearned_topic_is_unknown
    ),
];

async fn missing_topic_is_refused_as_such(bench: &Bench) -> Kept {
    let topic = bench.fresh_name();
    for time in ["once", "twice"] {
        match bench.publisher().learn(&topic).await {
            Ok(()) => return Err(Broken::new("a topic that does not exist was learned")),
            Err(fault) => ensure!(
                *fault.kind() == PublishFaultKind::TopicRefused,
                "a topic that does not exist, asked for {time}, was answered {:?}: {fault}",
                fault.kind()
            ),
        }
    }
    bench.create(&topic, 1).await?;
    bench.learn(bench.publisher(), &topic).await?;
    let rows = [row(&topic, "1", "1")];
    let mut line = bench.line(Role::Main).await?;
    line.send_all(&rows).await?;
    line.answered().await?;
    holds(bench, &topic, &rows, "after the topic was made").await
}

async fn unlearned_topic_is_unknown(bench: &Bench) -> Kept {
    let topic = bench.fresh_name();
    bench.create(&topic, 1).await?;
    let one = row(&topic, "1", "1");
    let routed = bench.publisher().route(&Envelope::of(&one));
    ensure!(matches!(routed, Route::Unknown), "a topic that was not learned was routed {routed:?}");
    bench.learn(bench.publisher(), &topic).await?;
    let routed = bench.publisher().route(&Envelope::of(&one));
    ensure!(matches!(routed, Route::To(_)), "a topic that was learned was routed {routed:?}");
    Ok(())
}
