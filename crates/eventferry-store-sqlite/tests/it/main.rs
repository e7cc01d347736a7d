//! The SQLite store on real files, with real threads and processes; time is injected and never waited for.

mod database;

mod enqueue;
mod feed;
mod lanes;
mod ledger;
mod processes;
mod schema;
mod upkeep;
