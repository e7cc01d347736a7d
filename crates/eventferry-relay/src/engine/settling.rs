//! The ledger is told, with the rows and causes that the core does not know.

use std::sync::Arc;

use eventferry_core::machine::{IntendOrder, ParkOrder, ParkWhy, SettleOrder, TopicId};
use eventferry_core::parked::Change;
use eventferry_core::publisher::{Publisher, Token};
use eventferry_core::store::{Store, Verdict};
use eventferry_core::{Lane, Lease, Row, StoreFault};

use super::Engine;
use crate::refusals::{Refusal, Refusals};
use crate::rows::Rows;
use crate::told::{InHand, Told, ToldIntent, ToldLane, ToldWhat};
use crate::topics::TopicNumbers;

/// What the engine knows of the records to park.
struct Hand<'a, R> {
    rows: &'a mut Rows<R>,
    refusals: &'a Refusals,
    topics: &'a TopicNumbers,
    /// They are needed here afterwards.
    keeps: bool,
}

impl<M, R: Row + Clone> InHand<M, R> for Hand<'_, R> {
    fn take(&mut self, order: &ParkOrder<M>) -> Option<R> {
        if self.keeps { self.rows.copy(order.token) } else { self.rows.remove(order.token) }
    }

    fn why_parked(&self, order: &ParkOrder<M>) -> Option<Arc<Refusal>> {
        match order.why {
            ParkWhy::Refused(_) => Some(self.refusals.of(order.token)),
            ParkWhy::TopicHeld => self.refusals.known(order.token).or_else(|| {
                let topic = self.rows.topic(order.token, self.topics);
                Some(self.refusals.of_topic(topic.unwrap_or(TopicId(u32::MAX))))
            }),
            ParkWhy::Behind => None,
        }
    }

    fn why_again(&self, token: Token) -> Arc<Refusal> {
        self.refusals.of(token)
    }
}

impl<S: Store, P: Publisher> Engine<S, P> {
    pub(super) fn settle(&mut self, orders: Vec<SettleOrder<S::Mark>>) {
        let mut hand = self.hand(false);
        let told: Told<S> = orders.into_iter().map(|order| ToldLane::of(order, &mut hand)).collect();
        // What of an earlier one was to be made again speaks of a history that is gone.
        self.told = None;
        self.news.figures.settle_asked();
        self.calls.settle(told);
    }

    fn hand(&mut self, keeps: bool) -> Hand<'_, S::Row> {
        Hand { rows: &mut self.rows, refusals: &self.refusals, topics: &self.topics, keeps }
    }

    pub(super) fn intend(&mut self, order: IntendOrder<S::Mark>) {
        let told = ToldIntent::of(order, &mut self.hand(true));
        self.intended = None;
        self.calls.intend(told);
    }

    pub(super) fn intended(
        &mut self,
        told: ToldIntent<S::Mark, S::Row>,
        verdict: Result<Verdict, StoreFault>,
    ) {
        let stamp = told.stamp;
        let verdict = verdict.map_err(|fault| {
            self.intended = Some(told);
            self.store_failed(fault)
        });
        self.core.handle_intended(self.started.elapsed(), stamp, verdict);
    }

    pub(super) fn settled(&mut self, told: Told<S>, verdicts: Result<Vec<Verdict>, StoreFault>) {
        let verdicts = match verdicts {
            Ok(verdicts) => {
                self.news.figures.settle_answered();
                for (lane, verdict) in told.iter().zip(&verdicts) {
                    if *verdict == Verdict::Done {
                        self.count_settled(lane);
                    }
                }
                Ok(verdicts)
            }
            Err(fault) => {
                self.told = Some(told);
                Err(self.store_failed(fault))
            }
        };
        self.core.handle_settled(self.started.elapsed(), verdicts.as_deref().map_err(|kind| *kind));
    }

    fn count_settled(&mut self, lane: &ToldLane<S::Mark, S::Row>) {
        let parked = lane.park.len() as u64;
        let refused = |why| matches!(why, ParkWhy::Refused(_));
        let along = lane.park.iter().filter(|park| !refused(park.why)).count() as u64;
        let settled = |what: &ToldWhat| matches!(what, ToldWhat::Other(Change::Settled(_)));
        let gone = lane.changes.iter().filter(|change| settled(&change.what)).count() as u64;
        self.finished.parked += parked;
        if along > 0 {
            self.news.parked_along(along);
        }
        if parked + gone > 0 {
            self.news.figures.parked_changed(lane.lease.lane, parked, gone);
        }
    }

    pub(super) fn open(&mut self, leases: Vec<Lease>) {
        for lease in &leases {
            self.news.figures.parked_anew(lease.lane);
        }
        self.calls.open(leases);
    }

    pub(super) fn close(&mut self, lanes: &[Lane]) {
        for lane in lanes {
            self.news.figures.parked_elsewhere(*lane);
        }
        self.calls.close(lanes);
    }
}
