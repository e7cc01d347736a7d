//! Ownership: which lanes this relay holds, until when, and how it gives them up.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::action::{Action, Notice};
use super::entry::{Entry, State};
use super::held::Loaded;
use super::lane::{Handed, LanePhase, LaneState};
use super::{Core, Drain};
use crate::fault::StoreFaultKind;
use crate::lane::{Lane, Lease};
use crate::publisher::{Role, Token};
use crate::store::{Claim, Held, Ownership};

/// The state of renewal.
pub(super) struct HoldDesk {
    sent_at: Option<Duration>,
    next_at: Duration,
    failures: u32,
    /// Until when this relay may send: its leases' end less the margin.
    send_until: Option<Duration>,
    /// Until when what is in flight may stay there: the same, though lanes are lost or their history is.
    fly_until: Option<Duration>,
    /// The open claim may have been answered in a history that is gone.
    void: bool,
    share: u16,
    relays_live: u32,
    /// A round of taking was answered with less than asked for: wait for the next renewal.
    asked: bool,
    /// The next renewal is later than one of a relay at work would be.
    rests: bool,
}

impl HoldDesk {
    pub(super) fn new() -> Self {
        Self {
            sent_at: None,
            next_at: Duration::ZERO,
            failures: 0,
            send_until: None,
            fly_until: None,
            void: false,
            share: 0,
            relays_live: 0,
            asked: false,
            rests: false,
        }
    }

    /// Renews at once.
    pub(super) fn hurry(&mut self, now: Duration) {
        self.next_at = self.next_at.min(now);
    }

    /// The leases count as over.
    pub(super) fn expire(&mut self, now: Duration) {
        self.send_until = self.send_until.map(|until| until.min(now));
    }

    /// Renews as often again as a relay at work.
    pub(super) fn stir(&mut self, soon: Duration) {
        if core::mem::take(&mut self.rests) {
            self.next_at = self.next_at.min(soon);
        }
    }
}

