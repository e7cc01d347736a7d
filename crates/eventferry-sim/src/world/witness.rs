//! What people outside see: a consumer, a reader of parked events, a user of the database; and what it tells the
//! checkers.

use super::World;
use crate::checks::{atomic, dead_letters, duplicates, fencing, isolation, lost, order, outage};
use crate::database::{Books, Database, Settled, ToldLane};
use crate::fault::FaultKind;
use crate::flaw::Flaw;
use crate::plan::Temper;
use crate::truth::{Fate, Poison};

impl World {
    /// A consumer sees an event.
    pub(super) fn deliver(&mut self, number: u32, domain: usize, producer: u32) {
        self.note(|| format!("e{number} is in partition {domain}, from p{producer}"));
        let found = atomic::delivered(number, &self.truth.events[number as usize]);
        self.check(1, found);
        let first = self.truth.events[number as usize].deliveries == 0;
        if first {
            let found = order::delivered(number, &self.truth);
            self.check(3, found);
            if self.is_innocent_in_calm(number) {
                let found = isolation::delivered(
                    number,
                    self.truth.events[number as usize].visible_at.max(self.manned_since),
                    self.now,
                );
                self.check(6, found);
            }
        }
        let now = self.now;
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
        // Events of a topic that is refused wait in memory, and in time hold up others; with hardly any memory each
        // waits for the settlement of the one before.
        let settings = &self.plan.settings;
        let spacious = settings.memory_records_max.min(settings.lane_records_max) >= 12;
        let topics_hold = (0..self.plan.partitions.len()).all(|topic| !refused(topic as u16));
        let room = self.plan.is_roomy() || (spacious && topics_hold);
        let event = &self.truth.events[number as usize];
        let mut others = self.truth.of_aggregate[usize::from(event.aggregate)].iter();
        let innocent = |other: &u32| {
            let other = &self.truth.events[*other as usize];
            other.poison == Poison::None && !refused(other.topic)
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
                .map(|lane| format!("lane {} to {:?}", lane.lease.lane.0, lane.mark.place()))
                .collect();
            format!("relay {relay} settles {}: {settled:?}", lanes.join(", "))
        });
        let answers = settled.as_ref()?;
        for ((lane, answer), (owner, lease)) in told.iter().zip(answers).zip(owners) {
            if *answer == Settled::Moved {
                let found = fencing::moved(name, lane.lease, owner, lease);
                self.check(5, found);
                self.moved(lane);
            }
        }
        settled
    }

    /// A lane's position has moved.
    fn moved(&mut self, told: &ToldLane) {
        if !self.has(Flaw::ParksNothing) {
            for park in &told.park {
                self.truth.event(park.event).parked = true;
            }
        }
        for park in &told.park {
            self.note(|| format!("e{} is parked, refused: {}", park.event, park.refused));
            if self.truth.events[park.event as usize].exists() {
                let found = outage::parked(park.event, park.refused, &self.truth);
                self.check(7, found);
            }
        }
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

    /// Looks at the table of parked events.
    fn see_parked(&mut self) {
        for event in &mut self.truth.events {
            event.parked = false;
        }
        for row in &self.database.books.parked {
            self.truth.event(row.event).parked = true;
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
            event.settled = event.settled && has && position.mark.covers(event.xid, event.id);
        }
        self.see_parked();
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.writers_are_over()
            && self.truth.events.iter().all(|event| event.fate != Fate::Durable || event.settled)
    }

    pub(super) fn at_the_end(&mut self) {
        let parked: Vec<u32> = self.database.books.parked.iter().map(|row| row.event).collect();
        let found = dead_letters::still_parked(&self.truth, &parked);
        self.check(8, found);
        self.see_parked();
        let found =
            lost::at_the_end(&self.truth.events).or_else(|| lost::gone_in_the_end(&self.truth.events));
        self.check(2, found);
    }
}
