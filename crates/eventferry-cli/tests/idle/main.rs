//! What is measured with nothing beside it: in a target of its own, since those of a target run side by side.
#![expect(
    dead_code,
    clippy::unwrap_used,
    reason = "a test fails by panicking; helpers of the other tests, some unused"
)]

mod idle;
#[path = "../it/kafka.rs"]
mod kafka;
#[path = "../it/postgres.rs"]
mod postgres;
#[path = "../it/program.rs"]
mod program;
