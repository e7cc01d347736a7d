//! What the writers know: what was enqueued, what became of it, and what came before what. In memory, never asked of
//! the database.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use eventferry::{Event, MessageId};

use super::subjects::Subjects;

/// A place in the one order of everything that this process did or saw.
pub(super) type Moment = u64;

/// What all writers note down together.
#[derive(Debug, Default)]
pub(super) struct History {
    clock: AtomicU64,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    events: Vec<Attempt>,
    transactions: Vec<Transaction>,
}

#[derive(Debug)]
struct Attempt {
    transaction: usize,
    event: Event,
    began: Moment,
    message_id: Option<MessageId>,
    /// A savepoint was rolled back over it.
    undone: bool,
}

#[derive(Debug, Default)]
struct Transaction {
    /// With `synchronous_commit = off`: its commit may be forgotten in a crash.
    asynchronous: bool,
    commit_sent: Option<Moment>,
    /// Others see it by then: its commit was answered, or somebody got the lock that it had held.
    visible: Option<Moment>,
    ended: Option<Ended>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Committed,
    RolledBack,
}

/// An event as it was enqueued, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Its place here; within a transaction, numbers are in the order of enqueueing.
    pub(super) number: u64,
    pub(super) aggregate: u32,
    pub(super) transaction: usize,
    /// Right before the statement that enqueued it was sent.
    pub(super) began: Moment,
    pub(super) fate: Fate,
    pub(super) message_id: Option<MessageId>,
    /// Its commit waited for no disk.
    pub(super) asynchronous: bool,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Committed {
        /// Right before COMMIT was sent: nobody may see the event earlier.
        sent: Moment,
        /// Others saw it by then.
        visible: Moment,
    },
    /// COMMIT was sent, and nobody heard the answer.
    Unheard {
        sent: Moment,
        /// Others saw it by then, if it was committed.
        visible: Option<Moment>,
    },
    RolledBack,
}

