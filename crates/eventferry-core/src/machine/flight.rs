//! Sending: which queued record goes next, and what its report means.

use alloc::vec::Vec;

use super::Core;
use super::action::Stop;
use super::aside::Aside;
use super::entry::{ChannelId, Entry, Origin, State};
use super::session::{Outcome, Phase};
use super::transactions::BEGIN;
use crate::fault::PublishFaultKind;
use crate::lane::Lane;
use crate::publisher::{Domain, Refusal, Role, Token};

impl<M: Clone> Core<M> {
    /// The next record to hand to a session, if any may go.
    pub(super) fn next_send(&mut self) -> Option<(Role, Token, Domain)> {
        if !self.may_send() {
            return None;
        }
        if self.transactions.is_some() {
            return self.next_send_in_transaction();
        }
        [Role::Main, Role::Alone].into_iter().find_map(|role| self.next_send_of(role))
    }

    fn next_send_of(&mut self, role: Role) -> Option<(Role, Token, Domain)> {
        let port = match role {
            Role::Main => &mut self.main,
            Role::Alone => &mut self.alone,
        };
        if port.phase != Phase::Open || port.full {
            return None;
        }
        let over = port.flight_records >= self.settings.flight_records_max
            || port.flight_bytes >= self.settings.flight_bytes_max;
        if over && port.flight_records > 0 {
            return None;
        }
        while let Some(number) = port.ready.front().copied() {
            let channel = &mut port.channels[number as usize];
            let pipelining = role == Role::Alone || channel.pipelining(self.now, self.abilities.first_alone);
            let blocked = self.topics.held(channel.topic) || (!pipelining && channel.flight_records > 0);
            let Some(index) = (if blocked { None } else { channel.queue.pop_front() }) else {
                // Listed again by the next report, the topic's release, or the next record.
                port.ready.pop_front();
                channel.listed = false;
                continue;
            };
            channel.flight_records += 1;
            let entry = &mut self.entries[index];
            entry.state = State::Flying;
            port.flight_records += 1;
            port.flight_bytes += u64::from(entry.size_bytes);
            let domain = channel.domain;
            return Some((role, self.entries.token(index), domain));
        }
        None
    }

    /// The session had no room for this record: it stays first in its queue, until a report makes room.
    pub fn handle_full(&mut self, now: core::time::Duration, token: Token) {
        self.now = now;
        if let Some(index) = self.entries.find(token) {
            self.take_back(index);
            let role = self.entries[index].channel.role;
            self.port_mut(role).full = true;
        }
    }

    /// The session had ended when this record was offered: it is abandoned, and the record goes with the next one.
    pub fn handle_ended(&mut self, now: core::time::Duration, token: Token) {
        self.now = now;
        if let Some(index) = self.entries.find(token) {
            self.take_back(index);
            let role = self.entries[index].channel.role;
            self.end_session(role, None);
        } else if token == BEGIN {
            self.end_session(Role::Main, None);
        }
    }

    /// A session reports what became of a record. Reports of tokens that are no longer here are passed over.
    pub fn handle_report(&mut self, now: core::time::Duration, token: Token, outcome: Outcome) {
        self.now = now;
        if self.handle_transaction_report(token, outcome) {
            return;
        }
        let Some(index) =
            self.entries.find(token).filter(|index| self.entries[*index].state == State::Flying)
        else {
            return;
        };
        match outcome {
            Outcome::Acknowledged => self.acknowledge(index),
            // What is thrown away is taken back when that is certain.
            Outcome::Uncertain if self.is_doomed() => {}
            Outcome::Uncertain => {
                let role = self.entries[index].channel.role;
                self.end_session(role, None);
            }
            Outcome::Refused(kind) => self.refuse(index, kind),
        }
    }

    pub(super) fn acknowledge(&mut self, index: u32) {
        let channel = self.entries[index].channel;
        let now = self.now;
        self.leave_flight(index);
        self.acknowledged += 1;
        self.session_mut(channel.role).failures = 0;
        let port = self.port_mut(channel.role);
        port.channels[channel.number as usize].acknowledged_at = Some(now);
        port.list(channel.number);
        if channel.role == Role::Alone {
            self.topic_acknowledged(self.entries[index].topic);
        }
        let entry = &self.entries[index];
        let (number, size_bytes) = (entry.aggregate_number, u64::from(entry.size_bytes));
        if entry.orphan {
            self.payload_bytes -= size_bytes;
            let entry = self.entries.remove(index);
            self.due.gone(&entry);
            self.land(number);
            return;
        }
        if self.transactions.is_some() {
            self.carry(index);
        } else {
            self.settle_acknowledged(index, true);
        }
    }

