//! The contract of publishers as data, as the crate's root has that of stores.
//!
//! A [`Clause`] is put to a publisher through a [`Subject`], which says how to make one, how to make a topic, and how
//! to read back what a consumer would:
//!
//! ```no_run
//! use std::process::ExitCode;
//! # use std::future::Future;
//!
//! use eventferry_conformance::Trouble;
//! use eventferry_conformance::publisher::model::{Model, ModelPublisher};
//! use eventferry_conformance::publisher::{Delivered, Reach, Subject};
//!
//! struct Mine(Model); // a broker, a runtime: whatever all clauses share
//!
//! impl Subject for Mine {
//!     type Publisher = ModelPublisher;
//!
//!     fn reach(&self) -> Reach {
//!         Reach { partitions: true, times: true, limits: false }
//!     }
//!     async fn publisher(&self) -> Result<ModelPublisher, Trouble> {
//!         self.0.publisher().await // as a relay makes it
//!     }
//!     async fn create(&self, topic: &str, partitions: u16) -> Result<(), Trouble> {
//!         self.0.create(topic, partitions).await // by the broker's tool
//!     }
//!     async fn read(&self, topic: &str) -> Result<Vec<Delivered>, Trouble> {
//!         self.0.read(topic).await // as a consumer
//!     }
//!     fn block_on<F: Future>(&self, work: F) -> F::Output {
//!         // runtime.block_on(work)
//! #       eventferry_conformance::model::block_on(work)
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     eventferry_conformance::publisher::main(Mine(Model::default()))
//! }
//! ```

mod bench;
mod clause;
mod clauses;
mod erased;
pub mod model;
mod subject;

use std::process::ExitCode;
use std::sync::Arc;

pub use bench::Bench;
pub use clause::{Clause, Declared, Need, clauses};
pub use subject::{Delivered, Reach, Subject};

use crate::runner;

/// Runs every clause against a publisher, as the `main` of a test with `harness = false`; see
/// [`eventferry_conformance::main`](crate::main).
pub fn main<S: Subject>(subject: S) -> ExitCode {
    let subject = Arc::new(subject);
    let trials = clauses().map(|clause| {
        let subject = Arc::clone(&subject);
        runner::trial(clause.to_string(), clause.sentence, move || clause.ask(&subject))
    });
    runner::run(trials.collect())
}
