//! One scene, from an empty database to the verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use eventferry::postgres::PostgresConfig;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use super::clock::BrokerClock;
use super::dice::Dice;
use super::feed::Feed;
use super::findings::{Breach, Findings};
use super::fleet::Fleet;
use super::ground::Ground;
use super::history::History;
use super::judge::{Conditions, Judged, judge, lost};
use super::parked::{self, Held};
use super::prepared::Prepared;
use super::reader::{Arrival, Arrived, Reader};
use super::recovery::{self, Incident};
use super::relays::{Left, Program};
use super::report::Report;
use super::scene::{BrokerNeed, DeadLetters, Load, Scene, Tail};
use super::subjects::{LIMITED, Subjects};
use super::trouble::Trouble;
use super::writer::{self, World, Writer};
use super::{CATCH_UP_MAX, LOOK, Plan, book, enqueue, repeats};
use crate::database::{self, Database};
use crate::failure::{Attempt as _, Failure, failure};
use crate::machine;
use crate::servers::Servers;
use crate::topic::Topic;

/// The partitions of the topics.
const PARTITIONS: [i32; 3] = [1, 4, 8];

/// How long relays may drain, where the lease allows it.
const GRACE_MAX: Duration = Duration::from_secs(8);

/// How many scripts of each kind were performed.
type Scripts = BTreeMap<&'static str, u64>;

/// A database, topics, and who takes part.
struct Stage {
    ground: Ground,
    database: Database,
    topics: Vec<Topic>,
    /// Beside those that are written to.
    dead_letters: Option<Topic>,
    world: Arc<World>,
    machine: serde_json::Value,
    lanes_total: u16,
    one_leader: bool,
}

/// Plays a scene.
pub(super) async fn play(scene: &'static Scene, servers: &Servers, plan: &Plan) -> Result<Report, Failure> {
    let at = &plan.whereabouts;
    at.at("starting servers");
    let ground = Ground::raise(scene, servers, plan.feed).await?;
    at.at("creating a database");
    at.database(ground.servers.postgres.clone());
    let database = Database::create(&ground.servers).await?;
    at.at("creating topics and the schema");
    let stage = Stage::set(scene, ground, database.clone(), plan).await;
    let mut stage = match stage {
        Ok(stage) => stage,
        Err(failure) => {
            database.remove().await;
            return Err(failure);
        }
    };
    let report = stage.blow(scene, plan).await;
    let keep = plan.keep && report.as_ref().is_ok_and(|report| !report.is_good());
    if keep {
        eprintln!("the database {} and its topics are kept", stage.database.name());
        return report;
    }
    at.at("taking all down");
    stage.strike(scene, report.is_err()).await?;
    report
}

impl Stage {
    async fn set(scene: &Scene, ground: Ground, database: Database, plan: &Plan) -> Result<Self, Failure> {
        let mut topics = Vec::new();
        for (place, partitions) in PARTITIONS.into_iter().enumerate() {
            let limit = scene.limit_bytes.filter(|_| place == LIMITED).map(|limit| limit.to_string());
            let limit = limit.iter().map(|limit| ("max.message.bytes", limit.as_str()));
            let settings: Vec<_> = limit.chain([("message.timestamp.type", "LogAppendTime")]).collect();
            let purpose = format!("storm-{place}");
            topics.push(Topic::create_with(&ground.servers, &purpose, partitions, &settings).await?);
        }
        let dead_letters = match scene.dead_letters {
            DeadLetters::Nowhere => None,
            _ => Some(Topic::create_timed(&ground.servers, "storm-dead", 2).await?),
        };
        if let (DeadLetters::Later, Some(topic)) = (scene.dead_letters, &dead_letters) {
            topic.delete().await?;
        }
        let client = database.connect().await?;
        let machine = machine::describe(&client).await?;
        let (lanes_total, one_leader) = prepare(&database, &client, &topics, plan.feed).await?;
        ground.make_role(&client).await?;
        let world = Arc::new(World {
            seed: plan.seed,
            feed: plan.feed,
            subjects: Subjects {
                topics: topics.iter().map(|topic| (topic.name.clone(), topic.partitions)).collect(),
            },
            database: database.clone(),
            history: History::default(),
            prepared: Prepared::default(),
            last_holders: Default::default(),
            enduring: scene.breaks_database(),
            troubles: Default::default(),
            over: Default::default(),
            gate: Default::default(),
        });
        Ok(Self { ground, database, topics, dead_letters, world, machine, lanes_total, one_leader })
    }

