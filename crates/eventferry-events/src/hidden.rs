//! What derived code and macros name. No part of the interface.

use std::fmt::Display;

pub use crate::listing::refuse_duplicates;
pub use eventferry_core::{EnqueueFault, Event, IntoEvent};
pub use serde_json::Value;

/// An aggregate's id is its text.
pub fn aggregate_id_as_text<T: Display + ?Sized>(id: &T) -> String {
    id.to_string()
}

/// A key is its text.
pub fn key_as_text<T: Display + ?Sized>(key: &T) -> String {
    key.to_string()
}

/// The JSON Schema of what a type serializes to.
#[cfg(feature = "schema")]
pub fn schema_of<T: schemars::JsonSchema>() -> Value {
    schemars::generate::SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// Without the feature nothing has a schema, and this says why.
#[cfg(not(feature = "schema"))]
pub fn schema_of<T: NeedsFeature>() -> Value {
    Value::Null
}

/// Nothing implements it.
#[cfg(not(feature = "schema"))]
#[diagnostic::on_unimplemented(
    message = "`#[event(schema)]` needs the feature `events-schema` of eventferry",
    label = "turn the feature on, or leave `schema` out"
)]
pub trait NeedsFeature {}
