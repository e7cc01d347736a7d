//! Parked events: listed, due, changed, decided upon, and forgotten when they are settled and old.

use std::collections::BTreeMap;

use eventferry_core::Lane;
use eventferry_core::machine::ChangeWhat;
use eventferry_core::parked::{Decision, End, Next, ParkedKey, Stage};

use super::Database;
use super::books::Books;
use super::ledger::{ToldChange, ToldPark};
use crate::agenda::Time;
use crate::flaw::Flaw;
use eventferry_core::machine::ParkWhy;

/// A parked event's row; a settled one stays as a tombstone.
#[derive(Clone, Debug)]
pub(crate) struct ParkedRow {
    pub(crate) lane: u16,
    pub(crate) ordinal: i64,
    pub(super) id: u64,
    pub(crate) event: u32,
    pub(crate) aggregate: u16,
    pub(crate) topic: u16,
    pub(crate) size_bytes: u32,
    pub(crate) parked_at: Time,
    pub(crate) stage: Stage,
    pub(crate) attempts: u32,
    /// Whose refusal was told last, and when; `None`: it was not refused.
    pub(crate) cause: Option<(u32, Time)>,
    topic_held: bool,
    /// `None`: with the earlier ones of its aggregate, or not by itself.
    pub(crate) due_at: Option<Time>,
    pub(crate) decision: Option<Decision>,
    pub(crate) ended: Option<(End, Time)>,
}

impl ParkedRow {
    pub(crate) fn key(&self) -> ParkedKey {
        ParkedKey { lane: Lane(self.lane), ordinal: self.ordinal }
    }

    pub(crate) fn is_unsettled(&self) -> bool {
        self.ended.is_none()
    }
}

/// A change of a parked event, as it was applied.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) told: ToldChange,
    /// `None`: it is settled, or not there.
    pub(crate) before: Option<ParkedRow>,
    /// The event was as the change has it.
    pub(crate) was_so: bool,
}

/// Which parked events to hand over again.
#[derive(Clone, Debug)]
pub(crate) struct DueWish {
    /// The timeline on which its lanes were opened.
    pub(crate) timeline: Option<u32>,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) except_topics: Vec<u16>,
    pub(crate) after: Option<ParkedKey>,
    pub(crate) records_max: usize,
    pub(crate) bytes_max: u64,
}

