//! PgBouncer in transaction mode, between relays and PostgreSQL.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::postgres::Postgres;
use super::process::{Account, Process, free_port};
use crate::database::connect;
use crate::failure::{Attempt as _, Failure, failure};

/// A pooler that runs.
#[derive(Debug)]
pub(in crate::storm) struct Pooler {
    program: PathBuf,
    home: PathBuf,
    port: u16,
    password: String,
    process: Option<Process>,
}

const START_MAX: Duration = Duration::from_secs(20);

/// The program: the one that `EVENTFERRY_TEST_PGBOUNCER` names, or the one on the search path.
pub(in crate::storm) fn program() -> Option<PathBuf> {
    let named = std::env::var_os("EVENTFERRY_TEST_PGBOUNCER").filter(|value| !value.is_empty());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = || folders.map(|folder| folder.join("pgbouncer")).find(|file| file.is_file());
    named.map(PathBuf::from).or_else(found)
}

impl Pooler {
    /// Starts one before this server.
    pub(in crate::storm) async fn before(postgres: &Postgres, folder: &Path) -> Result<Self, Failure> {
        let program = program().ok_or_else(|| {
            failure(
                "this scene needs PgBouncer: install it (Debian: apt install pgbouncer), or set \
                     EVENTFERRY_TEST_PGBOUNCER to the program",
            )
        })?;
        let (home, port) = (folder.join("pooler"), free_port()?);
        let password = postgres.password().to_owned();
        let (settings, users) = (home.join("pgbouncer.ini"), home.join("users.txt"));
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {users}\n\
             pool_mode = transaction\ndefault_pool_size = 10\nmax_client_conn = 200\n\
             server_reset_query =\nignore_startup_parameters = extra_float_digits\n",
            server = postgres.port(),
            users = users.display(),
        );
        let written = || {
            std::fs::create_dir(&home)?;
            std::fs::write(&settings, text)?;
            std::fs::write(&users, format!("\"postgres\" \"{password}\"\n"))
        };
        written().attempt("configure PgBouncer")?;
        if let Some(account) = Account::find()? {
            for path in [&home, &settings, &users] {
                account.own(path)?;
            }
        }
        let mut this = Self { program, home, port, password, process: None };
        this.start().await?;
        Ok(this)
    }

    /// Starts it again.
    pub(in crate::storm) async fn start(&mut self) -> Result<(), Failure> {
        let mut command = Command::new(&self.program);
        command.arg(self.home.join("pgbouncer.ini")).current_dir(&self.home);
        if let Some(account) = Account::find()? {
            command.uid(account.user).gid(account.group);
        }
        let mut process = Process::start("PgBouncer", command, &self.home.join("server.log"))?;
        let started = Instant::now();
        while connect(&self.url()).await.is_err() {
            process.check()?;
            if started.elapsed() > START_MAX {
                return Err(failure(format!("PgBouncer does not start\n{}", process.tail())));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.process = Some(process);
        Ok(())
    }

    /// Kills it, as a crash would.
    pub(in crate::storm) async fn kill(&mut self) -> Result<(), Failure> {
        match self.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// A superuser's URL through it.
    pub(in crate::storm) fn url(&self) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/postgres", self.password, self.port)
    }
}
