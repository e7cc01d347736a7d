//! What the bench found: a table for people, figures for machines.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::cell::Found;
use super::contender::CONTENDERS;
use super::figures::{Round, Summary};
use crate::bench::outcome::rounded;

/// All runs of the bench.
pub(super) struct Outcome {
    pub(super) machine: Value,
    pub(super) rates: Vec<u64>,
    pub(super) names: Vec<&'static str>,
    pub(super) relays: usize,
    pub(super) span: Duration,
    pub(super) runs: Vec<Run>,
}

/// One contender at one rate in one round.
pub(super) struct Run {
    pub(super) round: usize,
    pub(super) rate: u64,
    pub(super) name: &'static str,
    pub(super) found: Found,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { figures, cpu_us: [here, postgres, kafka], repeats } = &self.found;
        write!(
            f,
            "{:>6}/s {:<17} p50 {:>7.2} ms, p99 {:>7.2}, most {:>7.2}; CPU us/event: here {here:.0}, postgres \
             {postgres:.0}, kafka {kafka:.0}",
            self.rate, self.name, figures.p50_ms, figures.p99_ms, figures.max_ms
        )?;
        if figures.grows() {
            let [first, second] = figures.halves_ms;
            write!(f, "; LAG GROWS: p50 {first:.1} ms in the first half, {second:.1} in the second")?;
        }
        if *repeats > 0 {
            write!(f, "; {repeats} came twice")?;
        }
        Ok(())
    }
}

impl Outcome {
    fn summary(&self, name: &str, rate: u64) -> Option<Summary> {
        let rounds: Vec<Round> = self.of(name, rate).map(|run| self.round_of(run)).collect();
        Summary::of(&rounds)
    }

    fn of<'a>(&'a self, name: &str, rate: u64) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().filter(move |run| run.name == name && run.rate == rate)
    }

    fn round_of(&self, run: &Run) -> Round {
        let base = self.of(CONTENDERS[0].name, run.rate).find(|base| base.round == run.round);
        (run.found.figures, base.map(|base| base.found.figures), run.found.cpu_us.iter().sum())
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, u64, Summary)> {
        let pairs = self.rates.iter().flat_map(|rate| self.names.iter().map(|name| (*name, *rate)));
        pairs.filter_map(|(name, rate)| Some((name, rate, self.summary(name, rate)?)))
    }

    /// The figures for machines.
    pub(super) fn json(&self) -> Value {
        let rounds = self.runs.iter().map(|run| {
            let Found { figures, repeats, .. } = &run.found;
            json!({
                "round": run.round,
                "name": run.name,
                "rate": run.rate,
                "p50_ms": rounded(figures.p50_ms),
                "p99_ms": rounded(figures.p99_ms),
                "max_ms": rounded(figures.max_ms),
                "halves_p50_ms": figures.halves_ms.map(rounded),
                "growing_lag": figures.grows(),
                "repeats": repeats,
            })
        });
        json!({
            "scenario": "latency",
            "base": CONTENDERS[0].name,
            "rounds": self.runs.iter().map(|run| run.round).max(),
            "seconds": self.span.as_secs(),
            "relays": self.relays,
            "machine": self.machine,
            "runs": self.each().map(|(name, rate, summary)| summary.json(name, rate)).collect::<Vec<_>>(),
            "each_round": rounds.collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relays = if self.relays == 1 { String::new() } else { format!(", {} relays", self.relays) };
        writeln!(
            f,
            "latency from commit to consumer{relays}: medians of all rounds, and of each round's ratio"
        )?;
        writeln!(
            f,
            "{:>8}  {:<17}{:>9}{:>9}{:>10}{:>10}   CPU us/event",
            "events/s", "", "p50 ms", "p99 ms", "p50 ratio", "p99 ratio"
        )?;
        for (name, rate, summary) in self.each() {
            write!(f, "{rate:>8}  {name:<13}{:>9.2}{:>9.2}", summary.p50_ms, summary.p99_ms)?;
            match summary.ratios {
                Some([p50, p99]) => write!(f, "{p50:>10.2}{p99:>10.2}")?,
                None => write!(f, "{:>10}{:>10}", "", "")?,
            }
            write!(f, "{:>12.0}", summary.cpu_us)?;
            match summary.grew {
                0 => writeln!(f)?,
                rounds => writeln!(f, "   lag grew in {rounds} rounds")?,
            }
        }
        writeln!(f, "timed from when a commit has returned until a consumer has the message")
    }
}
