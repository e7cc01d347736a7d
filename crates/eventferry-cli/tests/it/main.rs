//! The real binary against real servers, whose addresses `cargo xtask services env` prints.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clusters;
#[cfg(feature = "otel")]
mod collector;
mod crossing;
mod dead_letters;
mod demo;
mod documented;
mod enqueue;
mod events;
mod kafka;
mod look;
mod parked;
mod postgres;
mod program;
mod proxy;
mod run;
mod schema;
#[cfg(feature = "schemas")]
mod schemas;
mod secrets;
mod settings;
mod status;
mod tail;
mod topics;
#[cfg(feature = "otel")]
mod traces;
#[cfg(feature = "otel")]
mod traces_outage;
mod unreachable;
