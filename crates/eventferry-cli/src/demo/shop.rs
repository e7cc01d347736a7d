//! The shop: an application that writes orders and their events in one transaction.

mod postgres;
mod sqlite;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::customer::{Customer, Purchase};
use super::sale::Sale;
use crate::ending::Trouble;
pub(crate) use postgres::PostgresShop;
pub(crate) use sqlite::SqliteShop;

/// What is to be sold.
#[derive(Clone, Debug)]
pub(crate) struct Demand {
    pub(crate) topic: String,
    /// Events to commit in all.
    pub(crate) events: u64,
    /// Orders that they are about.
    pub(crate) aggregates: u32,
    /// Events a second; `None`: as fast as it goes.
    pub(crate) rate: Option<u64>,
    pub(crate) seed: u64,
    /// How many events the shop may be ahead of the reader; `None`: any number.
    pub(crate) ahead_max: Option<u64>,
}

/// What has happened so far; shared by the shop, the reader, and whoever watches.
#[derive(Debug)]
pub(crate) struct Counters {
    started: Instant,
    /// Events that may still be begun.
    left: AtomicU64,
    pub(crate) committed: AtomicU64,
    /// Events in transactions and savepoints that were rolled back.
    pub(crate) undone: AtomicU64,
    /// Messages read for the first time.
    pub(crate) read: AtomicU64,
    /// Set when the shop is to close early.
    pub(crate) closing: AtomicBool,
    /// Set when nothing more will be sent, so that the reader reads to the end.
    pub(crate) sent: AtomicBool,
}

impl Counters {
    pub(crate) fn new(demand: &Demand) -> Self {
        Self {
            started: Instant::now(),
            left: AtomicU64::new(demand.events),
            committed: AtomicU64::new(0),
            undone: AtomicU64::new(0),
            read: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            sent: AtomicBool::new(false),
        }
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The next purchase; `None`: enough is sold, or the shop closes.
    fn next_purchase(&self, customer: &mut Customer) -> Option<Purchase> {
        if self.closing.load(Ordering::Relaxed) {
            return None;
        }
        let mut purchase = customer.purchase();
        let wanted = purchase.events();
        let claimed = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(wanted)));
        let left = claimed.unwrap_or_default();
        if left == 0 {
            return None;
        }
        if left < wanted {
            purchase.limit(left);
        }
        Some(purchase)
    }

    /// How long the shop must wait now, to keep to its rate and in the reader's sight; `None`: it need not.
    fn pause(&self, demand: &Demand) -> Option<Duration> {
        const LOOK_AGAIN: Duration = Duration::from_millis(1);
        if self.closing.load(Ordering::Relaxed) {
            return None;
        }
        let committed = self.committed.load(Ordering::Relaxed);
        let ahead = committed.saturating_sub(self.read.load(Ordering::Relaxed));
        if demand.ahead_max.is_some_and(|max| ahead > max) {
            return Some(LOOK_AGAIN);
        }
        let due = Duration::from_secs_f64(committed as f64 / demand.rate? as f64);
        let early = due.checked_sub(self.started.elapsed())?;
        // In short steps, so that closing need not wait.
        Some(early.min(Duration::from_millis(50)))
    }

    /// Counts what a transaction left behind, and what it did not.
    fn count(&self, committed: &[Sale], undone: u64) {
        self.committed.fetch_add(committed.len() as u64, Ordering::Relaxed);
        self.undone.fetch_add(undone, Ordering::Relaxed);
    }
}

/// Sales under way.
pub(crate) type Selling = JoinHandle<Result<Vec<Sale>, Trouble>>;

/// Where the shop keeps its books.
#[derive(Debug)]
pub(crate) enum Shop {
    Sqlite(SqliteShop),
    Postgres(PostgresShop),
}

impl Shop {
    /// What it is, for people.
    pub(crate) fn description(&self) -> String {
        match self {
            Self::Sqlite(shop) => shop.description(),
            Self::Postgres(shop) => shop.description(),
        }
    }

    /// How many events take a few seconds.
    pub(crate) fn events_default(&self) -> u64 {
        match self {
            Self::Sqlite(_) => 100_000,
            Self::Postgres(_) => 20_000,
        }
    }

    /// Sells until the demand is met; what comes of it is what was committed, in no particular order.
    ///
    /// # Errors
    /// The database refused.
    pub(crate) fn sell(&self, demand: Demand, counters: Arc<Counters>) -> Selling {
        match self {
            Self::Sqlite(shop) => shop.sell(demand, counters),
            Self::Postgres(shop) => shop.sell(demand, counters),
        }
    }

    /// Takes back what it had made.
    ///
    /// # Errors
    /// The database refused; the message names what is left.
    pub(crate) async fn close(self, topic: &str) -> Result<(), Trouble> {
        match self {
            Self::Sqlite(shop) => shop.close(),
            Self::Postgres(shop) => shop.close(topic).await,
        }
    }
}
