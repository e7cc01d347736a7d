//! A run: one plan, one database, one broker, several relays, and time that jumps from one happening to the next.
//!
//! | idea | where |
//! |---|---|
//! | applications and their transactions | `writers.rs` |
//! | the engine: performs the core's actions | `engine.rs` |
//! | calls of the store, which take time and may fail | `calls.rs`, `reading.rs` |
//! | batches and answers on the wire | `wire.rs` |
//! | transactions of the broker's | `transactions.rs` |
//! | parked events: due again, decided upon | `parking.rs` |
//! | the doorbell | `bell.rs` |
//! | what goes wrong, and its repair | `weather.rs` |
//! | what people outside see | `witness.rs` |

mod bell;
mod calls;
mod engine;
mod parking;
mod reading;
mod transactions;
mod weather;
mod wire;
mod witness;
mod writers;

use std::fmt::Write as _;

use bell::Bell;
pub(crate) use bell::Sleeper;
pub(crate) use calls::{Answer, Statement};
pub(crate) use transactions::Transacting;
use transactions::{Reply, Request};
use writers::Writer;

use crate::agenda::{Agenda, MILLISECOND, SECOND, Time};
use crate::broker::{Broker, Wire};
use crate::checks::Broken;
use crate::database::Database;
use crate::dice::Dice;
use crate::flaw::Flaw;
use crate::plan::Plan;
use crate::relay::Relay;
use crate::tally::Tally;
use crate::truth::{Incident, Truth};
use calls::Weather;

/// What can happen at a time.
#[derive(Debug)]
pub(crate) enum What {
    /// A relay's process starts, under this name.
    Start {
        relay: usize,
        name: usize,
    },
    /// A relay's core is looked at.
    Wake {
        relay: usize,
        incarnation: u32,
    },
    /// A statement reaches the database.
    Statement(Box<Statement>),
    /// A relay hears of a call.
    Answer {
        relay: usize,
        incarnation: u32,
        answer: Answer,
    },
    Sweep {
        relay: usize,
        incarnation: u32,
    },
    /// A batch has waited to be filled.
    Linger {
        producer: u32,
        stream: usize,
    },
    Arrive(Wire),
    Response {
        producer: u32,
        connection: u32,
        stream: usize,
        sequence: u32,
        epoch: u16,
        answer: wire::Written,
    },
    ConnectionLost {
        producer: u32,
        connection: u32,
    },
    Reconnect {
        producer: u32,
        connection: u32,
    },
    /// An ended session's reports have been waited for.
    GiveUp {
        producer: u32,
    },
    /// A session's request reaches the coordinator of transactions.
    Coordinate {
        producer: u32,
        request: Request,
    },
    /// A session hears of it.
    Coordinated {
        producer: u32,
        reply: Reply,
    },
    /// A partition hears of a transaction's end.
    Mark {
        transaction: usize,
        domain: usize,
    },
    /// A transaction may have been open for too long.
    TimeOut {
        transaction: usize,
    },
    /// A relay asks for the doorbell's lock.
    LieDown(Sleeper),
    /// An application takes the next step of a transaction.
    Step(u32),
    /// The database writes its log to disk, as it does now and then.
    WriteLog,
    Fault(usize),
    Repair(usize),
    Thaw {
        relay: usize,
        incarnation: u32,
    },
    /// A person decides on parked events.
    Decree(usize),
    /// Looks whether everything has come to rest.
    Look,
}

pub(crate) struct World {
    pub(crate) now: Time,
    agenda: Agenda<What>,
    plan: Plan,
    flaw: Option<Flaw>,
    pub(crate) truth: Truth,
    database: Database,
    broker: Broker,
    bell: Bell,
    relays: Vec<Relay>,
    names: usize,
    /// How who starts now delivers.
    exactly_once: bool,
    incarnations: u32,
    /// Settlements are numbered as they are first called.
    calls: u64,
    /// Since when there has always been a relay.
    manned_since: Time,
    /// Until when each name's lease runs, as the database told it.
    leases: Vec<Time>,
    writers: Vec<Writer>,
    /// Which transaction has locked each aggregate's row.
    row_locks: Vec<Option<u32>>,
    weather: Weather,
    dice: Dice,
    wire_dice: Dice,
    calm_from: Time,
    at_rest_since: Option<Time>,
    over: bool,
    pub(crate) broken: Option<Broken>,
    pub(crate) tally: Tally,
    trace: Option<String>,
}

