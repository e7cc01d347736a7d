//! Opening lanes and reading them, as far as there is room.

use alloc::vec::Vec;
use core::time::Duration;

use super::action::{Action, Notice, TopicId};
use super::entry::{AggregateKey, ChannelId, Entry, Origin, Routed, State};
use super::lane::LanePhase;
use super::{Core, Settings};
use crate::fault::StoreFaultKind;
use crate::lane::{Lane, Lease};
use crate::publisher::{Role, Token};
use crate::store::{Anchor, Opened, Rest};

/// So many records a page are few.
const FEW: usize = 32;

/// A store that answers in this time has time for more.
const QUICK: Duration = Duration::from_millis(4);

/// The feed's one open call.
pub(super) struct FeedDesk {
    call: Call,
    /// Lanes to close before anything else is asked.
    pub(super) close: Vec<Lane>,
    /// Lanes opened together, whose parked events are being listed.
    pub(super) listing: Vec<Lane>,
    next_at: Duration,
    pause: Duration,
    /// When the open call was asked for.
    asked_at: Duration,
    /// How long the last reading took.
    took: Duration,
    failures: u32,
    /// Lanes were left out of the last reading for want of room: they may have more.
    skipped: bool,
    /// A page has just come, and more is at hand.
    ahead: bool,
    /// What an open reading may bring.
    asked: (u32, u64),
    /// There was more than the last page held.
    more: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    None,
    Opening,
    Reading,
}

impl FeedDesk {
    pub(super) fn new() -> Self {
        Self {
            call: Call::None,
            close: Vec::new(),
            listing: Vec::new(),
            next_at: Duration::ZERO,
            pause: Duration::ZERO,
            asked_at: Duration::ZERO,
            took: Duration::ZERO,
            failures: 0,
            skipped: false,
            ahead: false,
            asked: (0, 0),
            more: false,
        }
    }

    /// Whether nothing is asked for or to be asked for but reading on.
    pub(super) fn is_at_rest(&self) -> bool {
        self.call == Call::None && self.close.is_empty() && self.listing.is_empty()
    }

    /// Reads on at this time, if not sooner.
    pub(super) fn hurry(&mut self, at: Duration) {
        if self.failures == 0 {
            (self.next_at, self.pause) = (self.next_at.min(at), Duration::ZERO);
        }
    }

    /// Whether the next reading is known to bring more.
    pub(super) fn has_more(&self) -> bool {
        self.more && self.call == Call::Reading
    }

    /// How long the last reading took.
    pub(super) fn took(&self) -> Duration {
        self.took
    }

    /// The records and bytes that an open reading may bring.
    pub(super) fn asked(&self) -> (u32, u64) {
        self.asked
    }
}

/// A record that the feed handed over, as the core needs to know it.
#[derive(Clone, Debug)]
pub struct Arrival<M> {
    /// Its lane.
    pub lane: Lane,
    /// Its place.
    pub mark: M,
    /// Its aggregate.
    pub aggregate: AggregateKey,
    /// Its topic.
    pub topic: TopicId,
    /// Where the publisher routed it.
    pub route: Routed,
    /// The bytes it takes in memory.
    pub size_bytes: u32,
}

impl<M: Clone> Core<M> {
    pub(super) fn next_feed(&mut self) -> Option<Action<M>> {
        if self.feed.call != Call::None {
            return None;
        }
        if !self.feed.close.is_empty() {
            return Some(Action::Close(core::mem::take(&mut self.feed.close)));
        }
        if self.now < self.feed.next_at {
            return None;
        }
        self.next_open().or_else(|| self.next_read())
    }

    /// The next reading, asked for before the last one's records are sent.
    pub(super) fn next_feed_ahead(&mut self) -> Option<Action<M>> {
        core::mem::take(&mut self.feed.ahead).then(|| self.next_feed()).flatten()
    }

    fn next_open(&mut self) -> Option<Action<M>> {
        if self.ledger.settling() || !self.feed.listing.is_empty() || !self.may_send() || !self.may_open() {
            return None;
        }
        let mut leases: Vec<Lease> = Vec::new();
        for state in self.lanes.values_mut().filter(|state| state.phase == LanePhase::New) {
            state.phase = LanePhase::Opening;
            leases.push(state.lease);
        }
        if leases.is_empty() {
            return None;
        }
        self.feed.call = Call::Opening;
        Some(Action::Open(leases))
    }

