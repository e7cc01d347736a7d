//! Parked events for people: a line each, or everything of one.

use eventferry::core::Row;
use eventferry::core::parked::{ShownEvent, Stage};
use jiff::Timestamp;

use super::line::Detail;
use super::{decision_name, stage_name};
use crate::bytes::{base64, written};
use crate::output::{grouped, plain};
use crate::table::{age, columns, counted};

/// What is said when nothing matches.
pub(super) const NOTHING: &str = "no parked event matches\n";

/// How much of a reason is in a table, in characters.
const REASON_CHARS: usize = 100;

/// How much of a payload is shown, in bytes.
const PAYLOAD_SHOWN_BYTES: usize = 4_096;

/// A list of parked events in the making.
#[derive(Debug)]
pub(super) struct List {
    now: Timestamp,
    rows: Vec<Vec<String>>,
}

impl List {
    /// An empty list, at this time by this host's clock.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { now, rows: Vec::new() }
    }

    /// How many events it has.
    pub(super) fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Adds an event.
    pub(super) fn add<R: Row>(&mut self, event: &ShownEvent<R>) {
        let decided = event.decision.map(|decision| format!(", {} decided", decision_name(decision)));
        self.rows.push(vec![
            event.row.message_id().to_string(),
            event.row.topic().to_owned(),
            format!("{} {}", event.row.aggregate_type(), event.row.aggregate_id()),
            format!("{}{}", stage_name(event.stage), decided.unwrap_or_default()),
            event.attempts.to_string(),
            ago(event.parked_at, self.now),
            due(event, self.now),
            shortened(&why(event)),
        ]);
    }

    /// The table.
    pub(super) fn text(self, was_cut: bool) -> String {
        if self.rows.is_empty() {
            return NOTHING.to_owned();
        }
        let listed = self.rows.len() as u64;
        let head = ["MESSAGE ID", "TOPIC", "AGGREGATE", "STAGE", "ATTEMPTS", "PARKED", "DUE", "WHY"];
        let mut text = columns(&head, self.rows);
        if was_cut {
            let counted = counted(listed, "event");
            text.push_str(&format!("\nthe first {counted} of more: say which, or give --limit\n"));
        }
        text
    }
}

/// Everything there is to know of an event.
pub(super) fn whole<R: Row>(event: &ShownEvent<R>, detail: Detail, now: Timestamp) -> String {
    let row = &event.row;
    let partition = row.partition().map(|partition| format!(", partition {partition}"));
    let mut lines = vec![
        ("message id", row.message_id().to_string()),
        ("topic", format!("{}{}", row.topic(), partition.unwrap_or_default())),
        ("aggregate", format!("{} {}", row.aggregate_type(), row.aggregate_id())),
        ("stage", format!("{}: {}", stage_name(event.stage), meaning(event.stage))),
        ("attempts", event.attempts.to_string()),
        ("why", why(event)),
        ("parked", format!("{} ({})", ago(event.parked_at, now), event.parked_at)),
        ("due", event.due_at.map_or_else(|| due(event, now), |at| format!("{} ({at})", due(event, now)))),
        ("decided", event.decision.map_or("nothing", decision_name).to_owned()),
        ("enqueued", format!("{} ({})", ago(row.enqueued_at(), now), row.enqueued_at())),
        ("key", row.key().map_or_else(|| "the aggregate's id".to_owned(), written)),
    ];
    if let Some(content_type) = row.content_type() {
        lines.push(("content type", content_type.to_owned()));
    }
    row.headers(&mut |name, value| lines.push(("header", format!("{name}: {}", written(value)))));
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (name, value) in &lines {
        text.push_str(&format!("{name:<width$}  {}\n", plain(value)));
    }
    text.push_str(&format!("{:<width$}  {}\n", "payload", payload(row.payload(), detail)));
    text
}

/// What is said of a payload, and if it was asked for the payload itself, on lines of its own.
fn payload(payload: Option<&[u8]>, detail: Detail) -> String {
    let Some(payload) = payload else { return "none: a tombstone".to_owned() };
    let size = counted(payload.len() as u64, "byte");
    if detail != Detail::Payload {
        return format!("{size}; --payload shows them");
    }
    let cut = payload.len().min(PAYLOAD_SHOWN_BYTES);
    let (form, shown) = match std::str::from_utf8(payload) {
        // Of a text that is cut, the last character may be in parts.
        Ok(_) => ("", String::from_utf8_lossy(&payload[..cut]).trim_end_matches('\u{fffd}').to_owned()),
        Err(_) => (", as base64", base64(&payload[..cut])),
    };
    let lines: Vec<_> = shown.lines().map(|line| plain(line).into_owned()).collect();
    let rest = match payload.len() - cut {
        0 => String::new(),
        rest => {
            format!("\n... and {} bytes more: `eventferry parked export` writes all", grouped(rest as u64))
        }
    };
    format!("{size}{form}\n{}{rest}", lines.join("\n"))
}

