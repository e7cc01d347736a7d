//! eventferry's relay: the hands of [`eventferry_core::machine`], on tokio.
//!
//! ```no_run
//! # async fn run<S: eventferry_core::store::Store, P: eventferry_core::publisher::Publisher>(store: S, publisher: P)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! use eventferry_relay::Relay;
//!
//! let relay = Relay::builder().store(store).publisher(publisher).build()?;
//! relay.run(async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await?;
//! # Ok(())
//! # }
//! ```

mod builder;
mod serializing;
mod engine;
mod calls;
mod rows;
mod topics;
mod refusals;
mod told;
mod dead_letters;
mod upkeep;
mod news;
mod voice;
mod happening;
mod listener;
mod figures;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use eventferry_core::Ringer;
use eventferry_core::publisher::Publisher;
use eventferry_core::store::{RelayId, Store};
use tokio::sync::Notify;

pub use builder::{
    BuildError, LOG_KEPT_MAX_DEFAULT, NoPublisher, NoStore, PublisherPart, RETENTION_DEFAULT, RelayBuilder,
    StorePart,
};
pub use dead_letters::DeadLetterTopicFault;
pub use engine::{Finished, RunError};
pub use eventferry_core::machine::{Backoff, Delivery, OnDead, RetryPolicy, Settings};
pub use happening::{EventName, Happening, Whom, Why};
pub use serializing::{Serializing, SerializingSession};

/// A relay: carries what a store holds to a publisher, together with any number of others on the same store.
#[derive(Debug)]
pub struct Relay<S, P> {
    pub(crate) store: S,
    pub(crate) publisher: P,
    pub(crate) id: RelayId,
    pub(crate) settings: Settings,
    pub(crate) retention: Duration,
    pub(crate) log_kept_max: u64,
    pub(crate) letters: engine::Letters,
    /// Policies of topics that have one of their own.
    pub(crate) retries: HashMap<String, RetryPolicy>,
    pub(crate) ears: listener::Ears,
    pub(crate) ring: Arc<Notify>,
}

impl Relay<NoStore, NoPublisher> {
    /// Begins a relay; it needs a store and a publisher.
    pub fn builder() -> RelayBuilder<NoStore, NoPublisher> {
        RelayBuilder::new()
    }
}

impl<S: Store, P: Publisher> Relay<S, P> {
    /// What this relay calls itself.
    pub fn id(&self) -> &RelayId {
        &self.id
    }

    /// The doorbell for programs that enqueue in the process in which this relay runs; see [`Ringer`]. It does nothing
    /// once the relay has ended.
    pub fn ringer(&self) -> Ringer {
        let ring = Arc::clone(&self.ring);
        Ringer::new(move || ring.notify_one())
    }

    /// Carries events until `shutdown` is ready; then settles what is in flight, hands its lanes over and returns,
    /// within the grace time.
    ///
    /// Outages of either side are waited out: they are never an error. Must run on a tokio runtime with time and I/O
    /// enabled.
    ///
    /// # Errors
    /// Only what waiting does not mend; see [`RunError`]. Nothing is lost then: what was not settled is carried by
    /// the next relay.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<Finished, RunError> {
        engine::run(self, shutdown).await
    }
}
