//! Telling the ledger how far each lane was carried.

use alloc::vec::Vec;
use core::time::Duration;

use super::Core;
use super::action::{Action, Notice, SettleOrder};
use super::lanes::LanePhase;
use crate::fault::StoreFaultKind;
use crate::lane::{Lane, Lease};
use crate::publisher::Token;
use crate::parked::ParkedKey;
use crate::store::Verdict;

/// The ledger's one open call.
pub(super) struct LedgerDesk {
    pub(super) items_max: usize,
    call: Call,
    /// What the last settlement told, until it is answered.
    told: Vec<Told>,
    failures: u32,
    settled_at: Duration,
    /// The last parked event known, while lanes are listed.
    listed: Option<ParkedKey>,
}

struct Told {
    lease: Lease,
    parked: Vec<Token>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    None,
    Settling,
    /// It failed and is made again, unchanged, at this time.
    SettleAgain(Duration),
    /// It is under way, but its history is gone: its answer counts for nothing.
    Void,
    Listing,
    ListAgain(Duration),
}

impl LedgerDesk {
    pub(super) fn new(items_max: usize) -> Self {
        Self {
            items_max,
            call: Call::None,
            told: Vec::new(),
            failures: 0,
            settled_at: Duration::ZERO,
            listed: None,
        }
    }

    pub(super) fn busy_with(&self, lease: Lease) -> bool {
        self.told.iter().any(|told| told.lease == lease)
    }

    /// Whether a settlement is told and not answered: no lane may be opened meanwhile.
    pub(super) fn settling(&self) -> bool {
        !matches!(self.call, Call::None | Call::Listing | Call::ListAgain(_))
    }

    /// The marks told are of a history that is gone. Returns the records that were being parked.
    pub(super) fn throw_away(&mut self) -> Vec<Token> {
        self.listed = None;
        self.call = match self.call {
            Call::Settling | Call::Listing | Call::Void => Call::Void,
            _ => Call::None,
        };
        self.told.drain(..).flat_map(|told| told.parked).collect()
    }
}

impl<M: Clone> Core<M> {
    pub(super) fn next_ledger(&mut self) -> Option<Action<M>> {
        match self.ledger.call {
            Call::SettleAgain(at) if self.now >= at => {
                self.ledger.call = Call::Settling;
                return Some(Action::SettleAgain);
            }
            Call::None => {}
            Call::ListAgain(at) if self.now >= at => {}
            _ => return None,
        }
        if let Some(action) = self.next_listing() {
            return Some(action);
        }
        self.ledger.call = Call::None;
        if self.now < self.settle_at()? {
            return None;
        }
        let orders = self.settle_orders();
        self.ledger.call = Call::Settling;
        self.ledger.settled_at = self.now;
        Some(Action::Settle(orders))
    }

    /// When the next settlement is due, if there is anything to tell.
    fn settle_at(&self) -> Option<Duration> {
        let paused = self.ledger.settled_at + self.settings.settle_pause;
        let due = |state: &super::lanes::LaneState<M>| match (state.prefix.is_empty(), state.phase) {
            (true, _) => None,
            (false, LanePhase::Draining) => Some(self.now),
            (false, _) if state.carried => Some(paused),
            (false, _) => Some(state.settled_at + self.settings.settle_idle),
        };
        self.lanes.values().filter_map(due).min()
    }

    fn settle_orders(&mut self) -> Vec<SettleOrder<M>> {
        let idle_before = self.now.saturating_sub(self.settings.settle_idle);
        let mut items = 0;
        let mut orders = Vec::new();
        for state in self.lanes.values_mut() {
            let due = state.carried || state.phase == LanePhase::Draining || state.settled_at <= idle_before;
            let size = state.prefix.len() + state.park.len();
            if state.prefix.is_empty() || !due || (items > 0 && items + size > self.ledger.items_max) {
                continue;
            }
            items += size;
            let order = SettleOrder {
                lease: state.lease,
                prefix: core::mem::take(&mut state.prefix),
                park: core::mem::take(&mut state.park),
                changes: Vec::new(),
            };
            let parked = order.park.iter().map(|park| park.token).collect();
            state.carried = false;
            self.ledger.told.push(Told { lease: order.lease, parked });
            orders.push(order);
        }
        orders
    }

    pub(super) fn ledger_due(&self) -> Option<Duration> {
        match self.ledger.call {
            Call::SettleAgain(at) | Call::ListAgain(at) => Some(at),
            Call::None => self.settle_at(),
            _ => None,
        }
    }

