//! What the model remembers: the log, the lanes, the relays, what is parked, and the time.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::task::Waker;
use std::time::Duration;

use eventferry_core::lane::LANES_DEFAULT;
use eventferry_core::parked::ParkedKey;
use eventferry_core::store::{LogGauge, RelayId, Stall};
use eventferry_core::{Event, Lane, MessageId, StoreFault, StoreFaultKind, StoredEvent, Timestamp};

use super::flaw::Flaw;
use super::intents::IntentRow;
use super::parked::ParkedRow;
use crate::clause::Declared;
use crate::subject::Audited;

/// Everything in one outbox.
#[derive(Debug)]
pub(super) struct World {
    pub(super) declared: Declared,
    pub(super) flaw: Option<Flaw>,
    clock: i64,
    /// Whether the schema is there.
    pub(super) made: bool,
    /// The place that the next committed event gets; never given twice.
    pub(super) next_place: u64,
    /// Committed events in the order of their places.
    pub(super) log: Vec<Logged>,
    pub(super) lanes: Vec<LaneRow>,
    pub(super) relays: BTreeMap<RelayId, Beat>,
    pub(super) parked: BTreeMap<ParkedKey, ParkedRow>,
    /// What is settled when a transaction is committed, in the order of their numbers.
    pub(super) intents: Vec<IntentRow>,
    /// What the outbox is called at the broker.
    pub(super) name: String,
    /// What people decided and did, line by line.
    pub(super) audit: Vec<Audited>,
    /// Transactions that have begun and not ended, by number, and since when.
    pub(super) open: BTreeMap<u64, Timestamp>,
    /// Where one transaction can write at a time: the one that does.
    pub(super) writing: Option<u64>,
    next_number: u64,
    /// Whom to wake when something is committed.
    pub(super) sleepers: Vec<Waker>,
    /// Set by a flawed sweep: whoever begins a transaction now is kept waiting.
    pub(super) locked: bool,
    /// What it says that the database's log keeps for relays.
    pub(super) kept: Option<LogGauge>,
}

/// A committed event.
#[derive(Clone, Debug)]
pub(super) struct Logged {
    pub(super) place: u64,
    pub(super) lane: Lane,
    pub(super) stored: StoredEvent,
    /// When among all events it was enqueued. Only flawed models look at it.
    pub(super) enqueued: u64,
    /// Its transaction's number: they count up as transactions begin. Only flawed models look at it.
    pub(super) transaction: u64,
}

/// A lane.
#[derive(Clone, Debug, Default)]
pub(super) struct LaneRow {
    pub(super) owner: Option<RelayId>,
    pub(super) epoch: u64,
    /// The last place that is settled; `None`: nothing ever was.
    pub(super) position: Option<u64>,
    /// The last transaction that is settled with the position; 0: none.
    pub(super) carries: u64,
    /// Whether positions were taken back since a relay last settled here.
    pub(super) rewound: bool,
    /// The last place that was handed over to anybody. Only flawed models look at it.
    pub(super) handed_over: u64,
}

/// A relay's heartbeat.
#[derive(Clone, Debug)]
pub(super) struct Beat {
    /// Which store instance beat: two of one name are two relays.
    pub(super) instance: u64,
    pub(super) last: Timestamp,
    pub(super) until: Timestamp,
}

impl World {
    pub(super) fn new(declared: Declared, flaw: Option<Flaw>) -> Self {
        Self {
            declared,
            flaw,
            clock: 1_700_000_000_000_000,
            made: false,
            next_place: 1,
            log: Vec::new(),
            lanes: vec![LaneRow::default(); usize::from(LANES_DEFAULT)],
            relays: BTreeMap::new(),
            parked: BTreeMap::new(),
            intents: Vec::new(),
            name: random_name(),
            audit: Vec::new(),
            open: BTreeMap::new(),
            writing: None,
            next_number: 1,
            sleepers: Vec::new(),
            locked: false,
            kept: None,
        }
    }

    /// Whether the model is broken in this way.
    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Throws everything away but the flaw and the time.
    pub(super) fn start_over(&mut self) {
        *self = Self { clock: self.clock, made: true, ..Self::new(self.declared.clone(), self.flaw) };
    }

    /// The time, later at each look.
    pub(super) fn now(&mut self) -> Timestamp {
        self.clock += 1;
        Timestamp(self.clock)
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.clock += micros(by);
    }

