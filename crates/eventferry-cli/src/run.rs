//! `eventferry run`: a relay, its signals and its health.

use std::time::Duration;

use eventferry::Relay;
use eventferry::core::store::Store;
use eventferry::postgres::PostgresStore;
use eventferry::relay::{Delivery, Finished, RunError};
use eventferry::sqlite::SqliteStore;

use crate::arguments::RunArguments;
use crate::ending::{Ending, Trouble};
use crate::failures::Failures;
use crate::health::Health;
use crate::place::{self, PublisherPlace, StorePlace};
use crate::readiness::{Answer, Answering, Readiness, WatchedPublisher, WatchedStore};
use crate::serializers::{Serializers, serializers};
use crate::settings::{self, Settings};
use crate::shutdown::Signals;
use crate::topics::{Wanted, check_at_start};
use crate::traces::Traces;

/// What a relay runs by, besides its two ends.
#[derive(Debug)]
struct Plan {
    id: String,
    numbers: eventferry::Settings,
    retention: Option<Duration>,
    log_kept_max: Option<u64>,
    failures: Failures,
    serializers: Serializers,
    traces: Traces,
}

/// Why clusters cannot deliver exactly once, and what can.
const ONE_CLUSTER_AT_ONCE: &str = "exactly-once is not for clusters, for a transaction is of one; deliver \
    at-least-once, or give each cluster an outbox of its own, with a relay whose publisher it is";

/// Carries events until a signal.
///
/// An unreachable store or broker is waited for; what must be set right ends the program.
pub(crate) async fn run(settings: &Settings, arguments: &RunArguments) -> Result<Ending, Trouble> {
    let store = settings.require("store", arguments.store.as_deref())?;
    let from = place::shown(store.text());
    let feed = settings.find("feed", arguments.feed.as_deref());
    let replication = settings.find("replication_url", arguments.replication_url.as_deref());
    let store = StorePlace::of(&store, settings)?.fed(feed.as_ref(), replication.as_ref())?;
    let store = match settings.find("listen_url", arguments.listen_url.as_deref()) {
        Some(given) => store.listening_at(&given)?,
        None => store,
    };
    let publisher = PublisherPlace::of(settings, arguments.publisher.as_deref())?;
    let plan = Plan::of(settings, arguments, &publisher)?;
    let wanted = Wanted::of(settings, arguments.failures.dead_letter_topic.as_deref())?;
    let readiness = Readiness::default();
    let signals =
        Signals::hear().map_err(|error| Trouble::bug(format!("signals cannot be heard: {error}")))?;

    tracing::info!("eventferry {} carries {from} to {publisher}", env!("CARGO_PKG_VERSION"));
    if let Some(listen) = settings.find("listen", arguments.listen.as_deref()) {
        let health = Health::listen(&listen).await?;
        tracing::info!("/livez and /readyz are served on {}", health.address);
        tokio::spawn(health.serve(readiness.clone(), publisher.clone()));
    }
    tokio::spawn(check_at_start(store.clone(), publisher.clone(), wanted));
    match publisher {
        PublisherPlace::Kafka(publisher) => carry_from(store, publisher, plan, readiness, signals).await,
        PublisherPlace::KafkaClusters(publisher) => {
            carry_from(store, publisher, plan, readiness, signals).await
        }
    }
}

