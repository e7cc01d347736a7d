//! A PostgreSQL of a scene's own, to be crashed, copied and promoted.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::process::{Account, Process, free_port, run, send};
use crate::database::connect;
use crate::failure::{Attempt as _, Failure, failure};

/// A server in a folder of its own.
#[derive(Debug)]
pub(in crate::storm) struct Postgres {
    programs: PathBuf,
    home: PathBuf,
    account: Option<Account>,
    port: u16,
    password: String,
    process: Option<Process>,
    log: Log,
    kind: Standby,
}

/// What the write-ahead log is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storm) enum Log {
    /// Standbys.
    Physical,
    /// Those, and logical replication.
    Logical,
}

/// What a standby has of the primary's replication slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storm) enum Standby {
    /// None of them.
    Plain,
    /// Those that are to outlive a failover. PostgreSQL 17 on.
    WithSlots,
}

/// The variables that name the folders of programs: of the newest release, and of the oldest supported.
pub(in crate::storm) const NEWEST: &str = "EVENTFERRY_TEST_POSTGRES_BIN";
pub(in crate::storm) const OLDEST: &str = "EVENTFERRY_TEST_POSTGRES_14_BIN";

const START_MAX: Duration = Duration::from_secs(60);

/// How long a standby may take to have the slots.
const SLOTS_MAX: Duration = Duration::from_secs(60);

const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 120
shared_buffers = '64MB'
wal_keep_size = '1GB'
max_wal_size = '2GB'
wal_writer_delay = '10s'
max_prepared_transactions = 64
hot_standby = on
wal_retrieve_retry_interval = '100ms'
log_line_prefix = '%m [%p] '
timezone = 'UTC'
";

