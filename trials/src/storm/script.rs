//! What a transaction does, decided before it begins: a script that a writer performs.

use std::time::Duration;

use super::dice::Dice;
use super::subjects::{Draft, HOT, Subjects, Way};

/// One transaction.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// What kind of hostility, for the report.
    pub(super) name: &'static str,
    /// With `synchronous_commit = off`: visible before it is durable.
    pub(super) asynchronous: bool,
    pub(super) steps: Vec<Step>,
    pub(super) end: End,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The transaction gets its xid here, long before its first event.
    TakeXid,
    Wait(Duration),
    /// Waits for a row's lock, and holds it until the end. Never inside a savepoint, whose undoing would give it up.
    Lock(usize),
    Enqueue(Way, Vec<Draft>),
    /// Inside a function that catches its own failure, so that the event is undone.
    EnqueueCaught(Draft),
    Savepoint,
    /// Undoes everything since the latest savepoint, and forgets it.
    UndoSavepoint,
    /// Keeps everything since the latest savepoint, and forgets it.
    KeepSavepoint,
    /// A statement that fails. Only undoing can follow.
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Commit,
    /// The only statement is its own transaction.
    Bare,
    RollBack,
    /// COMMIT after a statement failed, which PostgreSQL answers by rolling back.
    CommitInVain,
    /// PREPARE TRANSACTION; decided later, on another connection.
    Prepare,
    /// The connection is dropped instead.
    Vanish,
    /// COMMIT is sent, and its answer not waited for: nobody knows.
    CommitUnheard,
}

/// How many rows there are to wait for.
pub(super) const LOCKS: usize = HOT as usize;

impl Script {
    /// Writes one.
    pub(super) fn write(subjects: &Subjects, dice: &mut Dice) -> Self {
        let write = dice.weighed::<fn(&Subjects, &mut Dice) -> Self>(&[
            (90, plain),
            (60, bare),
            (45, savepoints),
            (20, rolled_back),
            (12, early_xid),
            (2, long_open),
            (16, prepared),
            (40, queued),
            (12, bulk),
            (6, failed),
            (4, vanished),
            (2, unheard),
        ]);
        let mut script = write(subjects, dice);
        script.asynchronous = dice.once_in(4);
        script
    }

    /// So many events of any aggregates in one statement and one transaction.
    pub(super) fn paced(subjects: &Subjects, dice: &mut Dice, events: u64) -> Self {
        let drafts = (0..events).map(|_| subjects.draft(dice, Way::Many, None)).collect();
        script("paced", vec![Step::Enqueue(Way::Many, drafts)], End::Commit)
    }
}

fn script(name: &'static str, steps: Vec<Step>, end: End) -> Script {
    Script { name, asynchronous: false, steps, end }
}

fn millis(dice: &mut Dice, range: std::ops::Range<u64>) -> Step {
    Step::Wait(Duration::from_millis(dice.within(range)))
}

fn way(dice: &mut Dice) -> Way {
    dice.weighed(&[(1, Way::Function), (1, Way::Insert), (1, Way::Outbox), (1, Way::Many)])
}

/// A few events in one step, sometimes all of one aggregate.
fn events(subjects: &Subjects, dice: &mut Dice, most: u64) -> Step {
    let way = way(dice);
    let one = dice.once_in(3).then(|| dice.below(HOT as usize) as u32);
    let count = dice.within(1..most + 1);
    Step::Enqueue(way, (0..count).map(|_| subjects.draft(dice, way, one)).collect())
}

fn plain(subjects: &Subjects, dice: &mut Dice) -> Script {
    let steps = (0..dice.within(1..4)).map(|_| events(subjects, dice, 4)).collect();
    script("plain", steps, End::Commit)
}

fn bare(subjects: &Subjects, dice: &mut Dice) -> Script {
    let way = way(dice);
    let count = if way == Way::Many { dice.within(1..10) } else { 1 };
    let drafts = (0..count).map(|_| subjects.draft(dice, way, None)).collect();
    script("bare", vec![Step::Enqueue(way, drafts)], End::Bare)
}

fn savepoints(subjects: &Subjects, dice: &mut Dice) -> Script {
    let mut steps = vec![events(subjects, dice, 3)];
    let mut depth = 0;
    for _ in 0..dice.within(4..14) {
        match dice.below(5) {
            0 | 1 => steps.push(events(subjects, dice, 3)),
            2 => {
                steps.push(Step::Savepoint);
                depth += 1;
            }
            3 if depth > 0 => {
                if dice.once_in(3) {
                    steps.push(Step::Fail);
                }
                steps.push(Step::UndoSavepoint);
                depth -= 1;
            }
            4 if depth > 0 => {
                steps.push(Step::KeepSavepoint);
                depth -= 1;
            }
            _ => steps.push(Step::EnqueueCaught(subjects.draft(dice, Way::Function, None))),
        }
    }
    // Savepoints that are still there are kept by the commit itself.
    script("savepoints", steps, End::Commit)
}

