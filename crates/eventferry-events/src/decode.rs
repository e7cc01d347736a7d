//! The consumer's side: an event that arrived becomes a value of its type, whatever version it was sent in.

use eventferry_core::fault::Fault;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::event_type::EventType;
use crate::registry::{Registry, Topic};
use crate::shown::cut;
use crate::typed::{NoVersion, TypedEvent, version_of};

/// Why an event was not decoded: a kind, and a message that names fields and shows no value.
pub type DecodeFault = Fault<DecodeFaultKind>;

/// What to do about an event that was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeFaultKind {
    /// The registry does not know the topic or the version, or the type asked for is not the topic's: list it, or ask
    /// for another. A newer version than is known here: this program must be brought up to date.
    Unknown,
    /// A tombstone: there is no payload to decode.
    Tombstone,
    /// The event is of an older version, and no step leads on from it: say how, with
    /// [`RegistryBuilder::upcast`](crate::RegistryBuilder::upcast).
    NoStep,
    /// The payload does not fit its type, the version's header is no version, or a step refused it: whoever sent it has
    /// a fault to mend, or the type has.
    Malformed,
}

impl Registry {
    /// Which event this is, by its topic and its headers.
    ///
    /// # Errors
    /// [`Unknown`](DecodeFaultKind::Unknown), [`Malformed`](DecodeFaultKind::Malformed).
    pub fn recognize<'a>(
        &self,
        topic: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<&EventType, DecodeFault> {
        let version = self.version(topic, headers)?;
        self.get(topic, version).ok_or_else(|| unknown_version(topic, version, self.topics.get(topic)))
    }

    /// Decodes an event into its type: as it is, where it is of the type's version, else through the steps from its
    /// version to the type's. The version is that of the first header `event-version`, and 1 without one.
    ///
    /// ```
    /// use eventferry::events::{TypedEvent as _, registry};
    ///
    /// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize, eventferry::Event)]
    /// #[event(topic = "orders.created", aggregate = "order", version = 2)]
    /// struct OrderCreated {
    ///     #[event(aggregate_id)]
    ///     id: u64,
    ///     currency: String,
    /// }
    ///
    /// let registry = registry![OrderCreated]
    ///     .upcast("orders.created", 1, |mut payload| {
    ///         payload["currency"] = "EUR".into();
    ///         Ok::<_, String>(payload)
    ///     })
    ///     .build()?;
    /// let order: OrderCreated = registry.decode("orders.created", [], Some(br#"{"id": 42}"#))?;
    /// assert_eq!(order, OrderCreated { id: 42, currency: "EUR".into() });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`DecodeFaultKind`].
    pub fn decode<'a, T: TypedEvent + DeserializeOwned>(
        &self,
        topic: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        payload: Option<&[u8]>,
    ) -> Result<T, DecodeFault> {
        let version = self.version(topic, headers)?;
        let listed = self.topics.get(topic).filter(|listed| listed.versions.contains_key(&T::VERSION));
        let Some(listed) = listed.filter(|_| topic == T::TOPIC) else {
            let what =
                format!("{} is not version {} of topic `{topic}` in this registry", T::NAME, T::VERSION);
            return Err(Fault::new(DecodeFaultKind::Unknown, what));
        };
        if version > T::VERSION {
            return Err(unknown_version(topic, version, Some(listed)));
        }
        let Some(payload) = payload else {
            let what = format!("a tombstone of topic `{topic}` has no payload");
            return Err(Fault::new(DecodeFaultKind::Tombstone, what));
        };
        if version == T::VERSION {
            return fitted(serde_json::Deserializer::from_slice(payload), topic, version);
        }
        let not_json = |error| malformed(topic, version, &format!("the payload is not JSON: {error}"));
        let payload: Value = serde_json::from_slice(payload).map_err(not_json)?;
        let payload =
            (version..T::VERSION).try_fold(payload, |payload, from| step(listed, topic, from, payload))?;
        fitted_value(payload, topic, version)
    }

    fn version<'a>(
        &self,
        topic: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<u32, DecodeFault> {
        version_of(headers).map_err(|NoVersion| {
            Fault::new(
                DecodeFaultKind::Malformed,
                format!("event of topic `{topic}`: {}", NoVersion::MESSAGE),
            )
        })
    }
}

fn step(listed: &Topic, topic: &str, from: u32, payload: Value) -> Result<Value, DecodeFault> {
    let Some(upcast) = listed.upcasts.get(&from) else {
        let what = format!("event of topic `{topic}`: no step leads on from version {from}; add one");
        return Err(Fault::new(DecodeFaultKind::NoStep, what));
    };
    upcast(payload)
        .map_err(|what| malformed(topic, from, &format!("the step to the next version refused it: {what}")))
}

/// Reads the type from bytes.
fn fitted<'de, T: DeserializeOwned>(
    mut json: serde_json::Deserializer<serde_json::de::SliceRead<'de>>,
    topic: &str,
    version: u32,
) -> Result<T, DecodeFault> {
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (line, column) = (error.inner().line(), error.inner().column());
        let place = place(error.path());
        malformed(topic, version, &format!("{place} does not fit the type (line {line}, column {column})"))
    })?;
    let after = |error| malformed(topic, version, &format!("the payload is not JSON: {error}"));
    json.end().map_err(after)?;
    Ok(value)
}

/// Reads the type from what the steps made.
fn fitted_value<T: DeserializeOwned>(payload: Value, topic: &str, version: u32) -> Result<T, DecodeFault> {
    serde_path_to_error::deserialize(payload).map_err(|error| {
        let place = place(error.path());
        malformed(topic, version, &format!("{place} does not fit the type after the steps to its version"))
    })
}

/// A path as a JSON pointer, for people.
fn place(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1")))
            }
            // Serde's own layers, not the payload's.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    if pointer.is_empty() { "the payload".into() } else { format!("`{}`", cut(pointer)) }
}

fn malformed(topic: &str, version: u32, what: &str) -> DecodeFault {
    Fault::new(DecodeFaultKind::Malformed, format!("event of topic `{topic}`, version {version}: {what}"))
}

fn unknown_version(topic: &str, version: u32, listed: Option<&Topic>) -> DecodeFault {
    let what = match listed {
        Some(listed) => format!(
            "event of topic `{topic}`: version {version} is not known here; known are {}",
            listed.known()
        ),
        None => format!("no event of topic `{topic}` is in this registry"),
    };
    Fault::new(DecodeFaultKind::Unknown, what)
}
