//! What was found broken: how often, and the first few of each in detail.

use std::collections::BTreeMap;
use std::fmt;

/// What can be found broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Breach {
    /// Committed, and never arrived.
    Lost,
    /// Arrived, and was never committed.
    Phantom,
    /// Arrived before its commit was asked for.
    Early,
    /// First arrived before one that must come first.
    Order,
    /// Arrived again, and no kill explains it.
    Repeat,
    /// Arrived with other bytes, headers, key or place than it was enqueued with.
    Altered,
    /// Arrived under another message id than it was given.
    Renamed,
    /// A relay did not end as it must.
    Relay,
    /// All relays have drained, and the outbox says that events are left.
    Left,
    /// Parked, though nothing was wrong with it.
    Parked,
    /// Took longer than was promised.
    Slow,
    /// A relay took more memory than was promised.
    Memory,
}

/// All there is to find, in the order of the report.
pub(super) const BREACHES: [Breach; 12] = [
    Breach::Lost,
    Breach::Phantom,
    Breach::Early,
    Breach::Order,
    Breach::Repeat,
    Breach::Altered,
    Breach::Renamed,
    Breach::Relay,
    Breach::Left,
    Breach::Parked,
    Breach::Slow,
    Breach::Memory,
];

/// How many of each are told in detail.
const DETAILS_MAX: u64 = 5;

/// Breaches as they are found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    counts: BTreeMap<Breach, u64>,
    pub(super) details: Vec<(Breach, String)>,
}

impl Breach {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Phantom => "phantom",
            Self::Early => "early",
            Self::Order => "out of order",
            Self::Repeat => "repeated, no cause",
            Self::Altered => "altered",
            Self::Renamed => "renamed",
            Self::Relay => "relay",
            Self::Left => "left",
            Self::Parked => "parked, no cause",
            Self::Slow => "slow",
            Self::Memory => "memory",
        }
    }
}

impl Findings {
    /// Counts one; its details are asked for only if they are told.
    pub(super) fn add(&mut self, breach: Breach, detail: impl FnOnce() -> String) {
        let count = self.counts.entry(breach).or_default();
        *count += 1;
        if *count <= DETAILS_MAX {
            self.details.push((breach, detail()));
        }
    }

    pub(super) fn count(&self, breach: Breach) -> u64 {
        self.counts.get(&breach).copied().unwrap_or(0)
    }

    pub(super) fn are_none(&self) -> bool {
        self.counts.is_empty()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (breach, detail) in &self.details {
            writeln!(f, "{}: {detail}", breach.name())?;
        }
        for (breach, count) in self.counts.iter().filter(|(_, count)| **count > DETAILS_MAX) {
            writeln!(f, "{}: and {} more", breach.name(), count - DETAILS_MAX)?;
        }
        Ok(())
    }
}
