//! One server of a checkout: its home folder, its record, and how it comes up and goes down.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::account::Account;
use super::cache::{Cache, make_folder};
use super::hired::stand_aside_if_interrupted;
use super::port;
use super::process::{Process, wait_until};
use crate::log::Log;
use crate::trouble::{Attempt, Trouble};

/// A kind of server: where it comes from, how it is started, and when it is ready.
pub(crate) trait Server: Sync {
    /// Names it on screen, in the cache and in the run folder.
    fn name(&self) -> &'static str;
    /// The environment variable that tells tests its address.
    fn address_variable(&self) -> &'static str;
    /// The environment variable that tells tests where its programs are, so that they can start one of their own.
    fn programs_variable(&self) -> &'static str;
    /// The folder of its programs, if they have been installed.
    fn installed(&self, cache: &Cache) -> Option<PathBuf>;
    /// The folder of its programs, installed first where they are missing.
    fn install(&self, cache: &Cache) -> Result<PathBuf, Trouble>;
    /// Creates its data where there is none, writes its configuration, and says how to start it.
    fn prepare(&self, site: &Site<'_>) -> Result<Launch, Trouble>;
    /// Whether the server at this port answers requests.
    fn answers(&self, port: u16) -> bool;
    /// The signal it understands as "end soon, and in order".
    fn stop_signal(&self) -> &'static str;
}

/// What a server is started with.
pub(crate) struct Site<'a> {
    /// Its own folder, which nothing else writes to.
    pub(crate) home: &'a Path,
    /// The folder of its programs.
    pub(crate) programs: &'a Path,
    /// Who it runs as, where that is not this process's user.
    pub(crate) account: Option<&'a Account>,
    /// Its port, and the first of those it may look through for others.
    pub(crate) port: u16,
}

/// How to start a server, and where it will then be.
pub(crate) struct Launch {
    pub(crate) command: Command,
    pub(crate) address: String,
}

/// What is written down of a server. It outlives the server: address and port stay the same from one start to the
/// next, so that variables exported in a shell stay true.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) process: Process,
    pub(crate) port: u16,
    pub(crate) address: String,
}

/// What a server is doing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition {
    /// Somebody else's, named by its variable.
    Given(String),
    Up(Record),
    /// It ended without being asked to.
    Died(Record),
    Down,
}

/// A server in a checkout.
pub(crate) struct Place<'a> {
    pub(crate) server: &'static dyn Server,
    pub(crate) cache: &'a Cache,
    pub(crate) account: Option<&'a Account>,
    pub(crate) home: PathBuf,
    /// Differs from checkout to checkout and from server to server.
    pub(crate) port_wish: u16,
}

/// A busy machine starts a JVM slowly.
const START_PATIENCE: Duration = Duration::from_secs(120);
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// A start fails when its port was taken a moment ago, or when children of a killed server still end.
const STARTS_MAX: usize = 3;

