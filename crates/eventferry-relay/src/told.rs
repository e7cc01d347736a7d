//! Settlements as told to the ledger, with the rows and causes that the core does not know.

use std::sync::Arc;

use eventferry_core::machine::{ChangeOrder, ChangeWhat, IntendOrder, ParkOrder, ParkWhy, SettleOrder};
use eventferry_core::parked::{Change, Next, Park, ParkReason, ParkedKey};
use eventferry_core::store::{Intent, Settlement, Store};
use eventferry_core::{Lease, Stamp};

use crate::refusals::Refusal;

/// A settlement call, kept to be repeated unchanged.
pub(crate) type Told<S> = Vec<ToldLane<<S as Store>::Mark, <S as Store>::Row>>;

pub(crate) struct ToldLane<M, R> {
    pub(crate) lease: Lease,
    prefix: Vec<M>,
    pub(crate) park: Vec<ToldPark<M, R>>,
    pub(crate) changes: Vec<ToldChange>,
    carries: Option<u64>,
}

/// An intent, kept to be repeated unchanged.
pub(crate) struct ToldIntent<M, R> {
    pub(crate) stamp: Stamp,
    after: u64,
    settled: u64,
    leases: Vec<Lease>,
    lanes: Vec<ToldLane<M, R>>,
}

impl<M, R> ToldIntent<M, R> {
    /// What the core ordered, with what it does not know.
    pub(crate) fn of(order: IntendOrder<M>, hand: &mut impl InHand<M, R>) -> Self {
        let IntendOrder { stamp, after, settled, leases, settlements } = order;
        let lanes = settlements.into_iter().map(|order| ToldLane::of(order, hand)).collect();
        Self { stamp, after, settled, leases, lanes }
    }

    pub(crate) fn intent(&self) -> Intent<'_, M, R> {
        let Self { stamp, after, settled, leases, lanes } = self;
        let settlements = lanes.iter().map(ToldLane::settlement).collect();
        Intent { stamp: *stamp, after: *after, settled: *settled, settlements, leases }
    }
}

pub(crate) struct ToldPark<M, R> {
    mark: M,
    row: R,
    pub(crate) why: ParkWhy,
    /// `None`: it waits behind an earlier one.
    refusal: Option<Arc<Refusal>>,
}

pub(crate) struct ToldChange {
    key: ParkedKey,
    pub(crate) what: ToldWhat,
}

pub(crate) enum ToldWhat {
    Refused { refusal: Arc<Refusal>, attempts: u32, next: Next },
    Other(Change<'static>),
}

/// What only the engine knows of the records in hand.
pub(crate) trait InHand<M, R> {
    /// The row of a record to park, which is not asked for again; `None`: there is none, which would be a bug.
    fn take(&mut self, order: &ParkOrder<M>) -> Option<R>;
    /// Why a record is parked: its own refusal, or its topic's.
    fn why_parked(&self, order: &ParkOrder<M>) -> Option<Arc<Refusal>>;
    /// Why a parked record was refused again.
    fn why_again(&self, token: eventferry_core::publisher::Token) -> Arc<Refusal>;
}

impl<M, R> ToldLane<M, R> {
    /// What the core ordered, with what it does not know.
    pub(crate) fn of(order: SettleOrder<M>, hand: &mut impl InHand<M, R>) -> Self {
        let SettleOrder { lease, prefix, park, changes, carries } = order;
        let mut told =
            Self { lease, prefix, park: Vec::with_capacity(park.len()), changes: Vec::new(), carries };
        for order in park {
            let refusal = hand.why_parked(&order);
            if let Some(row) = hand.take(&order) {
                told.park.push(ToldPark { mark: order.mark, row, why: order.why, refusal });
            }
        }
        told.changes.extend(changes.into_iter().map(|order| ToldChange::of(order, hand)));
        told
    }

    pub(crate) fn settlement(&self) -> Settlement<'_, M, R> {
        let park =
            self.park.iter().map(|park| Park { mark: &park.mark, row: &park.row, reason: park.reason() });
        let changes = self.changes.iter().map(|change| (change.key, change.what.change()));
        Settlement {
            lease: self.lease,
            prefix: &self.prefix,
            park: park.collect(),
            changes: changes.collect(),
            carries: self.carries,
        }
    }
}

impl<M, R> ToldPark<M, R> {
    fn reason(&self) -> ParkReason<'_> {
        match (self.why, &self.refusal) {
            (ParkWhy::Refused(next), Some(refusal)) => ParkReason::Refused { cause: refusal.cause(), next },
            (ParkWhy::TopicHeld, Some(refusal)) => ParkReason::TopicHeld(refusal.cause()),
            _ => ParkReason::Behind,
        }
    }
}

