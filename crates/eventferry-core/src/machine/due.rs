//! Parked events that come back because their time has come, and what people decided on others.
//!
//! The ledger is asked in rounds: each from its first parked event to its last, page by page, as far as there is room.
//! What a page hands over is admitted like records of the log, in front of those of its aggregate that wait in the log.
//! An event may be taken only together with all unsettled ones before it; so when one leaves the hand without being
//! settled, what was found behind it leaves as well, and is not taken again before the next round.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::action::{Action, ChangeOrder, ChangeWhat, Notice, TopicId};
use super::entry::{AggregateKey, ChannelId, Entry, Origin, Routed, State};
use super::held::Loaded;
use super::lane::LanePhase;
use super::ledger::{Effect, Telling};
use super::{Core, ParkWhy};
use crate::fault::StoreFaultKind;
use crate::lane::Lane;
use crate::parked::{Decision, End, ParkedKey, Stage};
use crate::publisher::{Role, Token};

/// The rounds of asking for parked events.
pub(super) struct DueDesk {
    /// Grows with each round.
    round: u64,
    /// A round is under way.
    scanning: bool,
    /// The last event that this round found.
    after: Option<ParkedKey>,
    /// When the next round begins, if there is anything parked.
    next_at: Duration,
    /// A new round was asked for while one was under way.
    again: bool,
    failures: u32,
    /// Parked events in hand, and their bytes.
    in_hand: usize,
    in_hand_bytes: u64,
    /// What an open call may bring.
    asked: (u32, u64),
}

impl DueDesk {
    pub(super) fn new() -> Self {
        Self {
            round: 0,
            scanning: false,
            after: None,
            next_at: Duration::ZERO,
            again: false,
            failures: 0,
            in_hand: 0,
            in_hand_bytes: 0,
            asked: (0, 0),
        }
    }

    /// The parked events in hand, and their bytes.
    pub(super) fn in_hand(&self) -> (usize, u64) {
        (self.in_hand, self.in_hand_bytes)
    }

    /// The same, with what an open call may bring.
    pub(super) fn takes(&self) -> (usize, u64) {
        (self.in_hand + self.asked.0 as usize, self.in_hand_bytes + self.asked.1)
    }

    pub(super) fn round(&self) -> u64 {
        self.round
    }

    /// Begins a round as soon as possible.
    pub(super) fn hurry(&mut self, now: Duration) {
        self.next_at = self.next_at.min(now);
        self.again = self.scanning;
    }

    /// A record is gone from memory.
    pub(super) fn gone<M>(&mut self, entry: &Entry<M>) {
        if matches!(entry.origin, Origin::Parked { .. }) {
            self.in_hand -= 1;
            self.in_hand_bytes -= u64::from(entry.size_bytes);
        }
    }

    pub(super) fn reset(&mut self, now: Duration) {
        (self.scanning, self.after, self.again, self.next_at) = (false, None, false, now);
    }
}

/// A parked event whose time has come, as the core needs to know it.
#[derive(Clone, Debug)]
pub struct DueArrival {
    /// Its place in the list of parked events.
    pub key: ParkedKey,
    /// Its aggregate.
    pub aggregate: AggregateKey,
    /// Where it goes: its own topic, or the dead-letter topic.
    pub topic: TopicId,
    /// Its own topic, by whose policy it is retried.
    pub own_topic: TopicId,
    /// Where the publisher routed it, or its dead letter. `Refused` also where there is no dead-letter topic any more.
    pub route: Routed,
    /// The bytes it takes in memory.
    pub size_bytes: u32,
    /// How many attempts count.
    pub attempts: u32,
    /// Whether it goes to the dead-letter topic.
    pub dying: bool,
}

/// A decision to be carried out; see [`Decided`](crate::parked::Decided).
#[derive(Clone, Copy, Debug)]
pub struct DecidedItem {
    /// On which event.
    pub key: ParkedKey,
    /// That event's aggregate.
    pub aggregate: AggregateKey,
    /// What was decided.
    pub decision: Decision,
    /// Where the event stands.
    pub stage: Stage,
}

/// What [`Action::ReadDue`] found.
#[derive(Clone, Debug, Default)]
pub struct DueList {
    /// See [`DuePage::events`](crate::parked::DuePage::events).
    pub arrivals: Vec<DueArrival>,
    /// See [`DuePage::decisions`](crate::parked::DuePage::decisions).
    pub decisions: Vec<DecidedItem>,
    /// See [`DuePage::more`](crate::parked::DuePage::more).
    pub more: bool,
    /// See [`DuePage::next_in`](crate::parked::DuePage::next_in).
    pub next_in: Option<Duration>,
}

