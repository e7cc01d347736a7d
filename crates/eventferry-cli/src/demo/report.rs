//! What people and machines see of the demonstration.

use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

use super::shop::Counters;
use super::verdict::Verdict;
use crate::ending::Trouble;
use crate::output::grouped;

/// The figures for machines: these fields and no others.
#[derive(Debug, Serialize)]
struct Figures {
    events: u64,
    aggregates: u64,
    events_per_second: u64,
    duplicates: u64,
    order_violations: u64,
    lost: u64,
}

/// A verdict, and how long it took.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) verdict: Verdict,
    /// Events that were rolled back.
    pub(crate) undone: u64,
    /// From the beginning to the last first delivery.
    pub(crate) took: Duration,
}

impl Report {
    fn events_per_second(&self) -> u64 {
        (self.verdict.events as f64 / self.took.as_secs_f64().max(0.001)).round() as u64
    }

    /// One object on one line.
    pub(crate) fn json(&self) -> Result<String, Trouble> {
        let Verdict { events, aggregates, duplicates, order_violations, lost, .. } = self.verdict;
        let events_per_second = self.events_per_second();
        let figures = Figures { events, aggregates, events_per_second, duplicates, order_violations, lost };
        Ok(serde_json::to_string(&figures).map_err(Trouble::bug)? + "\n")
    }

    /// A table.
    pub(crate) fn table(&self) -> String {
        let Verdict { events, aggregates, duplicates, order_violations, lost, phantoms, damaged } =
            &self.verdict;
        let undone = format!("{} more were rolled back: {phantoms} of them arrived", grouped(self.undone));
        let rows = [
            ("events", *events, undone),
            ("aggregates", *aggregates, String::new()),
            ("events/s", self.events_per_second(), "from commit to consumer".to_owned()),
            ("duplicates", *duplicates, String::new()),
            ("order violations", *order_violations, String::new()),
            ("lost", *lost, String::new()),
        ];
        let mut text = String::new();
        for (name, number, note) in rows {
            text.push_str(format!("{name:<16} {:>12}   {note}", grouped(number)).trim_end());
            text.push('\n');
        }
        if *damaged > 0 {
            text.push_str(&format!("{:<16} {:>12}\n", "damaged", grouped(*damaged)));
        }
        text
    }
}

/// Bars that follow the events, on a terminal.
pub(crate) struct Progress {
    committed: ProgressBar,
    delivered: ProgressBar,
}

impl Progress {
    /// Bars for so many events; hidden where there is no terminal, or nobody wants them.
    pub(crate) fn of(events: u64, hidden: bool) -> Self {
        let bars = MultiProgress::new();
        if hidden {
            bars.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        let template = "{prefix:<10} {wide_bar:.cyan/blue} {human_pos:>11} {per_sec:>16}";
        let bar = |name: &'static str| {
            let bar = bars.add(ProgressBar::new(events)).with_prefix(name);
            // A template that cannot be read leaves the default look.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        };
        Self { committed: bar("committed"), delivered: bar("delivered") }
    }

    pub(crate) fn show(&self, counters: &Counters) {
        self.committed.set_position(counters.committed.load(Ordering::Relaxed));
        self.delivered.set_position(counters.read.load(Ordering::Relaxed));
    }

    pub(crate) fn end(&self) {
        self.committed.finish_and_clear();
        self.delivered.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let verdict = Verdict { events: 12_000, aggregates: 50, lost: 1, ..Verdict::default() };
        Report { verdict, undone: 1_200, took: Duration::from_secs(2) }
    }

    #[test]
    fn the_json_has_six_fields_and_no_more() {
        let json = r#"{"events":12000,"aggregates":50,"events_per_second":6000,"duplicates":0,"order_violations":0,"lost":1}"#;
        assert_eq!(report().json().unwrap(), format!("{json}\n"));
    }

    #[test]
    fn the_table_has_a_row_for_each_figure() {
        let table = report().table();
        assert_eq!(table.lines().count(), 6);
        assert!(
            table.starts_with(
                "events                 12,000   1,200 more were rolled back: 0 of them arrived\n"
            )
        );
        assert!(table.ends_with("lost                        1\n"), "{table}");
    }
}
