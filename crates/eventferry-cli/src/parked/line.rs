//! A parked event as a line of JSON, part of the program's interface: fields are added, never changed.

use eventferry::core::Row;
use eventferry::core::parked::ShownEvent;
use serde::Serialize;

use super::{decision_name, stage_name};
use crate::bytes::{Bytes, HeaderLine, base64};
use crate::ending::Trouble;

/// How much of an event is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// Where it stands, and why.
    Place,
    /// Everything but the payload.
    Headers,
    /// Everything.
    Payload,
}

/// A parked event.
#[derive(Debug, Serialize)]
pub(super) struct EventLine<'a> {
    message_id: String,
    topic: &'a str,
    aggregate_type: &'a str,
    aggregate_id: &'a str,
    /// One of those that `--stage` knows.
    stage: &'static str,
    attempts: u32,
    /// The class of the last refusal; null: it only waits behind an earlier one.
    class: Option<&'a str>,
    /// The words of the last refusal.
    reason: Option<&'a str>,
    /// Decided, and not carried out.
    decision: Option<&'static str>,
    /// RFC 3339, as all times.
    parked_at: String,
    due_at: Option<String>,
    enqueued_at: String,
    lane: u16,
    /// Null: a tombstone.
    payload_bytes: Option<usize>,
    #[serde(flatten)]
    headers: Option<Headers<'a>>,
    #[serde(flatten)]
    payload: Option<Payload>,
}

#[derive(Debug, Serialize)]
struct Headers<'a> {
    /// Null: the aggregate's id.
    key: Option<Bytes>,
    /// Null: chosen from the key.
    partition: Option<i32>,
    content_type: Option<&'a str>,
    /// In their order, with repeated names.
    headers: Vec<HeaderLine>,
}

#[derive(Debug, Serialize)]
struct Payload {
    payload_encoding: &'static str,
    /// Null: a tombstone.
    payload: Option<String>,
}

impl<'a> EventLine<'a> {
    /// What is told of an event.
    pub(super) fn of<R: Row>(event: &'a ShownEvent<R>, detail: Detail) -> Self {
        let row = &event.row;
        let mut headers = Vec::new();
        row.headers(&mut |name, value| {
            headers.push(HeaderLine::of(name, value));
        });
        let headers = Headers {
            key: row.key().map(Bytes::of),
            partition: row.partition(),
            content_type: row.content_type(),
            headers,
        };
        let payload = || Payload { payload_encoding: "base64", payload: row.payload().map(base64) };
        Self {
            message_id: row.message_id().to_string(),
            topic: row.topic(),
            aggregate_type: row.aggregate_type(),
            aggregate_id: row.aggregate_id(),
            stage: stage_name(event.stage),
            attempts: event.attempts,
            class: event.class.as_deref(),
            reason: event.message.as_deref(),
            decision: event.decision.map(decision_name),
            parked_at: event.parked_at.to_string(),
            due_at: event.due_at.map(|at| at.to_string()),
            enqueued_at: row.enqueued_at().to_string(),
            lane: event.key.lane.0,
            payload_bytes: row.payload().map(<[u8]>::len),
            headers: (detail != Detail::Place).then_some(headers),
            payload: (detail == Detail::Payload).then(payload),
        }
    }

    /// The line, with its end.
    pub(super) fn json(&self) -> Result<String, Trouble> {
        serde_json::to_string(self).map(|line| line + "\n").map_err(Trouble::bug)
    }
}

#[cfg(test)]
mod tests {
    use super::super::walk::tests::event;
    use super::*;
    use serde_json::{Value, json};

    fn line(detail: Detail) -> Value {
        let mut event = event(1);
        let own = event.row.event.clone().header("a", "1").header("a", [0, 255]).key([255]).partition(2);
        event.row.event = own;
        let line = EventLine::of(&event, detail).json().unwrap();
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn a_listed_event_shows_where_it_stands() {
        let line = line(Detail::Place);
        assert_eq!(line["stage"], "waiting");
        assert_eq!(line["class"], "MessageSizeTooLarge");
        assert_eq!(line["parked_at"], "1970-01-01T00:00:00.000000Z");
        assert_eq!((&line["due_at"], &line["decision"]), (&Value::Null, &Value::Null));
        assert_eq!(line["payload_bytes"], 2);
        assert!(line.get("headers").is_none() && line.get("payload").is_none());
    }

    #[test]
    fn an_exported_event_is_complete() {
        let line = line(Detail::Payload);
        assert_eq!((&line["payload_encoding"], &line["payload"]), (&json!("base64"), &json!("e30=")));
        assert_eq!(line["key"], json!({"base64": "/w=="}));
        assert_eq!((&line["partition"], &line["content_type"]), (&json!(2), &json!("application/json")));
        let headers = json!([{"name": "a", "text": "1"}, {"name": "a", "base64": "AP8="}]);
        assert_eq!(line["headers"], headers);
    }

    #[test]
    fn a_payload_comes_only_where_it_was_asked_for() {
        let shown = line(Detail::Headers);
        assert!(shown.get("payload").is_none() && shown["headers"].is_array());
        let mut tombstone = event(1);
        tombstone.row.event.payload = None;
        let text = EventLine::of(&tombstone, Detail::Payload).json().unwrap();
        let whole: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&whole["payload"], &whole["payload_bytes"]), (&Value::Null, &Value::Null));
    }
}
