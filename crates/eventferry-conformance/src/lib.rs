//! The contract of eventferry's stores and publishers as data: clauses that can be put to any back end.
//!
//! A [`Clause`] is an id, a sentence and a function. [`clauses`] lists them, [`main`] runs them as a test binary,
//! [`render_contract_md`] writes them down for people. What a back end cannot do it declares, and the clauses that
//! need it are passed over, by name and with the reason. The [`model`] is the smallest store that keeps them all; its
//! deliberate flaws are how each clause was seen to fail. Publishers have clauses of their own: see [`publisher`].
//!
//! # Putting the clauses to a back end
//!
//! A test without the usual harness and a [`Subject`], which says how to make an outbox and how to reach it:
//!
//! ```toml
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//!
//! ```no_run
//! use std::process::ExitCode;
//! # use std::future::Future;
//!
//! use eventferry_conformance::model::{ModelOutbox, ModelStore, ModelWriter};
//! use eventferry_conformance::{Step, Subject, Trouble, Writers};
//! use eventferry_core::{EnqueueFault, Event, MessageId};
//!
//! struct Mine; // a server, a runtime: whatever all outboxes share
//!
//! impl Subject for Mine {
//!     type Store = ModelStore;
//!     type Outbox = ModelOutbox; // often a URL or a path
//!     type Writer = ModelWriter; // the client library's connection
//!
//!     fn writers(&self) -> Writers {
//!         Writers::Many
//!     }
//!     async fn outbox(&self) -> Result<ModelOutbox, Trouble> {
//!         Ok(ModelOutbox::default()) // CREATE DATABASE with a name of its own
//!     }
//!     async fn store(&self, outbox: &ModelOutbox) -> Result<ModelStore, Trouble> {
//!         Ok(outbox.store())
//!     }
//!     async fn writer(&self, outbox: &ModelOutbox) -> Result<ModelWriter, Trouble> {
//!         Ok(outbox.writer()) // connect
//!     }
//!     async fn step(&self, writer: &mut ModelWriter, step: Step) -> Result<(), Trouble> {
//!         Ok(writer.step(step)) // connection.execute(step.sql())
//!     }
//!     async fn enqueue(&self, writer: &mut ModelWriter, events: &[Event]) -> Result<Vec<MessageId>, EnqueueFault> {
//!         writer.enqueue(events) // the back end's `Enqueue`
//!     }
//!     fn block_on<F: Future>(&self, work: F) -> F::Output {
//!         // runtime.block_on(work)
//! #       eventferry_conformance::model::block_on(work)
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     eventferry_conformance::main(Mine)
//! }
//! ```
//!
//! `cargo test --test conformance` runs all of them, `-- 05/` those of the fifth promise, `-- --list` names them.

mod application;
mod bench;
mod broken;
mod clause;
mod clauses;
mod contract_md;
mod desk;
mod erased;
mod intents;
pub mod model;
mod pause;
pub mod publisher;
mod relay;
mod runner;
mod subject;

pub use bench::{Bench, PATIENCE};
pub use broken::Broken;
pub use clause::{Clause, Declared, Ended, Need, PROMISES, Promise, clauses};
pub use contract_md::render_contract_md;
pub use runner::main;
pub use subject::{Audited, Reach, Step, Subject, Trouble, Writers};
