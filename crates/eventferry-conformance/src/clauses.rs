//! The clauses, one file an idea of a promise: what they say stands at the head of each file, how they ask below it.

mod atomic;
mod bytes;
mod changes;
mod dead_letters;
mod desk;
mod doorbell;
mod due;
mod duplicates;
mod enqueue;
mod fencing;
mod intents;
mod isolation;
mod lost;
mod memory;
mod order;
mod outage;
mod ownership;
mod succession;

use crate::clause::Clause;

/// Every file's clauses, in the order of the promises.
pub(crate) static BY_PROMISE: [&[Clause]; 18] = [
    atomic::CLAUSES,
    lost::CLAUSES,
    bytes::CLAUSES,
    doorbell::CLAUSES,
    order::CLAUSES,
    duplicates::CLAUSES,
    intents::CLAUSES,
    ownership::CLAUSES,
    fencing::CLAUSES,
    succession::CLAUSES,
    isolation::CLAUSES,
    outage::CLAUSES,
    dead_letters::CLAUSES,
    due::CLAUSES,
    changes::CLAUSES,
    desk::CLAUSES,
    memory::CLAUSES,
    enqueue::CLAUSES,
];

/// A clause as data.
macro_rules! clause {
    ($promise:literal, $id:literal, $sentence:literal, [$($need:ident),*], $run:ident) => {
        $crate::clause::Clause {
            id: $id,
            promise: $promise,
            sentence: $sentence,
            needs: &[$($crate::clause::Need::$need),*],
            run: |bench| Box::pin($run(bench)),
        }
    };
}
use clause;

/// What a clause's function answers.
type Kept = Result<(), crate::broken::Broken>;
