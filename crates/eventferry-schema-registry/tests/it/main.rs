//! The client and what stands on it, against a real registry, whose URL `cargo xtask services env` prints, and against
//! stubs that play what a real one does not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod authority;
mod enqueueing;
mod learning;
mod login;
mod real;
mod reading;
mod stub;
mod toy;
mod troubles;
