//! Where lanes stand, as this process last read or wrote it: the feed opens them, the ledger moves them on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventferry_core::{Lane, Lease};

use crate::window::{History, PostgresMark};

/// The position of each open lane.
#[derive(Clone, Debug, Default)]
pub(crate) struct Positions(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    lanes: BTreeMap<Lane, Known>,
    /// On which cluster and timeline lanes were opened last.
    history: Option<History>,
}

/// What is known of a lane's position.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Under which lease's epoch.
    epoch: u64,
    /// The only version that the next settlement may follow.
    pub(super) version: i64,
    /// Where it stands.
    pub(super) mark: PostgresMark,
}

impl Positions {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, lease: Lease, version: i64, mark: &PostgresMark) {
        let known = Known { epoch: lease.epoch, version, mark: mark.clone() };
        let mut book = self.book();
        book.history = Some(mark.window.history);
        book.lanes.insert(lease.lane, known);
    }

    pub(crate) fn forget(&self, lane: Lane) {
        self.book().lanes.remove(&lane);
    }

    /// What is known of the lane, under this lease.
    pub(super) fn of(&self, lease: Lease) -> Option<Known> {
        self.book().lanes.get(&lease.lane).filter(|known| known.epoch == lease.epoch).cloned()
    }

    /// Up to where the log's tail is settled in every lane, if all of them are read from it.
    pub(crate) fn tail_floor(&self, lanes_total: u16) -> Option<u64> {
        let book = self.book();
        let places = book.lanes.values().map(|known| known.mark.tail.map(|tail| tail.lsn));
        let floor = places.collect::<Option<Vec<_>>>()?.into_iter().min();
        floor.filter(|_| book.lanes.len() == usize::from(lanes_total))
    }

    pub(super) fn history(&self) -> Option<History> {
        self.book().history
    }
}
