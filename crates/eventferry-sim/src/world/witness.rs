//! What people outside see: a consumer, a reader of parked events, a user of the database; and what it tells the
//! checkers.

use eventferry_core::machine::ParkWhy;
use eventferry_core::parked::Next;
use eventferry_core::transaction::{Agreement, Resolved};
use eventferry_core::{Lane, Lease, Stamp};

use super::World;
use crate::agenda::{SECOND, Time};
use crate::checks::{atomic, dead_letters, duplicates, fencing, isolation, lost, memory, order, outage};
use crate::database::{Books, Database, LOADED_BY, Mark, Settled, ToldLane};
use crate::fault::FaultKind;
use crate::flaw::Flaw;
use crate::plan::Temper;
use crate::relay::InHand;
use crate::truth::{Fate, Poison};

impl World {
    /// A relay hands an event to its client.
    pub(super) fn sees_sent(&mut self, relay: usize, held: InHand) {
        // After a failover the database may have given a lane away that its owner cannot know to have lost, and may not
        // know of decisions that its owner has seen.
        let lane = self.truth.events[held.event as usize].lane;
        let owner = self.database.books.lanes[usize::from(lane)].owner;
        if owner != Some(self.relays[relay].name) || held.timeline != self.database.books.timeline {
            return;
        }
        let found = duplicates::sent(held.event, held.parked.is_some(), &self.truth);
        self.check(4, found);
        let found = dead_letters::sent(held.event, held.dying, &self.truth);
        self.check(8, found);
    }

    /// A consumer, of a topic or of the dead-letter topic, sees an event.
    pub(super) fn deliver(&mut self, number: u32, domain: usize, producer: u32) {
        self.note(|| format!("e{number} is in partition {domain}, from p{producer}"));
        let found = atomic::delivered(number, &self.truth.events[number as usize]);
        self.check(1, found);
        let now = self.now;
        if self.broker.partitions[domain].topic == self.plan.letter_topic() {
            self.truth.event(number).letters += 1;
            let found = duplicates::delivered_again(number, &self.truth, now);
            self.check(4, found);
            return;
        }
        let first = self.truth.events[number as usize].deliveries == 0;
        if first {
            let found = order::delivered(number, &self.truth);
            self.check(3, found);
            if self.is_innocent_in_calm(number) {
                let since = self.truth.events[number as usize].visible_at.max(self.manned_since);
                let mut patience = self.plan.settings.topic_patience.as_micros() as Time;
                if self.plan.exactly_once_ever().0 {
                    // A lane's records go in order, and each that changes its partition waits for two transactions.
                    patience += 30 * SECOND;
                }
                let found = isolation::delivered(number, since, self.now, patience);
                self.check(6, found);
            }
        }
        let event = self.truth.event(number);
        event.deliveries += 1;
        event.delivered_at.get_or_insert(now);
        if !first {
            let found = duplicates::delivered_again(number, &self.truth, now);
            self.check(4, found);
        }
    }

    /// Whether nothing that went wrong has to do with this event.
    fn is_innocent_in_calm(&self, number: u32) -> bool {
        let refused = |topic: u16| {
            self.plan.faults.iter().any(|fault| match fault.kind {
                FaultKind::TopicGone { topic: of, .. } | FaultKind::TopicDenied { topic: of, .. } => {
                    of == usize::from(topic)
                }
                _ => false,
            })
        };
        // With hardly any memory each waits for the settlement of the one before; where hardly anything may be parked,
        // a lane waits instead.
        let settings = &self.plan.settings;
        let spacious = settings.memory_records_max.min(settings.lane_records_max) >= 12;
        let room = spacious && self.plan.parks_freely();
        let event = &self.truth.events[number as usize];
        let mut others = self.truth.of_aggregate[usize::from(event.aggregate)].iter();
        let innocent = |other: &u32| {
            let other = &self.truth.events[*other as usize];
            other.ailment.poison == Poison::None && !refused(other.topic)
        };
        self.plan.temper == Temper::Calm && room && others.all(innocent)
    }

    /// Lets the database do something that may put its log on disk, and notes what thereby became durable.
    pub(super) fn flushed(&mut self, work: impl FnOnce(&mut Books)) {
        self.flushed_with(|database| work(&mut database.books));
    }

    pub(super) fn flushed_with<T>(&mut self, work: impl FnOnce(&mut Database) -> T) -> T {
        let before = self.database.books.flushed;
        let done = work(&mut self.database);
        let flushed = self.database.books.flushed;
        if flushed > before {
            for event in &mut self.truth.events {
                if event.fate == Fate::Visible && event.commit_lsn <= flushed {
                    event.fate = Fate::Durable;
                }
            }
        }
        done
    }

    /// A settlement happens; what it moved and parked is seen.
    pub(super) fn settled(&mut self, relay: usize, name: usize, told: &[ToldLane]) -> Option<Vec<Settled>> {
        let owners: Vec<_> = told
            .iter()
            .map(|lane| {
                let row = &self.database.books.lanes[usize::from(lane.lease.lane.0)];
                (row.owner, self.lease_of(lane.lease.lane))
            })
            .collect();
        let now = self.now;
        let settled = self.flushed_with(|database| database.settle(now, name, told));
        self.note(|| {
            let lanes: Vec<String> = told
                .iter()
                .map(|lane| {
                    let place = lane.mark.as_ref().map(Mark::place);
                    let (number, parked, changes) = (lane.lease.lane.0, lane.park.len(), lane.changes.len());
                    format!("lane {number} to {place:?} with {parked} parked and {changes} changed")
                })
                .collect();
            format!("relay {relay} settles {}: {settled:?}", lanes.join(", "))
        });
        let answers = settled.as_ref()?;
        let owned: Vec<bool> = told
            .iter()
            .zip(&owners)
            .map(|(lane, (owner, lease))| *owner == Some(name) && *lease == lane.lease)
            .collect();
        self.changed(name, told, &owned);
        for ((lane, answer), (owner, lease)) in told.iter().zip(answers).zip(owners) {
            if *answer == Settled::Moved {
                let found = fencing::moved(name, lane.lease, owner, lease);
                self.check(5, found);
                self.moved(lane);
            }
        }
        settled
    }

