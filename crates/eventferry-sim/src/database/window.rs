//! A span of the log between two snapshots, and places in it.

use std::rc::Rc;

/// Which transactions had ended when it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The latest xid that had *completed*, plus one: those at or above it may run.
    pub(crate) xmax: u64,
    /// Those below it that ran.
    pub(crate) running: Vec<u64>,
}

impl Snapshot {
    /// Whether it counts this transaction among those that had ended.
    pub(crate) fn sees(&self, xid: u64) -> bool {
        xid < self.xmax && !self.running.contains(&xid)
    }

    pub(crate) fn xmin(&self) -> u64 {
        self.running.iter().copied().min().unwrap_or(self.xmax)
    }
}

/// What is visible in `cur` and not in `prev`.
#[derive(Debug)]
pub(crate) struct Window {
    /// Grows from one window to the next.
    pub(crate) serial: u64,
    pub(crate) prev: Rc<Snapshot>,
    pub(crate) cur: Rc<Snapshot>,
    /// Nothing new lies at or below this id, nor anything late at or below the other.
    pub(crate) floor: u64,
    pub(crate) late_floor: u64,
    pub(crate) timeline: u32,
}

impl Window {
    /// The place before everything.
    pub(crate) fn beginning() -> Mark {
        let nothing = Rc::new(Snapshot { xmax: 1, running: Vec::new() });
        let (prev, cur) = (Rc::clone(&nothing), nothing);
        let window = Self { serial: 0, prev, cur, floor: 0, late_floor: 0, timeline: 1 };
        Mark { window: Rc::new(window), last_id: END }
    }
}

/// The id after every id: a window is read to its end.
pub(crate) const END: u64 = u64::MAX;

/// Everything of a window up to and including an id.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) window: Rc<Window>,
    pub(crate) last_id: u64,
}

impl Mark {
    pub(crate) fn is_end(&self) -> bool {
        self.last_id == END
    }

    /// Where it stands among the marks of its lane.
    pub(crate) fn place(&self) -> (u64, u64) {
        (self.window.serial, self.last_id)
    }

    /// Whether a position here has passed this row.
    pub(crate) fn covers(&self, xid: u64, id: u64) -> bool {
        self.window.prev.sees(xid) || (self.window.cur.sees(xid) && id <= self.last_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_at_or_above_xmax_is_not_seen() {
        let snapshot = Snapshot { xmax: 7, running: vec![4] };
        assert!(snapshot.sees(3) && snapshot.sees(6));
        assert!(!snapshot.sees(4) && !snapshot.sees(7) && !snapshot.sees(8));
        assert_eq!(snapshot.xmin(), 4);
    }
}
