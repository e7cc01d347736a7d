//! Performing a script: what goes wrong, and when it is put right.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::dice::Dice;
use super::enqueue::Enqueuer;
use super::findings::Findings;
use super::fleet::Fleet;
use super::ground::{Ground, Weather};
use super::limit::Whereabouts;
use super::reader::{Arrived, Reader};
use super::recovery::Incident;
use super::scene::{Scene, Side, Step};
use super::subjects::{HOT, Way};
use super::writer::World;
use super::{CATCH_UP_MAX, LOOK};
use crate::failure::{Attempt as _, Failure, failure};
use crate::topic::Topic;

/// The pause between two looks after the relays.
const LOOK_AFTER: Duration = Duration::from_millis(500);

/// How long relays may take to find out that history has changed.
const FINDING_OUT_MAX: Duration = Duration::from_secs(10);

/// What troubles a storm, and what it troubles.
pub(super) struct Trouble<'a> {
    pub(super) ground: &'a mut Ground,
    pub(super) fleet: &'a mut Fleet,
    pub(super) reader: &'a mut Reader,
    pub(super) world: &'a Arc<World>,
    pub(super) topics: &'a [Topic],
    pub(super) dead_letters: Option<&'a Topic>,
    pub(super) findings: &'a mut Findings,
    pub(super) dice: Dice,
    /// The time that was asked for.
    pub(super) asked: Duration,
    pub(super) whereabouts: Whereabouts,
    pub(super) incidents: Vec<Incident>,
    /// What is cut off now, by what must be put right.
    cuts: Vec<(&'static str, usize)>,
    deleted: Option<usize>,
    long: Option<(Client, usize)>,
}

impl<'a> Trouble<'a> {
    pub(super) fn new(
        ground: &'a mut Ground,
        fleet: &'a mut Fleet,
        reader: &'a mut Reader,
        world: &'a Arc<World>,
        topics: &'a [Topic],
        findings: &'a mut Findings,
    ) -> Self {
        let dice = Dice::for_one(world.seed, 1_000);
        let asked = Duration::ZERO;
        let (incidents, cuts) = (Vec::new(), Vec::new());
        Self {
            ground,
            fleet,
            reader,
            world,
            topics,
            dead_letters: None,
            findings,
            dice,
            asked,
            whereabouts: Whereabouts::default(),
            incidents,
            cuts,
            deleted: None,
            long: None,
        }
    }

