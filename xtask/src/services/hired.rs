//! Servers for the length of one command.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Services;
use crate::checkout::Checkout;
use crate::trouble::{Attempt, Trouble};

/// Servers that are up while this lives. What was up before stays up afterwards; the rest is stopped, on Ctrl-C too.
pub(crate) struct Hired {
    services: Arc<Services>,
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Ctrl-C ends the children of this process too. Whoever notices that before the servers are down waits here, and
/// neither reports a failure nor starts a server again; the process ends meanwhile.
pub(crate) fn stand_aside_if_interrupted() {
    while INTERRUPTED.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

impl Hired {
    /// Once in a process: it takes over Ctrl-C.
    pub(crate) fn up(checkout: &Checkout) -> Result<Self, Trouble> {
        let hired = Self { services: Arc::new(Services::of(checkout)?) };
        let on_signal = Arc::clone(&hired.services);
        ctrlc::set_handler(move || {
            INTERRUPTED.store(true, Ordering::SeqCst);
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
        stand_aside_if_interrupted();
        if let Err(trouble) = self.services.down_what_was_started() {
            eprintln!("xtask: {trouble}");
        }
    }
}
