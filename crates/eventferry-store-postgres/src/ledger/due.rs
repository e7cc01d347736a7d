//! What `due.sql` answers, row by row.

use std::time::Duration;

use eventferry_core::parked::{Death, Decided, Decision, DueEvent, DuePage, ParkedKey, Stage};
use eventferry_core::{Lane, PackedRow, Timestamp};
use tokio_postgres::{Error, Row};

use crate::row::{packed, timestamp};

/// The columns beyond those of an event.
mod column {
    pub(super) const ORDINAL: usize = 0;
    pub(super) const LANE: usize = 1;
    pub(super) const AGGREGATE_TYPE: usize = 5;
    pub(super) const AGGREGATE_ID: usize = 6;
    pub(super) const STATE: usize = 12;
    pub(super) const ATTEMPTS: usize = 13;
    pub(super) const CLASS: usize = 14;
    pub(super) const MESSAGE: usize = 15;
    pub(super) const FAILED_AT: usize = 16;
    pub(super) const DECISION: usize = 17;
    pub(super) const MORE: usize = 18;
    pub(super) const NEXT_IN_MICROS: usize = 19;
}

/// The stage that an unsettled event's state is.
pub(crate) fn stage_of(state: &str) -> Stage {
    match state {
        "dead_letter_topic" => Stage::DeadLetterTopic,
        "waiting" => Stage::Waiting,
        "held" => Stage::Held,
        _ => Stage::Topic,
    }
}

/// The state that a stage is.
pub(crate) fn state_of(stage: Stage) -> &'static str {
    match stage {
        Stage::Topic => "topic",
        Stage::DeadLetterTopic => "dead_letter_topic",
        Stage::Waiting => "waiting",
        Stage::Held => "held",
    }
}

/// The decision that a text is; the table holds no other.
pub(crate) fn decision_of(text: &str) -> Decision {
    match text {
        "retry" => Decision::Retry,
        "release" => Decision::Release,
        _ => Decision::Discard,
    }
}

/// A decision as the table has it.
pub(crate) fn decision_text(decision: Decision) -> &'static str {
    match decision {
        Decision::Retry => "retry",
        Decision::Discard => "discard",
        Decision::Release => "release",
    }
}

pub(crate) fn key_of(row: &Row) -> Result<ParkedKey, Error> {
    let lane: i32 = row.try_get(column::LANE)?;
    Ok(ParkedKey { lane: Lane(lane as u16), ordinal: row.try_get(column::ORDINAL)? })
}

pub(super) fn page(rows: &[Row]) -> Result<DuePage<PackedRow>, Error> {
    let mut page = DuePage { events: Vec::new(), decisions: Vec::new(), more: false, next_in: None };
    for row in rows {
        if row.try_get::<_, Option<i32>>(column::LANE)?.is_none() {
            page.more = row.try_get(column::MORE)?;
            let next_in: Option<i64> = row.try_get(column::NEXT_IN_MICROS)?;
            page.next_in = next_in.map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or(0)));
            continue;
        }
        let stage = stage_of(row.try_get(column::STATE)?);
        match row.try_get::<_, Option<&str>>(column::DECISION)? {
            Some(decision) => page.decisions.push(Decided {
                key: key_of(row)?,
                aggregate_type: row.try_get(column::AGGREGATE_TYPE)?,
                aggregate_id: row.try_get(column::AGGREGATE_ID)?,
                decision: decision_of(decision),
                stage,
            }),
            None => page.events.push(DueEvent {
                key: key_of(row)?,
                row: packed(row)?,
                attempts: u32::try_from(row.try_get::<_, i32>(column::ATTEMPTS)?).unwrap_or(0),
                death: (stage == Stage::DeadLetterTopic).then(|| death(row)).transpose()?,
            }),
        }
    }
    Ok(page)
}

fn death(row: &Row) -> Result<Death, Error> {
    let text = |column| Ok(row.try_get::<_, Option<String>>(column)?.unwrap_or_default());
    Ok(Death {
        class: text(column::CLASS)?,
        message: text(column::MESSAGE)?,
        failed_at: timestamp(row, column::FAILED_AT).unwrap_or(Timestamp(0)),
    })
}
