//! What the doorbell costs whoever enqueues: writers beside a busy relay, without a trigger, with ours, and with the
//! plain NOTIFY that most teams write.
//!
//! Writers are loops inside the server, one event a transaction, so that no round trip hides what a commit costs. The
//! relay's broker takes everything at once. In half of the runs a commit waits for the disk, in the other half it does
//! not. What counts is the ratio within a round.

mod outcome;
mod sink;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventferry::core::Lane;
use eventferry::postgres::{PostgresConfig, PostgresStore};
use eventferry::{Relay, relay::Finished};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::arguments::Arguments;
use crate::database::{Database, connect, prepare};
use crate::failure::{Attempt as _, Failure, failure};
use crate::machine;
use crate::servers::Servers;
use outcome::{Outcome, Run};
use sink::Sink;

/// What hangs on the outbox, and who sleeps beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contender {
    NoTrigger,
    /// Without a bell, and with a second relay, in whose lanes nothing happens.
    NoTriggerBesideIdle,
    Doorbell,
    /// With a second relay, in whose lanes nothing happens.
    DoorbellBesideIdle,
    /// Every insert notifies.
    Notify,
}

impl Contender {
    const ALL: [Self; 5] =
        [Self::NoTrigger, Self::NoTriggerBesideIdle, Self::Doorbell, Self::DoorbellBesideIdle, Self::Notify];

    fn name(self) -> &'static str {
        match self {
            Self::NoTrigger => "no-trigger",
            Self::NoTriggerBesideIdle => "no-trigger-beside-idle",
            Self::Doorbell => "doorbell",
            Self::DoorbellBesideIdle => "doorbell-beside-idle",
            Self::Notify => "notify",
        }
    }

    fn relays(self) -> usize {
        if matches!(self, Self::NoTriggerBesideIdle | Self::DoorbellBesideIdle) { 2 } else { 1 }
    }

    /// The same relays, and no trigger.
    fn without_trigger(self) -> Self {
        if self.relays() == 2 { Self::NoTriggerBesideIdle } else { Self::NoTrigger }
    }
}

struct Plan {
    rounds: usize,
    writers: usize,
    time: Duration,
}

/// A writer's loop, and a trigger as most teams write it. `$ids` stands for the aggregates.
const SCHEMA: &str = "
    CREATE PROCEDURE write_for(seconds float8, INOUT written bigint) LANGUAGE plpgsql AS $$
    DECLARE
        ids text[] := '{$ids}';
        until timestamptz := clock_timestamp() + seconds * interval '1 second';
    BEGIN
        WHILE clock_timestamp() < until LOOP
            INSERT INTO eventferry.outbox (topic, aggregate_type, aggregate_id, payload)
            VALUES ('orders', 'order', ids[1 + floor(random() * cardinality(ids))::integer],
                    decode(repeat('61', 200), 'hex'));
            COMMIT;
            written := written + 1;
        END LOOP;
    END $$";
const NOTIFY: &str = "CREATE TRIGGER doorbell AFTER INSERT ON eventferry.outbox FOR EACH STATEMENT
    EXECUTE FUNCTION eventferry.ring()";

/// The lanes in which something happens: the lower half, which the first relay keeps when a second one comes.
const BUSY_LANES: u16 = 32;

/// Runs the bench from its words.
pub(super) async fn run(mut arguments: Arguments) -> Result<ExitCode, Failure> {
    let plan = Plan {
        rounds: arguments.value("rounds", 5)?,
        writers: arguments.value("writers", 8)?,
        time: arguments.duration("seconds", Duration::from_secs(3))?,
    };
    let json = arguments.text("json");
    arguments.finish()?;
    if plan.rounds == 0 || plan.writers == 0 || plan.time.is_zero() {
        return Err(failure("--rounds, --writers and --seconds: give 1 or more"));
    }
    let servers = Servers::find()?;
    let machine = machine::describe(&connect(&servers.postgres).await?).await?;
    let mut runs = Vec::new();
    for round in 1..=plan.rounds {
        for turn in 0..Contender::ALL.len() {
            let contender = Contender::ALL[(turn + round - 1) % Contender::ALL.len()];
            for synchronous in [true, false] {
                let written = measure(&servers, &plan, contender, synchronous).await?;
                let events_per_second = written as f64 / plan.time.as_secs_f64();
                let run = Run { round, contender, synchronous, events_per_second };
                eprintln!("round {round}: {run}");
                runs.push(run);
            }
        }
    }
    let outcome = Outcome { writers: plan.writers, seconds: plan.time.as_secs_f64(), machine, runs };
    super::tell(&outcome, &outcome.json(), json)
}

