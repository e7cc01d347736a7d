//! The events that an application has.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::builder::RegistryBuilder;
use crate::event_type::EventType;

/// Makes a payload of one version a payload of the next.
pub(crate) type Upcast = Arc<dyn Fn(Value) -> Result<Value, String> + Send + Sync>;

/// The events that an application has, by topic and version. Cheap to clone.
///
/// ```
/// use eventferry::events::registry;
///
/// #[derive(serde::Serialize, eventferry::Event)]
/// #[event(topic = "orders.created", aggregate = "order")]
/// struct OrderCreated {
///     #[event(aggregate_id)]
///     id: u64,
/// }
///
/// let registry = registry![OrderCreated].build()?;
/// assert_eq!(registry.get("orders.created", 1).map(|event| event.name.as_str()), Some("OrderCreated"));
/// # Ok::<(), eventferry::events::RegistryFault>(())
/// ```
#[derive(Clone)]
pub struct Registry {
    pub(crate) topics: Arc<BTreeMap<String, Topic>>,
}

/// What is known of one topic.
#[derive(Default)]
pub(crate) struct Topic {
    pub(crate) versions: BTreeMap<u32, Listed>,
    /// By the version that each begins with.
    pub(crate) upcasts: BTreeMap<u32, Upcast>,
}

/// An event type, ready for use.
pub(crate) struct Listed {
    pub(crate) event_type: EventType,
    #[cfg(feature = "validate")]
    pub(crate) schema: Option<crate::rule::Compiled>,
}

impl Registry {
    /// Begins one.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// Its event types, in the order of topics, then versions.
    pub fn event_types(&self) -> impl Iterator<Item = &EventType> {
        self.topics.values().flat_map(|topic| topic.versions.values()).map(|listed| &listed.event_type)
    }

    /// This version of this topic's event.
    pub fn get(&self, topic: &str, version: u32) -> Option<&EventType> {
        self.topics.get(topic)?.versions.get(&version).map(|listed| &listed.event_type)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.event_types().map(EventType::label)).finish()
    }
}

impl Topic {
    /// The versions there are, for people.
    pub(crate) fn known(&self) -> String {
        self.versions.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// A registry cannot be built, read or written: what is in the way, and what to do about it. A registry is built when
/// a program starts, which then ends with this.
#[derive(Debug)]
pub struct RegistryFault {
    message: String,
    source: Option<std::io::Error>,
}

impl RegistryFault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    pub(crate) fn of_file(message: impl Into<String>, source: std::io::Error) -> Self {
        Self { message: message.into(), source: Some(source) }
    }
}

impl fmt::Display for RegistryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for RegistryFault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as &(dyn Error + 'static))
    }
}
