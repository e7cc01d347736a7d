//! What ends a trial early.

use std::error::Error;

/// What ends a trial early: an answer nobody expected, or arguments that make no sense.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// A failure of our own making.
pub(crate) fn failure(message: impl Into<String>) -> Failure {
    message.into().into()
}

/// Says what was tried when something failed.
pub(crate) trait Attempt<T> {
    /// Adds what was tried.
    fn attempt(self, what: &str) -> Result<T, Failure>;
}

impl<T, E: Error> Attempt<T> for Result<T, E> {
    fn attempt(self, what: &str) -> Result<T, Failure> {
        self.map_err(|error| {
            let mut message = format!("{what}: {error}");
            let mut below = error.source();
            while let Some(source) = below {
                let text = source.to_string();
                if !message.contains(&text) {
                    message.push_str(&format!(": {text}"));
                }
                below = source.source();
            }
            failure(message)
        })
    }
}
