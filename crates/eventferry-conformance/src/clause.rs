//! A clause: one sentence of the contract and the function that asks a back end whether it keeps it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use eventferry_core::store::{Capabilities, Keeps, Ownership, Stall};

use crate::bench::Bench;
use crate::broken::Broken;
use crate::clauses::BY_PROMISE;
use crate::erased::Work;
use crate::pause::within;
use crate::subject::{Reach, Subject, Writers};

/// One sentence of the contract, as data.
#[derive(Debug)]
pub struct Clause {
    /// Its name, which never changes: lower-case words joined by hyphens.
    pub id: &'static str,
    /// Which of the ten [`PROMISES`] it belongs to, 1 to 10.
    pub promise: u8,
    /// What holds, in one line.
    pub sentence: &'static str,
    /// What a back end must be capable of for the clause to say anything about it.
    pub needs: &'static [Need],
    /// Asks a back end.
    pub(crate) run: for<'a> fn(&'a Bench) -> Work<'a, Result<(), Broken>>,
}

/// A promise that clauses belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// 1 to 10.
    pub number: u8,
    /// One word or two.
    pub name: &'static str,
    /// What is promised.
    pub sentence: &'static str,
}

/// The ten promises of eventferry, in order.
pub const PROMISES: [Promise; 10] = [
    Promise {
        number: 1,
        name: "Atomic",
        sentence: "An event exists if and only if the transaction that enqueued it commits.",
    },
    Promise {
        number: 2,
        name: "Nothing lost",
        sentence: "Each committed event is carried on, whatever crashes, and every byte of it.",
    },
    Promise {
        number: 3,
        name: "Order",
        sentence: "An aggregate's events are read, and arrive, in the order of their enqueueing or visible commits.",
    },
    Promise {
        number: 4,
        name: "Few duplicates",
        sentence: "What is settled is not read again, and what is refused is not there.",
    },
    Promise {
        number: 5,
        name: "Fencing",
        sentence: "A relay that lost a lease can move nothing, and a session that has ended sends nothing.",
    },
    Promise {
        number: 6,
        name: "Isolation",
        sentence: "One event, aggregate, lane or transaction delays nothing but itself.",
    },
    Promise {
        number: 7,
        name: "An outage is not a failure",
        sentence: "What passes is waited out, what does not is said, and the figures tell which.",
    },
    Promise {
        number: 8,
        name: "Dead letters are durable",
        sentence: "A parked event stays, visible, until it is carried, discarded, or a dead letter with its reason.",
    },
    Promise { number: 9, name: "Bounded memory", sentence: "However much there is, it comes in pieces." },
    Promise {
        number: 10,
        name: "Enqueue never waits for relays",
        sentence: "Whatever relays do or fail to do, an application can enqueue.",
    },
];

/// Something that a clause needs and not every back end has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Savepoints inside a transaction.
    Savepoints,
    /// Transactions that overlap.
    ManyWriters,
    /// Others' events can be read while a slow transaction is open.
    NoStall,
    /// A slow transaction holds others' events back.
    Stall,
    /// Settled events stay until retention.
    Log,
    /// Lanes are leased one by one.
    LaneByLane,
    /// The store rings for what is enqueued.
    Doorbell,
    /// Events lie in a table of the store's.
    InTable,
    /// The store writes down what is settled with a transaction of the broker's.
    Intents,
    /// The back end's test can take positions back.
    Rewind,
    /// The back end's test can read the audit table.
    Audit,
}

impl Need {
    /// Whether a back end that declares this has it.
    pub fn is_met(self, declared: &Declared) -> bool {
        let Declared { capabilities, writers, reach } = declared;
        match self {
            Self::Savepoints => capabilities.savepoints,
            Self::ManyWriters => *writers == Writers::Many,
            Self::NoStall => capabilities.stall == Stall::None,
            Self::Stall => capabilities.stall == Stall::SlowestTransaction,
            Self::Log => capabilities.keeps == Keeps::Log,
            Self::LaneByLane => capabilities.ownership == Ownership::PerLane,
            Self::Doorbell => capabilities.doorbell,
            Self::InTable => capabilities.in_table,
            Self::Intents => capabilities.intents,
            Self::Rewind => reach.rewinds,
            Self::Audit => reach.audits,
        }
    }

    /// Why a clause does not apply to a back end without it.
    pub fn lacking(self) -> &'static str {
        match self {
            Self::Savepoints => "the database has no savepoints",
            Self::ManyWriters => "the database lets one transaction write at a time",
            Self::NoStall => "the store holds events back until the slowest open transaction ends",
            Self::Stall => "the store holds no events back",
            Self::Log => "the store deletes events when they are settled",
            Self::LaneByLane => "the store leases all lanes at once",
            Self::Doorbell => "the store has no doorbell",
            Self::InTable => "events are in no table, to be counted or swept",
            Self::Intents => "the store cannot deliver exactly once",
            Self::Rewind => "positions of this database are never taken back",
            Self::Audit => "its test does not read the audit table",
        }
    }
}

/// What a back end declares about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// What its store declares.
    pub capabilities: Capabilities,
    /// What its [`Subject`] declares.
    pub writers: Writers,
    /// What its [`Subject`] can do beside.
    pub reach: Reach,
}

/// How a clause that was not broken ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The back end keeps it.
    Kept,
    /// It says nothing about this back end, for this reason.
    NotApplicable(&'static str),
}

/// How long a clause may take in all: a back end that hangs breaks it.
const CLAUSE_TIME_MAX: Duration = Duration::from_secs(120);

/// Asks, within that time.
pub(crate) async fn in_time(asked: impl Future<Output = Result<Ended, Broken>>) -> Result<Ended, Broken> {
    let late = || Err(Broken::new(format!("not done after {CLAUSE_TIME_MAX:?}")));
    within(CLAUSE_TIME_MAX, Box::pin(asked)).await.unwrap_or_else(late)
}

impl Clause {
    /// The first of the clause's needs that a back end lacks, in words; `None`: the clause applies.
    pub fn lacking(&self, declared: &Declared) -> Option<&'static str> {
        self.needs.iter().find(|need| !need.is_met(declared)).map(|need| need.lacking())
    }

    /// Asks a back end, on a fresh outbox and on this thread, whether it keeps the clause.
    ///
    /// # Errors
    /// It does not: what was expected, what came, and when.
    pub fn ask<S: Subject>(&self, subject: &Arc<S>) -> Result<Ended, Broken> {
        subject.block_on(async {
            in_time(async {
                let bench = Bench::make(subject).await?;
                if let Some(reason) = self.lacking(bench.declared()) {
                    return Ok(Ended::NotApplicable(reason));
                }
                (self.run)(&bench).await.map(|()| Ended::Kept)
            })
            .await
        })
    }
}

impl fmt::Display for Clause {
    /// The promise's number and the clause's id: `05/old-epoch-is-fenced`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}/{}", self.promise, self.id)
    }
}

/// Every clause that can be asked of a store, in the order of the promises.
pub fn clauses() -> impl Iterator<Item = &'static Clause> {
    BY_PROMISE.iter().copied().flatten()
}
