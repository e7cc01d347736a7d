//! How far a consumer group may be told to have come.

use std::collections::BTreeMap;

use super::report::Found;

/// Of each partition, the longest run of records from the beginning that were dealt with.
#[derive(Debug, Default)]
pub(super) struct Progress(BTreeMap<i32, Reached>);

#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    /// The offset after the run; `None` if it is empty.
    next: Option<i64>,
    /// A record was left out: the run ends before it.
    stopped: bool,
}

impl Progress {
    /// A record was dealt with. Returns whether it lies behind one that was left out, so that a later replay meets it
    /// again.
    pub(super) fn pass(&mut self, found: Found) -> bool {
        let reached = self.0.entry(found.partition).or_default();
        if !reached.stopped {
            reached.next = Some(found.offset + 1);
        }
        reached.stopped
    }

    /// A record was left out.
    pub(super) fn stop(&mut self, found: Found) {
        self.0.entry(found.partition).or_default().stopped = true;
    }

    /// The positions to tell the group.
    pub(super) fn positions(&self) -> Vec<(i32, i64)> {
        let positions = self.0.iter().filter_map(|(partition, reached)| Some((*partition, reached.next?)));
        positions.collect()
    }

    /// The positions for people.
    pub(super) fn text(&self) -> String {
        let positions = self.positions();
        if positions.is_empty() {
            return "the group stays where it was".to_owned();
        }
        let all: Vec<_> = positions.iter().map(|(partition, next)| format!("{partition}:{next}")).collect();
        // The audit table keeps a text of bounded length.
        let shown = all.iter().take(50).cloned().collect::<Vec<_>>().join(", ");
        let rest = if all.len() > 50 { ", ..." } else { "" };
        format!("the group stands at {shown}{rest} (partition:offset)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: i32, offset: i64) -> Found {
        Found { partition, offset }
    }

    #[test]
    fn the_group_stays_before_what_was_left_out() {
        let mut progress = Progress::default();
        assert!(progress.positions().is_empty());
        assert!(!progress.pass(at(0, 5)));
        assert!(!progress.pass(at(1, 0)));
        progress.stop(at(0, 6));
        assert!(progress.pass(at(0, 7)));
        assert!(!progress.pass(at(1, 3)));
        progress.stop(at(2, 0));
        assert_eq!(progress.positions(), [(0, 6), (1, 4)]);
        assert_eq!(progress.text(), "the group stands at 0:6, 1:4 (partition:offset)");
    }
}
