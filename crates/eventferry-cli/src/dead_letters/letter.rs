//! A dead letter, read back as the event that it was.

use std::time::Duration;

use eventferry::core::enqueue::check;
use eventferry::kafka::TopicRecord;
use eventferry::postgres::PAYLOAD_BYTES_MAX;
use eventferry::{Event, Header, MessageId};
use jiff::Timestamp;

use crate::arguments::ReplayFilterArguments;
use crate::ending::Trouble;
use crate::settings::{Given, duration};

/// What all headers that a dead letter has beside the event's begin with.
const PREFIX: &str = "dlq-";

/// A record of a dead-letter topic that can be replayed.
#[derive(Debug)]
pub(super) struct Letter {
    /// What to enqueue.
    pub(super) event: Event,
    /// For which topic it was, if it says so.
    pub(super) original_topic: Option<String>,
    pub(super) class: Option<String>,
    pub(super) reason: Option<String>,
    /// When it was refused last.
    pub(super) failed_at: Option<Timestamp>,
}

impl Letter {
    /// The event of a record: for `to_topic`, else for the topic and partition it was meant for.
    ///
    /// # Errors
    /// It cannot be enqueued; the text says why, and shows neither payload nor headers' values.
    pub(super) fn of(record: TopicRecord, to_topic: Option<&str>) -> Result<Self, String> {
        let TopicRecord { key, payload, headers, .. } = record;
        let (about, mut headers): (Vec<_>, Vec<_>) =
            headers.into_iter().partition(|(name, _)| name.starts_with(PREFIX));
        // The last of a name is the relay's: an application may have enqueued a dead letter as it was.
        let said = |name| {
            let value = about.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value)?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        let original_topic = said("dlq-original-topic");
        let topic = to_topic.map(str::to_owned).or_else(|| original_topic.clone());
        let topic = topic.ok_or_else(|| missing("dlq-original-topic"))?;
        let message_id = text(&mut headers, "message-id")?;
        let aggregate_type = text(&mut headers, "aggregate-type")?;
        let aggregate_id = text(&mut headers, "aggregate-id")?;
        let mut event = Event::new(topic, (aggregate_type, aggregate_id));
        event.message_id =
            Some(message_id.parse().map_err(|_| "the header message-id is not a UUID".to_owned())?);
        // Its place is right after those three; another one is the application's own.
        if headers
            .first()
            .is_some_and(|(name, value)| name == "content-type" && std::str::from_utf8(value).is_ok())
        {
            event.content_type = Some(text(&mut headers, "content-type")?);
        }
        event.key = key.filter(|key| *key != event.aggregate.id.as_bytes());
        event.payload = payload;
        event.headers = headers.into_iter().map(|(name, value)| Header { name, value }).collect();
        if to_topic.is_none()
            && let Some(partition) = said("dlq-original-partition")
        {
            let parsed = partition.parse().map_err(|_| "dlq-original-partition is not a number".to_owned());
            event.partition = Some(parsed?);
        }
        check(&event, PAYLOAD_BYTES_MAX).map_err(|refusal| refusal.to_string())?;
        let failed_at = said("dlq-failed-at").and_then(|text| text.parse().ok());
        Ok(Self {
            event,
            original_topic,
            class: said("dlq-error-class"),
            reason: said("dlq-reason"),
            failed_at,
        })
    }
}

/// Takes the first header of this name, which must be there and be text.
fn text(headers: &mut Vec<(String, Vec<u8>)>, name: &str) -> Result<String, String> {
    let at = headers.iter().position(|(found, _)| found == name).ok_or_else(|| missing(name))?;
    let (_, value) = headers.remove(at);
    String::from_utf8(value).map_err(|_| format!("the header {name} is not UTF-8"))
}

fn missing(name: &str) -> String {
    format!("no header {name}")
}

/// Which dead letters a person means: those that match every part that is given.
#[derive(Debug, Default)]
pub(super) struct Filter {
    ids: Vec<MessageId>,
    aggregate_type: Option<String>,
    aggregate_id: Option<String>,
    original_topic: Option<String>,
    /// In lower case.
    reason: Option<String>,
    refused_before: Option<Timestamp>,
}

