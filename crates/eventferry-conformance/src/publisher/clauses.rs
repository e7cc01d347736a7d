//! The clauses for publishers, one file an idea: what they say stands at the head of each file, how they ask below it.

mod arrival;
mod ending;
mod order;
mod refusal;
mod topics;
mod transactions;

use super::clause::Clause;

/// The clauses in the order of the promises.
pub(crate) static BY_PROMISE: [&[Clause]; 10] = [
    arrival::CLAUSES,
    ending::ANSWERS,
    order::CLAUSES,
    refusal::CLAUSES,
    transactions::CLAUSES,
    transactions::TAKING_OVER,
    ending::CLAUSES,
    topics::CLAUSES,
    arrival::DEAD_LETTERS,
    arrival::BOUNDS,
];

/// A clause as data.
macro_rules! clause {
    ($promise:literal, $id:literal, $sentence:literal, [$($need:ident),*], $run:ident) => {
        $crate::publisher::clause::Clause {
            id: $id,
            promise: $promise,
            sentence: $sentence,
            needs: &[$($crate::publisher::clause::Need::$need),*],
            run: |bench| Box::pin($run(bench)),
        }
    };
}
use clause;

/// What a clause's function answers.
type Kept = Result<(), crate::broken::Broken>;
