//! Events held against the JSON Schemas of a registry: before they are appended, and before they are sent.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use eventferry_core::serializer::is_json;
use eventferry_core::{
    EnqueueFault, Event, Interceptor, NotSerialized, PublishFault, PublishFaultKind, Row, Serialized,
    Serializer,
};

use crate::registry::Registry;
use crate::rule::Broken;
use crate::typed::{EVENT_VERSION, NoVersion, parsed_version, version_of};

/// Why an event does not match its schema. It shows nothing of the payload but names of fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    pointer: Option<String>,
    message: String,
}

impl Mismatch {
    /// Where the payload fails, as a JSON pointer (RFC 6901); empty: as a whole. `None`: it is not the payload that
    /// fails, or it is no JSON.
    pub fn pointer(&self) -> Option<&str> {
        self.pointer.as_deref()
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Mismatch {}

/// What of an event is looked at.
struct Looked<'a> {
    topic: &'a str,
    version: Result<u32, NoVersion>,
    content_type: Option<&'a str>,
    payload: Option<&'a [u8]>,
    /// What cannot be checked does not pass, either.
    strict: bool,
}

impl Registry {
    /// Holds a payload against the schema of this version of this topic. What no schema names passes.
    ///
    /// # Errors
    /// Where it fails, and which rule; or the topic is known and the version is not.
    pub fn check(&self, topic: &str, version: u32, payload: &[u8]) -> Result<(), Mismatch> {
        let payload = Some(payload);
        self.look(&Looked { topic, version: Ok(version), content_type: None, payload, strict: false })
    }

    fn look(&self, event: &Looked<'_>) -> Result<(), Mismatch> {
        let Some(topic) = self.topics.get(event.topic) else {
            return event.unchecked("no schema names this topic; add one");
        };
        let version = event.version.map_err(|NoVersion| event.mismatch(NoVersion::MESSAGE))?;
        let listed = topic.versions.get(&version).ok_or_else(|| {
            let known = topic.known();
            let what = format!("no schema has version {version}; known are {known}");
            event.mismatch(&format!("{what}, and the header {EVENT_VERSION} says which"))
        })?;
        // A tombstone says that there is nothing, which every schema allows.
        let Some(payload) = event.payload else { return Ok(()) };
        let Some(schema) = &listed.schema else {
            return event.unchecked("its version has no JSON Schema; add one");
        };
        if event.content_type.is_some_and(|content_type| !is_json(content_type)) {
            return event.unchecked("the content type is not JSON, and the schema is of JSON");
        }
        // Its words name a place, and nothing that stands there.
        let not_json = |error| event.mismatch(&format!("the payload is not JSON: {error}"));
        let payload = serde_json::from_slice(payload).map_err(not_json)?;
        schema.check(&payload).map_err(|Broken { pointer, rule }| {
            let place = if pointer.is_empty() { "the payload".into() } else { format!("`{pointer}`") };
            let what = format!("{place} breaks a rule of version {version}: {rule}");
            Mismatch { pointer: Some(pointer), ..event.mismatch(&what) }
        })
    }
}

impl Looked<'_> {
    fn mismatch(&self, what: &str) -> Mismatch {
        Mismatch { pointer: None, message: format!("event for topic `{}`: {what}", self.topic) }
    }

    /// What becomes of an event that cannot be checked.
    fn unchecked(&self, why: &str) -> Result<(), Mismatch> {
        if self.strict { Err(self.mismatch(why)) } else { Ok(()) }
    }
}

/// Checks each event before the database is asked for anything: `outbox.with(registry.clone())`. Events of topics that
/// it does not name pass, and so do payloads whose content type is not JSON.
impl Interceptor for Registry {
    fn intercept(&self, event: &mut Event) -> Result<(), EnqueueFault> {
        let headers = event.headers.iter().map(|header| (header.name.as_str(), header.value.as_slice()));
        let looked = Looked {
            topic: &event.topic,
            version: version_of(headers),
            content_type: event.content_type.as_deref(),
            payload: event.payload.as_deref(),
            strict: false,
        };
        self.look(&looked).map_err(|mismatch| EnqueueFault::refused(mismatch.to_string()))
    }
}

/// Checks each event before it is sent. It changes nothing; what does not match its schema is refused, and so parked.
#[derive(Clone, Debug)]
pub struct Checks {
    registry: Registry,
    strict: bool,
    strict_by_topic: BTreeMap<String, bool>,
}

impl Checks {
    /// Checks by this registry; what it has no JSON Schema for passes.
    pub fn new(registry: Registry) -> Self {
        Self { registry, strict: false, strict_by_topic: BTreeMap::new() }
    }

    /// Whether events that no JSON Schema is there for are refused, too: those of other topics, and payloads that are
    /// not JSON. Default false. A tombstone always passes where its topic and version are known.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// The same for one topic, instead of [`strict`](Self::strict).
    #[must_use]
    pub fn strict_for(mut self, topic: impl Into<String>, strict: bool) -> Self {
        self.strict_by_topic.insert(topic.into(), strict);
        self
    }
}

impl Serializer for Checks {
    async fn learn(&self, _: &str) -> Result<(), PublishFault> {
        Ok(())
    }

    fn serialize(&self, row: &dyn Row) -> Result<Serialized, NotSerialized> {
        let mut version = None;
        row.headers(&mut |name, value| {
            if name == EVENT_VERSION && version.is_none() {
                version = Some(parsed_version(value));
            }
        });
        let looked = Looked {
            topic: row.topic(),
            version: version.unwrap_or(Ok(1)),
            content_type: row.content_type(),
            payload: row.payload(),
            strict: self.strict_by_topic.get(row.topic()).copied().unwrap_or(self.strict),
        };
        match self.registry.look(&looked) {
            Ok(()) => Ok(Serialized::default()),
            Err(mismatch) => {
                let fault = PublishFault::new(PublishFaultKind::Rejected, mismatch.to_string());
                Err(NotSerialized::Refused(Box::new(fault.of_class("SchemaMismatch"))))
            }
        }
    }
}
