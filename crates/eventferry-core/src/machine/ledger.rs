//! Telling the ledger how far each lane was carried.

use alloc::vec::Vec;
use core::time::Duration;

use super::action::{Action, ChangeOrder, Notice, ParkWhy, SettleOrder};
use super::entry::{AggregateKey, State};
use super::lane::{LanePhase, LaneState};
use super::{Core, Settings};
use crate::fault::StoreFaultKind;
use crate::lane::{Lane, Lease};
use crate::parked::ParkedKey;
use crate::publisher::Token;
use crate::store::Verdict;

/// The ledger's one open call.
pub(super) struct LedgerDesk {
    pub(super) items_max: usize,
    call: Call,
    /// What the last settlement told, until it is answered.
    told: Vec<Told>,
    failures: u32,
    settled_at: Duration,
    /// The first lane that the last settlement left out for want of room: the next one begins with it, at once.
    left_out: Option<Lane>,
    /// The last parked event known, while lanes are listed.
    listed: Option<ParkedKey>,
    /// The open listing is for the sizes of parked events that are known.
    counts: bool,
}

struct Told {
    lease: Lease,
    parked: Vec<Token>,
    changes: Vec<Telling>,
}

/// A change on its way to the ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling {
    pub(super) order: ChangeOrder,
    pub(super) aggregate: AggregateKey,
    /// The record whose refusal it tells.
    pub(super) entry: Option<u32>,
    pub(super) effect: Effect,
}

/// What is different once the ledger knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing: the aggregate went on when it was acknowledged.
    None,
    /// The event stays parked; until the ledger knows how, it would hand over what follows.
    Stays,
    /// The event is settled by a person: what follows goes when that is durable.
    Ends,
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
    /// Parked events are being asked for.
    Asking,
    /// An intent is being written down.
    Intending,
    IntendAgain(Duration),
    /// It is being asked what was shipped before.
    Resolving,
}

impl LedgerDesk {
    pub(super) fn new(items_max: usize) -> Self {
        Self {
            items_max,
            call: Call::None,
            told: Vec::new(),
            failures: 0,
            settled_at: Duration::ZERO,
            left_out: None,
            listed: None,
            counts: false,
        }
    }

    /// The most events that one call parks. Half of it is for what became of parked events: else neither would leave
    /// room for the other.
    pub(super) fn parks_max(&self) -> usize {
        (self.items_max / 2).max(1)
    }

    pub(super) fn busy_with(&self, lease: Lease) -> bool {
        self.told.iter().any(|told| told.lease == lease)
    }

    /// Whether a settlement is told and not answered: no lane may be opened meanwhile.
    pub(super) fn settling(&self) -> bool {
        !matches!(self.call, Call::None | Call::Listing | Call::ListAgain(_) | Call::Asking)
    }

    /// The marks told are of a history that is gone. Returns the records that were being parked.
    pub(super) fn throw_away(&mut self) -> Vec<Token> {
        self.listed = None;
        self.call = match self.call {
            Call::Settling
            | Call::Listing
            | Call::Asking
            | Call::Intending
            | Call::Resolving
            | Call::Void => Call::Void,
            _ => Call::None,
        };
        self.told.drain(..).flat_map(|told| told.parked).collect()
    }

    /// An intent was answered: whether its answer counts. One that failed is made again, unchanged.
    pub(super) fn intended<T>(
        &mut self,
        now: Duration,
        settings: &Settings,
        result: Result<T, StoreFaultKind>,
    ) -> bool {
        if self.answered() {
            return false;
        }
        match result {
            Err(StoreFaultKind::HistoryLost) => {}
            Err(kind) => {
                self.call = Call::IntendAgain(now + settings.store_pause(kind, self.failures));
                self.failures = self.failures.saturating_add(1);
            }
            Ok(_) => self.failures = 0,
        }
        true
    }

    /// A call was answered that is not repeated. Whether its answer counts for nothing.
    pub(super) fn answered(&mut self) -> bool {
        core::mem::replace(&mut self.call, Call::None) == Call::Void
    }
}

impl<M: Clone> Core<M> {
    pub(super) fn next_ledger(&mut self) -> Option<Action<M>> {
        match self.ledger.call {
            Call::SettleAgain(at) if self.now >= at => {
                self.ledger.call = Call::Settling;
                return Some(Action::SettleAgain);
            }
            Call::IntendAgain(at) if self.now >= at => {
                self.ledger.call = Call::Intending;
                return Some(Action::IntendAgain);
            }
            Call::None => {}
            Call::ListAgain(at) if self.now >= at => {}
            _ => return None,
        }
        // Nothing can be committed before it.
        if self.ledger.call == Call::None
            && let Some(action) = self.next_intend()
        {
            self.ledger.call = Call::Intending;
            return Some(action);
        }
        if let Some(action) = self.next_resolve() {
            self.ledger.call = Call::Resolving;
            return Some(action);
        }
        if let Some(action) = self.next_listing() {
            return Some(action);
        }
        self.ledger.call = Call::None;
        if self.settle_at().is_some_and(|at| self.now >= at) {
            let orders = self.settle_orders();
            self.ledger.call = Call::Settling;
            self.ledger.settled_at = self.now;
            return Some(Action::Settle(orders));
        }
        let action = self.next_due()?;
        self.ledger.call = Call::Asking;
        Some(action)
    }

