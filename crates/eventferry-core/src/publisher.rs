//! The contract of publishers: what a relay asks of a broker.
//!
//! A publisher is a factory: it learns topics, routes envelopes and opens sessions. A [`Session`] sends, reports and
//! ends; whatever was in flight when it ends is answered for, message by message.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::future::Future;
use core::num::NonZeroU32;
use core::time::Duration;

use crate::envelope::Envelope;
use crate::fault::PublishFault;
use crate::transaction::{OutboxId, Stamp};

/// A broker to publish to.
pub trait Publisher: Send + Sync + 'static {
    /// See [`Session`].
    type Session: Session;

    /// What this publisher can do; constant.
    fn abilities(&self) -> Abilities;

    /// Opens a session. A session that ended is replaced by a new one through this.
    ///
    /// # Errors
    /// `Unavailable`: the broker is away; ask again later. `Misconfigured`: waiting does not help.
    fn connect(&self, role: Role) -> impl Future<Output = Result<Self::Session, PublishFault>> + Send;

    /// Opens a session whose messages travel in transactions, in the place of all that were ever opened for this
    /// outbox: when it is open, none of those can commit anything any more, what they had committed can be read, and
    /// the rest is thrown away. Answers with the stamp of the transaction committed last.
    ///
    /// Who calls: a relay that holds all lanes and delivers exactly once, if [`Abilities::transactions`] says that it
    /// can; before it reads anything. Such a session is the only one of its relay, for both roles.
    ///
    /// # Errors
    /// As those of [`Publisher::connect`].
    fn take_over(
        &self,
        outbox: &OutboxId,
    ) -> impl Future<Output = Result<(Self::Session, Option<Stamp>), PublishFault>> + Send;

    /// Learns what [`Publisher::route`] must know of a topic: called before the first envelope for it, and again
    /// after [`Route::Unknown`] or a refusal of the topic.
    ///
    /// # Errors
    /// `TopicRefused`: no such topic, or no permission; its events wait. `Unavailable`: ask again later.
    fn learn(&self, topic: &str) -> impl Future<Output = Result<(), PublishFault>> + Send;

    /// Fixes where an envelope goes, before it is decided whether it may be sent. Cheap: no I/O.
    fn route(&self, envelope: &Envelope<'_>) -> Route;
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The stream of events.
    Main,
    /// Events that were refused, and what stands in their topics, each by itself: a refusal of a message says
    /// nothing of any other.
    Alone,
}

/// Where an envelope goes.
#[derive(Debug)]
pub enum Route {
    /// Into this order domain.
    To(Domain),
    /// Nowhere, for this reason (a payload over the topic's limit): park it without producing.
    Refused(Box<PublishFault>),
    /// Its topic must be learned first.
    Unknown,
}

/// An order domain: within one and one session, the broker keeps the order of sending. Named by the publisher, only
/// compared by the core. For Kafka: topic and partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(pub u64);

/// A message in the relay's hands, as its session knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A connection to a broker that sends and reports.
pub trait Session: Send + 'static {
    /// Hands a message over for the domain that [`Publisher::route`] named, without waiting. What was taken is
    /// reported exactly once, by [`Session::reports`] or by [`Session::abandon`].
    fn send(&mut self, token: Token, domain: Domain, envelope: &Envelope<'_>) -> Taken;

    /// Begins a transaction, in which everything travels that is sent until the next is begun; only for sessions opened
    /// by [`Publisher::take_over`]. Everything sent before has been acknowledged, and at most one transaction before it
    /// is not committed yet. It carries its stamp, for the next session to take over.
    ///
    /// Reported as a message's fate is, under this token: `Acknowledged` when the broker has begun it, and then all
    /// transactions of this session can be read that were begun [`Abilities::transactions`] before it or earlier.
    fn begin(&mut self, token: Token, stamp: Stamp) -> Taken;

    /// Commits the earliest transaction that is not committed; everything in it has been acknowledged.
    ///
    /// Reported under this token: `Acknowledged` when it is committed, `Refused` when it is not and never will be,
    /// `Uncertain` when it may be.
    fn commit(&mut self, token: Token);

    /// Throws away the transaction begun last, because a record of it was refused; the one before it is committed. The
    /// next may be begun when this is reported.
    ///
    /// What of it has not been reported is, as anything but `Acknowledged`; then the end, under this token:
    /// `Acknowledged` when nobody will ever read anything of it, anything else when that is not so: the session is to
    /// be abandoned.
    fn abort(&mut self, token: Token);

    /// Waits until there is something to report and adds it to `into`. Dropping the future loses no report.
    ///
    /// After any outcome but `Acknowledged` a pipelining session takes nothing more; the relay abandons it. It abandons
    /// one that adds nothing, too: so a session says that it has ended by itself, also while nothing is in flight.
    fn reports(&mut self, into: &mut Vec<Report>) -> impl Future<Output = ()> + Send;

    /// Ends the session: waits up to `within` for the reports of what is in flight, gives up the rest, and answers
    /// for every message not yet reported. After it returns, nothing more of this session reaches the broker, save
    /// what the broker had received already.
    fn abandon(self, within: Duration) -> impl Future<Output = Vec<Report>> + Send;
}

/// Whether a session took a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It did, and will report.
    Yes,
    /// It is full: offer the message again after a report.
    Full,
    /// It has ended: abandon it.
    Ended,
}

/// What became of a message.
#[derive(Debug)]
pub struct Report {
    /// Which message.
    pub token: Token,
    /// What became of it.
    pub outcome: Outcome,
}

/// The three outcomes of a send.
#[derive(Debug)]
pub enum Outcome {
    /// The broker has it, as durably as the publisher's abilities say.
    Acknowledged,
    /// The broker does not have it and said why.
    Refused(Box<PublishFault>),
    /// The broker may or may not have it.
    Uncertain,
}

/// What a publisher can do, as declared by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// How sends may overlap.
    pub pipeline: Pipeline,
    /// Whether a session's first message in each domain must be acknowledged before a second is sent, and the first
    /// after this long a silence again: until then the broker would accept a gap.
    pub first_alone: Option<Duration>,
    /// Whether a refusal speaks of one message or of all that travelled with it.
    pub refusal: Refusal,
    /// Whether an acknowledged message survives the crash of a broker.
    pub durable_ack: bool,
    /// Whether it can deliver exactly once, by [`Publisher::take_over`], and how many transactions later it is known
    /// that one can be read everywhere: its end is answered before every partition knows.
    pub transactions: Option<NonZeroU32>,
}

/// How sends of one aggregate may overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pipeline {
    /// Freely within a domain: if one fails, none after it is written.
    Gapless,
    /// Not at all: the next goes when the one before is acknowledged.
    OneAtATime,
}

/// Of what a refusal speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Of the message it names.
    PerRecord,
    /// Of the batch in which that message travelled: try it alone before believing it.
    PerBatch,
}
