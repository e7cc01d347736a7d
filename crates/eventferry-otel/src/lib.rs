//! OpenTelemetry for eventferry: an event carries the trace that enqueued it, and its sending and its handling are
//! spans of that trace.
//!
//! In the order in which an event travels:
//!
//! - [`TraceCapture`], before an application's outbox, adds the headers `traceparent`, `tracestate` and `baggage` from
//!   the current context.
//! - [`Traced`], around a relay's publisher, makes a span of each sending, linked to the span that enqueued the event.
//! - [`Processing`], in a consumer, makes a span of the event's handling.
//!
//! Names and attributes are those of OpenTelemetry's semantic conventions 1.44.0 for messaging
//! (<https://github.com/open-telemetry/semantic-conventions/tree/v1.44.0/docs/messaging>), which are in development: a
//! later version may rename them, and then so does this crate.
//!
//! Spans are made by the global tracer provider, or by one that is given. Where there is none, contexts are carried
//! all the same and nothing is recorded.

mod attribute;
mod baggage;
mod capture;
mod processing;
mod tracer;
mod traced;
mod w3c;

pub use capture::TraceCapture;
pub use processing::{Processing, ProcessingSpan};
pub use traced::{Traced, TracedSession};
pub use w3c::extract;
