//! One schedule: run, made smaller, told.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::checks::Broken;
use crate::flaw::Flaw;
use crate::plan::Plan;
use crate::tally::Tally;
use crate::world::World;

/// A seed's schedule, or what is left of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Decides everything.
    pub seed: u64,
    /// Numbered items that are left out: faults first, then transactions.
    pub without: Vec<usize>,
    /// What is broken on purpose.
    pub flaw: Option<Flaw>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What was seen broken first.
    pub broken: Option<Broken>,
    /// What happened.
    pub tally: Tally,
}

impl Schedule {
    /// All of a seed's schedule.
    pub fn of(seed: u64, flaw: Option<Flaw>) -> Self {
        Self { seed, without: Vec::new(), flaw }
    }

    fn plan(&self) -> Plan {
        Plan::of(self.seed).without(&self.without)
    }
}

/// Runs a schedule.
pub fn run(schedule: &Schedule) -> Ended {
    let mut world = World::new(schedule.plan(), schedule.flaw, false);
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    let mut tally = world.tally.clone();
    tally.seeds = 1;
    let broken = match ran {
        Ok(()) => world.broken.take(),
        Err(panic) => Some(Broken { promise: 0, what: words(&*panic), at_us: world.now }),
    };
    Ended { broken, tally }
}

/// Runs a schedule and tells everything that happened, line by line.
pub fn trace(schedule: &Schedule) -> String {
    let mut world = World::new(schedule.plan(), schedule.flaw, true);
    // The run's own end is told by `run`.
    let _ = catch_unwind(AssertUnwindSafe(|| world.run()));
    world.trace()
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}

/// Leaves out of a failing schedule what it does not need to break the same promise.
pub fn shrink(schedule: &Schedule) -> Schedule {
    // The same words, whatever the numbers in them.
    let words = |broken: Broken| broken.what.replace(|letter: char| letter.is_ascii_digit(), "");
    let seen = |schedule: &Schedule| run(schedule).broken.map(|broken| (broken.promise, words(broken)));
    let wanted = seen(schedule);
    let mut smallest = schedule.clone();
    let items = Plan::of(schedule.seed).items();
    let mut size = items.div_ceil(2).max(1);
    loop {
        let mut from = 0;
        while from < items {
            let mut tried = smallest.clone();
            tried.without.extend((from..items.min(from + size)).filter(|at| !smallest.without.contains(at)));
            if tried.without.len() > smallest.without.len() && seen(&tried) == wanted {
                smallest = tried;
            }
            from += size;
        }
        if size == 1 {
            break;
        }
        size = size.div_ceil(2);
    }
    smallest.without.sort_unstable();
    smallest
}
