//! Who owns which lane, by the database's clock.

use eventferry_core::store::{Claim, Held};
use eventferry_core::{Lane, Lease};

use super::Database;
use super::books::Beat;
use crate::agenda::Time;
use crate::flaw::Flaw;

/// Who claims.
#[derive(Clone, Copy)]
pub(crate) struct Claimant {
    /// Which process.
    pub(crate) incarnation: u32,
    /// When it did, by its clock: later claims of one process have later times.
    pub(crate) claimed_at: Time,
}

impl Database {
    /// Beats, frees what is not kept, takes what is free: one statement, under one lock.
    pub(crate) fn hold(&mut self, now: Time, relay: usize, by: Claimant, claim: &Claim) -> Held {
        let Claimant { incarnation, claimed_at } = by;
        let total = self.books.lanes.len() as u16;
        let books = &mut self.books;
        if books.beats.len() <= relay {
            books.beats.resize(relay + 1, None);
        }
        let rival =
            books.beats[relay].is_some_and(|beat| beat.incarnation != incarnation && beat.until > now);
        if rival {
            return Held { leases: Vec::new(), relays_live: self.live(now, relay), lanes_total: total };
        }
        let mut lasts = claim.lease.as_micros() as Time;
        if self.has(Flaw::LapsesEarly) {
            lasts /= 2;
        }
        let before = self.books.beats[relay].filter(|beat| beat.incarnation == incarnation);
        let latest = before.map_or(claimed_at, |beat| beat.claimed_at.max(claimed_at));
        self.books.beats[relay] =
            Some(Beat { incarnation, claimed_at: latest, at: now, until: now + lasts, whole: claim.whole });
        if claimed_at < latest {
            // It comes late, and knows nothing of the lanes taken since.
            self.books.write_and_flush();
            let leases = self.leases_of(relay, claim);
            return Held { leases, relays_live: self.live(now, relay), lanes_total: total };
        }
        if !self.has(Flaw::FreesNothing) || claim.lease.is_zero() {
            for (lane, row) in self.books.lanes.iter_mut().enumerate() {
                let kept = |lease: &Lease| usize::from(lease.lane.0) == lane && lease.epoch == row.epoch;
                if row.owner == Some(relay) && !claim.keep.iter().any(kept) {
                    row.owner = None;
                }
            }
        }
        self.take(now, relay, self.may_take(now, relay, claim));
        self.books.write_and_flush();
        let leases = self.leases_of(relay, claim);
        Held { leases, relays_live: self.live(now, relay), lanes_total: total }
    }

    /// Who wants all lanes takes none while another that lives has one.
    fn may_take(&self, now: Time, relay: usize, claim: &Claim) -> u16 {
        let others = |owner: usize| owner != relay && self.lives(now, owner);
        let taken = self.books.lanes.iter().any(|row| row.owner.is_some_and(others));
        match (claim.whole && claim.take_max > 0, taken && !self.has(Flaw::TakesFromTheLiving)) {
            (true, true) => 0,
            (true, false) => self.books.lanes.len() as u16,
            (false, _) => claim.take_max,
        }
    }

    fn take(&mut self, now: Time, relay: usize, take_max: u16) {
        let mut left = take_max;
        let grows = u64::from(!self.has(Flaw::EpochStays));
        for lane in 0..self.books.lanes.len() {
            let owner = self.books.lanes[lane].owner;
            let taken = |owner| self.lives(now, owner) && !self.has(Flaw::TakesFromTheLiving);
            let free = owner.is_none_or(|owner| owner != relay && !taken(owner));
            if left == 0 || !free {
                continue;
            }
            left -= 1;
            let row = &mut self.books.lanes[lane];
            row.owner = Some(relay);
            row.epoch += grows;
        }
    }

    /// Every lease of this relay; with the flaw, only those that it knows of or has just taken count.
    fn leases_of(&self, relay: usize, claim: &Claim) -> Vec<Lease> {
        let own = self.books.lanes.iter().enumerate().filter(|(_, row)| row.owner == Some(relay));
        let leases = own.map(|(lane, row)| Lease { lane: Lane(lane as u16), epoch: row.epoch });
        let mut leases: Vec<Lease> = leases.collect();
        if self.has(Flaw::FreesNothing) {
            let known = claim.keep.len() + usize::from(claim.take_max);
            leases.sort_by_key(|lease| !claim.keep.contains(lease));
            leases.truncate(known);
        }
        leases
    }

    pub(crate) fn lives(&self, now: Time, relay: usize) -> bool {
        self.books.beats.get(relay).copied().flatten().is_some_and(|beat| beat.until > now)
    }

    /// Until when a relay's leases run, if its heartbeat was renewed just now.
    pub(crate) fn renewed(&self, now: Time, relay: usize) -> Option<Time> {
        let beat = self.books.beats.get(relay).copied().flatten();
        beat.filter(|beat| beat.at == now).map(|beat| beat.until)
    }

    /// Who shares lanes does not count those that wait for all.
    fn live(&self, now: Time, relay: usize) -> u32 {
        let shares = |name: usize| self.books.beats[name].is_none_or(|beat| !beat.whole);
        let counts = |name: &usize| *name == relay || !shares(relay) || shares(*name);
        (0..self.books.beats.len()).filter(|name| self.lives(now, *name)).filter(counts).count() as u32
    }
}
