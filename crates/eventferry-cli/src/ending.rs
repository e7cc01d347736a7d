//! How the program ends: exit codes, and the troubles that lead to them.

use std::fmt;

use eventferry::core::{PublishFault, StoreFault, StoreFaultKind};

/// How the program ends. The numbers are part of its interface: see [`EXIT_CODES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// What was asked for is done.
    Done,
    /// A promise was seen broken, or the program has a bug.
    Broken,
    /// The arguments, variables, file of settings or event cannot be used as they are.
    Usage,
    /// The store does not answer a command that asks once, or must be set right.
    Store,
    /// The publisher must be set right, or does not answer a command that asks once.
    Publisher,
    /// The grace time ran out before everything was settled.
    GraceOver,
    /// A signal ended it at once: Ctrl-C in a command that asks once, or a second signal to a relay.
    Signal(i32),
}

/// The exit codes as `--help` tells them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
    0  done; for `run`: drained, everything in flight is settled; for `tail`: ended by Ctrl-C
    1  a promise was seen broken (`demo`), or a bug
    2  the arguments, variables, file of settings or event cannot be used
    3  the store is unreachable (not for `run`, which waits), or must be set right
    4  the publisher is unreachable (`demo`, `dead-letters`, `tail`, `topics`), or must be set right
    5  the grace time ran out: what was in flight is sent again by the next relay
  130  a second Ctrl-C: ended at once, as after a crash (143: a second SIGTERM)";

impl Ending {
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Done => 0,
            Self::Broken => 1,
            Self::Usage => 2,
            Self::Store => 3,
            Self::Publisher => 4,
            Self::GraceOver => 5,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// What keeps a command from doing what it was asked for: a message that says what to do, and how the program ends.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) ending: Ending,
    pub(crate) message: String,
}

impl Trouble {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { ending: Ending::Usage, message: message.into() }
    }

    pub(crate) fn store(message: impl Into<String>) -> Self {
        Self { ending: Ending::Store, message: message.into() }
    }

    pub(crate) fn publisher(message: impl Into<String>) -> Self {
        Self { ending: Ending::Publisher, message: message.into() }
    }

    pub(crate) fn bug(message: impl fmt::Display) -> Self {
        Self { ending: Ending::Broken, message: format!("{message}; this is a bug") }
    }
}

impl From<StoreFault> for Trouble {
    /// What a relay would wait for, a command that asks once reports.
    fn from(fault: StoreFault) -> Self {
        let remedy = match fault.kind() {
            StoreFaultKind::Contended | StoreFaultKind::Throttled(_) => "; try again",
            _ => "",
        };
        Self::store(format!("{}{remedy}", fault.message()))
    }
}

impl From<PublishFault> for Trouble {
    fn from(fault: PublishFault) -> Self {
        Self::publisher(fault.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_code_once() {
        let told: Vec<i32> =
            EXIT_CODES.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
        let endings = [
            Ending::Done,
            Ending::Broken,
            Ending::Usage,
            Ending::Store,
            Ending::Publisher,
            Ending::GraceOver,
            Ending::Signal(2),
        ];
        assert_eq!(told, endings.map(Ending::code));
    }
}
