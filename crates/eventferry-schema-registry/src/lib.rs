//! Schema registries of the Confluent kind, and what every format has in common.

pub mod format;

pub use format::{Encoded, Format, PayloadFault, Schema, SchemaFault, SchemaSource, SchemaType};
