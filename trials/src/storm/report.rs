//! What a storm found, for people and for machines.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::feed::Feed;
use super::findings::{BREACHES, Breach, Findings};
use super::judge::Figures;
use super::recovery::{Incident, Recovery};
use super::repeats::HELD_MAX;

/// What became of a scene.
#[derive(Debug)]
pub(super) enum Played {
    Through(Box<Report>),
    /// It could not be seen through.
    Broken {
        scene: &'static str,
        feed: Feed,
        seed: u64,
        why: String,
    },
    /// The feed promises nothing there.
    LeftOut {
        scene: &'static str,
        feed: Feed,
        why: &'static str,
    },
    /// This machine lacks something for it.
    Missing {
        scene: &'static str,
        what: &'static str,
        excused: bool,
    },
}

impl Played {
    /// Whether every promise held, or need not be looked at.
    pub(super) fn is_good(&self) -> bool {
        match self {
            Self::Through(report) => report.is_good(),
            Self::Broken { .. } => false,
            Self::LeftOut { .. } => true,
            Self::Missing { excused, .. } => *excused,
        }
    }

    /// The scene, and the seed it was played with.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Through(report) => {
                format!("{} (feed {}, seed {})", report.scene, report.feed.name(), report.seed)
            }
            Self::Broken { scene, feed, seed, .. } => {
                format!("{scene} (feed {}, seed {seed})", feed.name())
            }
            Self::LeftOut { scene, .. } | Self::Missing { scene, .. } => (*scene).to_owned(),
        }
    }

    /// For machines.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Through(report) => report.json(),
            Self::Broken { scene, feed, seed, why } => {
                json!({ "scene": scene, "feed": feed.name(), "seed": seed, "broken": why })
            }
            Self::LeftOut { scene, feed, why } => {
                json!({ "scene": scene, "feed": feed.name(), "left_out": why })
            }
            Self::Missing { scene, what, .. } => json!({ "scene": scene, "missing": what }),
        }
    }
}

impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Through(report) => report.fmt(f),
            Self::Broken { why, .. } => writeln!(f, "{} could not be seen through: {why}", self.name()),
            Self::LeftOut { scene, feed, why } => {
                writeln!(f, "{scene} is not played with feed {}: {why}", feed.name())
            }
            Self::Missing { scene, what, .. } => writeln!(f, "{scene} was not played: it needs {what}"),
        }
    }
}

/// All scenes as a table, with the machine they were played on.
pub(super) fn markdown(played: &[Played]) -> String {
    let mut text = String::from("# A storm\n\n");
    if let Some(Played::Through(report)) = played.iter().find(|one| matches!(one, Played::Through(_))) {
        let of = |name: &str| match &report.machine[name] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        text.push_str(&format!(
            "{}, {} cores, {}, {}.\n\n",
            of("processor"),
            of("cores"),
            of("memory"),
            of("system")
        ));
    }
    text.push_str(
        "| scene | feed | seed | events | incidents | lost | out of order | duplicates | at most | recovery \
         | verdict |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for one in played {
        text.push_str(&match one {
            Played::Through(report) => report.row(),
            Played::Broken { scene, feed, seed, .. } => {
                format!("| {scene} | {} | {seed} | | | | | | | | not seen through |\n", feed.name())
            }
            Played::LeftOut { scene, feed, .. } => {
                format!("| {scene} | {} | | | | | | | | | left out |\n", feed.name())
            }
            Played::Missing { scene, what, .. } => format!("| {scene} | | | | | | | | | | needs {what} |\n"),
        });
    }
    text.push_str(
        "\nIncidents: what was put right again, relays killed, leases that ran out. At most: what was in flight, \
         summed over the incidents that leave a send uncertain. Recovery: until all that was committed by the end of \
         an incident had arrived, the slowest.\n",
    );
    text
}