impl<M: Clone> Core<M> {
    pub(super) fn next_due(&mut self) -> Option<Action<M>> {
        if !self.may_send() || (!self.due.scanning && self.now < self.due.next_at) {
            return None;
        }
        let parked = self.lanes.values().filter(|state| state.may_have_due());
        let lanes: Vec<Lane> = parked.map(|state| state.lease.lane).collect();
        if lanes.is_empty() {
            self.due.reset(self.now);
            return None;
        }
        let (records_max, bytes_max) = self.due_room()?;
        if !self.due.scanning {
            self.due.round += 1;
            (self.due.scanning, self.due.after, self.due.again) = (true, None, false);
        }
        self.due.asked = (records_max, bytes_max);
        let (except_topics, after) = (self.topics.shut(), self.due.after);
        Some(Action::ReadDue { lanes, except_topics, after, records_max, bytes_max })
    }

    /// A quarter of memory is for parked events, so that they crowd nobody out.
    fn due_room(&self) -> Option<(u32, u64)> {
        let settings = &self.settings;
        let (records_share, bytes_share) =
            ((settings.memory_records_max / 4).max(1), settings.memory_bytes_max / 4);
        // What the log was asked for may come first.
        let (log_records, log_bytes) = self.feed.asked();
        let records = records_share
            .saturating_sub(self.due.in_hand)
            .min(settings.memory_records_max.saturating_sub(self.entries.len() + log_records as usize));
        let bytes = bytes_share
            .saturating_sub(self.due.in_hand_bytes)
            .min(settings.memory_bytes_max.saturating_sub(self.payload_bytes + log_bytes));
        let enough = records >= records_share / 8 && bytes > 0 && bytes >= bytes_share / 8;
        // The first comes whatever its size.
        (records > 0 && (enough || self.due.in_hand == 0)).then_some((
            records.min(settings.page_records_max as usize) as u32,
            bytes.clamp(1, settings.page_bytes_max),
        ))
    }

    /// When a round begins by itself.
    pub(super) fn due_at(&self) -> Option<Duration> {
        let parked = self.lanes.values().any(|state| state.may_have_due());
        let waits = parked && !self.due.scanning && self.may_send();
        // Without room it begins when something leaves.
        (waits && self.due_room().is_some()).then_some(self.due.next_at)
    }

    /// [`Action::ReadDue`] was answered. Adds to `tokens` one for each arrival, in their order; `None` for one that is
    /// not wanted, because it is in hand already or its lane was given up meanwhile.
    pub fn handle_due(
        &mut self,
        now: Duration,
        result: Result<DueList, StoreFaultKind>,
        tokens: &mut Vec<Option<Token>>,
    ) {
        self.now = now;
        self.due.asked = (0, 0);
        let void = self.ledger.answered();
        let list = match result {
            Ok(list) => list,
            Err(kind) => {
                if !void {
                    let pause = self.store_pause(kind, self.due.failures);
                    self.due.failures = self.due.failures.saturating_add(1);
                    self.due.reset(now + pause);
                    self.store_failed(kind);
                }
                return;
            }
        };
        if void {
            tokens.extend(list.arrivals.iter().map(|_| None));
            return;
        }
        self.store_answered();
        self.due.failures = 0;
        self.due.after = list.arrivals.last().map(|arrival| arrival.key).or(self.due.after);
        for arrival in list.arrivals {
            tokens.push(self.take_in_hand(arrival));
        }
        for decided in list.decisions {
            self.decide(decided);
        }
        if list.more {
            return;
        }
        self.due.scanning = false;
        let poll = self.settings.parked_poll;
        let pause = list.next_in.map_or(poll, |next_in| next_in.min(poll)).max(self.settings.settle_pause);
        self.due.next_at = if core::mem::take(&mut self.due.again) { now } else { now + pause };
    }

    fn take_in_hand(&mut self, arrival: DueArrival) -> Option<Token> {
        let DueArrival { key, aggregate, topic, own_topic, route, size_bytes, attempts, dying } = arrival;
        let round = self.due.round;
        let state = self.lanes.get_mut(&key.lane).filter(|state| state.phase == LanePhase::Active)?;
        if !state.parked.takes(aggregate, round) || state.parked.loaded.contains_key(&key.ordinal) {
            return None;
        }
        let entry = Entry {
            lane: key.lane,
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
            origin: Origin::Parked { ordinal: key.ordinal, attempts, dying, own_topic, round },
        };
        let index = self.entries.insert(entry);
        let token = self.entries.token(index);
        state.parked.loaded.insert(key.ordinal, Loaded::InHand(index));
        state.parked.update(aggregate, |held| held.in_hand += 1);
        state.payload_bytes += u64::from(size_bytes);
        self.payload_bytes += u64::from(size_bytes);
        self.due.in_hand += 1;
        self.due.in_hand_bytes += u64::from(size_bytes);
        if route == Routed::Unknown {
            self.wait_for_topic(index);
        }
        self.admit(index);
        Some(token)
    }

