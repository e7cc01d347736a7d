//! Hostile writers and relays that are killed, on real servers: what must arrive does, once and in order.
//!
//! Sixteen connections enqueue in every way that has ever hurt an outbox, and note in memory what they committed and
//! what came before what. Three relays carry it, one of which is killed now and then. A consumer reads everything;
//! the verdict holds the two against each other. What is looked at, and by what evidence, stands in `judge`, `order`
//! and `repeats`.

mod clock;
mod dice;
mod enqueue;
mod findings;
mod fleet;
mod history;
mod judge;
mod lost;
mod order;
mod prepared;
mod reader;
mod relays;
mod repeats;
mod report;
mod scene;
mod script;
mod writer;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventferry::core::store::{Prepare, Store as _};
use eventferry::postgres::{PostgresConfig, PostgresStore};
use tokio::task::JoinSet;

use crate::arguments::Arguments;
use crate::database::Database;
use crate::failure::{Attempt as _, Failure, failure};
use crate::machine;
use crate::servers::Servers;
use crate::topic::Topic;
use clock::BrokerClock;
use dice::Dice;
use findings::{Breach, Findings};
use fleet::Fleet;
use history::History;
use judge::{Conditions, judge};
use prepared::Prepared;
use reader::{Arrived, Reader};
use relays::Program;
use report::Report;
use scene::Scene;
use writer::{World, Writer};

/// How many connections write.
const WRITERS: usize = 16;

/// The partitions of the topics.
const PARTITIONS: [i32; 3] = [1, 4, 8];

/// How long nothing may arrive before what is missing counts as lost, and how long catching up may take at all.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const CATCH_UP_MAX: Duration = Duration::from_secs(240);

/// The pause between two looks after the relays.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// The pause between two looks at what has arrived.
const LOOK: Duration = Duration::from_millis(20);

struct Plan {
    seed: u64,
    time: Duration,
    kills_max: usize,
    kill_every: Duration,
    lease: Duration,
    grace: Duration,
    /// Whether the database and the topics stay when a promise broke, to be looked into.
    keep: bool,
}