    /// The broker has a record for good. `lands`: what waits for it may go.
    pub(super) fn settle_acknowledged(&mut self, index: u32, lands: bool) {
        let entry = &mut self.entries[index];
        let (number, lane, size_bytes) = (entry.aggregate_number, entry.lane, u64::from(entry.size_bytes));
        if matches!(entry.origin, Origin::Parked { .. }) {
            self.settle_parked(index, lands);
            return;
        }
        entry.state = State::Settled;
        self.payload_bytes -= size_bytes;
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.payload_bytes -= size_bytes;
            lane.note_settled();
        }
        if lands {
            self.land(number);
            self.advance_lane(lane);
        }
    }

    fn refuse(&mut self, index: u32, kind: PublishFaultKind) {
        let role = self.entries[index].channel.role;
        if matches!(kind, PublishFaultKind::Misconfigured) {
            self.stop = Some(Stop::PublisherMisconfigured);
            return;
        }
        let believed = self.believe(index, kind);
        if !believed {
            self.suspect(index, kind);
        }
        if self.transactions.is_some() {
            self.doom(role, kind);
        } else if !believed {
            self.end_session(role, Some(kind));
        }
    }

    /// Sets a record aside if its refusal speaks of it alone, and for good.
    pub(super) fn believe(&mut self, index: u32, kind: PublishFaultKind) -> bool {
        let entry = &self.entries[index];
        let alone = entry.channel.role == Role::Alone || self.abilities.refusal == Refusal::PerRecord;
        let rejected = match kind {
            PublishFaultKind::Rejected => true,
            PublishFaultKind::Unknown => self.unknown_is_rejected(index),
            _ => false,
        };
        let unproven = kind == PublishFaultKind::Unknown && !rejected && self.unknown_is_unproven(index);
        let why = if unproven { Aside::Unproven } else { Aside::Refused(kind) };
        let believed = alone && (rejected || unproven) && !entry.orphan;
        if believed {
            let number = entry.aggregate_number;
            self.leave_flight(index);
            self.aggregates.unpend(number);
            self.set_aside(index, why);
        }
        believed
    }

    /// What a refusal says of its record and topic before it is believed.
    pub(super) fn suspect(&mut self, index: u32, kind: PublishFaultKind) {
        let Entry { topic, channel: ChannelId { role, .. }, .. } = self.entries[index];
        match kind {
            PublishFaultKind::Rejected | PublishFaultKind::Unknown => {
                let entry = &mut self.entries[index];
                if entry.refusals == 0 {
                    entry.acknowledged_before = self.acknowledged;
                }
                entry.refusals = entry.refusals.saturating_add(1);
                let session = (role, self.session_mut(role).sessions);
                self.topics.strike(topic, session, self.now, &self.settings);
            }
            PublishFaultKind::TopicRefused => self.hold_topic(topic, kind, true),
            _ => {}
        }
    }

    /// Takes a record out of its session's hands.
    pub(super) fn leave_flight(&mut self, index: u32) {
        let entry = &self.entries[index];
        let (channel, size_bytes) = (entry.channel, u64::from(entry.size_bytes));
        let port = self.port_mut(channel.role);
        port.full = false;
        port.flight_records -= 1;
        port.flight_bytes -= size_bytes;
        port.channels[channel.number as usize].flight_records -= 1;
    }

    fn take_back(&mut self, index: u32) {
        if self.transactions.is_some() {
            self.take_back_in_transaction(index);
            return;
        }
        self.leave_flight(index);
        self.entries[index].state = State::Queued;
        let channel = self.entries[index].channel;
        let port = self.port_mut(channel.role);
        port.channels[channel.number as usize].queue.push_front(index);
        port.list(channel.number);
    }

    pub(super) fn advance_lanes(&mut self) {
        let lanes: Vec<Lane> = self.lanes.keys().copied().collect();
        for lane in lanes {
            self.advance_lane(lane);
        }
    }

    /// Moves a lane's settled prefix, wherever it now ends.
    pub(super) fn advance_lane(&mut self, lane: Lane) {
        let Some(state) = self.lanes.get_mut(&lane) else { return };
        state.advance(&mut self.entries, self.keeps, self.ledger.parks_max());
    }
}
