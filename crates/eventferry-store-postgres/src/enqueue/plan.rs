//! What every driver sends: one statement and its arguments, in none of a driver's types.

use std::error::Error;

use eventferry_core::enqueue::check;
use eventferry_core::{EnqueueFault, Event, MessageId};
use uuid::Uuid;

use crate::PAYLOAD_BYTES_MAX;

/// The most bytes that one call may append, as they travel: 256 MiB.
///
/// PostgreSQL takes 1 GiB in a message (`PQ_LARGE_MESSAGE_LIMIT` in its `libpq.h`), but holds the message, the arrays
/// in it and the rows at once, and the driver holds a copy. Headers are written out in hexadecimal, so a byte of theirs
/// counts twice.
pub const CALL_BYTES_MAX: u64 = 256 << 20;

/// What an event takes beside its texts and bytes: the id as text, and a length for each column.
const EVENT_BYTES: u64 = 36 + 9 * 4;

/// Where events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Into the table, as rows.
    Table,
    /// Into the write-ahead log, as messages, for relays that read its tail.
    Log,
}

impl Way {
    /// The statement for any number of events.
    fn of_many(self) -> &'static str {
        match self {
            Self::Table => include_str!("../../sql/enqueue.sql"),
            Self::Log => include_str!("../../sql/emit.sql"),
        }
    }

    /// The statement for one event, which takes [`Arguments`]: for adapters that keep it prepared.
    pub fn statement_of_one(self) -> &'static str {
        without_header(match self {
            Self::Table => include_str!("../../sql/enqueue_one.sql"),
            Self::Log => include_str!("../../sql/emit_one.sql"),
        })
    }
}

/// The statement that appends some events, and its arguments: all that an adapter for a driver needs.
///
/// ```
/// use eventferry_core::Event;
/// use eventferry_store_postgres::enqueue::{InsertPlan, Way};
///
/// # fn main() -> Result<(), eventferry_core::EnqueueFault> {
/// let events = [Event::new("orders.created", ("order", 42)), Event::new("orders.paid", ("order", 42))];
/// let plan = InsertPlan::new(Way::Table, &events)?;
/// assert!(plan.statement().starts_with("INSERT INTO eventferry.outbox"));
/// assert_eq!(plan.columns().topics, ["orders.created", "orders.paid"]);
/// // An adapter executes the statement with the nine columns as $1 to $9, and answers with the ids.
/// assert_eq!(plan.ids().len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct InsertPlan<'e> {
    way: Way,
    columns: Columns<'e>,
}

/// The arguments of [`InsertPlan::statement`], `$1` to `$9` in this order: arrays that run side by side, an element an
/// event.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Columns<'e> {
    /// `$1`, `uuid[]`, or `text[]` of their text form.
    pub message_ids: Vec<MessageId>,
    /// `$2`, `text[]`.
    pub topics: Vec<&'e str>,
    /// `$3`, `text[]`.
    pub aggregate_types: Vec<&'e str>,
    /// `$4`, `text[]`.
    pub aggregate_ids: Vec<&'e str>,
    /// `$5`, `bytea[]`.
    pub keys: Vec<Option<&'e [u8]>>,
    /// `$6`, `bytea[]`.
    pub payloads: Vec<Option<&'e [u8]>>,
    /// `$7`, `text[]`.
    pub content_types: Vec<Option<&'e str>>,
    /// `$8`, `text[]`: each a `bytea[]` of names and values in its text form, for an array of arrays cannot be sent.
    pub headers: Vec<Option<String>>,
    /// `$9`, `integer[]`.
    pub partitions: Vec<Option<i32>>,
}

/// The arguments of the statement for one event, `$1` to `$9` in this order.
#[derive(Debug)]
#[non_exhaustive]
pub struct Arguments<'p> {
    /// `$1`, `uuid`, or `text` of its text form.
    pub message_id: MessageId,
    /// `$2`, `text`.
    pub topic: &'p str,
    /// `$3`, `text`.
    pub aggregate_type: &'p str,
    /// `$4`, `text`.
    pub aggregate_id: &'p str,
    /// `$5`, `bytea`.
    pub key: Option<&'p [u8]>,
    /// `$6`, `bytea`.
    pub payload: Option<&'p [u8]>,
    /// `$7`, `text`.
    pub content_type: Option<&'p str>,
    /// `$8`, `text`.
    pub headers: Option<&'p str>,
    /// `$9`, `integer`.
    pub partition: Option<i32>,
}