impl Postgres {
    /// A new cluster below a folder, started. `programs` is the variable that names the folder of its programs.
    pub(in crate::storm) async fn create(
        folder: &Path,
        name: &str,
        programs: &str,
        password: &str,
        log: Log,
    ) -> Result<Self, Failure> {
        let programs = std::env::var_os(programs).filter(|value| !value.is_empty()).map(PathBuf::from);
        let programs = programs.ok_or_else(|| {
            failure(
                "this scene starts a PostgreSQL of its own: run it through `cargo xtask`, or set \
                 EVENTFERRY_TEST_POSTGRES_BIN and EVENTFERRY_TEST_POSTGRES_14_BIN to folders of its programs",
            )
        })?;
        let (home, account) = (folder.join(name), Account::find()?);
        std::fs::create_dir(&home).attempt("make a folder for PostgreSQL")?;
        std::fs::write(home.join("password"), password).attempt("write a password")?;
        if let Some(account) = account {
            account.own(&home)?;
            account.own(&home.join("password"))?;
        }
        let password = password.to_owned();
        let (port, kind) = (free_port()?, Standby::Plain);
        let mut this = Self { programs, home, account, port, password, process: None, log, kind };
        let mut initdb = this.program("initdb");
        initdb.args([
            "-U",
            "postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        ]);
        initdb.arg("--pwfile").arg(this.home.join("password")).arg("-D").arg(this.data());
        run("initdb", initdb).await?;
        this.configure("")?;
        this.start().await?;
        Ok(this)
    }

    /// A physical standby of this server, which follows it through `link`, a port that leads to it.
    pub(in crate::storm) async fn standby(
        &self,
        folder: &Path,
        name: &str,
        link: u16,
        kind: Standby,
    ) -> Result<Self, Failure> {
        let home = folder.join(name);
        std::fs::create_dir(&home).attempt("make a folder for a standby")?;
        let account = self.account;
        if let Some(account) = account {
            account.own(&home)?;
        }
        let standby = Self {
            programs: self.programs.clone(),
            home,
            account,
            port: free_port()?,
            password: self.password.clone(),
            process: None,
            log: self.log,
            kind,
        };
        let client = connect(&self.url()).await?;
        if kind == Standby::WithSlots {
            let slot = "SELECT pg_create_physical_replication_slot('standby', true)";
            client.query_one(slot, &[]).await.attempt("make the standby's slot")?;
        }
        client.query_one("SELECT pg_backup_start('storm', true)", &[]).await.attempt("begin a backup")?;
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(self.data()).arg(standby.data());
        // A file that vanishes while it is copied is none of a backup's.
        copy.output().await.attempt("copy a cluster")?;
        let label = client.query_one("SELECT labelfile FROM pg_backup_stop(false)", &[]).await;
        let label: String = label.attempt("end a backup")?.get(0);
        standby.become_standby(&label, link)?;
        let mut standby = standby;
        standby.start().await?;
        Ok(standby)
    }

    fn become_standby(&self, label: &str, link: u16) -> Result<(), Failure> {
        let data = self.data();
        let written = || {
            std::fs::remove_file(data.join("postmaster.pid"))?;
            for file in std::fs::read_dir(data.join("pg_wal"))? {
                let file = file?;
                if file.file_type()?.is_file() {
                    std::fs::remove_file(file.path())?;
                }
            }
            std::fs::write(data.join("backup_label"), label)?;
            std::fs::write(data.join("standby.signal"), "")
        };
        written().attempt("prepare a standby")?;
        let info =
            format!("host=127.0.0.1 port={link} user=postgres password={} dbname=postgres", self.password);
        let slots = match self.kind {
            Standby::Plain => "",
            Standby::WithSlots => {
                "primary_slot_name = 'standby'\nhot_standby_feedback = on\nsync_replication_slots = on\n"
            }
        };
        self.configure(&format!("primary_conninfo = '{info}'\n{slots}"))?;
        for name in ["backup_label", "standby.signal", "postgresql.conf"] {
            if let Some(account) = self.account {
                account.own(&data.join(name))?;
            }
        }
        Ok(())
    }

    fn configure(&self, settings: &str) -> Result<(), Failure> {
        let level = match self.log {
            Log::Physical => "replica",
            Log::Logical => "logical",
        };
        let text = format!("{SETTINGS}wal_level = {level}\n{settings}port = {}\n", self.port);
        std::fs::write(self.data().join("postgresql.conf"), text).attempt("configure PostgreSQL")
    }

    /// Starts it again where it was, and waits until it lets us in.
    pub(in crate::storm) async fn start(&mut self) -> Result<(), Failure> {
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data());
        let mut process = Process::start("PostgreSQL", command, &self.home.join("server.log"))?;
        let started = Instant::now();
        while connect(&self.url()).await.is_err() {
            process.check()?;
            if started.elapsed() > START_MAX {
                return Err(failure(format!("PostgreSQL does not start\n{}", process.tail())));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.process = Some(process);
        Ok(())
    }

    /// Ends it by its `immediate` shutdown: as a crash, with recovery at the next start.
    pub(in crate::storm) async fn crash(&mut self) -> Result<(), Failure> {
        match self.process.take() {
            Some(process) => process.end("QUIT").await.map(drop),
            None => Ok(()),
        }
    }

    /// Stops all its processes where they stand, or lets them go on.
    pub(in crate::storm) async fn freeze(&self, frozen: bool) -> Result<(), Failure> {
        let process = self.process.as_ref().ok_or_else(|| failure("there is no PostgreSQL to freeze"))?;
        let pid = process.pid()?;
        // The first of them begets the others, so it stands still first and goes on last.
        let mut first = vec![pid];
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.attempt("look for PostgreSQL's processes")?;
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        if frozen {
            send(pid, "STOP").await?;
        }
        first.splice(if frozen { 1..1 } else { 0..0 }, children);
        for pid in first {
            // A session may have ended meanwhile.
            send(pid, if frozen { "STOP" } else { "CONT" }).await.ok();
        }
        Ok(())
    }

    /// Makes a standby a primary.
    pub(in crate::storm) async fn promote(&self) -> Result<(), Failure> {
        let client = connect(&self.url()).await?;
        let promoted =
            client.query_one("SELECT pg_promote(true, 60)", &[]).await.attempt("promote a standby")?;
        if promoted.get(0) { Ok(()) } else { Err(failure("the standby was not promoted within 60 s")) }
    }

    /// Waits until this standby has the primary's slots, if it is to have them: without them an operator fails over
    /// to none.
    pub(in crate::storm) async fn wait_for_slots(&self, primary: &Self) -> Result<(), Failure> {
        const LACKS: &str = "SELECT NOT EXISTS (
            SELECT FROM pg_replication_slots WHERE synced AND NOT temporary AND invalidation_reason IS NULL)";
        if self.kind == Standby::Plain {
            return Ok(());
        }
        let (here, there) = (connect(&self.url()).await?, connect(&primary.url()).await?);
        let started = Instant::now();
        while here.query_one(LACKS, &[]).await.attempt("ask for the standby's slots")?.get(0) {
            if started.elapsed() > SLOTS_MAX {
                return Err(failure("the standby does not get the replication slots"));
            }
            // What runs is noted in the log only from time to time, and a slot moves on by that. And the standby looks
            // at slots every 30 s, or when it is told to look at its settings.
            there.query_one("SELECT pg_log_standby_snapshot()", &[]).await.attempt("note what runs")?;
            here.query_one("SELECT pg_reload_conf()", &[]).await.attempt("wake who looks at slots")?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// What its log is written for.
    pub(in crate::storm) fn log(&self) -> Log {
        self.log
    }

    /// Where it listens.
    pub(in crate::storm) fn port(&self) -> u16 {
        self.port
    }

    /// A superuser's URL.
    pub(in crate::storm) fn url(&self) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/postgres", self.password, self.port)
    }

    /// The superuser's password.
    pub(in crate::storm) fn password(&self) -> &str {
        &self.password
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("PG") {
                command.env_remove(variable);
            }
        }
        command.env("LD_LIBRARY_PATH", self.programs.join("../lib")).env("LC_ALL", "C").env("TZ", "UTC");
        command.current_dir(&self.home);
        if let Some(account) = self.account {
            command.uid(account.user).gid(account.group);
        }
        command
    }
}
