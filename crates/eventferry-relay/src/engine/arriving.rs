//! Events from the log and from among the parked ones become the core's arrivals.

use eventferry_core::machine::{Arrival, DecidedItem, DueArrival, DueList, Routed, TopicId};
use eventferry_core::parked::{Decided, DueEvent, DuePage};
use eventferry_core::publisher::{Publisher, Route, Token};
use eventferry_core::store::{Page, Store};
use eventferry_core::{Envelope, PublishFault, PublishFaultKind, Record, Row, StoreFault};

use super::Engine;
use crate::calls::aggregate_key;
use crate::happening::EventName;
use crate::refusals::Refusal;
use crate::rows::{DueRow, Letter};

/// Refusals of arrivals that have no token yet, by their place in the page.
type Refused = Vec<(usize, Refusal)>;

fn decided(decided: Decided) -> DecidedItem {
    let Decided { key, aggregate_type, aggregate_id, decision, stage } = decided;
    DecidedItem { key, aggregate: aggregate_key(&aggregate_type, &aggregate_id), decision, stage }
}

impl<S: Store, P: Publisher> Engine<S, P> {
    pub(super) fn page(&mut self, page: Page<S::Mark, S::Row>) {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        let mut tokens = std::mem::take(&mut self.tokens);
        let mut rows = Vec::with_capacity(page.records.len());
        let mut refused = Refused::new();
        self.news.read(page.records.len());
        for record in page.records {
            arrivals.push(self.arrival(&record, rows.len(), &mut refused));
            rows.push(record.row);
        }
        let now = self.started.elapsed();
        self.core.handle_page(now, arrivals.drain(..), page.passed, page.rest, &mut tokens);
        self.note_refused(refused, &tokens);
        for (row, token) in rows.into_iter().zip(tokens.drain(..)) {
            if let Some(token) = token {
                self.rows.insert(token, row);
            }
        }
        (self.arrivals, self.tokens) = (arrivals, tokens);
    }

    fn arrival(
        &mut self,
        record: &Record<S::Mark, S::Row>,
        at: usize,
        refused: &mut Refused,
    ) -> Arrival<S::Mark> {
        let row = &record.row;
        let envelope = Envelope::of(row);
        let route = match self.publisher.route(&envelope) {
            Route::To(domain) => Routed::To(domain),
            Route::Unknown => Routed::Unknown,
            Route::Refused(fault) => {
                refused.push((at, Refusal::of(&fault)));
                Routed::Refused
            }
        };
        Arrival {
            lane: record.lane,
            mark: record.mark.clone(),
            aggregate: aggregate_key(row.aggregate_type(), row.aggregate_id()),
            topic: self.topic_number(row.topic()),
            route,
            size_bytes: u32::try_from(envelope.size_bytes()).unwrap_or(u32::MAX),
        }
    }

    /// The number of an event's topic. The core hears of the topic's policy with it.
    fn topic_number(&mut self, name: &str) -> TopicId {
        let (number, new) = self.topics.number(name);
        if new && let Some(policy) = self.retries.get(name) {
            self.core.set_retry(number, policy.clone());
        }
        number
    }

    pub(super) fn due(&mut self, page: Result<DuePage<S::Row>, StoreFault>) {
        let mut rows = Vec::new();
        let mut refused = Refused::new();
        let list = match page {
            Ok(DuePage { events, decisions, more, next_in }) => {
                let mut arrivals = Vec::with_capacity(events.len());
                for event in events {
                    let (arrival, row) = self.due_arrival(event, rows.len(), &mut refused);
                    arrivals.push(arrival);
                    rows.push(row);
                }
                let decisions = decisions.into_iter().map(decided).collect();
                Ok(DueList { arrivals, decisions, more, next_in })
            }
            Err(fault) => Err(self.store_failed(fault)),
        };
        let mut tokens = std::mem::take(&mut self.tokens);
        self.core.handle_due(self.started.elapsed(), list, &mut tokens);
        for (at, refusal) in &refused {
            if let (Some(Some(_)), DueRow { row, dying: true, .. }) = (tokens.get(*at), &rows[*at]) {
                self.news.letter_refused(self.started.elapsed(), &EventName::of(row), refusal);
            }
        }
        self.note_refused(refused, &tokens);
        for (row, token) in rows.into_iter().zip(tokens.drain(..)) {
            if let Some(token) = token {
                self.rows.insert_due(token, row);
            }
        }
        self.tokens = tokens;
    }

