//! What the bench of enqueueing found: a table for people, figures for machines.

use std::fmt;

use serde_json::{Value, json};

use super::Contender;
use crate::bench::outcome::{median, rounded};

/// All runs.
pub(super) struct Outcome {
    pub(super) transactions: u64,
    pub(super) machine: Value,
    pub(super) runs: Vec<Run>,
}

/// One contender in one round.
pub(super) struct Run {
    pub(super) round: usize,
    pub(super) contender: Contender,
    /// Whether a commit waits for the disk.
    pub(super) synchronous: bool,
    /// What a transaction took.
    pub(super) micros: f64,
}

fn mode(synchronous: bool) -> &'static str {
    if synchronous { "on" } else { "off" }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<24}{:<5}{:>7.0} us", self.contender.name(), mode(self.synchronous), self.micros)
    }
}

impl Outcome {
    fn of(&self, contender: Contender, synchronous: bool) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| (run.contender, run.synchronous) == (contender, synchronous))
    }

    fn micros(&self, contender: Contender, synchronous: bool) -> Option<f64> {
        median(self.of(contender, synchronous).map(|run| run.micros).collect())
    }

    /// The median of the rounds' ratios.
    fn ratio(&self, contender: Contender, to: Contender, synchronous: bool) -> Option<f64> {
        let ratio = |run: &Run| {
            let base = self.of(to, synchronous).find(|base| base.round == run.round)?;
            Some(run.micros / base.micros)
        };
        median(self.of(contender, synchronous).filter_map(ratio).collect())
    }

    /// The figures for machines.
    pub(super) fn json(&self) -> Value {
        let contenders = [true, false].iter().flat_map(|synchronous| {
            Contender::ALL.iter().map(|contender| {
                let (contender, synchronous) = (*contender, *synchronous);
                let to = |base| self.ratio(contender, base, synchronous).map(rounded);
                json!({
                    "name": contender.name(),
                    "synchronous_commit": mode(synchronous),
                    "micros_per_transaction": self.micros(contender, synchronous).map(f64::round),
                    "ratio_to_base": to(Contender::HandWritten),
                    "ratio_to_unprepared": to(Contender::HandWrittenUnprepared),
                })
            })
        });
        json!({
            "scenario": "enqueue",
            "base": Contender::HandWritten.name(),
            "rounds": self.runs.iter().map(|run| run.round).max(),
            "transactions": self.transactions,
            "machine": self.machine,
            "contenders": contenders.collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "enqueue: one event a transaction, medians of all rounds")?;
        writeln!(
            f,
            "{:<24}{:<6}{:>14}{:>17}{:>15}",
            "", "sync", "us/transaction", "to hand-written", "to unprepared"
        )?;
        for synchronous in [true, false] {
            for contender in Contender::ALL {
                let micros = self.micros(contender, synchronous).unwrap_or_default();
                let to = |base| self.ratio(contender, base, synchronous).unwrap_or_default();
                let (base, unprepared) = (to(Contender::HandWritten), to(Contender::HandWrittenUnprepared));
                let (name, mode) = (contender.name(), mode(synchronous));
                writeln!(f, "{name:<24}{mode:<6}{micros:>14.0}{base:>17.2}{unprepared:>15.2}")?;
            }
        }
        Ok(())
    }
}
