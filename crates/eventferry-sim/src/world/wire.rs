//! Batches on their way to the broker, answers on their way back, and sessions that end.

use eventferry_core::fault::PublishFaultKind;
use eventferry_core::machine::Outcome;
use eventferry_core::publisher::{Role, Token};

use super::calls::Answer;
use super::{What, World};
use crate::agenda::{MILLISECOND, SECOND, Time};
use crate::broker::{Life, Message, Verdict, Wire};
use crate::checks::fencing;
use crate::flaw::Flaw;
use crate::truth::Poison;

/// What the broker says to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Yes,
    Refused(PublishFaultKind),
    /// Something before it is missing.
    OutOfOrder,
}

/// After so long without an answer a client opens another connection.
const REQUEST_TIMEOUT: Time = 3 * SECOND;

/// After so long a flawed client gives a record up.
const FLAWED_TIMEOUT: Time = 1_500 * MILLISECOND;

impl World {
    /// Puts a message into its producer's queue.
    pub(super) fn produce(&mut self, number: u32, domain: usize, message: Message) {
        let producer = &mut self.broker.producers[number as usize];
        let stream = producer.stream(domain);
        let entry = &mut producer.streams[stream];
        entry.queue.push_back(message);
        if !entry.lingers {
            entry.lingers = true;
            self.agenda.enter(self.now + self.plan.linger, What::Linger { producer: number, stream });
        }
    }

    pub(super) fn linger_over(&mut self, number: u32, stream: usize) {
        self.broker.producers[number as usize].streams[stream].lingers = false;
        self.transmit(number, stream);
    }

    /// Sends what of a stream may be sent.
    pub(super) fn transmit(&mut self, number: u32, stream: usize) {
        let records = self.plan.batch_records;
        loop {
            let producer = &mut self.broker.producers[number as usize];
            if !producer.connected || !producer.next_batch(stream, records, self.now) {
                return;
            }
            let last = producer.streams[stream].flying.len() - 1;
            self.put_on_wire(number, stream, last);
        }
    }

    fn put_on_wire(&mut self, number: u32, stream: usize, batch: usize) {
        let at = self.now + self.wire_dice.between(200, self.plan.latency);
        let producer = &self.broker.producers[number as usize];
        if self.runs(producer.relay, producer.incarnation) && !self.relays[producer.relay].frozen {
            let name = self.relays[producer.relay].name;
            let found = fencing::sent(name, self.leases.get(name).copied().unwrap_or(0), self.now);
            self.check(5, found);
        }
        let producer = &mut self.broker.producers[number as usize];
        producer.wire_free_at = at.max(producer.wire_free_at + 1);
        let wire = Wire { producer: number, ..producer.wire(stream, batch) };
        self.agenda.enter(producer.wire_free_at, What::Arrive(wire));
    }

    /// A batch reaches the broker's machine.
    pub(super) fn arrive(&mut self, wire: Wire) {
        let producer = &self.broker.producers[wire.producer as usize];
        let stale = wire.connection != producer.connection || producer.life == Life::Closed;
        if producer.cut == Some(wire.connection) || (stale && !producer.drains) {
            return;
        }
        let (number, connection) = (wire.producer, wire.connection);
        let breaks = self.broker.breaks.0 > self.now && self.wire_dice.chance(self.broker.breaks.1);
        if self.broker.down_until > self.now || (breaks && self.wire_dice.chance(50)) {
            self.cut(number, connection);
            return;
        }
        if self.broker.frozen_until > self.now {
            self.broker.backlog.push(wire);
            let at = self.now + REQUEST_TIMEOUT;
            self.agenda.enter(at, What::ConnectionLost { producer: number, connection });
            return;
        }
        self.process(wire, breaks);
    }

    /// A connection breaks; its client notices a little later.
    fn cut(&mut self, number: u32, connection: u32) {
        self.broker.producers[number as usize].cut = Some(connection);
        let at = self.now + 10 * MILLISECOND;
        self.agenda.enter(at, What::ConnectionLost { producer: number, connection });
    }

