//! The way to the trials and the simulator: programs that are not built into this crate.

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
        "storm" | "memory" => vec![vec!["build", "--release", "--quiet", "-p", "eventferry-cli"], run],
        _ => vec![run],
    }
}

/// Runs one trial with servers up and their addresses in its environment; its exit code is ours.
pub(crate) fn run(checkout: &Checkout, trial: &str, arguments: &[&str]) -> Result<ExitCode, Trouble> {
    let servers = Hired::up(checkout)?;
    let variables = servers.variables()?;
    for words in cargo_words(trial, arguments) {
        let mut command = Command::new("cargo");
        command.args(words).current_dir(checkout.root()).envs(variables.clone());
        let code = exit_code_of(&mut command)?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    Ok(ExitCode::SUCCESS)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_never_runs_a_program_that_was_built_before() {
        let words = cargo_words("storm", &["--seed", "1"]);
        assert_eq!(words[0][0], "build");
        assert!(words[1].ends_with(&["storm", "--seed", "1"]));
        assert_eq!(cargo_words("bench", &["drain"]).len(), 1);
    }
}