    /// Performs a scene's script, again while there is time; returns what went wrong and was put right.
    pub(super) async fn see_through(mut self, scene: &Scene) -> Result<Vec<Incident>, Failure> {
        let until = Instant::now() + self.asked;
        loop {
            self.perform(scene.script).await?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(self.incidents);
            }
            if !scene.may_repeat() {
                self.calm(left).await?;
                return Ok(self.incidents);
            }
        }
    }

    /// Performs these steps, in their order.
    async fn perform(&mut self, script: &'static [Step]) -> Result<(), Failure> {
        for step in script {
            if let Step::OneOf(scripts) = step {
                let chosen = scripts[self.dice.below(scripts.len())];
                for step in chosen {
                    self.step(*step).await?;
                }
            } else {
                self.step(*step).await?;
            }
        }
        Ok(())
    }

    /// Nothing new happens for this long.
    async fn calm(&mut self, time: Duration) -> Result<(), Failure> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.fleet.look().await?;
            tokio::time::sleep(LOOK_AFTER.min(until.saturating_duration_since(Instant::now()))).await;
        }
        Ok(())
    }

    async fn step(&mut self, step: Step) -> Result<(), Failure> {
        tracing::info!(?step, "storm");
        self.whereabouts.at(format!("{step:?}"));
        match step {
            Step::Calm(least, most) => {
                let time = Duration::from_millis(self.dice.within(least..most + 1));
                self.calm(time).await
            }
            Step::CalmAsAsked(otherwise) => self.calm(self.asked.max(Duration::from_millis(otherwise))).await,
            Step::OneOf(_) => Err(failure("a choice within a choice")),
            Step::KillRelay
            | Step::FreezeRelay
            | Step::ThawRelay
            | Step::TakeOver
            | Step::HandOver
            | Step::MeasureMemory => self.trouble_relays(step).await,
            Step::KillBroker
            | Step::StartBroker
            | Step::FreezeBroker
            | Step::ThawBroker
            | Step::FillBrokerDisk
            | Step::FreeBrokerDisk => self.trouble_broker(step).await,
            Step::DeleteTopic | Step::CreateTopic | Step::DenyTopic | Step::AllowTopic => {
                self.trouble_topic(step).await
            }
            Step::Poison => self.poison().await,
            Step::CreateDeadLetterTopic => {
                // A script that is played again finds it there.
                let Some(topic) = self.dead_letters.take() else { return Ok(()) };
                topic.create_again().await?;
                self.reader.rest()?;
                self.reader.go_on(&[self.topics, std::slice::from_ref(topic)].concat())?;
                self.healed("dead letters down").await
            }
            Step::Cut(side) => self.weather(side, Weather::Cut).await,
            Step::Slow(side, by) => self.weather(side, Weather::Slow(Duration::from_millis(by))).await,
            Step::Silence(side) => self.weather(side, Weather::Silent).await,
            Step::Deafen(side) => self.weather(side, Weather::Deaf).await,
            Step::Stall(side) => self.weather(side, Weather::Stalled).await,
            Step::Spoil(side) => self.weather(side, Weather::Spoilt).await,
            Step::Clear(side) => self.weather(side, Weather::Fair).await,
            _ => self.trouble_database(step).await,
        }
    }

    async fn trouble_relays(&mut self, step: Step) -> Result<(), Failure> {
        match step {
            Step::KillRelay => {
                self.fleet.kill_one().await?;
                self.healed("relay killed").await
            }
            Step::TakeOver => {
                self.fleet.take_over(self.findings).await?;
                self.healed("relay killed").await
            }
            Step::HandOver => {
                self.fleet.hand_over(self.findings).await?;
                self.healed("relay handed over").await
            }
            Step::FreezeRelay => self.fleet.freeze_one().await,
            Step::ThawRelay => {
                self.fleet.thaw().await?;
                self.healed("relay frozen").await
            }
            _ => self.fleet.measure_memory(self.findings).await,
        }
    }

    async fn trouble_broker(&mut self, step: Step) -> Result<(), Failure> {
        match step {
            Step::KillBroker => {
                self.cut("broker killed").await?;
                self.ground.kafka()?.kill().await
            }
            Step::StartBroker => {
                self.ground.kafka()?.start().await?;
                self.mend("broker killed").await
            }
            Step::FreezeBroker => {
                self.cut("broker frozen").await?;
                self.ground.kafka()?.freeze(true).await
            }
            Step::ThawBroker => {
                self.ground.kafka()?.freeze(false).await?;
                self.mend("broker frozen").await
            }
            Step::FillBrokerDisk => {
                self.cut("broker's disk full").await?;
                self.ground.disk()?.fill()?;
                // A broker whose only disk fails ends.
                self.ground.kafka()?.given_up().await
            }
            _ => {
                self.ground.disk()?.free()?;
                self.ground.kafka()?.start().await?;
                self.mend("broker's disk full").await
            }
        }
    }

    async fn trouble_topic(&mut self, step: Step) -> Result<(), Failure> {
        let place = match self.deleted {
            Some(place) => place,
            None => self.dice.below(self.topics.len()),
        };
        let topic = &self.topics[place];
        match step {
            Step::DeleteTopic => {
                let gate = self.world.gate.write().await;
                let client = self.world.reach().await?;
                self.world.prepared.decide(&client, self.world, true).await?;
                let mut arrived = Arrived::default();
                let started = Instant::now();
                while !self.reader.has_all(&mut arrived, None, &BTreeSet::new())?
                    || self.fleet.left().await?.lag_events > 0
                {
                    if started.elapsed() > CATCH_UP_MAX {
                        return Err(failure("the topic was not read to its end"));
                    }
                    self.fleet.look().await?;
                    tokio::time::sleep(LOOK).await;
                }
                self.reader.rest()?;
                topic.delete().await?;
                drop(gate);
                self.deleted = Some(place);
                Ok(())
            }
            Step::CreateTopic => {
                topic.create_again().await?;
                self.reader.begin_anew(place);
                self.reader.go_on(self.topics)?;
                self.deleted = None;
                self.healed("topic deleted").await
            }
            Step::DenyTopic => {
                self.deleted = Some(place);
                self.ground.kafka()?.allow(&topic.name, false).await
            }
            _ => {
                self.deleted = None;
                self.ground.kafka()?.allow(&topic.name, true).await?;
                self.healed("permission taken").await
            }
        }
    }

    async fn trouble_database(&mut self, step: Step) -> Result<(), Failure> {
        match step {
            Step::CrashDatabase => self.ground.postgres()?.crash().await,
            Step::StartDatabase => {
                self.ground.postgres()?.start().await?;
                self.healed("database crashed").await
            }
            Step::FreezeDatabase => self.ground.postgres()?.freeze(true).await,
            Step::ThawDatabase => {
                self.ground.postgres()?.freeze(false).await?;
                self.healed("database frozen").await
            }
            Step::CutReplication => {
                if let Some(replication) = &self.ground.replication {
                    replication.set(Weather::Cut);
                }
                Ok(())
            }
            Step::FailOver => {
                self.cut("failover").await?;
                self.ground.fail_over(&self.world.database).await?;
                self.mend_later("failover").await
            }
            Step::MoveToRestored => {
                self.cut("restore").await?;
                self.ground.move_to_restored(&self.world.database).await?;
                self.mend_later("restore").await
            }
            Step::RevokeLogin => self.ground.allow_login(false).await,
            Step::ReturnLogin => {
                self.ground.allow_login(true).await?;
                self.healed("login revoked").await
            }
            Step::BeginLong => self.begin_long().await,
            Step::CommitLong => self.commit_long().await,
            Step::KillPooler => self.ground.pooler()?.kill().await,
            _ => {
                self.ground.pooler()?.start().await?;
                self.healed("pooler killed").await
            }
        }
    }

    async fn weather(&mut self, side: Side, weather: Weather) -> Result<(), Failure> {
        let what = match side {
            Side::Broker => "broker out of reach",
            Side::Database => "database out of reach",
        };
        // What is only slow is not uncertain; nor is what the broker acknowledged while the database was away.
        let uncertain = side == Side::Broker && !matches!(weather, Weather::Fair | Weather::Slow(_));
        if uncertain {
            self.cut(what).await?;
        }
        self.ground.weather(side, weather)?;
        if weather != Weather::Fair {
            return Ok(());
        }
        match side {
            Side::Broker => self.mend(what).await,
            Side::Database => self.healed(what).await,
        }
    }

    /// Each hot aggregate gets an event over the limit of its topic, in a transaction of its own.
    async fn poison(&mut self) -> Result<(), Failure> {
        let mut client = self.world.reach().await?;
        let World { subjects, history, .. } = &**self.world;
        for aggregate in 0..HOT {
            let transaction = history.begin(false);
            client.batch_execute("BEGIN").await.attempt("begin to poison")?;
            let draft = subjects.poison(aggregate);
            let enqueuer = Enqueuer { world: self.world, transaction };
            enqueuer.enqueue(&mut client, &mut self.dice, Way::Outbox, &[draft]).await?;
            history.committing(transaction);
            client.batch_execute("COMMIT").await.attempt("poison")?;
            history.committed(transaction);
        }
        Ok(())
    }

    /// A transaction with an old snapshot, an old id, and an event.
    async fn begin_long(&mut self) -> Result<(), Failure> {
        let mut client = self.world.reach().await?;
        let transaction = self.world.history.begin(false);
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id()";
        client.batch_execute(begin).await.attempt(begin)?;
        let draft = self.world.subjects.draft(&mut self.dice, Way::Function, None);
        let enqueuer = Enqueuer { world: self.world, transaction };
        enqueuer.enqueue(&mut client, &mut self.dice, Way::Function, &[draft]).await?;
        self.long = Some((client, transaction));
        Ok(())
    }

    async fn commit_long(&mut self) -> Result<(), Failure> {
        let Some((client, transaction)) = self.long.take() else { return Ok(()) };
        self.world.history.committing(transaction);
        client.batch_execute("COMMIT").await.attempt("commit the long transaction")?;
        self.world.history.committed(transaction);
        self.healed("long transaction").await
    }

    /// All relays are cut off until this is mended.
    async fn cut(&mut self, what: &'static str) -> Result<(), Failure> {
        let cut = self.fleet.cut_all(what).await?;
        self.cuts.push((what, cut));
        Ok(())
    }

    async fn mend(&mut self, what: &'static str) -> Result<(), Failure> {
        for cut in self.take_cuts(what) {
            self.fleet.mend(cut).await?;
        }
        self.healed(what).await
    }

    /// The ground is whole again, but relays find only later that what they knew is gone.
    async fn mend_later(&mut self, what: &'static str) -> Result<(), Failure> {
        for cut in self.take_cuts(what) {
            self.fleet.mend_after(cut, FINDING_OUT_MAX).await?;
        }
        self.healed(what).await
    }

    fn take_cuts(&mut self, what: &'static str) -> Vec<usize> {
        let (mended, left) = self.cuts.iter().partition(|(of, _)| *of == what);
        self.cuts = left;
        let mended: Vec<(&str, usize)> = mended;
        mended.into_iter().map(|(_, cut)| cut).collect()
    }

    /// Everything is put right: from here on recovery is measured.
    async fn healed(&mut self, what: &'static str) -> Result<(), Failure> {
        let (healed, healed_ms) = (self.world.history.now(), self.fleet.now_ms().await?);
        self.incidents.push(Incident { what, healed, healed_ms });
        Ok(())
    }
}
