//! The relay as anybody would run it: the library's, with its defaults.

use eventferry::Relay;
use eventferry::kafka::{KafkaConfig, KafkaPublisher};
use eventferry::postgres::{PostgresConfig, PostgresStore};
use eventferry_core::machine::Settings;

use super::contender::{Doing, Site, Stop};
use crate::failure::{Attempt as _, Failure, failure};

/// Runs it until it is told to stop.
pub(super) fn run(site: Site, stop: Stop) -> Doing {
    Box::pin(carry(site, stop))
}

async fn carry(site: Site, stop: Stop) -> Result<(), Failure> {
    let store = PostgresStore::new(PostgresConfig::from_url(&site.url).attempt("configure the store")?);
    let publisher =
        KafkaPublisher::new(KafkaConfig::new(&site.brokers)).attempt("configure the publisher")?;
    let mut settings = Settings::default();
    if let Some(poll_min) = site.poll_min {
        settings.poll_min = poll_min;
    }
    let relay = Relay::builder().store(store).publisher(publisher).settings(settings);
    let finished =
        relay.build().attempt("build the relay")?.run(stop.wait()).await.attempt("run the relay")?;
    if finished.settled && finished.parked == 0 {
        Ok(())
    } else {
        Err(failure(format!("everything was to be shipped and settled; the relay says {finished:?}")))
    }
}