    /// Carries a person's decision out, unless the event is in a session's hands or something of it is to be told: it
    /// is found again by a later round.
    fn decide(&mut self, decided: DecidedItem) {
        let DecidedItem { key, aggregate, decision, stage } = decided;
        let lane = key.lane;
        let Some(state) = self.lanes.get(&lane).filter(|state| state.phase == LanePhase::Active) else {
            return;
        };
        match state.parked.loaded.get(&key.ordinal) {
            None => {}
            Some(Loaded::Told(_)) => return,
            Some(Loaded::InHand(index)) => {
                let index = *index;
                self.unhand(|at, _| at == index);
                let here = self.lanes.get(&lane);
                if here.is_some_and(|state| state.parked.loaded.contains_key(&key.ordinal)) {
                    return;
                }
            }
        }
        let fits = decision.fits(stage);
        let what = match decision {
            _ if !fits => ChangeWhat::DecisionRefused,
            Decision::Retry => ChangeWhat::Retried,
            Decision::Discard => ChangeWhat::Settled(End::Discarded),
            Decision::Release => ChangeWhat::Settled(End::DeadLettered),
        };
        let Some(state) = self.lanes.get_mut(&lane) else { return };
        let effect = if matches!(what, ChangeWhat::Settled(_)) { Effect::Ends } else { Effect::Stays };
        state.tell(Telling { order: ChangeOrder { key, what }, aggregate, entry: None, effect });
        self.say(Notice::Decided(key, decision, fits));
    }

    /// Takes parked events out of hand that match and are not in a session's hands, and with each what came after it
    /// of its aggregate: records of the log are parked behind it instead.
    pub(super) fn unhand(&mut self, matches: impl Fn(u32, &Entry<M>) -> bool) {
        let mut first: BTreeMap<u32, u64> = BTreeMap::new();
        let indices = self.entries.indices();
        let idle = |entry: &Entry<M>| !entry.orphan && matches!(entry.state, State::Waiting | State::Queued);
        for index in &indices {
            let entry = &self.entries[*index];
            if idle(entry) && matches!(entry.origin, Origin::Parked { .. }) && matches(*index, entry) {
                let arrival = first.entry(entry.aggregate_number).or_insert(entry.arrival);
                *arrival = entry.arrival.min(*arrival);
            }
        }
        if first.is_empty() {
            return;
        }
        let after = |entry: &Entry<M>| {
            first.get(&entry.aggregate_number).is_some_and(|arrival| entry.arrival >= *arrival)
        };
        let mut gone: Vec<u32> = indices;
        gone.retain(|index| idle(&self.entries[*index]) && after(&self.entries[*index]));
        gone.sort_unstable_by_key(|index| self.entries[*index].arrival);
        self.unlist(&gone.iter().copied().collect());
        for index in gone {
            let entry = &self.entries[index];
            let number = entry.aggregate_number;
            if entry.state == State::Queued {
                self.aggregates.unpend(number);
            }
            self.put_behind(index);
        }
        for number in first.into_keys() {
            self.advance_aggregate(number);
        }
        self.advance_lanes();
    }

    /// A record that waited behind one that was set aside: of the log it is parked behind it, a parked one leaves the
    /// hand.
    pub(super) fn put_behind(&mut self, index: u32) {
        let entry = &mut self.entries[index];
        match entry.origin {
            Origin::Log(_) => {
                let (lane, key) = (entry.lane, entry.aggregate);
                entry.state = State::Parking(ParkWhy::Behind);
                if let Some(state) = self.lanes.get_mut(&lane) {
                    state.parked.update(key, |held| held.parking += 1);
                }
            }
            Origin::Parked { .. } => self.leave_hand(index),
        }
    }

    /// A parked event leaves the hand as it came: its round did not settle it, and nothing is told of it.
    pub(super) fn leave_hand(&mut self, index: u32) {
        self.entries[index].state = State::Telling;
        let (lane, key, round) = (self.entries[index].lane, self.entries[index].aggregate, self.due.round());
        if let Origin::Parked { ordinal, .. } = self.entries[index].origin
            && let Some(state) = self.lanes.get_mut(&lane)
        {
            state.parked.loaded.remove(&ordinal);
            state.parked.unhand(key, round);
        }
        self.drop_entry(index);
    }
}
