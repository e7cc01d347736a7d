//! What really happened: each event, and what people outside have seen of it.

use eventferry_core::parked::End;

use crate::agenda::Time;

/// How the broker takes an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poison {
    /// Gladly.
    None,
    /// Never: it says that the record is bad.
    Rejected,
    /// Never: it answers with a code that nobody knows.
    Unknown,
    /// Never: its publisher knows without asking.
    Unroutable,
}

/// What an event is refused for, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ailment {
    pub(crate) poison: Poison,
    /// From then on it is taken gladly: its topic's limit was raised, its schema was registered.
    pub(crate) heals_at: Time,
    /// Until then the dead-letter topic refuses it too.
    pub(crate) letter_heals_at: Time,
}

impl Ailment {
    /// Of an event that nobody refuses.
    pub(crate) const NONE: Self = Self { poison: Poison::None, heals_at: 0, letter_heals_at: 0 };

    pub(crate) fn poison_at(&self, now: Time) -> Poison {
        if now < self.heals_at { self.poison } else { Poison::None }
    }
}

/// What became of an event's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has not ended.
    Open,
    /// It, or the savepoint, was rolled back, or its connection was lost.
    RolledBack,
    /// Committed and seen by others, but not on disk.
    Visible,
    /// Committed and on disk.
    Durable,
    /// It had been visible, and a crash took it back.
    LostInCrash,
    /// It had been durable, and a failover to an older copy lost it.
    LostInFailover,
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) aggregate: u16,
    pub(crate) topic: u16,
    pub(crate) lane: u16,
    pub(crate) size_bytes: u32,
    pub(crate) ailment: Ailment,
    pub(crate) transaction: u32,
    pub(crate) fate: Fate,
    pub(crate) xid: u64,
    pub(crate) id: u64,
    /// When its enqueue began, among all beginnings and commits.
    pub(crate) begun: u64,
    /// When its transaction became visible, on the same scale; 0: never.
    pub(crate) visible: u64,
    pub(crate) visible_at: Time,
    pub(crate) commit_lsn: u64,
    /// A position has passed it in the history that is now.
    pub(crate) settled: bool,
    /// A copy of it is kept and not settled, in the history that is now.
    pub(crate) parked: bool,
    /// How its copy was settled, in the history that is now.
    pub(crate) ended: Option<End>,
    /// It was given up, in the history that is now.
    pub(crate) died: bool,
    /// It is in the dead-letter topic, and its aggregate waits for a person.
    pub(crate) holds: bool,
    /// A person's discard was carried out, if only in a history that a failover took back.
    pub(crate) was_discarded: bool,
    /// How often the broker, or its publisher, refused it for its own sake.
    pub(crate) refusals: u32,
    /// How often it reached the dead-letter topic.
    pub(crate) letters: u32,
    /// When it was first handed to a client of the broker.
    pub(crate) handed_at: Option<Time>,
    /// A transaction of the broker's that holds it was committed.
    pub(crate) committed: bool,
    /// The same of its dead letter.
    pub(crate) letter_committed: bool,
    pub(crate) deliveries: u32,
    pub(crate) delivered_at: Option<Time>,
}

/// A time in which something was uncertain, so that a duplicate has an excuse.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incident {
    pub(crate) from: Time,
    pub(crate) until: Time,
    /// How often one event may be delivered again because of it.
    pub(crate) repeats: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) events: Vec<Event>,
    /// Those of each aggregate, in the order in which their enqueues began.
    pub(crate) of_aggregate: Vec<Vec<u32>>,
    pub(crate) incidents: Vec<Incident>,
    moments: u64,
}

impl Truth {
    pub(crate) fn new(aggregates: u16) -> Self {
        Self { of_aggregate: vec![Vec::new(); usize::from(aggregates)], ..Self::default() }
    }

    /// The next point on the scale of beginnings and commits.
    pub(crate) fn moment(&mut self) -> u64 {
        self.moments += 1;
        self.moments
    }

    pub(crate) fn add(&mut self, event: Event) -> u32 {
        let number = self.events.len() as u32;
        self.of_aggregate[usize::from(event.aggregate)].push(number);
        self.events.push(event);
        number
    }

    pub(crate) fn event(&mut self, number: u32) -> &mut Event {
        &mut self.events[number as usize]
    }
}

impl Event {
    /// Whether it exists, as promise 1 says it.
    pub(crate) fn exists(&self) -> bool {
        matches!(self.fate, Fate::Visible | Fate::Durable)
    }

    /// Whether its topic or the dead-letter topic has it, or a person let it go.
    pub(crate) fn is_carried(&self) -> bool {
        self.deliveries > 0 || self.letters > 0 || self.was_discarded
    }

    /// Whether a transaction with it, or with its dead letter, was committed: partitions that do not know yet will.
    pub(crate) fn is_committed(&self) -> bool {
        self.committed || self.letter_committed
    }

    /// Whether this one must reach the broker before `later`, both of one aggregate (promise 3).
    pub(crate) fn precedes(&self, later: &Self) -> bool {
        let within = self.transaction == later.transaction && self.begun < later.begun;
        within || (self.visible > 0 && self.visible < later.begun)
    }
}
