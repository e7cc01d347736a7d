//! An outbox, a broker and a clock, for one relay after another.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use eventferry_conformance::Step;
use eventferry_conformance::model::{ModelOutbox, ModelStore};
use eventferry_core::Event;
use eventferry_core::StoredEvent;
use eventferry_core::machine::RetryPolicy;
use eventferry_core::parked::{Act, Decision, Desk, ParkedFilter, ShowAsk, ShownEvent};
use eventferry_core::publisher::Publisher;
use eventferry_core::store::{Prepare, RelayId, Store};
use eventferry_relay::{Backoff, Finished, Happening, Relay, RelayBuilder};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::broker::Broker;
use crate::figures::Lines;

/// A step of the clocks.
const TICK: Duration = Duration::from_millis(5);

/// What must happen happens within this virtual time.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) struct Scene {
    pub(crate) outbox: ModelOutbox,
    pub(crate) broker: Broker,
    relays: u32,
    enqueued: AtomicUsize,
}

impl Scene {
    /// Must be made on a runtime whose clock is paused: the outbox's clock goes with it.
    pub(crate) async fn new() -> Self {
        Lines::are_wanted_everywhere();
        let outbox = ModelOutbox::default();
        outbox.store().prepare(Prepare::Apply).await.expect("the schema is made");
        let clock = outbox.clone();
        tokio::spawn(async move {
            loop {
                // waits: the outbox's clock goes with the runtime's, which is virtual
                tokio::time::sleep(TICK).await;
                clock.advance(TICK);
            }
        });
        Self { outbox, broker: Broker::new(), relays: 0, enqueued: AtomicUsize::new(0) }
    }

    /// Enqueues an event for each body, in one transaction. A body begins with its aggregate's letter.
    pub(crate) fn enqueue(&self, topic: &str, bodies: &[&str]) {
        let mut writer = self.outbox.writer();
        writer.step(Step::Begin);
        let event = |body: &&str| {
            Event::new(topic, ("letter", &body[..1])).payload(body.as_bytes().to_vec(), "text/plain")
        };
        writer.enqueue(&bodies.iter().map(event).collect::<Vec<_>>()).expect("events are enqueued");
        writer.step(Step::Commit);
        self.enqueued.fetch_add(bodies.len(), Ordering::Relaxed);
    }

    /// How many events were enqueued.
    pub(crate) fn enqueued(&self) -> usize {
        self.enqueued.load(Ordering::Relaxed)
    }

    pub(crate) fn relay(&mut self) -> RelayBuilder<ModelStore, Broker> {
        self.relays += 1;
        let id = format!("relay {}", self.relays);
        Relay::builder().store(self.outbox.store()).publisher(self.broker.clone()).id(id)
    }

    /// Runs a relay until this holds, and lets it drain.
    pub(crate) async fn run<S: Store, P: Publisher>(
        &self,
        relay: RelayBuilder<S, P>,
        until: impl AsyncFn(&Self) -> bool,
    ) -> Finished {
        let relay = relay.build().expect("the parts fit");
        let (stop, stopped) = oneshot::channel::<()>();
        let watch = async {
            let begun = Instant::now();
            while !until(self).await {
                if begun.elapsed() > PATIENCE {
                    let parked = self.shown().await;
                    panic!("waited in vain; taken {:#?}, parked {parked:#?}", self.broker.taken());
                }
                // waits: for the relay, in virtual time
                tokio::time::sleep(TICK).await;
            }
            drop(stop);
        };
        let shutdown = async {
            let _ = stopped.await;
        };
        let (ended, ()) = tokio::join!(relay.run(shutdown), watch);
        ended.expect("a relay ends when it is asked to")
    }

    /// The unsettled parked events, in order.
    pub(crate) async fn shown(&self) -> Vec<ShownEvent<StoredEvent>> {
        let filter = ParkedFilter::default();
        let ask = ShowAsk { filter: &filter, after: None, records_max: 1_000, bytes_max: 1 << 20 };
        self.desk().show(ask).await.expect("parked events are shown").events
    }

    /// Decides on every parked event that it fits.
    pub(crate) async fn decide(&self, decision: Decision) {
        self.decide_on(&ParkedFilter::default(), decision).await;
    }

    /// Decides on those of these that it fits.
    pub(crate) async fn decide_on(&self, filter: &ParkedFilter, decision: Decision) {
        let act = Act { who: "a person".into(), why: String::new() };
        let decided = self.desk().decide(filter, decision, &act).await.expect("the decision is taken");
        assert!(decided.taken > 0, "{decision:?} fits nothing");
    }

    fn desk(&self) -> impl Desk<Row = StoredEvent> + use<> {
        self.outbox.store().roles(&RelayId("a person's desk".into())).desk
    }
}

/// So many attempts, a second apart.
pub(crate) fn attempts(attempts: u32) -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    (policy.attempts, policy.backoff) = (attempts, Backoff::Fixed(Duration::from_secs(1)));
    policy
}

/// A listener that keeps what it hears.
pub(crate) fn hearing() -> (impl FnMut(Happening) + Send + 'static, Receiver<Happening>) {
    let (said, heard) = channel();
    let listener = move |happening| {
        // Nobody hears it where the test has ended.
        let _ = said.send(happening);
    };
    (listener, heard)
}
