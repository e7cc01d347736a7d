//! What a scene is: where it plays, what goes wrong in it, and what may be found afterwards.

use std::time::Duration;

/// A storm on one kind of ground with one kind of trouble.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    /// As in `--scene NAME`.
    pub(super) name: &'static str,
    /// What goes wrong, and what holds all the same.
    pub(super) sentence: &'static str,
    pub(super) database: DatabaseNeed,
    pub(super) broker: BrokerNeed,
    pub(super) way: Way,
    pub(super) load: Load,
    /// What happens, in this order, while writers write. Repeated while there is time, unless it cannot be.
    pub(super) script: &'static [Step],
    /// Whether the database may forget what it has confirmed.
    pub(super) tail: Tail,
    /// How long a lease is.
    pub(super) lease: Duration,
    /// The limit of one topic, in bytes a message, below what some events have: those are refused for good.
    pub(super) limit_bytes: Option<usize>,
    /// Where what is given up goes.
    pub(super) dead_letters: DeadLetters,
    /// How long, after the worst is over, what had piled up may take to arrive.
    pub(super) recovers_within: Duration,
    /// What else it needs that a machine may lack.
    pub(super) asks_for: &'static [Tool],
}

/// The database a scene plays on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DatabaseNeed {
    /// The one that the environment names, which nothing happens to.
    Given,
    Own,
    /// With a standby that each commit waits for.
    SynchronousStandby,
    /// With a standby that may be behind.
    AsynchronousStandby,
    /// Of the oldest release, whose dump is restored into another cluster.
    Dumped,
}

/// The broker a scene plays on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BrokerNeed {
    Given,
    Own,
    /// Relays need a password and permissions.
    Guarded,
    /// Relays talk TLS to it, and check who it is.
    Encrypted,
    OnSmallDisk,
}

/// How relays reach their servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Straight,
    /// Through proxies of ours.
    Proxies,
    /// PostgreSQL through PgBouncer in transaction mode.
    Pooler,
    /// As a role of their own, which may only what a relay must.
    Role,
}

/// What a machine may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    PgBouncer,
    /// `pg_dump` and `psql`.
    PgDump,
    /// Mounting a file system.
    Root,
    /// A program that tries refused events again and delivers dead letters.
    DeadLetters,
}

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// These many connections, each as fast as it can, in every way that has hurt an outbox.
    Hostile(u64),
    /// As those, and every commit with `synchronous_commit = off`.
    Forgetful(u64),
    /// One connection at this many events a second.
    Paced(u64),
}

/// Whether what was committed and confirmed stays so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// It does; only what was committed with `synchronous_commit = off` may go in a crash, and must not have been sent.
    Kept,
    /// It may go, though it was sent: what counts is what the database has in the end.
    Lost,
}

/// Whether there is a topic for events that are given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeadLetters {
    /// None: they stay parked.
    Nowhere,
    There,
    /// It is named, and not there until the script makes it.
    Later,
}

/// Which connection of the relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Database,
    Broker,
}

/// A turn of events. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing new happens, for a time out of this range.
    Calm(u64, u64),
    /// Nothing new happens for the time that was asked for, or else for this one.
    CalmAsAsked(u64),
    /// One of the steps of a script of its own, at random.
    OneOf(&'static [&'static [Step]]),

    KillRelay,
    FreezeRelay,
    ThawRelay,
    /// A relay is killed, and how long its lanes are nobody's is measured.
    TakeOver,
    /// A relay is asked to end, and how long its lanes are nobody's is measured.
    HandOver,
    /// From here to the next of these, relays take no more memory.
    MeasureMemory,

    KillBroker,
    StartBroker,
    FreezeBroker,
    ThawBroker,
    FillBrokerDisk,
    FreeBrokerDisk,
    /// The topic's events are consumed to the last, and it is deleted.
    DeleteTopic,
    CreateTopic,
    /// Each hot aggregate gets an event that the broker refuses.
    Poison,
    CreateDeadLetterTopic,
    /// The relays' permission to write to a topic is taken.
    DenyTopic,
    AllowTopic,

    CrashDatabase,
    StartDatabase,
    /// All its processes stand still.
    FreezeDatabase,
    ThawDatabase,
    /// The standby hears no more.
    CutReplication,
    /// The primary crashes and the standby becomes the primary.
    FailOver,
    /// A dump is restored into another cluster while writers write, and everybody goes there.
    MoveToRestored,
    /// The relays' role may no longer log in, and its connections end.
    RevokeLogin,
    ReturnLogin,
    /// A transaction with a snapshot and an event begins.
    BeginLong,
    CommitLong,
    KillPooler,
    StartPooler,

    Cut(Side),
    Slow(Side, u64),
    /// Half-open: connections are there, and nothing passes.
    Silence(Side),
    /// What relays say arrives, and nobody answers.
    Deafen(Side),
    /// What is said arrives when it is clear again.
    Stall(Side),
    Spoil(Side),
    Clear(Side),
}

impl Scene {
    /// Whether the script can be performed again.
    pub(super) fn may_repeat(&self) -> bool {
        !self.script.iter().any(|step| matches!(step, Step::FailOver | Step::MoveToRestored))
    }

    /// Whether transactions may end in an error that is not the writers' fault.
    pub(super) fn breaks_database(&self) -> bool {
        self.database != DatabaseNeed::Given
    }
}