    /// Refuses whoever would write beside an open transaction, where only one can.
    pub(super) fn write(&self) -> Result<(), StoreFault> {
        match self.writing {
            None => Ok(()),
            Some(_) => Err(StoreFault::new(
                StoreFaultKind::Contended,
                "another transaction is writing; ask again when it has ended",
            )),
        }
    }

    /// Takes every lane's position back to the beginning, as a restored copy would.
    pub(super) fn rewind(&mut self) {
        for row in &mut self.lanes {
            (row.position, row.rewound) = (Some(0), true);
        }
    }

    /// Ends a transaction.
    pub(super) fn end(&mut self, transaction: u64) {
        self.open.remove(&transaction);
        self.writing = self.writing.filter(|writing| *writing != transaction);
    }

    /// Whether an event is held back because a transaction that began before its own is open still.
    pub(super) fn stalls(&self, event: &Logged) -> bool {
        let declares_so = self.declared.capabilities.stall == Stall::SlowestTransaction;
        let slowest = self.open.keys().next();
        (declares_so || self.has(Flaw::WaitsForTheSlow))
            && slowest.is_some_and(|slowest| *slowest < event.transaction)
    }

    /// A number that was never given before, greater than all of them.
    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub(super) fn lanes_total(&self) -> u16 {
        LANES_DEFAULT
    }

    pub(super) fn lane(&mut self, lane: Lane) -> Option<&mut LaneRow> {
        self.lanes.get_mut(usize::from(lane.0))
    }

    /// The last settled place of a lane; 0: none.
    pub(super) fn position(&self, lane: Lane) -> u64 {
        self.lanes.get(usize::from(lane.0)).and_then(|row| row.position).unwrap_or(0)
    }

    /// An event as it will stand in the log, once its transaction commits.
    pub(super) fn event_to_log(&mut self, event: &Event, transaction: u64) -> Logged {
        let stored = self.stored(event);
        let aggregate = &stored.event.aggregate;
        let mut lane = Lane::of(&aggregate.kind, &aggregate.id, self.lanes_total());
        if self.has(Flaw::HashesItsOwnWay) {
            lane = Lane::of(&aggregate.id, &aggregate.kind, self.lanes_total());
        }
        Logged { place: 0, lane, stored, enqueued: self.number(), transaction }
    }

    fn stored(&mut self, event: &Event) -> StoredEvent {
        let given = if self.has(Flaw::IgnoresGivenIds) { None } else { event.message_id };
        let message_id = match given {
            Some(id) => id,
            None if self.has(Flaw::CountsMessageIds) => {
                MessageId((u128::from(self.number()) << 64).to_be_bytes())
            }
            None => random_message_id(),
        };
        let mut event = event.clone();
        event.message_id = None;
        if let Some(flaw) = self.flaw {
            flaw.spoil(&mut event);
        }
        StoredEvent { message_id, event, enqueued_at: self.now() }
    }

    /// Commits: gives the transaction's events their places at the end of the log.
    pub(super) fn commit(&mut self, mut events: Vec<Logged>) {
        if self.has(Flaw::LosesLastOfTransaction) && events.len() > 1 {
            events.pop();
        }
        if self.has(Flaw::ReversesTransactions) {
            events.reverse();
        }
        for mut event in events {
            event.place = self.next_place;
            self.next_place += 1;
            if self.has(Flaw::PlacesAtEnqueue) {
                event.place = event.enqueued;
                self.next_place = self.next_place.max(event.place + 1);
            }
            self.log.push(event);
        }
        self.log.sort_by_key(|event| event.place);
        for sleeper in self.sleepers.drain(..) {
            sleeper.wake();
        }
    }

    /// Whether a relay's heartbeat has not run out.
    pub(super) fn is_live(&mut self, relay: &RelayId) -> bool {
        let now = self.now();
        if self.has(Flaw::NeverLapses) {
            return self.relays.contains_key(relay);
        }
        self.relays.get(relay).is_some_and(|beat| {
            let mut until = beat.until;
            if self.has(Flaw::LapsesEarly) {
                until.0 -= (beat.until.0 - beat.last.0) / 2;
            }
            until > now
        })
    }
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

/// A name that no other outbox has.
pub(super) fn random_name() -> String {
    random_message_id().0.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A random UUID, from the seeds that the standard library gives its hash maps.
fn random_message_id() -> MessageId {
    let half = || RandomState::new().build_hasher().finish().to_be_bytes();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&half());
    bytes[8..].copy_from_slice(&half());
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    MessageId(bytes)
}
