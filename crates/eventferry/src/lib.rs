//! The front door of eventferry: the transactional outbox as a log.
//!
//! An application appends an [`Event`](struct@Event) in the same transaction as its data; relays carry it to the
//! broker, in order, without loss. Everything here is re-exported from the room where it lives; features choose the
//! rooms.

pub use eventferry_core as core;
pub use eventferry_core::{
    Aggregate, Append, Cause, Enqueue, EnqueueFault, EnqueueFaultKind, Event, Header, Intercepted,
    Interceptor, IntoEvent, MessageId, Ringer, Ringing,
};
/// Makes a struct an event: see [`events`].
#[cfg(feature = "events")]
pub use eventferry_events::Event;
pub use eventferry_relay as relay;
pub use eventferry_relay::{Backoff, OnDead, Relay, RetryPolicy, Settings};
#[cfg(feature = "json")]
pub use eventferry_serializer_json::{Json, NotJson};

/// Typed events, and a registry of them.
#[cfg(feature = "events")]
pub use eventferry_events as events;

/// CloudEvents around what is sent.
#[cfg(feature = "cloudevents")]
pub use eventferry_serializer_cloudevents as cloudevents;

/// The PostgreSQL store.
#[cfg(feature = "postgres")]
pub use eventferry_store_postgres as postgres;

/// The SQLite store.
#[cfg(feature = "sqlite")]
pub use eventferry_store_sqlite as sqlite;

/// The publisher for Kafka and what speaks its protocol.
#[cfg(feature = "kafka")]
pub use eventferry_publisher_kafka as kafka;

/// Schemas of a registry: events written by them in the relay or when they are enqueued, and read where they arrive.
#[cfg(feature = "schema-registry")]
pub use eventferry_schema_registry as schemas;

/// JSON payloads to Avro and back.
#[cfg(feature = "avro")]
pub use eventferry_serializer_avro as avro;

/// JSON payloads to Protobuf and back.
#[cfg(feature = "protobuf")]
pub use eventferry_serializer_protobuf as protobuf;

/// JSON payloads held against a JSON Schema.
#[cfg(feature = "json-schema")]
pub use eventferry_serializer_json_schema as json_schema;

/// Traces: an event carries the OpenTelemetry context in which it was enqueued.
#[cfg(feature = "otel")]
pub use eventferry_otel as otel;

/// For those who consume: events as they arrive, and the inbox.
#[cfg(feature = "consumer")]
pub use eventferry_consumer as consumer;

/// The README's examples, compiled.
#[cfg(all(doctest, feature = "json", feature = "postgres"))]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The examples of docs/consuming.md, compiled.
#[cfg(all(doctest, feature = "consumer-kafka", feature = "inbox-postgres"))]
#[doc = include_str!("../../../docs/consuming.md")]
struct Consuming;

/// The examples of docs/events.md, compiled.
#[cfg(all(
    doctest,
    feature = "events-schema",
    feature = "events-validate",
    feature = "consumer",
    feature = "postgres"
))]
#[doc = include_str!("../../../docs/events.md")]
struct Events;

/// The examples of docs/schemas.md, compiled.
#[cfg(all(
    doctest,
    feature = "schema-registry",
    feature = "avro",
    feature = "protobuf",
    feature = "postgres"
))]
#[doc = include_str!("../../../docs/schemas.md")]
struct Schemas;

/// The examples of docs/tracing.md, compiled.
#[cfg(all(doctest, feature = "otel", feature = "postgres", feature = "kafka", feature = "consumer-kafka"))]
#[doc = include_str!("../../../docs/tracing.md")]
struct Tracing;
