//! A relay's process: the state machine, what its engine keeps beside it, and the store's client.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use eventferry_core::machine::{Core, Delivery, TopicId};
use eventferry_core::parked::ParkedKey;
use eventferry_core::publisher::{Abilities, Pipeline, Refusal, Token};
use eventferry_core::store::{Capabilities, Keeps, Order, Ownership, Stall};
use eventferry_core::{Lane, Lease, Stamp};

use crate::agenda::{SECOND, Time};
use crate::broker::IDS;
use crate::database::{Mark, ToldIntent, ToldLane};
use crate::flaw::Flaw;
use crate::plan::Plan;
use crate::world::What;

pub(crate) struct Relay {
    /// What it calls itself: owners in the database are names.
    pub(crate) name: usize,
    /// Which process this is, among all that ever were.
    pub(crate) incarnation: u32,
    pub(crate) up: bool,
    pub(crate) frozen: bool,
    pub(crate) draining: bool,
    pub(crate) started_at: Time,
    pub(crate) frozen_at: Time,
    /// For how long a flawed clock stood still.
    pub(crate) stood_still: Time,
    pub(crate) core: Core<Mark>,
    /// It carries events in transactions of the broker's.
    pub(crate) exactly_once: bool,
    /// It was told of a dead-letter topic.
    pub(crate) dead_letters: bool,
    /// The open producers: main and alone.
    pub(crate) sessions: [Option<u32>; 2],
    /// The events in memory.
    pub(crate) held: BTreeMap<Token, InHand>,
    /// The last settlement, until it is answered for good.
    pub(crate) told: Option<Vec<ToldLane>>,
    /// The last intent, until it is answered for good.
    pub(crate) intended: Option<ToldIntent>,
    /// How often it asked what was shipped before.
    pub(crate) resolves: u64,
    /// What the broker had committed last, as this relay heard it first.
    pub(crate) heard: Option<Stamp>,
    pub(crate) client: Client,
    pub(crate) topics_known: Vec<bool>,
    /// What came while it stood still.
    pub(crate) inbox: Vec<What>,
    pub(crate) wake_at: Time,
    /// It lies at the doorbell, for the so manieth time.
    pub(crate) bed: Option<u64>,
    /// It was rung up, and has not looked yet.
    pub(crate) rung: bool,
    /// When it heard the bell last.
    pub(crate) heard_at: Time,
    /// A reading is under way.
    pub(crate) reads: bool,
    /// The feed is opening lanes.
    pub(crate) opens: bool,
    /// When it opened lanes last.
    pub(crate) opened_at: Time,
    /// Since when it had lain there when it asked for the reading under way.
    pub(crate) reads_asleep_since: Option<Time>,
    /// When the last claim was sent; a flawed list of parked events is as old.
    pub(crate) claimed_at: Time,
}

/// How a process began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth {
    pub(crate) incarnation: u32,
    pub(crate) at: Time,
    pub(crate) delivery: Delivery,
}

/// An event in a relay's memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InHand {
    pub(crate) event: u32,
    /// Its place among the parked events, if it comes from there.
    pub(crate) parked: Option<ParkedKey>,
    /// It goes to the dead-letter topic.
    pub(crate) dying: bool,
    /// The life of the database's history in which it was handed over.
    pub(crate) timeline: u32,
}

/// What the store remembers in the relay's process.
pub(crate) struct Client {
    /// Where each open lane will be read on.
    pub(crate) cursors: BTreeMap<u16, Mark>,
    known: BTreeMap<u16, Known>,
    /// The timeline that the cursors speak of.
    pub(crate) timeline: Option<u32>,
    pub(crate) turn: usize,
    /// The last id that was given, at the reading before.
    pub(crate) newest: Option<u64>,
    /// Since when lanes that have read all wait for others that have not.
    pub(crate) others_wait_since: Option<Time>,
}

/// What is known of a lane's position.
#[derive(Clone, Copy, Debug)]
struct Known {
    epoch: u64,
    /// The only version that the next settlement may follow.
    version: u64,
    /// The timeline on which it was opened.
    timeline: u32,
    /// The last call that was answered.
    answered: Option<u64>,
}

/// A version that no position has.
const NOT_OPEN: u64 = u64::MAX;

