//! What a seed decides beforehand: the house, what applications write, and what goes wrong when.

use std::time::Duration;

use eventferry_core::machine::{Backoff, OnDead, RetryPolicy, Settings};
use eventferry_core::parked::Decision;

use crate::agenda::{MILLISECOND, SECOND, Time};
use crate::dice::Dice;
use crate::fault::{Fault, FaultKind};
use crate::truth::{Ailment, Poison};

/// A run's whole plan. Leaving out some of its numbered items gives a smaller plan that runs all the same.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) temper: Temper,
    pub(crate) relays: usize,
    pub(crate) lanes: u16,
    /// Partitions of each topic.
    pub(crate) partitions: Vec<u16>,
    pub(crate) aggregates: u16,
    pub(crate) settings: Settings,
    /// How refused events of each topic are retried.
    pub(crate) retries: Vec<RetryPolicy>,
    /// Partitions of the dead-letter topic.
    pub(crate) letter_partitions: u16,
    /// Some relays know of no dead-letter topic.
    pub(crate) some_without_letters: bool,
    /// Topics are known before their first event.
    pub(crate) topics_known: bool,
    /// An anchor is taken when the sequence is this far beyond the last one.
    pub(crate) anchor_ids: u64,
    /// Ids that a page looks at.
    pub(crate) scan_ids: u64,
    /// The most records in a batch, and how long one waits to be filled.
    pub(crate) batch_records: usize,
    pub(crate) linger: Time,
    /// A message over a connection takes up to so long.
    pub(crate) latency: Time,
    pub(crate) retention: Time,
    /// The store has a doorbell, of whose rings so many in a hundred are missed.
    pub(crate) bell: Option<u64>,
    /// At first events are carried in transactions of the broker's.
    pub(crate) exactly_once: bool,
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) decrees: Vec<Decree>,
}

/// A person decides on parked events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decree {
    pub(crate) at: Time,
    pub(crate) decision: Decision,
    /// Which of the parked events, and whether all of its aggregate are meant.
    pub(crate) pick: usize,
    pub(crate) whole_aggregate: bool,
}

/// How much goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temper {
    /// Nothing uncertain: relays come and go, records and topics are refused. No duplicate has an excuse.
    Calm,
    Stormy,
}

/// What one application's transaction does.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    pub(crate) at: Time,
    pub(crate) steps: Vec<Step>,
    /// It waits for the disk when it commits.
    pub(crate) synchronous: bool,
    /// It is there to show that others go through.
    is_bystander: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Wait(Time),
    /// Writes something of its own, so that it has an xid.
    Write,
    /// Locks the aggregate's row until it ends.
    Lock(u16),
    Enqueue {
        aggregate: u16,
        topic: u16,
        ailment: Ailment,
        size_bytes: u32,
        /// Between the event's xid and its id.
        pause: Time,
    },
    Savepoint,
    RollBackToSavepoint,
    Commit,
    RollBack,
}

