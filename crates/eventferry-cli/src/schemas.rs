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
        serializer = serializer.refresh(refresh.parse(refresh_time)?);
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

/// How often newer schemas are looked for.
#[cfg(feature = "schemas")]
fn refresh_time(text: &str) -> Result<std::time::Duration, String> {
    let time = crate::settings::duration(text)?;
    if time < REFRESH_MIN { Err(format!("`{text}` is too often; give 1s or more")) } else { Ok(time) }
}

/// A question a second is enough for any registry.
#[cfg(feature = "schemas")]
const REFRESH_MIN: std::time::Duration = std::time::Duration::from_secs(1);

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
