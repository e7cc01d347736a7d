//! Schemas of a registry, by which a relay writes events, as they are set.

#[cfg(feature = "schemas")]
mod choices;
#[cfg(feature = "schemas")]
mod formats;
#[cfg(feature = "schemas")]
mod login;
#[cfg(all(test, feature = "schemas"))]
mod tests;

use crate::ending::Trouble;
use crate::settings::Settings;

/// Writes events by schemas.
#[cfg(feature = "schemas")]
pub(crate) type Schemas = eventferry::schemas::RegistrySerializer;

/// There are none in this build.
#[cfg(not(feature = "schemas"))]
pub(crate) type Schemas = none::Never;

/// What the settings say of schemas; asks nothing of the registry. `None`: nothing.
///
/// # Errors
/// A setting cannot be; it is named with its place.
#[cfg(feature = "schemas")]
pub(crate) fn schemas(settings: &Settings) -> Result<Option<Schemas>, Trouble> {
    use eventferry::schemas::{Part, Registry, RegistrySerializer};

    let table = settings.schemas();
    if table.is_empty() {
        return Ok(None);
    }
    let registry = Registry::new(login::config(table)?);
    tracing::info!("schemas are those of {}", registry.hosts());
    let mut serializer = RegistrySerializer::builder(registry);
    if let Some(refresh) = table.find("refresh") {
        serializer = serializer.refresh(refresh.parse(crate::settings::duration)?);
    }
    if let Some(schema) = choices::of_other_topics(table)? {
        serializer = serializer.other_topics(Part::Value, schema);
    }
    for (topic, own) in table.topics() {
        let (value, key) = choices::of_topic(topic, own, table)?;
        serializer = serializer.untouched(topic);
        if let Some(schema) = value {
            serializer = serializer.values(topic, schema);
        }
        if let Some(schema) = key {
            serializer = serializer.keys(topic, schema);
        }
    }
    Ok(Some(serializer.build()))
}

/// The same for a build without schemas.
///
/// # Errors
/// Something is set for them.
#[cfg(not(feature = "schemas"))]
pub(crate) fn schemas(settings: &Settings) -> Result<Option<Schemas>, Trouble> {
    if settings.schemas().is_empty() {
        return Ok(None);
    }
    Err(Trouble::usage("something is set in [schemas]: schemas need a build with the feature `schemas`"))
}

#[cfg(not(feature = "schemas"))]
mod none {
    use eventferry::core::{NotSerialized, PublishFault, Row, Serialized, Serializer};

    /// Nobody makes one.
    #[derive(Debug)]
    pub(crate) enum Never {}

    impl Serializer for Never {
        async fn learn(&self, _: &str) -> Result<(), PublishFault> {
            match *self {}
        }

        fn serialize(&self, _: &dyn Row) -> Result<Serialized, NotSerialized> {
            match *self {}
        }
    }
}
