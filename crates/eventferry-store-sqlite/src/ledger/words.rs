//! How the tables write down where a parked event stands, how it ended and what was decided on it.

use eventferry_core::parked::{Decision, End, Stage};
use rusqlite::Error::FromSqlConversionFailure;
use rusqlite::types::{FromSqlError, Type, ValueRef};

use crate::row::bytes_of;

pub(crate) const STAGES: [(Stage, &str); 4] = [
    (Stage::Topic, "topic"),
    (Stage::DeadLetterTopic, "dead_letter_topic"),
    (Stage::Waiting, "waiting"),
    (Stage::Held, "held"),
];

pub(crate) const DECISIONS: [(Decision, &str); 3] =
    [(Decision::Retry, "retry"), (Decision::Discard, "discard"), (Decision::Release, "release")];

pub(crate) const ENDS: [(End, &str); 3] =
    [(End::Shipped, "shipped"), (End::DeadLettered, "dead_lettered"), (End::Discarded, "discarded")];

/// The word for one of a list.
pub(crate) fn word_of<T: PartialEq>(list: &[(T, &'static str)], one: &T) -> &'static str {
    list.iter().find(|(listed, _)| listed == one).map_or("", |(_, word)| word)
}

/// The one of a list that a column's word says; `None`: NULL.
///
/// # Errors
/// The column says another word, which its check keeps out: the table is not this version's.
pub(crate) fn one_of<T: Copy>(
    list: &[(T, &'static str)],
    column: ValueRef<'_>,
) -> rusqlite::Result<Option<T>> {
    let Some(said) = bytes_of(column) else { return Ok(None) };
    let found = list.iter().find(|(_, word)| word.as_bytes() == said);
    let unknown = || FromSqlConversionFailure(0, Type::Text, Box::new(FromSqlError::InvalidType));
    found.map(|(one, _)| Some(*one)).ok_or_else(unknown)
}

/// Where an unsettled event stands.
pub(crate) fn stage_of(column: ValueRef<'_>) -> rusqlite::Result<Stage> {
    Ok(one_of(&STAGES, column)?.unwrap_or(Stage::Topic))
}
