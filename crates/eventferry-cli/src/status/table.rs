//! The state of an outbox for people: the summary first, then who carries what, then what is refused.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{LaneStatus, Status};
use crate::output::{grouped, plain};

/// Everything, with a line for each owner, or for each lane.
pub(super) fn text(status: &Status, store: &str, every_lane: bool) -> String {
    let mut text = summary(status, store);
    text.push('\n');
    text.push_str(&if every_lane { lanes(status) } else { owners(status) });
    if !status.refused.is_empty() {
        text.push('\n');
        text.push_str(&refused(status));
    }
    text
}

fn summary(status: &Status, store: &str) -> String {
    let mut lines = vec![format!("outbox   {store}, {} lanes", status.lanes_total)];
    lines.push(match &status.oldest_unshipped {
        None => "lag      none: everything committed is shipped or parked".to_owned(),
        Some(oldest) => format!(
            "lag      {}{}, the oldest {} old ({oldest})",
            if status.lag_is_at_least { "at least " } else { "" },
            counted(status.lag_events, "event"),
            age(status.lag_seconds),
        ),
    });
    lines.push(match status.parked_events {
        0 => "parked   none".to_owned(),
        parked => format!("parked   {}, refused or waiting behind a refused one", counted(parked, "event")),
    });
    let gone = status.relays.len() - status.relays_live;
    let gone = if gone > 0 { format!(", {gone} gone") } else { String::new() };
    lines.push(match status.relays_live {
        0 => format!("relays   none live{gone}: nothing is carried; start one by `eventferry run`"),
        live => format!("relays   {live} live{gone}"),
    });
    lines.join("\n") + "\n"
}

/// What one owner has.
#[derive(Default)]
struct Share {
    lanes: usize,
    lag_events: u64,
    lag_seconds: f64,
    parked: u64,
}

fn owners(status: &Status) -> String {
    let mut shares: BTreeMap<Option<&str>, Share> = BTreeMap::new();
    for relay in &status.relays {
        shares.entry(Some(&relay.id)).or_default();
    }
    for lane in &status.lanes {
        let share = shares.entry(lane.owner.as_deref()).or_default();
        share.lanes += 1;
        share.lag_events += lane.lag_events;
        share.lag_seconds = share.lag_seconds.max(lane.lag_seconds);
        share.parked += lane.parked_events;
    }
    let rows = shares.into_iter().map(|(owner, share)| {
        vec![
            owner.unwrap_or("(nobody)").to_owned(),
            beat(status, owner),
            grouped(share.lanes as u64),
            grouped(share.lag_events),
            old(share.lag_events, share.lag_seconds),
            grouped(share.parked),
        ]
    });
    columns(&["OWNER", "HEARTBEAT", "LANES", "LAG", "OLDEST", "PARKED"], rows.collect())
}

fn lanes(status: &Status) -> String {
    let row = |lane: &LaneStatus| {
        vec![
            lane.lane.to_string(),
            lane.owner.clone().unwrap_or_else(|| "(nobody)".into()),
            beat(status, lane.owner.as_deref()),
            lane.epoch.to_string(),
            grouped(lane.lag_events),
            old(lane.lag_events, lane.lag_seconds),
            grouped(lane.parked_events),
        ]
    };
    let head = ["LANE", "OWNER", "HEARTBEAT", "EPOCH", "LAG", "OLDEST", "PARKED"];
    columns(&head, status.lanes.iter().map(row).collect())
}

fn refused(status: &Status) -> String {
    let rows = status.refused.iter().map(|event| {
        vec![
            event.topic.clone(),
            format!("{} {}", event.aggregate_type, event.aggregate_id),
            event.message_id.clone(),
            event.reason.clone(),
        ]
    });
    columns(&["REFUSED FOR", "AGGREGATE", "MESSAGE ID", "WHY"], rows.collect())
}

/// How long ago the owner was heard of.
fn beat(status: &Status, owner: Option<&str>) -> String {
    let relay = owner.and_then(|owner| status.relays.iter().find(|relay| relay.id == owner));
    match relay {
        None => "-".into(),
        Some(relay) if relay.live => format!("{} ago", age(relay.last_beat_seconds)),
        Some(relay) => format!("gone, {} ago", age(relay.last_beat_seconds)),
    }
}

fn old(events: u64, seconds: f64) -> String {
    if events == 0 { "-".into() } else { age(seconds) }
}

/// A span as people say it: its largest unit and the next.
fn age(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..120 => format!("{whole} s"),
        120..7_200 => format!("{} min {} s", whole / 60, whole % 60),
        7_200..172_800 => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Rows under a head, padded to the widest cell but in the last column.
fn columns(head: &[&str], mut rows: Vec<Vec<String>>) -> String {
    rows.iter_mut().flatten().for_each(|cell| *cell = plain(cell).into_owned());
    let mut widths: Vec<usize> = head.iter().map(|name| name.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head = head.iter().map(|name| (*name).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(&rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let padded = write!(line, "{cell:<width$}  ");
            debug_assert!(padded.is_ok(), "a String takes everything");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_the_units_that_matter() {
        for (seconds, text) in [
            (0.04, "0.0 s"),
            (9.96, "10.0 s"),
            (75.9, "75 s"),
            (125.0, "2 min 5 s"),
            (7_260.0, "2 h 1 min"),
            (180_000.0, "2 d 2 h"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["größe".to_owned(), "1".into()], vec!["b".into(), "22".into()]];
        assert_eq!(columns(&["A", "N"], rows), "A      N\ngröße  1\nb      22\n");
    }
}