    /// When the next settlement is due, if there is anything to tell.
    fn settle_at(&self) -> Option<Duration> {
        let pause = if self.ledger.left_out.is_some() { Duration::ZERO } else { self.settings.settle_pause };
        let paused = self.ledger.settled_at + pause;
        let due = |state: &LaneState<M>| match state.phase {
            _ if !state.has_news() => None,
            LanePhase::Draining => Some(self.now),
            _ if state.carried => Some(paused),
            _ => Some(state.settled_at + self.settings.settle_idle),
        };
        self.lanes.values().filter_map(due).min()
    }

    fn settle_orders(&mut self) -> Vec<SettleOrder<M>> {
        let idle_before = self.now.saturating_sub(self.settings.settle_idle);
        let mut items = 0;
        let mut orders = Vec::new();
        let first = self.ledger.left_out.take().unwrap_or(Lane(0));
        let mut lanes: Vec<Lane> = self.lanes.keys().copied().collect();
        lanes.sort_by_key(|lane| (*lane < first, *lane));
        for lane in lanes {
            let Some(state) = self.lanes.get_mut(&lane) else { continue };
            let due = state.carried || state.phase == LanePhase::Draining || state.settled_at <= idle_before;
            let size = state.prefix.len() + state.park.len() + state.changes.len();
            let items_max = self.ledger.items_max;
            if !state.has_news() || !due {
                continue;
            }
            if items > 0 && items + size > items_max {
                self.ledger.left_out.get_or_insert(lane);
                continue;
            }
            items += size;
            let cut = state.park.len() >= self.ledger.parks_max();
            let (mut order, told) = settle_order(state, items_max);
            if let Some(transactions) = &self.transactions {
                if state.has_told_all() {
                    state.carries = transactions.last_number();
                }
                order.carries = Some(state.carries);
            }
            if cut || state.has_news() {
                self.ledger.left_out.get_or_insert(lane);
            }
            self.ledger.told.push(told);
            orders.push(order);
        }
        let all_told = self.lanes.values().all(|state| state.has_told_all());
        if let Some(transactions) = &mut self.transactions {
            transactions.note_telling(all_told);
        }
        orders
    }

