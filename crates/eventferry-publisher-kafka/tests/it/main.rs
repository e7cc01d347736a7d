//! What the publisher does to brokers: librdkafka's mock cluster in this process, and a real Kafka.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod authority;
mod bench;
mod certificates;
mod choices;
mod cluster;
mod clusters;
mod dead_letters;
mod documented;
mod frozen;
mod health;
mod kafka;
mod login;
mod mock;
mod own_broker;
mod producing;
mod quota;
mod refusal;
mod road;
mod small_relay;
mod spoken;
mod tail;
mod take_over;
mod token_server;
mod tokens;
