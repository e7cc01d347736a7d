//! The state of an outbox for people: the summary first, then who carries what, then what is refused.

use std::collections::BTreeMap;

use super::{LaneStatus, LogStatus, Status};
use crate::output::grouped;
use crate::table::{age, columns, counted};

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
    if let Some(log) = &status.log {
        lines.push(kept(log));
    }
    lines.join("\n") + "\n"
}

/// What the database keeps of its log for relays.
fn kept(log: &LogStatus) -> String {
    if log.lost {
        return "log      lost: the database has let go of what it kept for relays; see docs/postgres-tail.md".into();
    }
    let spare = match log.spare_bytes {
        Some(spare) => format!("; lets go of it after {} more", size(spare)),
        None => String::new(),
    };
    format!("log      {} kept by the database for relays{spare}", size(log.kept_bytes))
}

/// Bytes, to about three digits.
fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
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
            event.stage.to_owned(),
            event.attempts.to_string(),
            event.reason.clone(),
        ]
    });
    let head = ["REFUSED FOR", "AGGREGATE", "MESSAGE ID", "STAGE", "ATTEMPTS", "WHY"];
    let table = columns(&head, rows.collect());
    format!("{table}\n`eventferry parked list` shows all of them, `eventferry parked --help` what to do.\n")
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
