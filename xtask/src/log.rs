//! Files that take what a program prints.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::trouble::{Attempt, Trouble};

/// A program's output, in a file.
pub(crate) struct Log {
    path: PathBuf,
}

impl Log {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes `command` print here, after what is there. Both streams go to one file, so that what was printed to one
    /// stands where it was printed in the other.
    pub(crate) fn record(&self, command: &mut Command) -> Result<(), Trouble> {
        let output = File::options().create(true).append(true).open(&self.path);
        let output = output.attempt(|| format!("cannot open {}", self.path.display()))?;
        let errors = output.try_clone().attempt(|| format!("cannot share {}", self.path.display()))?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        Ok(())
    }

    /// Removes what an earlier program printed.
    pub(crate) fn clear(&self) -> Result<(), Trouble> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Trouble::new(format!("cannot remove {}: {error}", self.path.display())))
            }
            _ => Ok(()),
        }
    }

    /// What stands in it so far; nothing where it does not exist.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.path).unwrap_or_default()).into_owned()
    }

    /// The last lines, indented, under a line that says where they are from.
    pub(crate) fn tail(&self, lines_max: usize) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        let mut tail = format!("{} ends with:", self.path.display());
        for line in &lines[lines.len().saturating_sub(lines_max)..] {
            tail.push_str("\n    ");
            tail.push_str(line);
        }
        tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_stand_in_the_order_they_were_printed() {
        let log = Log::at(std::env::temp_dir().join(format!("xtask-log-{}", std::process::id())));
        assert_eq!(log.text(), "");
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; echo three"]);
        log.record(&mut command).unwrap();
        assert!(command.status().unwrap().success());
        assert_eq!(log.text(), "one\ntwo\nthree\n");
        assert!(log.tail(2).ends_with(" ends with:\n    two\n    three"));
        let mut command = Command::new("echo");
        log.record(command.arg("four")).unwrap();
        assert!(command.status().unwrap().success());
        assert_eq!(log.text(), "one\ntwo\nthree\nfour\n");
        log.clear().unwrap();
        assert_eq!(log.text(), "");
        log.clear().unwrap();
    }
}