    /// The broker works on a batch. If its connection breaks, the answer is lost.
    pub(super) fn process(&mut self, wire: Wire, breaks: bool) {
        let fenced = wire.transaction.filter(|number| !self.broker.coordinator.takes(*number, wire.producer));
        let answer = match fenced {
            Some(_) => Some(Written::Refused(PublishFaultKind::Fenced)),
            None => self.judge(wire.domain, &wire.events),
        };
        let verdict = answer.is_none().then(|| self.broker.partitions[wire.domain].admit(self.now, &wire));
        let Wire { producer: number, connection, domain, sequence, epoch, events, transaction } = wire;
        let answer = answer.unwrap_or_else(|| {
            match verdict.unwrap_or(Verdict::Write) {
                Verdict::OutOfOrder => return Written::OutOfOrder,
                Verdict::Duplicate => return Written::Yes,
                Verdict::Write => {}
            }
            for event in &events {
                match transaction {
                    Some(transaction) => self.broker.coordinator.write(transaction, domain, *event),
                    None => self.deliver(*event, domain, number),
                }
            }
            Written::Yes
        });
        if answer != Written::Yes {
            self.note(|| format!("the broker answers {answer:?} to {events:?} of p{number}"));
        }
        if breaks {
            self.cut(number, connection);
            return;
        }
        let late = if self.broker.throttles.0 > self.now { self.broker.throttles.1 } else { 0 };
        let at = self.now + self.wire_dice.between(200, self.plan.latency) + late;
        let producer = &mut self.broker.producers[number as usize];
        producer.answers_free_at = at.max(producer.answers_free_at + 1);
        let at = producer.answers_free_at;
        let Some(stream) = producer.streams.iter().position(|stream| stream.domain == domain) else { return };
        let response = What::Response { producer: number, connection, stream, sequence, epoch, answer };
        self.agenda.enter(at, response);
    }

    /// What the broker has against a batch; a batch is refused whole for the sake of one record.
    fn judge(&mut self, domain: usize, events: &[u32]) -> Option<Written> {
        let topic = self.broker.partitions[domain].topic;
        if self.broker.gone_until[topic].max(self.broker.denied_until[topic]) > self.now {
            return Some(Written::Refused(PublishFaultKind::TopicRefused));
        }
        if self.broker.short_until.0 > self.now {
            return Some(Written::Refused(self.broker.short_until.1));
        }
        let (now, letters) = (self.now, topic == self.plan.letter_topic());
        for number in events {
            let event = self.truth.event(*number);
            let poison = event.ailment.poison_at(now);
            if letters && now < event.ailment.letter_heals_at {
                return Some(Written::Refused(PublishFaultKind::Rejected));
            }
            if !letters && poison != Poison::None {
                event.refusals += 1;
                let unknown = poison == Poison::Unknown;
                let kind = if unknown { PublishFaultKind::Unknown } else { PublishFaultKind::Rejected };
                return Some(Written::Refused(kind));
            }
        }
        None
    }

    /// A producer hears of a batch.
    pub(super) fn respond(&mut self, number: u32, stream: usize, batch: (u32, u16), answer: Written) {
        let producer = &mut self.broker.producers[number as usize];
        if producer.life == Life::Closed {
            return;
        }
        let Some(landed) = producer.land(stream, batch.0, batch.1) else { return };
        let domain = producer.streams[stream].domain;
        let letter = self.broker.partitions[domain].topic == self.plan.letter_topic();
        let gapless = producer.role == Role::Main && self.flaw != Some(Flaw::GoesOnAfterRefusal);
        let outcome = match answer {
            Written::Yes => Outcome::Acknowledged,
            Written::Refused(PublishFaultKind::TopicRefused)
                if self.flaw == Some(Flaw::TopicRefusalIsRecords) =>
            {
                Outcome::Refused(PublishFaultKind::Rejected)
            }
            Written::Refused(_) if letter && self.flaw == Some(Flaw::LetterRefusalIsAnswer) => {
                Outcome::Acknowledged
            }
            Written::Refused(kind) => Outcome::Refused(kind),
            Written::OutOfOrder => Outcome::Uncertain,
        };
        let mut reports: Vec<(Token, Outcome)> =
            landed.iter().map(|message| (message.token, outcome)).collect();
        if answer != Written::Yes {
            if gapless {
                producer.life = Life::Dead;
                let purged = producer.purge_queue();
                reports.extend(purged.iter().map(|message| (message.token, Outcome::Uncertain)));
            } else {
                producer.renumber(stream);
                for batch in 0..producer.streams[stream].flying.len() {
                    self.put_on_wire(number, stream, batch);
                }
            }
        }
        self.report(number, &reports);
        self.transmit(number, stream);
    }

    /// Gives reports to the relay: through its open session, or with the session's end.
    pub(super) fn report(&mut self, number: u32, reports: &[(Token, Outcome)]) {
        let producer = &mut self.broker.producers[number as usize];
        let (relay, incarnation) = (producer.relay, producer.incarnation);
        if producer.ending {
            producer.last_reports.extend_from_slice(reports);
            if !producer.waits() {
                self.finish(number);
            }
        } else if self.runs(relay, incarnation) {
            self.reported(relay, reports);
            self.act(relay);
        }
    }

