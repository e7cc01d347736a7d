//! CloudEvents 1.0 around what is sent: a [`Serializer`] for relays.
//!
//! By the [Kafka protocol binding](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md)
//! and the [JSON format](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md):
//!
//! | attribute | from |
//! |---|---|
//! | `specversion` | `1.0` |
//! | `id` | the message id, the same through every redelivery |
//! | `source` | given |
//! | `type` | the event's header `event-type`, else its topic |
//! | `subject` | the aggregate's id |
//! | `time` | when the event was enqueued, by the database's clock |
//! | `datacontenttype` | the payload's content type |
//!
//! In binary mode these are headers `ce_*` behind the event's own, and the payload and its header `content-type` are as
//! they were. In structured mode the payload is a JSON document: a JSON payload stands in it as `data`, byte for byte,
//! and any other as `data_base64`. The message's key, partition and other headers are as they were in both.
//!
//! An event that is a CloudEvent already is sent as it is: one with a header `ce_specversion`, or with a content type
//! that begins with `application/cloudevents`. So is a tombstone in structured mode, which has no payload to stand in.

use std::error::Error;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eventferry_core::serializer::is_json;
use eventferry_core::{
    Header, NotSerialized, PublishFault, PublishFaultKind, Row, Serialized, Serializer, Timestamp,
};
use serde::de::IgnoredAny;

/// The version of the specification.
const SPEC_VERSION: &str = "1.0";

/// The content type of structured mode.
const STRUCTURED: &str = "application/cloudevents+json; charset=UTF-8";

/// Where the attributes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Into headers; the payload is as it was.
    Binary,
    /// Into the payload, around what it was.
    Structured,
}

/// Makes a CloudEvent of each event.
///
/// ```
/// use eventferry_serializer_cloudevents::{CloudEvents, Mode};
///
/// let serializer = CloudEvents::new(Mode::Binary, "/shop/orders")?;
/// # Ok::<(), eventferry_serializer_cloudevents::NoSource>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudEvents {
    mode: Mode,
    source: String,
}

impl CloudEvents {
    /// CloudEvents from this source, a URI or a path such as `/shop/orders`: with the id it names an event among all.
    ///
    /// # Errors
    /// The source is empty, or holds what no URI can.
    pub fn new(mode: Mode, source: impl Into<String>) -> Result<Self, NoSource> {
        let source = source.into();
        let is_wrong = |c: char| c.is_whitespace() || c.is_control() || "<>\"{}|\\^`".contains(c);
        if source.is_empty() || source.contains(is_wrong) {
            Err(NoSource(source))
        } else {
            Ok(Self { mode, source })
        }
    }
}

/// A text that is no source of CloudEvents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSource(String);

impl fmt::Display for NoSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no source of CloudEvents; give a URI or a path, such as /shop/orders", self.0)
    }
}

impl Error for NoSource {}

impl Serializer for CloudEvents {
    async fn learn(&self, _: &str) -> Result<(), PublishFault> {
        Ok(())
    }

    fn serialize(&self, row: &dyn Row) -> Result<Serialized, NotSerialized> {
        let own = Own::of(row);
        if own.is_cloud_event {
            return Ok(Serialized::default());
        }
        let id = row.message_id().to_text();
        let attributes = Attributes {
            id: str::from_utf8(&id).unwrap_or_default(),
            source: &self.source,
            kind: own.event_type.as_deref().unwrap_or_else(|| row.topic()),
            subject: row.aggregate_id(),
            time: row.enqueued_at(),
        };
        match (self.mode, row.payload()) {
            (Mode::Binary, _) => Ok(Serialized { headers: attributes.headers(), ..Serialized::default() }),
            (Mode::Structured, None) => Ok(Serialized::default()),
            (Mode::Structured, Some(payload)) => {
                let payload =
                    attributes.document(row.content_type(), payload).map_err(|what| refused(row, what))?;
                Ok(Serialized {
                    payload: Some(payload),
                    content_type: Some(STRUCTURED.to_owned()),
                    ..Serialized::default()
                })
            }
        }
    }
}

fn refused(row: &dyn Row, what: &str) -> NotSerialized {
    let message = format!("event for topic `{}`: {what}", row.topic());
    NotSerialized::Refused(Box::new(
        PublishFault::new(PublishFaultKind::Rejected, message).of_class("NotJson"),
    ))
}

/// What an event says of itself.
struct Own {
    event_type: Option<String>,
    is_cloud_event: bool,
}

impl Own {
    fn of(row: &dyn Row) -> Self {
        let (mut event_type, mut is_cloud_event) = (None, false);
        row.headers(&mut |name, value| match name {
            "event-type" if event_type.is_none() => {
                event_type = str::from_utf8(value).ok().filter(|text| !text.is_empty()).map(str::to_owned);
            }
            "ce_specversion" => is_cloud_event = true,
            _ => {}
        });
        let begins = |text: &str| text.to_ascii_lowercase().starts_with("application/cloudevents");
        Self { event_type, is_cloud_event: is_cloud_event || row.content_type().is_some_and(begins) }
    }
}

/// What a CloudEvent says beside its data.
struct Attributes<'a> {
    id: &'a str,
    source: &'a str,
    kind: &'a str,
    subject: &'a str,
    time: Timestamp,
}

impl Attributes<'_> {
    fn all(&self) -> [(&'static str, String); 6] {
        [
            ("specversion", SPEC_VERSION.to_owned()),
            ("id", self.id.to_owned()),
            ("source", self.source.to_owned()),
            ("type", self.kind.to_owned()),
            ("subject", self.subject.to_owned()),
            ("time", self.time.to_string()),
        ]
    }

    fn headers(&self) -> Vec<Header> {
        let header =
            |(name, value): (&str, String)| Header { name: format!("ce_{name}"), value: value.into_bytes() };
        self.all().map(header).into()
    }

    /// The document, in which the payload's bytes stand as they are.
    fn document(&self, content_type: Option<&str>, payload: &[u8]) -> Result<Vec<u8>, &'static str> {
        let mut document = Vec::with_capacity(payload.len() + 512);
        let attributes = self.all();
        let content_type = content_type.map(|content_type| ("datacontenttype", content_type));
        let attributes = attributes.iter().map(|(name, value)| (*name, value.as_str())).chain(content_type);
        for (name, value) in attributes {
            document.push(if document.is_empty() { b'{' } else { b',' });
            // A Vec takes all, and a text always has a JSON form.
            drop(serde_json::to_writer(&mut document, name));
            document.push(b':');
            drop(serde_json::to_writer(&mut document, value));
        }
        if content_type.is_some_and(|(_, content_type)| is_json(content_type)) {
            let text =
                str::from_utf8(payload).map_err(|_| "the payload says it is JSON, and is not UTF-8")?;
            serde_json::from_str::<IgnoredAny>(text)
                .map_err(|_| "the payload says it is JSON, and is not")?;
            document.extend_from_slice(b",\"data\":");
            document.extend_from_slice(payload);
        } else {
            document.extend_from_slice(b",\"data_base64\":\"");
            document.extend_from_slice(STANDARD.encode(payload).as_bytes());
            document.push(b'"');
        }
        document.push(b'}');
        Ok(document)
    }
}
