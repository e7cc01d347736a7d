//! Where a clause works: one outbox, with applications and relays around it, and a sense of time.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventferry_core::store::{Prepare, Prepared, RelayId};
use eventferry_core::{Event, Lane, StoreFault, StoreFaultKind};

use crate::application::Application;
use crate::broken::{Broken, ensure};
use crate::clause::Declared;
use crate::erased::{self, AnyOutbox, AnyStore};
use crate::pause::Pause;
use crate::relay::Relay;
use crate::subject::{Audited, Subject};

/// How long a clause waits for what must come in the end: a lease to run out, a lost race to be won, a retention to
/// pass.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A lease that no clause outlives.
pub(crate) const LEASE_LONG: Duration = Duration::from_secs(600);

/// A lease to be waited for: longer than a few round trips to a busy server.
pub(crate) const LEASE_SHORT: Duration = Duration::from_millis(500);

/// The fewest lanes an outbox under test has.
const LANES_MIN: u16 = 4;

/// An outbox under test, with its applications and relays.
pub struct Bench {
    site: Site,
    declared: Declared,
    lanes: u16,
}

impl Bench {
    /// Makes a fresh outbox and its schema.
    pub(crate) async fn make<S: Subject>(subject: &Arc<S>) -> Result<Self, Broken> {
        let outbox = erased::outbox(Arc::clone(subject))
            .await
            .map_err(|trouble| Broken::trouble("make an outbox", &trouble))?;
        let site = Site::of(outbox);
        let (store, prepared) = site.prepared(Prepare::Apply).await?;
        ensure!(
            prepared.lanes >= LANES_MIN,
            "the outbox has {} lanes; make it with {LANES_MIN} or more for these clauses",
            prepared.lanes
        );
        let declared = Declared {
            capabilities: store.capabilities(),
            writers: site.outbox.writers(),
            reach: site.outbox.reach(),
        };
        Ok(Self { site, declared, lanes: prepared.lanes })
    }

    pub(crate) fn declared(&self) -> &Declared {
        &self.declared
    }

    /// How many lanes the outbox has.
    pub(crate) fn lanes(&self) -> u16 {
        self.lanes
    }

    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// An application with a connection of its own.
    pub(crate) async fn application(&self) -> Result<Application, Broken> {
        self.site.application().await
    }

    /// A relay of this name, just started: it holds nothing yet.
    pub(crate) async fn relay(&self, name: &str) -> Result<Relay<'_>, Broken> {
        let (store, _) = self.site.prepared(Prepare::Check).await?;
        Ok(Relay::new(self, name, store.roles(&RelayId(name.into()))))
    }

    /// A relay that holds every lane and has opened it.
    pub(crate) async fn started_relay(&self, name: &str) -> Result<Relay<'_>, Broken> {
        let mut relay = self.relay(name).await?;
        relay.start().await?;
        Ok(relay)
    }

    /// A relay of this name that crashed a moment ago and starts again: it gets every lane, at the latest when its
    /// former lease ends, and opens it.
    pub(crate) async fn restarted_relay(&self, name: &str) -> Result<Relay<'_>, Broken> {
        let mut relay = self.relay(name).await?;
        let mut patience = Patience::new(&self.site);
        while relay.take(LEASE_LONG).await?.leases.len() < usize::from(self.lanes) {
            patience.tick("a restarted relay to get its lanes back").await?;
        }
        relay.open_all().await?;
        Ok(relay)
    }

    /// An aggregate's id (of type `order`) that falls into this lane; different for each `nth`.
    pub(crate) fn aggregate_in(&self, lane: u16, nth: usize) -> String {
        (0_u32..)
            .map(|attempt| format!("{nth}-{attempt}"))
            .find(|id| Lane::of("order", id, self.lanes) == Lane(lane))
            .unwrap_or_default()
    }
}

/// An event about the order of this id, with a text to tell it by.
pub(crate) fn event(order: &str, text: &str) -> Event {
    Event::new("orders", ("order", order)).payload(text, "text/plain")
}

