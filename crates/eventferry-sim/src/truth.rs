//! What really happened: each event, and what people outside have seen of it.

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
    pub(crate) poison: Poison,
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
    /// A copy of it is kept in the history that is now.
    pub(crate) parked: bool,
    /// When it was first handed to a client of the broker.
    pub(crate) handed_at: Option<Time>,
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

    /// Whether this one must reach the broker before `later`, both of one aggregate (promise 3).
    pub(crate) fn precedes(&self, later: &Self) -> bool {
        let within = self.transaction == later.transaction && self.begun < later.begun;
        within || (self.visible > 0 && self.visible < later.begun)
    }
}