    /// A relay asks what was shipped before: what is carried out for that is seen.
    pub(super) fn resolved(
        &mut self,
        relay: usize,
        name: usize,
        leases: &[Lease],
        (committed, attempt): (Option<Stamp>, u64),
    ) -> Resolved {
        let now = self.now;
        let holds = self.database.holds(name, leases) && !self.database.is_late(leases, attempt);
        let (resolved, moved) =
            self.flushed_with(|database| database.resolve(now, name, (leases, committed, attempt)));
        self.note(|| {
            format!("relay {relay} resolves up to {committed:?}: {resolved:?}, {} moved", moved.len())
        });
        if resolved.agreement != Agreement::Fenced && !holds {
            self.check(5, fencing::resolved(name));
        }
        // A lane that had told a part of a transaction tells it once more.
        self.database.applied.retain(|applied| !applied.was_so);
        self.changed(name, &moved, &vec![true; moved.len()]);
        // One after the other they were parked before anybody looked.
        for lane in &moved {
            self.parked(lane);
        }
        for lane in &moved {
            self.passed(lane);
        }
        resolved
    }

    /// A lane's position has moved.
    fn moved(&mut self, told: &ToldLane) {
        self.parked(told);
        self.passed(told);
    }

    fn parked(&mut self, told: &ToldLane) {
        for park in &told.park {
            let event = self.truth.event(park.event);
            if !matches!(self.flaw, Some(Flaw::ParksNothing)) && event.ended.is_none() {
                event.parked = true;
                event.died |= park.why == ParkWhy::Refused(Next::Die);
            }
        }
        for park in &told.park {
            self.note(|| format!("e{} is parked: {:?}", park.event, park.why));
            if self.truth.events[park.event as usize].exists() {
                let found = outage::parked(park.event, park.why, (&self.truth, &self.plan, self.now));
                self.check(7, found);
            }
        }
        let lane = told.lease.lane.0;
        if !told.park.is_empty() {
            let parked = self.database.books.parked_of(&[told.lease.lane]).len();
            let found = memory::parked(lane, parked, &self.plan.settings, told.lease.epoch);
            self.check(9, found);
        }
    }

    fn passed(&mut self, told: &ToldLane) {
        let lane = told.lease.lane.0;
        let mark = self.database.books.positions[usize::from(lane)].mark.clone();
        let found = duplicates::moved_back(&self.truth, lane, &mark);
        self.check(4, found);
        let mut passed = Vec::new();
        for (number, event) in self.truth.events.iter_mut().enumerate() {
            if event.lane == lane && !event.settled && event.visible > 0 && mark.covers(event.xid, event.id) {
                event.settled = true;
                passed.push(number as u32);
            }
        }
        for number in passed {
            let found = lost::passed(number, &self.truth.events[number as usize]);
            self.check(2, found);
        }
    }

    /// A crash took back what was not on disk.
    pub(super) fn take_back_what_crashed(&mut self) {
        for event in &mut self.truth.events {
            event.fate = match event.fate {
                Fate::Visible => Fate::LostInCrash,
                Fate::Open => Fate::RolledBack,
                fate => fate,
            };
        }
    }

    /// An older copy took over: what it does not have is gone, and what was settled after it is not settled.
    pub(super) fn take_back_what_failed_over(&mut self) {
        let books = &self.database.books;
        for event in &mut self.truth.events {
            let has = event.commit_lsn <= books.flushed;
            event.fate = match event.fate {
                Fate::Visible => Fate::LostInCrash,
                Fate::Open => Fate::RolledBack,
                Fate::Durable if !has => Fate::LostInFailover,
                fate => fate,
            };
            let position = &books.positions[usize::from(event.lane)];
            if books.was_restored() {
                event.xid = LOADED_BY;
            }
            event.settled = event.settled && has && position.mark.covers(event.xid, event.id);
        }
        self.see_parked();
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.writers_are_over()
            && self.parked_for_nothing().is_none()
            && self
                .truth
                .events
                .iter()
                .all(|event| event.fate != Fate::Durable || event.settled || self.is_full(event.lane))
    }

    /// Whether a lane waits because it has as many parked events as it may.
    fn is_full(&self, lane: u16) -> bool {
        let rows = self.database.books.parked_of(&[Lane(lane)]);
        let bytes: u64 = rows.iter().map(|row| u64::from(row.size_bytes)).sum();
        let settings = &self.plan.settings;
        rows.len() >= settings.lane_parked_max || bytes >= settings.lane_parked_bytes_max
    }

    pub(super) fn at_the_end(&mut self) {
        let unsettled = self.database.books.parked.iter().filter(|row| row.is_unsettled());
        let parked: Vec<u32> = unsettled.map(|row| row.event).collect();
        let found = dead_letters::still_parked(&self.truth, &parked);
        self.check(8, found);
        let full: Vec<u16> = (0..self.plan.lanes).filter(|lane| self.is_full(*lane)).collect();
        let stuck = self.parked_for_nothing();
        let events = &self.truth.events;
        let found = lost::at_the_end(events, &full)
            .or_else(|| lost::gone_in_the_end(events))
            .or_else(|| lost::stuck(stuck, events));
        self.check(2, found);
    }
}