/// Parked events whose time has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct DueRead {
    pub(crate) rows: Vec<DueRow>,
    pub(crate) decisions: Vec<DecidedRow>,
    pub(crate) more: bool,
    pub(crate) next_in: Option<Time>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct DueRow {
    pub(crate) key: ParkedKey,
    pub(crate) event: u32,
    pub(crate) attempts: u32,
    pub(crate) dying: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct DecidedRow {
    pub(crate) key: ParkedKey,
    pub(crate) aggregate: u16,
    pub(crate) decision: Decision,
    pub(crate) stage: Stage,
}

impl Books {
    /// The unsettled parked events of lanes, in the order of their keys.
    pub(crate) fn parked_of(&self, lanes: &[Lane]) -> Vec<&ParkedRow> {
        let rows = self.parked.iter().filter(|row| row.is_unsettled() && lanes.contains(&Lane(row.lane)));
        let mut rows: Vec<&ParkedRow> = rows.collect();
        rows.sort_unstable_by_key(|row| row.key());
        rows
    }
}

impl Database {
    /// Adds a row, unless it is there.
    pub(super) fn park(&mut self, now: Time, lane: u16, park: ToldPark) {
        let same = |row: &ParkedRow| row.lane == lane && row.id == park.id && row.event == park.event;
        // It is copied from the log. What is gone there was settled, whatever an intent says.
        let logged = self.books.rows.iter().any(|row| row.event == park.event);
        if !logged || self.books.parked.iter().any(same) || self.has(Flaw::ParksNothing) {
            return;
        }
        self.books.ordinals += 1;
        let (stage, due_at, attempts) = match park.why {
            ParkWhy::Refused(next) => {
                let (stage, due_at) = next_stage(now, next);
                (stage, due_at, 1)
            }
            ParkWhy::TopicHeld => (Stage::Topic, Some(now), u32::from(self.has(Flaw::CountsHeldTopics))),
            ParkWhy::Behind => (Stage::Topic, None, 0),
        };
        self.books.parked.push(ParkedRow {
            lane,
            ordinal: self.books.ordinals,
            id: park.id,
            event: park.event,
            aggregate: park.aggregate,
            topic: park.topic,
            size_bytes: park.size_bytes,
            parked_at: now,
            stage,
            attempts,
            cause: matches!(park.why, ParkWhy::Refused(_)).then_some((park.event, now)),
            topic_held: park.why == ParkWhy::TopicHeld,
            due_at,
            decision: None,
            ended: None,
        });
    }

    /// Says what became of a parked event; changes nothing of one that is settled or not there.
    pub(super) fn change(&mut self, now: Time, told: ToldChange) {
        let forgets_holds = self.has(Flaw::ForgetsHolds);
        let leaves_nothing = self.has(Flaw::LeavesNoTombstone);
        let found = self.books.parked.iter_mut().find(|row| row.key() == told.key);
        let row = found.filter(|row| row.is_unsettled());
        let Some(row) = row else {
            self.applied.push(Applied { told, before: None, was_so: false });
            return;
        };
        let before = row.clone();
        match told.what {
            // It comes late.
            ChangeWhat::Refused { attempts, .. } if attempts < row.attempts => {}
            ChangeWhat::Refused { attempts, next, .. } => {
                let (stage, due_at) = next_stage(now, next);
                (row.attempts, row.stage, row.due_at) = (attempts, stage, due_at);
                row.cause = told.cause.map(|cause| (cause, now));
            }
            ChangeWhat::Postponed(pause) => row.due_at = Some(now + pause.as_micros() as Time),
            ChangeWhat::Retried => {
                (row.attempts, row.stage, row.due_at) = (0, Stage::Topic, Some(now));
                row.decision = None;
            }
            ChangeWhat::Held if !forgets_holds => (row.stage, row.due_at) = (Stage::Held, None),
            ChangeWhat::Held => row.ended = Some((End::DeadLettered, now)),
            ChangeWhat::Settled(end) => (row.ended, row.decision) = (Some((end, now)), None),
            ChangeWhat::DecisionRefused => row.decision = None,
        }
        let state = |row: &ParkedRow| (row.stage, row.attempts, row.decision, row.ended);
        let was_so = state(&before) == state(row);
        self.applied.push(Applied { told, before: Some(before), was_so });
        if leaves_nothing {
            self.books.parked.retain(ParkedRow::is_unsettled);
        }
    }

    /// Hands over what is due, each with all unsettled ones before it of its aggregate, and people's decisions. `None`:
    /// its lanes were opened on another timeline.
    pub(crate) fn due(&self, now: Time, wish: &DueWish) -> Option<DueRead> {
        if wish.timeline != Some(self.books.timeline) && !self.has(Flaw::DueIgnoresHistory) {
            return None;
        }
        let mut read = DueRead::default();
        // Until when the earlier ones of each aggregate keep the next waiting; `None`: for now.
        let mut waits: BTreeMap<u16, Option<Time>> = BTreeMap::new();
        let mut bytes = 0;
        for row in self.books.parked_of(&wish.lanes) {
            if let Some(decision) = row.decision {
                let DueRead { decisions, .. } = &mut read;
                let stage = if self.has(Flaw::RetriesTheDying) { Stage::Topic } else { row.stage };
                if decisions.len() < wish.records_max {
                    let (key, aggregate) = (row.key(), row.aggregate);
                    decisions.push(DecidedRow { key, aggregate, decision, stage });
                }
            }
            let wait = waits.entry(row.aggregate).or_insert(Some(0));
            let before = if self.has(Flaw::DueOvertakes) { Some(0) } else { *wait };
            let due = before.and_then(|before| Some(before.max(self.due_at(row, wish)?)));
            *wait = due;
            let Some(due) = due else { continue };
            let passed = wish.after.is_some_and(|after| row.key() <= after);
            if due > now {
                let next_in = due - now;
                read.next_in = Some(read.next_in.map_or(next_in, |least| least.min(next_in)));
                *wait = None;
                continue;
            }
            if passed && !self.has(Flaw::DueContinuesRuns) {
                *wait = None;
            }
            if passed || read.more {
                continue;
            }
            bytes += u64::from(row.size_bytes);
            if read.rows.len() >= wish.records_max || (!read.rows.is_empty() && bytes > wish.bytes_max) {
                read.more = true;
                continue;
            }
            let ParkedRow { event, attempts, .. } = *row;
            let dying = row.stage == Stage::DeadLetterTopic;
            read.rows.push(DueRow { key: row.key(), event, attempts, dying });
        }
        if self.has(Flaw::DueByTime) {
            // What is due with others counts as due at once.
            let due_at =
                |key| self.books.parked.iter().find(|row| row.key() == key).and_then(|row| row.due_at);
            read.rows.sort_by_key(|row| due_at(row.key));
        }
        Some(read)
    }

    /// When a row is due, if those before it let it; `None`: not by itself.
    fn due_at(&self, row: &ParkedRow, wish: &DueWish) -> Option<Time> {
        let excepted = row.stage == Stage::Topic && wish.except_topics.contains(&row.topic);
        let idle = matches!(row.stage, Stage::Waiting | Stage::Held);
        (row.decision.is_none() && !excepted && !idle).then(|| row.due_at.unwrap_or(0))
    }

    /// A person decides; says whether the decision was written down.
    pub(crate) fn decide(&mut self, now: Time, key: ParkedKey, decision: Decision) -> bool {
        let at_once = self.has(Flaw::DecidesAtOnce);
        let fits_all = self.has(Flaw::RetriesTheDying) && decision == Decision::Retry;
        let Some(row) = self.books.parked.iter_mut().find(|row| row.key() == key) else { return false };
        let tried =
            decision != Decision::Retry || row.stage != Stage::Topic || row.cause.is_some() || row.topic_held;
        let fits = row.is_unsettled() && row.decision.is_none() && tried && decision.fits(row.stage);
        if !(fits || fits_all && row.is_unsettled()) {
            return false;
        }
        row.decision = Some(decision);
        if at_once && decision == Decision::Discard {
            (row.ended, row.decision) = (Some((End::Discarded, now)), None);
        }
        self.books.write_and_flush();
        true
    }

    /// Forgets settled rows that are old and of which the log has nothing that could be read again.
    pub(super) fn sweep_parked(&mut self, now: Time, retention: Time) {
        let early = self.has(Flaw::SweepsTombstones);
        let rows = &self.books.rows;
        self.books.parked.retain(|row| {
            let old = row.ended.is_some_and(|(_, at)| at + retention <= now || early);
            !old || (!early && rows.iter().any(|logged| logged.event == row.event))
        });
    }
}

fn next_stage(now: Time, next: Next) -> (Stage, Option<Time>) {
    match next {
        Next::Retry(pause) => (Stage::Topic, Some(now + pause.as_micros() as Time)),
        Next::Wait => (Stage::Waiting, None),
        Next::Die => (Stage::DeadLetterTopic, Some(now)),
    }
}