impl ToldChange {
    fn of<M, R>(order: ChangeOrder, hand: &impl InHand<M, R>) -> Self {
        let what = match order.what {
            ChangeWhat::Refused { token, attempts, next } => {
                ToldWhat::Refused { refusal: hand.why_again(token), attempts, next }
            }
            ChangeWhat::Postponed(pause) => ToldWhat::Other(Change::Postponed(pause)),
            ChangeWhat::Retried => ToldWhat::Other(Change::Retried),
            ChangeWhat::Held => ToldWhat::Other(Change::Held),
            ChangeWhat::Settled(end) => ToldWhat::Other(Change::Settled(end)),
            ChangeWhat::DecisionRefused => ToldWhat::Other(Change::DecisionRefused),
        };
        Self { key: order.key, what }
    }
}

impl ToldWhat {
    fn change(&self) -> Change<'_> {
        match self {
            Self::Refused { refusal, attempts, next } => {
                Change::Refused { cause: refusal.cause(), attempts: *attempts, next: *next }
            }
            Self::Other(change) => *change,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use eventferry_core::Lane;
    use eventferry_core::parked::{Cause, End};
    use eventferry_core::publisher::Token;

    use super::*;

    /// Rows are their token's number; each refusal names its token.
    struct Hand {
        taken: Vec<u64>,
    }

    fn refusal(what: &str, token: Token) -> Arc<Refusal> {
        Arc::new(Refusal { class: "Class", message: format!("{what} {}", token.0) })
    }

    impl InHand<u32, u64> for Hand {
        fn take(&mut self, order: &ParkOrder<u32>) -> Option<u64> {
            self.taken.push(order.token.0);
            Some(order.token.0)
        }

        fn why_parked(&self, order: &ParkOrder<u32>) -> Option<Arc<Refusal>> {
            (order.why != ParkWhy::Behind).then(|| refusal("parked", order.token))
        }

        fn why_again(&self, token: Token) -> Arc<Refusal> {
            refusal("again", token)
        }
    }

    fn key(ordinal: i64) -> ParkedKey {
        ParkedKey { lane: Lane(3), ordinal }
    }

    #[test]
    fn each_order_is_told_with_its_row_and_its_cause_and_the_same_when_told_again() {
        let next = Next::Retry(Duration::from_millis(5));
        let parks = [ParkWhy::Refused(next), ParkWhy::TopicHeld, ParkWhy::Behind];
        let park = (1u32..).zip(parks);
        let changes = [
            ChangeWhat::Refused { token: Token(9), attempts: 5, next: Next::Die },
            ChangeWhat::Postponed(Duration::from_secs(1)),
            ChangeWhat::Retried,
            ChangeWhat::Held,
            ChangeWhat::Settled(End::DeadLettered),
            ChangeWhat::DecisionRefused,
        ];
        let order = SettleOrder {
            lease: Lease { lane: Lane(3), epoch: 2 },
            prefix: vec![1, 2, 3],
            park: park.map(|(n, why)| ParkOrder { token: Token(u64::from(n)), mark: n, why }).collect(),
            changes: (1..).zip(changes).map(|(at, what)| ChangeOrder { key: key(at), what }).collect(),
            carries: None,
        };
        let mut hand = Hand { taken: Vec::new() };
        let told = ToldLane::of(order, &mut hand);
        assert_eq!(hand.taken, [1, 2, 3]);
        for _ in 0..2 {
            let settlement = told.settlement();
            let parked: Vec<_> =
                settlement.park.iter().map(|park| (*park.mark, *park.row, park.reason)).collect();
            let cause = |message| Cause { class: "Class", message };
            assert_eq!(
                parked,
                [
                    (1, 1, ParkReason::Refused { cause: cause("parked 1"), next }),
                    (2, 2, ParkReason::TopicHeld(cause("parked 2"))),
                    (3, 3, ParkReason::Behind),
                ]
            );
            let again = Change::Refused { cause: cause("again 9"), attempts: 5, next: Next::Die };
            let changes = [
                (key(1), again),
                (key(2), Change::Postponed(Duration::from_secs(1))),
                (key(3), Change::Retried),
                (key(4), Change::Held),
                (key(5), Change::Settled(End::DeadLettered)),
                (key(6), Change::DecisionRefused),
            ];
            assert_eq!(settlement.changes, changes);
            assert_eq!(settlement.prefix, [1, 2, 3]);
        }
    }
}
