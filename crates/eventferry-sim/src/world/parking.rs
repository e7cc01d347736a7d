//! Parked events: due again, changed by settlements, decided upon by people.

use eventferry_core::fault::StoreFaultKind;
use eventferry_core::machine::{AggregateKey, ChangeWhat, DecidedItem, DueArrival, DueList, TopicId};
use eventferry_core::parked::{Decision, End, Next, ParkedKey, Stage};

use super::World;
use crate::checks::{dead_letters, fencing, outage};
use crate::database::{Applied, DueRead, DueRow, ParkedRow, ToldLane};
use crate::flaw::Flaw;
use crate::relay::InHand;
use crate::truth::Truth;

impl World {
    /// A relay hears which parked events are due.
    pub(super) fn was_due(&mut self, relay: usize, read: Result<DueRead, StoreFaultKind>) {
        let mut due = Vec::new();
        let list = read.map(|read| {
            due = read.rows;
            if self.has(Flaw::SendsTheDyingHome) {
                due.iter_mut().for_each(|row| row.dying = false);
            }
            let arrivals = due.iter().map(|row| self.due_arrival(relay, *row)).collect();
            let decisions = read.decisions.iter().map(|decided| DecidedItem {
                key: decided.key,
                aggregate: AggregateKey(decided.aggregate.into()),
                decision: decided.decision,
                stage: decided.stage,
            });
            let next_in = read.next_in.map(std::time::Duration::from_micros);
            DueList { arrivals, decisions: decisions.collect(), more: read.more, next_in }
        });
        if !due.is_empty() {
            self.note(|| {
                let events: Vec<String> = due.iter().map(|row| format!("e{}", row.event)).collect();
                format!("relay {relay} is handed {} again", events.join(" "))
            });
        }
        let process = &mut self.relays[relay];
        let clock = process.clock(self.now);
        let mut tokens = Vec::new();
        process.core.handle_due(clock, list, &mut tokens);
        let timeline = process.client.timeline.unwrap_or(0);
        for (row, token) in due.iter().zip(tokens) {
            if let Some(token) = token {
                let DueRow { key, event, dying, .. } = *row;
                process.held.insert(token, InHand { event, parked: Some(key), dying, timeline });
            }
        }
    }

    fn due_arrival(&mut self, relay: usize, row: DueRow) -> DueArrival {
        let DueRow { key, event, attempts, dying } = row;
        let route = self.route(relay, event, dying);
        let topic = TopicId(self.topic_of(event, dying) as u32);
        let event = &self.truth.events[event as usize];
        DueArrival {
            key,
            aggregate: AggregateKey(event.aggregate.into()),
            topic,
            own_topic: TopicId(event.topic.into()),
            route,
            size_bytes: event.size_bytes,
            attempts,
            dying,
        }
    }

    /// A person looks at what is parked, and decides.
    pub(super) fn decree(&mut self, number: usize) {
        if self.database.down_until > self.now {
            return;
        }
        let decree = self.plan.decrees[number];
        let unsettled = |row: &&ParkedRow| row.is_unsettled();
        let rows: Vec<(ParkedKey, u16, u32, Stage)> = {
            let rows = self.database.books.parked.iter().filter(unsettled);
            rows.map(|row| (row.key(), row.aggregate, row.event, row.stage)).collect()
        };
        let Some((key, aggregate, _, stage)) = rows.get(decree.pick % rows.len().max(1)).copied() else {
            return;
        };
        // Mostly what fits.
        let decision = match stage {
            Stage::Held if !decree.pick.is_multiple_of(3) => Decision::Release,
            Stage::Waiting if !decree.pick.is_multiple_of(3) => Decision::Retry,
            _ => decree.decision,
        };
        for (one, of, event, _) in rows {
            if one == key || (decree.whole_aggregate && of == aggregate) {
                let now = self.now;
                let taken = self.flushed_with(|database| database.decide(now, one, decision));
                self.tally.decisions += u64::from(taken);
                self.note(|| format!("PERSON: {decision:?} for e{event}, which is taken: {taken}"));
            }
        }
    }

    /// A settlement has changed parked events.
    pub(super) fn changed(&mut self, name: usize, told: &[ToldLane], owned: &[bool]) {
        for applied in std::mem::take(&mut self.database.applied) {
            let Applied { told: change, before, .. } = applied;
            let lane = told.iter().position(|lane| lane.lease.lane == change.key.lane);
            if let Some(lane) = lane.filter(|lane| !owned[*lane]) {
                let found = fencing::changed(name, told[lane].lease);
                self.check(5, found);
            }
            let Some(before) = before else { continue };
            self.note(|| format!("e{} becomes {:?}", before.event, change.what));
            let found = outage::changed(&change, &before, &self.truth, &self.plan);
            self.check(7, found);
            let found = dead_letters::changed(&change, &before, &self.truth, &self.plan);
            self.check(8, found);
            self.note_change(&before, change.what);
        }
    }

    fn note_change(&mut self, before: &ParkedRow, what: ChangeWhat) {
        self.tally.changes += 1;
        let event = self.truth.event(before.event);
        match what {
            ChangeWhat::Refused { next: Next::Die, .. } => event.died = true,
            ChangeWhat::Held => event.holds = true,
            ChangeWhat::Settled(end) => {
                (event.parked, event.ended, event.holds) = (false, Some(end), false);
                event.was_discarded |= end == End::Discarded;
            }
            _ => {}
        }
    }

    /// Looks at the table of parked events anew, after another copy took over.
    pub(super) fn see_parked(&mut self) {
        let books = &self.database.books;
        for event in &mut self.truth.events {
            (event.parked, event.holds) = (false, false);
            // What has no row any more was settled long before; unless it was not even parked then.
            let keeps = event.settled;
            (event.ended, event.died) = (event.ended.filter(|_| keeps), event.died && keeps);
        }
        for row in &books.parked {
            let event = self.truth.event(row.event);
            (event.parked, event.ended) = (row.is_unsettled(), row.ended.map(|(end, _)| end));
            event.died = row.stage == Stage::DeadLetterTopic || row.stage == Stage::Held;
            event.holds = row.stage == Stage::Held && row.is_unsettled();
        }
    }

    /// The parked events that nothing keeps where they are.
    pub(super) fn parked_for_nothing(&self) -> Option<u32> {
        let mut held = vec![false; usize::from(self.plan.aggregates)];
        let lanes: Vec<_> = (0..self.plan.lanes).map(eventferry_core::Lane).collect();
        for row in self.database.books.parked_of(&lanes) {
            let held = &mut held[usize::from(row.aggregate)];
            *held |= waits_rightly(row, &self.truth, self.plan.some_without_letters);
            if !*held || row.decision.is_some() {
                return Some(row.event);
            }
        }
        None
    }
}

/// Whether an event is parked for good, until a person does something.
fn waits_rightly(row: &ParkedRow, truth: &Truth, some_without_letters: bool) -> bool {
    let event = &truth.events[row.event as usize];
    match row.stage {
        Stage::Waiting | Stage::Held => true,
        Stage::DeadLetterTopic => some_without_letters,
        // A code that nobody knows is believed only while others go through.
        Stage::Topic => event.ailment.poison == crate::truth::Poison::Unknown,
    }
}
