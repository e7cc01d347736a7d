//! Exactly-once: what a transaction settles is written down before it is committed, and what was committed is carried
//! out by whoever takes over.

use alloc::vec::Vec;
use core::time::Duration;

use super::Core;
use super::action::{Action, IntendOrder, Notice, SettleOrder};
use super::session::Phase;
use super::transactions::Stage;
use crate::fault::StoreFaultKind;
use crate::lane::Lease;
use crate::publisher::Token;
use crate::store::Verdict;
use crate::transaction::{Agreement, Resolved, Stamp};

impl<M: Clone> Core<M> {
    /// Asks what was shipped before these leases, once the broker is taken over.
    pub(super) fn next_resolve(&mut self) -> Option<Action<M>> {
        let transactions = self.transactions.as_ref()?;
        let committed = transactions.taken.filter(|_| !transactions.resolved && !transactions.retake)?;
        if self.main.phase != Phase::Open || !self.may_send() || self.now < transactions.resolve_at {
            return None;
        }
        let leases: Vec<Lease> = self.lanes.values().map(|state| state.lease).collect();
        (!leases.is_empty()).then_some(Action::Resolve { leases, committed })
    }

    /// When that is asked again.
    pub(super) fn resolve_due(&self) -> Option<Duration> {
        let transactions = self.transactions.as_ref()?;
        (transactions.resolve_at > self.now && !transactions.resolved).then_some(transactions.resolve_at)
    }

    /// [`Action::Resolve`] was answered.
    pub fn handle_resolved(&mut self, now: Duration, result: Result<Resolved, StoreFaultKind>) {
        self.now = now;
        let void = self.ledger.answered();
        let retry_min = self.settings.retry_min;
        let resolved = match result {
            Ok(resolved) => resolved,
            Err(kind) => {
                if !void {
                    let pause = self.store_pause(kind, 1);
                    if let Some(transactions) = &mut self.transactions {
                        transactions.resolve_at = now + pause;
                    }
                    self.store_failed(kind);
                }
                return;
            }
        };
        self.store_answered();
        let Some(transactions) = &mut self.transactions else { return };
        let Some(taken) = transactions.taken.filter(|_| !void && !transactions.retake) else { return };
        if resolved.agreement == Agreement::Fenced {
            transactions.resolve_at = now + retry_min;
            self.hold.hurry(now);
            return;
        }
        transactions.resolved = true;
        transactions.last = taken;
        let committed = taken.map_or(0, |stamp| stamp.number);
        (transactions.settled, transactions.settling) = (committed, 0);
        transactions.newest = transactions.newest.max(resolved.newest).max(committed);
        if resolved.agreement == Agreement::Parted {
            self.say(Notice::Parted);
        }
    }

    /// Writes down what the sealed transaction will settle.
    pub(super) fn next_intend(&mut self) -> Option<Action<M>> {
        let transactions = self.transactions.as_mut()?;
        let ending = transactions.ending.as_mut().filter(|ending| ending.stage == Stage::Sealed)?;
        ending.stage = Stage::Intending;
        let (stamp, after, settled) = (ending.stamp, transactions.last_number(), transactions.settled);
        let leases = self.lanes.values().map(|state| state.lease).collect();
        let settlements = core::mem::take(&mut self.intended);
        Some(Action::Intend(IntendOrder { stamp, after, settled, leases, settlements }))
    }

    /// What the transaction of these records settles. Asked before any of the next is sent: its records look the same.
    pub(super) fn settlements(&self, members: &[Token]) -> Vec<SettleOrder<M>> {
        let mut settlements: Vec<SettleOrder<M>> = Vec::new();
        for state in self.lanes.values() {
            settlements.extend(state.intended(&self.entries, self.keeps));
        }
        for index in members.iter().filter_map(|token| self.entries.find(*token)) {
            let lane = self.entries[index].lane;
            let Some(change) = self.end_of_parked(index) else { continue };
            let here = settlements.iter_mut().find(|order| order.lease.lane == lane);
            if let Some(order) = here {
                order.changes.push(change);
            } else if let Some(state) = self.lanes.get(&lane) {
                let (lease, prefix, park) = (state.lease, Vec::new(), Vec::new());
                let changes = Vec::from([change]);
                settlements.push(SettleOrder { lease, prefix, park, changes, carries: None });
            }
        }
        settlements
    }

    /// [`Action::Intend`] or [`Action::IntendAgain`] was answered.
    pub fn handle_intended(&mut self, now: Duration, stamp: Stamp, result: Result<Verdict, StoreFaultKind>) {
        self.now = now;
        if !self.ledger.intended(now, &self.settings, result) {
            return;
        }
        match result {
            Err(kind) => {
                self.store_failed(kind);
            }
            Ok(verdict) => {
                self.store_answered();
                let ending = self.transactions.as_mut().and_then(|transactions| transactions.ending.as_mut());
                let here = ending.filter(|ending| ending.stamp == stamp && ending.stage == Stage::Intending);
                match (verdict, here) {
                    (Verdict::Done, Some(ending)) => ending.stage = Stage::Intended,
                    // A lane has changed hands: nothing more of any may be sent.
                    (Verdict::Fenced, _) => self.hold.expire(now),
                    (Verdict::Done, None) => {}
                }
            }
        }
    }
}
