//! A server's process, started by a scene and ended by it.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::failure::{Attempt as _, Failure, failure};

/// A process of ours. It is killed when this is dropped.
#[derive(Debug)]
pub(in crate::storm) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// The user and group that servers run as where we are root.
#[derive(Clone, Copy, Debug)]
pub(in crate::storm) struct Account {
    pub(in crate::storm) user: u32,
    pub(in crate::storm) group: u32,
}

/// How long a process may take to end when it is asked to.
const END_MAX: Duration = Duration::from_secs(20);

/// How much of a log is shown when its server fails.
const TAIL_LINES: usize = 12;

impl Process {
    /// Starts it; what it says is added to the log.
    pub(in crate::storm) fn start(
        name: &'static str,
        mut command: Command,
        log: &Path,
    ) -> Result<Self, Failure> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log).attempt("open a log")?;
        let again = file.try_clone().attempt("open a log")?;
        // In a group of its own: Ctrl-C in the terminal is for this program, which then ends what it started.
        command.stdin(Stdio::null()).stdout(file).stderr(again).process_group(0).kill_on_drop(true);
        let child = command.spawn().attempt(&format!("start {name}"))?;
        Ok(Self { name, child, log: log.to_owned() })
    }

    /// Its number, while it runs.
    pub(in crate::storm) fn pid(&self) -> Result<u32, Failure> {
        self.child.id().ok_or_else(|| failure(format!("{} has ended", self.name)))
    }

    /// Fails if it has ended.
    pub(in crate::storm) fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait().attempt("look at a server")? {
            None => Ok(()),
            Some(status) => Err(failure(format!("{} ended: {status}\n{}", self.name, self.tail()))),
        }
    }

    /// Sends a signal, such as STOP.
    pub(in crate::storm) async fn signal(&self, signal: &str) -> Result<(), Failure> {
        send(self.pid()?, signal).await
    }

    /// Ends it as a crash would.
    pub(in crate::storm) async fn kill(mut self) -> Result<(), Failure> {
        self.child.kill().await.attempt("kill a server")
    }

    /// Sends a signal and waits for its end.
    pub(in crate::storm) async fn end(mut self, signal: &str) -> Result<ExitStatus, Failure> {
        self.signal(signal).await?;
        self.ended().await
    }

    /// Waits until it ends by itself.
    pub(in crate::storm) async fn ended(&mut self) -> Result<ExitStatus, Failure> {
        let ended = tokio::time::timeout(END_MAX, self.child.wait()).await;
        let late = |_| failure(format!("{} did not end within {END_MAX:?}\n{}", self.name, self.tail()));
        ended.map_err(late)?.attempt("wait for a server's end")
    }

    /// The end of its log.
    pub(in crate::storm) fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        tail.iter().map(|line| format!("    {line}\n")).collect()
    }
}

impl Account {
    /// The one that the environment names, where we are root; `EVENTFERRY_TEST_POSTGRES_RUN_AS` is `USER:GROUP`.
    pub(in crate::storm) fn find() -> Result<Option<Self>, Failure> {
        const NAME: &str = "EVENTFERRY_TEST_POSTGRES_RUN_AS";
        let Some(text) = std::env::var(NAME).ok().filter(|text| !text.is_empty()) else { return Ok(None) };
        let numbers = text
            .split_once(':')
            .and_then(|(user, group)| Some(Self { user: user.parse().ok()?, group: group.parse().ok()? }));
        numbers.map(Some).ok_or_else(|| failure(format!("{NAME} is `{text}`; give numbers as USER:GROUP")))
    }

    /// Gives a file or folder to it.
    pub(in crate::storm) fn own(self, path: &Path) -> Result<(), Failure> {
        std::os::unix::fs::chown(path, Some(self.user), Some(self.group)).attempt("give a folder to a server")
    }
}

/// Sends a signal to a process, which is ours.
pub(in crate::storm) async fn send(pid: u32, signal: &str) -> Result<(), Failure> {
    let mut kill = Command::new("kill");
    let sent =
        kill.args([&format!("-{signal}"), &pid.to_string()]).status().await.attempt("send a signal")?;
    if sent.success() { Ok(()) } else { Err(failure(format!("{signal} could not be sent to process {pid}"))) }
}

/// Runs a command that does something once; its words when it fails.
pub(in crate::storm) async fn run(what: &str, mut command: Command) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.attempt(what)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failure(format!("{what}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())))
}

/// A port that is free now.
pub(in crate::storm) fn free_port() -> Result<u16, Failure> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).attempt("find a free port")?;
    Ok(listener.local_addr().attempt("find a free port")?.port())
}
