//! The one command that sets up what is missing, runs everything, and ends with one line of counts.

mod beside;
mod suite;
mod tally;
mod targets;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::checkout::Checkout;
use crate::lock::lock;
use crate::log::Log;
use crate::services::{Hired, stand_aside_if_interrupted};
use crate::tidy;
use crate::trials::cargo_words;
use crate::trouble::{Attempt, Trouble};
use suite::{MustRun, SUITES, Suite, Work};
use tally::{Tally, TestLog};

/// A run of some suites, or of all.
pub(crate) struct TestRun {
    checkout: Checkout,
    metadata: Value,
    /// Where each suite's output goes.
    logs: PathBuf,
    servers: Servers,
}

/// Started when the first suite needs them, so that a wrong format is said before a server boots.
enum Servers {
    NotAskedFor,
    Up { _hired: Hired, variables: Vec<(&'static str, String)> },
    Missing { why: String },
}

/// What became of a suite.
struct Outcome {
    tally: Tally,
    /// What a person wants to know first: names of failed tests, or why it could not run.
    notes: Vec<String>,
    /// Shown instead of the end of the log, which may tell of something else.
    excerpt: Vec<String>,
}

impl Outcome {
    /// Of a suite that counts as one test.
    fn of_one(passed: bool, notes: Vec<String>) -> Self {
        Self { tally: Tally::of_one(passed), notes, excerpt: Vec::new() }
    }
}

pub(crate) fn run(words: &[&str]) -> Result<ExitCode, Trouble> {
    let mut wanted: Vec<&str> = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--list" => {
                list();
                return Ok(ExitCode::SUCCESS);
            }
            "--only" => wanted.push(words.next().copied().unwrap_or_default()),
            other => return Err(Trouble::new(format!("test takes --only NAME and --list, not `{other}`"))),
        }
    }
    let suites = chosen(&wanted)?;
    let tally = TestRun::new(Checkout::find()?)?.run(&suites)?;
    println!("{tally}");
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list() {
    for suite in SUITES {
        println!("{:<8} {}", suite.name, suite.proves);
    }
}

/// The suites of these names, in their own order; all of them for no names.
fn chosen(wanted: &[&str]) -> Result<Vec<&'static Suite>, Trouble> {
    for name in wanted {
        if !SUITES.iter().any(|suite| suite.name == *name) {
            return Err(Trouble::new(format!("there is no suite `{name}`: see cargo xtask test --list")));
        }
    }
    let is_wanted = |suite: &&Suite| wanted.is_empty() || wanted.contains(&suite.name);
    Ok(SUITES.iter().filter(is_wanted).collect())
}

impl TestRun {
    fn new(checkout: Checkout) -> Result<Self, Trouble> {
        let metadata = checkout.metadata()?;
        let target = metadata["target_directory"].as_str();
        let logs = target.map_or_else(|| checkout.root().join("target"), PathBuf::from).join("xtask");
        fs::create_dir_all(&logs).attempt(|| format!("cannot create {}", logs.display()))?;
        Ok(Self { checkout, metadata, logs, servers: Servers::NotAskedFor })
    }

    /// Runs all of them, whichever fail; servers that this started are down again when it returns.
    fn run(mut self, suites: &[&Suite]) -> Result<Tally, Trouble> {
        // A second run in this checkout waits, or the first would take the servers down under it.
        let _lock = lock(&self.logs.join("lock"))?;
        let mut sum = Tally::default();
        for suite in suites {
            let variables = if suite.needs_servers { self.server_variables() } else { Ok(Vec::new()) };
            print!("{:<8} ", suite.name);
            std::io::stdout().flush().attempt(|| "cannot write to the terminal".to_owned())?;
            let began = Instant::now();
            self.log(suite).clear()?;
            let outcome = variables.and_then(|variables| self.work(suite, variables));
            let outcome = outcome.unwrap_or_else(|trouble| Outcome::of_one(false, vec![trouble.to_string()]));
            stand_aside_if_interrupted();
            self.report(suite, &outcome, began);
            sum += outcome.tally;
        }
        Ok(sum)
    }

    fn server_variables(&mut self) -> Result<Vec<(&'static str, String)>, Trouble> {
        if let Servers::NotAskedFor = self.servers {
            let up = Hired::up(&self.checkout).and_then(|hired| Ok((hired.variables()?, hired)));
            self.servers = match up {
                Ok((variables, hired)) => Servers::Up { _hired: hired, variables },
                Err(trouble) => Servers::Missing { why: trouble.to_string() },
            };
        }
        match &self.servers {
            Servers::Up { variables, .. } => Ok(variables.clone()),
            Servers::Missing { why } => Err(Trouble::new(format!("no servers: {why}"))),
            Servers::NotAskedFor => Err(Trouble::new("the servers were not asked for")),
        }
    }

    fn log(&self, suite: &Suite) -> Log {
        Log::at(self.logs.join(format!("{}.log", suite.name)))
    }