    fn next_read(&mut self) -> Option<Action<M>> {
        let (records_max, bytes_max) = self.room()?;
        let mut lanes = Vec::new();
        let mut full = Vec::new();
        let mut skipped = false;
        for (lane, state) in &mut self.lanes {
            if state.phase != LanePhase::Active {
                continue;
            }
            let parked_full = state.parked.records + state.park.len() >= self.settings.lane_parked_max
                || state.parked.bytes >= self.settings.lane_parked_bytes_max;
            state.told_full &= parked_full;
            if parked_full && !core::mem::replace(&mut state.told_full, true) {
                full.push(*lane);
            }
            let has_room = state.log_records() < self.settings.lane_records_max
                && state.payload_bytes < self.settings.lane_bytes_max;
            match (parked_full, has_room) {
                // It may wait for a person, and for long.
                (true, _) => {}
                (false, true) => lanes.push(*lane),
                (false, false) => skipped = true,
            }
        }
        for lane in full {
            self.say(Notice::LaneFull(lane));
        }
        if lanes.is_empty() {
            return None;
        }
        self.feed.skipped = skipped;
        self.feed.call = Call::Reading;
        self.feed.asked_at = self.now;
        self.feed.asked = (records_max, bytes_max);
        self.bell.note_reading();
        Some(Action::Read { lanes, records_max, bytes_max })
    }

    /// The records and bytes there is room for, if it is worth a reading: small pages cost as much as large ones.
    fn room(&self) -> Option<(u32, u64)> {
        let Settings { page_records_max, page_bytes_max, .. } = self.settings;
        let Settings { memory_records_max, memory_bytes_max, .. } = self.settings;
        // The log leaves a sixteenth to parked events, or as much as they have and were asked for.
        let (in_hand, in_hand_bytes) = self.due.in_hand();
        let (parked_records, parked_bytes) = self.due.takes();
        let reserved = (memory_records_max / 16).max(1).max(parked_records);
        let log_records = self.entries.len().saturating_sub(in_hand);
        let records = memory_records_max.saturating_sub(reserved + log_records);
        let records = records.min(page_records_max as usize) as u32;
        let bytes = memory_bytes_max.saturating_sub((memory_bytes_max / 16).max(parked_bytes));
        let bytes =
            bytes.saturating_sub(self.payload_bytes.saturating_sub(in_hand_bytes)).min(page_bytes_max);
        (records > page_records_max / 2 && bytes > page_bytes_max / 4).then_some((records, bytes))
    }

    pub(super) fn feed_due(&self) -> Option<Duration> {
        (self.feed.call == Call::None && self.feed.next_at > self.now).then_some(self.feed.next_at)
    }

    /// [`Action::Open`] was answered.
    pub fn handle_opened(&mut self, now: Duration, result: Result<&[Opened], StoreFaultKind>) {
        self.now = now;
        self.feed.call = Call::None;
        match result {
            Ok(opened) => {
                self.store_answered();
                self.feed.failures = 0;
                for Opened { lane, anchor } in opened {
                    let state = self.lanes.get_mut(lane).filter(|state| state.phase == LanePhase::Opening);
                    let Some(state) = state else { continue };
                    state.phase = LanePhase::Listing;
                    self.feed.listing.push(*lane);
                    if !matches!(anchor, Anchor::Continued | Anchor::First) {
                        self.say(Notice::Anchored(*lane, *anchor));
                    }
                }
                self.feed.listing.sort_unstable();
                self.feed.next_at = now;
                self.feed.pause = Duration::ZERO;
            }
            Err(kind) => {
                self.feed_failed(kind);
            }
        }
        // What the answer did not name is asked for again.
        for state in self.lanes.values_mut().filter(|state| state.phase == LanePhase::Opening) {
            state.phase = LanePhase::New;
        }
    }

    fn feed_failed(&mut self, kind: StoreFaultKind) {
        self.feed.next_at = self.now + self.store_pause(kind, self.feed.failures);
        self.feed.failures = self.feed.failures.saturating_add(1);
        self.store_failed(kind);
    }

