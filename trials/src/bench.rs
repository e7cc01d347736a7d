//! How fast a backlog is carried: eventferry beside a pipe that keeps no books, and beside the relay most teams write.
//!
//! All contenders carry the same rows, round by round, each from a fresh copy of one database and into a topic of 8
//! partitions of its own. What counts is their ratio within a round: machines are noisy, and each in its own way.

mod backlog;
mod doorbell;
mod enqueue;
mod ferry;
mod latency;
mod outcome;
mod raw_pipe;
mod sender;
mod status_column;
mod stopwatch;
mod tail;

use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;

pub(crate) use backlog::insertion;
use backlog::{Backlog, PARTITIONS, Poison};
use eventferry::core::machine::Delivery;
use eventferry::postgres::{FeedChoice, PostgresConfig};
use outcome::{Outcome, Run};
use sender::Sender;
use serde_json::Value;
use stopwatch::Stopwatch;
use tokio_postgres::Client;

use crate::arguments::Arguments;
use crate::database::{Database, connect, prepare};
use crate::failure::{Attempt as _, Failure, failure};
use crate::machine;
use crate::processor::{Spent, Watch};
use crate::servers::Servers;
use crate::topic::Topic;

/// What is carried, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    /// Many aggregates.
    Drain,
    /// One aggregate for all events, beside many.
    HotKey,
    /// Many aggregates, one of them with an event that the broker refuses.
    Poison,
}

/// Who carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Contender {
    /// COPY into librdkafka, and nothing else.
    RawPipe,
    Eventferry,
    /// eventferry by the log's tail: inserts into the table, in transactions of 10.
    EventferryTail,
    /// eventferry by the log's tail: messages of no table, in transactions of 10.
    EventferryTailMessages,
    /// eventferry that reads what is in the table through windows, and goes on in the log's tail.
    EventferryToTail,
    /// eventferry's transactions.
    EventferryExactlyOnce,
    /// eventferry with many aggregates, beside the scenario of one.
    EventferryDrain,
    /// eventferry with one event among the many that the broker refuses.
    EventferryPoisoned,
    /// A table with a status, claimed by SKIP LOCKED and updated.
    StatusColumn,
}

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::HotKey => "hot-key",
            Self::Poison => "poison",
        }
    }

    fn contenders(self) -> &'static [Contender] {
        match self {
            Self::Drain => &[
                Contender::RawPipe,
                Contender::Eventferry,
                Contender::EventferryTail,
                Contender::EventferryTailMessages,
                Contender::EventferryToTail,
                Contender::EventferryExactlyOnce,
                Contender::StatusColumn,
            ],
            Self::HotKey => &[
                Contender::RawPipe,
                Contender::Eventferry,
                Contender::EventferryDrain,
                Contender::StatusColumn,
            ],
            Self::Poison => &[Contender::Eventferry, Contender::EventferryPoisoned],
        }
    }

    /// How many events unless told otherwise. A poison event costs one pause, so what it costs of the whole is seen
    /// in a run that is long beside a pause.
    fn events(self) -> u64 {
        match self {
            Self::Drain | Self::HotKey => 500_000,
            Self::Poison => 2_000_000,
        }
    }

    /// Whom the others are held against.
    fn base(self) -> Contender {
        match self {
            Self::Drain | Self::HotKey => Contender::RawPipe,
            Self::Poison => Contender::Eventferry,
        }
    }
}

impl Contender {
    /// How it reads the outbox, where it is eventferry.
    fn feed(self) -> FeedChoice {
        match self {
            Self::EventferryTail | Self::EventferryToTail => FeedChoice::TailTable,
            Self::EventferryTailMessages => FeedChoice::TailMessages,
            _ => FeedChoice::Table,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::RawPipe => "raw-pipe",
            Self::Eventferry => "eventferry",
            Self::EventferryTail => "eventferry-tail",
            Self::EventferryTailMessages => "eventferry-tail-messages",
            Self::EventferryToTail => "eventferry-to-tail",
            Self::EventferryExactlyOnce => "eventferry-exactly-once",
            Self::EventferryDrain => "eventferry-drain",
            Self::EventferryPoisoned => "eventferry-poisoned",
            Self::StatusColumn => "status-column",
        }
    }
}

struct Plan {
    scenario: Scenario,
    events: u64,
    aggregates: u64,
    rounds: usize,
    contenders: Vec<Contender>,
    /// The most events that the status column carries a round: it is slow, and its pace is known sooner.
    status_column_events: u64,
}

