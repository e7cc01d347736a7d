//! The runner: many seeds spread over the machine's processors, or one seed told line by line.

mod arguments;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use arguments::{Arguments, USAGE, Work};
use eventferry_sim::{Broken, Schedule, Tally, run, shrink, trace};

/// Lines of a trace that are shown: its end tells most.
const TRACE_LINES_MAX: usize = 150;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let arguments = match Arguments::of(&words) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("{why}\n\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    match arguments.work {
        Work::One { without, whole } => {
            let schedule = Schedule { seed: arguments.from, without, flaw: arguments.flaw };
            one(&schedule, whole)
        }
        Work::Many { seeds, within, list } => many(&arguments, seeds, within, list),
    }
}

/// Runs one schedule and tells it.
fn one(schedule: &Schedule, whole: bool) -> ExitCode {
    let ended = run(schedule);
    let text = trace(schedule);
    let lines: Vec<&str> = text.lines().collect();
    let from = if whole { 0 } else { lines.len().saturating_sub(TRACE_LINES_MAX) };
    if from > 0 {
        println!("({from} lines before these: --whole shows them)");
    }
    lines[from..].iter().for_each(|line| println!("{line}"));
    println!("{}", ended.tally);
    match ended.broken {
        None => ExitCode::SUCCESS,
        Some(broken) => {
            println!("seed {} breaks {broken}", schedule.seed);
            ExitCode::FAILURE
        }
    }
}

/// Runs many seeds; the first that breaks a promise ends it, unless all are to be listed.
fn many(arguments: &Arguments, seeds: u64, within: Duration, list: bool) -> ExitCode {
    // A panic is a finding like others; one seed alone tells where it came from.
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let next = AtomicU64::new(arguments.from);
    let stop = AtomicBool::new(false);
    let sum = Mutex::new(Tally::default());
    let failed: Mutex<Vec<(u64, Broken)>> = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let worker = || {
        let mut tally = Tally::default();
        while !stop.load(Ordering::Relaxed) && began.elapsed() < within {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed - arguments.from >= seeds {
                break;
            }
            let ended = run(&Schedule::of(seed, arguments.flaw));
            tally.add(&ended.tally);
            if let Some(broken) = ended.broken {
                stop.store(!list, Ordering::Relaxed);
                failed.lock().unwrap_or_else(PoisonError::into_inner).push((seed, broken));
            }
        }
        sum.lock().unwrap_or_else(PoisonError::into_inner).add(&tally);
    };
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(worker))));
    let seconds = began.elapsed().as_secs_f64();
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{sum}");
    println!("{:.0} seeds/s on {threads} threads, {seconds:.1} s", sum.seeds as f64 / seconds);
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_by_key(|(seed, _)| *seed);
    if list && !failed.is_empty() {
        failed.iter().for_each(|(seed, broken)| println!("seed {seed} breaks {broken}"));
        println!("{} seeds break a promise", failed.len());
        return ExitCode::FAILURE;
    }
    if let Some((seed, broken)) = failed.first() {
        return tell(&Schedule::of(*seed, arguments.flaw), broken);
    }
    if sum.seeds == 0 || sum.deliveries == 0 {
        println!("nothing was run: that is a failure");
        return ExitCode::FAILURE;
    }
    println!("every promise holds from seed {} on", arguments.from);
    ExitCode::SUCCESS
}

/// Tells of a seed that breaks a promise: the least of its schedule that still does, and how to run it again.
fn tell(schedule: &Schedule, broken: &Broken) -> ExitCode {
    println!("seed {} breaks {broken}", schedule.seed);
    let smallest = shrink(schedule);
    one(&smallest, false);
    let without: Vec<String> = smallest.without.iter().map(ToString::to_string).collect();
    let flaw = smallest.flaw.map_or(String::new(), |flaw| format!(" --flaw {flaw:?}"));
    let without =
        if without.is_empty() { String::new() } else { format!(" --without {}", without.join(",")) };
    println!("whole:    cargo xtask sim --seed {}{flaw}", schedule.seed);
    println!("smallest: cargo xtask sim --seed {}{flaw}{without}", schedule.seed);
    ExitCode::FAILURE
}