/// How long a run may take to come to rest once nothing goes wrong any more.
const REST_WITHIN: Time = 60 * SECOND;

/// More happenings than any run has: something spins.
const HAPPENINGS_MAX: u64 = 2_000_000;

impl World {
    pub(crate) fn new(plan: Plan, flaw: Option<Flaw>, traces: bool) -> Self {
        let (_, always_exactly_once) = plan.exactly_once_ever();
        let mut truth = Truth::new(plan.aggregates);
        truth.incidents = plan
            .faults
            .iter()
            // Exactly once has no excuse but that the database forgot.
            .filter(|fault| !always_exactly_once || fault.kind.rewinds())
            .filter_map(|fault| {
                let (aftermath, repeats) = fault.kind.aftermath()?;
                let until = fault.at + fault.kind.lasts() + aftermath;
                Some(Incident { from: fault.at, until, repeats })
            })
            .collect();
        let topics: Vec<u16> = plan.partitions.iter().copied().chain([plan.letter_partitions]).collect();
        let mut world = Self {
            now: 0,
            agenda: Agenda::new(),
            flaw,
            truth,
            database: Database::new(plan.lanes, plan.anchor_ids, flaw),
            broker: Broker::new(&topics, flaw == Some(Flaw::FencesNobody)),
            bell: Bell::default(),
            relays: Vec::new(),
            names: plan.relays,
            exactly_once: plan.exactly_once,
            incarnations: 0,
            calls: 0,
            manned_since: 0,
            leases: Vec::new(),
            writers: plan.transactions.iter().map(|_| Writer::default()).collect(),
            row_locks: vec![None; usize::from(plan.aggregates)],
            weather: Weather::default(),
            dice: Dice::new(plan.seed, 10),
            wire_dice: Dice::new(plan.seed, 11),
            calm_from: plan.calm_from(),
            at_rest_since: None,
            over: false,
            broken: None,
            tally: Tally::default(),
            trace: traces.then(String::new),
            plan,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for relay in 0..self.plan.relays {
            let at = self.dice.below(300) * MILLISECOND;
            self.agenda.enter(at, What::Start { relay, name: relay });
        }
        for (number, transaction) in self.plan.transactions.iter().enumerate() {
            self.agenda.enter(transaction.at, What::Step(number as u32));
        }
        for (number, fault) in self.plan.faults.iter().enumerate() {
            self.agenda.enter(fault.at, What::Fault(number));
        }
        for (number, decree) in self.plan.decrees.iter().enumerate() {
            self.agenda.enter(decree.at, What::Decree(number));
        }
        self.agenda.enter(200 * MILLISECOND, What::WriteLog);
        self.agenda.enter(self.calm_from, What::Look);
    }

    /// Lets everything happen.
    pub(crate) fn run(&mut self) {
        while let Some((at, what)) = self.agenda.next() {
            self.now = at;
            self.tally.happenings += 1;
            if self.tally.happenings > HAPPENINGS_MAX {
                self.breaks(2, || "it spins: too much happens and nothing comes to rest".to_owned());
            }
            if self.over || self.broken.is_some() {
                break;
            }
            self.happen(what);
        }
        self.tally.add_events(&self.truth);
        self.tally.virtual_us += self.now;
    }

    fn happen(&mut self, what: What) {
        let Some(what) = self.unless_frozen(what) else { return };
        match what {
            What::Start { relay, name } => self.start(relay, name),
            What::Wake { relay, incarnation } => {
                // One that was entered before an earlier one is stale.
                if self.runs(relay, incarnation) && self.relays[relay].wake_at <= self.now {
                    self.relays[relay].wake_at = Time::MAX;
                    if self.relays[relay].bed.is_some() && self.has(Flaw::SleepsUntilRung) {
                        return;
                    }
                    self.act(relay);
                }
            }
            What::Statement(statement) => self.execute(statement),
            What::Answer { relay, incarnation, answer } => {
                if self.runs(relay, incarnation) {
                    self.answered(relay, answer);
                    self.act(relay);
                }
            }
            What::Sweep { relay, incarnation } => self.sweep(relay, incarnation),
            What::Linger { producer, stream } => self.linger_over(producer, stream),
            What::Arrive(wire) => self.arrive(wire),
            What::Response { producer, connection, stream, sequence, epoch, answer } => {
                if self.broker.producers[producer as usize].connection == connection {
                    self.respond(producer, stream, (sequence, epoch), answer);
                }
            }
            What::ConnectionLost { producer, connection } => self.connection_lost(producer, connection),
            What::Reconnect { producer, connection } => self.reconnect(producer, connection),
            What::GiveUp { producer } => self.give_up(producer),
            What::Coordinate { producer, request } => self.coordinate(producer, request),
            What::Coordinated { producer, reply } => self.coordinated(producer, reply),
            What::Mark { transaction, domain } => self.mark(transaction, domain),
            What::TimeOut { transaction } => self.time_out_transaction(transaction),
            What::LieDown(sleeper) => self.try_to_lie_down(sleeper),
            What::Step(writer) => self.step(writer),
            What::WriteLog => {
                self.flushed(|books| books.flush());
                self.agenda.enter(self.now + 200 * MILLISECOND, What::WriteLog);
            }
            What::Fault(number) => self.fault(number),
            What::Repair(number) => self.repair(number),
            What::Thaw { relay, incarnation } => self.thaw(relay, incarnation),
            What::Decree(number) => self.decree(number),
            What::Look => self.look(),
        }
    }

    /// Keeps for later what a frozen relay's process would notice now.
    fn unless_frozen(&mut self, what: What) -> Option<What> {
        let producer_of = |producer: &u32| {
            let producer = &self.broker.producers[*producer as usize];
            (producer.relay, producer.incarnation)
        };
        let (relay, incarnation) = match &what {
            What::Wake { relay, incarnation }
            | What::Answer { relay, incarnation, .. }
            | What::Sweep { relay, incarnation } => (*relay, *incarnation),
            What::Linger { producer, .. }
            | What::Response { producer, .. }
            | What::ConnectionLost { producer, .. }
            | What::Reconnect { producer, .. }
            | What::Coordinated { producer, .. }
            | What::GiveUp { producer } => producer_of(producer),
            _ => return Some(what),
        };
        if self.runs(relay, incarnation) && self.relays[relay].frozen {
            self.relays[relay].inbox.push(what);
            return None;
        }
        Some(what)
    }

    fn runs(&self, relay: usize, incarnation: u32) -> bool {
        self.relays.get(relay).is_some_and(|one| one.up && one.incarnation == incarnation)
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Notes that a promise is broken, the first time.
    fn breaks(&mut self, promise: u8, what: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some(Broken { promise, what: what(), at_us: self.now });
            let broken = self.broken.clone();
            self.note(|| broken.map(|broken| broken.to_string()).unwrap_or_default());
        }
    }

    fn check(&mut self, promise: u8, found: Option<String>) {
        if let Some(what) = found {
            self.breaks(promise, || what);
        }
    }

    /// Adds a line to the trace, if one is kept.
    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let (seconds, rest) = (self.now / SECOND, self.now % SECOND);
            // Writing to a string does not fail.
            let _ = writeln!(trace, "{seconds:>3}.{rest:06}  {}", line());
        }
    }

    pub(crate) fn trace(self) -> String {
        self.trace.unwrap_or_default()
    }
}