impl Filter {
    /// The filter that the arguments say, at this time.
    ///
    /// # Errors
    /// The age is no duration.
    pub(super) fn of(arguments: &ReplayFilterArguments, now: Timestamp) -> Result<Self, Trouble> {
        let older_than = arguments.older_than.as_deref();
        let older_than =
            older_than.map(|text| Given::flag("older_than", text).parse(duration)).transpose()?;
        let before = |age: Duration| now.checked_sub(age).unwrap_or(Timestamp::MIN);
        Ok(Self {
            ids: arguments.ids.clone(),
            aggregate_type: arguments.aggregate_type.clone(),
            aggregate_id: arguments.aggregate_id.clone(),
            original_topic: arguments.original_topic.clone(),
            reason: arguments.reason.as_deref().map(str::to_lowercase),
            refused_before: older_than.map(before),
        })
    }

    /// Whether a letter matches.
    pub(super) fn takes(&self, letter: &Letter) -> bool {
        let Letter { event, original_topic, class, reason, failed_at } = letter;
        let id = self.ids.is_empty() || event.message_id.is_some_and(|id| self.ids.contains(&id));
        let aggregate_type = self.aggregate_type.as_ref().is_none_or(|kind| *kind == event.aggregate.kind);
        let aggregate_id = self.aggregate_id.as_ref().is_none_or(|id| *id == event.aggregate.id);
        let topic = self.original_topic.is_none() || self.original_topic == *original_topic;
        let said = |text: &Option<String>| text.as_deref().map(str::to_lowercase).unwrap_or_default();
        let reason =
            self.reason.as_ref().is_none_or(|wanted| said(class) == *wanted || said(reason).contains(wanted));
        let age = self.refused_before.is_none_or(|before| failed_at.is_some_and(|at| at <= before));
        id && aggregate_type && aggregate_id && topic && reason && age
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventferry::core::envelope::{DeadLetter, collect_headers};
    use eventferry::core::parked::Death;
    use eventferry::core::{Envelope, StoredEvent};
    use eventferry::kafka::TopicRecord;

    const ID: &str = "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f";

    /// The record that a relay would have sent for an event it gave up.
    fn record(event: Event) -> TopicRecord {
        let failed_at = eventferry::core::Timestamp(1_795_726_520_123_456);
        let death = Death { class: "MessageSizeTooLarge".into(), message: "Too large".into(), failed_at };
        let row = StoredEvent { message_id: ID.parse().unwrap(), event, enqueued_at: failed_at };
        let letter = DeadLetter { topic: "orders.dlq", death: &death, attempts: 5, detail: Some("lane 3") };
        let envelope = Envelope::of_dead(&row, letter);
        let mut record = TopicRecord::default();
        record.key = Some(envelope.key().to_vec());
        record.payload = envelope.payload().map(<[u8]>::to_vec);
        record.headers = collect_headers(&envelope);
        record
    }

    fn original() -> Event {
        Event::new("orders", ("order", 42))
            .payload("{}", "application/json")
            .header("b", "1")
            .header("b", [0, 255])
    }

    #[test]
    fn an_event_comes_back_as_it_was() {
        let id = ID.parse().unwrap();
        let mut odd = Event::new("orders", ("order", 42)).key([0, 255]).partition(3);
        odd = odd.header("a", "1").header("content-type", "own").header("message-id", "own");
        let mut bare = Event::new("orders", ("order", 42));
        bare.payload = Some(Vec::new());
        for event in [original(), odd, bare, Event::new("orders", ("order", 42)).key("")] {
            let letter = Letter::of(record(event.clone()), None).unwrap();
            assert_eq!(letter.event, event.message_id(id));
            assert_eq!(letter.original_topic.as_deref(), Some("orders"));
        }
    }

    #[test]
    fn an_own_content_type_at_the_first_place_is_sent_the_same() {
        let event = Event::new("orders", ("order", 42)).header("content-type", "own");
        let sent = |event: Event| {
            let row = StoredEvent {
                message_id: ID.parse().unwrap(),
                event,
                enqueued_at: eventferry::core::Timestamp(0),
            };
            collect_headers(&Envelope::of(&row))
        };
        let letter = Letter::of(record(event.clone()), None).unwrap();
        assert_eq!(sent(letter.event), sent(event));
    }

    #[test]
    fn another_topic_chooses_its_own_partition() {
        let letter = Letter::of(record(original().partition(3)), Some("orders.mended")).unwrap();
        assert_eq!((letter.event.topic.as_str(), letter.event.partition), ("orders.mended", None));
    }

    #[test]
    fn what_is_no_dead_letter_is_said_to_be_none() {
        let without = |name: &str| {
            let mut record = record(original());
            record.headers.retain(|(found, _)| found != name);
            Letter::of(record, None).map(|_| ()).unwrap_err()
        };
        for name in ["message-id", "aggregate-type", "aggregate-id", "dlq-original-topic"] {
            assert_eq!(without(name), format!("no header {name}"));
        }
        let with = |name: &str, value: &[u8]| {
            let mut record = record(original());
            record
                .headers
                .iter_mut()
                .filter(|(found, _)| found == name)
                .for_each(|(_, old)| *old = value.into());
            record.headers.push(("dlq-original-partition".into(), b"0".to_vec()));
            record
                .headers
                .extend((name == "dlq-original-partition").then(|| (name.to_owned(), value.to_vec())));
            Letter::of(record, None).map(|_| ()).unwrap_err()
        };
        assert!(with("message-id", b"7").contains("not a UUID"));
        assert!(with("aggregate-id", &[255]).contains("not UTF-8"));
        assert!(with("aggregate-id", b"").contains("id is empty"));
        assert!(with("dlq-original-partition", b"x").contains("not a number"));
        assert!(with("dlq-original-partition", b"-1").contains("partition is negative"));
        assert!(with("dlq-original-topic", &[b'x'; 250]).contains("longer than 249"));
    }

    #[test]
    fn a_dead_letter_that_was_enqueued_as_it_was_goes_by_what_the_relay_added() {
        let mut event = original();
        event.headers.push(Header { name: "dlq-original-topic".into(), value: b"older".to_vec() });
        let letter = Letter::of(record(event), None).unwrap();
        assert_eq!(letter.event.topic, "orders");
        assert!(letter.event.headers.iter().all(|header| header.name == "b"));
    }

    #[test]
    fn a_filter_takes_what_matches_every_part_of_it() {
        let letter = Letter::of(record(original()), None).unwrap();
        let now: Timestamp = "2026-11-26T21:00:00Z".parse().unwrap();
        let takes = |change: &dyn Fn(&mut ReplayFilterArguments)| {
            let mut arguments = ReplayFilterArguments::default();
            change(&mut arguments);
            Filter::of(&arguments, now).unwrap().takes(&letter)
        };
        assert!(takes(&|_| ()));
        assert!(takes(&|arguments| arguments.ids = vec![MessageId([0; 16]), ID.parse().unwrap()]));
        assert!(!takes(&|arguments| arguments.ids = vec![MessageId([0; 16])]));
        assert!(takes(&|arguments| arguments.aggregate_type = Some("order".into())));
        assert!(!takes(&|arguments| arguments.aggregate_id = Some("4".into())));
        assert!(!takes(&|arguments| arguments.original_topic = Some("order".into())));
        assert!(takes(&|arguments| arguments.reason = Some("messagesizetoolarge".into())));
        assert!(takes(&|arguments| arguments.reason = Some("LARGE".into())));
        assert!(!takes(&|arguments| arguments.reason = Some("MessageSize".into())));
        assert!(takes(&|arguments| arguments.older_than = Some("4m".into())));
        assert!(!takes(&|arguments| arguments.older_than = Some("5m".into())));
    }
}
