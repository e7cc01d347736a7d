//! The state machine: what may be sent, what is settled, how far each position may move.
//!
//! No I/O and no clock. Whoever drives it (the relay's engine, the simulator) does two things:
//!
//! 1. says what happened, through the `handle_*` methods, each with the time since some fixed start;
//! 2. calls [`Core::poll`] and performs the [`Action`] it returns, again and again, until it is
//!    [`Action::Sleep`]: then waits for that time or for the next thing to happen, whichever is first.
//!
//! At most one call of each store role is open at a time, and the core never asks for a second before the first has
//! been answered. Time never goes backwards.
//!
//! | a record is | until |
//! |---|---|
//! | waiting | its aggregate's earlier records allow it to go (`aggregate.rs`) |
//! | queued | its channel (domain and session) takes it (`flight.rs`) |
//! | flying | its session reports (`flight.rs`), or ends (`session.rs`) |
//! | settled or parking | everything before it in its lane is too (`ledger.rs`) |
//! | gone | |

mod action;
mod aggregate;
mod aside;
mod bell;
mod dice;
mod due;
mod ends;
mod entry;
mod feed;
mod flight;
mod held;
mod intents;
mod lane;
mod lanes;
mod ledger;
mod numbers;
mod retry;
mod session;
mod settings;
mod topics;
mod transactions;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::time::Duration;

pub use action::{
    Action, ChangeOrder, ChangeWhat, IntendOrder, Notice, ParkOrder, ParkWhy, SettleOrder, Stop, TopicId,
};
pub use due::{DecidedItem, DueArrival, DueList};
pub use entry::{AggregateKey, Routed};
pub use feed::Arrival;
pub use ledger::{ParkedItem, ParkedList};
pub use retry::{Backoff, OnDead, RetryPolicy};
pub use session::Outcome;
pub use settings::{Delivery, Settings, SettingsDisagree};
pub use transactions::{ABORT, BEGIN, COMMIT};

use crate::fault::StoreFaultKind;
use crate::lane::Lane;
use crate::publisher::{Abilities, Role, Token};
use crate::store::{Capabilities, Keeps, Ownership};
use aggregate::Aggregates;
use bell::BellDesk;
use dice::Dice;
use due::DueDesk;
use entry::Entries;
use feed::FeedDesk;
use lane::LaneState;
use lanes::HoldDesk;
use ledger::LedgerDesk;
use session::Port;
use topics::Topics;
use transactions::Transactions;

/// The state machine of one relay. `M` is its store's mark.
pub struct Core<M> {
    settings: Settings,
    keeps: Keeps,
    ownership: Ownership,
    abilities: Abilities,
    now: Duration,
    entries: Entries<M>,
    /// How many records were acknowledged.
    acknowledged: u64,
    payload_bytes: u64,
    lanes: BTreeMap<Lane, LaneState<M>>,
    aggregates: Aggregates,
    topics: Topics,
    main: Port,
    alone: Port,
    hold: HoldDesk,
    feed: FeedDesk,
    bell: BellDesk,
    ledger: LedgerDesk,
    due: DueDesk,
    dice: Dice,
    /// Only where events are delivered exactly once.
    transactions: Option<Transactions>,
    /// What the transaction settles that was sealed last.
    intended: Vec<SettleOrder<M>>,
    /// Records of transactions just committed.
    shipped: Vec<Token>,
    drain: Option<Drain>,
    stop: Option<Stop>,
    store_away: bool,
    notices: VecDeque<Notice>,
    forget: Vec<Token>,
    routes: VecDeque<Token>,
}

/// A relay on its way out.
#[derive(Clone, Copy, Debug)]
struct Drain {
    deadline: Duration,
    /// The grace time ran out: what is in flight was given up.
    forced: bool,
    leaving: bool,
}

impl Drain {
    /// How it ends, once it does.
    fn outcome(self) -> Stop {
        if self.forced { Stop::GraceOver } else { Stop::Drained }
    }
}

impl<M: Clone> Core<M> {
    /// A relay that owns nothing yet. `settings` have been checked.
    pub fn new(mut settings: Settings, capabilities: &Capabilities, mut abilities: Abilities) -> Self {
        let items_max = capabilities.settle_items_max.max(1) as usize;
        let (mut ownership, mut transactions) = (capabilities.ownership, None);
        if settings.delivery == Delivery::ExactlyOnce {
            let rotation = abilities.transactions.map_or(1, NonZeroU32::get);
            transactions = Some(Transactions::new(u64::from(rotation)));
            // One relay has the broker's transactions. In them a broker that would take a gap does no harm, for what
            // has one is never committed. And what waits for its topic must not hold up its lane, whose records go in
            // order.
            (ownership, abilities.first_alone) = (Ownership::Whole, None);
            settings.topic_patience = Duration::ZERO;
        }
        Self {
            keeps: capabilities.keeps,
            ownership,
            abilities,
            now: Duration::ZERO,
            entries: Entries::new(),
            acknowledged: 0,
            payload_bytes: 0,
            lanes: BTreeMap::new(),
            aggregates: Aggregates::new(),
            topics: Topics::new(),
            main: Port::new(Role::Main),
            alone: Port::new(Role::Alone),
            hold: HoldDesk::new(),
            feed: FeedDesk::new(),
            bell: BellDesk::new(capabilities.doorbell),
            ledger: LedgerDesk::new(items_max),
            due: DueDesk::new(),
            dice: Dice::new(settings.seed),
            transactions,
            intended: Vec::new(),
            shipped: Vec::new(),
            drain: None,
            stop: None,
            store_away: false,
            notices: VecDeque::new(),
            forget: Vec::new(),
            routes: VecDeque::new(),
            settings,
        }
    }

