//! What a relay tells the program it runs in.

use eventferry_core::parked::{Decision, Next, ParkedKey};
use eventferry_core::{Lane, MessageId, Row};

/// Something that happened in a relay, for [`RelayBuilder::listen`](crate::RelayBuilder::listen).
///
/// A happening says what this relay has seen or decided, at once, also where the database has not been told: after a
/// crash the next relay may see and say the same again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happening {
    /// So many events were read from the outbox since the last one of these.
    Read {
        /// How many.
        records: u64,
    },
    /// The broker acknowledged so many events since the last one of these; dead letters do not count.
    Shipped {
        /// How many.
        records: u64,
    },
    /// So many events were parked through no fault of their own: they wait behind an earlier one of their aggregate, or
    /// for a topic that takes nothing.
    ParkedAlong {
        /// How many.
        records: u64,
    },
    /// An event was refused for the first time: it is parked, and the later ones of its aggregate wait behind it.
    Parked {
        /// Which.
        event: EventName,
        /// Why.
        why: Why,
        /// What is to become of it.
        next: Next,
    },
    /// A parked event was tried again and refused again.
    Retried {
        /// Which.
        event: EventName,
        /// Why.
        why: Why,
        /// How many attempts count.
        attempts: u32,
        /// What is to become of it.
        next: Next,
    },
    /// A parked event was shipped after all.
    Released {
        /// Which.
        event: EventName,
    },
    /// An event was given up, and the dead-letter topic acknowledged it.
    Dead {
        /// Which.
        event: EventName,
        /// Why it was refused last.
        why: Why,
        /// How many attempts were counted.
        attempts: u32,
        /// Whether its aggregate waits for a person to release it.
        held: bool,
    },
    /// An event was given up, and its dead letter was refused, or there is no dead-letter topic for it any more: it
    /// stays parked, and is tried again every few seconds.
    DeadLetterRefused {
        /// Which.
        event: EventName,
        /// Why its dead letter was refused.
        why: Why,
    },
    /// A person's decision on a parked event was carried out, or did not fit.
    Decided {
        /// Which event.
        key: ParkedKey,
        /// What was decided.
        decision: Decision,
        /// Whether it was carried out.
        done: bool,
    },
    /// These lanes are now this relay's.
    LanesGained(Vec<Lane>),
    /// These lanes were handed over to others, as intended.
    LanesReleased(Vec<Lane>),
    /// These lanes have another owner.
    LanesLost(Vec<Lane>),
    /// Something does not answer: the relay waits.
    OutageBegan {
        /// What.
        of: Whom,
        /// What it, or the network, said last.
        message: String,
    },
    /// It answers again.
    OutageEnded {
        /// What.
        of: Whom,
    },
    /// This listener was too slow: so many happenings were left out at this place. Counts are never left out.
    Missed {
        /// How many.
        happenings: u64,
    },
}

/// What may be away.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Whom {
    /// The database.
    Store,
    /// The broker.
    Broker,
    /// The broker, for this topic: it does not exist, may not be written, or has no leader.
    Topic(String),
}

/// Why an event was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// See [`Cause::class`](eventferry_core::parked::Cause::class).
    pub class: String,
    /// See [`Cause::message`](eventferry_core::parked::Cause::message).
    pub message: String,
}

/// What people call an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventName {
    /// The topic it was enqueued for.
    pub topic: String,
    /// What kind of thing it is about.
    pub aggregate_type: String,
    /// Which one it is about.
    pub aggregate_id: String,
    /// The message's identity.
    pub message_id: MessageId,
}

impl EventName {
    pub(crate) fn of(row: &impl Row) -> Self {
        Self {
            topic: row.topic().into(),
            aggregate_type: row.aggregate_type().into(),
            aggregate_id: row.aggregate_id().into(),
            message_id: row.message_id(),
        }
    }
}