impl<'e> InsertPlan<'e> {
    /// Checks `events` and lays them out, in their order. Those without a message id are given random ones.
    ///
    /// # Errors
    /// `Refused`: an event breaks a limit, or all together have more than [`CALL_BYTES_MAX`].
    pub fn new(way: Way, events: &'e [Event]) -> Result<Self, EnqueueFault> {
        let mut columns = Columns::default();
        let mut bytes = 0;
        for event in events {
            check(event, PAYLOAD_BYTES_MAX)?;
            bytes += columns.push(event);
            if bytes > CALL_BYTES_MAX {
                return Err(EnqueueFault::refused(format!(
                    "{} events in one call have more than {CALL_BYTES_MAX} bytes; \
                     append them in several calls of the same transaction",
                    events.len()
                )));
            }
        }
        Ok(Self { way, columns })
    }

    /// Whether there is nothing to append: then there is nothing to ask of the database.
    pub fn is_empty(&self) -> bool {
        self.columns.topics.is_empty()
    }

    /// The statement, for any number of events. It returns nothing that is needed.
    pub fn statement(&self) -> &'static str {
        without_header(self.way.of_many())
    }

    /// The arguments of [`statement`](Self::statement).
    pub fn columns(&self) -> &Columns<'e> {
        &self.columns
    }

    /// Where there is one event: a statement that takes its arguments one by one, and these. The server plans it in
    /// less time, which counts where the driver does not keep prepared statements.
    pub fn one(&self) -> Option<(&'static str, Arguments<'_>)> {
        let Columns { message_ids, topics, aggregate_types, aggregate_ids, keys, payloads, .. } =
            &self.columns;
        let ([message_id], [topic], [aggregate_type], [aggregate_id], [key], [payload]) = (
            &message_ids[..],
            &topics[..],
            &aggregate_types[..],
            &aggregate_ids[..],
            &keys[..],
            &payloads[..],
        ) else {
            return None;
        };
        let Columns { content_types, headers, partitions, .. } = &self.columns;
        let arguments = Arguments {
            message_id: *message_id,
            topic,
            aggregate_type,
            aggregate_id,
            key: *key,
            payload: *payload,
            content_type: content_types.first().copied().flatten(),
            headers: headers.first().and_then(Option::as_deref),
            partition: partitions.first().copied().flatten(),
        };
        Some((self.way.statement_of_one(), arguments))
    }

    /// The events' message ids, in their order: what a call that succeeded answers.
    pub fn ids(&self) -> Vec<MessageId> {
        self.columns.message_ids.clone()
    }
}

impl<'e> Columns<'e> {
    /// The message ids in their text form, for drivers that have no type of their own for them.
    pub fn message_id_texts(&self) -> Vec<String> {
        self.message_ids.iter().map(MessageId::to_string).collect()
    }

    /// Adds an event, and says how many bytes it takes on its way.
    fn push(&mut self, event: &'e Event) -> u64 {
        let id = event.message_id.unwrap_or_else(|| MessageId(Uuid::new_v4().into_bytes()));
        let headers = headers_text(event);
        let texts = [&event.topic, &event.aggregate.kind, &event.aggregate.id].map(String::len);
        let bytes = [&event.key, &event.payload].map(|bytes| bytes.as_ref().map_or(0, Vec::len));
        let more = [&event.content_type, &headers].map(|text| text.as_ref().map_or(0, String::len));
        self.message_ids.push(id);
        self.topics.push(&event.topic);
        self.aggregate_types.push(&event.aggregate.kind);
        self.aggregate_ids.push(&event.aggregate.id);
        self.keys.push(event.key.as_deref());
        self.payloads.push(event.payload.as_deref());
        self.content_types.push(event.content_type.as_deref());
        self.headers.push(headers);
        self.partitions.push(event.partition);
        EVENT_BYTES + texts.iter().chain(&bytes).chain(&more).sum::<usize>() as u64
    }
}

