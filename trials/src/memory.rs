//! How much memory the program takes: the real binary carries a backlog, one huge transaction or large payloads from
//! PostgreSQL to Kafka, and the peak of its resident memory is read from /proc before it is asked to end. Linux only.

mod carrier;
mod report;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use carrier::Carrier;
use eventferry::postgres::{FeedChoice, PostgresConfig};
use report::Report;
use tokio_postgres::Client;

use crate::arguments::Arguments;
use crate::bench::insertion;
use crate::database::{Database, prepare};
use crate::failure::{Attempt as _, Failure, failure};
use crate::machine;
use crate::servers::Servers;
use crate::topic::Topic;

/// What the program may take, in bytes.
const PEAK_BYTES_MAX: u64 = 128 << 20;

/// The partitions of the topic.
const PARTITIONS: i32 = 8;

/// The events of one transaction, where there are to be many.
const TRANSACTION_EVENTS: u64 = 500_000;

/// How long nothing may be shipped until the trial is given up.
const STANDSTILL_MAX: Duration = Duration::from_secs(60);

/// What is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    /// A backlog of big transactions, as after a long outage.
    Drain,
    /// Everything in one transaction.
    Transaction,
    /// Payloads that are each a megabyte.
    Large,
}

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Transaction => "transaction",
            Self::Large => "large",
        }
    }

    fn events_default(self) -> u64 {
        match self {
            Self::Drain => 5_000_000,
            Self::Transaction => 1_000_000,
            Self::Large => 2_000,
        }
    }
}

/// A trial and its size.
#[derive(Clone, Debug)]
struct Plan {
    scenario: Scenario,
    events: u64,
    aggregates: u64,
    /// Of large payloads only; the others have about 300 bytes.
    payload_bytes: u64,
    /// By which feed.
    feed: FeedChoice,
}

