//! What is parked in the model: how an event gets there, what changes it, and when it is due.

use std::collections::BTreeSet;
use std::time::Duration;

use eventferry_core::parked::{
    Cause, Change, Death, Decided, Decision, DueAsk, DueEvent, DuePage, End, Next, ParkReason, ParkedKey,
    Stage,
};
use eventferry_core::{Aggregate, Lane, Row, StoredEvent, Timestamp};

use super::flaw::Flaw;
use super::world::{World, micros};

/// A parked event; settled ones stay, so that the feed knows them.
#[derive(Clone, Debug)]
pub(super) struct ParkedRow {
    /// Its place in the log.
    pub(super) place: u64,
    pub(super) stored: StoredEvent,
    pub(super) stage: Stage,
    pub(super) attempts: u32,
    /// `None`: it only waits behind an earlier one.
    pub(super) refusal: Option<Refusal>,
    pub(super) parked_at: Timestamp,
    /// `None`: as soon as the earlier ones of its aggregate are, or never by itself.
    pub(super) due_at: Option<Timestamp>,
    pub(super) decision: Option<Decision>,
    pub(super) end: Option<End>,
    /// Only a flawed model looks at it.
    was_handed_over: bool,
}

/// The last refusal of a parked event.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) class: String,
    pub(super) message: String,
    at: Timestamp,
}

impl Refusal {
    fn of(cause: Cause<'_>, at: Timestamp) -> Self {
        Self { class: cause.class.into(), message: cause.message.into(), at }
    }
}

impl ParkedRow {
    fn new(place: u64, stored: StoredEvent, now: Timestamp) -> Self {
        Self {
            place,
            stored,
            stage: Stage::Topic,
            attempts: 0,
            refusal: None,
            parked_at: now,
            due_at: None,
            decision: None,
            end: None,
            was_handed_over: false,
        }
    }

    fn refuse(&mut self, refusal: Refusal, attempts: u32, next: Next) {
        let now = refusal.at;
        self.attempts = attempts;
        self.refusal = Some(refusal);
        (self.stage, self.due_at) = match next {
            Next::Retry(pause) => (Stage::Topic, Some(later(now, pause))),
            Next::Wait => (Stage::Waiting, None),
            Next::Die => (Stage::DeadLetterTopic, Some(now)),
        };
    }

    /// Whether this decision is one that its owner could carry out now.
    pub(super) fn fits(&self, decision: Decision) -> bool {
        decision.fits(self.stage) && !(decision == Decision::Retry && self.refusal.is_none())
    }
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    Timestamp(now.0.saturating_add(micros(by)))
}

impl World {
    /// Parks an event in its lane.
    pub(super) fn park(&mut self, lane: Lane, place: u64, stored: &StoredEvent, reason: ParkReason<'_>) {
        let now = self.now();
        let mut row = ParkedRow::new(place, stored.clone(), now);
        match reason {
            ParkReason::Refused { cause, next } => row.refuse(Refusal::of(cause, now), 1, next),
            ParkReason::TopicHeld(cause) => {
                row.refusal = Some(Refusal::of(cause, now));
                row.due_at = Some(now);
                row.attempts = u32::from(self.has(Flaw::HeldTopicCounts));
            }
            ParkReason::Behind => {}
        }
        if let Some(refusal) = row.refusal.as_mut().filter(|_| self.has(Flaw::ForgetsReasons)) {
            refusal.message.clear();
        }
        if self.has(Flaw::RetriesAtOnce) {
            row.due_at = row.due_at.map(|_| now);
        }
        if self.has(Flaw::ParkedEmptyIsNone) {
            Flaw::EmptyIsNone.spoil(&mut row.stored.event);
        }
        if self.has(Flaw::ParkedHeadersAreAMap) {
            Flaw::HeadersAreAMap.spoil(&mut row.stored.event);
        }
        let ordinal = i64::try_from(self.number()).unwrap_or(i64::MAX);
        self.parked.insert(ParkedKey { lane, ordinal }, row);
    }

