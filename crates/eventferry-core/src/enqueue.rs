//! The application's side: appending events to its own transaction.

use alloc::format;
use alloc::string::String;
use core::error::Error;
use core::fmt;
use core::future::Future;

use alloc::boxed::Box;

use crate::event::{Event, MessageId};

/// Appends events to the caller's own transaction: one implementation for each type of transaction.
///
/// Who calls: the application, between beginning and committing its transaction, as often as it likes. The events
/// exist if and only if that transaction (and the savepoint around the call) commits; their order within it is the
/// order of the calls and, within a call, of the slice.
pub trait Enqueue<Tx: ?Sized> {
    /// Appends `events` in order; an empty slice does nothing. Returns their message ids, in the same order.
    ///
    /// # Errors
    /// [`EnqueueFaultKind::Refused`]: an event breaks a limit; nothing was added, and the transaction can go on.
    /// [`EnqueueFaultKind::Database`]: the database refused; whether the transaction can go on is the database's
    /// rule (PostgreSQL: roll back, at least to a savepoint).
    fn enqueue(
        &self,
        transaction: &mut Tx,
        events: &[Event],
    ) -> impl Future<Output = Result<alloc::vec::Vec<MessageId>, EnqueueFault>> + Send;
}

/// The same for drivers that do not wait: diesel's connections, rusqlite's transactions.
///
/// Who calls, and what is promised, is as of [`Enqueue`].
pub trait Append<Tx: ?Sized> {
    /// Appends `events` in order; an empty slice does nothing. Returns their message ids, in the same order.
    ///
    /// # Errors
    /// As [`Enqueue::enqueue`].
    fn append(
        &self,
        transaction: &mut Tx,
        events: &[Event],
    ) -> Result<alloc::vec::Vec<MessageId>, EnqueueFault>;
}

/// What can be enqueued: an [`Event`], or a value of a type that says which event it is.
pub trait IntoEvent {
    /// The event to append.
    ///
    /// # Errors
    /// [`EnqueueFaultKind::Refused`]: the value has no form that can be sent; the message says what of it.
    fn into_event(self) -> Result<Event, EnqueueFault>;
}

impl IntoEvent for Event {
    fn into_event(self) -> Result<Event, EnqueueFault> {
        Ok(self)
    }
}

/// A copy, so that a slice of events can be enqueued and kept.
impl IntoEvent for &Event {
    fn into_event(self) -> Result<Event, EnqueueFault> {
        Ok(self.clone())
    }
}

/// The events of these values, for an outbox's call that takes several.
///
/// # Errors
/// That of the first value that is none.
pub fn into_events(
    events: impl IntoIterator<Item = impl IntoEvent>,
) -> Result<alloc::vec::Vec<Event>, EnqueueFault> {
    events.into_iter().map(IntoEvent::into_event).collect()
}

/// The id of the one event that was appended, for an outbox's call that takes one.
///
/// # Errors
/// [`EnqueueFaultKind::Refused`]: there is none, which no outbox should answer.
pub fn only_id(ids: &[MessageId]) -> Result<MessageId, EnqueueFault> {
    ids.first().copied().ok_or_else(|| EnqueueFault::refused("the outbox took no event"))
}

/// Why events were not appended.
#[derive(Debug)]
pub struct EnqueueFault {
    kind: EnqueueFaultKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What to do about events that were not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnqueueFaultKind {
    /// An event breaks a limit that the message names: change the event; nothing was added.
    Refused,
    /// The database refused: see the source, and roll back.
    Database,
}

impl EnqueueFault {
    /// An event that breaks a limit, said in `message`.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { kind: EnqueueFaultKind::Refused, message: message.into(), source: None }
    }

    /// A refusal of the database.
    pub fn database(message: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: EnqueueFaultKind::Database, message: message.into(), source: Some(source.into()) }
    }

    /// What to do now.
    pub fn kind(&self) -> EnqueueFaultKind {
        self.kind
    }
}

