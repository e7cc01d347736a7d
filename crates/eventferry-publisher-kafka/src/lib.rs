//! Publishes eventferry's events to Apache Kafka and what speaks its protocol, through librdkafka.
//!
//! It implements the publisher contract of `eventferry-core`: one topic and partition is one order
//! domain, the partition comes from the key as Java's client computes it, and a session is an idempotent, gapless
//! producer (`acks=all`, five requests in flight, no local message timeout).
//!
//! TLS and SCRAM need the feature `ssl` (or `ssl-vendored`), Zstandard the feature `zstd`; `dynamic-linking` uses the
//! system's librdkafka.

mod config;
mod fault;
mod route;

pub use config::{Compression, KafkaConfig};
