//! A lane in the relay's hands: what was handed over of it, and how far that is settled.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::action::{ParkOrder, ParkWhy, SettleOrder, TopicId};
use super::entry::{AggregateKey, Entries, Entry, Origin, State};
use super::held::{Loaded, ParkedBook};
use super::ledger::{Effect, Telling};
use crate::lane::Lease;
use crate::store::Keeps;

/// A lane this relay holds.
pub(super) struct LaneState<M> {
    pub(super) lease: Lease,
    pub(super) phase: LanePhase,
    /// What the feed handed over and is not behind the prefix, in the order of handing over.
    pub(super) log: VecDeque<Handed<M>>,
    /// What is parked: what comes later of its aggregates is parked behind it.
    pub(super) parked: ParkedBook,
    pub(super) payload_bytes: u64,
    /// Newly settled, to be told to the ledger.
    pub(super) prefix: Vec<M>,
    pub(super) park: Vec<ParkOrder<M>>,
    /// What became of parked events, to be told to the ledger.
    pub(super) changes: Vec<Telling>,
    /// The prefix moved over records, not only over silence.
    pub(super) carried: bool,
    pub(super) settled_at: Duration,
    pub(super) told_full: bool,
    /// So many at the front of the log are in a transaction, settled or to be parked.
    sent: usize,
    /// So many of the log are settled and not behind the prefix, which waits for others to be parked.
    settled_in_log: usize,
    /// What of it was in a transaction was given up: it may be committed all the same, and then the ledger is told by
    /// whoever finds out.
    pub(super) forgot: bool,
    /// See [`Settlement::carries`](crate::store::Settlement::carries).
    pub(super) carries: u64,
}

pub(super) enum Handed<M> {
    Record(u32),
    /// Everything up to here has been handed over.
    Passed(M),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LanePhase {
    /// Leased; the feed must open it.
    New,
    /// The feed was asked to open it.
    Opening,
    /// Its parked events are being listed.
    Listing,
    Active,
    /// Read no more; what is in flight is settled.
    Draining,
    /// Settled: left out of the next claim.
    Releasing,
}

impl<M: Clone> LaneState<M> {
    pub(super) fn new(lease: Lease, now: Duration) -> Self {
        Self {
            lease,
            phase: LanePhase::New,
            log: VecDeque::new(),
            parked: ParkedBook::default(),
            payload_bytes: 0,
            prefix: Vec::new(),
            park: Vec::new(),
            changes: Vec::new(),
            carried: false,
            settled_at: now,
            told_full: false,
            sent: 0,
            settled_in_log: 0,
            forgot: false,
            carries: 0,
        }
    }

    pub(super) fn log_records(&self) -> usize {
        self.log.len()
    }

    pub(super) fn hand_over(&mut self, index: u32) {
        self.log.push_back(Handed::Record(index));
    }

    pub(super) fn pass(&mut self, mark: M) {
        if matches!(self.log.back(), Some(Handed::Passed(_))) {
            self.log.pop_back();
        }
        self.log.push_back(Handed::Passed(mark));
    }

    /// Moves the prefix over everything that is settled or may be parked with it.
    pub(super) fn advance(&mut self, entries: &mut Entries<M>, keeps: Keeps, parks_max: usize) {
        while let Some(handed) = self.log.front() {
            let mark = match handed {
                Handed::Passed(mark) => mark.clone(),
                Handed::Record(index) => match entries[*index].state {
                    State::Settled => {
                        self.carried = true;
                        self.settled_in_log = self.settled_in_log.saturating_sub(1);
                        match entries.remove(*index).origin {
                            Origin::Log(mark) => mark,
                            // Parked events are not in the log.
                            Origin::Parked { .. } => continue,
                        }
                    }
                    State::Parking(why) if self.park.len() < parks_max => {
                        self.carried = true;
                        let Origin::Log(mark) = &entries[*index].origin else { continue };
                        let mark = mark.clone();
                        self.park.push(ParkOrder { token: entries.token(*index), mark: mark.clone(), why });
                        mark
                    }
                    _ => return,
                },
            };
            self.log.pop_front();
            self.sent = self.sent.saturating_sub(1);
            if keeps == Keeps::Log {
                self.prefix.clear();
            }
            self.prefix.push(mark);
        }
    }

    /// The next record to be sent in a transaction, if everything before it in the log is in one, settled or to be
    /// parked.
    pub(super) fn next_unsent(&mut self, entries: &Entries<M>) -> Option<u32> {
        loop {
            match self.log.get(self.sent)? {
                Handed::Passed(_) => {}
                Handed::Record(index) => match entries[*index].state {
                    State::Flying | State::Carried | State::Settled | State::Parking(_) => {}
                    State::Queued => return Some(*index),
                    State::Waiting | State::Telling => return None,
                },
            }
            self.sent += 1;
        }
    }

