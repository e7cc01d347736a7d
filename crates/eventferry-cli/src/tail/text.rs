//! A record for people.

use eventferry::consumer::{Arrival, DeadLetter, DecodeFault};
use eventferry::kafka::TopicRecord;

use crate::bytes::{base64, written};
use crate::output::plain;
use crate::table::counted;

/// The event that a record carries.
pub(super) fn arrival_of(record: &TopicRecord) -> Result<Arrival<'_>, DecodeFault> {
    let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    Arrival::decode(headers, record.key.as_deref(), record.payload.as_deref())
}

/// A record: a line that says which, then the rest, further in, so that no payload looks like another record.
pub(super) fn whole(record: &TopicRecord) -> String {
    let at = record.timestamp.map_or_else(|| "no time".to_owned(), |at| at.to_string());
    let place = format!("{at}  {}:{}", record.partition, record.offset);
    let key = record.key.as_deref();
    let key_row = || ("key", key.map_or_else(|| "none".to_owned(), written));
    let mut rows = Vec::new();
    let (which, content_type) = match arrival_of(record) {
        Ok(arrival) => {
            rows.extend((key != Some(arrival.aggregate_id.as_bytes())).then(key_row));
            rows.extend(headers(arrival.headers.iter().copied()));
            rows.extend(arrival.dead_letter.iter().map(|letter| ("given up", given_up(letter))));
            let Arrival { aggregate_type, aggregate_id, message_id, .. } = arrival;
            (format!("{aggregate_type} {aggregate_id}  {message_id}"), arrival.content_type)
        }
        Err(fault) => {
            rows.push(key_row());
            rows.extend(headers(record.headers.iter().map(|(name, value)| (name.as_str(), &value[..]))));
            (format!("not eventferry's: {}", fault.message()), None)
        }
    };
    let mut text = format!("{}\n", plain(&format!("{place}  {which}")));
    for (name, value) in rows {
        text.push_str(&format!("    {name:<8}  {}\n", plain(&value)));
    }
    text.push_str(&payload(record.payload.as_deref(), content_type));
    text
}

fn headers<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> impl Iterator<Item = (&'static str, String)> {
    headers.map(|(name, value)| ("header", format!("{name}: {}", written(value))))
}

/// The payload on lines of its own.
fn payload(payload: Option<&[u8]>, content_type: Option<&str>) -> String {
    let Some(payload) = payload else { return "    payload   none: a tombstone\n".to_owned() };
    let text = std::str::from_utf8(payload);
    let form = if text.is_err() { ", as base64" } else { "" };
    let kind = content_type.map(|kind| format!(" of {kind}")).unwrap_or_default();
    let head = format!("{}{kind}{form}", counted(payload.len() as u64, "byte"));
    let mut shown = format!("    payload   {}\n", plain(&head));
    match text {
        Ok(text) => text.lines().for_each(|line| shown.push_str(&format!("      {}\n", plain(line)))),
        Err(_) => shown.push_str(&format!("      {}\n", base64(payload))),
    }
    shown
}

fn given_up(letter: &DeadLetter<'_>) -> String {
    let DeadLetter { error_class, reason, original_topic, .. } = letter;
    let partition = letter.original_partition.map(|partition| format!(" [{partition}]")).unwrap_or_default();
    let attempts = letter.attempts.map(|attempts| format!(", {}", counted(attempts.into(), "attempt")));
    let failed_at = letter.failed_at.map(|at| format!(", last at {at}")).unwrap_or_default();
    let detail = letter.detail.as_ref().map(|detail| format!(", {detail}")).unwrap_or_default();
    let attempts = attempts.unwrap_or_default();
    format!("{error_class}: {reason}; for {original_topic}{partition}{attempts}{failed_at}{detail}")
}

#[cfg(test)]
pub(super) mod tests {
    use eventferry::core::Timestamp;

    use super::*;

    fn with(headers: &[(&str, &[u8])]) -> TopicRecord {
        let mut record = TopicRecord::default();
        (record.partition, record.offset) = (3, 17);
        record.timestamp = Some(Timestamp(1_795_726_520_123_000));
        record.key = Some(b"42".to_vec());
        record.headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        record
    }

    const OURS: [(&str, &[u8]); 3] = [
        ("message-id", b"0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f"),
        ("aggregate-type", b"order"),
        ("aggregate-id", b"42"),
    ];

    pub(in super::super) fn record() -> TopicRecord {
        let own: [(&str, &[u8]); 4] = [
            ("content-type", b"application/json"),
            ("b", b"1"),
            ("b", &[0, 255]),
            ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ];
        let mut record = with(&[&OURS[..], &own].concat());
        record.payload = Some("{\n\"total\": 7}".into());
        record
    }

    pub(in super::super) fn dead() -> TopicRecord {
        let own: [(&str, &[u8]); 6] = [
            ("b", b"1"),
            ("dlq-reason", b"too large"),
            ("dlq-error-class", b"MessageSizeTooLarge"),
            ("dlq-original-topic", b"orders"),
            ("dlq-failed-at", b"2026-11-26T20:55:20.123456Z"),
            ("dlq-attempts", b"5"),
        ];
        with(&[&OURS[..], &own].concat())
    }

    #[test]
    fn a_record_says_where_it_is_what_it_is_about_and_what_it_holds() {
        let text = whole(&record());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "2026-11-26T20:55:20.123000Z  3:17  order 42  0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f",
                "    header    b: 1",
                "    header    b: AP8= (base64)",
                "    header    traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                "    payload   13 bytes of application/json",
                "      {",
                "      \"total\": 7}",
            ]
        );
        let mut keyed = record();
        (keyed.key, keyed.payload) = (Some(b"k".to_vec()), Some(vec![0xff]));
        let text = whole(&keyed);
        assert!(text.contains("\n    key       k\n"), "{text}");
        assert!(text.ends_with("1 byte of application/json, as base64\n      /w==\n"), "{text}");
    }

    #[test]
    fn a_dead_letter_and_a_tombstone_are_said_to_be_such() {
        let text = whole(&dead());
        let why = "    given up  MessageSizeTooLarge: too large; for orders, 5 attempts, last at \
                   2026-11-26T20:55:20.123456Z\n";
        assert!(text.contains(why) && text.ends_with("\n    payload   none: a tombstone\n"), "{text}");
    }

    #[test]
    fn a_record_of_another_program_is_shown_as_it_is() {
        let mut foreign = with(&[("aggregate-id", b"42")]);
        (foreign.key, foreign.timestamp) = (None, None);
        let text = whole(&foreign);
        assert!(text.starts_with("no time  3:17  not eventferry's: no header message-id\n"), "{text}");
        assert!(text.contains("    key       none\n    header    aggregate-id: 42\n"), "{text}");
    }

    #[test]
    fn nothing_in_a_record_drives_the_terminal_or_looks_like_another_record() {
        let steering = "\u{1b}[2J\r\n2026 0:1 order 43\u{9b}\u{202e}\u{2028}";
        let mut record = record();
        record.payload = Some(steering.into());
        record.key = Some(steering.into());
        for (name, value) in &mut record.headers {
            if name != "message-id" {
                *value = steering.into();
            }
        }
        record.headers.push((steering.into(), Vec::new()));
        let text = whole(&record);
        let steers = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}' || c == '\u{2028}');
        assert!(!text.contains(steers), "{text:?}");
        assert_eq!(text.lines().filter(|line| !line.starts_with("    ")).count(), 1, "{text}");
    }
}
