//! A record as a line of JSON, part of the program's interface: fields are added, never changed.

use eventferry::consumer::{Arrival, DeadLetter, TraceContext};
use eventferry::kafka::TopicRecord;
use serde::Serialize;

use super::text::arrival_of;
use crate::bytes::{Bytes, HeaderLine};
use crate::ending::Trouble;
use crate::output::plain_json;

/// A record.
#[derive(Debug, Serialize)]
struct RecordLine<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    /// RFC 3339; null: the record has none.
    timestamp: Option<String>,
    /// Null, as all the event's own, where the record is another program's.
    message_id: Option<String>,
    aggregate_type: Option<&'a str>,
    aggregate_id: Option<&'a str>,
    content_type: Option<&'a str>,
    /// Null: the record has none.
    key: Option<Bytes>,
    /// The event's own, in their order, with repeated names; all of the record's where it is another program's.
    headers: Vec<HeaderLine>,
    trace: Option<TraceLine<'a>>,
    dead_letter: Option<DeadLetterLine>,
    /// Why the record cannot be decoded; null: it is eventferry's.
    undecoded: Option<String>,
    payload_bytes: Option<usize>,
    /// Null: a tombstone.
    payload: Option<Bytes>,
}

#[derive(Debug, Serialize)]
struct TraceLine<'a> {
    traceparent: &'a str,
    tracestate: Option<String>,
}

#[derive(Debug, Serialize)]
struct DeadLetterLine {
    reason: String,
    class: String,
    original_topic: String,
    original_partition: Option<i32>,
    failed_at: Option<String>,
    attempts: Option<u32>,
    detail: Option<String>,
}

/// The line, with its end.
pub(super) fn json(topic: &str, record: &TopicRecord) -> Result<String, Trouble> {
    let decoded = arrival_of(record);
    let arrival = decoded.as_ref().ok();
    let own = |arrival: &Arrival<'_>| {
        arrival.headers.iter().map(|(name, value)| HeaderLine::of(name, value)).collect()
    };
    let all = || record.headers.iter().map(|(name, value)| HeaderLine::of(name, value)).collect();
    let line = RecordLine {
        topic,
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp.map(|at| at.to_string()),
        message_id: arrival.map(|arrival| arrival.message_id.to_string()),
        aggregate_type: arrival.map(|arrival| arrival.aggregate_type),
        aggregate_id: arrival.map(|arrival| arrival.aggregate_id),
        content_type: arrival.and_then(|arrival| arrival.content_type),
        key: record.key.as_deref().map(Bytes::of),
        headers: arrival.map_or_else(all, own),
        trace: arrival.and_then(|arrival| arrival.trace.as_ref()).map(TraceLine::of),
        dead_letter: arrival.and_then(|arrival| arrival.dead_letter.as_ref()).map(DeadLetterLine::of),
        undecoded: decoded.as_ref().err().map(|fault| fault.message().to_owned()),
        payload_bytes: record.payload.as_ref().map(Vec::len),
        payload: record.payload.as_deref().map(Bytes::of),
    };
    let line = serde_json::to_string(&line).map_err(Trouble::bug)?;
    Ok(format!("{}\n", plain_json(&line)))
}

impl<'a> TraceLine<'a> {
    fn of(trace: &TraceContext<'a>) -> Self {
        let tracestate = trace.tracestate.as_ref().map(ToString::to_string);
        Self { traceparent: trace.traceparent, tracestate }
    }
}

impl DeadLetterLine {
    fn of(letter: &DeadLetter<'_>) -> Self {
        Self {
            reason: letter.reason.to_string(),
            class: letter.error_class.to_string(),
            original_topic: letter.original_topic.to_string(),
            original_partition: letter.original_partition,
            failed_at: letter.failed_at.map(|at| at.to_string()),
            attempts: letter.attempts,
            detail: letter.detail.as_ref().map(ToString::to_string),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::text::tests::{dead, record};
    use super::*;

    fn line(record: &TopicRecord) -> Value {
        let line = json("orders", record).unwrap();
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn a_line_is_complete() {
        let line = line(&record());
        assert_eq!((&line["topic"], &line["partition"]), (&json!("orders"), &json!(3)));
        assert_eq!(
            (&line["offset"], &line["timestamp"]),
            (&json!(17), &json!("2026-11-26T20:55:20.123000Z"))
        );
        assert_eq!(line["message_id"], "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f");
        assert_eq!((&line["aggregate_type"], &line["aggregate_id"]), (&json!("order"), &json!("42")));
        assert_eq!(
            (&line["content_type"], &line["key"]),
            (&json!("application/json"), &json!({"text": "42"}))
        );
        assert_eq!(line["headers"][0], json!({"name": "b", "text": "1"}));
        assert_eq!(line["headers"][1], json!({"name": "b", "base64": "AP8="}));
        assert_eq!(line["trace"]["traceparent"], line["headers"][2]["text"]);
        assert_eq!(line["payload"], json!({"text": "{\n\"total\": 7}"}));
        assert_eq!(line["payload_bytes"], 13);
        assert_eq!((&line["dead_letter"], &line["undecoded"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn a_dead_letter_says_why() {
        let line = line(&dead());
        assert_eq!(line["dead_letter"]["reason"], "too large");
        assert_eq!(line["dead_letter"]["attempts"], 5);
        assert_eq!(line["dead_letter"]["detail"], Value::Null);
        assert_eq!(line["headers"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_record_of_another_program_is_shown_as_it_is() {
        let mut foreign = TopicRecord::default();
        foreign.payload = Some(vec![0xff]);
        foreign.headers = vec![("aggregate-id".into(), b"42".to_vec())];
        let line = line(&foreign);
        assert_eq!(line["undecoded"], "no header message-id");
        assert_eq!((&line["message_id"], &line["key"]), (&Value::Null, &Value::Null));
        assert_eq!(line["headers"], json!([{"name": "aggregate-id", "text": "42"}]));
        assert_eq!(line["payload"], json!({"base64": "/w=="}));
        foreign.payload = None;
        assert_eq!(self::line(&foreign)["payload"], Value::Null);
    }

    #[test]
    fn a_payload_drives_no_terminal() {
        let mut steering = record();
        steering.payload = Some("\u{1b}]0;x\u{7}\u{9b}31m\u{202e}".into());
        let line = json("orders", &steering).unwrap();
        assert!(!line.trim_end().contains(|c: char| c.is_control() || c == '\u{202e}'), "{line}");
        assert_eq!(self::line(&steering)["payload"]["text"], "\u{1b}]0;x\u{7}\u{9b}31m\u{202e}");
    }
}
