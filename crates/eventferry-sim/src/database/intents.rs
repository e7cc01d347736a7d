//! Intents: what is settled when a transaction of the broker's is committed.

use eventferry_core::store::Verdict;
use eventferry_core::transaction::{Agreement, Resolved};
use eventferry_core::{Lease, Stamp};

use super::Database;
use super::ledger::ToldLane;
use crate::agenda::Time;
use crate::flaw::Flaw;

/// An intent, as its statement names it.
#[derive(Clone, Debug)]
pub(crate) struct ToldIntent {
    pub(crate) stamp: Stamp,
    pub(crate) after: u64,
    pub(crate) settled: u64,
    pub(crate) leases: Vec<Lease>,
    pub(crate) lanes: Vec<ToldLane>,
}

/// An intent's row.
#[derive(Clone, Debug)]
pub(crate) struct IntentRow {
    stamp: Stamp,
    after: u64,
    /// In which cluster it was written: its marks mean nothing in another.
    cluster: u32,
    /// Nothing, once it is carried out.
    lanes: Vec<ToldLane>,
}

/// When it was asked what was shipped: all lanes change hands together, and each time some epoch grows.
fn asked(leases: &[Lease], attempt: u64) -> (u64, u64) {
    (leases.iter().map(|lease| lease.epoch).sum(), attempt)
}

impl Database {
    /// Whether a relay has all these leases.
    pub(crate) fn holds(&self, relay: usize, leases: &[Lease]) -> bool {
        leases.iter().all(|lease| {
            let row = &self.books.lanes[usize::from(lease.lane.0)];
            row.owner == Some(relay) && row.epoch == lease.epoch
        })
    }

    /// Whether somebody has asked since what was shipped.
    pub(crate) fn is_late(&self, leases: &[Lease], attempt: u64) -> bool {
        asked(leases, attempt) < self.books.resolved
    }

    /// Writes an intent down; `None`: it speaks of another timeline.
    pub(crate) fn intend(&mut self, relay: usize, told: &ToldIntent) -> Option<Verdict> {
        let elsewhere = |lane: &ToldLane| lane.timeline.is_some_and(|at| at != self.books.timeline);
        if told.lanes.iter().any(elsewhere) && !self.has(Flaw::IgnoresHistory) {
            return None;
        }
        if !self.holds(relay, &told.leases) && !self.has(Flaw::IntendsWithoutEpoch) {
            return Some(Verdict::Fenced);
        }
        let mut lanes = told.lanes.clone();
        if self.has(Flaw::IntendsNoParks) {
            lanes.iter_mut().for_each(|lane| lane.park.clear());
        }
        if self.has(Flaw::IntendsNoChanges) {
            lanes.iter_mut().for_each(|lane| lane.changes.clear());
        }
        let newest = self.books.intents.iter().map(|row| row.stamp.number).max().unwrap_or(0);
        let rival = |row: &IntentRow| row.stamp.number == told.stamp.number && row.stamp != told.stamp;
        if self.books.intents.iter().any(rival) && !self.has(Flaw::IntendsWithoutEpoch) {
            return Some(Verdict::Fenced);
        }
        if told.stamp.number > newest {
            self.books.intents.retain(|row| row.stamp.number >= told.settled);
            let cluster = self.books.cluster;
            self.books.intents.push(IntentRow { stamp: told.stamp, after: told.after, cluster, lanes });
        }
        self.books.write_and_flush();
        Some(Verdict::Done)
    }

    /// Carries out what was committed, and forgets the rest. Answers with the lanes that moved.
    pub(crate) fn resolve(
        &mut self,
        now: Time,
        relay: usize,
        (leases, committed, attempt): (&[Lease], Option<Stamp>, u64),
    ) -> (Resolved, Vec<ToldLane>) {
        self.applied.clear();
        let newest = self.books.intents.iter().map(|row| row.stamp.number).max().unwrap_or(0);
        let is_whole = leases.len() == self.books.lanes.len();
        let may = is_whole && self.holds(relay, leases);
        if !may && !self.has(Flaw::ResolvesWithoutEpoch) {
            return (Resolved { agreement: Agreement::Fenced, newest }, Vec::new());
        }
        if self.is_late(leases, attempt) && !self.has(Flaw::ResolvesLate) {
            return (Resolved { agreement: Agreement::Fenced, newest }, Vec::new());
        }
        self.books.resolved = asked(leases, attempt);
        let committed = match self.flaw {
            Some(Flaw::TrustsTheNewestIntent) => self.books.intents.last().map(|row| row.stamp),
            _ => committed,
        };
        let known = |row: &&IntentRow| Some(row.stamp) == committed;
        let elsewhere = self.books.intents.iter().any(|row| row.cluster != self.books.cluster);
        let agreed = match committed {
            Some(_) if elsewhere && !self.has(Flaw::CarriesOutElsewhere) => false,
            None => self.books.intents.is_empty(),
            Some(_) => self.books.intents.iter().any(|row| known(&row)),
        };
        let mut chain: Vec<IntentRow> = Vec::new();
        let mut next =
            committed.filter(|_| agreed || self.has(Flaw::CarriesOutTheUnknown)).map(|stamp| stamp.number);
        if agreed && self.has(Flaw::CarriesOutTheAborted) {
            let upto = committed.map_or(0, |stamp| stamp.number);
            chain = self.books.intents.iter().filter(|row| row.stamp.number <= upto).cloned().collect();
            chain.reverse();
            next = None;
        }
        while let Some(row) = self.books.intents.iter().find(|row| Some(row.stamp.number) == next) {
            next = Some(row.after);
            chain.push(row.clone());
        }
        let mut moved = Vec::new();
        if self.has(Flaw::ResolvesNothing) {
            chain.clear();
        }
        for row in chain.iter().rev() {
            for lane in &row.lanes {
                let at = usize::from(lane.lease.lane.0);
                if self.books.positions[at].carries >= row.stamp.number && !self.has(Flaw::CarriesOutTwice) {
                    continue;
                }
                let epoch = self.books.lanes[at].epoch;
                let position = &mut self.books.positions[at];
                position.version += 1;
                (position.epoch, position.carries, position.call) = (epoch, row.stamp.number, u64::MAX);
                if let Some(mark) = &lane.mark {
                    position.mark = mark.clone();
                }
                let told = ToldLane { lease: Lease { epoch, ..lane.lease }, ..lane.clone() };
                self.apply(now, &told);
                moved.push(told);
            }
        }
        self.books.intents.retain(|row| Some(row.stamp) == committed);
        self.books.intents.iter_mut().for_each(|row| row.lanes.clear());
        self.books.write_and_flush();
        let agreement = if agreed { Agreement::Agreed } else { Agreement::Parted };
        (Resolved { agreement, newest }, moved)
    }
}