    /// Changes a parked event; one that is settled or not there stays so.
    pub(super) fn change(&mut self, key: ParkedKey, change: Change<'_>) {
        let now = self.now();
        let flaw = self.flaw;
        let has = |one: Flaw| flaw == Some(one);
        let Some(row) = self.parked.get_mut(&key) else { return };
        if row.end.is_some() {
            if has(Flaw::SettledComesBack) {
                row.end = None;
            }
            return;
        }
        match change {
            Change::Refused { cause, attempts, next } => {
                let is_late = attempts < row.attempts && !has(Flaw::OlderRefusalCounts);
                let is_dying = row.stage == Stage::DeadLetterTopic;
                if (is_late || is_dying) && !(is_dying && has(Flaw::RefusalRevivesTheDead)) {
                    return;
                }
                let attempts = if has(Flaw::RefusalsAddUp) { row.attempts + 1 } else { attempts };
                let known = row.refusal.clone().filter(|_| has(Flaw::KeepsTheFirstCause));
                row.refuse(Refusal::of(cause, now), attempts, next);
                row.refusal = known.or(row.refusal.take());
            }
            Change::Postponed(pause) => {
                row.attempts += u32::from(has(Flaw::PostponedCounts));
                row.due_at =
                    Some(later(now, if has(Flaw::PostponesNothing) { Duration::ZERO } else { pause }));
            }
            Change::Retried => {
                if row.fits(Decision::Retry) || has(Flaw::RetriedRevivesTheDead) {
                    (row.stage, row.due_at) = (Stage::Topic, Some(now));
                    row.attempts = if has(Flaw::RetriedKeepsAttempts) { row.attempts } else { 0 };
                }
                row.decision = row.decision.filter(|_| has(Flaw::DecisionStays));
            }
            Change::Held => (row.stage, row.due_at) = (Stage::Held, None),
            Change::Settled(end) => (row.end, row.decision) = (Some(end), None),
            Change::DecisionRefused => {
                row.decision = None;
                row.end = has(Flaw::RefusedDecisionTakesAll).then_some(End::Discarded);
            }
        }
    }

