//! What is parked in the end, or was given up: whether each of them had a reason.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::findings::{Breach, Findings};
use super::history::{History, Written};
use crate::failure::{Attempt as _, Failure};

/// What did not arrive where it belonged, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// Waits, in the database.
    pub(super) parked: BTreeSet<u64>,
    /// Arrived at the dead-letter topic.
    pub(super) dead: BTreeSet<u64>,
}

impl Held {
    pub(super) fn has(&self, number: u64) -> bool {
        self.parked.contains(&number) || self.dead.contains(&number)
    }
}

/// Message ids of parked events that are not settled. Versions that settle none have no such column.
const PARKED: &str =
    "SELECT p.message_id::text FROM eventferry.parked AS p WHERE to_jsonb(p) ->> 'settled_at' IS NULL";

/// The numbers of what is parked now.
pub(super) async fn read(client: &Client, history: &History) -> Result<BTreeSet<u64>, Failure> {
    let rows = client.query(PARKED, &[]).await.attempt("ask what is parked")?;
    let ids: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    let is_parked = |event: &&Written| event.message_id.is_some_and(|id| ids.contains(&id.to_string()));
    Ok(history.written().iter().filter(is_parked).map(|event| event.number).collect())
}

/// Finds what is parked or given up without a reason: a reason is an event over the topic's limit, itself or, for what
/// is parked, an earlier one of its aggregate.
pub(super) fn check(
    held: &Held,
    written: &[Written],
    is_refused: impl Fn(u64) -> bool,
    findings: &mut Findings,
) {
    let refused = written.iter().filter(|event| is_refused(event.number));
    let aggregates: BTreeSet<u32> = refused.map(|event| event.aggregate).collect();
    for event in written {
        let number = event.number;
        if held.dead.contains(&number) && !is_refused(number) {
            findings
                .add(Breach::Parked, || format!("event {number} was given up, and nothing is wrong with it"));
        }
        if held.parked.contains(&number) && !aggregates.contains(&event.aggregate) {
            findings.add(Breach::Parked, || {
                format!("event {number} is parked, and its aggregate has none refused")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::Fate;
    use super::*;

    #[test]
    fn only_what_is_refused_is_given_up_and_only_its_aggregate_waits() {
        let written = |number, aggregate| Written {
            number,
            aggregate,
            transaction: 0,
            began: 0,
            fate: Fate::RolledBack,
            message_id: None,
            asynchronous: false,
        };
        let history = [written(0, 7), written(1, 7), written(2, 8)];
        let found = |parked: &[u64], dead: &[u64]| {
            let (mut findings, held) = (
                Findings::default(),
                Held { parked: parked.iter().copied().collect(), dead: dead.iter().copied().collect() },
            );
            check(&held, &history, |number| number == 0, &mut findings);
            findings.count(Breach::Parked)
        };
        assert_eq!(found(&[0, 1], &[]), 0);
        assert_eq!(found(&[1], &[0]), 0);
        assert_eq!(found(&[2], &[]), 1, "of an aggregate with nothing wrong");
        assert_eq!(found(&[], &[1]), 1, "behind a refused one, but not refused");
    }
}
