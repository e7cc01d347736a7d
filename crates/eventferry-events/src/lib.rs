//! Typed events: a struct says which event it is, and a registry says which events an application has.
//!
//! [`TypedEvent`], which `#[derive(Event)]` implements, makes a value an event that every outbox takes. A [`Registry`]
//! lists event types with their schemas; it checks events before they are appended and before they are sent (feature
//! `validate`), decodes them for consumers, makes new payloads of old versions, and tells other people and programs
//! what there is, as AsyncAPI, Markdown or a folder of JSON Schemas.

mod asyncapi;
mod builder;
#[cfg(feature = "validate")]
mod checks;
mod decode;
mod event_type;
mod folder;
#[doc(hidden)]
pub mod hidden;
mod listing;
mod markdown;
mod ordered;
mod registry;
#[cfg(feature = "validate")]
mod rule;
mod shown;
mod typed;

pub use asyncapi::AsyncApi;
pub use builder::RegistryBuilder;
#[cfg(feature = "validate")]
pub use checks::{Checks, Mismatch};
pub use decode::{DecodeFault, DecodeFaultKind};
pub use event_type::EventType;
pub use eventferry_derive::Event;
pub use registry::{Registry, RegistryFault};
#[cfg(feature = "schema")]
pub use schemars;
pub use typed::{EVENT_TYPE, EVENT_VERSION, TypedEvent};
