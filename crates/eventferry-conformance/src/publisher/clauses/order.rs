//! Promise 3: within a domain and a session the broker keeps the order of sending, and a key has one domain.

use std::collections::BTreeMap;

use eventferry_core::Envelope;
use eventferry_core::publisher::Role;

use super::{Kept, clause};
use crate::broken::ensure;
use crate::publisher::bench::{Bench, holds, row};
use crate::publisher::clause::Clause;

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        3,
        "domain-keeps-the-order",
        "Messages of one session arrive in the order of sending within each domain, however many are in flight.",
        [],
        domain_keeps_the_order
    ),
    clause!(
        3,
        "route-is-stable",
        "Messages of one key and topic have one domain, whatever else they carry and however often it is learned.",
        [],
        route_is_stable
    ),
    clause!(
        3,
        "key-has-one-partition",
        "Messages of one key arrive in one partition, of whichever session or publisher.",
        [Partitions],
        key_has_one_partition
    ),
];

async fn domain_keeps_the_order(bench: &Bench) -> Kept {
    let topic = bench.topic(2).await?;
    let rows: Vec<_> = (0..1000).map(|nth| row(&topic, &format!("{}", nth % 3), &nth.to_string())).collect();
    let mut line = bench.line(Role::Main).await?;
    line.send_all(&rows).await?;
    line.answered().await?;
    line.answers.all_acknowledged()?;
    holds(bench, &topic, &rows, "with many in flight").await
}

async fn route_is_stable(bench: &Bench) -> Kept {
    let topic = bench.topic(4).await?;
    let line = bench.line(Role::Main).await?;
    let mut domains = BTreeMap::new();
    for round in 0..5 {
        for nth in 0..21 {
            let order = nth.to_string();
            let one = row(&topic, &order, &"x".repeat(1 + 100 * round));
            let domain = line.domain(&Envelope::of(&one))?;
            let before = *domains.entry(order).or_insert(domain);
            ensure!(before == domain, "one key was routed to {before:?}, and then to {domain:?}");
        }
        bench.learn(bench.publisher(), &topic).await?;
    }
    Ok(())
}

async fn key_has_one_partition(bench: &Bench) -> Kept {
    let topic = bench.topic(4).await?;
    for publisher in [bench.another().await?, bench.another().await?] {
        bench.learn(&*publisher, &topic).await?;
        for role in [Role::Main, Role::Alone] {
            let mut line = bench.line_of(&*publisher, role).await?;
            for nth in 0..8 {
                line.send(&row(&topic, &nth.to_string(), "1")).await?;
            }
            line.answered().await?;
        }
    }
    let mut partitions = BTreeMap::new();
    for message in bench.read(&topic).await? {
        let before = *partitions.entry(message.key.clone()).or_insert(message.partition);
        ensure!(
            before == message.partition,
            "one key is in partitions {before} and {}: {:?}",
            message.partition,
            message.key
        );
    }
    ensure!(partitions.len() == 8, "sent messages of 8 keys, and read {}", partitions.len());
    Ok(())
}
