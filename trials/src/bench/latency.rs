//! How long an event takes from its commit to a consumer: eventferry's ways beside an application that produces itself.
//!
//! What is timed begins when the writer's commit has returned and ends when a Kafka consumer in the same process has
//! the message. Transactions are due at a fixed rate; one that waited for a connection counts from when it was due.
//! All contenders write and carry the same events, round by round; what counts is their ratio to the dual write within
//! a round: machines are noisy, and each in its own way.

mod arrivals;
mod cell;
mod contender;
mod event;
mod figures;
mod marks;
mod outcome;
mod reader;
mod relays;
mod writer;

use std::process::ExitCode;
use std::time::Duration;

use contender::{CONTENDERS, Contender};
use outcome::{Outcome, Run};

use crate::arguments::Arguments;
use crate::database::connect;
use crate::failure::{Failure, failure};
use crate::machine;
use crate::servers::Servers;

struct Plan {
    /// Events a second.
    rates: Vec<u64>,
    rounds: usize,
    /// How long one contender is measured at one rate.
    span: Duration,
    relays: usize,
    contenders: Vec<&'static Contender>,
    poll_min: Option<Duration>,
}

impl Plan {
    fn read(arguments: &mut Arguments) -> Result<Self, Failure> {
        let only = arguments.only();
        let rates = arguments.text("rates").unwrap_or_else(|| "50,500,2000,10000".into());
        let rates = rates.split(',').map(|rate| rate.trim().parse().ok().filter(|rate| *rate > 0));
        let seconds: u64 = arguments.value("seconds", 5)?;
        let poll_min = arguments.duration("poll-min", Duration::ZERO)?;
        let plan = Self {
            rates: rates
                .collect::<Option<_>>()
                .ok_or_else(|| failure("--rates: give events a second, as in 50,500"))?,
            rounds: arguments.value("rounds", 5)?,
            span: Duration::from_secs(seconds),
            relays: arguments.value("relays", 1)?,
            contenders: CONTENDERS.iter().filter(|contender| only.names(contender.name)).collect(),
            poll_min: Some(poll_min).filter(|poll_min| !poll_min.is_zero()),
        };
        if plan.contenders.is_empty() {
            let names: Vec<&str> = CONTENDERS.iter().map(|contender| contender.name).collect();
            return Err(failure(format!("--only: give names of contenders: {}", names.join(", "))));
        }
        if plan.rounds == 0 || seconds == 0 || plan.relays == 0 {
            return Err(failure("--rounds, --seconds and --relays: give 1 or more"));
        }
        Ok(plan)
    }
}

/// Runs the bench from its words.
pub(super) async fn run(mut arguments: Arguments) -> Result<ExitCode, Failure> {
    let plan = Plan::read(&mut arguments)?;
    let json = arguments.text("json");
    arguments.finish()?;
    let outcome = measure(&Servers::find()?, &plan).await?;
    super::tell(&outcome, &outcome.json(), json)
}

async fn measure(servers: &Servers, plan: &Plan) -> Result<Outcome, Failure> {
    let machine = machine::describe(&connect(&servers.postgres).await?).await?;
    super::warm_up(servers).await?;
    let mut runs = Vec::new();
    for round in 1..=plan.rounds {
        for &rate in &plan.rates {
            // Each round begins with another.
            for turn in 0..plan.contenders.len() {
                let contender = plan.contenders[(turn + round - 1) % plan.contenders.len()];
                let found = cell::measure(servers, plan, contender, rate).await?;
                let run = Run { round, rate, name: contender.name, found };
                eprintln!("round {round}: {run}");
                runs.push(run);
            }
        }
    }
    let names = plan.contenders.iter().map(|contender| contender.name).collect();
    Ok(Outcome { machine, rates: plan.rates.clone(), names, relays: plan.relays, span: plan.span, runs })
}