/// After this nothing new goes wrong.
const STORM: Time = 12 * SECOND;

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 1);
        let temper = if dice.chance(25) { Temper::Calm } else { Temper::Stormy };
        let topics = dice.between(1, 3) as usize;
        let lanes = dice.between(1, 6) as u16;
        let mut plan = Self {
            seed,
            temper,
            relays: dice.between(1, 3) as usize,
            lanes,
            partitions: (0..topics).map(|_| dice.between(1, 3) as u16).collect(),
            aggregates: lanes + dice.between(1, 6) as u16,
            settings: settings(&mut dice),
            retries: (0..topics).map(|_| retry(&mut dice)).collect(),
            letter_partitions: dice.between(1, 2) as u16,
            some_without_letters: dice.chance(10),
            topics_known: dice.chance(60),
            anchor_ids: dice.between(1, 12),
            scan_ids: dice.between(3, 60),
            batch_records: dice.between(1, 6) as usize,
            linger: dice.below(3) * MILLISECOND,
            latency: dice.between(1, 20) * MILLISECOND,
            retention: dice.between(1, 5) * SECOND,
            bell: bell(&mut Dice::new(seed, 6)),
            exactly_once: false,
            transactions: Vec::new(),
            faults: Vec::new(),
            decrees: Vec::new(),
        };
        plan.deliver(&mut Dice::new(seed, 7));
        plan.transactions = plan.write(&mut Dice::new(seed, 2));
        plan.faults = plan.go_wrong(&mut Dice::new(seed, 3));
        plan.decrees = plan.decree(&mut Dice::new(seed, 4));
        plan
    }

    /// A third of all relays delivers exactly once.
    fn deliver(&mut self, dice: &mut Dice) {
        self.exactly_once = dice.chance(33);
        let most = (self.settings.memory_records_max / 2).min(20) as u64;
        self.settings.transaction_records_max = dice.between(1, most) as usize;
        self.settings.transaction_linger = Duration::from_millis(dice.below(30));
    }

    /// Whether some events are carried exactly once, and whether all are.
    pub(crate) fn exactly_once_ever(&self) -> (bool, bool) {
        let changes = self.faults.iter().any(|fault| fault.kind == FaultKind::OtherDelivery);
        (self.exactly_once || changes, self.exactly_once && !changes)
    }

    /// Whether a lane may have so much parked that it is not read on.
    pub(crate) fn lanes_fill(&self) -> bool {
        let (own, usual) = (&self.settings, Settings::default());
        own.lane_parked_max < usual.lane_parked_max || own.lane_parked_bytes_max < usual.lane_parked_bytes_max
    }

    /// The same plan without these items: faults are numbered first, then transactions, then decisions.
    pub(crate) fn without(&self, items: &[usize]) -> Self {
        let mut plan = self.clone();
        let mut number = 0;
        let mut stays = || {
            number += 1;
            !items.contains(&(number - 1))
        };
        plan.faults.retain(|_| stays());
        // Without bystanders nobody could know whose fault an unknown refusal is.
        plan.transactions.retain(|transaction| stays() || transaction.is_bystander);
        plan.decrees.retain(|_| stays());
        plan
    }

    pub(crate) fn items(&self) -> usize {
        self.faults.len() + self.transactions.len() + self.decrees.len()
    }

    /// From here on nothing goes wrong, and everything must come to an end.
    pub(crate) fn calm_from(&self) -> Time {
        let faults = self.faults.iter().map(|fault| fault.at + fault.kind.lasts());
        let writing = self.transactions.iter().map(|transaction| transaction.at + 2 * SECOND);
        let healed = self.ailments().map(|ailment| match ailment.heals_at {
            NEVER => ailment.letter_heals_at,
            at => at.max(ailment.letter_heals_at),
        });
        let decided = self.decrees.iter().map(|decree| decree.at);
        faults.chain(writing).chain(healed).chain(decided).max().unwrap_or(0).max(SECOND)
    }

    fn ailments(&self) -> impl Iterator<Item = Ailment> + '_ {
        let steps = self.transactions.iter().flat_map(|transaction| &transaction.steps);
        steps.filter_map(|step| match step {
            Step::Enqueue { ailment, .. } => Some(*ailment),
            _ => None,
        })
    }

    /// The number of the dead-letter topic: after all others.
    pub(crate) fn letter_topic(&self) -> usize {
        self.partitions.len()
    }

    fn write(&self, dice: &mut Dice) -> Vec<Transaction> {
        let asynchronous = if dice.chance(50) { dice.between(10, 90) } else { 0 };
        let poison = if dice.chance(60) { dice.between(1, 16) } else { 0 };
        let bursts = dice.between(4, 40);
        let mut transactions = Vec::new();
        for _ in 0..bursts {
            let at = dice.below(STORM);
            for _ in 0..dice.between(1, 4) {
                let at = at + dice.below(40) * MILLISECOND;
                let steps = self.steps(dice, poison);
                let synchronous = !dice.chance(asynchronous);
                transactions.push(Transaction { at, steps, synchronous, is_bystander: false });
            }
        }
        if poison > 0 && self.shows_whose_fault() {
            // A code that nobody knows is believed only while others go through.
            transactions.extend((0..12).map(|number| self.bystander(STORM + number * 1_500 * MILLISECOND)));
        }
        transactions.sort_by_key(|transaction| transaction.at);
        transactions
    }

    /// Whether others go through beside a record that is refused with a code that nobody knows, which shows that it is
    /// the record's fault. A relay that lost its lease in a storm may have nothing but that record.
    fn shows_whose_fault(&self) -> bool {
        self.is_roomy() && self.temper == Temper::Calm
    }

    /// Whether a lane may have as many parked events as there are.
    pub(crate) fn parks_freely(&self) -> bool {
        let usual = Settings::default();
        self.settings.lane_parked_max == usual.lane_parked_max
            && self.settings.lane_parked_bytes_max == usual.lane_parked_bytes_max
    }

    /// Whether what waits behind a refused record leaves room for others.
    pub(crate) fn is_roomy(&self) -> bool {
        self.settings.lane_records_max >= ROOMY_RECORDS
    }

    /// A transaction with an event in each lane, of aggregates of which nothing is ever refused.
    fn bystander(&self, at: Time) -> Transaction {
        let enqueue = |aggregate| Step::Enqueue {
            aggregate,
            topic: 0,
            ailment: Ailment::NONE,
            size_bytes: 20,
            pause: 20,
        };
        let steps = (self.aggregates - self.lanes..self.aggregates).map(enqueue).chain([Step::Commit]);
        Transaction { at, steps: steps.collect(), synchronous: true, is_bystander: true }
    }

    fn steps(&self, dice: &mut Dice, poison: u64) -> Vec<Step> {
        let mut steps = Vec::new();
        let slow = if dice.chance(12) { 400 } else { 4 };
        if dice.chance(30) {
            steps.extend([Step::Write, Step::Wait(dice.below(slow) * MILLISECOND)]);
        }
        let aggregate = dice.below(self.aggregates.into()) as u16;
        if dice.chance(60) {
            steps.push(Step::Lock(aggregate));
        }
        let saved = dice.chance(15);
        if saved {
            steps.push(Step::Savepoint);
        }
        for _ in 0..dice.between(1, 5) {
            let other = dice.below(self.aggregates.into()) as u16;
            let aggregate = if dice.chance(70) { aggregate } else { other };
            let poison = if aggregate + self.lanes >= self.aggregates { 0 } else { poison };
            let ailment = self.ailment(dice, poison);
            steps.push(Step::Enqueue {
                aggregate,
                topic: dice.index(self.partitions.len()) as u16,
                ailment,
                size_bytes: dice.between(1, 200) as u32,
                pause: if dice.chance(20) { dice.below(8) * MILLISECOND } else { 20 },
            });
            if dice.chance(30) {
                steps.push(Step::Wait(dice.below(slow) * MILLISECOND));
            }
        }
        if saved && dice.chance(60) {
            steps.push(Step::RollBackToSavepoint);
        }
        steps.push(Step::Wait(dice.below(slow) * MILLISECOND));
        steps.push(if dice.chance(90) { Step::Commit } else { Step::RollBack });
        steps
    }

    fn ailment(&self, dice: &mut Dice, poison: u64) -> Ailment {
        let poison = match dice.below(100) {
            roll if roll * 3 < poison && self.shows_whose_fault() => Poison::Unknown,
            roll if roll * 2 < poison => Poison::Unroutable,
            roll if roll < poison => Poison::Rejected,
            _ => return Ailment::NONE,
        };
        let heals_at = if dice.chance(50) { NEVER } else { dice.below(STORM + 3 * SECOND) };
        let letter_heals_at = if dice.chance(85) { 0 } else { dice.below(STORM + 3 * SECOND) };
        Ailment { poison, heals_at, letter_heals_at }
    }

    /// People look at what is parked now and then, and decide what comes to their mind.
    fn decree(&self, dice: &mut Dice) -> Vec<Decree> {
        if dice.chance(40) {
            return Vec::new();
        }
        let decree = |_| {
            let decision = match dice.below(5) {
                0 | 1 => Decision::Retry,
                2 | 3 => Decision::Discard,
                _ => Decision::Release,
            };
            let at = dice.below(STORM + 6 * SECOND);
            Decree { at, decision, pick: dice.below(1 << 20) as usize, whole_aggregate: dice.chance(30) }
        };
        let number = Dice::new(self.seed, 5).between(1, 16);
        (0..number).map(decree).collect()
    }

    fn go_wrong(&self, dice: &mut Dice) -> Vec<Fault> {
        let number = if self.temper == Temper::Calm { dice.below(4) } else { dice.between(1, 6) };
        // Few kinds a seed: what goes wrong twice in the same way goes further wrong.
        let kinds: Vec<usize> = (0..dice.between(1, 4)).map(|_| FaultKind::any(dice, self.temper)).collect();
        let mut faults: Vec<Fault> = (0..number)
            .map(|_| {
                let at = dice.below(STORM);
                let number = kinds[dice.index(kinds.len())];
                Fault { at, kind: FaultKind::of(number, dice, self) }
            })
            .collect();
        if self.exactly_once && self.temper == Temper::Stormy {
            faults.extend(self.take_overs(&mut Dice::new(self.seed, 8)));
        }
        faults.extend(self.changes_of_delivery(&mut Dice::new(self.seed, 9)));
        faults.extend(Self::new_certificates(&mut Dice::new(self.seed, 10)));
        faults.sort_by_key(|fault| fault.at);
        faults
    }

    /// Somebody changes their mind of how events are to be delivered, and perhaps changes it back.
    fn changes_of_delivery(&self, dice: &mut Dice) -> Vec<Fault> {
        if self.temper == Temper::Calm || !dice.chance(10) {
            return Vec::new();
        }
        (0..dice.between(1, 2))
            .map(|_| Fault { at: dice.below(STORM), kind: FaultKind::OtherDelivery })
            .collect()
    }

    /// Sessions end by themselves, in any weather.
    fn new_certificates(dice: &mut Dice) -> Vec<Fault> {
        let number = if dice.chance(25) { dice.between(1, 3) } else { 0 };
        (0..number).map(|_| Fault { at: dice.below(STORM), kind: FaultKind::NewCertificates }).collect()
    }

    /// Lanes that change hands while the broker has something of their owner's in its sockets: where transactions can
    /// go wrong.
    fn take_overs(&self, dice: &mut Dice) -> Vec<Fault> {
        let mut faults = Vec::new();
        let lease = self.settings.lease.as_micros() as Time;
        for _ in 0..dice.below(4) {
            let at = dice.below(STORM);
            let lasts = lease + dice.below(500) * MILLISECOND;
            if dice.chance(70) {
                faults.push(Fault { at, kind: FaultKind::BrokerFrozen { lasts } });
            }
            if dice.chance(30) {
                let percent = dice.between(20, 60);
                faults.push(Fault { at, kind: FaultKind::LossyDatabase { lasts, percent } });
            }
            for relay in 0..self.relays {
                let at = at + dice.below(120) * MILLISECOND;
                let lasts = lasts + dice.below(300) * MILLISECOND;
                let kind = match dice.below(4) {
                    0 | 1 => {
                        FaultKind::Kill { relay, back: dice.between(1, 100) * MILLISECOND, renamed: true }
                    }
                    2 => FaultKind::Freeze { relay, lasts },
                    _ => continue,
                };
                faults.push(Fault { at, kind });
            }
        }
        faults
    }
}