impl<M: Clone> Core<M> {
    /// The lanes held now.
    pub fn lanes(&self) -> impl Iterator<Item = Lane> + '_ {
        self.lanes.keys().copied()
    }

    fn draining(&self) -> Vec<Lane> {
        let draining = self.lanes.iter().filter(|(_, state)| state.phase == LanePhase::Draining);
        draining.map(|(lane, _)| *lane).collect()
    }

    pub(super) fn may_send(&self) -> bool {
        self.hold.send_until.is_some_and(|until| self.now < until)
    }

    pub(super) fn lease_left(&self) -> Duration {
        self.hold.send_until.map_or(Duration::ZERO, |until| until.saturating_sub(self.now))
    }

    pub(super) fn lease_due(&self) -> Option<Duration> {
        let lanes = self.hold.send_until.filter(|_| !self.lanes.is_empty());
        [lanes, self.hold.fly_until.filter(|_| self.flies())].into_iter().flatten().min()
    }

    /// Whether anything is in a session's hands.
    fn flies(&self) -> bool {
        self.main.flight_records + self.alone.flight_records > 0
    }

    /// What was sent for lanes that are lost, or under a history that is gone, is given up when the lease would have
    /// ended: their next owners count on it.
    fn expire_flight(&mut self) {
        if self.hold.fly_until.is_some_and(|until| self.now >= until) {
            self.hold.fly_until = None;
            if self.flies() {
                self.give_up_flight();
            }
        }
    }

    /// The lease could not be renewed in time: everything in flight is given up, what was acknowledged is still told
    /// to the ledger under the old epoch (which takes it unless the lane has changed hands), and the lanes are let go.
    pub(super) fn expire_lease(&mut self) {
        self.expire_flight();
        if self.hold.send_until.is_none_or(|until| self.now < until) {
            return;
        }
        self.hold.send_until = None;
        if self.lanes.is_empty() {
            return;
        }
        self.say(Notice::LeaseExpired);
        self.drain_all_lanes();
        self.give_up_flight();
    }

    /// Ends both sessions without waiting; draining lanes then keep only what was acknowledged.
    pub(super) fn give_up_flight(&mut self) {
        self.end_session(Role::Main, None);
        self.end_session(Role::Alone, None);
        self.finish_forced_lanes();
    }

    fn forced(&self) -> bool {
        self.hold.send_until.is_none() || self.drain.is_some_and(|drain| drain.forced)
    }

    /// Drops what lanes that may no longer send have unacknowledged, once no session can still report on it.
    pub(super) fn finish_forced_lanes(&mut self) {
        use super::session::Phase::{Connecting, Down};
        let quiet = |phase| matches!(phase, Down { .. } | Connecting);
        if !self.forced() || !quiet(self.main.phase) || !quiet(self.alone.phase) {
            return;
        }
        for lane in self.draining() {
            let mut dropped = Vec::new();
            if let Some(state) = self.lanes.get_mut(&lane) {
                // What was acknowledged beyond the first that was not is sent again by the next owner.
                state.forgot |= !state.log.is_empty();
                dropped.extend(state.log.drain(..));
            }
            self.unhand(|_, entry| entry.lane == lane);
            self.drop_handed(dropped);
        }
    }

    pub(super) fn next_hold(&mut self) -> Option<Action<M>> {
        if self.hold.sent_at.is_some() {
            return None;
        }
        let readable = self.all_is_readable();
        for state in self.lanes.values_mut() {
            let drained = state.phase == LanePhase::Draining && state.is_drained();
            if drained && readable && !self.ledger.busy_with(state.lease) {
                state.phase = LanePhase::Releasing;
                self.hold.next_at = self.hold.next_at.min(self.now + self.settings.retry_min / 5);
            }
        }
        let leaving = match &mut self.drain {
            Some(drain) if self.lanes.values().all(|state| state.phase == LanePhase::Releasing) => {
                self.hold.next_at = self.now;
                drain.leaving = true;
                true
            }
            _ => false,
        };
        if self.now < self.hold.next_at {
            return None;
        }
        self.hold.sent_at = Some(self.now);
        let kept = self.lanes.values().filter(|state| state.phase != LanePhase::Releasing);
        let keep: Vec<Lease> = kept.map(|state| state.lease).collect();
        let take_max =
            if self.drain.is_some() { 0 } else { self.hold.share.saturating_sub(self.lanes.len() as u16) };
        let lease = if leaving { Duration::ZERO } else { self.settings.lease };
        let whole = self.ownership == Ownership::Whole;
        Some(Action::Hold(Claim { keep, take_max, whole, lease }))
    }

    pub(super) fn hold_due(&self) -> Option<Duration> {
        self.hold.sent_at.is_none().then_some(self.hold.next_at)
    }

    /// [`Action::Hold`] was answered.
    pub fn handle_held(&mut self, now: Duration, result: Result<Held, StoreFaultKind>) {
        self.now = now;
        let Some(sent_at) = self.hold.sent_at.take() else { return };
        if core::mem::take(&mut self.hold.void) {
            self.hold.next_at = now;
            return;
        }
        let held = match result {
            Ok(held) => held,
            Err(kind) => {
                self.hold.next_at = now + self.store_pause(kind, self.hold.failures);
                self.hold.failures = self.hold.failures.saturating_add(1);
                self.store_failed(kind);
                self.stop = self.drain.filter(|drain| drain.leaving).map(Drain::outcome).or(self.stop);
                return;
            }
        };
        self.store_answered();
        self.hold.failures = 0;
        if let Some(drain) = self.drain.filter(|drain| drain.leaving) {
            let released: Vec<Lane> = self.lanes.keys().copied().collect();
            if !released.is_empty() {
                self.say(Notice::Released(released));
            }
            self.lanes.clear();
            self.stop = Some(drain.outcome());
            return;
        }
        self.hold.send_until = Some(sent_at + (self.settings.lease - self.settings.margin));
        self.hold.fly_until = self.hold.send_until;
        self.note_share(&held);
        self.note_leases(&held);
        self.shed_a_part();
        self.hold.next_at = sent_at + self.settings.renewal;
        self.hold.rests = false;
        let owned = self.lanes.len() as u16;
        if self.drain.is_none() && owned < self.hold.share {
            // Once at once: the share may just have become known. After that at each renewal.
            if !core::mem::replace(&mut self.hold.asked, true) {
                self.hold.next_at = now;
            }
        } else {
            self.hold.asked = false;
            if self.drain.is_none() && self.is_idle() {
                (self.hold.next_at, self.hold.rests) = (sent_at + self.settings.renewal_at_rest(), true);
            }
        }
        self.shed_surplus();
    }

    fn note_share(&mut self, held: &Held) {
        let relays = held.relays_live.max(1);
        self.hold.relays_live = relays;
        self.hold.share = match self.ownership {
            Ownership::PerLane => {
                u32::from(held.lanes_total).div_ceil(relays).min(u32::from(u16::MAX)) as u16
            }
            // All or none: the others stand by.
            Ownership::Whole => held.lanes_total,
        };
    }

    fn note_leases(&mut self, held: &Held) {
        let (mut gained, mut lost, mut released) = (Vec::new(), Vec::new(), Vec::new());
        for (lane, state) in &self.lanes {
            if !held.leases.contains(&state.lease) {
                let given_up = state.phase == LanePhase::Releasing;
                if given_up {
                    released.push(*lane)
                } else {
                    lost.push(*lane)
                };
            }
        }
        for lane in lost.iter().chain(&released) {
            self.drop_lane(*lane);
        }
        for lease in &held.leases {
            if !self.lanes.contains_key(&lease.lane) {
                self.lanes.insert(lease.lane, LaneState::new(*lease, self.now));
                gained.push(lease.lane);
            }
        }
        if !gained.is_empty() {
            self.lose_agreement();
        }
        let gone = lost.iter().chain(&released).copied();
        self.feed.close.extend(gone.filter(|lane| !gained.contains(lane)));
        for (lanes, notice) in [
            (gained, Notice::Gained as fn(Vec<Lane>) -> Notice),
            (lost, Notice::Lost),
            (released, Notice::Released),
        ] {
            if !lanes.is_empty() {
                self.say(notice(lanes));
            }
        }
    }

    /// Exactly once carries all lanes or none: with only some of them left this relay can settle nothing, and would
    /// keep them from everybody else.
    fn shed_a_part(&mut self) {
        if self.transactions.is_none() || self.lanes.len() >= usize::from(self.hold.share) {
            return;
        }
        // Once: they may take a while to be settled.
        if self.lanes.values().any(|state| state.phase <= LanePhase::Active) {
            self.drain_all_lanes();
            self.give_up_flight();
        }
    }

    /// Gives up, highest first, what others should have.
    fn shed_surplus(&mut self) {
        let staying = self.lanes.iter().filter(|(_, state)| state.phase <= LanePhase::Active);
        let staying: Vec<Lane> = staying.map(|(lane, _)| *lane).collect();
        for lane in staying.iter().rev().take(staying.len().saturating_sub(usize::from(self.hold.share))) {
            self.drain_lane(*lane);
        }
    }

    pub(super) fn drain_all_lanes(&mut self) {
        let lanes: Vec<Lane> = self.lanes.keys().copied().collect();
        for lane in lanes {
            self.drain_lane(lane);
        }
    }

    /// Reads no more of a lane, and forgets what of it was not sent behind the last record that was.
    pub(super) fn drain_lane(&mut self, lane: Lane) {
        let Some(state) = self.lanes.get_mut(&lane) else { return };
        if state.phase > LanePhase::Active {
            return;
        }
        state.phase = LanePhase::Draining;
        self.leave_unsent(lane);
    }

    /// A session has ended: what draining lanes had in it is left to their next owners, who would otherwise wait for
    /// as long as it is refused here.
    pub(super) fn leave_what_came_back(&mut self) {
        for lane in self.draining() {
            self.leave_unsent(lane);
        }
    }

    /// Leaves what of a draining lane is in no session's hands, but for what lies before an acknowledged record: the
    /// next owner would send that one again.
    fn leave_unsent(&mut self, lane: Lane) {
        let Some(state) = self.lanes.get(&lane) else { return };
        if !state.parked.loaded.is_empty() {
            self.unhand(|_, entry| entry.lane == lane);
        }
        let mut tail = Vec::new();
        let Some(state) = self.lanes.get_mut(&lane) else { return };
        while let Some(handed) = state.log.back() {
            let sent = match handed {
                Handed::Passed(_) => false,
                Handed::Record(index) => {
                    matches!(self.entries[*index].state, State::Flying | State::Carried | State::Settled)
                }
            };
            if sent {
                break;
            }
            tail.extend(state.log.pop_back());
        }
        self.drop_handed(tail);
    }

    /// Forgets a lane that is no longer this relay's, at once. What of it is in flight counts for nothing.
    pub(super) fn drop_lane(&mut self, lane: Lane) {
        let Some(state) = self.lanes.remove(&lane) else { return };
        let parking: Vec<Token> = state.park.iter().map(|order| order.token).collect();
        let loaded = state.parked.loaded.values().filter_map(|loaded| match loaded {
            Loaded::InHand(index) | Loaded::Told(Some(index)) => Some(Handed::Record(*index)),
            Loaded::Told(None) => None,
        });
        let handed: Vec<Handed<M>> = state.log.into_iter().chain(loaded).collect();
        self.drop_handed(handed);
        self.drop_tokens(parking);
    }

    pub(super) fn drop_tokens(&mut self, tokens: Vec<Token>) {
        for token in tokens {
            if let Some(index) = self.entries.find(token) {
                self.drop_entry(index);
            }
        }
    }

    /// Forgets all that is in memory of all lanes, and opens them again.
    pub(super) fn lose_history(&mut self) {
        let leases: Vec<Lease> = self.lanes.values().map(|state| state.lease).collect();
        for lease in leases {
            let draining = self.lanes.get(&lease.lane).is_some_and(|state| state.phase > LanePhase::Active);
            self.drop_lane(lease.lane);
            let mut fresh = LaneState::new(lease, self.now);
            if draining {
                fresh.phase = LanePhase::Releasing;
            }
            self.lanes.insert(lease.lane, fresh);
        }
        self.lose_agreement();
        let parking = self.ledger.throw_away();
        self.due.reset(self.now);
        self.drop_tokens(parking);
        // A lease counts in the history in which it was given. What the database knows now may have given the lane to
        // another: nothing is opened or sent before it says that the lane is still this relay's.
        (self.hold.send_until, self.hold.next_at) = (None, self.now);
        self.hold.void = self.hold.sent_at.is_some();
        self.say(Notice::HistoryLost);
    }

    fn drop_handed(&mut self, handed: Vec<Handed<M>>) {
        let mut gone: BTreeSet<u32> = BTreeSet::new();
        for handed in handed {
            let Handed::Record(index) = handed else { continue };
            if self.entries[index].state == State::Flying {
                self.entries[index].orphan = true;
                self.unload(index);
            } else {
                gone.insert(index);
            }
        }
        if gone.is_empty() {
            return;
        }
        self.unlist(&gone);
        for index in gone {
            self.drop_entry(index);
        }
    }

    /// Takes records out of the queues and from among those that wait.
    pub(super) fn unlist(&mut self, gone: &BTreeSet<u32>) {
        for port in [&mut self.main, &mut self.alone] {
            for channel in &mut port.channels {
                channel.queue.retain(|index| !gone.contains(index));
            }
        }
        for queue in self.transactions.iter_mut().flat_map(|transactions| &mut transactions.queues) {
            queue.retain(|index| !gone.contains(index));
        }
        for aggregate in self.aggregates.iter_mut() {
            aggregate.waiting.retain(|index| !gone.contains(index));
        }
    }

    fn unload(&mut self, index: u32) {
        let entry = &self.entries[index];
        if let Some(lane) = self.lanes.get_mut(&entry.lane) {
            lane.payload_bytes = lane.payload_bytes.saturating_sub(u64::from(entry.size_bytes));
        }
    }

    /// Removes a record that is in no list any more, and lets go what waited for it.
    pub(super) fn drop_entry(&mut self, index: u32) {
        let entry = self.take_out(index);
        match entry.state {
            State::Queued | State::Flying | State::Carried => self.land(entry.aggregate_number),
            State::Waiting => self.advance_aggregate(entry.aggregate_number),
            State::Settled | State::Parking(_) | State::Telling => {}
        }
    }

    /// Removes a record that is in no list any more. Its aggregate still counts it, if it was queued or flying.
    pub(super) fn take_out(&mut self, index: u32) -> Entry<M> {
        let token = self.entries.token(index);
        if !self.entries[index].orphan {
            self.unload_unsettled(index);
        }
        let entry = self.entries.remove(index);
        self.due.gone(&entry);
        if entry.state != State::Settled {
            self.payload_bytes -= u64::from(entry.size_bytes);
            self.forget.push(token);
        }
        entry
    }

    fn unload_unsettled(&mut self, index: u32) {
        if self.entries[index].state != State::Settled {
            self.unload(index);
        }
    }
}
