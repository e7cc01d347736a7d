//! Events written by schemas of a registry: in the relay, or when they are enqueued.

mod choice;
mod learned;
mod looking;
mod written;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use eventferry_core::{
    EnqueueFault, Event, Interceptor, MessageId, NotSerialized, PublishFault, PublishFaultKind, Row,
    Serialized, Serializer, StoredEvent, Timestamp,
};

pub(crate) use choice::AnyFormat;
pub use choice::{Given, Others, PartSchema, SchemaChoice};
use learned::{Learned, Slot};
use written::{is_framed_key, is_json, passes};

use crate::client::Registry;
use crate::framing::Part;

/// The header that names an event's record, where its topic is configured so.
pub const RECORD_HEADER: &str = "event-type";

/// The class of an event whose payload or key does not fit its schema.
pub const PAYLOAD_MISMATCH: &str = "PayloadMismatch";

/// The class of an event that does not say of which record it is, or of one that is in no registry.
pub const RECORD_UNKNOWN: &str = "RecordUnknown";

/// Turns JSON payloads into what schemas of a registry describe: Avro, Protobuf or JSON Schema.
///
/// A topic has a [`PartSchema`] for its values, for its keys, for both or for neither; what has none passes untouched.
/// So does a payload that is not JSON (unless [`Others::Refuse`] says otherwise) and one that says already by which
/// schema it was written: it was written when it was enqueued, see [`RegistrySerializer::encode`]. A payload without a
/// content type counts as JSON. Tombstones remain.
///
/// A payload that does not fit its schema is refused, with the path of the field: class `PayloadMismatch`. What must be
/// asked of the registry is asked once a topic (a record, where events name theirs): [`Serializer::learn`]. Afterwards
/// the registry may be away for as long as it likes. While a topic is not learned its events wait; others go.
///
/// A key is written from its text: as a string if the schema takes one, else as the JSON that it is.
///
/// Cheap to clone; clones share what they learned.
#[derive(Clone)]
pub struct RegistrySerializer {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    topics: HashMap<String, Topic>,
    /// For topics that are not named.
    others: Topic,
    refresh: Option<Duration>,
    began: Instant,
    learned: RwLock<Learned>,
}

/// What a topic's messages are written by.
#[derive(Clone, Default)]
struct Topic {
    value: Option<Arc<PartSchema>>,
    key: Option<Arc<PartSchema>>,
}

impl Topic {
    fn part(&self, part: Part) -> Option<&Arc<PartSchema>> {
        match part {
            Part::Key => self.key.as_ref(),
            Part::Value => self.value.as_ref(),
        }
    }

    fn set(&mut self, part: Part, schema: PartSchema) {
        let place = match part {
            Part::Key => &mut self.key,
            Part::Value => &mut self.value,
        };
        *place = Some(Arc::new(schema));
    }
}

/// Makes a [`RegistrySerializer`].
pub struct RegistrySerializerBuilder {
    registry: Registry,
    topics: HashMap<String, Topic>,
    others: Topic,
    refresh: Option<Duration>,
}

