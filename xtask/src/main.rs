//! The workspace's own commands, run as `cargo xtask COMMAND`. It stays light, so that it builds in seconds:
//! what needs a database driver or a Kafka client lives in `trials`.

mod checkout;
mod services;
mod test;
mod tidy;
mod trials;
mod lock;
mod log;
mod trouble;

use std::process::ExitCode;

use checkout::Checkout;
use services::Services;
use trouble::Trouble;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test               set up what is missing and run everything; the last line counts
    --only NAME        only this suite; may be repeated
    --list             the suites, and what each proves
  sim                the promises under seeded storms in virtual time; prints the seed that breaks one
    --seeds N          so many; --seed S: one alone, line by line; --help: the rest
  tidy               check the rules of the house
  bench              how fast a backlog is carried, on real servers; takes drain, hot-key, poison, or doorbell: what
                     waking relays costs writers
  storm              hostile writers, and relays, servers and networks that fail: does every promise hold?
    --scene NAME       what fails; relays-killed. Several with commas; --list yes: all, and what each proves
    --minutes M        all scenes in turn for so long, each at least once
    --seconds N        a scene's script is repeated for so long; 60 for storm alone
    --seed S           what happens when; random, and said
    --report FILE      a table of all that was played, in Markdown
    --json FILE        the figures for machines
  memory             how much memory the program takes, on real servers; takes drain, transaction or large
    --events N         5,000,000, 1,000,000 or 2,000 unless given
    --feed F           table, or tail: committed while the program reads the log's tail
    --json FILE        the figures for machines
  services up        start PostgreSQL 18 and 14, Kafka and a schema registry on free loopback ports; installs them on
                     first use
  services down      stop what `up` started in this checkout, and remove its data
  services status    say what runs, where
  services env       print the variables tests read; use as: eval \"$(cargo xtask services env)\"
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => code,
        Err(trouble) => {
            eprintln!("xtask: {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<ExitCode, Trouble> {
    match words {
        ["test", rest @ ..] => test::run(rest),
        ["tidy"] => run_tidy(),
        ["services", rest @ ..] => run_services(rest),
        ["sim", rest @ ..] => trials::simulate(&Checkout::find()?, rest),
        [trial @ ("bench" | "storm" | "memory"), rest @ ..] => trials::run(&Checkout::find()?, trial, rest),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        [unknown, ..] => Err(Trouble::new(format!("unknown command `{unknown}`\n\n{USAGE}"))),
    }
}

fn run_tidy() -> Result<ExitCode, Trouble> {
    let findings = tidy::findings(&Checkout::find()?)?;
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(ExitCode::SUCCESS),
        count => Err(Trouble::new(format!("{count} places are not tidy"))),
    }
}

fn run_services(words: &[&str]) -> Result<ExitCode, Trouble> {
    let services = Services::of(&Checkout::find()?)?;
    match words {
        ["up"] => {
            services.up()?;
            services.print_status();
        }
        ["down"] => services.down()?,
        ["status"] => services.print_status(),
        ["env"] => {
            for (name, value) in services.variables()? {
                println!("export {name}={}", services::shell_quoted(&value));
            }
        }
        _ => return Err(Trouble::new(format!("services takes one of up, down, status, env\n\n{USAGE}"))),
    }
    Ok(ExitCode::SUCCESS)
}
