//! Transactions, the log and the tables beside it, and what of them is on disk.

use crate::agenda::Time;
use crate::database::intents::IntentRow;
use crate::database::parked::ParkedRow;
use crate::database::window::{Mark, Snapshot, Window};

/// Everything that a copy of the database copies.
#[derive(Clone)]
pub(crate) struct Books {
    xid_next: u64,
    running: Vec<u64>,
    latest_completed: u64,
    /// By xid; what is not committed is running or rolled back.
    committed: Vec<bool>,
    last_id: u64,
    pub(super) rows: Vec<Row>,
    /// How far the write-ahead log was written, and how far it is on disk.
    pub(super) lsn: u64,
    pub(crate) flushed: u64,
    unflushed: Vec<Written>,
    durable_xid: u64,
    durable_id: u64,
    /// Grows with each failover and each restore.
    pub(crate) timeline: u32,
    /// Which cluster it is in: grows with each restore.
    pub(super) cluster: u32,
    /// It was restored into this cluster, and no lane was opened since.
    pub(super) restored: bool,
    /// The timeline on which the log was last read.
    pub(super) known_timeline: u32,
    pub(crate) lanes: Vec<LaneRow>,
    pub(super) beats: Vec<Option<Beat>>,
    pub(crate) positions: Vec<Position>,
    pub(super) intents: Vec<IntentRow>,
    /// Under which epochs what was shipped was asked for last, and which attempt of its process that was.
    pub(super) resolved: (u64, u64),
    pub(crate) parked: Vec<ParkedRow>,
    pub(super) ordinals: i64,
    /// Pairs (xid, id): every event of a transaction with a greater xid has a greater id.
    pub(super) anchors: Vec<(u64, u64)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) xid: u64,
    pub(crate) id: u64,
    pub(crate) lane: u16,
    pub(crate) event: u32,
    pub(crate) size_bytes: u32,
    pub(crate) created_at: Time,
    /// Its savepoint was rolled back.
    pub(crate) dead: bool,
}