    /// What was sent may have to go again.
    pub(super) fn look_again(&mut self) {
        self.sent = 0;
    }

    /// How far this lane is carried when the transaction in which its records travel is committed, with what is parked
    /// on the way and has not been told yet; `None`: nowhere.
    pub(super) fn intended(&self, entries: &Entries<M>, keeps: Keeps) -> Option<SettleOrder<M>> {
        let (mut prefix, mut park) = (self.prefix.clone(), self.park.clone());
        // Up to the last record that travels in it: what comes after that may be settled before it.
        let mut cut = None;
        for handed in &self.log {
            let mark = match handed {
                Handed::Passed(mark) => mark,
                Handed::Record(index) => {
                    let Origin::Log(mark) = &entries[*index].origin else { continue };
                    match entries[*index].state {
                        State::Flying | State::Carried => {
                            cut = Some((mark.clone(), park.len(), prefix.len()))
                        }
                        State::Settled => {}
                        State::Parking(why) => {
                            park.push(ParkOrder { token: entries.token(*index), mark: mark.clone(), why });
                        }
                        State::Waiting | State::Queued | State::Telling => break,
                    }
                    mark
                }
            };
            if keeps == Keeps::UntilSettled {
                prefix.push(mark.clone());
            }
        }
        let (last, parks, prefixes) = cut?;
        park.truncate(parks);
        prefix.truncate(prefixes);
        if keeps == Keeps::Log {
            prefix.clear();
        }
        prefix.push(last);
        // What became of parked events in earlier transactions is in their intents, and what did not become of them in
        // any is found again.
        let (lease, changes) = (self.lease, Vec::new());
        Some(SettleOrder { lease, prefix, park, changes, carries: None })
    }

    /// A record of the log is settled, wherever the prefix ends.
    pub(super) fn note_settled(&mut self) {
        self.settled_in_log += 1;
    }

    /// Whether the ledger has been told all that was settled.
    pub(super) fn has_told_all(&self) -> bool {
        !self.carried && self.settled_in_log == 0 && !self.forgot
    }

    /// Something of a parked event is to be told with the next settlement.
    pub(super) fn tell(&mut self, telling: Telling) {
        self.parked.loaded.insert(telling.order.key.ordinal, Loaded::Told(telling.entry));
        if telling.effect != Effect::None {
            self.parked.update(telling.aggregate, |held| held.telling += 1);
        }
        self.changes.push(telling);
        self.carried = true;
    }

    /// The records of an aggregate that are to be parked, in order: behind another, or for their topic's sake.
    pub(super) fn waiting_to_be_parked(&self, key: AggregateKey, entries: &Entries<M>) -> Vec<u32> {
        self.to_be_parked(entries).filter(|index| entries[*index].aggregate == key).collect()
    }

    /// The same of each aggregate that has one which is to be parked because this topic takes nothing. Gone over once,
    /// however many they are.
    pub(super) fn waiting_to_be_parked_for(
        &self,
        topic: TopicId,
        entries: &Entries<M>,
    ) -> BTreeMap<AggregateKey, Vec<u32>> {
        let held =
            |entry: &&Entry<M>| entry.topic == topic && entry.state == State::Parking(ParkWhy::TopicHeld);
        let parking = self.to_be_parked(entries).map(|index| &entries[index]);
        let mut found: BTreeMap<AggregateKey, Vec<u32>> =
            parking.filter(held).map(|entry| (entry.aggregate, Vec::new())).collect();
        for index in self.to_be_parked(entries) {
            if let Some(records) = found.get_mut(&entries[index].aggregate) {
                records.push(index);
            }
        }
        found
    }

    /// The records that are to be parked for another's sake, and that the ledger has not been told of.
    fn to_be_parked(&self, entries: &Entries<M>) -> impl Iterator<Item = u32> {
        let records = self.log.iter().filter_map(|handed| match handed {
            Handed::Record(index) => Some(*index),
            Handed::Passed(_) => None,
        });
        let waits = |state| matches!(state, State::Parking(ParkWhy::Behind | ParkWhy::TopicHeld));
        records.filter(move |index| waits(entries[*index].state))
    }

    /// Whether the ledger may have parked events of it that are due.
    pub(super) fn may_have_due(&self) -> bool {
        self.phase == LanePhase::Active && self.parked.records > 0
    }

    pub(super) fn has_news(&self) -> bool {
        !self.prefix.is_empty() || !self.changes.is_empty()
    }

    pub(super) fn is_drained(&self) -> bool {
        self.log.is_empty() && !self.has_news() && self.park.is_empty() && self.parked.loaded.is_empty()
    }
}
