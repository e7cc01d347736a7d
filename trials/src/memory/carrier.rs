//! The program, run as people run it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::failure::{Attempt as _, Failure, failure};

/// How long it may take to hand over.
const END_MAX: Duration = Duration::from_secs(30);

/// `eventferry run`, from the binary beside this one; killed when it is dropped.
pub(super) struct Carrier {
    child: Child,
    pid: u32,
}

impl Carrier {
    pub(super) fn start(store: &str, brokers: &str, feed: &str) -> Result<Self, Failure> {
        let program = program()?;
        let mut command = Command::new(&program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EVENTFERRY_") {
                command.env_remove(name);
            }
        }
        let child = command
            .args([
                "run",
                "--publisher",
                &format!("kafka://{brokers}"),
                "--log-level",
                "warn",
                "--feed",
                feed,
            ])
            .env("EVENTFERRY_STORE", store)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .attempt(&format!("start {}", program.display()))?;
        let pid = child.id().ok_or_else(|| failure("the program ended at once"))?;
        Ok(Self { child, pid })
    }

    /// Complains if it has ended.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(failure(format!("the program ended by itself: {status}"))),
        }
    }

    /// The most memory it had at once: VmHWM of proc(5).
    pub(super) fn peak_bytes(&self) -> Result<u64, Failure> {
        let path = format!("/proc/{}/status", self.pid);
        let status = std::fs::read_to_string(&path).attempt(&format!("read {path}"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(kib.ok_or_else(|| failure(format!("{path} has no VmHWM")))? << 10)
    }

    /// Asks it to end by SIGTERM, and says with which code it did.
    pub(super) async fn end(mut self) -> Result<i32, Failure> {
        let asked = Command::new("kill").args(["-TERM", &self.pid.to_string()]).status().await;
        if !asked.attempt("send SIGTERM")?.success() {
            return Err(failure("SIGTERM could not be sent"));
        }
        let ended = tokio::time::timeout(END_MAX, self.child.wait()).await;
        let status = ended.map_err(|_| failure(format!("the program did not end within {END_MAX:?}")))??;
        status.code().ok_or_else(|| failure(format!("the program ended by a signal: {status}")))
    }
}

/// The program that was built beside this one.
fn program() -> Result<PathBuf, Failure> {
    let this = std::env::current_exe().attempt("find this program")?;
    let program = this.parent().unwrap_or(Path::new(".")).join("eventferry");
    if program.exists() {
        return Ok(program);
    }
    Err(failure(format!(
        "{} is not there: run this through `cargo xtask memory`, which builds it",
        program.display()
    )))
}