/// Runs a bench from its words.
pub(crate) async fn run(mut arguments: Arguments) -> Result<ExitCode, Failure> {
    let scenario = match arguments.word().as_deref() {
        Some("doorbell") => return doorbell::run(arguments).await,
        Some("enqueue") => return enqueue::run(arguments).await,
        Some("drain") => Scenario::Drain,
        Some("hot-key") => Scenario::HotKey,
        Some("poison") => Scenario::Poison,
        Some("latency") => return latency::run(arguments).await,
        _ => {
            return Err(failure(
                "bench takes a scenario: drain, hot-key, poison, doorbell, enqueue or latency",
            ));
        }
    };
    let only = arguments.only();
    let plan = Plan {
        scenario,
        contenders: scenario
            .contenders()
            .iter()
            .copied()
            .filter(|contender| only.names(contender.name()))
            .collect(),
        events: arguments.value("events", scenario.events())?,
        aggregates: arguments.value("aggregates", 5_000)?,
        rounds: arguments.value("rounds", 3)?,
        status_column_events: arguments.value("status-column-events", 100_000)?,
    };
    let json = arguments.text("json");
    arguments.finish()?;
    if plan.contenders.is_empty() {
        return Err(failure("--only: give the name of a contender"));
    }
    if plan.events == 0 || plan.aggregates == 0 || plan.rounds == 0 {
        return Err(failure("--events, --aggregates and --rounds: give 1 or more"));
    }
    let servers = Servers::find()?;
    let outcome = Box::pin(measure(&servers, &plan)).await?;
    tell(&outcome, &outcome.json(), json)
}

