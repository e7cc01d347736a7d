//! Hostile writers and everything that breaks, on real servers: what must arrive does, once and in order.
//!
//! Connections enqueue in every way that has ever hurt an outbox, and note in memory what they committed and what came
//! before what. Three relays carry it, while a scene's script troubles them, the servers and what lies between. A
//! consumer reads everything; the verdict holds the two against each other. What is looked at, and by what evidence,
//! stands in `judge`, `order` and `repeats`; the scenes stand in `scenes`.

mod book;
mod clock;
mod dice;
mod enqueue;
mod feed;
mod findings;
mod fleet;
mod ground;
mod history;
mod judge;
mod limit;
mod lost;
mod order;
mod parked;
mod play;
mod prepared;
mod reader;
mod recovery;
mod relays;
mod repeats;
mod report;
mod scene;
mod scenes;
mod script;
mod subjects;
mod trouble;
mod writer;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::Arguments;
use crate::failure::{Attempt as _, Failure, failure};
use crate::servers::Servers;
use feed::{FEEDS, Feed};
use limit::{SCENE_MAX, Whereabouts};
use report::{Played, markdown};
use scene::Scene;
use scenes::{KILLED, SCENES};

/// The most connections that write in any scene.
const WRITERS_MAX: usize = 16;

/// How long catching up may take at all.
const CATCH_UP_MAX: Duration = Duration::from_secs(240);

/// The pause between two looks at what has arrived.
const LOOK: Duration = Duration::from_millis(20);

/// The numbers of one storm.
struct Plan {
    seed: u64,
    feed: Feed,
    /// The script is repeated until then.
    time: Duration,
    /// Other than the scene's.
    lease: Option<Duration>,
    grace: Option<Duration>,
    /// Whether the database and the topics stay when a promise broke, to be looked into.
    keep: bool,
    whereabouts: Whereabouts,
}

/// Which scenes, how often.
struct Program {
    scenes: Vec<&'static Scene>,
    /// Each scene is played with one after the other.
    feeds: Vec<Feed>,
    /// They are played in turn until then, each at least once.
    time: Duration,
    /// Whether a scene that this machine lacks something for is passed over.
    skips: bool,
    json: Option<String>,
    report: Option<String>,
}

/// Runs a storm from its words.
pub(crate) async fn run(mut arguments: Arguments) -> Result<ExitCode, Failure> {
    if arguments.text("list").is_some() {
        for scene in SCENES {
            println!("{:<22}{}", scene.name, scene.sentence);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let minutes = arguments.optional::<u64>("minutes")?;
    let chosen = arguments.text("scene");
    let scenes = match (&chosen, minutes) {
        (Some(names), _) => names.split(',').map(scene).collect::<Result<_, _>>()?,
        (None, Some(_)) => SCENES.iter().collect(),
        (None, None) => vec![&KILLED],
    };
    let feeds = match arguments.text("feed").as_deref() {
        None => vec![Feed::Table],
        Some("all") => FEEDS.to_vec(),
        Some(names) => names.split(',').map(str::parse).collect::<Result<_, _>>()?,
    };
    let time_default = if chosen.is_some() || minutes.is_some() { 0 } else { 60 };
    let random = || RandomState::new().build_hasher().finish() % 1_000_000;
    let mut plan = Plan {
        feed: Feed::Table,
        seed: arguments.optional("seed")?.unwrap_or_else(random),
        time: arguments.duration("seconds", Duration::from_secs(time_default))?,
        lease: Some(arguments.duration("lease", Duration::ZERO)?).filter(|lease| !lease.is_zero()),
        grace: Some(arguments.duration("grace", Duration::ZERO)?).filter(|grace| !grace.is_zero()),
        keep: arguments.text("keep").is_some_and(|keep| keep == "yes"),
        whereabouts: Whereabouts::default(),
    };
    let program = Program {
        scenes,
        feeds,
        time: Duration::from_secs(minutes.unwrap_or(0) * 60),
        skips: arguments.text("skip-missing").is_some_and(|skip| skip == "yes"),
        json: arguments.text("json"),
        report: arguments.text("report"),
    };
    arguments.finish()?;
    let servers = Servers::find()?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // What was started ends when what started it is dropped.
    tokio::select! {
        ended = program.play(&servers, &mut plan) => ended,
        _ = interrupt.recv() => Err(failure("interrupted")),
        _ = terminate.recv() => Err(failure("asked to end")),
    }
}

fn scene(name: &str) -> Result<&'static Scene, Failure> {
    SCENES.iter().find(|scene| scene.name == name).ok_or_else(|| {
        let names: Vec<&str> = SCENES.iter().map(|scene| scene.name).collect();
        failure(format!("there is no scene `{name}`; there are {}", names.join(", ")))
    })
}

impl Program {
    /// Plays the scenes in turn, and says how all of them went.
    async fn play(&self, servers: &Servers, plan: &mut Plan) -> Result<ExitCode, Failure> {
        let until = Instant::now() + self.time;
        let mut played: Vec<Played> = Vec::new();
        for round in 0.. {
            for (scene, feed) in self.pairs() {
                if round > 0 && Instant::now() >= until {
                    return self.end(&played);
                }
                plan.feed = feed;
                let one = self.one(scene, servers, plan).await;
                print!("{one}");
                played.push(one);
                self.write_down(&played)?;
                plan.seed = plan.seed.wrapping_add(1);
            }
            if Instant::now() >= until {
                break;
            }
        }
        self.end(&played)
    }

    /// What one round plays.
    fn pairs(&self) -> impl Iterator<Item = (&'static Scene, Feed)> {
        self.scenes.iter().flat_map(|scene| self.feeds.iter().map(|feed| (*scene, *feed)))
    }

    async fn one(&self, scene: &'static Scene, servers: &Servers, plan: &Plan) -> Played {
        let (feed, name) = (plan.feed, scene.name);
        if let Some(why) = feed.leaves_out(scene) {
            return Played::LeftOut { scene: name, feed, why };
        }
        if let Some(what) = ground::lacks(scene) {
            return Played::Missing { scene: name, what, excused: self.skips };
        }
        eprintln!("storm `{name}`, feed {}, seed {}: {}", feed.name(), plan.seed, scene.sentence);
        let play = Box::pin(play::play(scene, servers, plan));
        match limit::within(SCENE_MAX + plan.time, &plan.whereabouts, play).await {
            Ok(report) => Played::Through(Box::new(report)),
            Err(failure) => Played::Broken { scene: name, feed, seed: plan.seed, why: failure.to_string() },
        }
    }

    fn end(&self, played: &[Played]) -> Result<ExitCode, Failure> {
        let bad: Vec<String> = played.iter().filter(|one| !one.is_good()).map(Played::name).collect();
        if played.len() > 1 {
            println!("{} scenes played, {} not well: {}", played.len(), bad.len(), bad.join(", "));
        }
        Ok(if bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Writes the files that were asked for, after each scene: a run that is interrupted has told what it knew.
    fn write_down(&self, played: &[Played]) -> Result<(), Failure> {
        if let Some(file) = &self.report {
            std::fs::write(file, markdown(played)).attempt(&format!("write {file}"))?;
        }
        if let Some(file) = &self.json {
            let values: Vec<_> = played.iter().map(Played::json).collect();
            let value = if let [one] = &values[..] { one.clone() } else { values.into() };
            std::fs::write(file, format!("{value:#}\n")).attempt(&format!("write {file}"))?;
        }
        Ok(())
    }
}
