//! A PostgreSQL of a test's own: what its settings are, and what becomes of it, is nobody else's concern.

use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use eventferry_store_postgres::FeedChoice;
use tempfile::TempDir;

use crate::server::Database;

/// The variables that name the folders of programs: of the newest release, and of the oldest supported.
pub(crate) const NEWEST: &str = "EVENTFERRY_TEST_POSTGRES_BIN";
pub(crate) const OLDEST: &str = "EVENTFERRY_TEST_POSTGRES_14_BIN";

/// How long a server may take to start, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that runs until this is dropped, and leaves nothing.
pub(crate) struct OwnServer {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl OwnServer {
    /// A new cluster with these lines in its configuration; whoever comes from here is let in.
    pub(crate) async fn start(programs: &str, settings: &str) -> Self {
        let programs = std::env::var_os(programs).filter(|value| !value.is_empty()).unwrap_or_else(|| {
            panic!("{programs} is not set: run `eval \"$(cargo xtask services env)\"` first")
        });
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut this = Self { folder, programs: programs.into(), port, process: None };
        own(this.folder.path());
        let mut initdb = this.program("initdb");
        initdb.args(["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "-D"]);
        let output = initdb.arg(this.data()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nport = {port}\nfsync = off\n\
             wal_level = logical\nshared_buffers = '16MB'\n{settings}\n"
        );
        std::fs::write(this.data().join("postgresql.conf"), settings).unwrap();
        this.run().await;
        this
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.env("LD_LIBRARY_PATH", self.programs.join("../lib")).env("LC_ALL", "C");
        command.current_dir(self.folder.path());
        if let Some((user, group)) = account() {
            command.uid(user).gid(group);
        }
        command
    }

    async fn run(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut postgres = self.program("postgres");
        postgres.arg("-D").arg(self.data()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.process = Some(postgres.spawn().unwrap());
        let started = Instant::now();
        while tokio_postgres::connect(&self.url("postgres"), tokio_postgres::NoTls).await.is_err() {
            assert!(started.elapsed() < PATIENCE, "{}", self.log());
            // waits: for the server
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Puts this line before all others of its pg_hba.conf.
    pub(crate) async fn lets_in(&self, line: &str) {
        let path = self.data().join("pg_hba.conf");
        let rules = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{line}\n{rules}")).unwrap();
        let client = crate::server::client(&self.url("postgres")).await;
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    }

    /// Its one database, to be read by this feed; nothing is made in it.
    pub(crate) fn database(&self, feed: FeedChoice) -> Database {
        Database { url: self.url("postgres"), feed }
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // At once: what it holds is thrown away.
            let quit = Command::new("kill").args(["-QUIT", &process.id().to_string()]).status();
            if quit.is_err() {
                let _ = process.kill();
            }
            let _ = process.wait();
        }
    }
}

/// The user and group that servers run as, where we are root.
fn account() -> Option<(u32, u32)> {
    let text = std::env::var("EVENTFERRY_TEST_POSTGRES_RUN_AS").ok().filter(|text| !text.is_empty())?;
    let (user, group) = text.split_once(':').unwrap();
    Some((user.parse().unwrap(), group.parse().unwrap()))
}

pub(crate) fn own(path: &Path) {
    if let Some((user, group)) = account() {
        chown(path, Some(user), Some(group)).unwrap();
    }
}
