//! The real binary against real servers, whose addresses `cargo xtask services env` prints.

mod demo;
mod enqueue;
mod kafka;
mod postgres;
mod program;
mod proxy;
mod run;
mod schema;
mod secrets;
mod settings;
mod status;
