//! Secrets as they stand in the settings, in a file, or as a command prints them.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::process::Command;

/// How long a command may take.
const COMMAND_MAX: Duration = Duration::from_secs(20);

/// For how long what a command printed is used again, unless the registry refuses it.
const COMMAND_KEPT: Duration = Duration::from_secs(60);

/// A text that may be a secret, and may change: a password, a token, a certificate or its key.
///
/// Files are read for each request, so that a newer one is taken at once. A command is run by the shell (`sh -c`), may
/// take 20 s, and is run again after a minute or when the registry refused what it printed. Line ends behind a text are
/// left out.
pub struct Secret {
    from: From,
    /// What the command printed last.
    kept: Mutex<Option<(String, Instant)>>,
}

enum From {
    Text(String),
    File(PathBuf),
    Command(String),
}

impl Secret {
    /// The text itself.
    pub fn text(text: impl Into<String>) -> Self {
        Self::from(From::Text(text.into()))
    }

    /// What this file has.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::from(From::File(path.into()))
    }

    /// What this command prints.
    pub fn command(command: impl Into<String>) -> Self {
        Self::from(From::Command(command.into()))
    }

    fn from(from: From) -> Self {
        Self { from, kept: Mutex::default() }
    }

    /// Whether asking again may give another text than was given before.
    pub(super) fn may_be_renewed(&self) -> bool {
        matches!(self.from, From::Command(_))
    }

    /// Reads it; `anew`: what was kept will not do.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(super) async fn read(&self, anew: bool) -> Result<String, String> {
        let text = match &self.from {
            From::Text(text) => text.clone(),
            From::File(path) => {
                let read = tokio::fs::read(path).await;
                let bytes = read.map_err(|error| format!("its file cannot be read: {error}"))?;
                String::from_utf8(bytes).map_err(|_| "its file is not UTF-8".to_owned())?
            }
            From::Command(command) => match self.kept().filter(|_| !anew) {
                Some(kept) => kept,
                None => {
                    let printed = printed(command).await?;
                    *self.kept.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some((printed.clone(), Instant::now()));
                    printed
                }
            },
        };
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() || text.contains('\0') {
            return Err("what is to be there is not".into());
        }
        Ok(text.to_owned())
    }

    fn kept(&self) -> Option<String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|(_, at)| at.elapsed() < COMMAND_KEPT).map(|(text, _)| text.clone())
    }
}

/// Without the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.from {
            From::Text(_) => "Secret(text)",
            From::File(_) => "Secret(file)",
            From::Command(_) => "Secret(command)",
        })
    }
}

/// Runs a command by the shell, and gives what it prints. What it says of its troubles may hold secrets, and is not
/// passed on.
async fn printed(command: &str) -> Result<String, String> {
    const BY_HAND: &str = "run it by hand, as the user that runs this";
    let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let mut child = Command::new(shell);
    child.args([flag, command]).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(COMMAND_MAX, child.output()).await;
    let output = output.map_err(|_| format!("its command takes longer than {COMMAND_MAX:?}; {BY_HAND}"))?;
    let output = output.map_err(|error| format!("its command cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("its command failed ({}); {BY_HAND}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| "what its command prints is not UTF-8".to_owned())
}
