//! Trials of eventferry on real servers: how fast, how safe, how small. Run through `cargo xtask`.

mod arguments;
mod bench;
mod database;
mod failure;
mod machine;
mod memory;
mod processor;
mod servers;
mod storm;
mod topic;

use std::process::ExitCode;

use arguments::Arguments;
use failure::{Failure, failure};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
usage: cargo xtask TRIAL

  bench drain|hot-key|poison [--events N] [--aggregates N] [--rounds N] [--only CONTENDER] [--json FILE]
      how fast a backlog is carried to Kafka, held against a raw pipe and against a status column
  bench doorbell [--rounds N] [--writers N] [--seconds T] [--json FILE]
      what waking relays costs writers, held against no trigger and against a plain NOTIFY
  bench enqueue [--rounds N] [--transactions N] [--json FILE]
      what the library costs whoever enqueues, held against an INSERT written by hand
  bench latency [--rates N,N] [--rounds N] [--seconds N] [--relays N] [--only CONTENDER,CONTENDER] [--poll-min TIME]
        [--json FILE]
      how long an event takes from its commit to a consumer, held against an application that produces after its commit
  storm [--scene NAME[,NAME]] [--feed table|tail|messages|all] [--minutes M] [--seconds N] [--seed S]
        [--lease TIME] [--grace TIME] [--keep yes] [--skip-missing yes] [--json FILE] [--report FILE] [--list yes]
      hostile writers, and relays, servers and networks that fail: what must arrive does, once and in order
  memory drain|transaction|large [--events N] [--aggregates N] [--payload-bytes N] [--json FILE]
      how much memory the program takes to carry a backlog, one huge transaction, or large payloads
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("trials: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<ExitCode, Failure> {
    // A client says that its broker is gone again and again; a storm knows, for it was the one.
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "warn,rdkafka=off,librdkafka=off".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match words.split_first() {
        Some((trial, rest)) if trial == "bench" => runtime.block_on(bench::run(Arguments::read(rest)?)),
        Some((trial, rest)) if trial == "storm" => runtime.block_on(storm::run(Arguments::read(rest)?)),
        Some((trial, rest)) if trial == "memory" => runtime.block_on(memory::run(Arguments::read(rest)?)),
        None => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        Some((trial, _)) if matches!(trial.as_str(), "help" | "--help" | "-h") => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        Some((unknown, _)) => Err(failure(format!("unknown trial `{unknown}`\n\n{USAGE}"))),
    }
}
