//! Moving positions, parking, retention: the statements of the store's ledger and upkeep.

use eventferry_core::Lease;
use eventferry_core::machine::{ChangeWhat, ParkWhy};
use eventferry_core::parked::ParkedKey;

use super::books::Position;
use super::{Database, Mark};
use crate::agenda::Time;
use crate::flaw::Flaw;

/// One lane of a settlement, as its statement names it.
#[derive(Clone, Debug)]
pub(crate) struct ToldLane {
    pub(crate) lease: Lease,
    /// The version that this may follow; `None`: it was answered already.
    pub(crate) version: Option<u64>,
    /// The timeline on which the lane was opened; `None`: it is not open here.
    pub(crate) timeline: Option<u32>,
    /// Which call of its relay this is: the same when it is repeated.
    pub(crate) call: u64,
    /// `None`: the position stays where it is.
    pub(crate) mark: Option<Mark>,
    pub(crate) park: Vec<ToldPark>,
    pub(crate) changes: Vec<ToldChange>,
    /// The last transaction whose intent is settled with this, 0 if none; `None`: without transactions.
    pub(crate) carries: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ToldPark {
    pub(crate) id: u64,
    pub(crate) event: u32,
    pub(crate) aggregate: u16,
    pub(crate) topic: u16,
    pub(crate) size_bytes: u32,
    pub(crate) why: ParkWhy,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ToldChange {
    pub(crate) key: ParkedKey,
    pub(crate) what: ChangeWhat,
    /// Of which event the refusal was.
    pub(crate) cause: Option<u32>,
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
    /// Moves positions, changes what is parked and parks with them: one statement, under the lanes' locks. `None`: it
    /// speaks of another timeline.
    pub(crate) fn settle(&mut self, now: Time, relay: usize, told: &[ToldLane]) -> Option<Vec<Settled>> {
        self.applied.clear();
        let elsewhere = |lane: &ToldLane| lane.timeline.is_some_and(|at| at != self.books.timeline);
        if told.iter().any(elsewhere) && !self.has(Flaw::IgnoresHistory) {
            return None;
        }
        let answers: Vec<Settled> = told.iter().map(|lane| self.settle_lane(now, relay, lane)).collect();
        // Intents speak of a place from which who settles without transactions has moved the lane on.
        let without = told
            .iter()
            .zip(&answers)
            .any(|(lane, answer)| lane.carries.is_none() && *answer == Settled::Moved);
        if without && !self.has(Flaw::KeepsOldIntents) {
            self.books.intents.clear();
        }
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
            let (version, epoch, call) = (position.version + 1, told.lease.epoch, told.call);
            let mark = told.mark.clone().unwrap_or_else(|| position.mark.clone());
            let carries = told.carries.unwrap_or(0);
            self.books.positions[at] = Position { version, epoch, mark, call, carries };
            self.apply(now, told);
            return Settled::Moved;
        }
        // A lane that is not open here has the last version of all.
        let same = position.version == version.wrapping_add(1)
            && position.epoch == told.lease.epoch
            && position.call == told.call;
        if (owned && self.has(Flaw::ChangesWithoutVersion)) || self.has(Flaw::ChangesWithoutFence) {
            told.changes.iter().for_each(|change| self.change(now, *change));
        }
        match (same, owned) {
            (true, _) => Settled::Already,
            (false, false) => Settled::Fenced,
            (false, true) => Settled::Stale,
        }
    }

    pub(super) fn apply(&mut self, now: Time, told: &ToldLane) {
        told.changes.iter().for_each(|change| self.change(now, *change));
        told.park.iter().for_each(|park| self.park(now, told.lease.lane.0, *park));
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
        let swept = before - books.rows.len();
        self.sweep_parked(now, retention);
        swept
    }
}
