//! The head of eventferry: the outbox's words, the contract of stores and publishers, and the state machine that
//! decides what may be sent, what is settled and how far a position may move.
//!
//! No I/O, no clock, no randomness and no dependencies: time is an argument, maps are ordered, and the same inputs
//! always give the same actions. The modules stand in the order in which an event travels.
#![no_std]

extern crate alloc;

pub mod cause;
pub mod enqueue;
pub mod envelope;
pub mod event;
pub mod fault;
pub mod interceptor;
pub mod lane;
pub mod machine;
pub mod packed;
pub mod parked;
pub mod publisher;
pub mod record;
pub mod ringer;
pub mod serializer;
mod sha256;
pub mod store;
pub mod trace;
pub mod transaction;

pub use cause::Cause;
pub use enqueue::{Append, Enqueue, EnqueueFault, EnqueueFaultKind, IntoEvent};
pub use envelope::{DeadLetter, Envelope};
pub use event::{Aggregate, Event, Header, MessageId};
pub use fault::{PublishFault, PublishFaultKind, StoreFault, StoreFaultKind};
pub use interceptor::{Intercepted, Interceptor};
pub use lane::{Lane, Lease};
pub use packed::PackedRow;
pub use record::{Record, Row, StoredEvent, Timestamp};
pub use ringer::{Ringer, Ringing};
pub use serializer::{NotSerialized, Serialized, Serializer};
pub use trace::TraceParent;
pub use transaction::{OutboxId, Stamp};
