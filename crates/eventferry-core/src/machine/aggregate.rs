//! The unit of order: which record of an aggregate may go now.
//!
//! The rule (promise 3): a record whose predecessor is not acknowledged may go only into the same channel (domain
//! and session), because there the broker keeps the order; into any other it waits for the acknowledgement. When a
//! record is set aside (`aside.rs`), its aggregate is held, and everything later of it is parked behind.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::Core;
use super::aside::Aside;
use super::entry::{AggregateKey, ChannelId, Origin, Routed, State};
use super::numbers::Numbers;
use crate::fault::PublishFaultKind;
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
    Aside(Aside),
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

    /// A record that was queued waits again, before all that wait.
    pub(super) fn wait_first(&mut self, number: u32, index: u32) {
        self.unpend(number);
        self.get_mut(number).waiting.push_front(index);
    }

    /// Those that wait, taken out.
    pub(super) fn take_waiting(&mut self, number: u32) -> VecDeque<u32> {
        core::mem::take(&mut self.get_mut(number).waiting)
    }

    /// Whether a record waits for those of it that are pending.
    pub(super) fn is_waited_for(&self, number: u32) -> bool {
        let aggregate = &self.slots[number as usize];
        !aggregate.free && !aggregate.waiting.is_empty()
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
        let parked = self.lanes.get(&lane).map(|lane| &lane.parked);
        let behind = parked.is_some_and(|parked| match entry.origin {
            Origin::Log(_) => parked.holds(key),
            Origin::Parked { round, .. } => parked.get(key).barred >= round,
        });
        if behind {
            self.put_behind(index);
            return;
        }
        let number = self.aggregates.enter(key);
        entry.aggregate_number = number;
        let waits = !self.aggregates.get_mut(number).waiting.is_empty();
        match if waits { Turn::Wait } else { self.turn(index) } {
            Turn::Go(channel) => self.go(index, channel),
            Turn::Aside(why) => self.set_aside(index, why),
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
                Turn::Aside(why) => {
                    self.aggregates.get_mut(number).waiting.pop_front();
                    self.set_aside(index, why);
                }
            }
        }
    }

    /// Lets go what may go, of all aggregates.
    pub(super) fn advance_aggregates(&mut self) {
        // None comes in meanwhile.
        for number in 0..self.aggregates.slots.len() as u32 {
            self.advance_aggregate(number);
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

    fn turn(&mut self, index: u32) -> Turn {
        let entry = &self.entries[index];
        let (number, topic) = (entry.aggregate_number, entry.topic);
        let Aggregate { pending, channel: before, .. } = *self.aggregates.get_mut(number);
        let aside = |why| if pending == 0 { Turn::Aside(why) } else { Turn::Wait };
        if self.topics.is_shut(topic) {
            return aside(Aside::TopicShut);
        }
        let domain = match entry.route {
            Routed::To(domain) => domain,
            Routed::Refused => return aside(Aside::Refused(PublishFaultKind::Rejected)),
            Routed::Unknown => return Turn::Wait,
        };
        let alone = entry.refusals > 0
            || self.topics.goes_alone(topic, self.now)
            || matches!(entry.origin, Origin::Parked { attempts, dying, .. } if attempts > 0 || dying);
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
        match &mut self.transactions {
            None => self.port_mut(channel.role).enqueue(channel, index),
            // What comes from the log is found there.
            Some(_) if matches!(self.entries[index].origin, Origin::Log(_)) => {}
            Some(transactions) => transactions.queues[channel.role as usize].push_back(index),
        }
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
