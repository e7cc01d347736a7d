//! A span of the log between two snapshots, and places in it.
//!
//! A read is a window: what is visible in `cur` and not in `prev`, in the order of ids; then `prev` becomes `cur`. A
//! transaction that commits late is simply in a later window, so nothing waits for the slowest and nothing is skipped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use uuid::Uuid;

/// Which cluster and timeline marks speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) system_identifier: i64,
    pub(crate) timeline: i32,
}

impl History {
    /// No cluster's: what is told of it is refused.
    pub(crate) const NONE: Self = Self { system_identifier: 0, timeline: 0 };
}

/// Ids between which there is something to find.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Nothing new lies at or below this id, nor anything late at or below the other.
    pub(crate) floor: i64,
    pub(crate) late_floor: i64,
    /// Nothing late lies over this id.
    pub(crate) late_through: i64,
    /// Rows up to this id came from another cluster: they are read whatever their xids.
    pub(crate) restored_through: i64,
}

/// A span of the log.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) id: Uuid,
    /// Grows from one window of a lane to the next, in this process.
    serial: u64,
    pub(crate) prev: String,
    pub(crate) cur: String,
    pub(crate) bounds: Bounds,
    pub(crate) history: History,
    /// The ledger has a row for it.
    recorded: AtomicBool,
}

fn next_serial() -> u64 {
    static SERIALS: AtomicU64 = AtomicU64::new(1);
    SERIALS.fetch_add(1, Ordering::Relaxed)
}

impl Window {
    /// A window just opened, which the ledger does not know yet.
    pub(crate) fn opened(prev: String, cur: String, bounds: Bounds, history: History) -> Self {
        let recorded = AtomicBool::new(false);
        Self { id: Uuid::new_v4(), serial: next_serial(), prev, cur, bounds, history, recorded }
    }

    /// A window that the ledger keeps.
    pub(crate) fn stored(id: Uuid, prev: String, cur: String, bounds: Bounds, history: History) -> Self {
        let recorded = AtomicBool::new(true);
        Self { id, serial: next_serial(), prev, cur, bounds, history, recorded }
    }

    pub(crate) fn is_recorded(&self) -> bool {
        self.recorded.load(Ordering::Relaxed)
    }

    pub(crate) fn record(&self) {
        self.recorded.store(true, Ordering::Relaxed);
    }

    /// A beginning after a restore: it shows nothing itself, and what follows reads from its floor.
    pub(crate) fn is_restored_beginning(&self) -> bool {
        self.bounds.restored_through > 0 && self.prev == self.cur
    }
}

/// The id after every id: a window is read to its end.
pub(crate) const END: i64 = i64::MAX;

/// A place in the log's tail: everything of transactions whose commit record lies before `lsn`, and of the one whose
/// commit record lies at it the first `ordinal` events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TailPlace {
    pub(crate) lsn: u64,
    pub(crate) ordinal: i64,
    /// The id of the event at it; 0: it is no event's.
    pub(crate) id: i64,
    /// The greatest id that the lane has handed over, for stock-taking; `None`: only what was emitted is carried, and
    /// rows of the table wait for a feed that reads it.
    pub(crate) newest_id: Option<i64>,
}

/// A place in a lane: everything of a window up to and including an id; or, at its end, everything up to a place in the
/// log's tail as well. What the window's `cur` shows is before that place, so whoever reads windows may go on from it.
#[derive(Clone, Debug)]
pub struct PostgresMark {
    pub(crate) window: Arc<Window>,
    pub(crate) last_id: i64,
    pub(crate) tail: Option<TailPlace>,
}

impl PostgresMark {
    /// A place in a window.
    pub(crate) fn in_window(window: Arc<Window>, last_id: i64) -> Self {
        Self { window, last_id, tail: None }
    }

    /// Where it stands among the marks that this process has had of its lane.
    pub(crate) fn place(&self) -> (u64, i64, Option<(u64, i64)>) {
        (self.window.serial, self.last_id, self.tail.map(|tail| (tail.lsn, tail.ordinal)))
    }

    pub(crate) fn is_end(&self) -> bool {
        self.last_id == END
    }

    /// Whether it is a place in the log's tail up to which rows of the table were carried.
    pub(crate) fn is_of_rows(&self) -> bool {
        self.tail.is_some_and(|tail| tail.newest_id.is_some())
    }
}
