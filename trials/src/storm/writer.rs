//! A writer: one connection that performs one script after another.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::RwLock;
use tokio_postgres::Client;

use super::dice::Dice;
use super::enqueue::Enqueuer;
use super::feed::Feed;
use super::history::History;
use super::prepared::Prepared;
use super::scene::Load;
use super::script::{End, LOCKS, Script, Step};
use super::subjects::Subjects;
use crate::database::Database;
use crate::failure::{Attempt as _, Failure, failure};

/// How long a script may take beyond its own waiting. Enqueueing waits for no relay; what waits here are the storm's
/// own row locks, behind scripts that hold them.
const SCRIPT_MAX: Duration = Duration::from_secs(60);

/// The rows that scripts wait for.
pub(super) const ROWS: &str = "
    CREATE TABLE storm.row (number integer PRIMARY KEY);
    INSERT INTO storm.row SELECT generate_series(0, 4)";

/// What all writers share.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) feed: Feed,
    pub(super) subjects: Subjects,
    pub(super) database: Database,
    pub(super) history: History,
    pub(super) prepared: Prepared,
    /// Which transaction had each row's lock last.
    pub(super) last_holders: Mutex<[Option<usize>; LOCKS]>,
    /// Whether the database may go away: then a transaction that fails is nobody's mistake.
    pub(super) enduring: bool,
    /// How many transactions failed because it did.
    pub(super) troubles: AtomicU64,
    /// Writing is over.
    pub(super) over: AtomicBool,
    /// Held for reading by each transaction; whoever writes it has all writers stand still.
    pub(super) gate: RwLock<()>,
}

/// The pause between two tries to reach a database that is away, and how long it may be away.
const AGAIN: Duration = Duration::from_millis(50);
const AWAY_MAX: Duration = Duration::from_secs(120);

/// How often a paced writer writes.
const PACE: Duration = Duration::from_millis(20);

/// The pause between two transactions of a writer whose events are delivered exactly once.
const BREATH: Duration = Duration::from_millis(150);

pub(super) struct Writer {
    world: Arc<World>,
    dice: Dice,
    client: Client,
}

/// A transaction under way.
struct Open {
    transaction: usize,
    /// The first number after each savepoint that is still there.
    savepoints: Vec<u64>,
}

impl World {
    /// Whether writers note, each in its own transaction, what they emitted: where the database may forget, nothing
    /// else tells what it has in the end.
    pub(super) fn notes_messages(&self) -> bool {
        self.enduring && self.feed == Feed::Messages
    }