impl Relay {
    pub(crate) fn new(plan: &Plan, name: usize, birth: Birth, flaw: Option<Flaw>) -> Self {
        let Birth { incarnation, at: now, delivery } = birth;
        // Somebody may have started one without.
        let dead_letters = plan.settings.dead_letters && !(plan.some_without_letters && incarnation % 3 == 2);
        Self {
            name,
            incarnation,
            up: true,
            frozen: false,
            draining: false,
            started_at: now,
            frozen_at: 0,
            stood_still: 0,
            core: core(plan, birth, dead_letters, flaw),
            exactly_once: delivery == Delivery::ExactlyOnce,
            dead_letters,
            sessions: [None; 2],
            held: BTreeMap::new(),
            told: None,
            intended: None,
            resolves: 0,
            heard: None,
            client: Client {
                cursors: BTreeMap::new(),
                known: BTreeMap::new(),
                timeline: None,
                turn: 0,
                newest: None,
                others_wait_since: None,
            },
            topics_known: vec![plan.topics_known; plan.partitions.len() + 1],
            inbox: Vec::new(),
            wake_at: Time::MAX,
            bed: None,
            rung: false,
            heard_at: 0,
            reads: false,
            opens: false,
            opened_at: 0,
            reads_asleep_since: None,
            claimed_at: 0,
        }
    }

    /// The time since it started, by its own clock.
    pub(crate) fn clock(&self, now: Time) -> Duration {
        Duration::from_micros(now - self.started_at - self.stood_still)
    }
}

impl Client {
    pub(crate) fn open(&mut self, lease: Lease, version: u64, mark: Mark, timeline: u32) {
        let known = Known { epoch: lease.epoch, version, timeline, answered: None };
        self.known.insert(lease.lane.0, known);
        self.cursors.insert(lease.lane.0, mark);
    }

    pub(crate) fn close(&mut self, lanes: &[Lane]) {
        for lane in lanes {
            self.cursors.remove(&lane.0);
            self.known.remove(&lane.0);
        }
    }

    /// A call was answered: the lane's position has this version now.
    pub(crate) fn note(&mut self, lease: Lease, version: u64, call: u64) {
        if let Some(known) = self.known.get_mut(&lease.lane.0).filter(|known| known.epoch == lease.epoch) {
            (known.version, known.answered) = (version, Some(call));
        }
    }

    /// The version that a call must follow (`None`: it was answered already), and on which timeline its lane was opened
    /// (`None`: it is not open).
    pub(crate) fn version_before(&self, lease: Lease, call: u64) -> (Option<u64>, Option<u32>) {
        match self.known.get(&lease.lane.0).filter(|known| known.epoch == lease.epoch) {
            None => (Some(NOT_OPEN), None),
            Some(known) => ((known.answered != Some(call)).then_some(known.version), Some(known.timeline)),
        }
    }
}

fn core(plan: &Plan, birth: Birth, dead_letters: bool, flaw: Option<Flaw>) -> Core<Mark> {
    let Birth { incarnation, delivery, .. } = birth;
    let mut settings = plan.settings.clone();
    settings.delivery = delivery;
    settings.seed = plan.seed ^ u64::from(incarnation) << 32;
    settings.dead_letters = dead_letters;
    let mut core = Core::new(settings, &capabilities(plan.bell.is_some()), abilities(flaw));
    for (topic, policy) in plan.retries.iter().enumerate() {
        core.set_retry(TopicId(topic as u32), policy.clone());
    }
    core
}

fn capabilities(doorbell: bool) -> Capabilities {
    Capabilities {
        order: Order::Strict,
        keeps: Keeps::Log,
        ownership: Ownership::PerLane,
        stall: Stall::None,
        savepoints: true,
        doorbell,
        events_per_transaction_max: u64::MAX,
        in_table: true,
        payload_bytes_max: 1 << 20,
        settle_items_max: 4,
        intents: true,
    }
}

/// What the model of librdkafka can do, or claims to.
fn abilities(flaw: Option<Flaw>) -> Abilities {
    let silence = Duration::from_micros(FORGETS_AFTER);
    Abilities {
        pipeline: Pipeline::Gapless,
        first_alone: (flaw != Some(Flaw::PipelinesFirst)).then_some(silence),
        refusal: if flaw == Some(Flaw::BelievesBatchRefusal) {
            Refusal::PerRecord
        } else {
            Refusal::PerBatch
        },
        durable_ack: true,
        transactions: NonZeroU32::new(if flaw == Some(Flaw::EndsAreReadable) { 1 } else { IDS as u32 }),
    }
}

/// After so long a silence the broker may have forgotten a producer.
const FORGETS_AFTER: Time = 6 * SECOND;
