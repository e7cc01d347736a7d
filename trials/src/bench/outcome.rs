//! What a bench found: a table for people, figures for machines.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Contender, Scenario};
use crate::processor::Spent;

/// All runs of a bench.
pub(super) struct Outcome {
    pub(super) scenario: Scenario,
    pub(super) events: u64,
    pub(super) machine: Value,
    pub(super) runs: Vec<Run>,
}

/// One contender in one round.
pub(super) struct Run {
    pub(super) round: usize,
    pub(super) contender: Contender,
    pub(super) events: u64,
    /// From its start to the last acknowledgement.
    pub(super) time: Duration,
    /// From its start until its books were closed.
    pub(super) settled: Option<Duration>,
    pub(super) spent: Spent,
}

/// The threads that are named one by one; the others are summed up.
const THREADS_NAMED_MAX: usize = 6;

impl Run {
    fn events_per_second(&self) -> f64 {
        self.events as f64 / self.time.as_secs_f64()
    }

    /// Microseconds of processor time an event.
    fn micros(&self, spent: Duration) -> f64 {
        spent.as_secs_f64() * 1e6 / self.events as f64
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<26} {:>9.0} events/s", self.contender.name(), self.events_per_second())?;
        if let Some(settled) = self.settled {
            write!(f, ", closed {:.0} ms later", (settled.saturating_sub(self.time)).as_secs_f64() * 1e3)?;
        }
        let Spent { postgres, kafka, .. } = self.spent;
        let micros = [self.spent.here, postgres, kafka].map(|spent| self.micros(spent));
        write!(
            f,
            "; CPU us/event: here {:.2}, postgres {:.2}, kafka {:.2}",
            micros[0], micros[1], micros[2]
        )?;
        let mut threads: Vec<_> = self.spent.threads.iter().map(|(n, t)| (self.micros(*t), n)).collect();
        threads.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (micros, name) in threads.iter().take(THREADS_NAMED_MAX).filter(|(micros, _)| *micros >= 0.05) {
            write!(f, "; {name} {micros:.2}")?;
        }
        Ok(())
    }
}

pub(super) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let (low, high) = (figures.get(figures.len().checked_sub(1)? / 2)?, figures.get(figures.len() / 2)?);
    Some((low + high) / 2.0)
}

impl Outcome {
    fn of(&self, contender: Contender) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.contender == contender)
    }

    /// The median of the rounds' ratios.
    fn ratio(&self, contender: Contender, to: Contender) -> Option<f64> {
        let base: BTreeMap<usize, f64> =
            self.of(to).map(|run| (run.round, run.events_per_second())).collect();
        let ratio = |run: &Run| Some(run.events_per_second() / base.get(&run.round)?);
        median(self.of(contender).filter_map(ratio).collect())
    }

    fn events_per_second(&self, contender: Contender) -> Option<f64> {
        median(self.of(contender).map(Run::events_per_second).collect())
    }

    fn micros(&self, contender: Contender, spent: fn(&Spent) -> Duration) -> Option<f64> {
        median(self.of(contender).map(|run| run.micros(spent(&run.spent))).collect())
    }

    /// The figures for machines.
    pub(super) fn json(&self) -> Value {
        let contenders = self.scenario.contenders().iter().map(|contender| {
            let contender = *contender;
            let mut figures = json!({
                "name": contender.name(),
                "events_per_second": self.events_per_second(contender).map(f64::round),
                "ratio_to_base": self.ratio(contender, self.scenario.base()).map(rounded),
                "events": self.of(contender).map(|run| run.events).max(),
                "cpu_us_per_event": {
                    "sender": self.micros(contender, |spent| spent.here).map(rounded),
                    "postgresql": self.micros(contender, |spent| spent.postgres).map(rounded),
                    "kafka": self.micros(contender, |spent| spent.kafka).map(rounded),
                },
            });
            if self.scenario == Scenario::HotKey && contender == Contender::Eventferry {
                let ratio = self.ratio(contender, Contender::EventferryDrain).map(rounded);
                figures["ratio_to_drain"] = json!(ratio);
            }
            figures
        });
        json!({
            "scenario": self.scenario.name(),
            "events": self.events,
            "base": self.scenario.base().name(),
            "rounds": self.runs.iter().map(|run| run.round).max(),
            "machine": self.machine,
            "contenders": contenders.collect::<Vec<_>>(),
        })
    }
}

pub(super) fn rounded(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} events, medians of all rounds", self.scenario.name(), self.events)?;
        writeln!(
            f,
            "{:<26}{:>12}{:>10}   CPU us/event: sender, postgresql, kafka",
            "",
            "events/s",
            if self.scenario.base() == Contender::RawPipe { "to pipe" } else { "to first" }
        )?;
        for contender in self.scenario.contenders().iter().copied() {
            let Some(rate) = self.events_per_second(contender) else { continue };
            let ratio = self.ratio(contender, self.scenario.base()).unwrap_or_default();
            write!(f, "{:<26}{rate:>12.0}{ratio:>10.2}  ", contender.name())?;
            for spent in
                [(|spent| spent.here) as fn(&Spent) -> Duration, |spent| spent.postgres, |spent| spent.kafka]
            {
                write!(f, "{:>8.2}", self.micros(contender, spent).unwrap_or_default())?;
            }
            writeln!(f)?;
        }
        if let Some(ratio) = self.ratio(Contender::Eventferry, Contender::EventferryDrain) {
            writeln!(f, "eventferry with one hot aggregate, held against its drain: {ratio:.2}")?;
        }
        writeln!(
            f,
            "the pipe and the status column are timed from before they connect to the last acknowledgement \
             (the latter: commit); \
             eventferry from the relay's start, connecting and taking lanes included, to the last one"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_lies_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }
}
