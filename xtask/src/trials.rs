//! The way to the trials: real-server runs that are too heavy to be built into this crate.

use std::process::{Command, ExitCode};

use crate::checkout::Checkout;
use crate::services::Hired;
use crate::trouble::{Attempt, Trouble};

/// What cargo does for one trial, one after the other. Some start relays as people do, from the program, which
/// therefore is built from this checkout before anything runs.
pub(crate) fn cargo_words<'a>(trial: &'a str, arguments: &[&'a str]) -> Vec<Vec<&'a str>> {
    let run = ["run", "--release", "--quiet", "-p", "trials", "--", trial];
    let run = [&run[..], arguments].concat();
    match trial {
        "memory" => vec![vec!["build", "--release", "--quiet", "-p", "eventferry-cli"], run],
        _ => vec![run],
    }
}

/// Runs one trial with servers up and their addresses in its environment; its exit code is ours.
pub(crate) fn run(checkout: &Checkout, trial: &str, arguments: &[&str]) -> Result<ExitCode, Trouble> {
    let servers = Hired::up(checkout)?;
    for words in cargo_words(trial, arguments) {
        let status = Command::new("cargo")
            .args(words)
            .current_dir(checkout.root())
            .envs(servers.variables()?)
            .status()
            .attempt(|| "cannot run cargo".to_owned())?;
        if !status.success() {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return Ok(code.map_or(ExitCode::FAILURE, ExitCode::from));
        }
    }
    Ok(ExitCode::SUCCESS)
}
