//! The way to the trials: real-server runs that are too heavy to be built into this crate.

use std::process::{Command, ExitCode};

use crate::checkout::Checkout;
use crate::services::Hired;
use crate::trouble::{Attempt, Trouble};

/// Runs one trial with servers up and their addresses in its environment; its exit code is ours.
pub(crate) fn run(checkout: &Checkout, trial: &str, arguments: &[&str]) -> Result<ExitCode, Trouble> {
    let servers = Hired::up(checkout)?;
    let status = Command::new("cargo")
        .args(["run", "--release", "--quiet", "-p", "trials", "--", trial])
        .args(arguments)
        .current_dir(checkout.root())
        .envs(servers.variables()?)
        .status()
        .attempt(|| "cannot run cargo".to_owned())?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
