//! The ten promises, each watched by a file of its own, and the doorbell by another: each sees only what a consumer, a
//! reader of parked events or a user of the database could see, and knows what really was enqueued.

pub(crate) mod atomic;
pub(crate) mod lost;
pub(crate) mod order;
pub(crate) mod duplicates;
pub(crate) mod fencing;
pub(crate) mod isolation;
pub(crate) mod outage;
pub(crate) mod dead_letters;
pub(crate) mod memory;
pub(crate) mod enqueue;
pub(crate) mod punctual;

use std::fmt;

use crate::agenda::{SECOND, Time};

/// A promise seen broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its number; 0: a call panicked.
    pub promise: u8,
    /// What was seen.
    pub what: String,
    /// When, in microseconds of virtual time.
    pub at_us: Time,
}

/// The promises by number.
const NAMES: [&str; 11] = [
    "no panic",
    "atomic",
    "nothing lost",
    "order",
    "few duplicates",
    "fencing",
    "isolation",
    "an outage is not a failure",
    "dead letters are durable",
    "bounded memory",
    "enqueue never waits",
];

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.get(usize::from(self.promise)).copied().unwrap_or("?");
        let (seconds, rest) = (self.at_us / SECOND, self.at_us % SECOND);
        write!(f, "promise {} ({name}) at {seconds}.{rest:06} s: {}", self.promise, self.what)
    }
}
