//! The one error type here: a line for the person at the terminal.

use std::fmt;

/// What went wrong and what to do about it. Nothing in this crate tells kinds of trouble apart; a person reads it.
#[derive(Debug)]
pub(crate) struct Trouble {
    message: String,
}

impl Trouble {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Says what was being attempted when a call failed.
pub(crate) trait Attempt<T> {
    /// Turns an error into trouble that reads `what: error`; `what` is an attempt, such as "cannot read the lock file".
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, Trouble>;
}

impl<T, E: fmt::Display> Attempt<T> for Result<T, E> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, Trouble> {
        self.map_err(|error| Trouble::new(format!("{}: {error}", what())))
    }
}
