//! The unit of order: which record of an aggregate may go now.
//!
//! The rule (promise 3): a record whose predecessor is not acknowledged may go only into the same channel (domain
//! and session), because there the broker keeps the order; into any other it waits for the acknowledgement. When a
//! record is refused for good, its aggregate is held, and everything later of it is parked behind.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::Core;
use super::action::Notice;
use super::entry::{AggregateKey, ChannelId, Routed, State};
use super::numbers::Numbers;
use crate::parked::Next;
use crate::publisher::{Pipeline, Role};

/// The aggregates with records in hand, each under a number that its records know, so that the map is asked once for
/// a record's coming and once for the last one's going.
pub(super) struct Aggregates {
    numbers: Numbers,
    slots: Vec<Aggregate>,
    free: Vec<u32>,
}

/// An aggregate with records in hand; without any, its slot is free.
pub(super) struct Aggregate {
    key: AggregateKey,
    /// Queued or flying, all in `channel`.
    pending: u32,
    channel: ChannelId,
    /// Those behind them, in order.
    pub(super) waiting: VecDeque<u32>,
    free: bool,
}

/// What may happen to a record now.
enum Turn {
    Go(ChannelId),
    Park,
    Wait,
}

impl Aggregates {
    pub(super) fn new() -> Self {
        Self { numbers: Numbers::new(), slots: Vec::new(), free: Vec::new() }
    }

    fn enter(&mut self, key: AggregateKey) -> u32 {
        let (slots, free) = (&mut self.slots, &mut self.free);
        self.numbers.get_or_insert_with(key, || {
            let channel = ChannelId { role: Role::Main, number: 0 };
            let fresh = Aggregate { key, pending: 0, channel, waiting: VecDeque::new(), free: false };
            if let Some(number) = free.pop() {
                slots[number as usize] = fresh;
                return number;
            }
            slots.push(fresh);
            // No more than there are records.
            slots.len() as u32 - 1
        })
    }

    fn leave(&mut self, number: u32) {
        let aggregate = &mut self.slots[number as usize];
        if !core::mem::replace(&mut aggregate.free, true) {
            self.numbers.remove(aggregate.key);
            self.free.push(number);
        }
    }

    fn get_mut(&mut self, number: u32) -> &mut Aggregate {
        &mut self.slots[number as usize]
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Aggregate> {
        self.slots.iter_mut().filter(|aggregate| !aggregate.free)
    }

    /// One of its pending records is no longer pending.
    pub(super) fn unpend(&mut self, number: u32) {
        self.get_mut(number).pending -= 1;
    }
}

impl<M: Clone> Core<M> {
    /// Takes a record in, behind everything of its aggregate that is in hand.
    pub(super) fn admit(&mut self, index: u32) {
        let entry = &mut self.entries[index];
        let (lane, key) = (entry.lane, entry.aggregate);
        if self.lanes.get(&lane).is_some_and(|lane| lane.held.contains(&key)) {
            entry.state = State::Parking { behind: true };
            return;
        }
        let number = self.aggregates.enter(key);
        entry.aggregate_number = number;
        let waits = !self.aggregates.get_mut(number).waiting.is_empty();
        match if waits { Turn::Wait } else { self.turn(index) } {
            Turn::Go(channel) => self.go(index, channel),
            Turn::Park => self.park(index),
            Turn::Wait => {
                self.entries[index].state = State::Waiting;
                self.aggregates.get_mut(number).waiting.push_back(index);
            }
        }
    }

    /// Lets go what may go of an aggregate, and forgets the aggregate when nothing of it is left.
    pub(super) fn advance_aggregate(&mut self, number: u32) {
        loop {
            let aggregate = self.aggregates.get_mut(number);
            if aggregate.free {
                return;
            }
            let Some(index) = aggregate.waiting.front().copied() else {
                if aggregate.pending == 0 {
                    self.aggregates.leave(number);
                }
                return;
            };
            match self.turn(index) {
                Turn::Wait => return,
                Turn::Go(channel) => {
                    self.aggregates.get_mut(number).waiting.pop_front();
                    self.go(index, channel);
                }
                Turn::Park => {
                    self.aggregates.get_mut(number).waiting.pop_front();
                    self.park(index);
                }
            }
        }
    }

    /// One of an aggregate's pending records has landed, wherever.
    pub(super) fn land(&mut self, number: u32) {
        self.aggregates.unpend(number);
        let aggregate = self.aggregates.get_mut(number);
        if aggregate.pending == 0 || !aggregate.waiting.is_empty() {
            self.advance_aggregate(number);
        }
    }

    /// Parks a record that was refused for good; those behind it follow.
    pub(super) fn park(&mut self, index: u32) {
        let entry = &mut self.entries[index];
        entry.state = State::Parking { behind: false };
        let (lane, key, number) = (entry.lane, entry.aggregate, entry.aggregate_number);
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.held.insert(key);
        }
        for behind in core::mem::take(&mut self.aggregates.get_mut(number).waiting) {
            self.entries[behind].state = State::Parking { behind: true };
        }
        self.advance_aggregate(number);
        let token = self.entries.token(index);
        self.say(Notice::Parked(token, Next::Wait));
        self.advance_lane(lane);
    }

    fn turn(&mut self, index: u32) -> Turn {
        let entry = &self.entries[index];
        let (number, topic) = (entry.aggregate_number, entry.topic);
        let Aggregate { pending, channel: before, .. } = *self.aggregates.get_mut(number);
        let domain = match entry.route {
            Routed::To(domain) => domain,
            Routed::Refused if pending == 0 => return Turn::Park,
            Routed::Refused | Routed::Unknown => return Turn::Wait,
        };
        let alone = entry.refusals > 0 || self.topics.quarantined(topic, self.now);
        let role = if alone { Role::Alone } else { Role::Main };
        let channel = self.port_mut(role).channel(domain, topic);
        let pipelines = role == Role::Main && self.abilities.pipeline == Pipeline::Gapless;
        if pending == 0 || (pipelines && before == channel) { Turn::Go(channel) } else { Turn::Wait }
    }

    fn go(&mut self, index: u32, channel: ChannelId) {
        let entry = &mut self.entries[index];
        entry.state = State::Queued;
        entry.channel = channel;
        let aggregate = self.aggregates.get_mut(entry.aggregate_number);
        aggregate.pending += 1;
        aggregate.channel = channel;
        self.port_mut(channel.role).enqueue(channel, index);
    }

    /// Takes these records' aggregates apart, the records that wait behind them included, and takes them all in
    /// again in the order of their arrival: what to do when a session has ended.
    pub(super) fn admit_again(&mut self, mut indices: Vec<u32>) {
        let mut at = 0;
        while let Some(index) = indices.get(at).copied() {
            at += 1;
            let number = self.entries[index].aggregate_number;
            indices.extend(core::mem::take(&mut self.aggregates.get_mut(number).waiting));
            self.aggregates.leave(number);
        }
        indices.sort_unstable_by_key(|index| self.entries[*index].arrival);
        for index in &indices {
            self.entries[*index].state = State::Waiting;
        }
        for index in indices {
            // Parking one takes along those that wait behind it.
            if self.entries[index].state == State::Waiting {
                self.admit(index);
            }
        }
    }
}