/// All of it.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) scene: &'static str,
    pub(super) feed: Feed,
    pub(super) seed: u64,
    pub(super) seconds: f64,
    pub(super) machine: Value,
    pub(super) figures: Figures,
    /// Committed, rolled back, and those nobody heard of.
    pub(super) transactions: [u64; 3],
    /// How many of each kind.
    pub(super) scripts: BTreeMap<&'static str, u64>,
    /// Transactions that failed because the database went away.
    pub(super) troubles: u64,
    /// Parked in the end, and given up.
    pub(super) held: [u64; 2],
    /// Messages that a proxy spoilt.
    pub(super) spoilt: u64,
    pub(super) kills: usize,
    pub(super) lapses: usize,
    /// What left sends uncertain: what it was, how many repeats it explains, how many relays it concerned.
    pub(super) cuts: Vec<(String, u64, u64)>,
    /// How long lanes were nobody's when a relay went.
    pub(super) changes: Vec<(&'static str, Duration)>,
    /// The most memory any relay took.
    pub(super) peak_bytes: u64,
    pub(super) incidents: Vec<(Incident, Recovery)>,
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
        let Figures { committed, rolled_back, unheard, unheard_arrived, read, repeats, demanded, .. } =
            self.figures;
        let one_clock = self.figures.one_clock;
        let incidents: Vec<Value> = self
            .incidents
            .iter()
            .map(|(incident, recovery)| {
                json!({
                    "what": incident.what,
                    "backlog": recovery.backlog,
                    "recovered_ms": recovery.took.as_millis() as u64,
                })
            })
            .collect();
        let breaches: BTreeMap<&str, u64> =
            BREACHES.iter().map(|breach| (breach.name(), self.findings.count(*breach))).collect();
        let details: Vec<Value> = self
            .findings
            .details
            .iter()
            .map(|(breach, detail)| json!({ "breach": breach.name(), "detail": detail }))
            .collect();
        json!({
            "scene": self.scene,
            "feed": self.feed.name(),
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
            "forgotten_by_database": self.figures.forgotten,
            "forgotten_arrived": self.figures.forgotten_arrived,
            "transactions_troubled": self.troubles,
            "parked": self.held[0],
            "dead_letters": self.held[1],
            "messages_spoilt": self.spoilt,
            "incidents": incidents,
            "lanes_changed_ms": self.changes.iter().map(|(what, took)| json!([what, took.as_millis() as u64]))
                .collect::<Vec<_>>(),
            "relay_peak_bytes": self.peak_bytes,
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
        let Figures { committed, rolled_back, unheard, unheard_arrived, read, repeats, demanded, .. } =
            self.figures;
        let one_clock = self.figures.one_clock;
        let [commits, rollbacks, nobody_knows] = self.transactions;
        let feed = self.feed.name();
        writeln!(f, "storm `{}` of {:.0} s, feed {feed}, seed {}", self.scene, self.seconds, self.seed)?;
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
        if self.figures.forgotten + self.troubles > 0 {
            let Figures { forgotten, forgotten_arrived, .. } = self.figures;
            line(
                "database",
                format!(
                    "{} transactions failed; it forgot {forgotten} events, {forgotten_arrived} of which had arrived",
                    self.troubles
                ),
            )?;
        }
        if self.held != [0, 0] {
            let [parked, dead] = self.held;
            line(
                "refused for good",
                format!("{parked} events are parked, {dead} went to the dead-letter topic"),
            )?;
        }
        if self.spoilt > 0 {
            line("messages spoilt", self.spoilt.to_string())?;
        }
        for (incident, recovery) in &self.incidents {
            let took = recovery.took.as_millis();
            line(incident.what, format!("{} events waited, the last {took} ms", recovery.backlog))?;
        }
        for (what, took) in &self.changes {
            line(what, format!("{} ms", took.as_millis()))?;
        }
        line("memory of a relay", format!("{} MiB at most", self.peak_bytes >> 20))?;
        line("relays killed", format!("{}; leases of living ones lapsed: {}", self.kills, self.lapses))?;
        let across = if one_clock { "also across partitions" } else { "within partitions only" };
        line("messages read", format!("{read}; {} pairs had an order, {across}", demanded.pairs))?;
        line(
            "duplicates",
            format!(
                "{}, delivered at most {} ms before their cause: {}",
                repeats.count,
                repeats.oldest_ms,
                self.causes()
            ),
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
            false => writeln!(
                f,
                "a promise broke; again by: cargo xtask storm --scene {} --feed {feed} --seed {}",
                self.scene, self.seed
            ),
        }
    }
}

impl Report {
    /// A row of the table of all scenes.
    fn row(&self) -> String {
        let Figures { committed, repeats, .. } = self.figures;
        let slowest = self.incidents.iter().map(|(_, recovery)| recovery.took).max().unwrap_or_default();
        let most: u64 = self.cuts.iter().map(|(_, _, relays)| relays * HELD_MAX).sum();
        format!(
            "| {} | {} | {} | {committed} | {} | {} | {} | {} | {most} | {:.1} s | {} |\n",
            self.scene,
            self.feed.name(),
            self.seed,
            self.incidents.len() + self.lapses,
            self.findings.count(Breach::Lost),
            self.findings.count(Breach::Order),
            repeats.count,
            slowest.as_secs_f64(),
            if self.is_good() { "held" } else { "**broken**" },
        )
    }

    /// What explains the repeats.
    fn causes(&self) -> String {
        let causes = self.cuts.iter().filter(|(_, repeats, _)| *repeats > 0);
        let causes: Vec<String> = causes.map(|(what, repeats, _)| format!("{repeats} {what}")).collect();
        if causes.is_empty() { "none".to_owned() } else { causes.join(", ") }
    }

    fn kinds(&self) -> String {
        let kinds: Vec<String> = self.scripts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        kinds.join(", ")
    }
}