/// A record of the write-ahead log.
#[derive(Clone, Copy)]
struct Written {
    xid: u64,
    id: u64,
    commits: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct LaneRow {
    pub(crate) owner: Option<usize>,
    pub(crate) epoch: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Beat {
    pub(super) incarnation: u32,
    /// When the latest claim was made, by the relay's clock: its number.
    pub(super) claimed_at: Time,
    pub(super) at: Time,
    pub(super) until: Time,
    /// It takes all lanes or none.
    pub(super) whole: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Position {
    pub(crate) version: u64,
    pub(crate) epoch: u64,
    pub(crate) mark: Mark,
    /// Which call moved it.
    pub(super) call: u64,
    /// The last transaction all of whose intent for this lane is settled.
    pub(super) carries: u64,
}

/// The transaction that loads a dump.
pub(crate) const LOADED_BY: u64 = 3;

impl Books {
    pub(super) fn new(lanes: u16) -> Self {
        let position = Position { version: 0, epoch: 0, mark: Window::beginning(), call: 0, carries: 0 };
        Self {
            xid_next: 3,
            running: Vec::new(),
            latest_completed: 2,
            committed: vec![true; 3],
            last_id: 0,
            rows: Vec::new(),
            lsn: 0,
            flushed: 0,
            unflushed: Vec::new(),
            durable_xid: 2,
            durable_id: 0,
            timeline: 1,
            cluster: 0,
            restored: false,
            known_timeline: 1,
            lanes: vec![LaneRow::default(); usize::from(lanes)],
            beats: Vec::new(),
            positions: vec![position; usize::from(lanes)],
            intents: Vec::new(),
            resolved: (0, 0),
            parked: Vec::new(),
            ordinals: 0,
            anchors: Vec::new(),
        }
    }

    pub(crate) fn take_xid(&mut self) -> u64 {
        let xid = self.xid_next;
        self.xid_next += 1;
        self.running.push(xid);
        self.committed.push(false);
        xid
    }

    /// The sequence's last value; 0: it was never asked.
    pub(super) fn last_id(&self) -> u64 {
        self.last_id
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let xmax = self.latest_completed + 1;
        let running = self.running.iter().copied().filter(|xid| *xid < xmax).collect();
        Snapshot { xmax, running }
    }

    pub(super) fn running_xids(&self) -> Vec<u64> {
        self.running.clone()
    }

    pub(super) fn xid_next(&self) -> u64 {
        self.xid_next
    }

    pub(super) fn is_committed(&self, xid: u64) -> bool {
        self.committed.get(xid as usize).copied().unwrap_or(false)
    }

    /// Adds an event to the log, under the sequence's next value.
    pub(crate) fn insert(&mut self, row: Row) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.write(row.xid, id, false);
        self.rows.push(Row { id, ..row });
        id
    }

    pub(crate) fn kill_row(&mut self, id: u64) {
        if let Some(row) = self.rows.iter_mut().rev().find(|row| row.id == id) {
            row.dead = true;
        }
    }

    fn write(&mut self, xid: u64, id: u64, commits: bool) {
        self.lsn += 1;
        self.unflushed.push(Written { xid, id, commits });
    }

    /// Ends a transaction; says where its record stands in the write-ahead log.
    pub(crate) fn end(&mut self, xid: u64, commits: bool) -> u64 {
        self.write(xid, 0, commits);
        self.running.retain(|running| *running != xid);
        self.latest_completed = self.latest_completed.max(xid);
        self.committed[xid as usize] = commits;
        self.lsn
    }

    /// A transaction of the store's own, on disk when it returns.
    pub(super) fn write_and_flush(&mut self) {
        let xid = self.take_xid();
        self.end(xid, true);
        self.flush();
    }

    pub(crate) fn flush(&mut self) {
        for Written { xid, id, .. } in self.unflushed.drain(..) {
            self.durable_xid = self.durable_xid.max(xid);
            self.durable_id = self.durable_id.max(id);
        }
        self.flushed = self.lsn;
    }

    /// What is left of it after its process ended: xids and ids are given out again from where the disk says.
    pub(super) fn crash(&mut self) {
        let lost: Vec<u64> =
            self.unflushed.drain(..).filter(|record| record.commits).map(|record| record.xid).collect();
        let running = std::mem::take(&mut self.running);
        self.rows.retain(|row| !lost.contains(&row.xid) && !running.contains(&row.xid));
        self.anchors.retain(|(xid, _)| !lost.contains(xid));
        self.xid_next = self.durable_xid + 1;
        self.latest_completed = self.durable_xid;
        self.committed.truncate(self.xid_next as usize);
        for xid in lost {
            if let Some(committed) = self.committed.get_mut(xid as usize) {
                *committed = false;
            }
        }
        self.last_id = self.durable_id;
        self.rows.retain(|row| row.id <= self.last_id);
        self.lsn = self.flushed;
    }

    /// What a dump has of it, loaded into another cluster: all rows are of one transaction there, and transactions and
    /// snapshots of before mean nothing.
    pub(super) fn restore(&mut self) {
        let committed = std::mem::take(&mut self.committed);
        self.rows.retain(|row| !row.dead && committed.get(row.xid as usize).copied().unwrap_or(false));
        self.rows.iter_mut().for_each(|row| row.xid = LOADED_BY);
        self.committed = vec![true; LOADED_BY as usize + 1];
        (self.xid_next, self.latest_completed, self.durable_xid) = (LOADED_BY + 1, LOADED_BY, LOADED_BY);
        self.anchors.clear();
        self.restored = true;
        self.cluster += 1;
    }

    /// Whether it came out of a dump and no lane was opened since.
    pub(crate) fn was_restored(&self) -> bool {
        self.restored
    }

    /// The least id that no position has passed.
    pub(super) fn first_unsettled(&self) -> Option<u64> {
        let passed = |row: &&Row| self.positions[usize::from(row.lane)].mark.covers(row.xid, row.id);
        self.rows.iter().find(|row| !passed(row)).map(|row| row.id)
    }

    /// Lets every lane start below everything unsettled, as `unsettled` has it.
    pub(super) fn re_anchor(&mut self, unsettled: Option<u64>, beginning: &Mark) {
        let floor = unsettled.map_or(self.last_id, |id| id - 1);
        // Below every xid: whatever the window, nothing at or below this id is read.
        self.anchors.push((0, floor));
        for position in &mut self.positions {
            position.mark = beginning.clone();
        }
    }

    /// A copy of what is on disk, as a standby has it.
    pub(crate) fn copy(&self) -> Self {
        let mut copy = self.clone();
        copy.crash();
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(xid: u64) -> Row {
        Row { xid, id: 0, lane: 0, event: 0, size_bytes: 1, created_at: 0, dead: false }
    }

    #[test]
    fn a_crash_takes_the_tail_and_gives_its_xids_and_ids_out_again() {
        let mut books = Books::new(1);
        let first = books.take_xid();
        books.insert(row(first));
        books.end(first, true);
        books.flush();
        let second = books.take_xid();
        assert_eq!(books.insert(row(second)), 2);
        books.end(second, true);
        assert!(books.snapshot().sees(second), "visible, and not on disk");
        books.crash();
        assert!(books.is_committed(first) && !books.is_committed(second));
        assert_eq!(books.rows.len(), 1);
        let again = books.take_xid();
        assert_eq!((again, books.insert(row(again))), (second, 2));
    }

    #[test]
    fn xmax_is_the_latest_completed_not_the_next() {
        let mut books = Books::new(1);
        let (early, late) = (books.take_xid(), books.take_xid());
        assert_eq!(books.snapshot().xmax, early, "neither has ended");
        books.end(late, true);
        assert_eq!(books.snapshot().running, [early]);
    }
}
