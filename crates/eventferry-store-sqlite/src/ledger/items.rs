//! Settlements as rows of `eventferry_intent_item`, and back.

use std::collections::BTreeMap;
use std::time::Duration;

use eventferry_core::parked::{Next, ParkedKey};
use eventferry_core::{Lane, Lease};
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Row, Transaction, named_params};

use super::told::{Movement, Parking, Refusal, Turn, What, Why};
use super::words::{ENDS, word_of};
use crate::config::micros;

/// One row.
#[derive(Debug, Default)]
struct Item<'a> {
    what: &'a str,
    at: i64,
    size: Option<usize>,
    attempts: Option<u32>,
    next: Option<&'a str>,
    pause: Option<i64>,
    refusal: Option<&'a Refusal>,
}

impl<'a> Item<'a> {
    fn of(what: &'a str, at: i64) -> Self {
        Self { what, at, ..Self::default() }
    }

    fn refused(self, refusal: &'a Refusal, next: Next) -> Self {
        let (word, pause) = match next {
            Next::Retry(pause) => ("retry", Some(micros(pause))),
            Next::Wait => ("wait", None),
            Next::Die => ("die", None),
        };
        Self { next: Some(word), pause, refusal: Some(refusal), ..self }
    }

    fn parks(Parking { id, size_bytes, why }: &'a Parking) -> Self {
        let item = match why {
            Why::Refused(refusal, next) => Self::of("park_refused", *id).refused(refusal, *next),
            Why::TopicHeld(refusal) => Self { refusal: Some(refusal), ..Self::of("park_topic_held", *id) },
            Why::Behind => Self::of("park_behind", *id),
        };
        Self { size: Some(*size_bytes), ..item }
    }

    fn turns(Turn { key, what }: &'a Turn) -> Self {
        let at = key.ordinal;
        match what {
            What::Refused { refusal, attempts, next } => {
                Self { attempts: Some(*attempts), ..Self::of("refused", at).refused(refusal, *next) }
            }
            What::Postponed(pause) => Self { pause: Some(micros(*pause)), ..Self::of("postponed", at) },
            What::Retried => Self::of("retried", at),
            What::Held => Self::of("held", at),
            What::Settled(end) => Self::of(word_of(&ENDS, end), at),
            What::DecisionRefused => Self::of("decision_refused", at),
        }
    }
}

/// Writes down what is settled with a transaction, in the order in which it is carried out.
pub(super) fn write(books: &Transaction<'_>, number: u64, moves: &[Movement]) -> rusqlite::Result<()> {
    let mut statement = books.prepare_cached(include_str!("../../sql/intend_item.sql"))?;
    let mut place = 0_i64;
    for movement in moves {
        let Lease { lane, .. } = movement.lease;
        // The lease is on this lane alone.
        let turns = movement.changes.iter().filter(|turn| turn.key.lane == lane).map(Item::turns);
        let parks = movement.parks.iter().map(Item::parks);
        let to = movement.to.map(|to| Item::of("position", to));
        for item in turns.chain(parks).chain(to) {
            let refusal = item.refusal;
            statement.execute(named_params! {
                ":number": number, ":place": place, ":lane": lane.0, ":what": item.what, ":at": item.at,
                ":size": item.size, ":attempts": item.attempts, ":next": item.next, ":pause": item.pause,
                ":class": refusal.map(|refusal| &refusal.class), ":message": refusal.map(|refusal| &refusal.message),
            })?;
            place += 1;
        }
    }
    Ok(())
}

/// What is settled with a transaction, lane by lane.
pub(super) fn read(books: &Transaction<'_>, number: u64) -> rusqlite::Result<Vec<Movement>> {
    let mut moves: BTreeMap<Lane, Movement> = BTreeMap::new();
    let mut statement = books.prepare_cached(include_str!("../../sql/intent_items.sql"))?;
    let mut rows = statement.query([number])?;
    while let Some(row) = rows.next()? {
        let lane = Lane(row.get(0)?);
        let movement = moves.entry(lane).or_insert_with(|| Movement {
            lease: Lease { lane, epoch: 0 },
            to: None,
            parks: Vec::new(),
            changes: Vec::new(),
            carries: Some(number),
        });
        add(movement, row)?;
    }
    Ok(moves.into_values().collect())
}

fn add(movement: &mut Movement, row: &Row<'_>) -> rusqlite::Result<()> {
    let (what, at): (String, i64) = (row.get(1)?, row.get(2)?);
    let why = match what.as_str() {
        "position" => {
            movement.to = Some(at);
            return Ok(());
        }
        "park_refused" => Why::Refused(refusal(row)?, next(row)?),
        "park_topic_held" => Why::TopicHeld(refusal(row)?),
        "park_behind" => Why::Behind,
        what => {
            let key = ParkedKey { lane: movement.lease.lane, ordinal: at };
            movement.changes.push(Turn { key, what: change(what, row)? });
            return Ok(());
        }
    };
    movement.parks.push(Parking { id: at, size_bytes: row.get(3)?, why });
    Ok(())
}

fn change(what: &str, row: &Row<'_>) -> rusqlite::Result<What> {
    Ok(match what {
        "refused" => What::Refused { refusal: refusal(row)?, attempts: row.get(4)?, next: next(row)? },
        "postponed" => What::Postponed(pause(row)?),
        "retried" => What::Retried,
        "held" => What::Held,
        "decision_refused" => What::DecisionRefused,
        end => match ENDS.iter().find(|(_, word)| *word == end) {
            Some((end, _)) => What::Settled(*end),
            None => return Err(unknown(1)),
        },
    })
}

fn refusal(row: &Row<'_>) -> rusqlite::Result<Refusal> {
    Ok(Refusal { class: row.get(7)?, message: row.get(8)? })
}

fn next(row: &Row<'_>) -> rusqlite::Result<Next> {
    Ok(match row.get::<_, String>(5)?.as_str() {
        "retry" => Next::Retry(pause(row)?),
        "wait" => Next::Wait,
        "die" => Next::Die,
        _ => return Err(unknown(5)),
    })
}

fn pause(row: &Row<'_>) -> rusqlite::Result<Duration> {
    Ok(Duration::from_micros(row.get(6)?))
}

/// A word that the column's check keeps out: the table is not this version's.
fn unknown(column: usize) -> rusqlite::Error {
    let kind = Box::new(FromSqlError::InvalidType);
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, kind)
}
