//! The time of one contender in one round, and what processors spent in it.

use std::time::{Duration, Instant};

use crate::processor::{Spent, Watch};

/// Starts before a contender connects, and is stopped by it at its last acknowledgement.
pub(super) struct Stopwatch {
    watch: Watch,
    before: Spent,
    started: Instant,
    stopped: Option<(Duration, Spent)>,
}

impl Stopwatch {
    pub(super) fn start(watch: Watch) -> Self {
        Self { before: watch.spent(), watch, started: Instant::now(), stopped: None }
    }

    /// Everything has arrived.
    pub(super) fn stop(&mut self) {
        self.stopped = Some((self.started.elapsed(), self.watch.spent().since(&self.before)));
    }

    /// The time since the start, stopped or not.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What it showed when it was stopped.
    pub(super) fn read(self) -> (Duration, Spent) {
        self.stopped.unwrap_or_default()
    }
}