    async fn blow(&mut self, scene: &'static Scene, plan: &Plan) -> Result<Report, Failure> {
        let lease = plan.lease.unwrap_or(scene.lease);
        let program = Program {
            path: Program::beside_this()?,
            store: self.ground.store(&self.database)?,
            replication: self.ground.replication_url(&self.database)?,
            feed: plan.feed,
            books: self.database.clone(),
            publisher: self.ground.publisher(),
            dead_letter_topic: self.dead_letters.as_ref().map(|topic| topic.name.clone()),
            lease,
            // A drain must end before the lease would, less its margin of a fifth.
            grace: plan.grace.unwrap_or((lease * 4 / 5).min(GRACE_MAX)),
        };
        let with_dead_letters = match scene.dead_letters {
            DeadLetters::There => self.all_topics(),
            _ => self.topics.clone(),
        };
        plan.whereabouts.at("starting relays");
        let mut reader = Reader::start(&self.world, &with_dead_letters)?;
        let clock_topic = match scene.broker {
            BrokerNeed::Given => Some(Topic::create_timed(&self.ground.servers, "storm-clock", 1).await?),
            _ => None,
        };
        let clock = clock_topic.as_ref().map_or(Ok(BrokerClock::Here), BrokerClock::of)?;
        let dice = Dice::for_one(plan.seed, 0);
        let mut fleet = Fleet::start(program, dice, clock, self.lanes_total).await?;
        let mut findings = Findings::default();
        let began = Instant::now();
        let (scripts, incidents) =
            self.write_and_trouble(scene, plan, &mut fleet, &mut reader, &mut findings).await?;
        let seconds = began.elapsed().as_secs_f64();
        let at = &plan.whereabouts;
        at.at("deciding what is left undecided");
        let book = self.close_the_book(scene).await?;
        at.at("catching up");
        let ended = Instant::now();
        self.catch_up(scene, &reader, &mut fleet, book.as_ref()).await?;
        let caught_up = ended.elapsed();
        at.at("ending the relays");
        fleet.end(&mut findings).await?;
        let left = fleet.left().await?;
        note_left(left, scene, &mut findings);
        at.at("reading to the end");
        let arrivals = self.read_to_the_end(reader).await?;
        at.at("judging");
        if let Some(topic) = clock_topic {
            topic.remove().await;
        }

        let client = self.database.connect().await?;
        let written = self.world.history.written();
        let (arrivals, dead): (Vec<_>, Vec<_>) =
            arrivals.into_iter().partition(|arrival| arrival.topic < self.topics.len());
        let held = Held {
            parked: parked::read(&client, &self.world.history).await?,
            dead: dead.iter().filter_map(|arrival| arrival.number).collect(),
        };
        if let Some(limit) = scene.limit_bytes {
            parked::check(&held, &written, |number| self.may_be_refused(number, limit), &mut findings);
        }
        let conditions = Conditions {
            lanes_total: self.lanes_total,
            one_leader: self.one_leader,
            book: book.as_ref(),
            tail: scene.tail,
            held: &held,
        };
        let Judged { mut figures, repeated, firsts } = judge(&written, &arrivals, conditions, &mut findings);
        for line in super::lost::trace(&client, &lost(&written, &arrivals, book.as_ref(), &held)).await? {
            eprintln!("lost: {line}");
        }
        for cut in &mut fleet.cuts {
            cut.find_settled(&client, &repeated).await?;
        }
        // Exactly once has no excuse but that the database forgot.
        let excused = self.world.feed != Feed::ExactlyOnce || scene.tail == Tail::Lost;
        let cuts = if excused { &mut fleet.cuts[..] } else { &mut [] };
        figures.repeats = repeats::check(&repeated, cuts, &mut findings);
        let recoveries = recovery::measure(&incidents, &firsts);
        for (incident, recovery) in incidents.iter().zip(&recoveries) {
            if recovery.took > scene.recovers_within {
                let (what, took, within) = (incident.what, recovery.took, scene.recovers_within);
                findings.add(Breach::Slow, || {
                    format!("after `{what}` what had piled up took {took:?}, and {within:?} is promised")
                });
            }
        }
        Ok(Report {
            scene: scene.name,
            feed: plan.feed,
            seed: plan.seed,
            seconds,
            machine: self.machine.clone(),
            figures,
            transactions: self.world.history.transactions(),
            troubles: self.world.troubles.load(Ordering::SeqCst),
            held: [held.parked.len() as u64, held.dead.len() as u64],
            spoilt: self.ground.spoilt(),
            scripts,
            kills: fleet.kills,
            lapses: fleet.lapses,
            cuts: fleet.cuts.iter().map(|cut| (cut.relay.clone(), cut.repeats, cut.relays)).collect(),
            changes: fleet.changes.clone(),
            peak_bytes: fleet.peak_bytes,
            incidents: incidents.into_iter().zip(recoveries).collect(),
            caught_up,
            lag_events: Some(left.lag_events),
            findings,
        })
    }

