//! What goes wrong, and its repair.

use std::time::Duration;

use eventferry_core::fault::PublishFaultKind;
use eventferry_core::publisher::Role;
use eventferry_core::store::Claim;

use super::{What, World};
use crate::agenda::{MILLISECOND, SECOND};
use crate::database::Claimant;
use crate::fault::FaultKind;
use crate::flaw::Flaw;
use crate::relay::Relay;

impl World {
    pub(super) fn fault(&mut self, number: usize) {
        let kind = self.plan.faults[number].kind;
        self.tally.faults[kind.number()] += 1;
        self.note(|| format!("FAULT {number}: {kind:?}"));
        let until = self.now + kind.lasts();
        match kind {
            FaultKind::Join => {
                let (relay, name) = (self.relays.len().max(self.plan.relays), self.next_name());
                self.start(relay, name);
            }
            FaultKind::Leave { relay, .. } => self.ask_to_leave(relay),
            FaultKind::Kill { relay, back, renamed } => {
                let Some(process) = self.relays.get(relay).filter(|process| process.up) else { return };
                let name = if renamed { self.next_name() } else { process.name };
                self.kill(relay);
                self.agenda.enter(self.now + back, What::Start { relay, name });
            }
            FaultKind::Freeze { relay, .. } => {
                let Some(process) = self.relays.get_mut(relay).filter(|process| process.up) else { return };
                process.frozen = true;
                process.frozen_at = self.now;
                let incarnation = process.incarnation;
                self.agenda.enter(until, What::Thaw { relay, incarnation });
            }
            FaultKind::DatabaseCrash { .. } => {
                self.database.crash(until);
                self.silence_the_bell();
                self.take_back_what_crashed();
            }
            FaultKind::DatabaseAway { .. } => self.database.away_until = self.database.away_until.max(until),
            FaultKind::Failover { behind, .. } | FaultKind::Restore { behind, .. } => {
                if self.database.copy.is_none() {
                    self.database.copy = Some(self.database.books.copy());
                    self.agenda.enter(self.now + behind, What::Repair(number));
                }
            }
            FaultKind::SlowDatabase { up_to, .. } => self.weather.slow = (until, up_to),
            FaultKind::LossyDatabase { percent, .. } => self.weather.lossy = (until, percent),
            FaultKind::BrokerDown { .. } => self.broker.down_until = self.broker.down_until.max(until),
            FaultKind::BrokerFrozen { .. } => {
                self.broker.frozen_until = self.broker.frozen_until.max(until);
                self.agenda.enter(self.broker.frozen_until, What::Repair(number));
            }
            FaultKind::BrokenConnections { percent, .. } => self.broker.breaks = (until, percent),
            FaultKind::Throttled { by, .. } => self.broker.throttles = (until, by),
            FaultKind::BrokerShort { quota, .. } => {
                let throttled = |after| PublishFaultKind::Throttled(Duration::from_micros(after));
                let kind = quota.map_or(PublishFaultKind::Unavailable, throttled);
                self.broker.short_until = (until, kind);
            }
            FaultKind::OtherDelivery => {
                self.exactly_once = !self.exactly_once;
                (0..self.relays.len()).for_each(|relay| self.ask_to_leave(relay));
            }
            FaultKind::NewCertificates => (0..self.relays.len()).for_each(|relay| self.end_sessions(relay)),
            FaultKind::TopicGone { topic, .. } => self.broker.gone_until[topic] = until,
            FaultKind::TopicDenied { topic, .. } => self.broker.denied_until[topic] = until,
            FaultKind::ProducersForgotten => {
                let now = self.now;
                self.broker.partitions.iter_mut().for_each(|partition| partition.forget_the_silent(now));
            }
        }
    }

    pub(super) fn repair(&mut self, number: usize) {
        match self.plan.faults[number].kind {
            FaultKind::Failover { lasts, .. } => {
                self.note(|| "the copy takes over".to_owned());
                self.database.fail_over(self.now + lasts);
                self.silence_the_bell();
                self.take_back_what_failed_over();
            }
            FaultKind::Restore { lasts, .. } => {
                self.note(|| "a dump is restored into another cluster".to_owned());
                self.database.restore(self.now + lasts);
                self.silence_the_bell();
                self.take_back_what_failed_over();
            }
            FaultKind::BrokerFrozen { .. } if self.broker.frozen_until <= self.now => self.thaw_broker(),
            _ => {}
        }
    }

    /// What it took in while it stood still is worked on: each connection in order, the connections in any.
    fn thaw_broker(&mut self) {
        let mut backlog = std::mem::take(&mut self.broker.backlog);
        while !backlog.is_empty() {
            let at = self.wire_dice.index(backlog.len());
            let connection = (backlog[at].producer, backlog[at].connection);
            let first = backlog.iter().position(|wire| (wire.producer, wire.connection) == connection);
            let wire = backlog.remove(first.unwrap_or(at));
            self.process(wire, false);
        }
    }