    fn due_arrival(
        &mut self,
        event: DueEvent<S::Row>,
        at: usize,
        refused: &mut Refused,
    ) -> (DueArrival, DueRow<S::Row>) {
        let DueEvent { key, row, attempts, death } = event;
        let dying = death.is_some();
        let mut due = DueRow { row, attempts, dying, letter: None };
        let undeliverable =
            match death.map(|death| self.letter_topic(due.row.topic()).map(|topic| (topic, death))) {
                None => None,
                Some(Err(refusal)) => Some(refusal),
                Some(Ok((topic, death))) => {
                    let detail = self.letters.detail.then(|| {
                        format!(
                            "lane {}, parked as {}, carried by {}",
                            key.lane.0, key.ordinal, self.letters.relay
                        )
                    });
                    due.letter = Some(Letter { topic, death, detail });
                    None
                }
            };
        let own_topic = self.topic_number(due.row.topic());
        let topic = due.letter.as_ref().map_or(own_topic, |letter| letter.topic);
        let envelope = due.envelope(&self.topics);
        let size_bytes = u32::try_from(envelope.size_bytes()).unwrap_or(u32::MAX);
        let route = match undeliverable {
            // An event that was given up never goes to its own topic again.
            Some(refusal) => Err(refusal),
            None => match self.publisher.route(&envelope) {
                Route::To(domain) => Ok(Routed::To(domain)),
                Route::Unknown => Ok(Routed::Unknown),
                Route::Refused(fault) => Err(Refusal::of(&fault)),
            },
        };
        let route = route.unwrap_or_else(|refusal| {
            refused.push((at, refusal));
            Routed::Refused
        });
        let aggregate = aggregate_key(due.row.aggregate_type(), due.row.aggregate_id());
        (DueArrival { key, aggregate, topic, own_topic, route, size_bytes, attempts, dying }, due)
    }

    /// The dead-letter topic of events for this one.
    fn letter_topic(&mut self, from: &str) -> Result<TopicId, Refusal> {
        let Some(name) = self.letters.topic.as_ref().map(|topic| topic.of(from)) else {
            return Err(Refusal {
                class: "NoDeadLetterTopic",
                message:
                    "it was given up when there was a dead-letter topic, and now there is none; name one, or \
                          discard it"
                        .into(),
            });
        };
        if name == from {
            return Err(Refusal {
                class: "NoDeadLetterTopic",
                message: format!("it was given up by {name}, which is the dead-letter topic; discard it"),
            });
        }
        Ok(self.topic_number(&name))
    }

    fn note_refused(&mut self, refused: Refused, tokens: &[Option<Token>]) {
        for (at, refusal) in refused {
            if let Some(Some(token)) = tokens.get(at) {
                self.refusals.note(*token, refusal);
            }
        }
    }

    /// The route of a record whose topic was not known when it arrived.
    pub(super) fn route(&mut self, token: Token) -> Routed {
        let route = self.rows.envelope(token, &self.topics).map(|envelope| self.publisher.route(&envelope));
        match route.unwrap_or(Route::Unknown) {
            Route::To(domain) => Routed::To(domain),
            Route::Unknown => Routed::Unknown,
            Route::Refused(fault) => {
                self.note_refusal(token, &fault);
                Routed::Refused
            }
        }
    }

    /// Keeps why a record, or its topic, was refused.
    pub(super) fn note_refusal(&mut self, token: Token, fault: &PublishFault) {
        let refusal = Refusal::of(fault);
        if *fault.kind() == PublishFaultKind::TopicRefused
            && let Some(topic) = self.rows.topic(token, &self.topics)
        {
            self.refusals.note_topic(topic, refusal.clone());
        }
        if matches!(fault.kind(), PublishFaultKind::Rejected | PublishFaultKind::Unknown)
            && let Some(event) = self.rows.letter(token)
        {
            self.news.letter_refused(self.started.elapsed(), &event, &refusal);
        }
        self.refusals.note(token, refusal);
    }
}

#[cfg(test)]
mod tests {
    use eventferry_core::Lane;
    use eventferry_core::parked::{Decision, ParkedKey, Stage};

    use super::*;

    #[test]
    fn a_decision_is_about_the_aggregate_that_its_event_arrived_with() {
        let (aggregate_type, aggregate_id) = ("order".to_owned(), "42".to_owned());
        let key = ParkedKey { lane: Lane(1), ordinal: 2 };
        let (decision, stage) = (Decision::Discard, Stage::Waiting);
        let item = decided(Decided { key, aggregate_type, aggregate_id, decision, stage });
        assert_eq!((item.key, item.aggregate), (key, aggregate_key("order", "42")));
    }
}
