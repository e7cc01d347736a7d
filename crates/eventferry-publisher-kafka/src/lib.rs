//! Publishes eventferry's events to Apache Kafka and what speaks its protocol, through librdkafka.
//!
//! [`KafkaPublisher`] implements the publisher contract of `eventferry-core`: one topic and partition is one order
//! domain, the partition comes from the key as Java's client computes it, and a session is an idempotent, gapless
//! producer (`acks=all`, five requests in flight, no local message timeout).
//!
//! ```no_run
//! use eventferry_core::publisher::{Publisher, Role};
//! use eventferry_publisher_kafka::{KafkaConfig, KafkaPublisher};
//!
//! # async fn publish() -> Result<(), Box<dyn std::error::Error>> {
//! let config = KafkaConfig::from_url("kafka://one.example:9092,two.example:9092?compression=lz4")?;
//! let publisher = KafkaPublisher::new(config)?;
//! publisher.learn("orders.created").await?;
//! let session = publisher.connect(Role::Main).await?;
//! # drop(session);
//! # Ok(())
//! # }
//! ```
//!
//! TLS and SCRAM need the feature `ssl` (or `ssl-vendored`), Zstandard the feature `zstd`, tokens of an endpoint
//! `oidc`, AWS MSK `msk-iam`, Kerberos `gssapi`; `dynamic-linking` uses the system's librdkafka.

mod cluster;
mod clusters;
mod config;
mod credentials;
mod dead_letters;
mod fault;
mod login;
mod mapping;
mod partitioner;
mod polled;
mod publisher;
mod reader;
mod record;
mod route;
mod session;
mod stamp;
mod tail;
mod take_over;
mod statistics;
mod url;

pub use cluster::{Change, Cluster, DeclaredTopic, Difference, TopicState};
pub use clusters::{ClusterConfig, ClusterHealth, KafkaClusters, KafkaClustersSession, TopicPattern};
pub use config::{Compression, KafkaConfig};
pub use credentials::OauthToken;
pub use dead_letters::{DeadLetterReader, ReadFrom, Span};
pub use partitioner::Partitioner;
pub use publisher::KafkaPublisher;
pub use record::TopicRecord;
pub use session::KafkaSession;
pub use statistics::{BrokerHealth, Contact};
pub use tail::{TailFrom, TopicTail};
