//! What store and broker answered.

use eventferry_core::StoreFault;
use eventferry_core::machine::{ParkedItem, ParkedList, TopicId};
use eventferry_core::parked::ParkedPage;
use eventferry_core::publisher::{Publisher, Role};
use eventferry_core::store::{Page, Store};
use eventferry_core::{PublishFault, Stamp, StoreFaultKind};

use super::Engine;
use crate::calls::{Answer, aggregate_key};
use crate::refusals::Refusal;

impl<S: Store, P: Publisher> Engine<S, P> {
    pub(super) fn answered(&mut self, answer: Answer<S, P>) {
        let now = self.started.elapsed();
        match answer {
            Answer::Held(lanes, held) => {
                self.calls.rest_lanes(lanes);
                let held = held.map_err(|fault| self.store_failed(fault));
                self.core.handle_held(now, held);
            }
            Answer::Opened(feed, opened) => {
                self.calls.rest_feed(feed);
                let opened = opened.map_err(|fault| self.store_failed(fault));
                self.core.handle_opened(now, opened.as_deref().map_err(|kind| *kind));
            }
            Answer::Page(feed, page) => {
                self.calls.rest_feed(feed);
                self.read(page);
            }
            Answer::Rung(doorbell, rings) => {
                self.calls.rest_doorbell(doorbell);
                self.core.handle_rung(now, rings);
            }
            Answer::GotUp(doorbell) => {
                self.calls.rest_doorbell(doorbell);
                self.core.handle_got_up(now);
            }
            Answer::Settled(ledger, told, verdicts) => {
                self.calls.rest_ledger(ledger);
                self.settled(told, verdicts);
            }
            Answer::Parked(ledger, page) => {
                self.calls.rest_ledger(ledger);
                let list = self.listed(page);
                self.core.handle_parked(now, list);
            }
            Answer::Due(ledger, page) => {
                self.calls.rest_ledger(ledger);
                self.due(page);
            }
            Answer::Learned(topic, learned) => self.learned(topic, learned),
            Answer::Intended(ledger, told, verdict) => {
                self.calls.rest_ledger(ledger);
                self.intended(told, verdict);
            }
            Answer::Resolved(ledger, resolved) => {
                self.calls.rest_ledger(ledger);
                let resolved = resolved.map_err(|fault| self.store_failed(fault));
                self.core.handle_resolved(now, resolved);
            }
            Answer::Connected(role, session) => self.connected(role, session),
            Answer::TakenOver(session) => self.taken_over(session),
            Answer::Abandoned(role, reports) => {
                let outcomes: Vec<_> = reports.into_iter().map(|report| self.outcome(report)).collect();
                self.core.handle_abandoned(now, role, &outcomes);
            }
        }
    }

    fn read(&mut self, page: Result<Page<S::Mark, S::Row>, StoreFault>) {
        match page {
            Ok(page) => self.page(page),
            Err(fault) => {
                let kind = self.store_failed(fault);
                self.core.handle_read_failed(self.started.elapsed(), kind);
            }
        }
    }

    fn listed(&mut self, page: Result<ParkedPage, StoreFault>) -> Result<ParkedList, StoreFaultKind> {
        let page = page.map_err(|fault| self.store_failed(fault))?;
        let last = page.events.last().map(|event| event.key);
        let events = page.events.into_iter().map(|event| {
            self.news.figures.parked_changed(event.key.lane, 1, 0);
            ParkedItem {
                lane: event.key.lane,
                aggregate: aggregate_key(&event.aggregate_type, &event.aggregate_id),
                size_bytes: event.size_bytes,
            }
        });
        Ok(ParkedList { events: events.collect(), last, more: page.more })
    }

    fn learned(&mut self, topic: TopicId, learned: Result<(), PublishFault>) {
        let learned = learned.map_err(|fault| {
            self.refusals.note_topic(topic, Refusal::of(&fault));
            self.publish_failed(fault)
        });
        self.core.handle_learned(self.started.elapsed(), topic, learned);
    }

    fn taken_over(&mut self, session: Result<(P::Session, Option<Stamp>), PublishFault>) {
        let stamp = match session {
            Ok((session, stamp)) => {
                self.main = Some(session);
                Ok(stamp)
            }
            Err(fault) => Err(self.publish_failed(fault)),
        };
        self.core.handle_taken_over(self.started.elapsed(), stamp);
    }

    fn connected(&mut self, role: Role, session: Result<P::Session, PublishFault>) {
        let connected = match session {
            Ok(session) => {
                *self.session(role) = Some(session);
                Ok(())
            }
            Err(fault) => Err(self.publish_failed(fault)),
        };
        self.core.handle_connected(self.started.elapsed(), role, connected);
    }
}