impl fmt::Display for EnqueueFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for EnqueueFault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// The longest topic name, in characters: Kafka's own limit.
pub const TOPIC_CHARS_MAX: usize = 249;

/// The longest aggregate type or id, in bytes of UTF-8.
pub const AGGREGATE_BYTES_MAX: usize = 1024;

/// Checks an event against the limits that every store shares and against `payload_bytes_max`, its store's own.
///
/// # Errors
/// [`EnqueueFaultKind::Refused`], naming the limit and what the event has instead; never a payload.
pub fn check(event: &Event, payload_bytes_max: u64) -> Result<(), EnqueueFault> {
    let named = |what: &str| {
        let Event { topic, aggregate, .. } = event;
        EnqueueFault::refused(format!(
            "event for topic `{topic}`, aggregate `{}` `{}`: {what}",
            aggregate.kind, aggregate.id
        ))
    };
    if event.topic.is_empty() {
        return Err(named("the topic is empty; name one"));
    }
    if event.topic.chars().count() > TOPIC_CHARS_MAX {
        return Err(named(&format!("the topic is longer than {TOPIC_CHARS_MAX} characters; shorten it")));
    }
    for (what, text) in [("type", &event.aggregate.kind), ("id", &event.aggregate.id)] {
        if text.is_empty() {
            return Err(named(&format!(
                "the aggregate's {what} is empty; events are ordered by it, so name one"
            )));
        }
        if text.len() > AGGREGATE_BYTES_MAX {
            return Err(EnqueueFault::refused(format!(
                "event for topic `{}`: the aggregate's {what} is longer than {AGGREGATE_BYTES_MAX} bytes; shorten it",
                event.topic
            )));
        }
        if text.contains('\0') {
            return Err(named(&format!("the aggregate's {what} holds a zero byte; leave it out")));
        }
    }
    let names = event.headers.iter().map(|header| ("a header's name", &header.name));
    let texts = [("the topic", &event.topic)].into_iter();
    let texts = texts.chain(event.content_type.iter().map(|text| ("the content type", text))).chain(names);
    if let Some((what, _)) = texts.into_iter().find(|(_, text)| text.contains('\0')) {
        return Err(named(&format!("{what} holds a zero byte; leave it out")));
    }
    let payload_bytes = event.payload.as_ref().map_or(0, alloc::vec::Vec::len) as u64;
    if payload_bytes > payload_bytes_max {
        return Err(named(&format!(
            "the payload has {payload_bytes} bytes, over the limit of {payload_bytes_max}; \
             store it elsewhere and send a reference"
        )));
    }
    if event.partition.is_some_and(|partition| partition < 0) {
        return Err(named("the partition is negative; give 0 or more, or none"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn each_limit_is_named_in_its_refusal() {
        let long = "x".repeat(AGGREGATE_BYTES_MAX + 1);
        for (event, says) in [
            (Event::new("", ("order", 1)), "topic is empty"),
            (Event::new("t".repeat(250), ("order", 1)), "longer than 249"),
            (Event::new("t", ("", 1)), "type is empty"),
            (Event::new("t", ("order", "")), "id is empty"),
            (Event::new("t", ("order", long.as_str())), "longer than 1024"),
            (Event::new("t", ("order", "a\0b")), "id holds a zero byte"),
            (Event::new("t\0", ("order", 1)), "topic holds a zero byte"),
            (Event::new("t", ("order", 1)).payload("", "a\0"), "content type holds a zero byte"),
            (Event::new("t", ("order", 1)).header("\0", ""), "header's name holds a zero byte"),
            (Event::new("t", ("order", 1)).payload("12345", "text/plain"), "limit of 4"),
            (Event::new("t", ("order", 1)).partition(-1), "negative"),
        ] {
            let fault = check(&event, 4).unwrap_err();
            assert_eq!(fault.kind(), EnqueueFaultKind::Refused);
            assert!(fault.to_string().contains(says), "{fault}");
        }
        assert!(check(&Event::new("t", ("order", 1)).payload("1234", "text/plain"), 4).is_ok());
    }
}