/// It stays as it is for ever.
pub(crate) const NEVER: Time = Time::MAX;

/// So many records are never in memory at once.
const ROOMY_RECORDS: usize = 2_000;

/// Half of all stores have none, and of half of the others no ring is missed.
fn bell(dice: &mut Dice) -> Option<u64> {
    dice.chance(50).then(|| if dice.chance(50) { 0 } else { dice.between(10, 100) })
}

/// Small numbers, so that every bound is met.
fn settings(dice: &mut Dice) -> Settings {
    let milliseconds = |dice: &mut Dice, least, most| Duration::from_millis(dice.between(least, most));
    let mut settings = Settings::with_lease(milliseconds(dice, 1_500, 4_000));
    settings.grace = milliseconds(dice, 500, 3_000).min(settings.lease - settings.margin);
    settings.page_records_max = dice.between(1, 16) as u32;
    settings.page_bytes_max = dice.between(200, 2_000);
    settings.memory_records_max = settings.page_records_max as usize * dice.between(1, 4) as usize + 1;
    settings.memory_bytes_max = settings.page_bytes_max * dice.between(1, 4);
    settings.lane_records_max = dice.between(4, 40) as usize;
    settings.lane_bytes_max = dice.between(400, 4_000);
    // With room for one, a record refused with an unknown code would always be the one.
    settings.flight_records_max = dice.between(8, 40) as usize;
    settings.flight_bytes_max = dice.between(2_000, 8_000);
    if dice.chance(30) {
        (settings.memory_records_max, settings.memory_bytes_max) = (ROOMY_RECORDS, 400_000);
        (settings.lane_records_max, settings.lane_bytes_max) = (ROOMY_RECORDS, 400_000);
    }
    settings.settle_pause = milliseconds(dice, 10, 200);
    settings.settle_idle = milliseconds(dice, 500, 3_000);
    settings.poll_min = milliseconds(dice, 10, 40);
    settings.poll_max = milliseconds(dice, 100, 500);
    settings.retry_min = milliseconds(dice, 20, 100);
    settings.retry_max = milliseconds(dice, 300, 1_500);
    settings.quarantine = milliseconds(dice, 300, 4_000);
    if dice.chance(30) {
        settings.lane_parked_max = dice.between(2, 10) as usize;
    }
    if dice.chance(15) {
        settings.lane_parked_bytes_max = settings.page_bytes_max + dice.below(500);
    }
    settings.parked_poll = milliseconds(dice, 50, 1_000);
    settings.topic_patience = milliseconds(dice, 50, 2_000).clamp(settings.retry_min, settings.lease);
    settings.dead_letters = dice.chance(70);
    settings
}

fn retry(dice: &mut Dice) -> RetryPolicy {
    let pause = Duration::from_millis(dice.between(10, 600));
    let mut policy = RetryPolicy::default();
    policy.attempts = dice.between(1, 4) as u32;
    policy.backoff = match dice.below(3) {
        0 => Backoff::Fixed(pause),
        1 => Backoff::Linear { step: pause, max: pause * 3 },
        _ => Backoff::Exponential { min: pause, max: pause * 5 },
    };
    policy.on_dead = if dice.chance(30) { OnDead::Hold } else { OnDead::Continue };
    policy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seeds_settings_agree_with_each_other() {
        for seed in 0..200 {
            assert_eq!(Plan::of(seed).settings.check(), Ok(()), "seed {seed}");
        }
    }

    #[test]
    fn a_plan_without_all_its_items_is_empty() {
        let plan = Plan::of(3);
        let empty = plan.without(&(0..plan.items()).collect::<Vec<_>>());
        assert!(empty.faults.is_empty() && empty.transactions.iter().all(|one| one.is_bystander));
        assert_eq!(plan.without(&[0]).items(), plan.items() - 1);
    }
}