/// What an adapter answers where the database refused: `message` is the server's, if there was an answer.
pub fn refused_by_database(
    message: Option<String>,
    error: impl Into<Box<dyn Error + Send + Sync>>,
) -> EnqueueFault {
    let message = message.unwrap_or_else(|| "no answer".into());
    let missing = message.contains("eventferry") && message.contains("does not exist");
    let remedy = if missing { "; run `eventferry init` on this database" } else { "" };
    EnqueueFault::database(format!("append to eventferry.outbox: {message}{remedy}"), error)
}

/// A statement without the comment that its file begins with.
pub(crate) fn without_header(sql: &'static str) -> &'static str {
    let header: usize =
        sql.split_inclusive('\n').take_while(|line| line.starts_with("--")).map(str::len).sum();
    &sql[header..]
}

/// An event's headers as a `bytea[]` in its text form.
fn headers_text(event: &Event) -> Option<String> {
    byte_array_text(event.headers.iter().flat_map(|header| [header.name.as_bytes(), &header.value]))
}

/// A `bytea[]` in its text form; `None` if it is empty.
pub(crate) fn byte_array_text<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let mut text = String::from("{");
    for part in parts {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str("\"\\\\x");
        for byte in part {
            text.extend(
                [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')),
            );
        }
        text.push('"');
    }
    text.push('}');
    (text.len() > 2).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_become_an_array_of_names_and_values() {
        let event = Event::new("t", ("order", 1)).header("a", [0, 255]).header("", "");
        assert_eq!(headers_text(&event).unwrap(), r#"{"\\x61","\\x00ff","\\x","\\x"}"#);
        assert_eq!(headers_text(&Event::new("t", ("order", 1))), None);
    }

    #[test]
    fn each_statement_takes_nine_arguments_once_and_in_order() {
        for way in [Way::Table, Way::Log] {
            for statement in [without_header(way.of_many()), way.statement_of_one()] {
                assert!(!statement.contains("--"), "{statement}");
                let found: Vec<_> = statement.split('$').skip(1).map(|after| &after[..1]).collect();
                assert_eq!(found, ["1", "2", "3", "4", "5", "6", "7", "8", "9"], "{statement}");
            }
        }
    }

    #[test]
    fn more_than_a_call_may_append_is_refused_with_the_limit_and_the_remedy() {
        // Zeros that nobody looks at take no memory.
        let largest = || Event::new("t", ("order", 1)).payload(vec![0; PAYLOAD_BYTES_MAX as usize], "x");
        let mut events: Vec<_> = (0..15).map(|_| largest()).collect();
        assert!(InsertPlan::new(Way::Table, &events).is_ok());
        events.push(largest());
        let fault = InsertPlan::new(Way::Table, &events).unwrap_err();
        assert_eq!(fault.kind(), eventferry_core::EnqueueFaultKind::Refused);
        let said = fault.to_string();
        assert!(
            said.contains("16 events") && said.contains("268435456") && said.contains("several calls"),
            "{said}"
        );
    }

    #[test]
    fn headers_count_against_the_limit_as_they_travel() {
        let event = |bytes| Event::new("t", ("order", 1)).header("h", vec![0; bytes]);
        let half = CALL_BYTES_MAX as usize / 2;
        assert!(InsertPlan::new(Way::Table, &[event(half)]).is_err());
        assert!(InsertPlan::new(Way::Table, &[event(1000)]).is_ok());
    }

    #[test]
    fn one_event_has_a_statement_of_its_own() {
        let event = Event::new("t", ("order", 1)).header("a", "b").key("k").partition(7);
        let both = [event.clone(), event];
        assert!(InsertPlan::new(Way::Table, &both).unwrap().one().is_none());
        assert!(InsertPlan::new(Way::Table, &[]).unwrap().one().is_none());
        let plan = InsertPlan::new(Way::Table, &both[..1]).unwrap();
        let (statement, arguments) = plan.one().unwrap();
        assert!(statement.contains("VALUES"), "{statement}");
        assert_eq!((arguments.topic, arguments.key, arguments.partition), ("t", Some(&b"k"[..]), Some(7)));
        assert_eq!(arguments.headers, plan.columns().headers[0].as_deref());
    }
}