impl fmt::Debug for RegistrySerializerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrySerializerBuilder").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl RegistrySerializerBuilder {
    /// What the values of this topic are written by. A topic that is named has only what it is given here, nothing of
    /// [`RegistrySerializerBuilder::other_topics`].
    #[must_use]
    pub fn values(mut self, topic: impl Into<String>, schema: PartSchema) -> Self {
        self.topics.entry(topic.into()).or_default().set(Part::Value, schema);
        self
    }

    /// What the keys of this topic are written by; default: they are sent as they are.
    ///
    /// A key's bytes choose its partition and are what compaction goes by, and they hold the schema's id: so a newer
    /// schema is another key for the same aggregate. It is learned once a run and not refreshed.
    #[must_use]
    pub fn keys(mut self, topic: impl Into<String>, schema: PartSchema) -> Self {
        self.topics.entry(topic.into()).or_default().set(Part::Key, schema);
        self
    }

    /// This topic's messages pass untouched, whatever others do.
    #[must_use]
    pub fn untouched(mut self, topic: impl Into<String>) -> Self {
        self.topics.insert(topic.into(), Topic::default());
        self
    }

    /// What a part of the messages of all topics that are not named is written by; default: they pass untouched.
    #[must_use]
    pub fn other_topics(mut self, part: Part, schema: PartSchema) -> Self {
        self.others.set(part, schema);
        self
    }

    /// After what time the latest version of a value's subject is looked for again; default: never, a relay writes by
    /// what it learned until it ends. What was learned stays in use until a newer one is there, and while the registry
    /// is away.
    #[must_use]
    pub fn refresh(mut self, after: Duration) -> Self {
        self.refresh = Some(after);
        self
    }

    /// The serializer; asks nothing yet.
    pub fn build(self) -> RegistrySerializer {
        let Self { registry, topics, others, refresh } = self;
        let (began, learned) = (Instant::now(), RwLock::default());
        let inner = Inner { registry, topics, others, refresh, began, learned };
        RegistrySerializer { inner: Arc::new(inner) }
    }
}

impl fmt::Debug for RegistrySerializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrySerializer").field("registry", &self.inner.registry).finish_non_exhaustive()
    }
}

impl RegistrySerializer {
    /// A serializer by this registry; every topic passes untouched until the builder is told otherwise.
    pub fn builder(registry: Registry) -> RegistrySerializerBuilder {
        RegistrySerializerBuilder {
            registry,
            topics: HashMap::new(),
            others: Topic::default(),
            refresh: None,
        }
    }

    /// The event as a relay with this serializer would send it, to be enqueued so: its payload (and key, if its topic
    /// says so) written by its schema. Asks the registry where it must, so call it before the transaction begins.
    ///
    /// A relay passes such an event untouched: its content type is no longer JSON (`application/vnd.confluent.avro`,
    /// `.protobuf` or `.json`), or the header `__value_schema_id` is there.
    ///
    /// # Errors
    /// `Rejected`: the event does not fit, see the class; `Unavailable`, `Throttled`, `TopicRefused`: as of
    /// [`Serializer::learn`].
    pub async fn encode(&self, event: Event) -> Result<Event, PublishFault> {
        let row = StoredEvent { message_id: MessageId([0; 16]), event, enqueued_at: Timestamp(0) };
        // What is learned is not unknown again; if it is all the same, the next call may do better.
        for _ in 0..2 {
            match self.serialize(&row) {
                Ok(serialized) => return Ok(applied(row.event, serialized)),
                Err(NotSerialized::Refused(fault)) => return Err(*fault),
                Err(NotSerialized::Unknown) => self.learn(&row.event.topic).await?,
            }
        }
        Err(PublishFault::new(
            PublishFaultKind::Unavailable,
            "what was just learned was forgotten; try again",
        ))
    }

    fn topic(&self, topic: &str) -> &Topic {
        self.inner.topics.get(topic).unwrap_or(&self.inner.others)
    }
}

/// The event, with what a serializer made of it.
fn applied(mut event: Event, serialized: Serialized) -> Event {
    let Serialized { key, payload, content_type, headers } = serialized;
    if key.is_some() {
        event.key = key;
    }
    if event.payload.is_some() && payload.is_some() {
        event.payload = payload;
    }
    if content_type.is_some() {
        event.content_type = content_type;
    }
    event.headers.extend(headers);
    event
}

/// Checks and writes events when they are enqueued, without asking the registry: what their topics need must have been
/// learned before, by [`Serializer::learn`] or [`RegistrySerializer::encode`], say when the program starts.
impl Interceptor for RegistrySerializer {
    fn intercept(&self, event: &mut Event) -> Result<(), EnqueueFault> {
        let row =
            StoredEvent { message_id: MessageId([0; 16]), event: event.clone(), enqueued_at: Timestamp(0) };
        match self.serialize(&row) {
            Ok(serialized) => {
                *event = applied(row.event, serialized);
                Ok(())
            }
            Err(NotSerialized::Refused(fault)) => Err(EnqueueFault::refused(fault.message())),
            Err(NotSerialized::Unknown) => Err(EnqueueFault::refused(format!(
                "the schemas of topic {} have not been learned: call RegistrySerializer::learn for it before, or \
                 RegistrySerializer::encode, which asks the registry itself",
                event.topic
            ))),
        }
    }
}

