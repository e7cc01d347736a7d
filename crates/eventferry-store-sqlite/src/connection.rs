//! One role's connection: a thread of its own, for SQLite blocks, and on it a file that is opened when first needed
//! and opened anew after a failure.
//!
//! The thread does what its role asks one thing after the other, so a call whose future was dropped is finished
//! before the next one begins: nothing of a role ever arrives late.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use eventferry_core::{StoreFault, StoreFaultKind};
use rusqlite::{OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use crate::config::SqliteConfig;
use crate::fault::{fault, file_fault};

type Job = Box<dyn FnOnce(&mut Keeper) + Send>;

/// A role's end of its thread.
pub(crate) struct Connection {
    config: SqliteConfig,
    role: &'static str,
    jobs: Option<mpsc::Sender<Job>>,
}

impl Connection {
    /// For a role of this name. Starts and opens nothing yet.
    pub(crate) fn new(config: SqliteConfig, role: &'static str) -> Self {
        Self { config, role, jobs: None }
    }

    /// Has `work` done on the role's thread. If the future is dropped, the work is done all the same.
    pub(crate) async fn ask<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Keeper) -> Result<T, StoreFault> + Send + 'static,
    ) -> Result<T, StoreFault> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |keeper| {
            let result = keeper.run(work);
            // Nobody may be waiting any more; then nobody needs to know.
            drop(answer.send(result));
        });
        self.send(job)?;
        let ended = |_| {
            StoreFault::new(StoreFaultKind::Unavailable, "the store's thread ended in the middle of a call")
        };
        answered.await.map_err(ended)?
    }

    fn send(&mut self, job: Job) -> Result<(), StoreFault> {
        let job = match &self.jobs {
            None => job,
            Some(jobs) => match jobs.send(job) {
                Ok(()) => return Ok(()),
                // The thread panicked in an earlier call: this one gets another.
                Err(mpsc::SendError(job)) => job,
            },
        };
        let (jobs, queue) = mpsc::channel::<Job>();
        let mut keeper = Keeper::new(self.config.clone());
        thread::Builder::new()
            .name(format!("eventferry-{}", self.role))
            .spawn(move || queue.into_iter().for_each(|job| job(&mut keeper)))
            .map_err(|error| file_fault("start a thread for the database", error))?;
        if jobs.send(job).is_ok() {
            self.jobs = Some(jobs);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.role)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Keeps one database open on a role's thread.
pub(crate) struct Keeper {
    pub(crate) config: SqliteConfig,
    database: Option<Database>,
    /// Which file was open last.
    identity: Option<Identity>,
    /// See [`Database::doubted`].
    doubted: bool,
}

/// Whether the file is the one that this role knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// It is, or it is the first.
    Same,
    /// Another file lies at the path now: what is remembered speaks of another history.
    Replaced,
}

impl Keeper {
    fn new(config: SqliteConfig) -> Self {
        Self { config, database: None, identity: None, doubted: false }
    }

    /// A fault that is no lost race may be the connection's: the next call gets another.
    fn run<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, StoreFault>) -> Result<T, StoreFault> {
        let result = work(self);
        if result.as_ref().is_err_and(|fault| *fault.kind() != StoreFaultKind::Contended) {
            self.doubted = self.database.take().is_some_and(|database| database.doubted);
        }
        result
    }

    /// The database, open.
    pub(crate) fn database(&mut self) -> Result<(&mut Database, Past), StoreFault> {
        // Looked at before opening: a file that is swapped in between is opened once more, for nothing.
        let identity = Identity::of(&self.config.path)?;
        let past =
            if self.identity.is_none_or(|known| known == identity) { Past::Same } else { Past::Replaced };
        if past == Past::Replaced {
            self.database = None;
        }
        if self.database.is_none() {
            self.database = Some(Database::open(&self.config, self.doubted)?);
            self.identity = Some(identity);
        }
        match &mut self.database {
            Some(database) => Ok((database, past)),
            None => Err(StoreFault::new(StoreFaultKind::Unavailable, "the database is not open")),
        }
    }
}

/// Which file lies at a path. A copy put in the place of an open file goes unnoticed by SQLite, which keeps working on
/// the old one; a relay would wait for ever for events that are written to the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity(u64, u64);

impl Identity {
    fn of(path: &Path) -> Result<Self, StoreFault> {
        // Asks for the file's name only: opening the file and closing it again would drop this process's locks on it
        // ("How To Corrupt An SQLite Database File", section 2.2).
        let metadata = fs::metadata(path)
            .map_err(|error| file_fault(&format!("look for the database `{}`", path.display()), error))?;
        Ok(Self::from_metadata(&metadata))
    }

    #[cfg(unix)]
    fn from_metadata(metadata: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self(metadata.dev(), metadata.ino())
    }