impl Plan {
    fn of(
        settings: &Settings,
        arguments: &RunArguments,
        publisher: &PublisherPlace,
    ) -> Result<Self, Trouble> {
        let lease = settings.find("lease", arguments.lease.as_deref());
        let lease = lease.map(|given| given.parse(settings::lease)).transpose()?;
        let grace = settings.duration("grace", arguments.grace.as_deref())?;
        let text = |key, flag: &Option<String>| {
            settings.find(key, flag.as_deref()).map(|given| given.text().to_owned())
        };
        let delivery = settings.find("delivery", arguments.delivery.as_deref());
        let delivery = delivery.map(|given| {
            given.parse(|text| match (settings::delivery(text)?, publisher) {
                (Delivery::ExactlyOnce, PublisherPlace::KafkaClusters(_)) => {
                    Err(ONE_CLUSTER_AT_ONCE.to_owned())
                }
                (delivery, _) => Ok(delivery),
            })
        });
        let delivery = delivery.transpose()?;
        let numbers = settings::numbers(lease, grace).delivering(delivery.unwrap_or_default());
        let id = text("relay_id", &arguments.relay_id).unwrap_or_else(relay_id);
        Ok(Self {
            traces: Traces::begin(&id)?,
            id,
            numbers,
            retention: settings.duration("retention", arguments.retention.as_deref())?,
            log_kept_max: settings
                .find("log_kept_max", arguments.log_kept_max.as_deref())
                .map(|given| given.parse(settings::bytes))
                .transpose()?,
            failures: Failures::of(settings, &arguments.failures)?,
            serializers: serializers(settings, &arguments.serializers)?,
        })
    }
}

/// The host's name, so that people find it, and random digits, so that two relays on a host are two.
fn relay_id() -> String {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{}-{}", if host.is_empty() { "relay" } else { &host }, &random[..8])
}

async fn carry_from<P: Answering>(
    store: StorePlace,
    publisher: P,
    plan: Plan,
    readiness: Readiness,
    signals: Signals,
) -> Result<Ending, Trouble> {
    match store {
        StorePlace::Postgres(config) => {
            Box::pin(carry(PostgresStore::new(config), publisher, plan, readiness, signals)).await
        }
        StorePlace::Sqlite(config) => {
            Box::pin(carry(SqliteStore::new(config), publisher, plan, readiness, signals)).await
        }
    }
}

async fn carry<S: Store, P: Answering>(
    store: S,
    publisher: P,
    plan: Plan,
    readiness: Readiness,
    signals: Signals,
) -> Result<Ending, Trouble> {
    let grace = plan.numbers.grace;
    if plan.numbers.delivery == Delivery::ExactlyOnce {
        // It asks nothing of the broker while another relay carries: standing by is being ready.
        readiness.publisher(vec![Answer::of_one(&Ok(()))]);
    }
    let mut relay = Relay::builder()
        .store(WatchedStore { store, readiness: readiness.clone() })
        .publisher(plan.traces.of(WatchedPublisher { publisher, readiness: readiness.clone() }))
        .serializer(plan.serializers)
        .id(plan.id)
        .settings(plan.numbers);
    if let Some(retention) = plan.retention {
        relay = relay.retention(retention);
    }
    if let Some(bytes) = plan.log_kept_max {
        relay = relay.log_kept_max(bytes);
    }
    let relay = plan.failures.tell(relay).build().map_err(|error| Trouble::usage(error.to_string()))?;
    let finished = relay.run(first_signal(signals, readiness, grace)).await;
    plan.traces.end().await;
    match finished {
        Ok(Finished { shipped, parked, settled: true }) => {
            tracing::info!(shipped, parked, "drained: everything in flight is settled");
            Ok(Ending::Done)
        }
        Ok(Finished { shipped, .. }) => {
            tracing::error!(
                shipped,
                "the grace time of {grace:?} ran out: what was in flight is sent again by the next relay, \
                 so some events may arrive twice and none is lost"
            );
            Ok(Ending::GraceOver)
        }
        Err(RunError::Store(fault)) => Err(fault.into()),
        Err(RunError::Publisher(fault)) => Err(fault.into()),
        Err(error) => Err(Trouble::bug(error)),
    }
}

/// Waits for the first signal; the second then ends the program.
async fn first_signal(mut signals: Signals, readiness: Readiness, grace: Duration) {
    let signal = signals.next().await;
    readiness.drain();
    tracing::info!("{}: at most {grace:?} to drain; a second signal ends at once", signal.name());
    tokio::spawn(async move {
        let signal = signals.again().await;
        tracing::error!(
            "{} again: ended at once; what was in flight is sent again by the next relay",
            signal.name()
        );
        std::process::exit(signal.ending().code());
    });
}
