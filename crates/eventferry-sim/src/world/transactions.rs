//! Transactions: a session's requests to the coordinator, and how partitions hear of their ends.

use eventferry_core::Stamp;
use eventferry_core::fault::PublishFaultKind;
use eventferry_core::machine::{ABORT, BEGIN, COMMIT, Outcome};
use eventferry_core::publisher::Role;

use super::calls::Answer;
use super::{What, World};
use crate::agenda::{MILLISECOND, SECOND, Time};
use crate::broker::{IDS, Life, Producer, Trouble};
use crate::flaw::Flaw;

/// What a session asks the coordinator for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    Init(usize),
    ReadStamp,
    Begin(Stamp),
    /// The transaction, as the coordinator numbers it.
    Commit(usize),
    Abort(usize),
}

/// What it is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    Done(Request),
    Begun(usize),
    Stamp(Option<Stamp>),
    Busy(Request),
    Fenced(Request),
}

/// What a session that has transactions knows of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Transacting {
    /// How many it began.
    pub(crate) begun: usize,
    /// The one that is filling, once the coordinator has begun it.
    pub(crate) open: Option<usize>,
    /// The one before it, if it is not committed.
    before: Option<usize>,
    /// The one whose end is asked for.
    pub(crate) committing: bool,
    /// The one that is being begun is to be thrown away.
    aborts: bool,
    /// What a flawed session read before it had fenced anybody.
    early: Option<Option<Stamp>>,
}

/// A transaction that is open for longer is aborted.
const OPEN_MAX: Time = 8 * SECOND;

/// How long a client waits before it asks a busy coordinator again.
const BUSY_WAIT: Time = 20 * MILLISECOND;

impl World {
    pub(super) fn take_over(&mut self, relay: usize) {
        let incarnation = self.relays[relay].incarnation;
        // One that stands still takes requests, and answers when it wakes.
        if self.broker.down_until > self.now {
            let at = self.now + self.wire_dice.between(50, 1_000) * MILLISECOND;
            let answer = Answer::TakenOver(Err(PublishFaultKind::Unavailable));
            self.agenda.enter(at, What::Answer { relay, incarnation, answer });
            return;
        }
        let number = self.broker.producers.len() as u32;
        let mut producer = Producer::new(relay, incarnation, Role::Main);
        producer.transacting = Some(Transacting::default());
        self.broker.producers.push(producer);
        let first = if self.has(Flaw::ReadsBeforeFencing) { Request::ReadStamp } else { Request::Init(0) };
        self.request(number, first);
    }

    pub(super) fn begin_transaction(&mut self, relay: usize, stamp: Stamp) {
        let Some(number) = self.relays[relay].sessions[0] else {
            let process = &mut self.relays[relay];
            let clock = process.clock(self.now);
            process.core.handle_ended(clock, BEGIN);
            return;
        };
        if let Some(transacting) = &mut self.broker.producers[number as usize].transacting {
            transacting.before = transacting.open.take().or(transacting.before);
        }
        self.request(number, Request::Begin(stamp));
    }

    pub(super) fn commit_transaction(&mut self, relay: usize) {
        let Some(number) = self.relays[relay].sessions[0] else { return };
        let transacting = self.broker.producers[number as usize].transacting.as_mut();
        let Some(transacting) = transacting else { return };
        let Some(open) = transacting.before.take().or_else(|| transacting.open.take()) else { return };
        transacting.committing = true;
        self.request(number, Request::Commit(open));
    }

    pub(super) fn abort_transaction(&mut self, relay: usize) {
        let Some(number) = self.relays[relay].sessions[0] else { return };
        let producer = &mut self.broker.producers[number as usize];
        let Some(open) = producer.transacting.as_mut().and_then(|one| one.open.take()) else {
            if let Some(transacting) = &mut producer.transacting {
                transacting.aborts = true;
            }
            return;
        };
        self.request(number, Request::Abort(open));
    }

    fn request(&mut self, producer: u32, request: Request) {
        let at = self.now + self.wire_dice.between(200, self.plan.latency);
        self.agenda.enter(at, What::Coordinate { producer, request });
    }

