//! Parked events that come back because their time has come.

use alloc::vec::Vec;
use core::time::Duration;

use super::Core;
use super::action::TopicId;
use super::entry::{AggregateKey, Routed};
use crate::fault::StoreFaultKind;
use crate::parked::{Decided, ParkedKey};
use crate::publisher::Token;

/// A parked event whose time has come, as the core needs to know it.
#[derive(Clone, Debug)]
pub struct DueArrival {
    /// Its place in the list of parked events.
    pub key: ParkedKey,
    /// Its aggregate.
    pub aggregate: AggregateKey,
    /// Where it goes: its topic, or the dead-letter topic.
    pub topic: TopicId,
    /// Where the publisher routed it, or its dead letter. `Refused` also where there is no dead-letter topic any more.
    pub route: Routed,
    /// The bytes it takes in memory.
    pub size_bytes: u32,
    /// How many attempts count.
    pub attempts: u32,
    /// Whether it goes to the dead-letter topic.
    pub dying: bool,
}

/// What [`Action::ReadDue`](super::Action::ReadDue) found.
#[derive(Clone, Debug, Default)]
pub struct DueList {
    /// See [`DuePage::events`](crate::parked::DuePage::events).
    pub arrivals: Vec<DueArrival>,
    /// See [`DuePage::decisions`](crate::parked::DuePage::decisions).
    pub decisions: Vec<Decided>,
    /// See [`DuePage::more`](crate::parked::DuePage::more).
    pub more: bool,
    /// See [`DuePage::next_in`](crate::parked::DuePage::next_in).
    pub next_in: Option<Duration>,
}

impl<M: Clone> Core<M> {
    /// [`Action::ReadDue`](super::Action::ReadDue) was answered. Adds to `tokens` one for each arrival, in their order;
    /// `None` for one that is not wanted, because it is in hand already or its lane was given up meanwhile.
    pub fn handle_due(
        &mut self,
        now: Duration,
        result: Result<DueList, StoreFaultKind>,
        tokens: &mut Vec<Option<Token>>,
    ) {
        self.now = now;
        let list = result.unwrap_or_default();
        tokens.extend(list.arrivals.iter().map(|_| None));
    }
}