/// This many events about one order, told by their numbers.
pub(crate) fn events(order: &str, numbers: std::ops::RangeInclusive<usize>) -> Vec<Event> {
    numbers.map(|number| event(order, &number.to_string())).collect()
}

/// An outbox and how its time goes.
pub(crate) struct Site {
    outbox: Box<dyn AnyOutbox>,
    started: Instant,
    advanced: Cell<Duration>,
}

impl Site {
    fn of(outbox: Box<dyn AnyOutbox>) -> Self {
        Self { outbox, started: Instant::now(), advanced: Cell::new(Duration::ZERO) }
    }

    /// Another outbox in the same back end, without a schema.
    pub(crate) async fn another(&self) -> Result<Self, Broken> {
        let outbox =
            self.outbox.another().await.map_err(|trouble| Broken::trouble("make an outbox", &trouble))?;
        Ok(Self::of(outbox))
    }

    /// A new store instance, not prepared.
    pub(crate) async fn store(&self) -> Result<Box<dyn AnyStore>, Broken> {
        self.outbox.store().await.map_err(|trouble| Broken::trouble("make a store", &trouble))
    }

    /// A new store instance, prepared like this.
    pub(crate) async fn prepared(&self, how: Prepare) -> Result<(Box<dyn AnyStore>, Prepared), Broken> {
        let mut store = self.store().await?;
        let mut patience = Patience::new(self);
        loop {
            match store.prepare(how).await {
                Ok(prepared) => return Ok((store, prepared)),
                Err(fault) => patience.bear("prepare", fault).await?,
            }
        }
    }

    pub(crate) async fn application(&self) -> Result<Application, Broken> {
        let writer =
            self.outbox.writer().await.map_err(|trouble| Broken::trouble("connect a writer", &trouble))?;
        Ok(Application::new(writer))
    }

    /// How long this outbox has existed, by its own clock where that can be advanced.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed() + self.advanced.get()
    }

    /// Makes the events that are there old, where the back end's test can do that.
    pub(crate) async fn age(&self, by: Duration) -> Result<(), Broken> {
        let aged = self.outbox.age(by).await;
        aged.map(drop).map_err(|trouble| Broken::trouble("make the events older", &trouble))
    }

    /// Takes the outbox's positions back to the beginning.
    pub(crate) async fn rewind(&self) -> Result<(), Broken> {
        self.outbox.rewind().await.map_err(|trouble| Broken::trouble("take the positions back", &trouble))
    }

    /// The audit table, oldest line first.
    pub(crate) async fn audit(&self) -> Result<Vec<Audited>, Broken> {
        self.outbox.audit().await.map_err(|trouble| Broken::trouble("read the audit table", &trouble))
    }

    /// Lets a little time go by: on the outbox's own clock where that can be advanced, else in truth.
    pub(crate) async fn tick(&self) {
        let (advance, pause) = (Duration::from_millis(50), Duration::from_millis(10));
        if self.outbox.advance(advance).await {
            self.advanced.set(self.advanced.get() + advance);
        } else {
            Pause::of(pause).await;
        }
    }
}

/// Waiting for something, within bounds.
pub(crate) struct Patience<'a> {
    site: &'a Site,
    ends: Duration,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(site: &'a Site) -> Self {
        Self { site, ends: site.elapsed() + PATIENCE }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.site.elapsed() >= self.ends
    }

    /// Lets a little time go by; breaks the clause when `what` has been waited for long enough.
    pub(crate) async fn tick(&mut self, what: &str) -> Result<(), Broken> {
        ensure!(!self.is_over(), "waited {PATIENCE:?} for {what}");
        self.site.tick().await;
        Ok(())
    }

    /// Waits out a fault that passes; breaks the clause because of any other.
    pub(crate) async fn bear(&mut self, call: &str, fault: StoreFault) -> Result<(), Broken> {
        match fault.kind() {
            StoreFaultKind::Contended | StoreFaultKind::Throttled(_) | StoreFaultKind::Unavailable
                if !self.is_over() =>
            {
                self.site.tick().await;
                Ok(())
            }
            _ => Err(Broken::call(call, &fault)),
        }
    }
}
