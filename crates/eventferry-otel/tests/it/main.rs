//! Contexts and spans, with an SDK that keeps spans in memory.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod capture;
mod processing;
mod relay;
mod spans;
mod traced;
