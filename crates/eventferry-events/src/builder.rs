//! A registry in the making: what must fit together is checked here.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use serde_json::Value;

use crate::event_type::EventType;
use crate::registry::{Listed, Registry, RegistryFault, Topic, Upcast};
use crate::typed::TypedEvent;

/// A registry in the making.
#[derive(Default)]
pub struct RegistryBuilder {
    event_types: Vec<EventType>,
    /// Topic, the version it begins with, and what it does.
    upcasts: Vec<(String, u32, Upcast)>,
}

impl RegistryBuilder {
    /// Adds a Rust type.
    #[must_use]
    pub fn event<T: TypedEvent>(self) -> Self {
        self.event_type(EventType::of::<T>())
    }

    /// Adds an event type. The same one twice counts once.
    #[must_use]
    pub fn event_type(mut self, event_type: EventType) -> Self {
        self.event_types.push(event_type);
        self
    }

    /// Adds all of another registry, as of a library that has events of its own.
    #[must_use]
    pub fn merge(mut self, other: &Registry) -> Self {
        self.event_types.extend(other.event_types().cloned());
        for (name, topic) in other.topics.iter() {
            let upcasts = topic.upcasts.iter();
            self.upcasts.extend(upcasts.map(|(from, upcast)| (name.clone(), *from, Arc::clone(upcast))));
        }
        self
    }

    /// Says how a payload of version `from` of this topic becomes one of version `from + 1`. Steps are chained: from 1
    /// to 3 goes by 2, and a step that is missing is found when the registry is built.
    ///
    /// The error of a step becomes part of a message; let it name fields and show no values.
    #[must_use]
    pub fn upcast<E: Display>(
        mut self,
        topic: impl Into<String>,
        from: u32,
        how: impl Fn(Value) -> Result<Value, E> + Send + Sync + 'static,
    ) -> Self {
        let how: Upcast = Arc::new(move |payload| how(payload).map_err(|error| error.to_string()));
        self.upcasts.push((topic.into(), from, how));
        self
    }

    /// The registry.
    ///
    /// # Errors
    /// Two event types disagree: both are named. A name, topic, version, aggregate or schema cannot be. A step is
    /// missing on the way from a version to the newest, or leads nowhere.
    pub fn build(self) -> Result<Registry, RegistryFault> {
        let mut topics = BTreeMap::<String, Topic>::new();
        for event_type in self.event_types {
            event_type.check()?;
            let topic = topics.entry(event_type.topic.clone()).or_default();
            if let Some(known) = topic.versions.get(&event_type.version) {
                agree_on_version(&known.event_type, &event_type)?;
            } else {
                if let Some(known) = topic.versions.values().next() {
                    agree_on_topic(&known.event_type, &event_type)?;
                }
                topic.versions.insert(event_type.version, listed(event_type)?);
            }
        }
        for (topic, from, how) in self.upcasts {
            let missing = || {
                let what = format!("`{topic}` has a step from version {from} and no event in this registry");
                RegistryFault::new(format!("{what}; add the event or leave the step out"))
            };
            let steps = &mut topics.get_mut(&topic).ok_or_else(missing)?.upcasts;
            // The same step comes again where registries that share one are merged.
            if steps.insert(from, Arc::clone(&how)).is_some_and(|other| !Arc::ptr_eq(&other, &how)) {
                let what = format!("`{topic}` has two steps from version {from}; leave one of them out");
                return Err(RegistryFault::new(what));
            }
        }
        topics.iter().try_for_each(|(name, topic)| whole_chain(name, topic))?;
        Ok(Registry { topics: Arc::new(topics) })
    }
}

#[cfg(feature = "validate")]
fn listed(event_type: EventType) -> Result<Listed, RegistryFault> {
    let compiled = event_type.json_schema.as_ref().map(crate::rule::Compiled::of).transpose();
    let schema = compiled.map_err(|what| {
        RegistryFault::new(format!("{}: the JSON Schema cannot be used: {what}", event_type.origin))
    })?;
    Ok(Listed { event_type, schema })
}

#[cfg(not(feature = "validate"))]
fn listed(event_type: EventType) -> Result<Listed, RegistryFault> {
    Ok(Listed { event_type })
}

/// Two versions of a topic are of one event.
fn agree_on_topic(known: &EventType, other: &EventType) -> Result<(), RegistryFault> {
    let topic = &other.topic;
    for (what, one, two) in
        [("name of the event", &known.name, &other.name), ("aggregate", &known.aggregate, &other.aggregate)]
    {
        if one != two {
            return Err(RegistryFault::new(format!(
                "{} and {} disagree on the {what} of the topic `{topic}`: `{one}` and `{two}`; \
                 a topic carries one event, so make them the same or give one another topic",
                known.origin, other.origin
            )));
        }
    }
    Ok(())
}

/// The same version twice is the same event type.
fn agree_on_version(known: &EventType, other: &EventType) -> Result<(), RegistryFault> {
    agree_on_topic(known, other)?;
    let differs = [
        ("content type", known.content_type != other.content_type),
        ("JSON Schema", known.json_schema != other.json_schema),
        ("Avro schema", known.avro != other.avro),
        ("Protobuf schema", known.protobuf != other.protobuf),
    ];
    match differs.into_iter().find(|(_, differs)| *differs) {
        None => Ok(()),
        Some((what, _)) => Err(RegistryFault::new(format!(
            "{} and {} disagree on the {what} of version {} of the topic `{}`; \
             make them the same, or give one another version",
            known.origin, other.origin, other.version, other.topic
        ))),
    }
}

/// From the first step to the newest version none is missing.
fn whole_chain(name: &str, topic: &Topic) -> Result<(), RegistryFault> {
    let (Some(first), Some(newest)) = (topic.upcasts.keys().next(), topic.versions.keys().next_back()) else {
        return Ok(());
    };
    if let Some(missing) = (*first..*newest).find(|version| !topic.upcasts.contains_key(version)) {
        return Err(RegistryFault::new(format!(
            "`{name}` has a step from version {first}, and none from version {missing} to {}, \
             so nothing comes to version {newest}; add it",
            missing.saturating_add(1)
        )));
    }
    match topic.upcasts.keys().find(|from| *from >= newest || **from == 0) {
        None => Ok(()),
        Some(from) => Err(RegistryFault::new(format!(
            "`{name}` has a step from version {from}, and its newest version is {newest}; \
             leave the step out, or add the version it leads to"
        ))),
    }
}
