//! `eventferry demo`: a shop, a relay, a broker and a checker, to see the promises kept.
//!
//! A shop writes orders and their events in one transaction each, some of them rolled back. A relay carries the events
//! over Kafka's protocol, and a consumer reads them back. In the end, what was committed is held against what came.

mod broker;
mod customer;
mod reader;
mod report;
mod sale;
mod shop;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use eventferry::Relay;
use eventferry::core::store::Store;
use eventferry::kafka::KafkaConfig;
use eventferry::postgres::PostgresStore;
use eventferry::relay::{Finished, RunError};
use eventferry::sqlite::SqliteStore;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::arguments::DemoArguments;
use crate::ending::{Ending, Trouble};
use crate::output::print;
use crate::place::StorePlace;
use crate::settings::{Given, Settings};
use crate::shutdown::{Signal, Signals};
use broker::Broker;
use reader::{Reader, Reading};
use report::{Progress, Report};
use sale::Sale;
use shop::{Counters, Demand, PostgresShop, Shop, SqliteShop};
use verdict::Verdict;

/// How many events the shop may be ahead of the reader of an embedded broker, which forgets what is older than 5 MB
/// in a partition: at about 300 bytes an event, this many fit even into one.
const AHEAD_MAX: u64 = 15_000;

/// How long nothing new may arrive, once all is committed, before the rest counts as lost.
const STALL_MAX: Duration = Duration::from_secs(30);

/// Plays it, says what came of it, and removes what it had made.
pub(crate) async fn demo(arguments: &DemoArguments) -> Result<Ending, Trouble> {
    let signals =
        Signals::hear().map_err(|error| Trouble::bug(format!("signals cannot be heard: {error}")))?;
    let random: String = uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect();
    let broker = open_broker(arguments, &random).await?;
    let shop = match open_shop(arguments, &random).await {
        Ok(shop) => shop,
        Err(trouble) => {
            broker.close().await?;
            return Err(trouble);
        }
    };
    let demand = Demand {
        topic: broker.topic.clone(),
        events: arguments.events.unwrap_or_else(|| shop.events_default()),
        aggregates: arguments.aggregates,
        rate: arguments.rate,
        seed: arguments.seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().1),
        ahead_max: broker.is_embedded().then_some(AHEAD_MAX),
    };
    let quiet = arguments.quiet || arguments.json;
    if !quiet || arguments.store.is_some() || arguments.publisher.is_some() {
        eprint!("{}", announcement(&demand, &shop, &broker));
    }
    let played = match &shop {
        Shop::Sqlite(books) => {
            play(SqliteStore::new(books.config.clone()), &shop, &broker, demand, signals, quiet).await
        }
        Shop::Postgres(books) => {
            play(PostgresStore::new(books.config.clone()), &shop, &broker, demand, signals, quiet).await
        }
    };
    let duplicates_allowed = !broker.is_embedded();
    let topic = broker.topic.clone();
    let closed = [shop.close(&topic).await, broker.close().await];
    let ending = match played? {
        Played::Interrupted(signal) => signal.ending(),
        Played::Through(report) => tell(&report, arguments.json, duplicates_allowed)?,
    };
    closed.into_iter().collect::<Result<(), _>>()?;
    Ok(ending)
}

fn announcement(demand: &Demand, shop: &Shop, broker: &Broker) -> String {
    let Demand { events, aggregates, seed, .. } = demand;
    format!(
        "eventferry demo --events {events} --aggregates {aggregates} --seed {seed}\n  \
         shop    {}\n  broker  {}\n",
        shop.description(),
        broker.description()
    )
}

async fn open_broker(arguments: &DemoArguments, random: &str) -> Result<Broker, Trouble> {
    match &arguments.publisher {
        None => Broker::embedded(),
        Some(url) => {
            let given = Given::flag("publisher", url);
            let config =
                given.parse(|url| KafkaConfig::from_url(url).map_err(|fault| fault.message().to_owned()))?;
            Broker::real(config, random).await
        }
    }
}

async fn open_shop(arguments: &DemoArguments, random: &str) -> Result<Shop, Trouble> {
    let Some(url) = &arguments.store else { return SqliteShop::open_anywhere().await.map(Shop::Sqlite) };
    let given = Given::flag("store", url);
    match StorePlace::of(&given, &Settings::default())? {
        StorePlace::Sqlite(config) => SqliteShop::open(config).await.map(Shop::Sqlite),
        StorePlace::Postgres(config) => PostgresShop::open(given, config, random).await.map(Shop::Postgres),
    }
}

/// How it ended.
enum Played {
    Through(Report),
    Interrupted(Signal),
}