    /// An open file cannot be replaced here.
    #[cfg(not(unix))]
    fn from_metadata(_: &fs::Metadata) -> Self {
        Self(0, 0)
    }
}

/// An open database and its write-ahead log.
pub(crate) struct Database {
    pub(crate) sqlite: rusqlite::Connection,
    config: SqliteConfig,
    /// Opened apart from SQLite, which does not mind: its locks are on the database and its `-shm`, never on the
    /// `-wal`, so that closing this drops none of them. And the `-wal` lives as long as any connection does.
    log: File,
    /// Whether making the log durable has failed. A later try may then succeed without having written anything (the
    /// system gives an error once and forgets the pages), so it proves nothing any more.
    doubted: bool,
}

impl Database {
    fn open(config: &SqliteConfig, doubted: bool) -> Result<Self, StoreFault> {
        const WHAT: &str = "open the database";
        let sqlite = open(config, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // A commit is made durable by `make_durable` where it must be, when the write lock is free again.
        sqlite.pragma_update(None, "synchronous", "NORMAL").map_err(|error| fault(WHAT, error))?;
        check_log_mode(&sqlite)?;
        let log = open_log(&config.path).map_err(|error| file_fault("open the write-ahead log", error))?;
        Ok(Self { sqlite, config: config.clone(), log, doubted })
    }

    /// One snapshot for several statements.
    pub(crate) fn snapshot(&mut self, what: &str) -> Result<Transaction<'_>, StoreFault> {
        self.sqlite
            .transaction_with_behavior(TransactionBehavior::Deferred)
            .map_err(|error| fault(what, error))
    }

    /// The write lock, from the beginning: a transaction that begins by reading cannot get it later if another wrote.
    pub(crate) fn write(&mut self, what: &str) -> Result<Transaction<'_>, StoreFault> {
        self.sqlite
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| fault(what, error))
    }

    /// Makes everything committed so far durable, whoever committed it.
    ///
    /// With `synchronous = NORMAL` a commit is visible when it is in the log, and the log is not written through. A
    /// checkpoint writes the log through before it copies it into the database, and the database before it lets the
    /// log be overwritten; so what is visible is durable when the log is.
    pub(crate) fn make_durable(&mut self) -> Result<(), StoreFault> {
        const WHAT: &str = "make the write-ahead log durable";
        if self.doubted {
            return self.copy_log();
        }
        (self.config.log_sync)(&self.log).map_err(|error| {
            self.doubted = true;
            file_fault(WHAT, error)
        })
    }

    /// Copies the whole log into the database, which SQLite makes durable.
    fn copy_log(&mut self) -> Result<(), StoreFault> {
        const WHAT: &str = "copy the write-ahead log into the database";
        let copied = self.sqlite.query_row("PRAGMA wal_checkpoint(FULL)", [], |row| {
            Ok(row.get::<_, i64>(0)? == 0 && row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
        });
        if !copied.map_err(|error| fault(WHAT, error))? {
            return Err(StoreFault::new(StoreFaultKind::Contended, format!("{WHAT}: others are at it")));
        }
        self.doubted = false;
        Ok(())
    }
}

/// Opens the file. `flags` say whether it may be created.
pub(crate) fn open(config: &SqliteConfig, flags: OpenFlags) -> Result<rusqlite::Connection, StoreFault> {
    let what = format!("open the database `{}`", config.path.display());
    let open = || {
        let sqlite =
            rusqlite::Connection::open_with_flags(&config.path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        sqlite.busy_timeout(config.busy_timeout)?;
        sqlite.set_prepared_statement_cache_capacity(32);
        Ok(sqlite)
    };
    open().map_err(|error| fault(&what, error))
}

/// Checks that readers and writers do not wait for each other.
pub(crate) fn check_log_mode(sqlite: &rusqlite::Connection) -> Result<(), StoreFault> {
    const WHAT: &str = "look at the journal mode";
    let mode: String =
        sqlite.query_row("PRAGMA journal_mode", [], |row| row.get(0)).map_err(|error| fault(WHAT, error))?;
    // The first reading makes the log.
    sqlite
        .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
        .map_err(|error| fault(WHAT, error))?;
    if mode == "wal" {
        return Ok(());
    }
    Err(StoreFault::new(
        StoreFaultKind::Misconfigured,
        format!(
            "the database has journal mode {mode}, in which enqueues wait for relays; \
             run `eventferry init`, or PRAGMA journal_mode = WAL, and set no other mode in the application"
        ),
    ))
}

/// The write-ahead log that lies beside the database, links followed as SQLite follows them.
fn open_log(path: &Path) -> std::io::Result<File> {
    let path = fs::canonicalize(path)?;
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    // Opened for writing because Windows writes through no other; nothing is written here.
    let log = File::options().read(true).write(true).open(PathBuf::from(log))?;
    // A log just made must be found again after a crash.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(log)
}
