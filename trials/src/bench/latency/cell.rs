//! One contender at one rate in one round, on a database and a topic of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Plan;
use super::arrivals::Arrivals;
use super::contender::{Carrier, Contender, Site, Stop};
use super::figures::Figures;
use super::marks::Marks;
use super::reader::Reader;
use super::writer::{Application, SALE_TABLE};
use crate::bench::backlog::PARTITIONS;
use crate::database::Database;
use crate::failure::{Attempt as _, Failure, failure};
use crate::processor::Watch;
use crate::servers::Servers;
use crate::topic::Topic;

/// What is written and not counted, before the rest: connections find each other, plans are made.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long the first event may take, and how long nothing may arrive while something is missing.
const PATIENCE: Duration = Duration::from_secs(20);

/// Transactions written one by one before the pace begins, until one arrives.
const PROBES: u64 = 100;
const PROBE_PAUSE: Duration = Duration::from_millis(200);

/// What a cell found.
pub(super) struct Found {
    pub(super) figures: Figures,
    /// Processor time of this process, of PostgreSQL and of Kafka, in microseconds an event.
    pub(super) cpu_us: [f64; 3],
    /// How many events came more than once.
    pub(super) repeats: u64,
}

/// Measures one.
pub(super) async fn measure(
    servers: &Servers,
    plan: &Plan,
    contender: &Contender,
    rate: u64,
) -> Result<Found, Failure> {
    let topic = Topic::create(servers, contender.name, PARTITIONS).await?;
    let database = Database::create(servers).await;
    let found = match &database {
        Ok(database) => on(database, &topic, plan, contender, rate).await,
        Err(failure_of) => Err(failure(failure_of.to_string())),
    };
    if let Ok(database) = database {
        database.remove().await;
    }
    topic.remove().await;
    found
}

async fn on(
    database: &Database,
    topic: &Topic,
    plan: &Plan,
    contender: &Contender,
    rate: u64,
) -> Result<Found, Failure> {
    let url = database.url()?;
    (contender.prepare)(url.clone()).await?;
    database.connect().await?.batch_execute(SALE_TABLE).await.attempt("create a table")?;
    let arrivals = Arrivals::new(rate, WARM_UP + plan.span);
    let marks = Arc::new(Marks::new(arrivals.transactions + PROBES, arrivals.size));
    let reader = Reader::start(topic, Arc::clone(&marks))?;
    let site = Site { url, brokers: topic.brokers().to_owned(), poll_min: plan.poll_min };
    let mut relays = Relays::start(contender, plan.relays, &site)?;
    let produces = matches!(contender.carrier, Carrier::Application);
    let statement = contender.writes.of(arrivals.size);
    let application =
        Application::open(database, topic, statement, produces, arrivals.size, Arc::clone(&marks));
    let application = application.await?;
    let probed = probe(&application, &arrivals, &marks, &mut relays).await?;

    let watch = Watch::find(database.name(), topic.brokers());
    let before = watch.spent();
    application.run(arrivals).await?;
    await_all(&marks, arrivals.events() + probed, &mut relays).await?;
    let spent = watch.spent().since(&before);
    drop(application);
    relays.stop().await?;
    drop(reader);

    let counted = arrivals.events();
    let warm = (WARM_UP.as_secs_f64() * rate as f64) as u64;
    let mut latencies = marks.latencies_ms(warm);
    latencies.truncate((counted - warm) as usize);
    let figures = Figures::of(&latencies).ok_or_else(|| failure("--seconds: give more"))?;
    let cpu_us = [spent.here, spent.postgres, spent.kafka];
    let cpu_us = cpu_us.map(|time: Duration| time.as_secs_f64() * 1e6 / counted as f64);
    Ok(Found { figures, cpu_us, repeats: marks.repeats() })
}

/// Writes transactions beyond the last that is counted until one arrives: then the relays have their lanes, and the
/// consumer its partitions. Returns how many events they were.
async fn probe(
    application: &Application,
    arrivals: &Arrivals,
    marks: &Marks,
    relays: &mut Relays,
) -> Result<u64, Failure> {
    for probe in 0..PROBES {
        application.write(arrivals.transactions + probe).await?;
        tokio::time::sleep(PROBE_PAUSE).await;
        relays.check()?;
        if marks.arrivals() > 0 {
            let events = (probe + 1) * arrivals.size;
            await_all(marks, events, relays).await?;
            return Ok(events);
        }
    }
    Err(failure(format!("no event arrived within {:?}", PROBE_PAUSE * PROBES as u32)))
}

/// Waits until so many events have arrived.
async fn await_all(marks: &Marks, events: u64, relays: &mut Relays) -> Result<(), Failure> {
    let (mut arrived, mut since) = (marks.arrivals(), Instant::now());
    while arrived < events {
        tokio::time::sleep(Duration::from_millis(20)).await;
        relays.check()?;
        let now = marks.arrivals();
        if now > arrived {
            (arrived, since) = (now, Instant::now());
        } else if since.elapsed() > PATIENCE {
            return Err(failure(format!(
                "{arrived} of {events} events arrived, and no more for {PATIENCE:?}"
            )));
        }
    }
    Ok(())
}

/// The relays of a cell, on threads of their own: beside the application, as they would be.
struct Relays {
    runtime: Option<Runtime>,
    running: Vec<JoinHandle<Result<(), Failure>>>,
    stop: watch::Sender<bool>,
}

impl Relays {
    fn start(contender: &Contender, count: usize, site: &Site) -> Result<Self, Failure> {
        let (sender, stop) = Stop::new();
        let Carrier::Relay(run) = contender.carrier else {
            return Ok(Self { runtime: None, running: Vec::new(), stop: sender });
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().thread_name("relay").enable_all().build()?;
        let running = (0..count).map(|_| runtime.spawn(run(site.clone(), stop.clone()))).collect();
        Ok(Self { runtime: Some(runtime), running, stop: sender })
    }

    /// No relay ends by itself.
    fn check(&mut self) -> Result<(), Failure> {
        let Some(relay) = self.running.iter_mut().find(|relay| relay.is_finished()) else { return Ok(()) };
        if let Some(ended) = relay.now_or_never() {
            ended.map_err(|_| failure("a relay panicked"))??;
        }
        Err(failure("a relay ended by itself"))
    }

    async fn stop(mut self) -> Result<(), Failure> {
        self.stop.send_replace(true);
        for relay in std::mem::take(&mut self.running) {
            relay.await.map_err(|_| failure("a relay panicked"))??;
        }
        Ok(())
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