    /// A connection to the database, waited for where it may be away.
    pub(super) async fn reach(&self) -> Result<Client, Failure> {
        let started = Instant::now();
        loop {
            match self.database.connect().await {
                Ok(client) => return Ok(client),
                Err(failure) if !self.enduring || started.elapsed() > AWAY_MAX => return Err(failure),
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }
}

impl Writer {
    pub(super) async fn connect(world: &Arc<World>, which: u64) -> Result<Self, Failure> {
        let client = world.database.connect().await?;
        Ok(Self { world: Arc::clone(world), dice: Dice::for_one(world.seed, which + 1), client })
    }

    /// Performs scripts until writing is over; returns how many of each name.
    pub(super) async fn write(mut self, load: Load) -> Result<Vec<&'static str>, Failure> {
        let mut performed = Vec::new();
        let world = Arc::clone(&self.world);
        let (began, mut owed) = (Instant::now(), 0);
        while !world.over.load(Ordering::SeqCst) {
            let gate = world.gate.read().await;
            let script = match load {
                Load::Hostile(_) => Script::write(&world.subjects, &mut self.dice),
                Load::Forgetful(_) => {
                    Script { asynchronous: true, ..Script::write(&world.subjects, &mut self.dice) }
                }
                Load::Paced(per_second) => {
                    let due = (began.elapsed().as_secs_f64() * per_second as f64) as u64;
                    let events = due - owed;
                    if events == 0 {
                        drop(gate);
                        tokio::time::sleep(PACE).await;
                        continue;
                    }
                    owed = due;
                    Script::paced(&world.subjects, &mut self.dice, events)
                }
            };
            if script.end == End::Prepare && world.prepared.is_full() {
                continue;
            }
            let name = script.name;
            match self.try_to_perform(script).await {
                Ok(()) => performed.push(name),
                Err(_) if world.enduring => self.come_back().await?,
                Err(fault) => return Err(fault),
            }
            drop(gate);
            self.breathe().await;
        }
        Ok(performed)
    }

    /// Waits where one relay has to carry everything, in transactions: an aggregate whose events go to one partition
    /// after the other waits for two of them each time, and hostile ones do little else. Nothing would be left of a
    /// relay's time to catch up with after each trouble.
    async fn breathe(&self) {
        if self.world.feed == Feed::ExactlyOnce {
            tokio::time::sleep(BREATH).await;
        }
    }

    async fn try_to_perform(&mut self, script: Script) -> Result<(), Failure> {
        let world = Arc::clone(&self.world);
        world.prepared.decide(&self.client, &world, false).await?;
        let name = script.name;
        let done = tokio::time::timeout(SCRIPT_MAX, self.perform(script)).await;
        done.map_err(|_| failure(format!("a transaction ({name}) took longer than {SCRIPT_MAX:?}")))?
            .map_err(|fault| failure(format!("a transaction ({name}): {fault}")))
    }

    /// The database went away in the middle of a transaction: waits for it. What became of the transaction, the
    /// history knows as well as any application does.
    async fn come_back(&mut self) -> Result<(), Failure> {
        self.world.troubles.fetch_add(1, Ordering::SeqCst);
        self.client = self.world.reach().await?;
        Ok(())
    }

    async fn perform(&mut self, mut script: Script) -> Result<(), Failure> {
        if script.end == End::Bare && self.world.notes_messages() {
            // What is emitted and noted takes two statements.
            script.end = End::Commit;
        }
        let history = &self.world.history;
        let mut open = Open { transaction: history.begin(script.asynchronous), savepoints: Vec::new() };
        let off = if script.asynchronous { "off" } else { "on" };
        match script.end {
            End::Bare => {
                self.say(&format!("SET synchronous_commit = {off}")).await?;
                // From here on the one statement may be seen.
                history.committing(open.transaction);
            }
            _ => self.say(&format!("BEGIN; SET LOCAL synchronous_commit = {off}")).await?,
        }
        for step in script.steps {
            self.step(&mut open, step).await?;
        }
        self.end(open.transaction, script.end).await
    }

    async fn step(&mut self, open: &mut Open, step: Step) -> Result<(), Failure> {
        let world = Arc::clone(&self.world);
        let Open { transaction, savepoints } = open;
        let enqueuer = Enqueuer { world: &world, transaction: *transaction };
        match step {
            Step::TakeXid => self.say("SELECT pg_current_xact_id()").await,
            Step::Wait(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Step::Lock(row) => self.lock(*transaction, row).await,
            Step::Enqueue(way, drafts) => {
                enqueuer.enqueue(&mut self.client, &mut self.dice, way, &drafts).await
            }
            Step::EnqueueCaught(draft) => enqueuer.enqueue_caught(&self.client, &draft).await,
            Step::Savepoint => {
                savepoints.push(world.history.next_number());
                self.say(&format!("SAVEPOINT s{}", savepoints.len())).await
            }
            Step::UndoSavepoint => {
                let name = format!("s{}", savepoints.len());
                let from = savepoints.pop().ok_or_else(|| failure("a script undoes no savepoint"))?;
                world.history.undo(*transaction, from);
                self.say(&format!("ROLLBACK TO {name}; RELEASE {name}")).await
            }
            Step::KeepSavepoint => {
                let name = format!("s{}", savepoints.len());
                savepoints.pop();
                self.say(&format!("RELEASE {name}")).await
            }
            Step::Fail => match self.client.batch_execute("SELECT 1 / 0").await {
                Err(error) if error.as_db_error().is_some() => Ok(()),
                Err(error) => Err(error.into()),
                Ok(()) => Err(failure("a division by zero went well")),
            },
        }
    }

    async fn lock(&self, transaction: usize, row: usize) -> Result<(), Failure> {
        self.say(&format!("SELECT FROM storm.row WHERE number = {row} FOR UPDATE")).await?;
        // Between getting a lock and giving it up one at a time is here, in the order of the lock.
        let mut holders = self.world.last_holders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = holders[row].replace(transaction) {
            self.world.history.gave_up_lock(before);
        }
        Ok(())
    }

    async fn end(&mut self, transaction: usize, end: End) -> Result<(), Failure> {
        let world = Arc::clone(&self.world);
        let history = &world.history;
        match end {
            End::Commit => {
                history.committing(transaction);
                self.say("COMMIT").await?;
                history.committed(transaction);
            }
            End::Bare => history.committed(transaction),
            End::RollBack => {
                self.say("ROLLBACK").await?;
                history.rolled_back(transaction);
            }
            End::CommitInVain => {
                self.say("COMMIT").await?;
                history.rolled_back(transaction);
            }
            End::Prepare => {
                let name = Prepared::name(world.seed, transaction, world.database.name());
                self.say(&format!("PREPARE TRANSACTION '{name}'")).await?;
                world.prepared.add(&mut self.dice, transaction, name);
            }
            End::Vanish => {
                self.client = world.reach().await?;
                history.rolled_back(transaction);
            }
            End::CommitUnheard => {
                history.committing(transaction);
                let client = std::mem::replace(&mut self.client, world.reach().await?);
                // Sent when first polled; then nobody is there to hear the answer.
                tokio::time::timeout(Duration::ZERO, client.batch_execute("COMMIT")).await.ok();
            }
        }
        Ok(())
    }

    async fn say(&self, statement: &str) -> Result<(), Failure> {
        self.client.batch_execute(statement).await.attempt(statement)
    }
}
