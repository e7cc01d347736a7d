//! What the bench of the doorbell found: a table for people, figures for machines.

use std::fmt;

use serde_json::{Value, json};

use super::Contender;
use crate::bench::outcome::{median, rounded};

/// All runs.
pub(super) struct Outcome {
    pub(super) writers: usize,
    pub(super) seconds: f64,
    pub(super) machine: Value,
    pub(super) runs: Vec<Run>,
}

/// One contender in one round.
pub(super) struct Run {
    pub(super) round: usize,
    pub(super) contender: Contender,
    /// Whether a commit waits for the disk.
    pub(super) synchronous: bool,
    pub(super) events_per_second: f64,
}

fn mode(synchronous: bool) -> &'static str {
    if synchronous { "on" } else { "off" }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { contender, synchronous, events_per_second, .. } = self;
        write!(f, "{:<24}{:<5}{events_per_second:>9.0} events/s", contender.name(), mode(*synchronous))
    }
}

impl Outcome {
    fn of(&self, contender: Contender, synchronous: bool) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| (run.contender, run.synchronous) == (contender, synchronous))
    }

    fn rate(&self, contender: Contender, synchronous: bool) -> Option<f64> {
        median(self.of(contender, synchronous).map(|run| run.events_per_second).collect())
    }

    /// The median of the rounds' ratios.
    fn ratio(&self, contender: Contender, to: Contender, synchronous: bool) -> Option<f64> {
        let ratio = |run: &Run| {
            let base = self.of(to, synchronous).find(|base| base.round == run.round)?;
            Some(run.events_per_second / base.events_per_second)
        };
        median(self.of(contender, synchronous).filter_map(ratio).collect())
    }

    /// The figures for machines.
    pub(super) fn json(&self) -> Value {
        let both = [true, false];
        let contenders = both.iter().flat_map(|synchronous| {
            Contender::ALL.iter().map(|contender| {
                let (contender, synchronous) = (*contender, *synchronous);
                json!({
                    "name": contender.name(),
                    "synchronous_commit": mode(synchronous),
                    "events_per_second": self.rate(contender, synchronous).map(f64::round),
                    "ratio_to_base": self.ratio(contender, Contender::NoTrigger, synchronous).map(rounded),
                    "ratio_to_same_without_trigger": self
                        .ratio(contender, contender.without_trigger(), synchronous)
                        .map(rounded),
                    "ratio_to_notify": self.ratio(contender, Contender::Notify, synchronous).map(rounded),
                })
            })
        });
        json!({
            "scenario": "doorbell",
            "base": Contender::NoTrigger.name(),
            "rounds": self.runs.iter().map(|run| run.round).max(),
            "writers": self.writers,
            "seconds": self.seconds,
            "machine": self.machine,
            "contenders": contenders.collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "doorbell: {} writers beside a busy relay, medians of all rounds", self.writers)?;
        writeln!(
            f,
            "{:<24}{:<6}{:>10}{:>15}{:>15}{:>11}",
            "", "sync", "events/s", "to no trigger", "same relays", "to notify"
        )?;
        for synchronous in [true, false] {
            for contender in Contender::ALL {
                let rate = self.rate(contender, synchronous).unwrap_or_default();
                let base = self.ratio(contender, Contender::NoTrigger, synchronous).unwrap_or_default();
                let notify = self.ratio(contender, Contender::Notify, synchronous).unwrap_or_default();
                let same =
                    self.ratio(contender, contender.without_trigger(), synchronous).unwrap_or_default();
                let (name, mode) = (contender.name(), mode(synchronous));
                writeln!(f, "{name:<24}{mode:<6}{rate:>10.0}{base:>15.2}{same:>15.2}{notify:>11.2}")?;
            }
        }
        Ok(())
    }
}
