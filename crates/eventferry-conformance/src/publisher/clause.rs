//! A clause for publishers.

use std::fmt;
use std::sync::Arc;

use eventferry_core::publisher::{Abilities, Pipeline};

use super::bench::Bench;
use super::clauses::BY_PROMISE;
use super::subject::{Reach, Subject};
use crate::broken::Broken;
use crate::clause::{Ended, in_time};
use crate::erased::Work;

/// One sentence of the contract of publishers, as data.
#[derive(Debug)]
pub struct Clause {
    /// Its name, which never changes: lower-case words joined by hyphens.
    pub id: &'static str,
    /// Which of the ten [`PROMISES`](crate::PROMISES) it belongs to, 1 to 10.
    pub promise: u8,
    /// What holds, in one line.
    pub sentence: &'static str,
    /// What a publisher must be capable of for the clause to say anything about it.
    pub needs: &'static [Need],
    /// Asks a publisher.
    pub(crate) run: for<'a> fn(&'a Bench) -> Work<'a, Result<(), Broken>>,
}

/// Something that a clause needs and not every publisher has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Sends overlap within a domain, and none is written after one that failed.
    Gapless,
    /// Topics have partitions.
    Partitions,
    /// Messages carry the event's time.
    Times,
    /// Messages can travel in transactions.
    Transactions,
    /// The broker can be made to refuse a message.
    Limits,
}

impl Need {
    /// Whether a publisher that declares this has it.
    pub fn is_met(self, declared: &Declared) -> bool {
        let Declared { abilities, reach } = declared;
        match self {
            Self::Gapless => abilities.pipeline == Pipeline::Gapless,
            Self::Partitions => reach.partitions,
            Self::Times => reach.times,
            Self::Transactions => abilities.transactions.is_some(),
            Self::Limits => reach.limits,
        }
    }

    /// Why a clause does not apply to a publisher without it.
    pub fn lacking(self) -> &'static str {
        match self {
            Self::Gapless => "the publisher sends one message at a time",
            Self::Partitions => "the broker has no partitions",
            Self::Times => "messages carry no time",
            Self::Transactions => "the publisher cannot deliver exactly once",
            Self::Limits => "its test cannot make the broker refuse a message",
        }
    }
}

/// What a publisher declares about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// What it declares.
    pub abilities: Abilities,
    /// What its [`Subject`] declares.
    pub reach: Reach,
}

impl Clause {
    /// The first of the clause's needs that a publisher lacks, in words; `None`: the clause applies.
    pub fn lacking(&self, declared: &Declared) -> Option<&'static str> {
        self.needs.iter().find(|need| !need.is_met(declared)).map(|need| need.lacking())
    }

    /// Asks a publisher, on this thread, whether it keeps the clause.
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
    /// The promise's number and the clause's id: `08/dead-letter-is-the-message-and-why`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}/{}", self.promise, self.id)
    }
}

/// Every clause that can be asked of a publisher, in the order of the promises.
pub fn clauses() -> impl Iterator<Item = &'static Clause> {
    BY_PROMISE.iter().copied().flatten()
}
