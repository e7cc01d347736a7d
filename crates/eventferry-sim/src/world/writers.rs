//! Applications: transactions that hold early xids, lock rows, enqueue, roll back savepoints, commit late.

use super::{What, World};
use crate::agenda::{MILLISECOND, Time};
use crate::checks::enqueue;
use crate::database::LogRow;
use crate::plan::Step;
use crate::truth::{Event, Fate};

/// How far a transaction has come.
#[derive(Debug, Default)]
pub(super) struct Writer {
    next: usize,
    xid: Option<u64>,
    generation: u32,
    begun: bool,
    /// What it enqueued and did not roll back.
    events: Vec<u32>,
    savepoint: usize,
    /// Somebody slept when it enqueued.
    rings: bool,
    /// An event whose xid is known and whose id is not.
    pending: Option<u32>,
    over: bool,
}

/// How long a transaction waits before it asks again for a row that another has locked.
const LOCK_PAUSE: Time = 3 * MILLISECOND;

impl World {
    pub(super) fn step(&mut self, number: u32) {
        let at = number as usize;
        if self.writers[at].over {
            return;
        }
        if self.database.down_until > self.now {
            if self.writers[at].begun {
                self.end_writer(number);
            } else {
                self.agenda.enter(self.database.down_until + 50 * MILLISECOND, What::Step(number));
            }
            return;
        }
        if !self.writers[at].begun {
            self.writers[at].begun = true;
            self.writers[at].generation = self.database.generation;
        }
        if self.writers[at].generation != self.database.generation {
            self.end_writer(number);
            return;
        }
        if let Some(event) = self.writers[at].pending.take() {
            self.insert(number, event);
            self.agenda.enter(self.now + 30, What::Step(number));
            return;
        }
        let Some(step) = self.plan.transactions[at].steps.get(self.writers[at].next).copied() else {
            self.end_writer(number);
            return;
        };
        self.writers[at].next += 1;
        let pause = self.take_step(number, step);
        self.agenda.enter(self.now + pause, What::Step(number));
    }

    /// Takes a step; says when the next is due.
    fn take_step(&mut self, number: u32, step: Step) -> Time {
        let at = number as usize;
        match step {
            Step::Wait(pause) => return pause,
            Step::Write => {
                self.xid_of(number);
            }
            Step::Lock(aggregate) => {
                let lock = &mut self.row_locks[usize::from(aggregate)];
                if lock.is_some_and(|owner| owner != number) {
                    self.writers[at].next -= 1;
                    return LOCK_PAUSE;
                }
                *lock = Some(number);
            }
            Step::Enqueue { pause, .. } => {
                self.begin_enqueue(number, step);
                return pause;
            }
            Step::Savepoint => self.writers[at].savepoint = self.writers[at].events.len(),
            Step::RollBackToSavepoint => {
                let savepoint = self.writers[at].savepoint;
                for event in self.writers[at].events.split_off(savepoint) {
                    self.truth.event(event).fate = Fate::RolledBack;
                    let id = self.truth.event(event).id;
                    self.database.books.kill_row(id);
                }
            }
            Step::Commit => self.commit(number),
            Step::RollBack => {
                if let Some(xid) = self.writers[at].xid {
                    self.database.books.end(xid, false);
                }
                self.end_writer(number);
            }
        }
        20
    }

    /// Whether a transaction that has enqueued is under way: it holds the doorbell's lock.
    pub(super) fn somebody_enqueues(&self) -> bool {
        self.writers.iter().any(|writer| !writer.over && !writer.events.is_empty())
    }

    pub(super) fn writers_are_over(&self) -> bool {
        self.writers.iter().all(|writer| writer.over)
    }

    fn xid_of(&mut self, number: u32) -> u64 {
        let writer = &mut self.writers[number as usize];
        *writer.xid.get_or_insert_with(|| self.database.books.take_xid())
    }

    /// An event's xid is known before its id is given.
    fn begin_enqueue(&mut self, number: u32, step: Step) {
        let Step::Enqueue { aggregate, topic, ailment, size_bytes, .. } = step else { return };
        let found = enqueue::inserts(self.now, self.database.locked_until);
        self.check(10, found);
        let begun = self.truth.moment();
        let xid = self.xid_of(number);
        let event = Event {
            aggregate,
            topic,
            lane: aggregate % self.plan.lanes,
            size_bytes,
            ailment,
            transaction: number,
            fate: Fate::Open,
            xid,
            id: 0,
            begun,
            visible: 0,
            visible_at: 0,
            commit_lsn: 0,
            settled: false,
            parked: false,
            ended: None,
            died: false,
            holds: false,
            was_discarded: false,
            refusals: 0,
            letters: 0,
            handed_at: None,
            deliveries: 0,
            committed: false,
            letter_committed: false,
            delivered_at: None,
        };
        let event = self.truth.add(event);
        self.writers[number as usize].pending = Some(event);
    }

    fn insert(&mut self, number: u32, event: u32) {
        let Event { xid, lane, size_bytes, aggregate, topic, ailment, .. } =
            self.truth.events[event as usize];
        let row = LogRow { xid, id: 0, lane, event, size_bytes, created_at: self.now, dead: false };
        let id = self.database.books.insert(row);
        self.truth.event(event).id = id;
        self.writers[number as usize].rings |= self.somebody_sleeps();
        self.writers[number as usize].events.push(event);
        self.note(|| {
            format!(
                "t{number} enqueues e{event}: aggregate {aggregate}, lane {lane}, topic {topic}, xid {xid}, id {id}, \
                 {ailment:?}"
            )
        });
    }

    fn commit(&mut self, number: u32) {
        let at = number as usize;
        let synchronous = self.plan.transactions[at].synchronous;
        if let Some(xid) = self.writers[at].xid {
            let lsn = self.database.books.end(xid, true);
            let visible = self.truth.moment();
            for event in std::mem::take(&mut self.writers[at].events) {
                let event = self.truth.event(event);
                (event.fate, event.commit_lsn) = (Fate::Visible, lsn);
                (event.visible, event.visible_at) = (visible, self.now);
            }
            if synchronous {
                self.flushed(|books| books.flush());
            }
            self.note(|| {
                format!("t{number} commits xid {xid}{}", if synchronous { "" } else { ", not on disk" })
            });
            if self.writers[at].rings {
                self.ring();
            }
        }
        self.end_writer(number);
    }

    /// Its connection is gone, or it has ended: what it had not committed is rolled back.
    fn end_writer(&mut self, number: u32) {
        let writer = &mut self.writers[number as usize];
        writer.over = true;
        let mut events = std::mem::take(&mut writer.events);
        events.extend(writer.pending.take());
        for event in events {
            self.truth.event(event).fate = Fate::RolledBack;
        }
        for lock in &mut self.row_locks {
            *lock = lock.filter(|owner| *owner != number);
        }
    }
}
