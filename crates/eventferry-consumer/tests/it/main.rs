//! The inbox on real databases, and records of a real broker. `cargo xtask services env` prints where the servers are.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kafka;
mod postgres;
mod postgres_together;
mod schema;
mod server;
mod sqlite;
mod sqlx;
