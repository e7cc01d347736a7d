//! The relay as anybody would run it: the library's, with its defaults, by each of its feeds.

use eventferry::Relay;
use eventferry::kafka::{KafkaConfig, KafkaPublisher};
use eventferry::postgres::{FeedChoice, PostgresConfig, PostgresStore};
use eventferry_core::machine::{Delivery, Settings};

use super::contender::{Doing, Site, Stop};
use crate::failure::{Attempt as _, Failure, failure};

/// Runs one that reads the table until it is told to stop.
pub(super) fn table(site: Site, stop: Stop) -> Doing {
    Box::pin(carry(site, stop, FeedChoice::Table))
}

/// Runs one that reads the table and delivers exactly once.
pub(super) fn exactly_once(site: Site, stop: Stop) -> Doing {
    Box::pin(deliver(site, stop, FeedChoice::Table, Delivery::ExactlyOnce))
}

/// Runs one that reads the log's tail.
pub(super) fn tail(site: Site, stop: Stop) -> Doing {
    Box::pin(carry(site, stop, FeedChoice::TailTable))
}

/// Runs one that reads messages in the log.
pub(super) fn messages(site: Site, stop: Stop) -> Doing {
    Box::pin(carry(site, stop, FeedChoice::TailMessages))
}

async fn carry(site: Site, stop: Stop, feed: FeedChoice) -> Result<(), Failure> {
    deliver(site, stop, feed, Delivery::AtLeastOnce).await
}

async fn deliver(site: Site, stop: Stop, feed: FeedChoice, delivery: Delivery) -> Result<(), Failure> {
    let config = PostgresConfig::from_url(&site.url).attempt("configure the store")?;
    let store = PostgresStore::new(config.feed(feed));
    let publisher =
        KafkaPublisher::new(KafkaConfig::new(&site.brokers)).attempt("configure the publisher")?;
    let mut settings = Settings::default().delivering(delivery);
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
