//! The SQLite store on real files, with real threads and processes; time is injected and never waited for.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod database;

mod desk;
mod due;
mod enqueue;
mod feed;
mod intents;
mod lanes;
mod ledger;
mod parked;
mod plans;
mod processes;
mod schema;
mod topics;
mod upkeep;
