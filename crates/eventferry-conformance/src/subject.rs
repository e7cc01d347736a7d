//! What a back end supplies so that the clauses can be run against it.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use eventferry_core::parked::Act;
use eventferry_core::store::Store;
use eventferry_core::{EnqueueFault, Event, MessageId};

/// A back end under test: how to make an outbox in it, reach that outbox as a relay and as an application, and run
/// a future.
///
/// The types are the back end's own: an `Outbox` is often no more than a URL or a path, a `Writer` the client
/// library's connection. Every clause runs on an outbox of its own, and clauses run side by side on several threads.
/// An error of these methods that the clause did not ask for fails the clause, with its text.
///
/// A clause opens several transactions at once and goes on with each as it likes, so a `Writer` is a connection and not
/// a transaction. Where the back end's `Enqueue` is for a transaction that borrows its connection, there are two ways:
/// enqueue within a savepoint that the connection opens and releases, or let a task own connection and transaction and
/// be told what to do, with the channel to it as `Writer`.
///
/// Futures need not be `Send`: they are polled inside one [`Subject::block_on`], on one thread.
pub trait Subject: Send + Sync + 'static {
    /// The store under test.
    type Store: Store;
    /// An outbox: whatever names it and, if it must be cleaned up, does so when dropped.
    type Outbox: 'static;
    /// The application's connection. Dropping it amid a transaction is losing the connection.
    type Writer: 'static;

    /// Whether one application can write while another's transaction is open and has written.
    fn writers(&self) -> Writers;

    /// What this back end's tests can do beside what every relay and application can. Default: nothing, and the
    /// clauses that need it do not apply.
    fn reach(&self) -> Reach {
        Reach::default()
    }

    /// Makes room for an outbox that nobody else uses: a database, schema or file of its own, with nothing in it.
    /// The clauses call [`Store::prepare`] themselves.
    ///
    /// It is to have four lanes or more.
    fn outbox(&self) -> impl Future<Output = Result<Self::Outbox, Trouble>>;

    /// A new store instance on this outbox, as a relay process would make it when it starts; not prepared yet.
    fn store(&self, outbox: &Self::Outbox) -> impl Future<Output = Result<Self::Store, Trouble>>;

    /// A new connection of an application to this outbox's database.
    fn writer(&self, outbox: &Self::Outbox) -> impl Future<Output = Result<Self::Writer, Trouble>>;

    /// Takes a step of a transaction. [`Step::sql`] has the words for most databases.
    fn step(&self, writer: &mut Self::Writer, step: Step) -> impl Future<Output = Result<(), Trouble>>;

    /// Enqueues events into the writer's open transaction: by the back end's [`Enqueue`](eventferry_core::Enqueue).
    fn enqueue(
        &self,
        writer: &mut Self::Writer,
        events: &[Event],
    ) -> impl Future<Output = Result<Vec<MessageId>, EnqueueFault>>;

    /// Moves the clock by which this outbox judges leases, retention and enqueue times, where a test can do that.
    /// `false` (the default): it cannot, and the clauses use short leases and wait.
    fn advance(&self, outbox: &Self::Outbox, by: Duration) -> impl Future<Output = bool> {
        let _ = (outbox, by);
        async { false }
    }

    /// Makes all events that are in the outbox older by so much, where a test cannot wait until retention lets go of
    /// them: by moving them into an earlier slot of time, say. `false` (the default): nothing was done, and the
    /// clauses wait for the retention, up to [`PATIENCE`](crate::PATIENCE).
    fn age(&self, outbox: &Self::Outbox, by: Duration) -> impl Future<Output = Result<bool, Trouble>> {
        let _ = (outbox, by);
        async { Ok(false) }
    }

    /// Takes the outbox's positions back to before everything that is in it, as it happens when a database is restored
    /// from a copy or fails over to a late one; what is parked stays. No relay holds a lane meanwhile. Called only with
    /// [`Reach::rewinds`].
    fn rewind(&self, outbox: &Self::Outbox) -> impl Future<Output = Result<(), Trouble>> {
        let _ = outbox;
        async { Err("this subject does not rewind".into()) }
    }

    /// Reads the audit table, oldest line first. Called only with [`Reach::audits`].
    fn audit(&self, outbox: &Self::Outbox) -> impl Future<Output = Result<Vec<Audited>, Trouble>> {
        let _ = outbox;
        async { Err("this subject does not read the audit".into()) }
    }

    /// Runs a future to its end on this thread, with whatever its parts need around them (a runtime, a reactor).
    fn block_on<F: Future>(&self, work: F) -> F::Output;
}

/// Whatever went wrong in a back end's own test code.
pub type Trouble = Box<dyn Error + Send + Sync>;

/// A step of an application's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Begins a transaction.
    Begin,
    /// Makes a savepoint; never two in one transaction, and only with
    /// [`Capabilities::savepoints`](eventferry_core::store::Capabilities::savepoints).
    Savepoint,
    /// Rolls back to the savepoint; the transaction goes on.
    RollbackToSavepoint,
    /// Commits.
    Commit,
    /// Rolls the transaction back.
    Rollback,
}

impl Step {
    /// The step in standard SQL.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Begin => "BEGIN",
            Self::Savepoint => "SAVEPOINT conformance",
            Self::RollbackToSavepoint => "ROLLBACK TO SAVEPOINT conformance",
            Self::Commit => "COMMIT",
            Self::Rollback => "ROLLBACK",
        }
    }
}

/// What a back end's tests can do beside what every relay and application can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Whether [`Subject::rewind`] is there.
    pub rewinds: bool,
    /// Whether [`Subject::audit`] is there.
    pub audits: bool,
}

/// A line of the audit table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// What was done: what [`Desk::record`](eventferry_core::parked::Desk::record) was told, or the decision in the
    /// store's words.
    pub what: String,
    /// On which message, for a decision.
    pub message_id: Option<MessageId>,
    /// See [`Act::who`].
    pub who: String,
    /// See [`Act::why`].
    pub why: String,
}

impl Audited {
    /// A line about no message.
    pub(crate) fn of(what: &str, act: &Act) -> Self {
        Self { what: what.into(), message_id: None, who: act.who.clone(), why: act.why.clone() }
    }
}

/// How many applications can write at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// One: whoever comes second waits for, or fails because of, the first one's open transaction.
    One,
    /// Any number: their transactions overlap.
    Many,
}