    /// [`Action::Settle`] or [`Action::SettleAgain`] was answered, verdicts in the order of the settlements.
    pub fn handle_settled(&mut self, now: Duration, result: Result<&[Verdict], StoreFaultKind>) {
        self.now = now;
        if self.ledger.call == Call::Void {
            self.ledger.call = Call::None;
            return;
        }
        let verdicts = match result {
            Ok(verdicts) => verdicts,
            Err(kind) => {
                self.ledger.call = Call::SettleAgain(now + self.store_pause(kind, self.ledger.failures));
                self.ledger.failures = self.ledger.failures.saturating_add(1);
                if kind == StoreFaultKind::HistoryLost {
                    self.ledger.call = Call::None;
                }
                self.store_failed(kind);
                return;
            }
        };
        self.store_answered();
        self.ledger.failures = 0;
        self.ledger.call = Call::None;
        let mut lost = Vec::new();
        for (told, verdict) in core::mem::take(&mut self.ledger.told).into_iter().zip(verdicts) {
            let here = self.lanes.get_mut(&told.lease.lane).filter(|state| state.lease == told.lease);
            match (verdict, here) {
                (Verdict::Done, Some(state)) => {
                    state.settled_at = now;
                    state.parked_records += told.parked.len();
                    let lane = told.lease.lane;
                    self.advance_lane(lane);
                }
                (Verdict::Fenced, Some(_)) => {
                    self.drop_lane(told.lease.lane);
                    self.feed.close.push(told.lease.lane);
                    lost.push(told.lease.lane);
                }
                (_, None) => {}
            }
            self.drop_tokens(told.parked);
        }
        if !lost.is_empty() {
            self.say(Notice::Lost(lost));
        }
    }

    /// Lists the parked events of lanes just opened, before they are read.
    fn next_listing(&mut self) -> Option<Action<M>> {
        let lanes = &self.lanes;
        let listing = |lane: &Lane| lanes.get(lane).is_some_and(|state| state.phase == LanePhase::Listing);
        self.feed.listing.retain(listing);
        let lanes = self.feed.listing.clone();
        if lanes.is_empty() {
            self.ledger.listed = None;
            return None;
        }
        self.ledger.call = Call::Listing;
        Some(Action::ReadParked { lanes, after: self.ledger.listed })
    }

    /// [`Action::ReadParked`] was answered: the aggregates of the events listed, the last one's key, and whether
    /// there are more.
    pub fn handle_parked(&mut self, now: Duration, result: Result<ParkedList, StoreFaultKind>) {
        self.now = now;
        if core::mem::replace(&mut self.ledger.call, Call::None) == Call::Void {
            return;
        }
        let list = match result {
            Ok(list) => list,
            Err(kind) => {
                self.ledger.call = Call::ListAgain(now + self.store_pause(kind, self.ledger.failures));
                self.ledger.failures = self.ledger.failures.saturating_add(1);
                self.store_failed(kind);
                return;
            }
        };
        self.store_answered();
        self.ledger.failures = 0;
        for ParkedItem { lane, aggregate, .. } in list.events {
            if let Some(state) = self.lanes.get_mut(&lane).filter(|state| state.phase == LanePhase::Listing) {
                state.held.insert(aggregate);
                state.parked_records += 1;
            }
        }
        self.ledger.listed = list.last.or(self.ledger.listed);
        if list.more {
            return;
        }
        self.ledger.listed = None;
        for lane in core::mem::take(&mut self.feed.listing) {
            if let Some(state) = self.lanes.get_mut(&lane).filter(|state| state.phase == LanePhase::Listing) {
                state.phase = LanePhase::Active;
            }
        }
        if self.drain.is_some() {
            let lanes: Vec<Lane> = self.lanes.keys().copied().collect();
            for lane in lanes {
                self.drain_lane(lane);
            }
        }
    }
}

/// A parked event as the core must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParkedItem {
    /// Its lane.
    pub lane: Lane,
    /// Its aggregate.
    pub aggregate: super::AggregateKey,
    /// The bytes its copy takes.
    pub size_bytes: u64,
}

/// Parked events as the core must know them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParkedList {
    /// The events.
    pub events: Vec<ParkedItem>,
    /// The last event's place.
    pub last: Option<ParkedKey>,
    /// Whether there are more.
    pub more: bool,
}