    /// Writes while the script is performed; returns how many scripts of each kind were, and what went wrong.
    async fn write_and_trouble(
        &mut self,
        scene: &'static Scene,
        plan: &Plan,
        fleet: &mut Fleet,
        reader: &mut Reader,
        findings: &mut Findings,
    ) -> Result<(Scripts, Vec<Incident>), Failure> {
        let mut writers = JoinSet::new();
        let many = match scene.load {
            // One relay carries all: see `Writer::breathe`.
            Load::Hostile(many) | Load::Forgetful(many) if self.world.feed == Feed::ExactlyOnce => {
                many.min(2)
            }
            Load::Hostile(many) | Load::Forgetful(many) => many,
            Load::Paced(_) => 1,
        };
        for which in 0..many {
            let writer = Writer::connect(&self.world, which).await?;
            writers.spawn(writer.write(scene.load));
        }
        let world = Arc::clone(&self.world);
        let mut trouble = Trouble::new(&mut self.ground, fleet, reader, &world, &self.topics, findings);
        trouble.asked = plan.time;
        trouble.whereabouts = plan.whereabouts.clone();
        trouble.dead_letters = self.dead_letters.as_ref();
        let mut scripts = Scripts::new();
        let mut count = |performed: Vec<&'static str>| {
            performed.into_iter().for_each(|name| *scripts.entry(name).or_default() += 1);
        };
        let troubled = trouble.see_through(scene);
        tokio::pin!(troubled);
        let incidents = loop {
            tokio::select! {
                done = &mut troubled => {
                    world.over.store(true, Ordering::SeqCst);
                    // A failure of the script's is the first to be told.
                    break done?;
                }
                Some(ended) = writers.join_next() => count(performed(ended)?),
            }
        };
        plan.whereabouts.at("waiting for the writers to end");
        while let Some(ended) = writers.join_next().await {
            count(performed(ended)?);
        }
        Ok((scripts, incidents))
    }

    /// Decides what is left undecided, and reads what the database has, where it may have forgotten.
    async fn close_the_book(&self, scene: &Scene) -> Result<Option<BTreeSet<u64>>, Failure> {
        let client = self.world.reach().await?;
        self.world.prepared.decide(&client, &self.world, true).await?;
        if !scene.breaks_database() {
            return Ok(None);
        }
        // What was prepared and never confirmed is nobody's.
        Prepared::clear(&client).await?;
        book::wait_for_stragglers(&client).await?;
        book::read(&client, self.world.feed).await.map(Some)
    }

    /// Waits until everything that must arrive has, and the outbox says that nothing is left; or until nothing has
    /// come for too long, which the verdict will say.
    async fn catch_up(
        &self,
        scene: &Scene,
        reader: &Reader,
        fleet: &mut Fleet,
        book: Option<&BTreeSet<u64>>,
    ) -> Result<(), Failure> {
        let (started, mut arrived) = (Instant::now(), Arrived::default());
        let (mut count, mut since) = (reader.count(), Instant::now());
        let client = self.database.connect().await?;
        let mut parked = BTreeSet::new();
        while !(reader.has_all(&mut arrived, book, &parked)? && fleet.left().await?.lag_events == 0) {
            if reader.count() != count {
                (count, since) = (reader.count(), Instant::now());
            }
            if since.elapsed() > scene.recovers_within || started.elapsed() > CATCH_UP_MAX {
                return Ok(());
            }
            fleet.look().await?;
            tokio::time::sleep(LOOK).await;
            if scene.limit_bytes.is_some() && scene.dead_letters == DeadLetters::Nowhere {
                parked = parked::read(&client, &self.world.history).await?;
            }
        }
        Ok(())
    }

    /// Whether the broker may refuse an event for its size. Near the limit it depends on what is around the payload.
    fn may_be_refused(&self, number: u64, limit: usize) -> bool {
        self.world.history.event(number).is_some_and(|event| {
            let limited = self.topics.get(LIMITED).is_some_and(|topic| topic.name == event.topic);
            limited && event.payload.is_some_and(|payload| payload.len() > limit * 9 / 10)
        })
    }

    fn all_topics(&self) -> Vec<Topic> {
        self.topics.iter().chain(&self.dead_letters).cloned().collect()
    }

    /// Waits until the consumer has read all that the topics have.
    async fn read_to_the_end(&self, reader: Reader) -> Result<Vec<Arrival>, Failure> {
        const SILENCE_MAX: Duration = Duration::from_secs(30);
        let started = Instant::now();
        while !reader.is_at_the_end(&self.all_topics())? {
            if started.elapsed() > SILENCE_MAX {
                return Err(failure(format!("the consumer does not reach the end: {}", reader.trouble())));
            }
            tokio::time::sleep(LOOK).await;
        }
        reader.end()
    }

    /// Removes the topics and the database, and ends the servers that were started.
    async fn strike(self, scene: &Scene, failed: bool) -> Result<(), Failure> {
        if scene.broker == BrokerNeed::Given {
            for topic in self.all_topics() {
                topic.remove().await;
            }
        }
        if !scene.breaks_database() {
            if failed && let Ok(client) = self.database.connect().await {
                Prepared::clear(&client).await?;
            }
            self.database.remove().await;
        }
        self.ground.lower().await
    }
}