    fn next_name(&mut self) -> usize {
        self.names += 1;
        self.names - 1
    }

    fn ask_to_leave(&mut self, relay: usize) {
        let Some(process) = self.relays.get_mut(relay).filter(|process| process.up && !process.frozen) else {
            return;
        };
        process.draining = true;
        let (name, incarnation) = (process.name, process.incarnation);
        if self.has(Flaw::LeavesAtOnce) {
            let claim = Claim { keep: Vec::new(), take_max: 0, lease: Duration::ZERO, whole: false };
            let now = self.now;
            self.flushed_with(|database| {
                database.hold(now, name, Claimant { incarnation, claimed_at: now }, &claim)
            });
            self.end_process(relay);
            return;
        }
        let process = &mut self.relays[relay];
        let clock = process.clock(self.now);
        process.core.drain(clock);
        self.act(relay);
    }

    /// The sessions of a relay end by themselves.
    fn end_sessions(&mut self, relay: usize) {
        let Some(process) = self.relays.get_mut(relay).filter(|process| process.up && !process.frozen) else {
            return;
        };
        let clock = process.clock(self.now);
        for role in [Role::Main, Role::Alone] {
            if process.sessions[role as usize].is_some() {
                process.core.handle_session_ended(clock, role);
            }
        }
        self.act(relay);
    }

    fn kill(&mut self, relay: usize) {
        self.note(|| format!("relay {relay} is killed"));
        self.end_process(relay);
    }

    /// A process is gone, asked to or not.
    pub(super) fn end_process(&mut self, relay: usize) {
        let process = &mut self.relays[relay];
        process.up = false;
        process.inbox.clear();
        let (incarnation, draining) = (process.incarnation, process.draining);
        self.close_sessions(relay, incarnation);
        self.leave_the_bell(relay);
        if draining {
            let name = self.next_name();
            let after = self.dice.between(100, 4_000) * MILLISECOND;
            self.agenda.enter(self.now + after, What::Start { relay, name });
        }
    }

    /// A frozen process goes on: its client's threads and its own are awake in either order.
    pub(super) fn thaw(&mut self, relay: usize, incarnation: u32) {
        if !self.runs(relay, incarnation) || !self.relays[relay].frozen {
            return;
        }
        self.note(|| format!("relay {relay} wakes"));
        let client_first = self.wire_dice.chance(70);
        if client_first {
            self.wake_clients(relay, incarnation);
        }
        if self.has(Flaw::ClockStopsWhenFrozen) {
            let process = &mut self.relays[relay];
            process.stood_still += self.now - process.frozen_at;
        }
        self.relays[relay].frozen = false;
        for what in std::mem::take(&mut self.relays[relay].inbox) {
            match what {
                // The process's own clock ended this wait, so it comes with what the process does first.
                What::GiveUp { producer } => self.give_up(producer),
                what => self.agenda.enter(self.now, what),
            }
        }
        self.act(relay);
        if !client_first {
            self.wake_clients(relay, incarnation);
        }
    }

    fn wake_clients(&mut self, relay: usize, incarnation: u32) {
        for number in 0..self.broker.producers.len() {
            let producer = &self.broker.producers[number];
            if (producer.relay, producer.incarnation) != (relay, incarnation) {
                continue;
            }
            for stream in 0..producer.streams.len() {
                self.transmit(number as u32, stream);
            }
        }
    }

    pub(super) fn sweep(&mut self, relay: usize, incarnation: u32) {
        if !self.runs(relay, incarnation) {
            return;
        }
        if self.database.down_until.max(self.database.away_until) <= self.now {
            self.database.sweep(self.now, self.plan.retention);
        }
        let at = self.now + self.dice.between(300, 1_500) * MILLISECOND;
        self.agenda.enter(at, What::Sweep { relay, incarnation });
    }

    /// In the end somebody is there to work, whoever was killed.
    pub(super) fn somebody_works(&mut self) {
        if self.relays.iter().any(|process: &Relay| process.up) {
            return;
        }
        let name = self.next_name();
        self.start(0, name);
    }

    /// Looks whether everything has come to rest; a little later nothing may have changed.
    pub(super) fn look(&mut self) {
        self.somebody_works();
        let at_rest = self.is_at_rest();
        match self.at_rest_since {
            _ if !at_rest => self.at_rest_since = None,
            None => self.at_rest_since = Some(self.now),
            Some(since) if self.now - since >= 2 * SECOND => self.over = true,
            Some(_) => {}
        }
        if self.now > self.calm_from + super::REST_WITHIN {
            self.over = true;
        }
        if self.over {
            self.at_the_end();
        }
        self.agenda.enter(self.now + 250 * MILLISECOND, What::Look);
    }
}
