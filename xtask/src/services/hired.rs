//! Servers for the length of one command.

use std::sync::Arc;

use super::Services;
use crate::checkout::Checkout;
use crate::trouble::{Attempt, Trouble};

/// Servers that are up while this lives. What was up before stays up afterwards; the rest is stopped, on Ctrl-C too.
pub(crate) struct Hired {
    services: Arc<Services>,
}

impl Hired {
    /// Once in a process: it takes over Ctrl-C.
    pub(crate) fn up(checkout: &Checkout) -> Result<Self, Trouble> {
        let hired = Self { services: Arc::new(Services::of(checkout)?) };
        let on_signal = Arc::clone(&hired.services);
        ctrlc::set_handler(move || {
            if let Err(trouble) = on_signal.down_what_was_started() {
                eprintln!("xtask: {trouble}");
            }
            // What a shell reports of a command that Ctrl-C ended.
            std::process::exit(130);
        })
        .attempt(|| "cannot catch Ctrl-C".to_owned())?;
        hired.services.up()?;
        Ok(hired)
    }

    pub(crate) fn variables(&self) -> Result<Vec<(&'static str, String)>, Trouble> {
        self.services.variables()
    }
}

impl Drop for Hired {
    fn drop(&mut self) {
        if let Err(trouble) = self.services.down_what_was_started() {
            eprintln!("xtask: {trouble}");
        }
    }
}
