//! An application of the model: a transaction keeps what it enqueued to itself until it commits.

use eventferry_core::enqueue::check;
use eventferry_core::{Enqueue, EnqueueFault, Event, MessageId};

use super::Shared;
use super::flaw::Flaw;
use super::world::{Logged, World};
use crate::subject::{Step, Writers};

/// An application's connection to the model.
#[derive(Debug)]
pub struct ModelWriter {
    world: Shared,
    transaction: Option<Transaction>,
}

/// Enqueues into a [`ModelWriter`]'s open transaction.
#[derive(Clone, Copy, Debug)]
pub struct ModelEnqueue;

#[derive(Debug)]
struct Transaction {
    number: u64,
    events: Vec<Logged>,
    /// How many events there were when the savepoint was made.
    savepoint: usize,
}

impl ModelWriter {
    pub(super) fn new(world: Shared) -> Self {
        Self { world, transaction: None }
    }

    /// Takes a step of a transaction; one that does not fit the step before does nothing.
    pub fn step(&mut self, step: Step) {
        let mut world = self.world.lock();
        match step {
            Step::Begin => {
                let (number, now) = (world.number(), world.now());
                world.open.insert(number, now);
                self.transaction = Some(Transaction { number, events: Vec::new(), savepoint: 0 });
            }
            Step::Savepoint => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.savepoint = transaction.events.len();
                }
            }
            Step::RollbackToSavepoint => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.roll_back_to_savepoint(&world);
                }
            }
            Step::Commit => {
                if let Some(transaction) = self.transaction.take() {
                    world.end(transaction.number);
                    world.commit(transaction.events);
                }
            }
            Step::Rollback => {
                if let Some(transaction) = self.transaction.take() {
                    world.end(transaction.number);
                    if world.has(Flaw::CommitsOnRollback) {
                        world.commit(transaction.events);
                    }
                }
            }
        }
    }

    /// Enqueues into the open transaction.
    ///
    /// # Errors
    /// As for every store; `Database` where no transaction is open.
    pub fn enqueue(&mut self, events: &[Event]) -> Result<Vec<MessageId>, EnqueueFault> {
        let mut world = self.world.lock();
        let Some(transaction) = &mut self.transaction else {
            return Err(EnqueueFault::database("no transaction is open; begin one", "no transaction"));
        };
        if let Some(why) = kept_waiting(&mut world, events, transaction) {
            return Err(EnqueueFault::database("enqueue waited in vain", why));
        }
        let payload_bytes_max = world.declared.capabilities.payload_bytes_max;
        for (nth, event) in events.iter().enumerate() {
            if let Err(refused) = check(event, payload_bytes_max)
                && !world.has(Flaw::ChecksNoLimits)
            {
                if world.has(Flaw::AddsBeforeRefusing) {
                    let before =
                        events[..nth].iter().map(|event| world.event_to_log(event, transaction.number));
                    transaction.events.extend(before.collect::<Vec<_>>());
                }
                return Err(refused);
            }
        }
        let events_max = world.declared.capabilities.events_per_transaction_max;
        if (transaction.events.len() + events.len()) as u64 > events_max {
            return Err(EnqueueFault::refused(format!("a transaction takes at most {events_max} events")));
        }
        if world.declared.writers == Writers::One && !events.is_empty() {
            match world.writing {
                Some(other) if other != transaction.number => {
                    return Err(EnqueueFault::database(
                        "enqueue waited in vain",
                        "another transaction is writing",
                    ));
                }
                _ => world.writing = Some(transaction.number),
            }
        }
        let added: Vec<_> =
            events.iter().map(|event| world.event_to_log(event, transaction.number)).collect();
        let ids = added.iter().map(|event| event.stored.message_id).collect();
        if world.has(Flaw::ShowsUncommitted) {
            world.commit(added);
        } else {
            transaction.events.extend(added);
        }
        Ok(ids)
    }
}

impl Drop for ModelWriter {
    fn drop(&mut self) {
        let mut world = self.world.lock();
        if let Some(transaction) = self.transaction.take() {
            world.end(transaction.number);
            if world.has(Flaw::CommitsLostConnections) {
                world.commit(transaction.events);
            }
        }
    }
}

impl Enqueue<ModelWriter> for ModelEnqueue {
    async fn enqueue(
        &self,
        transaction: &mut ModelWriter,
        events: &[Event],
    ) -> Result<Vec<MessageId>, EnqueueFault> {
        transaction.enqueue(events)
    }
}

impl Transaction {
    fn roll_back_to_savepoint(&mut self, world: &World) {
        if world.has(Flaw::SavepointTakesAll) {
            self.events.clear();
        } else if !world.has(Flaw::IgnoresSavepoints) {
            self.events.truncate(self.savepoint);
        }
    }
}

/// Why a flawed model does not let an application enqueue.
fn kept_waiting(world: &mut World, events: &[Event], transaction: &Transaction) -> Option<&'static str> {
    if world.has(Flaw::NeedsARelay) && world.relays.is_empty() {
        return Some("no relay has come yet");
    }
    if world.has(Flaw::WaitsForReaders)
        && world.lanes.iter().any(|row| row.handed_over > row.position.unwrap_or(0))
    {
        return Some("a relay has read what it has not settled");
    }
    if world.has(Flaw::SweepLocksOut) && world.locked && transaction.events.is_empty() {
        return Some("a sweep waits for the table");
    }
    if world.has(Flaw::RefusesNothing) && events.is_empty() {
        return Some("there is nothing to insert");
    }
    None
}