    /// Retries refused events of this topic by a policy of its own, instead of [`Settings::retry`].
    pub fn set_retry(&mut self, topic: TopicId, policy: RetryPolicy) {
        self.topics.set_retry(topic, policy);
    }

    /// Asks the relay to finish: it reads no more, settles what is in flight, hands its lanes over and stops, within
    /// the grace time. Asking again changes nothing.
    pub fn drain(&mut self, now: Duration) {
        self.now = now;
        if self.drain.is_some() {
            return;
        }
        self.drain = Some(Drain { deadline: now + self.settings.grace, forced: false, leaving: false });
        self.drain_all_lanes();
    }

    /// What to do next. To be called until it returns [`Action::Sleep`] or [`Action::Stop`].
    pub fn poll(&mut self, now: Duration) -> Action<M> {
        self.now = now;
        if !self.shipped.is_empty() {
            return Action::Shipped(core::mem::take(&mut self.shipped));
        }
        if let Some(notice) = self.notices.pop_front() {
            return Action::Say(notice);
        }
        if !self.forget.is_empty() {
            return Action::Forget(core::mem::take(&mut self.forget));
        }
        if let Some(stop) = self.stop {
            return Action::Stop(stop);
        }
        self.expire_lease();
        self.shut_topics();
        if let Some(token) = self.routes.pop_front() {
            return Action::Route(token);
        }
        // Before what is in hand goes out: the database then reads while the broker is fed.
        if let Some(action) = self.next_feed_ahead() {
            return action;
        }
        if let Some(action) = self.next_transaction() {
            return action;
        }
        if let Some((role, token, domain)) = self.next_send() {
            return Action::Send(role, token, domain);
        }
        let action = self
            .next_drain()
            .or_else(|| self.next_session())
            .or_else(|| self.next_hold())
            .or_else(|| self.next_ledger())
            .or_else(|| self.next_feed())
            .or_else(|| self.next_bell())
            .or_else(|| self.next_learn());
        if let Some(action) = action {
            return action;
        }
        if !self.shipped.is_empty()
            || !self.notices.is_empty()
            || !self.forget.is_empty()
            || !self.routes.is_empty()
            || self.stop.is_some()
        {
            return self.poll(now);
        }
        Action::Sleep(self.wake())
    }

    /// How many records and payload bytes are in memory.
    pub fn load(&self) -> (usize, u64) {
        (self.entries.len(), self.payload_bytes)
    }

    /// When something is due though nothing happens.
    fn wake(&self) -> Duration {
        let drain = self.drain.map(|drain| {
            if self.now < drain.deadline { drain.deadline } else { self.last_words_until(drain) }
        });
        [
            drain,
            self.hold_due(),
            self.ledger_due(),
            self.feed_due(),
            self.bell_due(),
            self.session_due(),
            self.learn_due(),
            self.transaction_due(),
            self.topics.patience_due(self.settings.topic_patience),
        ]
        .into_iter()
        .flatten()
        .chain(self.lease_due())
        .min()
        .unwrap_or(Duration::MAX)
        .max(self.now)
    }

    /// The end of draining: lanes are handed over first, then the relay leaves.
    fn next_drain(&mut self) -> Option<Action<M>> {
        let drain = self.drain?;
        if !drain.forced && self.now >= drain.deadline && !self.lanes.is_empty() {
            self.drain = Some(Drain { forced: true, ..drain });
            self.give_up_flight();
        }
        if self.now >= self.last_words_until(drain) {
            self.stop = Some(drain.outcome());
        }
        None
    }

    /// A second grace time bounds the last words with a database that does not answer.
    fn last_words_until(&self, drain: Drain) -> Duration {
        drain.deadline + self.settings.margin.max(Duration::from_secs(1))
    }

    fn say(&mut self, notice: Notice) {
        self.notices.push_back(notice);
    }

    /// Every answer of the store passes here, so that people hear once that it is away and once that it is back.
    fn store_answered(&mut self) {
        if core::mem::take(&mut self.store_away) {
            self.say(Notice::StoreBack);
        }
    }

    /// What a store's failure means beyond the call that failed; `true` when the call may be made again.
    fn store_failed(&mut self, kind: StoreFaultKind) -> bool {
        match kind {
            StoreFaultKind::Contended => true,
            StoreFaultKind::HistoryLost => {
                self.lose_history();
                false
            }
            StoreFaultKind::Misconfigured => {
                self.stop = Some(Stop::StoreMisconfigured);
                false
            }
            StoreFaultKind::Unavailable | StoreFaultKind::Throttled(_) => {
                if !core::mem::replace(&mut self.store_away, true) {
                    self.say(Notice::StoreAway(kind));
                }
                true
            }
        }
    }

    /// The pause before a failed call is made again.
    fn store_pause(&self, kind: StoreFaultKind, failures: u32) -> Duration {
        self.settings.store_pause(kind, failures)
    }
}