    /// A session's connection breaks, as the client notices.
    pub(super) fn connection_lost(&mut self, number: u32, connection: u32) {
        let keeps = self.wire_dice.chance(50);
        let producer = &mut self.broker.producers[number as usize];
        if producer.connection != connection || producer.life == Life::Closed {
            return;
        }
        producer.connection += 1;
        producer.connected = false;
        producer.drains = keeps;
        let mut given_up = Vec::new();
        if producer.life == Life::Dead {
            given_up = producer.purge().iter().map(|message| (message.token, Outcome::Uncertain)).collect();
        }
        if self.flaw == Some(Flaw::OutageIsRefusal) {
            producer.life = Life::Dead;
            let refused = Outcome::Refused(PublishFaultKind::Rejected);
            given_up.extend(producer.purge().iter().map(|message| (message.token, refused)));
        }
        if self.has(Flaw::TimesOutEach) {
            given_up.extend(self.time_out(number));
        }
        let connection = connection + 1;
        let at = self.now + self.wire_dice.between(20, 300) * MILLISECOND;
        self.agenda.enter(at, What::Reconnect { producer: number, connection });
        if !given_up.is_empty() {
            self.report(number, &given_up);
        }
    }

    /// A flawed client: gives up the batches that took long, and goes on with those behind them.
    fn time_out(&mut self, number: u32) -> Vec<(Token, Outcome)> {
        let now = self.now;
        let mut given_up = Vec::new();
        let streams = self.broker.producers[number as usize].streams.len();
        for stream in 0..streams {
            let producer = &mut self.broker.producers[number as usize];
            let flying = &mut producer.streams[stream].flying;
            let before = flying.len();
            while flying.front().is_some_and(|batch| now - batch.sent_at > FLAWED_TIMEOUT) {
                let batch = flying.pop_front();
                given_up.extend(batch.into_iter().flat_map(|batch| batch.messages));
            }
            if flying.len() < before {
                producer.renumber(stream);
            }
        }
        given_up.into_iter().map(|message| (message.token, Outcome::Uncertain)).collect()
    }

    /// A client tries to connect again, and sends again what was not answered, in order.
    pub(super) fn reconnect(&mut self, number: u32, connection: u32) {
        let producer = &mut self.broker.producers[number as usize];
        if producer.connection != connection || producer.life == Life::Closed {
            return;
        }
        if self.broker.down_until > self.now {
            let at = self.now + self.wire_dice.between(50, 400) * MILLISECOND;
            self.agenda.enter(at, What::Reconnect { producer: number, connection });
            return;
        }
        producer.connected = true;
        let streams = producer.streams.len();
        for stream in 0..streams {
            for batch in 0..self.broker.producers[number as usize].streams[stream].flying.len() {
                self.put_on_wire(number, stream, batch);
            }
            self.transmit(number, stream);
        }
    }

    /// The relay ends a session: its last reports are waited for, then what is left is given up together.
    pub(super) fn abandon(&mut self, relay: usize, role: Role, within: Time) {
        let process = &mut self.relays[relay];
        let Some(number) = process.sessions[role as usize].take() else {
            let clock = process.clock(self.now);
            process.core.handle_abandoned(clock, role, &[]);
            return;
        };
        let within = if self.has(Flaw::WaitsForNoReport) { 0 } else { within };
        let producer = &mut self.broker.producers[number as usize];
        producer.ending = true;
        if !producer.waits() || within == 0 {
            self.finish(number);
        } else {
            self.agenda.enter(self.now + within, What::GiveUp { producer: number });
        }
    }

    pub(super) fn give_up(&mut self, number: u32) {
        if self.broker.producers[number as usize].ending {
            self.finish(number);
        }
    }

    /// Ends a session for good and answers for what it had.
    fn finish(&mut self, number: u32) {
        let keeps = self.wire_dice.chance(50);
        let uncertain = match self.flaw {
            Some(Flaw::UncertainIsAcknowledged) => Outcome::Acknowledged,
            _ => Outcome::Uncertain,
        };
        let leaks = self.has(Flaw::PurgesNothing);
        let producer = &mut self.broker.producers[number as usize];
        let mut reports = std::mem::take(&mut producer.last_reports);
        if leaks {
            let streams = producer.streams.iter();
            let left = streams.flat_map(|stream| {
                stream.queue.iter().chain(stream.flying.iter().flat_map(|batch| &batch.messages))
            });
            reports.extend(left.map(|message| (message.token, uncertain)));
        } else {
            reports.extend(producer.purge().iter().map(|message| (message.token, uncertain)));
            producer.life = Life::Closed;
            producer.drains = keeps;
        }
        producer.ending = false;
        let (relay, incarnation, role) = (producer.relay, producer.incarnation, producer.role);
        if self.runs(relay, incarnation) {
            let at = self.now + self.wire_dice.below(20) * MILLISECOND;
            let answer = Answer::Abandoned(role, reports);
            self.agenda.enter(at, What::Answer { relay, incarnation, answer });
        }
    }

    /// A relay's process is gone: what it had on the wire arrives, or does not.
    pub(super) fn close_sessions(&mut self, relay: usize, incarnation: u32) {
        for producer in &mut self.broker.producers {
            if (producer.relay, producer.incarnation) == (relay, incarnation) {
                producer.purge();
                producer.life = Life::Closed;
                producer.drains = self.wire_dice.chance(50);
                producer.ending = false;
            }
        }
    }
}