fn rolled_back(subjects: &Subjects, dice: &mut Dice) -> Script {
    Script { name: "rolled back", end: End::RollBack, ..plain(subjects, dice) }
}

fn early_xid(subjects: &Subjects, dice: &mut Dice) -> Script {
    let steps = vec![Step::TakeXid, millis(dice, 5..600), events(subjects, dice, 4)];
    script("early xid", steps, End::Commit)
}

fn long_open(subjects: &Subjects, dice: &mut Dice) -> Script {
    let mut steps = Vec::new();
    for _ in 0..dice.within(2..5) {
        steps.push(events(subjects, dice, 3));
        steps.push(millis(dice, 200..1_500));
    }
    script("long open", steps, End::Commit)
}

fn prepared(subjects: &Subjects, dice: &mut Dice) -> Script {
    Script { name: "prepared", end: End::Prepare, ..plain(subjects, dice) }
}

/// An early xid that waits for another transaction and enqueues after it: ids and xids run against each other.
fn queued(subjects: &Subjects, dice: &mut Dice) -> Script {
    let lock = dice.below(LOCKS);
    let way = way(dice);
    // Whoever waits for the same row writes about the same aggregate.
    let of_lock = |dice: &mut Dice| subjects.draft(dice, way, Some(lock as u32));
    let mut steps = vec![Step::TakeXid, Step::Lock(lock)];
    steps.push(Step::Enqueue(way, (0..dice.within(1..4)).map(|_| of_lock(dice)).collect()));
    if dice.once_in(4) {
        steps.push(millis(dice, 1..50));
    }
    let end = dice.weighed(&[(6, End::Commit), (1, End::RollBack), (1, End::CommitUnheard)]);
    script("queued", steps, end)
}

fn bulk(subjects: &Subjects, dice: &mut Dice) -> Script {
    let one = dice.once_in(2).then(|| dice.below(HOT as usize) as u32);
    let drafts = (0..dice.within(20..200)).map(|_| subjects.draft(dice, Way::Many, one)).collect();
    script("bulk", vec![Step::Enqueue(Way::Many, drafts)], End::Commit)
}

fn failed(subjects: &Subjects, dice: &mut Dice) -> Script {
    let steps = vec![events(subjects, dice, 4), Step::Fail];
    script("failed", steps, End::CommitInVain)
}

fn vanished(subjects: &Subjects, dice: &mut Dice) -> Script {
    Script { name: "vanished", end: End::Vanish, ..plain(subjects, dice) }
}

fn unheard(subjects: &Subjects, dice: &mut Dice) -> Script {
    Script { name: "unheard", end: End::CommitUnheard, ..plain(subjects, dice) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Performs a script's savepoints and failures in the head; says what no server would take.
    fn fault(script: &Script) -> Option<&'static str> {
        let (mut depth, mut failed) = (0u32, false);
        for step in &script.steps {
            match step {
                Step::UndoSavepoint if depth == 0 => return Some("nothing to undo"),
                Step::UndoSavepoint => (depth, failed) = (depth - 1, false),
                _ if failed => return Some("goes on after a failure"),
                Step::KeepSavepoint if depth == 0 => return Some("nothing to keep"),
                Step::KeepSavepoint => depth -= 1,
                Step::Savepoint => depth += 1,
                Step::Fail => failed = true,
                Step::Lock(_) if depth > 0 => return Some("a lock that undoing would give up"),
                Step::Lock(_) if script.end == End::Prepare => return Some("a lock that nobody gives up"),
                _ => {}
            }
        }
        (failed != (script.end == End::CommitInVain)).then_some("ends as it must not")
    }

    #[test]
    fn every_script_can_be_performed_and_every_kind_is_written() {
        let subjects = Subjects { topics: vec![("a".into(), 1), ("b".into(), 4), ("c".into(), 8)] };
        let mut dice = Dice::for_one(0, 1);
        let mut names = std::collections::BTreeSet::new();
        for _ in 0..5_000 {
            let script = Script::write(&subjects, &mut dice);
            assert_eq!(fault(&script), None, "{script:?}");
            if script.end == End::Bare {
                assert_eq!(script.steps.len(), 1, "{script:?}");
            }
            names.insert(script.name);
        }
        assert_eq!(names.len(), 12);
    }
}
