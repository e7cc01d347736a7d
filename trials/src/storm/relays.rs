//! Relays as processes of their own: the program that people run.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::feed::Feed;
use super::ground::send;
use crate::database::Database;
use crate::failure::{Attempt as _, Failure, failure};

/// How relays are started.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    /// The store as relays are told, and as whoever asks for the status is.
    pub(super) store: String,
    pub(super) books: Database,
    /// Where replication is had, if not at the store.
    pub(super) replication: Option<String>,
    pub(super) feed: Feed,
    pub(super) publisher: String,
    pub(super) dead_letter_topic: Option<String>,
    pub(super) lease: Duration,
    pub(super) grace: Duration,
}

/// What is not shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) lag_events: u64,
    pub(super) parked_events: u64,
}

/// A relay that runs.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) id: String,
    child: Child,
    said: Arc<Mutex<Said>>,
}

/// What a relay said on standard error.
#[derive(Debug, Default)]
struct Said {
    latest: VecDeque<String>,
    lapses: usize,
}

/// How many lines of each relay are kept.
const LINES_MAX: usize = 40;

/// A relay says this when its leases ran out while it lived: a machine too busy, or a database too slow.
const LAPSED: &str = "could not be renewed in time";

impl Program {
    /// The program beside this one, which `cargo xtask` has just built.
    pub(super) fn beside_this() -> Result<PathBuf, Failure> {
        let this = std::env::current_exe().attempt("find this program")?;
        let path = this.with_file_name(format!("eventferry{}", std::env::consts::EXE_SUFFIX));
        if !path.is_file() {
            let where_to = path.display();
            return Err(failure(format!(
                "no program {where_to}: run this through `cargo xtask`, which builds it"
            )));
        }
        Ok(path)
    }

    /// Whether this version of it tries refused events again, and delivers dead letters.
    pub(super) fn delivers_dead_letters() -> bool {
        let asked = Self::beside_this().ok().and_then(|path| {
            std::process::Command::new(path).args(["parked", "--help"]).stderr(Stdio::null()).output().ok()
        });
        asked.is_some_and(|output| output.status.success())
    }

    /// Starts a relay of this name.
    pub(super) fn start(&self, id: String) -> Result<Relay, Failure> {
        let mut child = self
            .command()
            .args(["run", "--relay-id", &id, "--lease", &millis(self.lease), "--grace", &millis(self.grace)])
            .args(self.feed.arguments())
            .env("EVENTFERRY_STORE", &self.store)
            .env("EVENTFERRY_PUBLISHER", &self.publisher)
            .envs(self.replication.iter().map(|url| ("EVENTFERRY_REPLICATION_URL", url)))
            .envs(self.dead_letter_topic.iter().map(|topic| ("EVENTFERRY_DEAD_LETTER_TOPIC", topic)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .attempt("start a relay")?;
        let said = Arc::new(Mutex::new(Said::default()));
        if let Some(stderr) = child.stderr.take() {
            let (said, relay) = (Arc::clone(&said), id.clone());
            tokio::spawn(async move {
                let mut lines = BufReader::new(stderr).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    tracing::debug!(relay, "{line}");
                    said.lock().unwrap_or_else(PoisonError::into_inner).hear(line);
                }
            });
        }
        Ok(Relay { id, child, said })
    }

    /// What `eventferry status` says is not shipped, and what is parked.
    pub(super) async fn left(&self) -> Result<Left, Failure> {
        let mut command = self.command();
        command.env("EVENTFERRY_STORE", self.books.url()?);
        let output = command.args(["status", "--json"]).output().await.attempt("ask for the status")?;
        if !output.status.success() {
            return Err(failure(format!("eventferry status: {}", String::from_utf8_lossy(&output.stderr))));
        }
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).attempt("read the status")?;
        let number =
            |name: &str| status[name].as_u64().ok_or_else(|| failure(format!("the status has no {name}")));
        Ok(Left { lag_events: number("lag_events")?, parked_events: number("parked_events")? })
    }

    /// Neither a file of settings nor a variable of whoever runs this changes a relay. The store's URL may hold a
    /// password, which is nobody's to see in a list of processes.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EVENTFERRY_") {
                command.env_remove(name);
            }
        }
        command.current_dir(self.path.parent().unwrap_or(Path::new("/")));
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

fn millis(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

impl Said {
    fn hear(&mut self, line: String) {
        self.lapses += usize::from(line.contains(LAPSED));
        self.latest.push_back(line);
        if self.latest.len() > LINES_MAX {
            self.latest.pop_front();
        }
    }
}

impl Relay {
    /// Fails if it ended by itself.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait().attempt("look at a relay")? {
            None => Ok(()),
            Some(status) => {
                Err(failure(format!("relay {} ended by itself: {status}\n{}", self.id, self.latest())))
            }
        }
    }

    /// How often its leases ran out while it lived, since this was asked last.
    pub(super) fn new_lapses(&mut self) -> usize {
        std::mem::take(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner).lapses)
    }

    /// Stops it where it stands, or lets it go on.
    pub(super) async fn freeze(&self, frozen: bool) -> Result<(), Failure> {
        send(self.pid()?, if frozen { "STOP" } else { "CONT" }).await
    }

    /// The most memory it had at once, in bytes: VmHWM of proc(5). None once it has ended.
    pub(super) fn peak_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(peak.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
    }

    fn pid(&self) -> Result<u32, Failure> {
        self.child.id().ok_or_else(|| failure(format!("relay {} has no process", self.id)))
    }

    /// Kills it, as a crash would; when this returns it is no more.
    pub(super) async fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill().await.attempt("kill a relay")
    }

    /// Asks it to end.
    pub(super) async fn ask_to_end(&self) -> Result<(), Failure> {
        send(self.pid()?, "TERM").await
    }

    /// Waits for its end, and says what was wrong with how it came.
    pub(super) async fn end(&mut self, within: Duration) -> Result<(), Failure> {
        match tokio::time::timeout(within, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => {
                Err(failure(format!("relay {} did not drain: {status}\n{}", self.id, self.latest())))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(failure(format!(
                "relay {} did not end within {within:?} of SIGTERM\n{}",
                self.id,
                self.latest()
            ))),
        }
    }

    /// Its last words.
    fn latest(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.latest.iter().map(|line| format!("    {line}\n")).collect()
    }
}