    /// A request reaches the coordinator.
    pub(super) fn coordinate(&mut self, number: u32, request: Request) {
        let producer = &self.broker.producers[number as usize];
        // Of a session that is gone, what was on the wire arrives or does not.
        if producer.life == Life::Closed && (!producer.drains || !matches!(request, Request::Commit(_))) {
            return;
        }
        let closed = producer.life == Life::Closed;
        let breaks = self.broker.breaks.0 > self.now && self.wire_dice.chance(self.broker.breaks.1);
        let away = self.broker.down_until.max(self.broker.frozen_until);
        if away > self.now || (breaks && self.wire_dice.chance(50)) {
            // What a broker that stands still has in its sockets it works on when it wakes.
            let frozen = self.broker.frozen_until > self.now && self.broker.down_until <= self.now;
            if !closed || frozen {
                let after = if frozen { 40 } else { 300 };
                let at = self.now.max(away) + self.wire_dice.between(1, after) * MILLISECOND;
                self.agenda.enter(at, What::Coordinate { producer: number, request });
            }
            return;
        }
        let reply = self.judge_request(number, request);
        self.note(|| format!("the coordinator answers {reply:?} to p{number}"));
        // A request whose answer is lost is made again.
        let late = if breaks { self.wire_dice.between(20, 300) * MILLISECOND } else { 0 };
        let at = self.now + self.wire_dice.between(200, self.plan.latency);
        if breaks && !closed {
            self.agenda.enter(at + late, What::Coordinate { producer: number, request });
        } else {
            self.agenda.enter(at, What::Coordinated { producer: number, reply });
        }
    }

    fn judge_request(&mut self, number: u32, request: Request) -> Reply {
        let refused = |trouble| match trouble {
            Trouble::Busy => Reply::Busy(request),
            Trouble::Fenced => Reply::Fenced(request),
        };
        match request {
            Request::Init(id) => match self.broker.coordinator.init(id, number) {
                Ok(()) => Reply::Done(request),
                Err((trouble, aborted)) => {
                    if let Some(aborted) = aborted {
                        self.note(|| format!("transaction {aborted} is aborted"));
                        self.spread_the_word(aborted);
                    }
                    refused(trouble)
                }
            },
            Request::ReadStamp => Reply::Stamp(self.broker.coordinator.last_stamp()),
            Request::Begin(stamp) => {
                let begun = self.broker.producers[number as usize].transacting.map_or(0, |one| one.begun);
                match self.broker.coordinator.begin(begun % IDS, number, stamp) {
                    Ok(transaction) => {
                        let at = self.now + OPEN_MAX;
                        self.agenda.enter(at, What::TimeOut { transaction });
                        Reply::Begun(transaction)
                    }
                    // It was made already, and the answer was lost.
                    Err(Trouble::Busy) => match self.broker.coordinator.open_of(begun % IDS, number) {
                        Some(transaction) => Reply::Begun(transaction),
                        None => refused(Trouble::Busy),
                    },
                    Err(trouble) => refused(trouble),
                }
            }
            Request::Abort(transaction) => match self.broker.coordinator.abort(transaction, number) {
                Ok(newly) => {
                    if newly {
                        self.note(|| format!("transaction {transaction} is thrown away"));
                        self.spread_the_word(transaction);
                    }
                    Reply::Done(request)
                }
                Err(trouble) => refused(trouble),
            },
            Request::Commit(transaction) => match self.broker.coordinator.commit(transaction, number) {
                Ok(newly) => {
                    if newly {
                        self.note(|| format!("transaction {transaction} is committed"));
                        let letters = self.plan.letter_topic();
                        for (event, domain) in self.broker.coordinator.events(transaction) {
                            let letter = self.broker.partitions[domain].topic == letters;
                            let event = self.truth.event(event);
                            event.committed |= !letter;
                            event.letter_committed |= letter;
                        }
                        self.spread_the_word(transaction);
                    }
                    Reply::Done(request)
                }
                Err(trouble) => refused(trouble),
            },
        }
    }

