//! The PostgreSQL store on real servers: PostgreSQL 18 and 14, a database of its own for each test.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod books;
mod desk;
mod doorbell;
mod due;
mod intents;
mod lost_slot;
mod own_server;
mod parked;
mod password;
mod plans;
mod refusals;
mod retention;
mod roles;
mod server;
mod sessions;
mod silence;
mod tombstones;
mod topics;
mod slot;
mod tail;
#[cfg(feature = "tls")]
mod tls;
mod traps;
mod upgrade;
mod windows;