    fn report(&self, suite: &Suite, outcome: &Outcome, began: Instant) {
        let verdict = if outcome.tally.failed == 0 { "ok    " } else { "FAILED" };
        println!("{verdict} {:>7.1} s  {}", began.elapsed().as_secs_f64(), outcome.tally);
        for note in &outcome.notes {
            println!("    {note}");
        }
        let log = self.log(suite);
        if !outcome.excerpt.is_empty() {
            println!("  from {}:", log.path().display());
            outcome.excerpt.iter().for_each(|line| println!("    {line}"));
        } else if outcome.tally.failed > 0 && log.path().exists() {
            println!("  {}", log.tail(40));
        }
    }

    fn work(&self, suite: &Suite, variables: Vec<(&'static str, String)>) -> Result<Outcome, Trouble> {
        let log = self.log(suite);
        match suite.work {
            Work::Tidy => {
                let findings: Vec<String> =
                    tidy::findings(&self.checkout)?.iter().map(ToString::to_string).collect();
                let path = log.path();
                fs::write(path, findings.join("\n"))
                    .attempt(|| format!("cannot write {}", path.display()))?;
                Ok(Outcome::of_one(findings.is_empty(), Vec::new()))
            }
            Work::Cargo(arguments) => {
                Ok(Outcome::of_one(self.cargo(arguments, variables, &log)?, Vec::new()))
            }
            Work::Trials(trials) => self.trials(trials, &variables, &log),
            Work::Tests { must_run, beside } => self.tests(must_run, beside, variables, &log),
        }
    }

    /// Runs all of them, whichever fail; the tally names those that do.
    fn trials(
        &self,
        trials: &[(&str, &[&str])],
        variables: &[(&'static str, String)],
        log: &Log,
    ) -> Result<Outcome, Trouble> {
        let mut outcome = Outcome { tally: Tally::default(), notes: Vec::new(), excerpt: Vec::new() };
        for (trial, arguments) in trials {
            let mut passed = true;
            for words in cargo_words(trial, arguments) {
                passed = passed && self.cargo(&words, variables.to_vec(), log)?;
            }
            if !passed {
                outcome.notes.push(format!("{trial} {}", arguments.join(" ")));
            }
            outcome.tally += Tally::of_one(passed);
        }
        Ok(outcome)
    }

    /// Builds first, apart, since only the build says which program belongs to which crate.
    fn tests(
        &self,
        must_run: &[MustRun],
        beside: &'static [&'static [&'static str]],
        variables: Vec<(&'static str, String)>,
        log: &Log,
    ) -> Result<Outcome, Trouble> {
        let build = ["test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"];
        let output = self.cargo_command(&build, log)?.stdout(Stdio::piped()).output();
        let output = output.attempt(|| "cannot run cargo".to_owned())?;
        if !output.status.success() {
            return Ok(Outcome::of_one(false, vec!["the tests do not build".to_owned()]));
        }
        let targets = targets::targets(&String::from_utf8_lossy(&output.stdout));
        let beside = beside::build(self.checkout.root(), &self.logs, beside)?;
        let passed = self.cargo(&["test", "--workspace", "--no-fail-fast"], variables, log)?;
        beside.finish();
        let test_log = TestLog::read(&log.text());
        let (mut tally, mut notes) = (test_log.tally(), test_log.failed_tests.clone());
        if !passed && tally.failed == 0 {
            tally.failed = 1;
            notes.push("cargo test failed, though no test did".to_owned());
        }
        for must in must_run {
            let program = targets::program_of(&targets, &self.metadata, must);
            if program.is_none_or(|program| test_log.count_of(program) == 0) {
                tally.failed += 1;
                notes.push(format!("{} of {} must run, and ran no test", must.target, must.package));
            }
        }
        Ok(Outcome { tally, notes, excerpt: test_log.failure_lines })
    }

    /// Runs cargo with its output in the log, and says whether it succeeded.
    fn cargo(
        &self,
        arguments: &[&str],
        variables: Vec<(&'static str, String)>,
        log: &Log,
    ) -> Result<bool, Trouble> {
        let status = self.cargo_command(arguments, log)?.envs(variables).status();
        Ok(status.attempt(|| "cannot run cargo".to_owned())?.success())
    }

    fn cargo_command(&self, arguments: &[&str], log: &Log) -> Result<Command, Trouble> {
        let mut command = Command::new("cargo");
        command.args(arguments).current_dir(self.checkout.root()).env("CARGO_TERM_COLOR", "never");
        // rustfmt colours a file as well, unless the terminal cannot.
        command.env("TERM", "dumb");
        log.record(&mut command)?;
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_run_in_their_own_order() {
        let names: Vec<&str> = chosen(&["clippy", "fmt"]).unwrap().iter().map(|suite| suite.name).collect();
        assert_eq!(names, ["fmt", "clippy"]);
        assert_eq!(chosen(&[]).unwrap().len(), SUITES.len());
    }

    #[test]
    fn an_unknown_suite_is_refused() {
        assert!(chosen(&["fmt", "nonsense"]).is_err());
        assert!(chosen(&[""]).is_err());
    }
}
