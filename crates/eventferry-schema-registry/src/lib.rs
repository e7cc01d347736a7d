//! Schema registries of the Confluent kind, and what every format has in common.
//!
//! [`RegistrySerializer`] turns the JSON payloads of events into what schemas of a registry describe, in the relay or
//! when they are enqueued; [`RegistryDeserializer`] reads such messages where they are consumed. [`Registry`] is the
//! client that both ask, over its REST API. How a payload becomes Avro, Protobuf or JSON Schema is a [`Format`]'s
//! affair; how a message names its schema is told in [`framing`].

pub mod client;
mod deserializer;
pub mod format;
pub mod framing;
mod serializer;
pub mod subject;
pub mod json;

pub use client::{NewSchema, Reference, Registered, Registry, RegistryConfig, Secret};
pub use deserializer::{Read, ReadFault, ReadFaultKind, RegistryDeserializer};
pub use format::{Encoded, Format, PayloadFault, Schema, SchemaFault, SchemaSource, SchemaType};
pub use framing::{Framing, FramingFault, Guid, Part, SchemaId};
pub use serializer::{
    Given, Others, PAYLOAD_MISMATCH, PartSchema, RECORD_HEADER, RECORD_UNKNOWN, RegistrySerializer,
    RegistrySerializerBuilder, SchemaChoice,
};
pub use subject::SubjectStrategy;