    /// Partitions hear of a transaction's end, each in its own time.
    fn spread_the_word(&mut self, transaction: usize) {
        for domain in self.broker.coordinator.unmarked(transaction) {
            let slow = if self.wire_dice.chance(20) { 200 } else { 10 };
            let at = self.now + self.wire_dice.between(1, slow) * MILLISECOND;
            self.agenda.enter(at, What::Mark { transaction, domain });
        }
    }

    pub(super) fn mark(&mut self, transaction: usize, domain: usize) {
        let producer = self.broker.coordinator.transactions[transaction].producer;
        for event in self.broker.coordinator.mark(transaction, domain) {
            self.deliver(event, domain, producer);
        }
    }

    pub(super) fn time_out_transaction(&mut self, transaction: usize) {
        if self.broker.down_until.max(self.broker.frozen_until) > self.now {
            self.agenda.enter(self.now + SECOND, What::TimeOut { transaction });
        } else if self.broker.coordinator.time_out(transaction) {
            self.note(|| format!("transaction {transaction} was open for too long"));
            self.spread_the_word(transaction);
        }
    }

    /// A session hears of a request.
    pub(super) fn coordinated(&mut self, number: u32, reply: Reply) {
        let producer = &mut self.broker.producers[number as usize];
        if producer.life == Life::Closed {
            return;
        }
        let Some(transacting) = &mut producer.transacting else { return };
        match reply {
            Reply::Busy(request) => {
                let at = self.now + BUSY_WAIT;
                self.agenda.enter(at, What::Coordinate { producer: number, request });
            }
            Reply::Done(Request::Init(id)) => {
                let last = if self.has(Flaw::FencesOneId) { 0 } else { IDS - 1 };
                let early = self.broker.producers[number as usize].transacting.and_then(|one| one.early);
                match (id < last, early) {
                    (true, _) => self.request(number, Request::Init(id + 1)),
                    (false, Some(stamp)) => self.taken_over(number, stamp),
                    (false, None) => self.request(number, Request::ReadStamp),
                }
            }
            Reply::Stamp(stamp) if self.flaw == Some(Flaw::ReadsBeforeFencing) => {
                transacting.early = Some(stamp);
                self.request(number, Request::Init(0));
            }
            Reply::Stamp(stamp) => self.taken_over(number, stamp),
            Reply::Begun(transaction) => {
                transacting.begun += 1;
                transacting.open = Some(transaction);
                let streams = producer.streams.len();
                let aborts = std::mem::take(&mut transacting.aborts);
                if aborts {
                    transacting.open = None;
                    self.request(number, Request::Abort(transaction));
                }
                self.report(number, &[(BEGIN, Outcome::Acknowledged)]);
                for stream in 0..streams {
                    self.transmit(number, stream);
                }
            }
            Reply::Done(Request::Abort(_)) => {
                let given_up = producer.purge();
                producer.life = Life::Open;
                (0..producer.streams.len()).for_each(|stream| producer.renumber(stream));
                let uncertain = given_up.iter().map(|message| (message.token, Outcome::Uncertain));
                let reports: Vec<_> = uncertain.chain([(ABORT, Outcome::Acknowledged)]).collect();
                self.report(number, &reports);
            }
            Reply::Done(_) => {
                transacting.committing = false;
                self.report(number, &[(COMMIT, Outcome::Acknowledged)]);
            }
            Reply::Fenced(request) => {
                transacting.committing = false;
                let fenced = Outcome::Refused(PublishFaultKind::Fenced);
                match request {
                    Request::Commit(_) => self.report(number, &[(COMMIT, fenced)]),
                    Request::Begin(_) => self.report(number, &[(BEGIN, fenced)]),
                    Request::Abort(_) => self.report(number, &[(ABORT, fenced)]),
                    Request::Init(_) | Request::ReadStamp => {}
                }
            }
        }
    }

    fn taken_over(&mut self, number: u32, stamp: Option<Stamp>) {
        let producer = &self.broker.producers[number as usize];
        let (relay, incarnation) = (producer.relay, producer.incarnation);
        if self.runs(relay, incarnation) {
            let answer = Answer::TakenOver(Ok((number, stamp)));
            self.agenda.enter(self.now, What::Answer { relay, incarnation, answer });
        }
    }
}
