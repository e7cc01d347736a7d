//! Promise 1: nothing is shipped before its commit is durable, nor ever without one.

use crate::truth::{Event, Fate};

/// A consumer sees an event.
pub(crate) fn delivered(number: u32, event: &Event) -> Option<String> {
    let wrong = match event.fate {
        Fate::Durable | Fate::LostInFailover => return None,
        Fate::Open => "its transaction has not ended",
        Fate::RolledBack => "its transaction or savepoint was rolled back",
        Fate::Visible => "its commit is not on disk",
        Fate::LostInCrash => "a crash has taken it back",
    };
    Some(format!("e{number} was delivered, but {wrong}"))
}
