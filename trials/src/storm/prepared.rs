//! Prepared transactions between their two halves.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::dice::Dice;
use super::writer::World;
use crate::failure::{Attempt as _, Failure};

/// The most that may lie there at once.
pub(super) const MOST: usize = 24;

/// How long one lies there, at most.
const LYING_MAX_MS: u64 = 3_000;

/// Prepared transactions that somebody is to decide.
#[derive(Debug, Default)]
pub(super) struct Prepared(Mutex<VecDeque<Lying>>);

#[derive(Debug)]
struct Lying {
    transaction: usize,
    name: String,
    due: Instant,
    commits: bool,
}

impl Prepared {
    /// The name of a transaction, among all of the server.
    pub(super) fn name(seed: u64, transaction: usize, salt: &str) -> String {
        format!("{salt}-{seed}-{transaction}")
    }

    pub(super) fn is_full(&self) -> bool {
        // Each writer may add one after it has looked.
        self.lying().len() + super::WRITERS_MAX >= MOST
    }

    /// A transaction was prepared: somebody will decide it.
    pub(super) fn add(&self, dice: &mut Dice, transaction: usize, name: String) {
        let due = Instant::now() + Duration::from_millis(dice.within(0..LYING_MAX_MS));
        self.lying().push_back(Lying { transaction, name, due, commits: !dice.once_in(3) });
    }

    /// Decides what is due, or everything.
    pub(super) async fn decide(&self, client: &Client, world: &World, all: bool) -> Result<(), Failure> {
        let history = &world.history;
        while let Some(lying) = self.take(all) {
            let Lying { transaction, commits, .. } = lying;
            if commits {
                history.committing(transaction);
            }
            let verb = if commits { "COMMIT" } else { "ROLLBACK" };
            let decided = client.batch_execute(&format!("{verb} PREPARED '{}'", lying.name)).await;
            match decided {
                Ok(()) if commits => history.committed(transaction),
                Ok(()) => history.rolled_back(transaction),
                // An earlier try was heard by the server, or the server has forgotten it: nobody here knows.
                Err(error) if world.enduring && error.code() == Some(&SqlState::UNDEFINED_OBJECT) => {}
                Err(error) => {
                    self.lying().push_back(lying);
                    return Err(error).attempt("decide a prepared transaction");
                }
            }
        }
        Ok(())
    }

    /// Rolls back whatever a storm that could not be seen through has left: a database with prepared transactions
    /// cannot be dropped.
    pub(super) async fn clear(client: &Client) -> Result<(), Failure> {
        let query = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()";
        for row in client.query(query, &[]).await? {
            let statement = format!("ROLLBACK PREPARED '{}'", row.get::<_, &str>(0));
            client.batch_execute(&statement).await.attempt("roll back what was left prepared")?;
        }
        Ok(())
    }

    fn take(&self, all: bool) -> Option<Lying> {
        let mut lying = self.lying();
        let now = Instant::now();
        let place = lying.iter().position(|one| all || one.due <= now)?;
        lying.remove(place)
    }

    fn lying(&self) -> MutexGuard<'_, VecDeque<Lying>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