impl History {
    /// Now: after every moment that was given before.
    pub(super) fn now(&self) -> Moment {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// A transaction begins. `asynchronous`: its commit waits for no disk.
    pub(super) fn begin(&self, asynchronous: bool) -> usize {
        let mut notes = self.notes();
        notes.transactions.push(Transaction { asynchronous, ..Transaction::default() });
        notes.transactions.len() - 1
    }

    /// An event is about to be enqueued: gives it its number. Whoever enqueues several at once calls this for each,
    /// in their order, before the statement is sent.
    pub(super) fn enqueue(&self, transaction: usize, event: impl FnOnce(u64) -> Event) -> (u64, Event) {
        let began = self.now();
        let mut notes = self.notes();
        let number = notes.events.len() as u64;
        let event = event(number);
        let message_id = event.message_id;
        notes.events.push(Attempt { transaction, event: event.clone(), began, message_id, undone: false });
        (number, event)
    }

    /// The message id that an event was given.
    pub(super) fn name(&self, number: u64, id: MessageId) {
        self.notes().events[number as usize].message_id = Some(id);
    }

    /// How many events were numbered so far: where a savepoint begins.
    pub(super) fn next_number(&self) -> u64 {
        self.notes().events.len() as u64
    }

    /// A savepoint was rolled back: what this transaction enqueued from that number on does not exist.
    pub(super) fn undo(&self, transaction: usize, from: u64) {
        let mut notes = self.notes();
        let since = notes.events[from as usize..].iter_mut();
        since.filter(|attempt| attempt.transaction == transaction).for_each(|attempt| attempt.undone = true);
    }

    /// COMMIT is about to be sent.
    pub(super) fn committing(&self, transaction: usize) {
        let now = self.now();
        // Asked again, it may have been done the first time.
        self.notes().transactions[transaction].commit_sent.get_or_insert(now);
    }

    /// COMMIT was answered.
    pub(super) fn committed(&self, transaction: usize) {
        let now = self.now();
        let mut notes = self.notes();
        let transaction = &mut notes.transactions[transaction];
        transaction.ended = Some(Ended::Committed);
        transaction.visible = Some(transaction.visible.map_or(now, |visible| visible.min(now)));
    }

    /// It was rolled back.
    pub(super) fn rolled_back(&self, transaction: usize) {
        self.notes().transactions[transaction].ended = Some(Ended::RolledBack);
    }

    /// Somebody got the lock that this transaction had held to its end: PostgreSQL shows a commit before it gives up
    /// the locks.
    pub(super) fn gave_up_lock(&self, transaction: usize) {
        let now = self.now();
        self.notes().transactions[transaction].visible.get_or_insert(now);
    }

    /// The event of this number, if there is one.
    pub(super) fn event(&self, number: u64) -> Option<Event> {
        Some(self.notes().events.get(usize::try_from(number).ok()?)?.event.clone())
    }

    /// Whether every event that must arrive is among these.
    pub(super) fn all_committed(&self, mut is_there: impl FnMut(u64) -> bool) -> bool {
        let notes = self.notes();
        let committed = |attempt: &&(u64, &Attempt)| {
            !attempt.1.undone && notes.transactions[attempt.1.transaction].ended == Some(Ended::Committed)
        };
        (0..).zip(&notes.events).filter(|attempt| committed(&attempt)).all(|(number, _)| is_there(number))
    }

    /// How many transactions ended, by commit and by rollback, and how many nobody knows of.
    pub(super) fn transactions(&self) -> [u64; 3] {
        let notes = self.notes();
        let count = |ended| notes.transactions.iter().filter(|one| one.ended == ended).count() as u64;
        [count(Some(Ended::Committed)), count(Some(Ended::RolledBack)), count(None)]
    }

    /// Everything, in the order of numbers.
    pub(super) fn written(&self) -> Vec<Written> {
        let notes = self.notes();
        let written = |(number, attempt): (u64, &Attempt)| Written {
            number,
            aggregate: Subjects::aggregate_of(&attempt.event),
            transaction: attempt.transaction,
            began: attempt.began,
            fate: attempt.fate(&notes.transactions[attempt.transaction]),
            message_id: attempt.message_id,
            asynchronous: notes.transactions[attempt.transaction].asynchronous,
        };
        (0..).zip(&notes.events).map(written).collect()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    fn fate(&self, transaction: &Transaction) -> Fate {
        let Transaction { commit_sent, visible, ended, .. } = *transaction;
        match (ended, commit_sent, visible) {
            _ if self.undone => Fate::RolledBack,
            (Some(Ended::Committed), Some(sent), Some(visible)) => Fate::Committed { sent, visible },
            (Some(Ended::RolledBack), ..) => Fate::RolledBack,
            (_, Some(sent), visible) => Fate::Unheard { sent, visible },
            // Never asked to commit.
            _ => Fate::RolledBack,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enqueue(history: &History, transaction: usize) -> u64 {
        history.enqueue(transaction, |_| Event::new("t", ("storm", 1))).0
    }

    #[test]
    fn what_is_undone_or_rolled_back_does_not_exist() {
        let history = History::default();
        let (one, other) = (history.begin(false), history.begin(false));
        enqueue(&history, one);
        let savepoint = history.next_number();
        enqueue(&history, one);
        enqueue(&history, other);
        history.undo(one, savepoint);
        history.committing(one);
        history.committed(one);
        history.rolled_back(other);
        let fates: Vec<Fate> = history.written().iter().map(|written| written.fate).collect();
        assert!(
            matches!(fates[..], [Fate::Committed { .. }, Fate::RolledBack, Fate::RolledBack]),
            "{fates:?}"
        );
        assert!(history.all_committed(|number| number == 0));
        assert!(!history.all_committed(|number| number == 1));
    }

    #[test]
    fn a_commit_is_visible_when_its_lock_is_had_by_another_though_its_answer_comes_later() {
        let history = History::default();
        let transaction = history.begin(false);
        enqueue(&history, transaction);
        history.committing(transaction);
        history.gave_up_lock(transaction);
        let before = history.now();
        history.committed(transaction);
        let Fate::Committed { sent, visible } = history.written()[0].fate else { panic!("committed") };
        assert!(sent < visible && visible < before);
    }

    #[test]
    fn a_commit_whose_answer_nobody_heard_is_neither() {
        let history = History::default();
        let transaction = history.begin(false);
        enqueue(&history, transaction);
        history.committing(transaction);
        assert!(matches!(history.written()[0].fate, Fate::Unheard { visible: None, .. }));
        assert!(history.all_committed(|_| false));
        assert_eq!(history.transactions(), [0, 0, 1]);
    }
}
