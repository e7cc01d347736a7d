//! Commands that print a secret.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// How long a command may take.
const COMMAND_MAX: Duration = Duration::from_secs(20);

/// Runs a command by the shell, and gives what it prints. What it says of its troubles may hold secrets, and is not
/// passed on.
///
/// # Errors
/// What went wrong, in words.
pub(super) async fn printed(command: &str) -> Result<String, String> {
    const BY_HAND: &str = "run it by hand, as the user that runs this";
    let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let mut child = Command::new(shell);
    child.args([flag, command]).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(COMMAND_MAX, child.output());
    let output = output.await.map_err(|_| format!("it takes longer than {COMMAND_MAX:?}; {BY_HAND}"))?;
    let output = output.map_err(|error| format!("it cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("it failed ({}); {BY_HAND}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| "what it prints is not UTF-8".to_owned())
}
