//! Parked events: how they get into the ledger, what becomes of them there, and how people decide on them.
//!
//! A parked event is a full copy, so that its lane's position and retention go on without it. The ledger is what
//! drives its retries: it knows which are due, by its own clock, and hands them over again as the feed does with the
//! log. So nothing of a retry is only in memory, a crash needs no repair, and any number of them fits.
//!
//! | stage | waits for | leaves it by |
//! |---|---|---|
//! | [`Stage::Topic`] | its time, and the earlier ones of its aggregate | [`Change::Settled`], [`Change::Refused`] |
//! | [`Stage::DeadLetterTopic`] | its time; its own topic never sees it again | [`Change::Settled`], [`Change::Held`] |
//! | [`Stage::Waiting`] | a person, who retries or discards it | [`Change::Retried`], [`Change::Settled`] |
//! | [`Stage::Held`] | a person, who releases its aggregate | [`Change::Settled`] |

use alloc::string::String;
use alloc::vec::Vec;
use core::future::Future;
use core::time::Duration;

use crate::event::MessageId;
use crate::fault::StoreFault;
use crate::lane::Lane;
use crate::record::{Row, Timestamp};

/// An event to park: a full copy is kept, so that its lane's position and retention go on.
#[derive(Debug)]
pub struct Park<'a, M, R> {
    /// Its place in the lane.
    pub mark: &'a M,
    /// Its columns, for a store that has no log to copy them from.
    pub row: &'a R,
    /// Why.
    pub reason: ParkReason<'a>,
}

/// Why an event is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParkReason<'a> {
    /// It was refused, for the first time: one attempt counts.
    Refused {
        /// By what.
        cause: Cause<'a>,
        /// What is to become of it.
        next: Next,
    },
    /// Its topic takes nothing (it does not exist, or may not be written): no attempt counts, and it is due again at
    /// once, for a relay that does not leave its topic out.
    TopicHeld(Cause<'a>),
    /// An earlier event of its aggregate is parked: no attempt counts, and it is due with that one.
    Behind,
}

/// Why an event was refused, in two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause<'a> {
    /// A short name that stays the same between versions, such as `MessageSizeTooLarge`: what people filter by.
    pub class: &'a str,
    /// The words of whoever refused it: for people; at most [`CAUSE_MESSAGE_CHARS_MAX`] characters are kept.
    pub message: &'a str,
}

/// A store keeps at least this many characters of a cause's message and may cut the rest.
pub const CAUSE_MESSAGE_CHARS_MAX: usize = 1_000;

/// What is to become of a refused event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is due again after this time, by the ledger's clock.
    Retry(Duration),
    /// Its attempts are used up and there is no dead-letter topic: it stays until a person decides.
    Wait,
    /// It is given up: it never goes to its own topic again and is due at once for the dead-letter topic.
    Die,
}

/// What became of one parked event.
///
/// A change names what holds afterwards, not a difference, so telling it twice changes nothing. A change of an event
/// that is settled, or not there, changes nothing either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// It was sent again and refused again.
    Refused {
        /// By what.
        cause: Cause<'a>,
        /// How many attempts count now. With fewer than are known the refusal comes late, and changes nothing.
        attempts: u32,
        /// What is to become of it.
        next: Next,
    },
    /// It could not be tried, through no fault of its own: it is due again after this time, with the same attempts.
    Postponed(Duration),
    /// A person's [`Decision::Retry`] is carried out: it is due at once, in [`Stage::Topic`], with no attempt counted.
    Retried,
    /// The dead-letter topic acknowledged it, and its aggregate is held: it goes on when a person releases it.
    Held,
    /// It is settled: nothing waits for it any more.
    Settled(End),
    /// A person's decision does not fit the event any more: the decision goes, the event stays as it is.
    DecisionRefused,
}

/// How a parked event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// Its topic acknowledged it.
    Shipped,
    /// The dead-letter topic acknowledged it.
    DeadLettered,
    /// A person discarded it.
    Discarded,
}

/// A parked event's place in the list of parked events: lane, then the order of parking in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParkedKey {
    /// Its lane.
    pub lane: Lane,
    /// Grows along the lane. Of one aggregate, it grows along the aggregate's order.
    pub ordinal: i64,
}