fn performed(
    ended: Result<Result<Vec<&'static str>, Failure>, tokio::task::JoinError>,
) -> Result<Vec<&'static str>, Failure> {
    ended?.map_err(|fault| failure(format!("a writer failed: {fault}")))
}

fn note_left(left: Left, scene: &Scene, findings: &mut Findings) {
    let may_park = scene.limit_bytes.is_some() && scene.dead_letters == DeadLetters::Nowhere;
    if left.lag_events > 0 {
        findings.add(Breach::Left, || format!("{} events, by `eventferry status`", left.lag_events));
    }
    if left.parked_events > 0 && !may_park {
        findings.add(Breach::Parked, || format!("{} events, by `eventferry status`", left.parked_events));
    }
}

/// Makes the schema; says how many lanes it has, and whether one broker leads all partitions.
async fn prepare(
    database: &Database,
    client: &Client,
    topics: &[Topic],
    feed: Feed,
) -> Result<(u16, bool), Failure> {
    enqueue::check_server(client).await?;
    let config =
        PostgresConfig::from_url(&database.url()?).attempt("configure the store")?.feed(feed.choice());
    let prepared = database::prepare(config).await?;
    client.batch_execute(enqueue::SCHEMA).await.attempt("create the storm's function")?;
    client.batch_execute(writer::ROWS).await.attempt("create the storm's rows")?;
    let mut leaders = Vec::new();
    for topic in topics {
        leaders.extend(topic.leaders()?);
    }
    leaders.dedup();
    Ok((prepared.lanes, leaders.len() == 1))
}
