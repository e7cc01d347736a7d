//! The contract of publishers: what a relay asks of a broker.
//!
//! A publisher is a factory: it learns topics, routes envelopes and opens sessions. A [`Session`] sends, reports and
//! ends; whatever was in flight when it ends is answered for, message by message.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::future::Future;
use core::time::Duration;

use crate::envelope::Envelope;
use crate::fault::PublishFault;

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

    /// Waits until there is something to report and adds it to `into`. Dropping the future loses no report.
    ///
    /// After any outcome but `Acknowledged` a pipelining session takes nothing more; the relay abandons it.
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