/// Runs a storm from its words.
pub(crate) async fn run(mut arguments: Arguments) -> Result<ExitCode, Failure> {
    let random = || RandomState::new().build_hasher().finish() % 1_000_000;
    let lease = arguments.duration("lease", Duration::from_secs(2))?;
    let plan = Plan {
        seed: arguments.optional("seed")?.unwrap_or_else(random),
        time: arguments.duration("seconds", Duration::from_secs(60))?,
        kills_max: arguments.value("kills", usize::MAX)?,
        kill_every: arguments.duration("kill-every", Duration::from_secs(5))?,
        lease,
        // A drain must end before the lease would, less its margin of a fifth.
        grace: arguments.duration("grace", lease * 4 / 5)?,
        keep: arguments.text("keep").is_some_and(|keep| keep == "yes"),
    };
    let json = arguments.text("json");
    arguments.finish()?;
    if plan.time.is_zero() || plan.kill_every.is_zero() {
        return Err(failure("--seconds and --kill-every: give more than nothing"));
    }
    eprintln!("storm of {:?}, seed {}", plan.time, plan.seed);
    let report = set_and_blow(&Servers::find()?, &plan).await.map_err(|failure| {
        let seed = plan.seed;
        crate::failure::failure(format!("the storm with seed {seed} could not be seen through: {failure}"))
    })?;
    print!("{report}");
    if let Some(file) = json {
        std::fs::write(&file, format!("{:#}\n", report.json()))
            .map_err(|error| failure(format!("write {file}: {error}")))?;
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes the database and the topics, and removes them, however it ends.
async fn set_and_blow(servers: &Servers, plan: &Plan) -> Result<Report, Failure> {
    let database = Database::create(servers).await?;
    let mut topics = Vec::new();
    let mut make_and_blow = async || {
        for (place, partitions) in PARTITIONS.into_iter().enumerate() {
            topics.push(Topic::create_timed(servers, &format!("storm-{place}"), partitions).await?);
        }
        // The last one is not the storm's: the broker's clock is asked by it.
        topics.push(Topic::create_timed(servers, "storm-clock", 1).await?);
        blow(servers, plan, &database, &topics).await
    };
    let report = make_and_blow().await;
    if report.is_err() {
        let cleared = async { Prepared::clear(&database.connect().await?).await };
        if let Err(failure) = cleared.await {
            eprintln!("trials: {failure}");
        }
    }
    if plan.keep && report.as_ref().is_ok_and(|report| !report.is_good()) {
        eprintln!("the database {} and its topics are kept", database.name());
        return report;
    }
    for topic in topics {
        topic.remove().await;
    }
    database.remove().await;
    report
}

async fn blow(
    servers: &Servers,
    plan: &Plan,
    database: &Database,
    topics: &[Topic],
) -> Result<Report, Failure> {
    let (clock_topic, topics) = topics.split_last().ok_or_else(|| failure("no topics"))?;
    let client = database.connect().await?;
    let machine = machine::describe(&client).await?;
    let conditions = prepare(database, &client, topics).await?;
    let world = Arc::new(World {
        seed: plan.seed,
        scene: Scene { topics: topics.iter().map(|topic| (topic.name.clone(), topic.partitions)).collect() },
        database: database.clone(),
        history: History::default(),
        prepared: Prepared::default(),
        last_holders: Default::default(),
    });
    let program = Program::beside_this(database.url()?, servers.brokers.clone(), plan.lease, plan.grace)?;
    let reader = Reader::start(&world, topics)?;
    let dice = Dice::for_one(plan.seed, 0);
    let (clock, asking) = (BrokerClock::of(clock_topic)?, database.connect().await?);
    let mut fleet = Fleet::start(program, dice, clock, asking, conditions.lanes_total).await?;

    let began = Instant::now();
    let scripts = write_and_kill(&world, &mut fleet, plan).await?;
    world.prepared.decide(&client, &world.history, true).await?;
    let (seconds, ended) = (began.elapsed().as_secs_f64(), Instant::now());

    let mut findings = Findings::default();
    catch_up(&reader, &mut fleet).await?;
    let caught_up = ended.elapsed();
    fleet.end(&mut findings).await?;
    let lag_events = fleet.lag().await?;
    if lag_events > 0 {
        findings.add(Breach::Left, || format!("{lag_events} events, by `eventferry status`"));
    }
    let arrivals = read_to_the_end(reader, topics).await?;
    let written = world.history.written();
    let (mut figures, repeated) = judge(&written, &arrivals, conditions, &mut findings);
    for line in lost::trace(&client, &judge::lost(&written, &arrivals)).await? {
        eprintln!("lost: {line}");
    }
    for cut in &mut fleet.cuts {
        cut.find_settled(&client, &repeated).await?;
    }
    figures.repeats = repeats::check(&repeated, &fleet.cuts, &mut findings);
    Ok(Report {
        seed: plan.seed,
        seconds,
        machine,
        figures,
        transactions: world.history.transactions(),
        scripts,
        kills: fleet.kills,
        lapses: fleet.lapses,
        caught_up,
        lag_events: Some(lag_events),
        findings,
    })
}

async fn prepare(
    database: &Database,
    client: &tokio_postgres::Client,
    topics: &[Topic],
) -> Result<Conditions, Failure> {
    enqueue::check_server(client).await?;
    let config = PostgresConfig::from_url(&database.url()?).attempt("configure the store")?;
    let prepared = PostgresStore::new(config).prepare(Prepare::Apply).await.attempt("create the schema")?;
    client.batch_execute(enqueue::CAUGHT).await.attempt("create the storm's function")?;
    client.batch_execute(writer::ROWS).await.attempt("create the storm's rows")?;
    let mut leaders = Vec::new();
    for topic in topics {
        leaders.extend(topic.leaders()?);
    }
    leaders.dedup();
    Ok(Conditions { lanes_total: prepared.lanes, one_leader: leaders.len() == 1 })
}

/// Writes until the time is over, and kills relays meanwhile; returns how many scripts of each kind were performed.
async fn write_and_kill(
    world: &Arc<World>,
    fleet: &mut Fleet,
    plan: &Plan,
) -> Result<BTreeMap<&'static str, u64>, Failure> {
    let until = Instant::now() + plan.time;
    let mut writers = JoinSet::new();
    for which in 0..WRITERS as u64 {
        let writer = Writer::connect(world, which).await?;
        writers.spawn(writer.write(until));
    }
    let mut scripts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut kills = tokio::time::interval(plan.kill_every);
    let mut looks = tokio::time::interval(LOOK_AFTER);
    // The first tick is at once.
    kills.tick().await;
    loop {
        tokio::select! {
            done = writers.join_next() => match done {
                None => return Ok(scripts),
                Some(performed) => performed?
                    .map_err(|fault| failure(format!("a writer failed: {fault}")))?
                    .into_iter()
                    .for_each(|name| *scripts.entry(name).or_default() += 1),
            },
            _ = looks.tick() => fleet.look().await?,
            _ = kills.tick() => if fleet.kills < plan.kills_max && Instant::now() < until {
                fleet.kill_one().await?;
            },
        }
    }
}

/// Waits until everything that must arrive has, and the outbox says that nothing is left; or until nothing has come for
/// too long, which the verdict will say.
async fn catch_up(reader: &Reader, fleet: &mut Fleet) -> Result<(), Failure> {
    let (started, mut arrived) = (Instant::now(), Arrived::default());
    let (mut count, mut since) = (reader.count(), Instant::now());
    while !(reader.has_all(&mut arrived)? && fleet.lag().await? == 0) {
        if reader.count() != count {
            (count, since) = (reader.count(), Instant::now());
        }
        if since.elapsed() > SILENCE_MAX || started.elapsed() > CATCH_UP_MAX {
            return Ok(());
        }
        fleet.look().await?;
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Waits until the consumer has read all that the topics have.
async fn read_to_the_end(reader: Reader, topics: &[Topic]) -> Result<Vec<reader::Arrival>, Failure> {
    let started = Instant::now();
    let mut records = 0;
    for topic in topics {
        records += topic.records()?;
    }
    while (reader.count() as u64) < records {
        if started.elapsed() > SILENCE_MAX {
            return Err(failure(format!("the consumer read {} of {records} records", reader.count())));
        }
        tokio::time::sleep(LOOK).await;
    }
    reader.end()
}
