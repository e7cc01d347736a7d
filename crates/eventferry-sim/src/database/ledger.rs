//! Moving positions, parking, retention: the statements of the store's ledger and upkeep.

use eventferry_core::Lease;

use super::books::{ParkedRow, Position};
use super::{Database, Mark};
use crate::agenda::Time;
use crate::flaw::Flaw;

/// One lane of a settlement, as its statement names it.
#[derive(Clone, Debug)]
pub(crate) struct ToldLane {
    pub(crate) lease: Lease,
    /// The version that this may follow; `None`: the lane is not open here, or it was answered already.
    pub(crate) version: Option<u64>,
    pub(crate) mark: Mark,
    pub(crate) park: Vec<ToldPark>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ToldPark {
    pub(crate) id: u64,
    pub(crate) event: u32,
    /// If not, it waits behind an earlier one.
    pub(crate) refused: bool,
}

/// What became of one lane of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Now.
    Moved,
    /// By an earlier call.
    Already,
    Fenced,
    /// Somebody else moved the position under the same lease.
    Stale,
}

impl Database {
    /// Moves positions and parks with them: one statement, under the lanes' locks. `None`: it speaks of another
    /// timeline.
    pub(crate) fn settle(&mut self, now: Time, relay: usize, told: &[ToldLane]) -> Option<Vec<Settled>> {
        let timeline = told.first()?.mark.window.timeline;
        // The beginning is the same place on every timeline.
        let known = told.iter().any(|lane| lane.mark.window.serial > 0);
        if known && timeline != self.books.timeline && !self.has(Flaw::IgnoresHistory) {
            return None;
        }
        let answers = told.iter().map(|lane| self.settle_lane(now, relay, lane)).collect();
        self.books.write_and_flush();
        Some(answers)
    }

    fn settle_lane(&mut self, now: Time, relay: usize, told: &ToldLane) -> Settled {
        let at = usize::from(told.lease.lane.0);
        let Some(version) = told.version else { return Settled::Already };
        let row = &self.books.lanes[at];
        let owned = row.owner == Some(relay) && row.epoch == told.lease.epoch;
        let position = &self.books.positions[at];
        let follows = position.version == version || self.has(Flaw::SettlesWithoutVersion);
        if (owned || self.has(Flaw::SettlesWithoutEpoch)) && follows {
            let (version, epoch, mark) = (position.version + 1, told.lease.epoch, told.mark.clone());
            self.books.positions[at] = Position { version, epoch, mark };
            for park in &told.park {
                self.park(now, told.lease.lane.0, *park);
            }
            return Settled::Moved;
        }
        // A lane that is not open here has the last version of all.
        let same = position.version == version.wrapping_add(1)
            && position.epoch == told.lease.epoch
            && position.mark.place() == told.mark.place();
        match (same, owned) {
            (true, _) => Settled::Already,
            (false, false) => Settled::Fenced,
            (false, true) => Settled::Stale,
        }
    }

    fn park(&mut self, now: Time, lane: u16, park: ToldPark) {
        let same = |row: &ParkedRow| row.lane == lane && row.id == park.id && row.event == park.event;
        if self.books.parked.iter().any(same) || self.has(Flaw::ParksNothing) {
            return;
        }
        self.books.ordinals += 1;
        self.books.parked.push(ParkedRow {
            lane,
            ordinal: self.books.ordinals,
            id: park.id,
            event: park.event,
            parked_at: now,
        });
    }

    /// Removes what was settled and is old. A bounded piece of work, and nobody waits for it.
    pub(crate) fn sweep(&mut self, now: Time, retention: Time) -> usize {
        let unread = self.has(Flaw::SweepsUnread);
        if self.has(Flaw::SweepLocksOut) {
            self.locked_until = now + 5_000;
        }
        let books = &mut self.books;
        let before = books.rows.len();
        let (positions, committed) = (&books.positions, &books.running_xids());
        books.rows.retain(|row| {
            let mark = &positions[usize::from(row.lane)].mark;
            let consumed = mark.covers(row.xid, row.id) || (unread && row.id <= mark.last_id);
            let open = committed.contains(&row.xid);
            row.created_at + retention > now || !consumed || open
        });
        before - books.rows.len()
    }
}