/// Where an unsettled parked event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It goes to its topic when it is due.
    Topic,
    /// It was given up and goes to the dead-letter topic when it is due.
    DeadLetterTopic,
    /// It waits for a person to retry or discard it.
    Waiting,
    /// It is in the dead-letter topic, and its aggregate waits for a person to release it.
    Held,
}

/// Which parked events to list.
#[derive(Clone, Copy, Debug)]
pub struct ParkedAsk<'a> {
    /// Of which lanes.
    pub lanes: &'a [Lane],
    /// After which one, in the order of the list; `None`: from the first.
    pub after: Option<ParkedKey>,
    /// At most how many.
    pub limit: u32,
}

/// Some parked events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedPage {
    /// In ascending order of their keys.
    pub events: Vec<ParkedEvent>,
    /// Whether there are more after the last of them.
    pub more: bool,
}

/// A parked event as a relay must know it that has just opened its lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedEvent {
    /// Its place in the list.
    pub key: ParkedKey,
    /// What kind of thing it is about.
    pub aggregate_type: String,
    /// Which one it is about.
    pub aggregate_id: String,
    /// About how many bytes its copy takes; see [`Row::size_bytes`].
    pub size_bytes: u64,
}

/// Which parked events to hand over again.
#[derive(Clone, Copy, Debug)]
pub struct DueAsk<'a> {
    /// Of which lanes, in ascending order.
    pub lanes: &'a [Lane],
    /// Events for these topics are not due now, nor is what waits behind them; those given up, which go to the
    /// dead-letter topic, are.
    pub except_topics: &'a [&'a str],
    /// After which one, in the order of keys. Those up to it count as not due, so nothing of their aggregates comes:
    /// one of them may have fallen due since it was passed over, and what waits behind it must not come without it.
    pub after: Option<ParkedKey>,
    /// The most events to hand over.
    pub records_max: u32,
    /// The most bytes to hand over, by [`Row::size_bytes`]; a single larger event still comes, alone.
    pub bytes_max: u64,
}

/// Parked events whose time has come.
#[derive(Clone, Debug)]
pub struct DuePage<R> {
    /// In ascending order of their keys.
    ///
    /// An event comes when it is due itself and so are all earlier unsettled ones of its aggregate. In
    /// [`Stage::Topic`] and [`Stage::DeadLetterTopic`] an event is due at its time; in the others, and while a person's
    /// decision on it is not carried out, it is not.
    pub events: Vec<DueEvent<R>>,
    /// Decisions on events of these lanes that are to be carried out, in ascending order of keys, at most as many as
    /// `records_max`, whatever `after` says.
    pub decisions: Vec<Decided>,
    /// Whether more events are due after the last of them.
    pub more: bool,
    /// In how long the next one falls due that is not yet, for topics that are not left out; `None`: none will by
    /// itself.
    pub next_in: Option<Duration>,
}

/// A parked event whose time has come.
#[derive(Clone, Debug)]
pub struct DueEvent<R> {
    /// Its place in the list.
    pub key: ParkedKey,
    /// What was enqueued.
    pub row: R,
    /// How many attempts count.
    pub attempts: u32,
    /// Why it is to be carried to the dead-letter topic; `None`: it goes to its own.
    pub death: Option<Death>,
}

/// Why an event was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The class of the last refusal; see [`Cause::class`].
    pub class: String,
    /// The words of the last refusal.
    pub message: String,
    /// When it was refused last, by the ledger's clock.
    pub failed_at: Timestamp,
}

/// A person's decision on a parked event that is to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// On which event.
    pub key: ParkedKey,
    /// What kind of thing that event is about.
    pub aggregate_type: String,
    /// Which one it is about.
    pub aggregate_id: String,
    /// What was decided.
    pub decision: Decision,
    /// Where the event stands.
    pub stage: Stage,
}

/// What a person decides on a parked event.
///
/// A decision is a wish on the event's row. The owner of its lane carries it out, when nothing of that event is in
/// flight; until then it cannot be replaced by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// Try it again now, with its attempts counted from the beginning: in [`Stage::Topic`], once it was refused or
    /// its topic held, and in [`Stage::Waiting`].
    Retry,
    /// Let it go without being shipped: in every stage but [`Stage::Held`].
    Discard,
    /// Let its aggregate go on: in [`Stage::Held`].
    Release,
}