/// Prints what a bench found, and keeps its figures in a file if one is named.
fn tell(outcome: &impl Display, figures: &Value, file: Option<String>) -> Result<ExitCode, Failure> {
    print!("{outcome}");
    if let Some(file) = file {
        std::fs::write(&file, format!("{figures:#}\n"))
            .map_err(|error| failure(format!("write {file}: {error}")))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(servers: &Servers, plan: &Plan) -> Result<Outcome, Failure> {
    let server = connect(&servers.postgres).await?;
    let machine = machine::describe(&server).await?;
    let mut loads = vec![(plan.aggregates, None)];
    match plan.scenario {
        Scenario::Drain => {}
        Scenario::HotKey => loads.insert(0, (1, None)),
        Scenario::Poison => loads.push((plan.aggregates, Some(Poison::among(plan.events)))),
    }
    let mut backlogs = Vec::new();
    let mut runs = Vec::new();
    let load_and_race = async || {
        for (aggregates, poison) in loads {
            eprintln!("loading {} events of {aggregates} aggregates", plan.events);
            backlogs.push(Backlog::load(servers, plan.events, aggregates, poison).await?);
        }
        warm_up(servers).await?;
        for round in 1..=plan.rounds {
            race(servers, plan, &backlogs, round, &mut runs).await?;
        }
        Ok::<(), Failure>(())
    };
    let raced = Box::pin(load_and_race()).await;
    for backlog in backlogs {
        backlog.remove().await;
    }
    raced?;
    Ok(Outcome { scenario: plan.scenario, events: plan.events, machine, runs })
}

/// One round: every contender once, each round beginning with another.
async fn race(
    servers: &Servers,
    plan: &Plan,
    backlogs: &[Backlog],
    round: usize,
    runs: &mut Vec<Run>,
) -> Result<(), Failure> {
    let contenders = &plan.contenders;
    for turn in 0..contenders.len() {
        let contender = contenders[(turn + round - 1) % contenders.len()];
        let backlog = match contender {
            Contender::EventferryDrain | Contender::EventferryPoisoned => &backlogs[1],
            _ => &backlogs[0],
        };
        let database = match contender {
            Contender::EventferryTail | Contender::EventferryTailMessages => {
                Database::create(servers).await?
            }
            _ => backlog.database.copy().await?,
        };
        let carried = carry(servers, plan, backlog, &database, contender).await;
        database.remove().await;
        let Carried { events, time, settled, spent } = carried?;
        let run = Run { round, contender, events, time, settled, spent };
        eprintln!("round {round}: {run}");
        runs.push(run);
    }
    Ok(())
}

/// What one contender did.
struct Carried {
    events: u64,
    /// From its start to the last acknowledgement.
    time: Duration,
    /// From its start until its books were closed, where it keeps some.
    settled: Option<Duration>,
    spent: Spent,
}

async fn carry(
    servers: &Servers,
    plan: &Plan,
    backlog: &Backlog,
    database: &Database,
    contender: Contender,
) -> Result<Carried, Failure> {
    let url = database.url()?;
    let own = match contender {
        Contender::Eventferry
        | Contender::EventferryTail
        | Contender::EventferryTailMessages
        | Contender::EventferryToTail
        | Contender::EventferryExactlyOnce
        | Contender::EventferryDrain
        | Contender::EventferryPoisoned => None,
        Contender::RawPipe | Contender::StatusColumn => {
            Some(Topic::create(servers, contender.name(), PARTITIONS).await?)
        }
    };
    let topic = own.as_ref().unwrap_or(&backlog.topic);
    let before = topic.records()?;
    tracing::debug!(contender = contender.name(), "starts");
    let config = PostgresConfig::from_url(&url).attempt("configure the store")?.feed(contender.feed());
    match contender {
        Contender::EventferryTail | Contender::EventferryTailMessages => {
            Box::pin(tail::load(database, topic, contender.feed(), plan.events, plan.aggregates)).await?;
        }
        Contender::EventferryToTail => {
            prepare(config.clone()).await?;
        }
        _ => {}
    }
    let mut stopwatch = Stopwatch::start(Watch::find(database.name(), &servers.brokers));
    let mut events = plan.events;
    let carried = match contender {
        Contender::RawPipe => raw_pipe::carry(&url, topic, events, &mut stopwatch).await,
        Contender::StatusColumn => {
            events = events.min(plan.status_column_events);
            status_column::carry(&url, topic, events, &mut stopwatch).await
        }
        Contender::Eventferry
        | Contender::EventferryTail
        | Contender::EventferryTailMessages
        | Contender::EventferryToTail
        | Contender::EventferryDrain => {
            ferry::carry(config, Delivery::AtLeastOnce, topic, (events, 0), &mut stopwatch).await
        }
        Contender::EventferryExactlyOnce => {
            ferry::carry(config, Delivery::ExactlyOnce, topic, (events, 0), &mut stopwatch).await
        }
        Contender::EventferryPoisoned => {
            let waiting = Poison::among(events).waiting(events, plan.aggregates);
            let (counts, delivery) = ((events, waiting), Delivery::AtLeastOnce);
            let carried = ferry::carry(config, delivery, topic, counts, &mut stopwatch).await;
            events -= waiting;
            carried
        }
    };
    let settled = own.is_none().then(|| stopwatch.elapsed());
    let (time, spent) = stopwatch.read();
    let arrived = topic.records();
    match own {
        Some(topic) => topic.remove().await,
        None => backlog.topic.trim().await?,
    }
    carried?;
    let arrived = arrived? - before;
    // The ends of transactions are records too.
    let exact = !matches!(contender, Contender::EventferryExactlyOnce);
    if arrived < events || (exact && arrived > events) {
        return Err(failure(format!(
            "{}: {events} events were to arrive, and {arrived} did",
            contender.name()
        )));
    }
    if settled.is_some() {
        check_untouched(&database.connect().await?).await?;
    }
    Ok(Carried { events, time, settled, spent })
}

/// The first producer of a cluster's life waits for its coordinator, and the broker compiles itself while it works; no
/// contender shall pay for that.
async fn warm_up(servers: &Servers) -> Result<(), Failure> {
    const MESSAGES: u32 = 300_000;
    let topic = Topic::create(servers, "warm-up", PARTITIONS).await?;
    let warm = async {
        let mut sender = Sender::open(&topic)?;
        for number in 0..MESSAGES {
            sender.send(&sender::Message::empty(&number.to_be_bytes())).await?;
        }
        sender.flush().await
    };
    let warmed = warm.await;
    topic.remove().await;
    warmed
}

/// No statement of eventferry's may have updated or deleted an event.
async fn check_untouched(client: &Client) -> Result<(), Failure> {
    const COUNT: &str = "SELECT sum(n_tup_upd)::bigint, sum(n_tup_del)::bigint FROM pg_stat_all_tables
        WHERE schemaname = 'eventferry' AND relname LIKE 'outbox\\_%'";
    client.batch_execute("SELECT pg_stat_force_next_flush()").await.ok();
    let row = client.query_one(COUNT, &[]).await?;
    match (row.get::<_, i64>(0), row.get::<_, i64>(1)) {
        (0, 0) => Ok(()),
        (updated, deleted) => Err(failure(format!(
            "eventferry updated {updated} events and deleted {deleted}: it must do neither"
        ))),
    }
}