impl Serializer for RegistrySerializer {
    async fn learn(&self, topic: &str) -> Result<(), PublishFault> {
        let plans = self.topic(topic);
        let mut first = None;
        for part in [Part::Key, Part::Value] {
            let Some(schema) = plans.part(part) else { continue };
            for record in self.wanted(topic, part, schema) {
                let slot = match self.inner.look_up(topic, part, schema, &record).await {
                    Ok(writer) => Slot::Known(Arc::new(writer)),
                    // One event with a wrong name must not hold its topic.
                    Err(fault) if !record.is_empty() && self.inner.is_of_the_name(&fault, topic, part) => {
                        self.inner.refusal(&fault)
                    }
                    // The others may be learned all the same.
                    Err(fault) => {
                        first = first.or(Some(fault));
                        continue;
                    }
                };
                self.inner.put(topic, part, &record, slot);
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn serialize(&self, row: &dyn Row) -> Result<Serialized, NotSerialized> {
        let topic = self.topic(row.topic());
        let mut serialized = Serialized::default();
        // Both are looked at first, so that both are learned at once.
        let key = topic.key.as_ref().map(|schema| self.key(schema, row, &mut serialized));
        let value = topic.value.as_ref().map(|schema| self.value(schema, row, &mut serialized));
        let parts = [key, value].map(Option::transpose);
        if parts.iter().any(|part| matches!(part, Err(NotSerialized::Unknown))) {
            return Err(NotSerialized::Unknown);
        }
        for part in parts {
            part?;
        }
        Ok(serialized)
    }
}

impl RegistrySerializer {
    /// What is to be learned of a part of a topic's messages: the records that events named, or one without a name.
    fn wanted(&self, topic: &str, part: Part, schema: &PartSchema) -> Vec<String> {
        let learned = self.inner.learned.read().unwrap_or_else(PoisonError::into_inner);
        if schema.record_is_events(part) {
            return learned.wanted(topic, part);
        }
        if learned.find(topic, part, "").is_some() { Vec::new() } else { vec![String::new()] }
    }

    fn key(&self, schema: &PartSchema, row: &dyn Row, into: &mut Serialized) -> Result<(), NotSerialized> {
        let key = row.key().unwrap_or(row.aggregate_id().as_bytes());
        if is_framed_key(key) || has_header(row, Part::Key.header()) {
            return Ok(());
        }
        let writer = self.writer(row.topic(), Part::Key, schema, "")?;
        let (key, header) = writer.key(key)?;
        into.key = Some(key);
        into.headers.extend(header);
        Ok(())
    }

    fn value(&self, schema: &PartSchema, row: &dyn Row, into: &mut Serialized) -> Result<(), NotSerialized> {
        let Some(payload) = row.payload() else { return Ok(()) };
        if has_header(row, Part::Value.header()) {
            return Ok(());
        }
        let content_type = row.content_type();
        if !content_type.is_none_or(is_json) {
            return passes(schema, content_type.unwrap_or_default());
        }
        let record = match schema.record_is_events(Part::Value) {
            true => schema.record_of(row)?,
            false => String::new(),
        };
        let writer = self.writer(row.topic(), Part::Value, schema, &record)?;
        let (payload, header) = writer.value(payload)?;
        into.payload = Some(payload);
        into.content_type = writer.content_type().map(str::to_owned);
        into.headers.extend(header);
        Ok(())
    }
}

/// Whether the event has such a header.
fn has_header(row: &dyn Row, header: &str) -> bool {
    let mut found = false;
    row.headers(&mut |name, _| found |= name == header);
    found
}
