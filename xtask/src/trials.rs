//! The way to the trials and the simulator: programs that are not built into this crate.

use std::process::{Command, ExitCode};

use crate::checkout::Checkout;
use crate::services::Hired;
use crate::trouble::{Attempt, Trouble};

/// Runs one trial with servers up and their addresses in its environment; its exit code is ours.
pub(crate) fn run(checkout: &Checkout, trial: &str, arguments: &[&str]) -> Result<ExitCode, Trouble> {
    let servers = Hired::up(checkout)?;
    let mut command = Command::new("cargo");
    command.args(["run", "--release", "--quiet", "-p", "trials", "--", trial]).args(arguments);
    exit_code_of(command.current_dir(checkout.root()).envs(servers.variables()?))
}

/// Runs the simulator, which needs no server; its exit code is ours.
pub(crate) fn simulate(checkout: &Checkout, arguments: &[&str]) -> Result<ExitCode, Trouble> {
    let mut command = Command::new("cargo");
    command.args(["run", "--profile", "checked", "--quiet", "-p", "eventferry-sim", "--"]).args(arguments);
    exit_code_of(command.current_dir(checkout.root()))
}

fn exit_code_of(command: &mut Command) -> Result<ExitCode, Trouble> {
    let status = command.status().attempt(|| "cannot run cargo".to_owned())?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
