//! Opening windows and reading pages: the statements of the store's feed.

use std::rc::Rc;

use eventferry_core::store::Anchor;

use super::window::{END, Snapshot};
use super::{Database, Mark, Window};
use crate::flaw::Flaw;

/// A window being opened: what its first statement read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    newest: u64,
    xid: Option<u64>,
}

/// What a page may hold.
#[derive(Clone, Debug)]
pub(crate) struct PageWish {
    pub(crate) lanes: Vec<u16>,
    pub(crate) records_max: usize,
    pub(crate) bytes_max: u64,
    pub(crate) scan_ids: u64,
}

/// A page, and how far its window was looked through.
#[derive(Clone, Debug)]
pub(crate) struct PageRead {
    /// Lane, event, id.
    pub(crate) rows: Vec<(u16, u32, u64)>,
    pub(crate) reached: u64,
}

impl Database {
    /// The first statement: the sequence's last value, before any xid of this transaction.
    pub(crate) fn read_newest(&mut self) -> Opening {
        if self.has(Flaw::ReadsFloorAfterXid) {
            let xid = Some(self.books.take_xid());
            return Opening { newest: 0, xid };
        }
        Opening { newest: self.books.last_id(), xid: None }
    }

    /// The last id that was given.
    pub(crate) fn newest(&self) -> u64 {
        self.books.last_id()
    }

    /// Whether something is committed that whoever stands there has not seen, or not read.
    pub(crate) fn has_news(&self, at: &Mark) -> bool {
        let is_new = |xid: u64| self.books.is_committed(xid) && !at.window.cur.sees(xid);
        at.last_id != END || self.books.rows.iter().any(|row| !row.dead && is_new(row.xid))
    }

    /// The second: an xid, if an anchor is due, and the snapshot; says where the write-ahead log stands.
    pub(crate) fn open_windows(&mut self, mut opening: Opening, prevs: &[Mark]) -> (Vec<Mark>, u64) {
        if opening.xid.is_some() {
            opening.newest = self.books.last_id();
        }
        let anchored = self.books.anchors.last().map_or(0, |(_, id)| *id);
        if opening.newest >= anchored + self.anchor_ids || opening.xid.is_some() {
            let xid = opening.xid.unwrap_or_else(|| self.books.take_xid());
            self.books.anchors.push((xid, opening.newest));
            self.books.end(xid, true);
        }
        let mut snapshot = self.books.snapshot();
        if self.has(Flaw::TakesXmaxForNext) {
            snapshot.xmax = self.books.xid_next();
        }
        let cur = Rc::new(snapshot);
        let windows = prevs.iter().map(|prev| self.window(&prev.window.cur, &cur)).collect();
        (windows, self.books.lsn)
    }

    fn window(&mut self, prev: &Rc<Snapshot>, cur: &Rc<Snapshot>) -> Mark {
        self.windows += 1;
        let floor_below = |xid: u64| {
            let mut anchors = self.books.anchors.iter().rev();
            anchors.find(|(anchor, _)| *anchor < xid).map_or(0, |(_, id)| *id)
        };
        let window = Window {
            serial: self.windows,
            prev: Rc::clone(prev),
            cur: Rc::clone(cur),
            floor: floor_below(prev.xmax),
            late_floor: floor_below(prev.xmin()),
            timeline: self.books.timeline,
        };
        Mark { window: Rc::new(window), last_id: 0 }
    }

    /// A page of a window: visible in `cur`, not in `prev`, in the order of ids.
    pub(crate) fn read_page(&self, at: &Mark, wish: &PageWish) -> PageRead {
        let window = &*at.window;
        let start = at.last_id.max(window.floor.min(window.late_floor));
        let upto = start + wish.scan_ids;
        let first = self.books.rows.partition_point(|row| row.id <= start);
        let mut page = PageRead { rows: Vec::new(), reached: END };
        let mut bytes = 0;
        let order = self.rows_in_order(first, window);
        for row in order.iter().map(|at| &self.books.rows[*at]) {
            if row.id > upto && !self.has(Flaw::OrdersByXid) {
                page.reached = row.id - 1;
                break;
            }
            if !wish.lanes.contains(&row.lane)
                || !self.is_shown(row.xid, row.id, row.dead, window)
                || self.was_parked(row.event)
            {
                continue;
            }
            if page.rows.len() >= wish.records_max
                || (!page.rows.is_empty() && bytes + u64::from(row.size_bytes) > wish.bytes_max)
            {
                page.reached = page.rows.last().map_or(start, |(_, _, id)| *id);
                break;
            }
            bytes += u64::from(row.size_bytes);
            page.rows.push((row.lane, row.event, row.id));
        }
        page
    }

    /// What is parked, or was, is not read again, wherever reading begins.
    fn was_parked(&self, event: u32) -> bool {
        self.books.parked.iter().any(|row| row.event == event) && !self.has(Flaw::ReadsParked)
    }

    fn rows_in_order(&self, first: usize, window: &Window) -> Vec<usize> {
        let mut order: Vec<usize> = (first..self.books.rows.len()).collect();
        if self.has(Flaw::OrdersByXid) {
            order.retain(|at| {
                let row = &self.books.rows[*at];
                self.is_shown(row.xid, row.id, row.dead, window)
            });
            order.sort_by_key(|at| self.books.rows[*at].xid);
        }
        order
    }

    fn is_shown(&self, xid: u64, id: u64, dead: bool, window: &Window) -> bool {
        let new = xid >= window.prev.xmax && id > window.floor;
        let late = window.prev.running.contains(&xid) && id > window.late_floor;
        let late = late && !self.has(Flaw::ForgetsLateRows);
        let committed = self.books.is_committed(xid) && window.cur.sees(xid);
        (new || late)
            && (committed || self.has(Flaw::ReadsUncommitted))
            && (!dead || self.has(Flaw::IgnoresSavepoints))
    }

    /// Whether the write-ahead log is on disk up to here.
    pub(crate) fn is_flushed(&self, lsn: u64) -> bool {
        self.books.flushed >= lsn || self.has(Flaw::ShipsBeforeFlush)
    }

    /// Puts it there; the record that does it is an anchor.
    pub(crate) fn flush(&mut self) {
        let newest = self.books.last_id();
        let xid = self.books.take_xid();
        self.books.anchors.push((xid, newest));
        self.books.end(xid, true);
        self.books.flush();
    }

    /// From where lanes are opened, if not from where they stand; from now on the log is read on this timeline.
    pub(crate) fn notes_failover(&mut self) -> Option<Anchor> {
        let timeline = self.books.timeline;
        let changed = std::mem::replace(&mut self.books.known_timeline, timeline) != timeline;
        let restored = std::mem::take(&mut self.books.restored);
        changed.then_some(if restored { Anchor::Restored } else { Anchor::FailedOver })
    }

    /// Where a lane is read on from; what was stored on an earlier timeline is read on this one.
    pub(crate) fn cursor(&self, lane: usize) -> Mark {
        let Mark { window, last_id } = &self.books.positions[lane].mark;
        let timeline = self.books.timeline;
        let mut cur = Rc::clone(&window.cur);
        if *last_id != END && self.has(Flaw::ReopensHalfReadWindow) {
            cur = Rc::new(self.books.snapshot());
        }
        let window = Window { timeline, cur, prev: Rc::clone(&window.prev), ..**window };
        Mark { window: Rc::new(window), last_id: *last_id }
    }
}