/// Sells, carries and reads until everything committed has arrived, nothing arrives any more, or a signal comes.
async fn play<S: Store>(
    store: S,
    shop: &Shop,
    broker: &Broker,
    demand: Demand,
    mut signals: Signals,
    quiet: bool,
) -> Result<Played, Trouble> {
    let counters = Arc::new(Counters::new(&demand));
    let progress = Progress::of(demand.events, quiet);
    let reading = Reader::of(broker)?.start(Arc::clone(&counters));
    let relay = RunningRelay::start(store, broker)?;
    let selling = shop.sell(demand, Arc::clone(&counters));

    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let mut newest = (0, Instant::now());
    let signal = loop {
        tokio::select! {
            signal = signals.next() => break Some(signal),
            _ = ticks.tick() => {}
        }
        progress.show(&counters);
        let read = counters.read.load(Ordering::Relaxed);
        if read != newest.0 {
            newest = (read, Instant::now());
        }
        let arrived = selling.is_finished() && read >= counters.committed.load(Ordering::Relaxed);
        let failed = relay.running.is_finished() || reading.is_finished();
        if arrived || failed || newest.1.elapsed() > STALL_MAX {
            break None;
        }
    };
    progress.end();
    if let Some(signal) = signal {
        end_at_second_signal(signals, signal);
    }
    // Whatever happened, each ends in its turn; the first trouble on the events' way is the one to tell.
    counters.closing.store(true, Ordering::Relaxed);
    let sold = selling.await.map_err(Trouble::bug);
    let carried = relay.end().await;
    counters.sent.store(true, Ordering::Release);
    let reading = reading.await.map_err(Trouble::bug);
    let (sold, (), reading) = (sold??, carried?, reading??);
    Ok(match signal {
        Some(signal) => Played::Interrupted(signal),
        None => Played::Through(report(&counters, &sold, &reading)),
    })
}

fn report(counters: &Counters, sold: &[Sale], reading: &Reading) -> Report {
    Report {
        verdict: Verdict::of(sold, &reading.deliveries),
        undone: counters.undone.load(Ordering::Relaxed),
        took: reading.last_at.duration_since(counters.started()),
    }
}

fn end_at_second_signal(mut signals: Signals, first: Signal) {
    eprintln!("{}: removing what was made; a second signal ends at once", first.name());
    tokio::spawn(async move {
        let signal = signals.again().await;
        eprintln!("{} again: ended at once; what was made is still there", signal.name());
        std::process::exit(signal.ending().code());
    });
}

/// A relay in this process.
struct RunningRelay {
    running: JoinHandle<Result<Finished, RunError>>,
    stop: oneshot::Sender<()>,
}

impl RunningRelay {
    /// As long as an outbox can keep events: one that somebody else set up must not lose any to us.
    const RETENTION: Duration = Duration::from_secs(90 * 60);

    fn start<S: Store>(store: S, broker: &Broker) -> Result<Self, Trouble> {
        let relay = Relay::builder()
            .store(store)
            .publisher(broker.publisher()?)
            .id(format!("eventferry-demo-{}", broker.topic))
            .retention(Self::RETENTION)
            .build()
            .map_err(Trouble::bug)?;
        let (stop, stopped) = oneshot::channel();
        // It is stopped by a word, or by nobody being there to say it.
        let running = tokio::spawn(relay.run(async { drop(stopped.await) }));
        Ok(Self { running, stop })
    }

    /// Has it settle what is in flight.
    async fn end(self) -> Result<(), Trouble> {
        // A relay that has ended by itself hears nothing.
        let _heard = self.stop.send(());
        match self.running.await.map_err(Trouble::bug)? {
            Ok(Finished { settled: true, .. }) => Ok(()),
            Ok(_) => {
                tracing::warn!("the relay could not settle everything in its grace time");
                Ok(())
            }
            Err(RunError::Store(fault)) => Err(fault.into()),
            Err(RunError::Publisher(fault)) => Err(fault.into()),
            Err(error) => Err(Trouble::bug(error)),
        }
    }
}

/// Prints the figures, and whether a promise broke.
fn tell(report: &Report, json: bool, duplicates_allowed: bool) -> Result<Ending, Trouble> {
    let broken = report.verdict.broken(duplicates_allowed);
    let text = match (json, broken.is_empty()) {
        (true, _) => report.json()?,
        (false, true) => report.table() + "\nevery promise held\n",
        (false, false) => report.table(),
    };
    print(&text)?;
    if broken.is_empty() {
        return Ok(Ending::Done);
    }
    Err(Trouble { ending: Ending::Broken, message: format!("a promise broke: {}", broken.join("; ")) })
}
