//! What cannot be shipped now: parked, or, if it is parked already, given back to the ledger with what became of it.

use alloc::vec::Vec;

use super::Core;
use super::action::{ChangeOrder, ChangeWhat, Notice, ParkWhy, TopicId};
use super::entry::{AggregateKey, Origin, Routed, State};
use super::lane::LanePhase;
use super::ledger::{Effect, Telling};
use super::retry::OnDead;
use crate::fault::PublishFaultKind;
use crate::lane::Lane;
use crate::parked::{End, Next, ParkedKey};

/// Why a record is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aside {
    /// It was refused, and that was believed.
    Refused(PublishFaultKind),
    /// It was refused, and nothing shows that it is its own fault.
    Unproven,
    /// Its topic takes nothing, and has not for a while.
    TopicShut,
}

impl<M: Clone> Core<M> {
    /// Sets a record aside that is first of its aggregate and in no list; those that wait behind it follow.
    pub(super) fn set_aside(&mut self, index: u32, why: Aside) {
        let entry = &self.entries[index];
        let (lane, number) = (entry.lane, entry.aggregate_number);
        match entry.origin {
            Origin::Log(_) => self.park(index, why),
            Origin::Parked { dying: false, .. } if why == Aside::TopicShut => self.leave_hand(index),
            Origin::Parked { .. } => self.give_back(index, why),
        }
        for behind in self.aggregates.take_waiting(number) {
            self.put_behind(behind);
        }
        self.advance_aggregate(number);
        self.advance_lane(lane);
    }

    fn park(&mut self, index: u32, why: Aside) {
        let entry = &self.entries[index];
        let (lane, key) = (entry.lane, entry.aggregate);
        let why = match why {
            Aside::TopicShut | Aside::Unproven => ParkWhy::TopicHeld,
            Aside::Refused(kind) => {
                let (_, next) = self.next_attempt(entry.topic, 0, kind);
                let token = self.entries.token(index);
                self.say(Notice::Parked(token, next));
                ParkWhy::Refused(next)
            }
        };
        self.entries[index].state = State::Parking(why);
        if let Some(state) = self.lanes.get_mut(&lane) {
            state.parked.update(key, |held| held.parking += 1);
        }
    }

    /// A parked event that was sent again and refused, or cannot be sent to the dead-letter topic: the ledger is told.
    fn give_back(&mut self, index: u32, why: Aside) {
        let entry = &self.entries[index];
        let (lane, aggregate) = (entry.lane, entry.aggregate);
        let Origin::Parked { ordinal, attempts, dying, own_topic, .. } = entry.origin else { return };
        let token = self.entries.token(index);
        let (what, words) = match why {
            Aside::Refused(kind) if !dying => {
                let (attempts, next) = self.next_attempt(own_topic, attempts, kind);
                self.say(Notice::RefusedAgain { token, attempts, next });
                (ChangeWhat::Refused { token, attempts, next }, Some(index))
            }
            _ => (ChangeWhat::Postponed(self.settings.retry_max), None),
        };
        self.entries[index].state = State::Telling;
        let round = self.due.round();
        if let Some(state) = self.lanes.get_mut(&lane) {
            state.parked.unhand(aggregate, round);
            let order = ChangeOrder { key: ParkedKey { lane, ordinal }, what };
            state.tell(Telling { order, aggregate, entry: words, effect: Effect::Stays });
        }
        if words.is_none() {
            self.drop_entry(index);
        }
    }

    /// What follows one more refusal after this many attempts.
    fn next_attempt(&mut self, topic: TopicId, attempts: u32, kind: PublishFaultKind) -> (u32, Next) {
        let (dead_letters, dice) = (self.settings.dead_letters, &mut self.dice);
        let policy = self.topics.retry(topic, &self.settings.retry);
        if kind == PublishFaultKind::Unknown && !policy.unknown_counts {
            return (attempts, Next::Retry(policy.backoff.pause(attempts.max(1), dice)));
        }
        let attempts = attempts.saturating_add(1);
        let next = match (attempts < policy.attempts, dead_letters) {
            (true, _) => Next::Retry(policy.backoff.pause(attempts, dice)),
            (false, true) => Next::Die,
            (false, false) => Next::Wait,
        };
        (attempts, next)
    }

