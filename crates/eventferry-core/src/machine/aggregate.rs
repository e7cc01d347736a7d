//! The unit of order: which record of an aggregate may go now.
//!
//! The rule (promise 3): a record whose predecessor is not acknowledged may go only into the same channel (domain
//! and session), because there the broker keeps the order; into any other it waits for the acknowledgement. When a
//! record is refused for good, its aggregate is held, and everything later of it is parked behind.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::Core;
use super::action::Notice;
use super::entry::{AggregateKey, ChannelId, Routed, State};
use crate::publisher::{Pipeline, Role};

pub(super) type Aggregates = BTreeMap<AggregateKey, Aggregate>;

/// An aggregate with records in hand.
pub(super) struct Aggregate {
    /// Queued or flying, all in `channel`.
    pub(super) pending: u32,
    pub(super) channel: ChannelId,
    /// Those behind them, in order.
    pub(super) waiting: VecDeque<u32>,
}

/// What may happen to a record now.
enum Turn {
    Go(ChannelId),
    Park,
    Wait,
}

impl<M: Clone> Core<M> {
    /// Takes a record in, behind everything of its aggregate that is in hand.
    pub(super) fn admit(&mut self, index: u32) {
        let entry = &self.entries[index];
        let (lane, key) = (entry.lane, entry.aggregate);
        if self.lanes.get(&lane).is_some_and(|lane| lane.held.contains(&key)) {
            self.entries[index].state = State::Parking { behind: true };
            return;
        }
        let waits = self.aggregates.get(&key).is_some_and(|aggregate| !aggregate.waiting.is_empty());
        match if waits { Turn::Wait } else { self.turn(index) } {
            Turn::Go(channel) => self.go(index, channel),
            Turn::Park => self.park(index),
            Turn::Wait => {
                self.entries[index].state = State::Waiting;
                self.aggregate(key).waiting.push_back(index);
            }
        }
    }

    /// Lets go what may go of an aggregate, and forgets the aggregate when nothing of it is left.
    pub(super) fn advance_aggregate(&mut self, key: AggregateKey) {
        while let Some(aggregate) = self.aggregates.get_mut(&key) {
            let Some(index) = aggregate.waiting.front().copied() else {
                if aggregate.pending == 0 {
                    self.aggregates.remove(&key);
                }
                return;
            };
            match self.turn(index) {
                Turn::Wait => return,
                Turn::Go(channel) => {
                    self.aggregate(key).waiting.pop_front();
                    self.go(index, channel);
                }
                Turn::Park => {
                    self.aggregate(key).waiting.pop_front();
                    self.park(index);
                }
            }
        }
    }

    /// One of an aggregate's pending records has landed, wherever.
    pub(super) fn land(&mut self, key: AggregateKey) {
        let Some(aggregate) = self.aggregates.get_mut(&key) else { return };
        aggregate.pending -= 1;
        if aggregate.pending == 0 || !aggregate.waiting.is_empty() {
            self.advance_aggregate(key);
        }
    }

    /// Parks a record that was refused for good; those behind it follow.
    pub(super) fn park(&mut self, index: u32) {
        let entry = &mut self.entries[index];
        entry.state = State::Parking { behind: false };
        let (lane, key) = (entry.lane, entry.aggregate);
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.held.insert(key);
        }
        if let Some(aggregate) = self.aggregates.get_mut(&key) {
            for behind in core::mem::take(&mut aggregate.waiting) {
                self.entries[behind].state = State::Parking { behind: true };
            }
        }
        self.advance_aggregate(key);
        let token = self.entries.token(index);
        self.say(Notice::Parked(token));
        self.advance_lane(lane);
    }

    fn turn(&mut self, index: u32) -> Turn {
        let entry = &self.entries[index];
        let (key, topic) = (entry.aggregate, entry.topic);
        let pending = self.aggregates.get(&key).map_or(0, |aggregate| aggregate.pending);
        let domain = match entry.route {
            Routed::To(domain) => domain,
            Routed::Refused if pending == 0 => return Turn::Park,
            Routed::Refused | Routed::Unknown => return Turn::Wait,
        };
        let alone = entry.refusals > 0 || self.topics.quarantined(topic, self.now);
        let role = if alone { Role::Alone } else { Role::Main };
        let channel = self.port_mut(role).channel(domain, topic);
        let pipelines = role == Role::Main && self.abilities.pipeline == Pipeline::Gapless;
        let follows =
            pipelines && self.aggregates.get(&key).is_some_and(|aggregate| aggregate.channel == channel);
        if pending == 0 || follows { Turn::Go(channel) } else { Turn::Wait }
    }

    fn go(&mut self, index: u32, channel: ChannelId) {
        let entry = &mut self.entries[index];
        entry.state = State::Queued;
        entry.channel = channel;
        let key = entry.aggregate;
        let aggregate = self.aggregate(key);
        aggregate.pending += 1;
        aggregate.channel = channel;
        self.port_mut(channel.role).enqueue(channel, index);
    }

    fn aggregate(&mut self, key: AggregateKey) -> &mut Aggregate {
        self.aggregates.entry(key).or_insert_with(|| Aggregate {
            pending: 0,
            channel: ChannelId { role: Role::Main, number: 0 },
            waiting: VecDeque::new(),
        })
    }

    /// Takes these records' aggregates apart, the records that wait behind them included, and takes them all in
    /// again in the order of their arrival: what to do when a session has ended.
    pub(super) fn admit_again(&mut self, mut indices: Vec<u32>) {
        let mut at = 0;
        while let Some(index) = indices.get(at).copied() {
            at += 1;
            if let Some(aggregate) = self.aggregates.remove(&self.entries[index].aggregate) {
                indices.extend(aggregate.waiting);
            }
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
