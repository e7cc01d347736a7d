//! What went wrong, said as what to do now.

use alloc::boxed::Box;
use alloc::string::String;
use core::error::Error;
use core::fmt;
use core::time::Duration;

/// A failure at a boundary: a kind that says what to do now, and a message for people.
///
/// The message is lower-case, without a full stop, and holds no secret and no payload; what lies below it is in
/// [`Error::source`].
#[derive(Debug)]
pub struct Fault<K> {
    kind: K,
    class: Option<&'static str>,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl<K> Fault<K> {
    /// A fault of this kind, with what was tried and what to do about it.
    pub fn new(kind: K, message: impl Into<String>) -> Self {
        Self { kind, class: None, message: message.into(), source: None }
    }

    /// Names what happened by a short name that stays the same between versions, such as `MessageSizeTooLarge`:
    /// people filter parked events by it, and dead letters carry it.
    #[must_use]
    pub fn of_class(mut self, class: &'static str) -> Self {
        self.class = Some(class);
        self
    }

    /// Adds what lies below.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What to do now.
    pub fn kind(&self) -> &K {
        &self.kind
    }

    /// The short name of what happened, if it was given one.
    pub fn class(&self) -> Option<&'static str> {
        self.class
    }

    /// What was tried and what to do about it, without the causes below.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl<K: fmt::Debug> fmt::Display for Fault<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<K: fmt::Debug> Error for Fault<K> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// A store's failure.
pub type StoreFault = Fault<StoreFaultKind>;

/// What to do about a store's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreFaultKind {
    /// The database is away: ask again later, and lose nothing meanwhile.
    Unavailable,
    /// Lost a race against other transactions: ask again at once.
    Contended,
    /// The database asks for less: ask again after this time.
    Throttled(Duration),
    /// The database's history is not the one that marks in memory speak of (a restore, a failover that lost its
    /// tail): throw away what is remembered of all lanes and open them again.
    HistoryLost,
    /// Waiting does not help (no schema, no privilege, a wrong setting): stop and say what the message says.
    Misconfigured,
}

/// A publisher's failure, of a connection or of one message.
pub type PublishFault = Fault<PublishFaultKind>;

/// What to do about a publisher's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishFaultKind {
    /// The broker is away: pause the destination; no attempt counts.
    Unavailable,
    /// The broker asks for less: pause the destination for this time.
    Throttled(Duration),
    /// The broker will not have this message, whenever it comes: park it.
    Rejected,
    /// The broker will not have messages for this topic (unknown, no permission): hold the topic's events, uncounted.
    TopicRefused,
    /// Nobody knows this code: pause; if it comes back for this message sent alone, it is the message's fault.
    Unknown,
    /// Another relay has taken over at the broker: drop the lease and send nothing more.
    Fenced,
    /// Waiting does not help (no such host, a wrong setting): stop and say what the message says.
    Misconfigured,
}