    /// A parked event was acknowledged, by its topic or the dead-letter topic.
    pub(super) fn settle_parked(&mut self, index: u32, lands: bool) {
        let token = self.entries.token(index);
        let Some(order) = self.end_of_parked(index) else { return };
        let entry = self.take_out(index);
        let (lane, aggregate, number) = (entry.lane, entry.aggregate, entry.aggregate_number);
        let dying = matches!(entry.origin, Origin::Parked { dying: true, .. });
        let holds = order.what == ChangeWhat::Held;
        self.say(if dying { Notice::Dead(token, holds) } else { Notice::Unparked(token) });
        let round = self.due.round();
        if let Some(state) = self.lanes.get_mut(&lane) {
            let effect = if holds {
                state.parked.unhand(aggregate, round);
                Effect::Stays
            } else {
                state.parked.update(aggregate, |held| held.in_hand = held.in_hand.saturating_sub(1));
                state.parked.settle(aggregate, Some(u64::from(entry.size_bytes)));
                Effect::None
            };
            state.tell(Telling { order, aggregate, entry: None, effect });
        }
        if holds {
            for behind in self.aggregates.take_waiting(number) {
                self.put_behind(behind);
            }
        }
        if lands {
            self.land(number);
            self.advance_lane(lane);
        }
        self.let_go_behind(lane, aggregate);
    }

    /// What will be told of a parked event once its topic or the dead-letter topic has it for good.
    pub(super) fn end_of_parked(&self, index: u32) -> Option<ChangeOrder> {
        let entry = &self.entries[index];
        let Origin::Parked { ordinal, dying, own_topic, .. } = entry.origin else { return None };
        let policy = self.topics.retry(own_topic, &self.settings.retry);
        let what = match (dying, policy.on_dead) {
            (true, OnDead::Hold) => ChangeWhat::Held,
            (true, OnDead::Continue) => ChangeWhat::Settled(End::DeadLettered),
            (false, _) => ChangeWhat::Settled(End::Shipped),
        };
        Some(ChangeOrder { key: ParkedKey { lane: entry.lane, ordinal }, what })
    }

    /// A topic takes something again: its records that were to be parked go after all, with what waits behind them, if
    /// the ledger has been told of none of them. What keeps their lane's position back may wait for just that.
    pub(super) fn let_go_held(&mut self, lane: Lane, topic: TopicId) {
        let Some(state) = self.lanes.get(&lane) else { return };
        for (aggregate, records) in state.waiting_to_be_parked_for(topic, &self.entries) {
            self.let_go(lane, aggregate, records);
        }
    }

    /// Nothing of an aggregate is parked any more: its records that were to be parked behind go after all, if the
    /// ledger has been told of none of them. What keeps their lane's position back may last for long.
    pub(super) fn let_go_behind(&mut self, lane: Lane, aggregate: AggregateKey) {
        let Some(state) = self.lanes.get(&lane) else { return };
        // Nearly always there is nothing, and nothing needs to be gone over.
        if state.parked.get(aggregate).parking > 0 {
            let records = state.waiting_to_be_parked(aggregate, &self.entries);
            self.let_go(lane, aggregate, records);
        }
    }

    /// Lets an aggregate's records go that were to be parked, if they are all there are and nothing of it is parked.
    fn let_go(&mut self, lane: Lane, aggregate: AggregateKey, records: Vec<u32>) {
        // In a transaction later records of the lane may have gone: they went because these are to be parked.
        if self.transactions.is_some() {
            return;
        }
        let Some(state) = self.lanes.get_mut(&lane).filter(|state| state.phase == LanePhase::Active) else {
            return;
        };
        let held = state.parked.get(aggregate);
        if held.parked > 0 || held.telling > 0 || held.parking as usize != records.len() {
            return;
        }
        state.parked.update(aggregate, |held| held.parking = 0);
        for index in records {
            self.entries[index].state = State::Waiting;
            if self.entries[index].route == Routed::Unknown {
                self.wait_for_topic(index);
            }
            self.admit(index);
        }
    }
}
