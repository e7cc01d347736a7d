//! What people see of the model's parked events, and what they decide.

use eventferry_core::parked::{
    Act, Decision, Decisions, Desk, ParkedFilter, ParkedKey, ShowAsk, ShownEvent, ShownPage,
};
use eventferry_core::{Lane, StoreFault, StoredEvent};

use super::Shared;
use super::flaw::Flaw;
use super::parked::{ParkedRow, fitting};
use super::world::{World, micros};
use crate::subject::Audited;

/// The model's desk.
#[derive(Debug)]
pub struct ModelDesk {
    world: Shared,
}

impl ModelDesk {
    pub(super) fn new(world: Shared) -> Self {
        Self { world }
    }
}

impl Desk for ModelDesk {
    type Row = StoredEvent;

    async fn show(&mut self, ask: ShowAsk<'_>) -> Result<ShownPage<StoredEvent>, StoreFault> {
        let mut world = self.world.lock();
        let mut keys = world.matching(ask.filter);
        if !world.has(Flaw::ShowsFromTheStart) {
            keys.retain(|key| ask.after.is_none_or(|after| *key > after));
        }
        let all = keys.len();
        if !world.has(Flaw::ShowIgnoresRecordsMax) {
            keys.truncate(ask.records_max.max(1) as usize);
        }
        if !world.has(Flaw::ShowIgnoresBytesMax) {
            keys.truncate(fitting(keys.iter().map(|key| &world.parked[key].stored), ask.bytes_max));
        }
        let more = keys.len() < all;
        Ok(ShownPage { events: keys.into_iter().map(|key| world.shown(key)).collect(), more })
    }

    async fn decide(
        &mut self,
        filter: &ParkedFilter,
        decision: Decision,
        act: &Act,
    ) -> Result<Decisions, StoreFault> {
        let mut world = self.world.lock();
        world.write()?;
        let meant = if world.has(Flaw::DecidesEverything) { &ParkedFilter::default() } else { filter };
        let mut decisions = Decisions::default();
        for key in world.matching(meant) {
            if !world.takes(&world.parked[&key], decision) {
                decisions.refused += 1;
                continue;
            }
            decisions.taken += 1;
            if let Some(row) = world.parked.get_mut(&key) {
                row.decision = Some(decision);
                let message_id = Some(row.stored.message_id);
                world.note(Audited { message_id, ..Audited::of(name(decision), act) });
            }
        }
        Ok(decisions)
    }

    async fn record(&mut self, what: &str, act: &Act) -> Result<(), StoreFault> {
        self.world.lock().note(Audited::of(what, act));
        Ok(())
    }
}

fn name(decision: Decision) -> &'static str {
    match decision {
        Decision::Retry => "retry",
        Decision::Discard => "discard",
        Decision::Release => "release",
    }
}

impl World {
    /// Unsettled parked events that match.
    fn matching(&mut self, filter: &ParkedFilter) -> Vec<ParkedKey> {
        let now = self.now();
        let lanes: Vec<_> = (0..self.lanes_total()).map(Lane).collect();
        let rows = self.unsettled(&lanes).filter(|(_, row)| {
            let age = now.0 - row.parked_at.0;
            self.matches(filter, row)
                && (filter.parked_for.is_none_or(|least| age >= micros(least))
                    || self.has(Flaw::FilterForgetsAge))
        });
        rows.map(|(key, _)| *key).collect()
    }

    fn matches(&self, filter: &ParkedFilter, row: &ParkedRow) -> bool {
        let event = &row.stored.event;
        let is = |wanted: &Option<String>, text: &str, forgotten: Flaw| {
            self.has(forgotten) || wanted.as_ref().is_none_or(|wanted| wanted == text)
        };
        let ids = &filter.message_ids;
        (ids.is_empty() || ids.contains(&row.stored.message_id) || self.has(Flaw::FilterForgetsMessages))
            && is(&filter.aggregate_type, &event.aggregate.kind, Flaw::FilterForgetsTypes)
            && is(&filter.aggregate_id, &event.aggregate.id, Flaw::FilterForgetsIds)
            && is(&filter.topic, &event.topic, Flaw::FilterForgetsTopics)
            && (filter.stage.is_none_or(|stage| stage == row.stage) || self.has(Flaw::FilterForgetsStages))
            && filter.reason.as_ref().is_none_or(|reason| self.is_because(row, reason))
    }

    /// Whether this is the class of its cause, or in the words of it, in any case.
    fn is_because(&self, row: &ParkedRow, reason: &str) -> bool {
        let Some(refusal) = &row.refusal else { return self.has(Flaw::FilterForgetsReasons) };
        let fold = |text: &str| match self.has(Flaw::ReasonKnowsCase) {
            true => text.to_owned(),
            false => text.to_lowercase(),
        };
        let mut reason = fold(reason);
        if self.has(Flaw::ReasonIsAPattern) {
            reason = reason.replace(['%', '_'], "");
        }
        let names_class = fold(&refusal.class) == reason && !self.has(Flaw::ReasonIsWordsOnly);
        names_class || fold(&refusal.message).contains(&reason) || self.has(Flaw::FilterForgetsReasons)
    }

    /// Whether a decision can be written onto this event.
    fn takes(&self, row: &ParkedRow, decision: Decision) -> bool {
        let fits = row.fits(decision)
            || self.has(Flaw::DecidesWhateverStage)
            || self.has(Flaw::RetriesWhoWaitsBehind) && decision.fits(row.stage);
        fits && (row.decision.is_none() || self.has(Flaw::ReplacesDecisions))
    }

    /// Writes a line of the audit.
    fn note(&mut self, mut line: Audited) {
        if self.has(Flaw::AuditForgetsWhy) {
            line.why.clear();
        }
        if self.has(Flaw::AuditForgetsWhich) {
            line.message_id = None;
        }
        let is_missed = self.has(Flaw::AuditsNothing)
            || self.has(Flaw::AuditsTheCall) && self.audit.last().is_some_and(|last| last.why == line.why)
            || self.has(Flaw::RecordsNothing) && line.message_id.is_none();
        if !is_missed {
            self.audit.push(line);
        }
    }

    fn shown(&mut self, key: ParkedKey) -> ShownEvent<StoredEvent> {
        let row = &self.parked[&key];
        let refusal = row.refusal.as_ref();
        ShownEvent {
            key,
            row: row.stored.clone(),
            stage: row.stage,
            attempts: row.attempts,
            class: refusal.map(|refusal| refusal.class.clone()),
            message: refusal.map(|refusal| refusal.message.clone()),
            parked_at: row.parked_at,
            due_at: row.due_at,
            decision: row.decision.filter(|_| !self.has(Flaw::ShowsNoDecision)),
        }
    }
}