fn meaning(stage: Stage) -> &'static str {
    match stage {
        Stage::Topic => "goes to its topic when it is due",
        Stage::DeadLetterTopic => "given up, goes to the dead-letter topic when it is due",
        Stage::Waiting => "given up, waits for a person: retry or discard it",
        Stage::Held => "is in the dead-letter topic, and its aggregate waits for a person: release it",
    }
}

fn why<R>(event: &ShownEvent<R>) -> String {
    match (&event.class, &event.message) {
        (None, _) => "waits behind an earlier event of its aggregate".to_owned(),
        (Some(class), None) => class.clone(),
        (Some(class), Some(message)) => format!("{class}: {message}"),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(REASON_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn due<R>(event: &ShownEvent<R>, now: Timestamp) -> String {
    let Some(at) = event.due_at else { return "-".to_owned() };
    match seconds_since(at, now) {
        past if past >= 0.0 => "now".to_owned(),
        future => format!("in {}", age(-future)),
    }
}

fn ago(at: eventferry::core::Timestamp, now: Timestamp) -> String {
    format!("{} ago", age(seconds_since(at, now).max(0.0)))
}

fn seconds_since(at: eventferry::core::Timestamp, now: Timestamp) -> f64 {
    now.as_microsecond().saturating_sub(at.0) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::super::walk::tests::event;
    use super::*;
    use eventferry::core::parked::Decision;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_list_says_where_each_event_stands() {
        let (mut refused, mut behind) = (event(1), event(2));
        refused.stage = Stage::Topic;
        refused.due_at = Some(eventferry::core::Timestamp(90_000_000));
        refused.decision = Some(Decision::Discard);
        (behind.class, behind.message) = (None, None);
        let mut list = List::new(at(75));
        list.add(&refused);
        list.add(&behind);
        let text = list.text(true);
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[1].contains("orders  order 1    topic, discard decided  5         75 s ago  in 15 s"),
            "{text}"
        );
        assert!(lines[1].ends_with("MessageSizeTooLarge: the record is over the limit"), "{text}");
        assert!(lines[2].ends_with("-        waits behind an earlier event of its aggregate"), "{text}");
        assert_eq!(lines[4], "the first 2 events of more: say which, or give --limit");
        assert_eq!(List::new(at(0)).text(false), NOTHING);
    }

    #[test]
    fn a_payload_is_shown_only_on_request_and_says_nothing_to_the_terminal() {
        let mut event = event(1);
        event.row.event.payload = Some(b"{\"a\":\n\x1b[31m1}".to_vec());
        event.row.event.headers.clear();
        let event = &event;
        assert!(
            whole(event, Detail::Headers, at(0)).ends_with("payload       13 bytes; --payload shows them\n")
        );
        let text = whole(event, Detail::Payload, at(0));
        assert!(text.ends_with("13 bytes\n{\"a\":\n\\u{1b}[31m1}\n"), "{text}");
    }

    #[test]
    fn of_a_large_payload_the_beginning_is_shown() {
        let text = payload(Some("ö".repeat(4_000).as_bytes()), Detail::Payload);
        assert!(text.contains(&"ö".repeat(2_048)) && !text.contains(&"ö".repeat(2_049)));
        assert!(text.ends_with("... and 3,904 bytes more: `eventferry parked export` writes all"), "{text}");
        let odd = format!("x{}", "ö".repeat(4_000));
        assert!(!payload(Some(odd.as_bytes()), Detail::Payload).contains('\u{fffd}'));
        assert!(payload(Some(&[255]), Detail::Payload).ends_with("1 byte, as base64\n/w=="));
        assert_eq!(payload(None, Detail::Payload), "none: a tombstone");
    }

    #[test]
    fn a_long_reason_is_shortened_in_a_table() {
        assert_eq!(shortened(&"ö".repeat(101)), format!("{}...", "ö".repeat(100)));
        assert_eq!(shortened(&"ö".repeat(100)), "ö".repeat(100));
    }
}