/// Runs a trial from its words.
pub(crate) async fn run(mut arguments: Arguments) -> Result<ExitCode, Failure> {
    let scenario = match arguments.word().as_deref() {
        Some("drain") => Scenario::Drain,
        Some("transaction") => Scenario::Transaction,
        Some("large") => Scenario::Large,
        _ => return Err(failure("memory takes a scenario: drain, transaction or large")),
    };
    let plan = Plan {
        scenario,
        events: arguments.value("events", scenario.events_default())?,
        aggregates: arguments.value("aggregates", 5_000)?,
        payload_bytes: arguments.value("payload-bytes", 1_000_000)?,
        feed: match arguments.text("feed").as_deref() {
            None | Some("table") => FeedChoice::Table,
            Some("tail") => FeedChoice::TailTable,
            Some(_) => return Err(failure("--feed: give table or tail")),
        },
    };
    let json = arguments.text("json");
    arguments.finish()?;
    if plan.events == 0 || plan.aggregates == 0 {
        return Err(failure("--events and --aggregates: give 1 or more"));
    }
    let report = measure(&Servers::find()?, &plan).await?;
    print!("{report}");
    if let Some(file) = json {
        std::fs::write(&file, format!("{:#}\n", report.json()))
            .map_err(|error| failure(format!("write {file}: {error}")))?;
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(servers: &Servers, plan: &Plan) -> Result<Report, Failure> {
    // The largest payload there can be, and what goes with it.
    let settings = [("max.message.bytes", "20000000")];
    let settings = if plan.scenario == Scenario::Large { &settings[..] } else { &[] };
    let topic = Topic::create_with(servers, "memory", PARTITIONS, settings).await?;
    let measured = async {
        let database = Database::create(servers).await?;
        let measured = carry(plan, &database, &topic).await;
        database.remove().await;
        measured
    };
    let measured = measured.await;
    topic.remove().await;
    measured
}

async fn carry(plan: &Plan, database: &Database, topic: &Topic) -> Result<Report, Failure> {
    let url = database.url()?;
    let config = PostgresConfig::from_url(&url).attempt("configure the store")?;
    prepare(config.feed(plan.feed)).await?;
    let client = database.connect().await?;
    let machine = machine::describe(&client).await?;
    let filling = Instant::now();
    let (mut carrier, started) = if plan.feed.is_tail() {
        // What was there before a relay came to the tail is read through windows.
        let mut carrier = Carrier::start(&url, topic.brokers(), "tail")?;
        streams(&mut carrier, &client).await?;
        fill(&client, plan, &topic.name).await?;
        (carrier, filling)
    } else {
        fill(&client, plan, &topic.name).await?;
        (Carrier::start(&url, topic.brokers(), "table")?, Instant::now())
    };
    eprintln!("{} events committed after {:.1} s", plan.events, filling.elapsed().as_secs_f64());
    let shipped = settled(&mut carrier, topic, &client, plan.events).await;
    let time = started.elapsed();
    // Read while it lives; what comes after is the hand-over.
    let peak_bytes = carrier.peak_bytes();
    let ended = carrier.end().await?;
    shipped?;
    Ok(Report {
        scenario: plan.scenario.name(),
        events: plan.events,
        bytes: bytes(&client).await?,
        time,
        peak_bytes: peak_bytes?,
        peak_bytes_max: PEAK_BYTES_MAX,
        exit_code: ended,
        lag: lag(&client).await?,
        parked: client.query_one("SELECT count(*) FROM eventferry.parked", &[]).await?.get(0),
        arrived: topic.records()?,
        machine,
    })
}

/// Waits until the program reads from the slot.
async fn streams(carrier: &mut Carrier, client: &Client) -> Result<(), Failure> {
    let active = "SELECT EXISTS (SELECT FROM pg_replication_slots
                  WHERE slot_name = eventferry.tail_slot() AND active)";
    let started = Instant::now();
    while !client.query_one(active, &[]).await.attempt("look at the slot")?.get::<_, bool>(0) {
        carrier.check()?;
        if started.elapsed() > STANDSTILL_MAX {
            return Err(failure("the program does not come to the log's tail"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Fills the outbox on the server itself.
async fn fill(client: &Client, plan: &Plan, topic: &str) -> Result<(), Failure> {
    let Plan { scenario, events, aggregates, payload_bytes, feed: _ } = plan;
    let most = if *scenario == Scenario::Drain { TRANSACTION_EVENTS } else { *events };
    let mut left = *events;
    while left > 0 {
        let part = left.min(most);
        let statement = match scenario {
            Scenario::Large => large(topic, part, *aggregates, *payload_bytes),
            Scenario::Drain | Scenario::Transaction => insertion(topic, part, *aggregates),
        };
        client.batch_execute(&statement).await.attempt("fill the outbox")?;
        left -= part;
    }
    // As autovacuum leaves a backlog that has been there for a minute.
    client.batch_execute("VACUUM (ANALYZE)").await.attempt("vacuum the backlog")?;
    client.batch_execute("CHECKPOINT").await.attempt("write the backlog out")?;
    Ok(())
}

/// The statement that enqueues events with payloads of this size, each different and not to be compressed away.
fn large(topic: &str, events: u64, aggregates: u64, payload_bytes: u64) -> String {
    format!(
        "INSERT INTO eventferry.outbox (topic, aggregate_type, aggregate_id, payload, content_type)
         SELECT '{topic}', 'document', 'document-' || i % {aggregates},
                substr(b.bytes, (i % 32)::integer + 1, {payload_bytes}), 'application/octet-stream'
         FROM (SELECT string_agg(sha256(random()::text::bytea), '') AS bytes
               FROM generate_series(1, {payload_bytes} / 32 + 2)) AS b, generate_series(1::bigint, {events}) AS i"
    )
}

/// Waits until everything is settled, and ends early where the program does or nothing moves any more.
async fn settled(carrier: &mut Carrier, topic: &Topic, client: &Client, events: u64) -> Result<(), Failure> {
    let (mut arrived, mut moved) = (0, Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        carrier.check()?;
        let now = topic.records()?;
        if now > arrived {
            (arrived, moved) = (now, Instant::now());
        } else if moved.elapsed() > STANDSTILL_MAX {
            return Err(failure(format!("{arrived} of {events} events arrived, and then no more")));
        }
        if arrived >= events && lag(client).await? == 0 {
            return Ok(());
        }
    }
}

/// How many committed events are neither acknowledged nor parked.
async fn lag(client: &Client) -> Result<i64, Failure> {
    let lag = "SELECT coalesce(sum(lag_records), 0)::bigint FROM eventferry.lag(1000000)";
    Ok(client.query_one(lag, &[]).await.attempt("ask for the lag")?.get(0))
}

/// The payload bytes of all events.
async fn bytes(client: &Client) -> Result<u64, Failure> {
    let bytes = "SELECT coalesce(sum(octet_length(payload)), 0)::bigint FROM eventferry.outbox";
    Ok(client.query_one(bytes, &[]).await?.get::<_, i64>(0).unsigned_abs())
}
