//! What a replay did or would do, for people.

use super::letter::Letter;
use crate::output::plain;
use crate::table::{columns, counted};

/// How many events a dry run lists.
const LISTED_MAX: usize = 100;

/// How many runs of skipped records are named.
const SKIPPED_NAMED_MAX: usize = 100;

/// Where a record was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) partition: i32,
    pub(super) offset: i64,
}

/// Records in a row that were skipped for the same reason.
#[derive(Debug)]
struct Skipped {
    partition: i32,
    first: i64,
    last: i64,
    why: String,
}

/// What a replay did, or would do.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Whether nothing is done, and events are listed instead.
    pub(super) listing: bool,
    /// Events enqueued.
    pub(super) replayed: u64,
    /// Records that the filter left out.
    pub(super) left_out: u64,
    /// Events of those replayed that a later replay meets again.
    pub(super) again: u64,
    /// Whether the limit ended it.
    pub(super) limited: bool,
    skipped_count: u64,
    skipped: Vec<Skipped>,
    listed: Vec<Vec<String>>,
}

impl Report {
    /// A record cannot be replayed.
    pub(super) fn skip(&mut self, found: Found, why: String) {
        self.skipped_count += 1;
        let Found { partition, offset } = found;
        let same =
            |run: &&mut Skipped| run.partition == partition && run.last + 1 == offset && run.why == why;
        if let Some(run) = self.skipped.iter_mut().rev().find(same) {
            run.last = offset;
        } else if self.skipped.len() < SKIPPED_NAMED_MAX {
            self.skipped.push(Skipped { partition, first: offset, last: offset, why });
        }
    }

    /// An event is to be replayed.
    pub(super) fn list(&mut self, found: Found, letter: &Letter) {
        if !self.listing || self.listed.len() >= LISTED_MAX {
            return;
        }
        let Letter { event, class, reason, failed_at, .. } = letter;
        let partition = event.partition.map(|partition| format!(" [{partition}]")).unwrap_or_default();
        self.listed.push(vec![
            format!("{}:{}", found.partition, found.offset),
            event.message_id.map(|id| id.to_string()).unwrap_or_default(),
            format!("{}{partition}", event.topic),
            format!("{} {}", event.aggregate.kind, event.aggregate.id),
            failed_at.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}")),
            [class.as_deref(), reason.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": "),
        ]);
    }

    /// The report.
    pub(super) fn text(self, topic: &str, group: &str) -> String {
        let mut text = String::new();
        if !self.listed.is_empty() {
            let listed = self.listed.len() as u64;
            let head = ["AT", "MESSAGE ID", "TO", "AGGREGATE", "REFUSED AT", "WHY"];
            text.push_str(&columns(&head, self.listed));
            if listed < self.replayed {
                text.push_str(&format!("and {} more\n", counted(self.replayed - listed, "event")));
            }
            text.push('\n');
        }
        let topic = plain(topic);
        let events = counted(self.replayed, "event");
        text.push_str(&match (self.listing, self.replayed) {
            (_, 0) => format!("nothing to replay from topic {topic} for group {group}\n"),
            (true, _) => format!("{events} of topic {topic} would be enqueued again; nothing was changed\n"),
            (false, _) => {
                format!("{events} of topic {topic} enqueued again: relays carry them like any other\n")
            }
        });
        if self.limited {
            text.push_str("the limit was reached: there are more records\n");
        }
        if self.left_out > 0 {
            let left_out = counted(self.left_out, "record");
            text.push_str(&format!(
                "{left_out} did not match: the group {group} stays before the first of them\n"
            ));
        }
        if self.again > 0 {
            let again = counted(self.again, "event");
            text.push_str(&format!(
                "{again} lie behind those: a later replay of the group meets them again, with the same message ids\n"
            ));
        }
        if self.skipped_count > 0 {
            let skipped = counted(self.skipped_count, "record");
            text.push_str(&format!("skipped {skipped} that cannot be enqueued:\n"));
        }
        let mut named = 0;
        for Skipped { partition, first, last, why } in &self.skipped {
            named += (last - first).unsigned_abs() + 1;
            let offsets =
                if first == last { format!("offset {first}") } else { format!("offsets {first} to {last}") };
            text.push_str(&format!("  partition {partition}, {offsets}: {}\n", plain(why)));
        }
        if named < self.skipped_count {
            text.push_str(&format!("  and {} more\n", counted(self.skipped_count - named, "record")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_records_are_named_by_runs() {
        let mut report = Report { replayed: 2, ..Report::default() };
        let skip = |report: &mut Report, partition, offset, why: &str| {
            report.skip(Found { partition, offset }, why.to_owned());
        };
        for (partition, offset, why) in
            [(0, 5, "a"), (1, 0, "a"), (0, 6, "a"), (0, 7, "b"), (0, 9, "b"), (1, 1, "a")]
        {
            skip(&mut report, partition, offset, why);
        }
        let text = report.text("t", "g");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "2 events of topic t enqueued again: relays carry them like any other");
        assert_eq!(lines[1], "skipped 6 records that cannot be enqueued:");
        assert_eq!(lines[2], "  partition 0, offsets 5 to 6: a");
        assert_eq!(lines[3], "  partition 1, offsets 0 to 1: a");
        assert_eq!(lines[5], "  partition 0, offset 9: b");

        let mut report = Report::default();
        (0..500).for_each(|offset| skip(&mut report, 0, 2 * offset, "a"));
        let text = report.text("t", "g");
        assert!(
            text.starts_with("nothing to replay") && text.ends_with("  and 400 records more\n"),
            "{text}"
        );
    }

    #[test]
    fn what_a_filter_leaves_out_is_said() {
        let report = Report { replayed: 1, left_out: 2, again: 1, limited: true, ..Report::default() };
        let text = report.text("t", "g");
        assert!(text.contains("2 records did not match: the group g stays"), "{text}");
        assert!(text.contains("1 event lie") && text.contains("the limit was reached"), "{text}");
    }
}
