//! What a settlement tells, in a form that can go to another thread and be held against the same call made again.

use std::time::Duration;

use eventferry_core::packed::PackedRow;
use eventferry_core::parked::{
    CAUSE_MESSAGE_CHARS_MAX, Cause, Change, End, Next, Park, ParkReason, ParkedKey,
};
use eventferry_core::store::Settlement;
use eventferry_core::{Lane, Lease, Row, Timestamp};
use rusqlite::{Transaction, named_params};

use super::words::{ENDS, word_of};
use crate::config::micros;
use crate::feed::SqliteMark;

/// A settlement.
#[derive(Debug, PartialEq)]
pub(super) struct Movement {
    pub(super) lease: Lease,
    /// Where the lane is carried to; `None`: only parked events change.
    pub(super) to: Option<i64>,
    pub(super) parks: Vec<Parking>,
    pub(super) changes: Vec<Turn>,
    /// See [`Settlement::carries`].
    pub(super) carries: Option<u64>,
}

impl Movement {
    pub(super) fn of(settlement: &Settlement<'_, SqliteMark, PackedRow>) -> Self {
        let Settlement { lease, prefix, park, changes, carries } = settlement;
        Self {
            lease: *lease,
            to: prefix.last().map(|mark| mark.0),
            parks: park.iter().map(Parking::of).collect(),
            changes: changes
                .iter()
                .map(|(key, change)| Turn { key: *key, what: What::of(*change) })
                .collect(),
            carries: *carries,
        }
    }
}

/// An event to park. Its row is not needed: the log has it.
#[derive(Debug, PartialEq)]
pub(super) struct Parking {
    pub(super) id: i64,
    pub(super) size_bytes: usize,
    pub(super) why: Why,
}

#[derive(Debug, PartialEq)]
pub(super) enum Why {
    Refused(Refusal, Next),
    TopicHeld(Refusal),
    Behind,
}

/// A [`Cause`] of its own.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) class: String,
    pub(super) message: String,
}

impl From<Cause<'_>> for Refusal {
    fn from(cause: Cause<'_>) -> Self {
        Self {
            class: cause.class.into(),
            message: cause.message.chars().take(CAUSE_MESSAGE_CHARS_MAX).collect(),
        }
    }
}

impl Parking {
    fn of(park: &Park<'_, SqliteMark, PackedRow>) -> Self {
        let why = match park.reason {
            ParkReason::Refused { cause, next } => Why::Refused(cause.into(), next),
            ParkReason::TopicHeld(cause) => Why::TopicHeld(cause.into()),
            ParkReason::Behind => Why::Behind,
        };
        Self { id: park.mark.0, size_bytes: park.row.size_bytes(), why }
    }

    /// Copies the event; answers whether it was there to be copied.
    pub(super) fn park(&self, books: &Transaction<'_>, lane: Lane, now: Timestamp) -> rusqlite::Result<bool> {
        let (refusal, attempts, stage, due_at) = match &self.why {
            Why::Refused(refusal, next) => {
                let (stage, due_at) = place_of(*next, now);
                (Some(refusal), 1, stage, due_at)
            }
            Why::TopicHeld(refusal) => (Some(refusal), 0, "topic", Some(now.0)),
            Why::Behind => (None, 0, "topic", None),
        };
        let copied = books.prepare_cached(include_str!("../../sql/park.sql"))?.execute(named_params! {
            ":id": self.id, ":lane": lane.0, ":stage": stage, ":attempts": attempts, ":due_at": due_at,
            ":class": refusal.map(|refusal| &refusal.class), ":message": refusal.map(|refusal| &refusal.message),
            ":size": self.size_bytes, ":now": now.0,
        })?;
        Ok(copied > 0)
    }
}

/// Where a refused event stands now, and when it is due.
fn place_of(next: Next, now: Timestamp) -> (&'static str, Option<i64>) {
    match next {
        Next::Retry(pause) => ("topic", Some(later(now, pause))),
        Next::Wait => ("waiting", None),
        Next::Die => ("dead_letter_topic", Some(now.0)),
    }
}

fn later(now: Timestamp, by: Duration) -> i64 {
    now.0.saturating_add(micros(by))
}

/// What became of a parked event.
#[derive(Debug, PartialEq)]
pub(super) struct Turn {
    pub(super) key: ParkedKey,
    pub(super) what: What,
}

/// A [`Change`] of its own.
#[derive(Debug, PartialEq)]
pub(super) enum What {
    Refused { refusal: Refusal, attempts: u32, next: Next },
    Postponed(Duration),
    Retried,
    Held,
    Settled(End),
    DecisionRefused,
}

impl What {
    fn of(change: Change<'_>) -> Self {
        match change {
            Change::Refused { cause, attempts, next } => {
                Self::Refused { refusal: cause.into(), attempts, next }
            }
            Change::Postponed(pause) => Self::Postponed(pause),
            Change::Retried => Self::Retried,
            Change::Held => Self::Held,
            Change::Settled(end) => Self::Settled(end),
            Change::DecisionRefused => Self::DecisionRefused,
        }
    }
}

impl Turn {
    /// Changes the event, if it is in this lane and not settled.
    pub(super) fn apply(&self, books: &Transaction<'_>, lane: Lane, now: Timestamp) -> rusqlite::Result<()> {
        let ParkedKey { lane: its_lane, ordinal } = self.key;
        if its_lane != lane {
            // The lease is on another lane.
            return Ok(());
        }
        let change = |sql| books.prepare_cached(sql);
        match &self.what {
            What::Refused { refusal: Refusal { class, message }, attempts, next } => {
                let (stage, due_at) = place_of(*next, now);
                change(include_str!("../../sql/change_refused.sql"))?.execute(named_params! {
                    ":ordinal": ordinal, ":lane": lane.0, ":stage": stage, ":attempts": attempts, ":due_at": due_at,
                    ":class": class, ":message": message, ":now": now.0,
                })
            }
            What::Postponed(pause) => change(include_str!("../../sql/change_postponed.sql"))?.execute(
                named_params! { ":ordinal": ordinal, ":lane": lane.0, ":due_at": later(now, *pause) },
            ),
            What::Retried => change(include_str!("../../sql/change_retried.sql"))?
                .execute(named_params! { ":ordinal": ordinal, ":lane": lane.0, ":now": now.0 }),
            What::Held => change(include_str!("../../sql/change_held.sql"))?
                .execute(named_params! { ":ordinal": ordinal, ":lane": lane.0 }),
            What::Settled(end) => {
                change(include_str!("../../sql/change_settled.sql"))?.execute(named_params! {
                    ":ordinal": ordinal, ":lane": lane.0, ":end": word_of(&ENDS, end), ":now": now.0,
                })
            }
            What::DecisionRefused => change(include_str!("../../sql/change_undecided.sql"))?
                .execute(named_params! { ":ordinal": ordinal, ":lane": lane.0 }),
        }?;
        Ok(())
    }
}