impl Decision {
    /// Whether it fits an event in this stage.
    pub fn fits(self, stage: Stage) -> bool {
        match self {
            Self::Retry => matches!(stage, Stage::Topic | Stage::Waiting),
            Self::Discard => stage != Stage::Held,
            Self::Release => stage == Stage::Held,
        }
    }
}

/// What people see of parked events, and what they decide. Used by tools, not by relays.
pub trait Desk: Send + 'static {
    /// See [`Store::Row`](crate::store::Store::Row).
    type Row: Row + 'static;

    /// Shows unsettled parked events that match, in ascending order of keys.
    ///
    /// # Errors
    /// `Unavailable`, `Contended`: ask again.
    fn show(
        &mut self,
        ask: ShowAsk<'_>,
    ) -> impl Future<Output = Result<ShownPage<Self::Row>, StoreFault>> + Send;

    /// Writes a decision onto every unsettled parked event that matches and that it fits, and a line for each into the
    /// audit table, in one transaction. Owners carry it out.
    ///
    /// # Errors
    /// `Unavailable`, `Contended`: it may have happened; asking again counts those as undecidable.
    fn decide(
        &mut self,
        filter: &ParkedFilter,
        decision: Decision,
        act: &Act,
    ) -> impl Future<Output = Result<Decisions, StoreFault>> + Send;

    /// Writes a line into the audit table that is about no single parked event, such as a replay of dead letters.
    ///
    /// # Errors
    /// `Unavailable`, `Contended`: it may have happened.
    fn record(&mut self, what: &str, act: &Act) -> impl Future<Output = Result<(), StoreFault>> + Send;
}

/// Which parked events a person means: those that match every part that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParkedFilter {
    /// One of these messages; empty: any.
    pub message_ids: Vec<MessageId>,
    /// Of this aggregate type.
    pub aggregate_type: Option<String>,
    /// Of this aggregate id.
    pub aggregate_id: Option<String>,
    /// For this topic.
    pub topic: Option<String>,
    /// Whose cause has this class, in any case, or holds this text in its message, in any case.
    pub reason: Option<String>,
    /// In this stage.
    pub stage: Option<Stage>,
    /// Parked at least this long ago.
    pub parked_for: Option<Duration>,
}

/// Which parked events to show.
#[derive(Clone, Copy, Debug)]
pub struct ShowAsk<'a> {
    /// Those that match this.
    pub filter: &'a ParkedFilter,
    /// After which one; `None`: from the first.
    pub after: Option<ParkedKey>,
    /// At most how many.
    pub records_max: u32,
    /// At most how many bytes, by [`Row::size_bytes`]; a single larger event still comes, alone.
    pub bytes_max: u64,
}

/// Some parked events, for people.
#[derive(Clone, Debug)]
pub struct ShownPage<R> {
    /// In ascending order of their keys.
    pub events: Vec<ShownEvent<R>>,
    /// Whether there are more after the last of them.
    pub more: bool,
}

/// A parked event, for people.
#[derive(Clone, Debug)]
pub struct ShownEvent<R> {
    /// Its place in the list.
    pub key: ParkedKey,
    /// What was enqueued.
    pub row: R,
    /// Where it stands.
    pub stage: Stage,
    /// How many attempts count.
    pub attempts: u32,
    /// The class of the last refusal; `None`: it only waits behind an earlier one of its aggregate.
    pub class: Option<String>,
    /// The words of the last refusal.
    pub message: Option<String>,
    /// Since when it is parked.
    pub parked_at: Timestamp,
    /// When it is due; `None`: with the earlier ones of its aggregate, or never by itself.
    pub due_at: Option<Timestamp>,
    /// What a person decided and no relay has carried out.
    pub decision: Option<Decision>,
}

/// What a decision was written onto.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// Events that have it now.
    pub taken: u64,
    /// Events that match and that it does not fit, or that have a decision already.
    pub refused: u64,
}

/// Who acts, and why: what the audit table keeps beside when and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Who: a name that people know; 1 to 200 characters.
    pub who: String,
    /// Why, in that person's words; at most 1,000 characters, may be empty.
    pub why: String,
}