    pub(super) fn ledger_due(&self) -> Option<Duration> {
        match self.ledger.call {
            Call::SettleAgain(at) | Call::ListAgain(at) | Call::IntendAgain(at) => Some(at),
            Call::None => [self.settle_at(), self.due_at(), self.resolve_due()].into_iter().flatten().min(),
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
        if let Some(transactions) =
            self.transactions.as_mut().filter(|_| !verdicts.contains(&Verdict::Fenced))
        {
            transactions.note_told();
        }
        let mut lost = Vec::new();
        for (told, verdict) in core::mem::take(&mut self.ledger.told).into_iter().zip(verdicts) {
            let lane = told.lease.lane;
            let here = self.lanes.get_mut(&lane).filter(|state| state.lease == told.lease);
            match (verdict, here) {
                (Verdict::Done, Some(state)) => {
                    state.settled_at = now;
                    self.note_parked(lane, &told.parked);
                    self.note_changed(lane, &told.changes);
                    self.advance_lane(lane);
                }
                (Verdict::Fenced, Some(_)) => {
                    self.drop_lane(lane);
                    self.feed.close.push(lane);
                    lost.push(lane);
                }
                (_, None) => {}
            }
            self.drop_tokens(told.parked);
        }
        if !lost.is_empty() {
            self.say(Notice::Lost(lost));
        }
    }

    /// Records of the log are parked now.
    fn note_parked(&mut self, lane: Lane, tokens: &[Token]) {
        for token in tokens {
            let (Some(index), Some(state)) = (self.entries.find(*token), self.lanes.get_mut(&lane)) else {
                continue;
            };
            let entry = &self.entries[index];
            let (key, size_bytes) = (entry.aggregate, u64::from(entry.size_bytes));
            state.parked.add(key, size_bytes);
            state.parked.update(key, |held| held.parking = held.parking.saturating_sub(1));
            let waits_for_its_time = entry.state != State::Parking(ParkWhy::Behind);
            if waits_for_its_time || state.parked.get(key).in_hand > 0 {
                self.due.hurry(self.now);
            }
        }
    }

    /// The ledger knows what became of parked events.
    fn note_changed(&mut self, lane: Lane, changes: &[Telling]) {
        for Telling { order, aggregate, entry, effect } in changes {
            let Some(state) = self.lanes.get_mut(&lane) else { return };
            state.parked.loaded.remove(&order.key.ordinal);
            if *effect == Effect::Ends {
                state.parked.settle(*aggregate, None);
            }
            if *effect != Effect::None {
                state.parked.update(*aggregate, |held| held.telling = held.telling.saturating_sub(1));
            }
            // Of a run that is longer than a page, the rest comes when what was in hand is settled.
            if *effect != Effect::None || state.parked.get(*aggregate).has_more() {
                self.due.hurry(self.now);
            }
            if let Some(index) = entry {
                self.drop_entry(*index);
            }
            self.let_go_behind(lane, *aggregate);
        }
    }

    /// Lists the parked events of lanes just opened, before they are read; or of lanes that seem to be full, for their
    /// sizes.
    fn next_listing(&mut self) -> Option<Action<M>> {
        let counting = self.counting();
        if !counting.is_empty() {
            (self.ledger.call, self.ledger.counts) = (Call::Listing, true);
            return Some(Action::ReadParked { lanes: counting, after: self.ledger.listed });
        }
        if core::mem::take(&mut self.ledger.counts) {
            self.ledger.listed = None;
        }
        let lanes = &self.lanes;
        let listing = |lane: &Lane| lanes.get(lane).is_some_and(|state| state.phase == LanePhase::Listing);
        self.feed.listing.retain(listing);
        let lanes = self.feed.listing.clone();
        if lanes.is_empty() {
            self.ledger.listed = None;
            return self.next_count();
        }
        self.ledger.call = Call::Listing;
        Some(Action::ReadParked { lanes, after: self.ledger.listed })
    }

    fn counting(&self) -> Vec<Lane> {
        let counting = self.lanes.iter().filter(|(_, state)| state.parked.is_counting());
        counting.map(|(lane, _)| *lane).collect()
    }

    fn next_count(&mut self) -> Option<Action<M>> {
        let bytes_max = self.settings.lane_parked_bytes_max;
        for state in self.lanes.values_mut() {
            // What is settled and not told is still listed.
            let told = state.changes.is_empty();
            if state.phase == LanePhase::Active && told && state.parked.wants_count(bytes_max) {
                state.parked.begin_count();
            }
        }
        let lanes = self.counting();
        if lanes.is_empty() {
            return None;
        }
        (self.ledger.call, self.ledger.counts) = (Call::Listing, true);
        Some(Action::ReadParked { lanes, after: None })
    }

    /// [`Action::ReadParked`] was answered: the aggregates of the events listed, the last one's key, and whether
    /// there are more.
    pub fn handle_parked(&mut self, now: Duration, result: Result<ParkedList, StoreFaultKind>) {
        self.now = now;
        if self.ledger.answered() {
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
        let counts = self.ledger.counts;
        for ParkedItem { lane, aggregate, size_bytes } in list.events {
            let Some(state) = self.lanes.get_mut(&lane) else { continue };
            match state.phase {
                _ if counts => state.parked.count(size_bytes),
                LanePhase::Listing => state.parked.add(aggregate, size_bytes),
                _ => {}
            }
        }
        self.ledger.listed = list.last.or(self.ledger.listed);
        if list.more {
            return;
        }
        self.ledger.listed = None;
        if counts {
            self.ledger.counts = false;
            self.lanes.values_mut().for_each(|state| state.parked.end_count());
            return;
        }
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

/// What a lane has to tell, no more than fits one call; its position moves only with all that became of its parked
/// events before.
fn settle_order<M: Clone>(state: &mut LaneState<M>, items_max: usize) -> (SettleOrder<M>, Told) {
    let room = items_max.saturating_sub(state.park.len()).max(1);
    let changes: Vec<Telling> = state.changes.drain(..state.changes.len().min(room)).collect();
    let (mut prefix, mut park) = (Vec::new(), Vec::new());
    if state.changes.is_empty() && (changes.is_empty() || changes.len() + state.park.len() <= items_max) {
        prefix = core::mem::take(&mut state.prefix);
        park = core::mem::take(&mut state.park);
    }
    state.carried = state.has_news();
    let parked = park.iter().map(|park| park.token).collect();
    let told = Told { lease: state.lease, parked, changes: changes.clone() };
    let changes = changes.into_iter().map(|telling| telling.order).collect();
    (SettleOrder { lease: state.lease, prefix, park, changes, carries: None }, told)
}

/// A parked event as the core must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParkedItem {
    /// Its lane.
    pub lane: Lane,
    /// Its aggregate.
    pub aggregate: AggregateKey,
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
