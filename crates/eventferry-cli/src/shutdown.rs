//! SIGTERM and Ctrl-C: the first asks, the second ends.

use std::io;
use std::time::{Duration, Instant};

use crate::ending::Ending;

/// What asked the program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// What supervisors send.
    Terminate,
}

impl Signal {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "Ctrl-C",
            Self::Terminate => "SIGTERM",
        }
    }

    /// How the program ends when this signal ends it at once.
    pub(crate) fn ending(self) -> Ending {
        Ending::Signal(match self {
            Self::Interrupt => 2,
            Self::Terminate => 15,
        })
    }
}

/// The signals that ask the program to end, heard from its making on.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Takes the signals over from the system, which would end the program.
    pub(crate) fn hear() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

/// How long after the first a signal is still the same request: `timeout` and others send it to a process and once more
/// to its group.
const ECHO_MAX: Duration = Duration::from_millis(200);

impl Signals {
    /// Waits, after the first, for one that asks again.
    pub(crate) async fn again(&mut self) -> Signal {
        let first = Instant::now();
        loop {
            let signal = self.next().await;
            if first.elapsed() > ECHO_MAX {
                return signal;
            }
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    /// Takes Ctrl-C over from the system, which would end the program.
    pub(crate) fn hear() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::Interrupt,
            Err(_) => std::future::pending().await,
        }
    }
}
