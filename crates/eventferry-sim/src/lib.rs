//! The whole system under a seeded storm.
//!
//! A seed decides a schedule: what applications write, how long each call takes, what goes wrong and when. Several
//! relays run it, each a [`Core`](eventferry_core::machine::Core) with an engine of this crate's around it, against a
//! model of the database and a model of the broker, in virtual time and on one thread. Checkers, one for each promise,
//! watch what people outside could see. The same seed gives the same run.
//!
//! [`run`] runs a seed, [`Flaw`] breaks a rule on purpose, [`shrink`] makes a failing schedule smaller.

mod dice;
mod agenda;
mod fault;
mod plan;
mod flaw;
mod truth;
mod database;
mod broker;
mod relay;
mod world;
mod checks;
mod tally;
mod schedule;

pub use checks::Broken;
pub use flaw::{FLAWS, Flaw};
pub use schedule::{Ended, Schedule, run, shrink, trace};
pub use tally::Tally;
