//! A process that outlives this one, told apart from a later process of the same number.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::trouble::{Attempt, Trouble};

/// A process by its number and its start time: numbers are used again, the pair is not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Clock ticks after boot, as /proc gives it.
    pub(crate) started_ticks: u64,
}

impl Process {
    /// The process that has this number now; none if there is none, or it has ended and waits to be reaped.
    pub(crate) fn running(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let started_ticks = started_ticks_if_running(&stat)?;
        Some(Self { pid, started_ticks })
    }

    /// Whether this very process still runs, with `mark` on its command line.
    pub(crate) fn is_alive(&self, mark: &Path) -> bool {
        let command_line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        Self::running(self.pid) == Some(*self)
            && String::from_utf8_lossy(&command_line).contains(&*mark.to_string_lossy())
    }

    /// Asks it to end by `gentle`, then, if it has not within `patience`, by KILL. Leaves any other process alone.
    pub(crate) fn stop(&self, mark: &Path, gentle: &str, patience: Duration) -> Result<(), Trouble> {
        for (signal, patience) in [(gentle, patience), ("KILL", Duration::from_secs(10))] {
            if !self.is_alive(mark) {
                return Ok(());
            }
            self.signal(signal)?;
            if wait_until(patience, || !self.is_alive(mark)) {
                return Ok(());
            }
        }
        Err(Trouble::new(format!("process {} does not end: look at it with ps -p {0}", self.pid)))
    }

    /// By the shell's own `kill`: every system has that one, and std cannot signal what is not its child.
    fn signal(&self, name: &str) -> Result<(), Trouble> {
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "kill", name, &self.pid.to_string()])
            .stderr(Stdio::null())
            .status()
            .attempt(|| "cannot run sh".to_owned())?;
        // It may have ended since; then the caller's next look finds it gone.
        if status.success() || Self::running(self.pid) != Some(*self) {
            return Ok(());
        }
        Err(Trouble::new(format!("cannot send {name} to process {}: run this as its user", self.pid)))
    }
}

/// Field 22 of /proc/PID/stat. The second field, the program's name, may itself hold spaces and brackets.
fn started_ticks_if_running(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    fields.get(19)?.parse().ok()
}

/// Looks every 20 ms until `done` says yes or the time is up; says whether it was done.
pub(crate) fn wait_until(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_a_name_with_brackets() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 2";
        assert_eq!(started_ticks_if_running(stat), Some(4242));
        assert_eq!(started_ticks_if_running(&stat.replace(") S", ") Z")), None);
    }

    #[test]
    fn another_process_of_the_same_number_is_left_alone() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::running(child.id()).unwrap();
        // For an instant after exec the kernel shows an empty command line.
        assert!(wait_until(Duration::from_secs(5), || process.is_alive(Path::new("60"))));
        let earlier = Process { started_ticks: process.started_ticks - 1, ..process };
        earlier.stop(Path::new("60"), "TERM", Duration::from_secs(5)).unwrap();
        process.stop(Path::new("another mark"), "TERM", Duration::from_secs(5)).unwrap();
        assert!(process.is_alive(Path::new("60")));
        process.stop(Path::new("60"), "TERM", Duration::from_secs(5)).unwrap();
        assert!(!process.is_alive(Path::new("60")));
        child.wait().unwrap();
    }
}