    /// Unsettled parked events of these lanes.
    pub(super) fn unsettled<'a>(
        &'a self,
        lanes: &'a [Lane],
    ) -> impl Iterator<Item = (&'a ParkedKey, &'a ParkedRow)> {
        let of_all = self.has(Flaw::DueOfEveryLane);
        let mine = move |key: &ParkedKey| of_all || lanes.contains(&key.lane);
        self.parked.iter().filter(move |(key, row)| mine(key) && row.end.is_none())
    }

    /// Hands over what is due.
    pub(super) fn due(&mut self, ask: DueAsk<'_>) -> DuePage<StoredEvent> {
        let now = self.now();
        let mut keys = self.due_keys(&ask, now);
        if self.has(Flaw::DueComesBackward) {
            keys.reverse();
        }
        let all = keys.len();
        if !self.has(Flaw::DueIgnoresRecordsMax) {
            keys.truncate(ask.records_max.max(1) as usize);
        }
        let skips = self.has(Flaw::DueSkipsTheOversized);
        keys.retain(|key| !skips || self.parked[key].stored.size_bytes() as u64 <= ask.bytes_max);
        if !self.has(Flaw::DueIgnoresBytesMax) {
            keys.truncate(fitting(keys.iter().map(|key| &self.parked[key].stored), ask.bytes_max));
        }
        let more = keys.len() < all && !self.has(Flaw::DueSaysNoMore);
        let mut decisions: Vec<_> =
            self.unsettled(ask.lanes).filter_map(|(key, row)| decided(*key, row)).collect();
        if self.has(Flaw::DecisionsFollowAfter) {
            decisions.retain(|one| ask.after.is_none_or(|after| one.key > after));
        }
        if self.has(Flaw::DecisionsGoUnheard) {
            decisions.clear();
        }
        if !self.has(Flaw::DecisionsHaveNoBound) {
            decisions.truncate(ask.records_max as usize);
        }
        let next_in = self.next_due(&ask, now).map(|at| Duration::from_micros(at.0.abs_diff(now.0)));
        for key in &keys {
            if let Some(row) = self.parked.get_mut(key) {
                row.was_handed_over = true;
            }
        }
        let events = keys.into_iter().map(|key| self.due_event(key, now)).collect();
        DuePage { events, decisions, more, next_in }
    }

    /// The keys of what is due after the last one in hand, without bounds.
    fn due_keys(&self, ask: &DueAsk<'_>, now: Timestamp) -> Vec<ParkedKey> {
        let mut held_back: BTreeSet<(&str, &str)> = BTreeSet::new();
        let mut keys = Vec::new();
        let settled_too = self.has(Flaw::SettledHoldsBack);
        let in_hand = |key: &ParkedKey| ask.after.is_some_and(|after| *key <= after);
        for (key, row) in self.parked.iter().filter(|(key, row)| {
            (ask.lanes.contains(&key.lane) || self.has(Flaw::DueOfEveryLane))
                && (row.end.is_none() || settled_too)
        }) {
            let Aggregate { kind, id } = &row.stored.event.aggregate;
            let aggregate = match self.has(Flaw::WaitingStopsItsLane) {
                true => ("", ""),
                false => (kind.as_str(), id.as_str()),
            };
            if held_back.contains(&aggregate) && !self.has(Flaw::OvertakesWhatWaits) {
                continue;
            }
            let passed = in_hand(key) && !self.has(Flaw::DueFromTheStart);
            if row.end.is_none() && !passed && self.is_due(row, ask, now) {
                keys.push(*key);
                continue;
            }
            let lets_go = row.stage == Stage::Held && self.has(Flaw::HeldLetsGo)
                || self.leaves_out(row, ask) && self.has(Flaw::LeavesOutOnlyTheEvent)
                || passed && self.has(Flaw::ForgetsWhatIsInHand)
                || passed && self.has(Flaw::GoesOnInARun) && self.is_due(row, ask, now);
            if !lets_go {
                held_back.insert(aggregate);
            }
        }
        keys
    }

    /// Whether an unsettled event is due, whatever stands before it.
    fn is_due(&self, row: &ParkedRow, ask: &DueAsk<'_>, now: Timestamp) -> bool {
        let moves = match row.stage {
            Stage::Topic | Stage::DeadLetterTopic => true,
            Stage::Waiting => self.has(Flaw::WaitingIsDue),
            Stage::Held => self.has(Flaw::HeldIsDue),
        };
        moves
            && row.due_at.is_none_or(|at| at <= now)
            && (row.decision.is_none() || self.has(Flaw::DecidedIsDue))
            && !self.leaves_out(row, ask)
            && !(row.was_handed_over && self.has(Flaw::HandsOverOnce))
    }

    /// Whether it is for a topic that is left out. What was given up is for the dead-letter topic, whatever its own.
    fn leaves_out(&self, row: &ParkedRow, ask: &DueAsk<'_>) -> bool {
        let is_named = ask.except_topics.contains(&row.stored.event.topic.as_str());
        let is_dying = row.stage == Stage::DeadLetterTopic && !self.has(Flaw::LeavesOutTheDying);
        is_named && !is_dying && !self.has(Flaw::LeavesOutNothing)
    }

    fn next_due(&self, ask: &DueAsk<'_>, now: Timestamp) -> Option<Timestamp> {
        let knows_all = self.has(Flaw::NextCountsWhatIsLeftOut);
        let waits = |row: &&ParkedRow| {
            matches!(row.stage, Stage::Topic | Stage::DeadLetterTopic)
                && row.decision.is_none()
                && (knows_all || !self.leaves_out(row, ask))
        };
        let rows = self.unsettled(ask.lanes).map(|(_, row)| row).filter(waits);
        let times = rows.filter_map(|row| row.due_at).filter(|at| *at > now);
        if self.has(Flaw::NextIsTheLast) { times.max() } else { times.min() }
    }

    fn due_event(&self, key: ParkedKey, now: Timestamp) -> DueEvent<StoredEvent> {
        let row = &self.parked[&key];
        let is_dying = row.stage == Stage::DeadLetterTopic && !self.has(Flaw::ForgetsWhoDies);
        let refusal = row.refusal.as_ref().filter(|_| is_dying);
        let wordless = self.has(Flaw::DiesWithoutAWord);
        let death = refusal.map(|refusal| Death {
            class: refusal.class.clone(),
            message: if wordless { String::new() } else { refusal.message.clone() },
            failed_at: if self.has(Flaw::DiesWhenRead) { now } else { refusal.at },
        });
        DueEvent { key, row: row.stored.clone(), attempts: row.attempts, death }
    }
}

fn decided(key: ParkedKey, row: &ParkedRow) -> Option<Decided> {
    let Aggregate { kind, id } = row.stored.event.aggregate.clone();
    let decision = row.decision?;
    Some(Decided { key, aggregate_type: kind, aggregate_id: id, decision, stage: row.stage })
}

/// How many events fit into so many bytes: one at least.
pub(super) fn fitting<'a>(events: impl Iterator<Item = &'a StoredEvent>, bytes_max: u64) -> usize {
    let mut bytes = 0;
    let fit = events.take_while(|event| {
        bytes += event.size_bytes() as u64;
        bytes <= bytes_max
    });
    fit.count().max(1)
}