    /// [`Action::Read`] failed: nothing was handed over.
    pub fn handle_read_failed(&mut self, now: Duration, kind: StoreFaultKind) {
        self.now = now;
        self.feed.call = Call::None;
        self.feed.asked = (0, 0);
        self.feed_failed(kind);
    }

    /// [`Action::Read`] was answered. Adds to `tokens` one for each of `arrivals`, in their order; `None` for a
    /// record that is not wanted, because its lane was given up meanwhile.
    pub fn handle_page(
        &mut self,
        now: Duration,
        arrivals: impl IntoIterator<Item = Arrival<M>>,
        passed: impl IntoIterator<Item = (Lane, M)>,
        rest: Rest,
        tokens: &mut Vec<Option<Token>>,
    ) {
        self.now = now;
        self.feed.call = Call::None;
        self.feed.asked = (0, 0);
        self.feed.failures = 0;
        self.feed.took = now.saturating_sub(self.feed.asked_at);
        self.store_answered();
        let before = tokens.len();
        for arrival in arrivals {
            tokens.push(self.arrive(arrival));
        }
        for (lane, mark) in passed {
            if let Some(state) = self.lanes.get_mut(&lane).filter(|state| state.phase == LanePhase::Active) {
                state.pass(mark);
                self.advance_lane(lane);
            }
        }
        let found = tokens.len() - before;
        let empty = found == 0;
        if !empty {
            self.note_found();
        }
        self.note_stillness(empty && !self.feed.skipped, rest);
        self.feed.pause = match rest {
            Rest::More => Duration::ZERO,
            Rest::Quiet | Rest::Still if self.feed.skipped && !empty => Duration::ZERO,
            Rest::Quiet | Rest::Still | Rest::Waiting(_) => self.pause_after(found, rest),
        };
        // An idle store may have waited for events while it was asked: that was the pause.
        let since = if empty && !self.is_hurried() { self.feed.asked_at } else { now };
        self.feed.next_at = now.max(since + self.feed.pause);
        (self.feed.ahead, self.feed.more) = (rest == Rest::More, rest == Rest::More);
    }

    /// Whether more is to be expected soon, though a reading found nothing.
    fn is_hurried(&self) -> bool {
        self.feed.skipped || self.log_moves()
    }

    /// The pause after a reading that handed over all there was, so many records.
    fn pause_after(&self, found: usize, rest: Rest) -> Duration {
        let Settings { poll_min, poll_max, .. } = self.settings;
        let took = self.feed.took;
        match rest {
            Rest::Waiting(_) if found == 0 => poll_min,
            _ if self.bell.has_rung() => Duration::ZERO,
            _ if self.bell.is_heard() => poll_max,
            _ if (1..=FEW).contains(&found) && took <= QUICK => Duration::ZERO,
            // What takes longer is worth more events at a time.
            _ if found > 0 => took.clamp(poll_min, poll_max),
            _ if self.is_hurried() => (took * 3).clamp(poll_min, poll_max),
            _ => (self.feed.pause * 2).clamp(poll_min, poll_max),
        }
    }

    fn arrive(&mut self, arrival: Arrival<M>) -> Option<Token> {
        let Arrival { lane, mark, aggregate, topic, route, size_bytes } = arrival;
        let state = self.lanes.get_mut(&lane).filter(|state| state.phase == LanePhase::Active)?;
        let entry = Entry {
            lane,
            arrival: self.entries.next_arrival(),
            aggregate,
            aggregate_number: 0,
            topic,
            route,
            size_bytes,
            state: State::Waiting,
            orphan: false,
            refusals: 0,
            acknowledged_before: 0,
            channel: ChannelId { role: Role::Main, number: 0 },
            origin: Origin::Log(mark),
        };
        let index = self.entries.insert(entry);
        state.hand_over(index);
        state.payload_bytes += u64::from(size_bytes);
        self.payload_bytes += u64::from(size_bytes);
        if route == Routed::Unknown {
            self.wait_for_topic(index);
        }
        self.admit(index);
        self.advance_parked(index);
        Some(self.entries.token(index))
    }

    /// A record parked on arrival may be the first of its lane's unsettled ones.
    fn advance_parked(&mut self, index: u32) {
        if matches!(self.entries[index].state, State::Parking(_)) {
            let lane = self.entries[index].lane;
            self.advance_lane(lane);
        }
    }
}
