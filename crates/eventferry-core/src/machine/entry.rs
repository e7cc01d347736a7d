//! The records in the relay's hands.

use alloc::vec::Vec;

use super::action::{ParkWhy, TopicId};
use crate::lane::Lane;
use crate::publisher::{Domain, Role, Token};

/// An aggregate as the core knows it: a hash of its type and id. Two aggregates that share one are kept in one
/// order, which costs a little and breaks nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AggregateKey(pub u64);

/// Where a record goes, as the publisher said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routed {
    /// Into this order domain.
    To(Domain),
    /// Nowhere: the publisher refuses it without sending.
    Refused,
    /// Not known before its topic is learned.
    Unknown,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Behind an earlier one of its aggregate, or not routed.
    Waiting,
    /// In its channel's queue.
    Queued,
    /// In a session's hands.
    Flying,
    /// Acknowledged, in a transaction that is not committed.
    Carried,
    /// Acknowledged, for good.
    Settled,
    /// To be parked, or being parked.
    Parking(ParkWhy),
    /// A parked one that was refused again: that is to be told.
    Telling,
}

/// Where a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin<M> {
    /// From the log, with its place there.
    Log(M),
    /// From among the parked events of its lane.
    Parked {
        /// Its place there.
        ordinal: i64,
        /// How many attempts count.
        attempts: u32,
        /// It goes to the dead-letter topic.
        dying: bool,
        /// The topic it was enqueued for.
        own_topic: TopicId,
        /// In which round of asking it was found.
        round: u64,
    },
}

pub(super) struct Entry<M> {
    pub(super) lane: Lane,
    pub(super) arrival: u64,
    pub(super) aggregate: AggregateKey,
    /// Its aggregate's place among those in hand, while this is waiting, queued or flying.
    pub(super) aggregate_number: u32,
    pub(super) topic: TopicId,
    pub(super) route: Routed,
    pub(super) size_bytes: u32,
    pub(super) state: State,
    /// Its lane is no longer this relay's: whatever becomes of it counts for nothing.
    pub(super) orphan: bool,
    /// How often it was refused; from the first time on it goes alone.
    pub(super) refusals: u8,
    /// How many records had been acknowledged when it was first refused.
    pub(super) acknowledged_before: u64,
    pub(super) channel: ChannelId,
    pub(super) origin: Origin<M>,
}

/// A domain as one role reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChannelId {
    pub(super) role: Role,
    pub(super) number: u32,
}

/// All records, each under a token that is never given twice.
pub(super) struct Entries<M> {
    slots: Vec<Slot<M>>,
    free: Vec<u32>,
    arrivals: u64,
}

struct Slot<M> {
    generation: u32,
    entry: Option<Entry<M>>,
}

impl<M> Entries<M> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), arrivals: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn next_arrival(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals
    }

    pub(super) fn insert(&mut self, entry: Entry<M>) -> u32 {
        if let Some(index) = self.free.pop() {
            self.slots[index as usize].entry = Some(entry);
            return index;
        }
        // Bounded by memory_records_max and one page, far below u32::MAX.
        let index = self.slots.len() as u32;
        self.slots.push(Slot { generation: 0, entry: Some(entry) });
        index
    }

    pub(super) fn remove(&mut self, index: u32) -> Entry<M> {
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        slot.entry.take().expect("an entry is removed once")
    }

    pub(super) fn token(&self, index: u32) -> Token {
        Token(u64::from(self.slots[index as usize].generation) << 32 | u64::from(index))
    }

    pub(super) fn has(&self, index: u32) -> bool {
        self.slots.get(index as usize).is_some_and(|slot| slot.entry.is_some())
    }

    pub(super) fn indices(&self) -> Vec<u32> {
        let live = self.slots.iter().enumerate().filter(|(_, slot)| slot.entry.is_some());
        live.map(|(index, _)| index as u32).collect()
    }

    /// The record of a token that came from outside: `None` when it is no longer here.
    pub(super) fn find(&self, token: Token) -> Option<u32> {
        let index = (token.0 & u64::from(u32::MAX)) as u32;
        let slot = self.slots.get(index as usize)?;
        (u64::from(slot.generation) == token.0 >> 32 && slot.entry.is_some()).then_some(index)
    }
}

impl<M> core::ops::Index<u32> for Entries<M> {
    type Output = Entry<M>;

    fn index(&self, index: u32) -> &Entry<M> {
        self.slots[index as usize].entry.as_ref().expect("an index names a live entry")
    }
}

impl<M> core::ops::IndexMut<u32> for Entries<M> {
    fn index_mut(&mut self, index: u32) -> &mut Entry<M> {
        self.slots[index as usize].entry.as_mut().expect("an index names a live entry")
    }
}