/// How many events the writers wrote, each in a transaction of its own.
async fn measure(
    servers: &Servers,
    plan: &Plan,
    contender: Contender,
    synchronous: bool,
) -> Result<u64, Failure> {
    let database = Database::create(servers).await?;
    let measured = write_beside_relays(&database, plan, contender, synchronous).await;
    database.remove().await;
    measured
}

async fn write_beside_relays(
    database: &Database,
    plan: &Plan,
    contender: Contender,
    synchronous: bool,
) -> Result<u64, Failure> {
    let url = database.url()?;
    let hung = matches!(contender, Contender::Doorbell | Contender::DoorbellBesideIdle);
    let config = PostgresConfig::from_url(&url).attempt("configure the store")?.doorbell(hung);
    prepare(config).await?;
    let client = database.connect().await?;
    client.batch_execute(&SCHEMA.replace("$ids", &busy_aggregates().join(","))).await.attempt("set up")?;
    if contender == Contender::Notify {
        client.batch_execute(NOTIFY).await.attempt("hang a plain trigger")?;
    }
    let stop = Arc::new(Notify::new());
    let mut relays = Vec::new();
    for number in 0..contender.relays() {
        relays.push(start_relay(&url, number, &stop)?);
        wait_for_owners(&client, number + 1).await?;
    }
    let mut writers = Vec::new();
    for _ in 0..plan.writers {
        writers.push(start_writer(database.connect().await?, plan.time, synchronous));
    }
    let mut written = 0;
    for writer in writers {
        written += writer.await.attempt("write")??;
    }
    stop.notify_waiters();
    let mut shipped = 0;
    for relay in relays {
        shipped += relay.await.attempt("stop a relay")??.shipped;
    }
    if shipped == 0 {
        return Err(failure("the relay carried nothing beside the writers: it was not busy"));
    }
    Ok(written)
}

/// Orders that fall into the busy lanes.
fn busy_aggregates() -> Vec<String> {
    let ids = (0..).map(|number: u32| number.to_string());
    ids.filter(|id| Lane::of("order", id, 64).0 < BUSY_LANES).take(500).collect()
}

fn start_relay(
    url: &str,
    number: usize,
    stop: &Arc<Notify>,
) -> Result<JoinHandle<Result<Finished, Failure>>, Failure> {
    let store = PostgresStore::new(PostgresConfig::from_url(url).attempt("configure the store")?);
    let relay = Relay::builder().store(store).publisher(Sink).id(format!("relay-{number}"));
    let relay = relay.build().attempt("build a relay")?;
    let stop = Arc::clone(stop);
    Ok(tokio::spawn(async move { relay.run(stop.notified()).await.attempt("run a relay") }))
}

/// Waits until all lanes are owned, by so many relays.
async fn wait_for_owners(client: &Client, relays: usize) -> Result<(), Failure> {
    const OWNERS: &str =
        "SELECT count(DISTINCT owner), count(*) FILTER (WHERE owner IS NULL) FROM eventferry.lane";
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(30) {
        let row = client.query_one(OWNERS, &[]).await?;
        if (row.get::<_, i64>(0), row.get::<_, i64>(1)) == (relays as i64, 0) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(failure("the relays did not get their lanes within 30 s"))
}

fn start_writer(client: Client, time: Duration, synchronous: bool) -> JoinHandle<Result<u64, Failure>> {
    let mode = if synchronous { "on" } else { "off" };
    tokio::spawn(async move {
        client.batch_execute(&format!("SET synchronous_commit = {mode}")).await?;
        let said = client.simple_query(&format!("CALL write_for({}, 0)", time.as_secs_f64())).await?;
        let written = said.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        });
        written.ok_or_else(|| failure("a writer did not say how much it wrote"))
    })
}