impl Place<'_> {
    pub(crate) fn condition(&self) -> Condition {
        let record = Record::read(&self.home);
        // A shell that has exported what `env` printed names our own server, which is not somebody else's.
        let own = record.as_ref().map(|record| record.address.as_str());
        match std::env::var(self.server.address_variable()) {
            Ok(given) if !given.is_empty() && Some(given.as_str()) != own => return Condition::Given(given),
            _ => {}
        }
        match record {
            Some(record) if record.process.is_alive(&self.home) => Condition::Up(record),
            Some(record) if self.home.join("data").exists() => Condition::Died(record),
            _ => Condition::Down,
        }
    }

    /// Brings it up unless it is, and says whether this call started it; `on_start` is told as soon as there is a
    /// process to stop again.
    pub(crate) fn raise(&self, on_start: &dyn Fn()) -> Result<bool, Trouble> {
        match self.condition() {
            Condition::Given(_) => return Ok(false),
            Condition::Up(record) if wait_until(START_PATIENCE, || self.server.answers(record.port)) => {
                return Ok(false);
            }
            Condition::Up(record) => {
                return Err(Trouble::new(format!(
                    "{} (process {}) runs but does not answer: run `cargo xtask services down`, then `up`",
                    self.server.name(),
                    record.process.pid
                )));
            }
            Condition::Died(_) | Condition::Down => {}
        }
        let programs = self.install()?;
        make_folder(&self.home)?;
        let mut tries = 1;
        while let Err(trouble) = self.start(&programs, on_start) {
            if tries == STARTS_MAX {
                return Err(trouble);
            }
            tries += 1;
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(true)
    }

    fn start(&self, programs: &Path, on_start: &dyn Fn()) -> Result<(), Trouble> {
        stand_aside_if_interrupted();
        let name = self.server.name();
        let last_port = Record::read(&self.home).map(|record| record.port);
        let port = port::free(last_port.unwrap_or(self.port_wish))?;
        let site = Site { home: &self.home, programs, account: self.account, port };
        let Launch { mut command, address } = self.server.prepare(&site)?;
        let log = Log::at(self.home.join("server.log"));
        log.record(&mut command)?;
        command.current_dir(&self.home);
        // In a group of its own, so that Ctrl-C in the terminal does not reach it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().attempt(|| format!("cannot start {name}"))?;
        let Some(process) = Process::running(child.id()) else {
            // What cannot be written down must not stay.
            child.kill().attempt(|| format!("cannot stop {name}"))?;
            return Err(self.start_failure(&log));
        };
        Record { process, port, address }.write(&self.home)?;
        on_start();
        let deadline = Instant::now() + START_PATIENCE;
        while !self.server.answers(port) {
            if child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return Err(self.start_failure(&log));
            }
            if Instant::now() > deadline {
                process.stop(&self.home, "KILL", STOP_PATIENCE)?;
                return Err(self.start_failure(&log));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn start_failure(&self, log: &Log) -> Trouble {
        Trouble::new(format!("{} did not start; {}", self.server.name(), log.tail(15)))
    }

    /// Stops it if it is ours and runs, and removes its data. Its record stays, see there.
    pub(crate) fn lower(&self) -> Result<bool, Trouble> {
        let Some(record) = Record::read(&self.home) else { return Ok(false) };
        let was_alive = record.process.is_alive(&self.home);
        record.process.stop(&self.home, self.server.stop_signal(), STOP_PATIENCE)?;
        let data = self.home.join("data");
        if data.exists() {
            // Children of a killed server may still write there for a moment.
            let removed = wait_until(STOP_PATIENCE, || fs::remove_dir_all(&data).is_ok() || !data.exists());
            if !removed {
                return Err(Trouble::new(format!("cannot remove {}: remove it by hand", data.display())));
            }
        }
        Ok(was_alive)
    }

    /// The folder of its programs: the one its variable names, or the installed one.
    pub(crate) fn programs(&self) -> Option<PathBuf> {
        named_folder(self.server.programs_variable()).or_else(|| self.server.installed(self.cache))
    }

    fn install(&self) -> Result<PathBuf, Trouble> {
        if let Some(folder) = self.programs() {
            if folder.is_dir() {
                return Ok(folder);
            }
            let variable = self.server.programs_variable();
            let folder = folder.display();
            return Err(Trouble::new(format!(
                "{variable} is {folder}, which is no folder: unset it or correct it"
            )));
        }
        let (name, began) = (self.server.name(), Instant::now());
        println!("{name}: installing into {} (first use only)", self.cache.folder().display());
        let folder = self.server.install(self.cache)?;
        println!("{name}: installed in {:.1} s", began.elapsed().as_secs_f64());
        Ok(folder)
    }
}

fn named_folder(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

impl Record {
    const FILE: &str = "server.json";

    /// What is written down in `home`; none also where it cannot be understood, as then nothing may be stopped by it.
    fn read(home: &Path) -> Option<Self> {
        let text = fs::read_to_string(home.join(Self::FILE)).ok()?;
        Self::from_json(&serde_json::from_str(&text).ok()?)
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            process: Process {
                pid: u32::try_from(value["pid"].as_u64()?).ok()?,
                started_ticks: value["started_ticks"].as_u64()?,
            },
            port: u16::try_from(value["port"].as_u64()?).ok()?,
            address: value["address"].as_str()?.to_owned(),
        })
    }

    fn to_json(&self) -> Value {
        json!({
            "pid": self.process.pid,
            "started_ticks": self.process.started_ticks,
            "port": self.port,
            "address": self.address,
        })
    }

    /// Written whole or not at all, and for this user only: the address may hold a password.
    fn write(&self, home: &Path) -> Result<(), Trouble> {
        let partial = home.join("server.json.partial");
        let write = || {
            let mut options = fs::OpenOptions::new();
            let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&partial)?;
            std::io::Write::write_all(&mut file, format!("{:#}\n", self.to_json()).as_bytes())?;
            fs::rename(&partial, home.join(Self::FILE))
        };
        write().attempt(|| format!("cannot write down the server in {}", home.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let home = std::env::temp_dir().join(format!("xtask-record-{}", std::process::id()));
        make_folder(&home).unwrap();
        let process = Process { pid: 42, started_ticks: 4242 };
        let record = Record { process, port: 20_001, address: "127.0.0.1:20001".to_owned() };
        record.write(&home).unwrap();
        assert_eq!(Record::read(&home), Some(record));
        fs::write(home.join(Record::FILE), "{\"pid\": \"forty-two\"}").unwrap();
        assert_eq!(Record::read(&home), None);
        fs::remove_dir_all(&home).unwrap();
    }
}
