//! What a storm found, for people and for machines.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::findings::{BREACHES, Findings};
use super::judge::Figures;

/// All of it.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) seconds: f64,
    pub(super) machine: Value,
    pub(super) figures: Figures,
    /// Committed, rolled back, and those nobody heard of.
    pub(super) transactions: [u64; 3],
    /// How many of each kind.
    pub(super) scripts: BTreeMap<&'static str, u64>,
    pub(super) kills: usize,
    pub(super) lapses: usize,
    /// From the last commit until everything had arrived, and until the outbox said so too.
    pub(super) caught_up: Duration,
    /// What the outbox said was left when all relays had drained.
    pub(super) lag_events: Option<u64>,
    pub(super) findings: Findings,
}

impl Report {
    /// Whether every promise held.
    pub(super) fn is_good(&self) -> bool {
        self.findings.are_none()
    }

    fn events_per_second(&self) -> f64 {
        self.figures.committed as f64 / self.seconds
    }

    /// The figures for machines.
    pub(super) fn json(&self) -> Value {
        let Figures { committed, rolled_back, unheard, unheard_arrived, read, repeats, demanded, one_clock } =
            self.figures;
        let breaches: BTreeMap<&str, u64> =
            BREACHES.iter().map(|breach| (breach.name(), self.findings.count(*breach))).collect();
        let details: Vec<Value> = self
            .findings
            .details
            .iter()
            .map(|(breach, detail)| json!({ "breach": breach.name(), "detail": detail }))
            .collect();
        json!({
            "seed": self.seed,
            "seconds": (self.seconds * 10.0).round() / 10.0,
            "good": self.is_good(),
            "machine": self.machine,
            "events": {
                "committed": committed,
                "rolled_back": rolled_back,
                "unheard": unheard,
                "unheard_arrived": unheard_arrived,
                "committed_per_second": self.events_per_second().round(),
            },
            "transactions": {
                "committed": self.transactions[0],
                "rolled_back": self.transactions[1],
                "unheard": self.transactions[2],
                "by_kind": self.scripts,
            },
            "messages_read": read,
            "ordered_pairs": demanded.pairs,
            "order_across_partitions_looked_at": one_clock,
            "kills": self.kills,
            "leases_lapsed": self.lapses,
            "duplicates": repeats.count,
            "duplicates_delivered_before_kill_max_ms": repeats.oldest_ms,
            "caught_up_ms": self.caught_up.as_millis() as u64,
            "lag_events_at_end": self.lag_events,
            "breaches": breaches,
            "details": details,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { committed, rolled_back, unheard, unheard_arrived, read, repeats, demanded, one_clock } =
            self.figures;
        let [commits, rollbacks, nobody_knows] = self.transactions;
        writeln!(f, "storm of {:.0} s, seed {}", self.seconds, self.seed)?;
        let mut line = |name: &str, value: String| writeln!(f, "  {name:<24}{value}");
        let rate = self.events_per_second();
        line(
            "events committed",
            format!("{committed}, {rate:.0}/s; and {unheard_arrived} of {unheard} unheard"),
        )?;
        line("events rolled back", rolled_back.to_string())?;
        line(
            "transactions",
            format!("{commits} committed, {rollbacks} rolled back, {nobody_knows} unheard: {}", self.kinds()),
        )?;
        line("relays killed", format!("{}; leases of living ones lapsed: {}", self.kills, self.lapses))?;
        let across = if one_clock { "also across partitions" } else { "within partitions only" };
        line("messages read", format!("{read}; {} pairs had an order, {across}", demanded.pairs))?;
        line(
            "duplicates",
            format!("{}, delivered at most {} ms before their kill", repeats.count, repeats.oldest_ms),
        )?;
        let lag = self.lag_events.map_or("unknown".to_owned(), |lag| lag.to_string());
        line(
            "lag at the end",
            format!("{lag}; caught up {} ms after the last commit", self.caught_up.as_millis()),
        )?;
        for breach in BREACHES {
            line(breach.name(), self.findings.count(breach).to_string())?;
        }
        write!(f, "{}", self.findings)?;
        match self.is_good() {
            true => writeln!(f, "every promise that was looked at held"),
            false => writeln!(f, "a promise broke; seed {}", self.seed),
        }
    }
}

impl Report {
    fn kinds(&self) -> String {
        let kinds: Vec<String> = self.scripts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        kinds.join(", ")
    }
}
