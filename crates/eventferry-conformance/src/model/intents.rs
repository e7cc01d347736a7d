//! What the model settles when a transaction of the broker's is committed.

use eventferry_core::parked::{Cause, Change, Next, Park, ParkReason, ParkedKey};
use eventferry_core::store::{Intent, Settlement, Verdict};
use eventferry_core::transaction::{Agreement, Resolved};
use eventferry_core::{Lane, Lease, Stamp, StoredEvent};

use super::flaw::Flaw;
use super::ledger::settle;
use super::store::ModelMark;
use super::world::World;

/// An intent, and the one committed before it.
#[derive(Clone, Debug)]
pub(super) struct IntentRow {
    stamp: Stamp,
    after: u64,
    /// Nothing, once it is carried out.
    lanes: Vec<Told>,
}

/// A settlement of its own.
#[derive(Clone, Debug)]
struct Told {
    lane: Lane,
    prefix: Vec<ModelMark>,
    parks: Vec<(ModelMark, StoredEvent, Why)>,
    changes: Vec<(ParkedKey, What)>,
}

/// A [`Cause`] of its own.
#[derive(Clone, Debug)]
struct Words {
    class: String,
    message: String,
}

impl Words {
    fn of(Cause { class, message }: Cause<'_>) -> Self {
        Self { class: class.into(), message: message.into() }
    }

    fn cause(&self) -> Cause<'_> {
        Cause { class: &self.class, message: &self.message }
    }
}

/// A [`ParkReason`] of its own.
#[derive(Clone, Debug)]
enum Why {
    Refused(Words, Next),
    TopicHeld(Words),
    Behind,
}

impl Why {
    fn of(reason: ParkReason<'_>) -> Self {
        match reason {
            ParkReason::Refused { cause, next } => Self::Refused(Words::of(cause), next),
            ParkReason::TopicHeld(cause) => Self::TopicHeld(Words::of(cause)),
            ParkReason::Behind => Self::Behind,
        }
    }

    fn reason(&self) -> ParkReason<'_> {
        match self {
            Self::Refused(words, next) => ParkReason::Refused { cause: words.cause(), next: *next },
            Self::TopicHeld(words) => ParkReason::TopicHeld(words.cause()),
            Self::Behind => ParkReason::Behind,
        }
    }
}

/// A [`Change`] of its own.
#[derive(Clone, Debug)]
enum What {
    Refused { words: Words, attempts: u32, next: Next },
    Other(Change<'static>),
}

impl What {
    fn of(change: Change<'_>) -> Self {
        Self::Other(match change {
            Change::Refused { cause, attempts, next } => {
                return Self::Refused { words: Words::of(cause), attempts, next };
            }
            Change::Postponed(pause) => Change::Postponed(pause),
            Change::Retried => Change::Retried,
            Change::Held => Change::Held,
            Change::Settled(end) => Change::Settled(end),
            Change::DecisionRefused => Change::DecisionRefused,
        })
    }

    fn change(&self) -> Change<'_> {
        match self {
            Self::Refused { words, attempts, next } => {
                Change::Refused { cause: words.cause(), attempts: *attempts, next: *next }
            }
            Self::Other(change) => *change,
        }
    }
}

impl Told {
    fn of(world: &World, told: &Settlement<'_, ModelMark, StoredEvent>) -> Self {
        let park =
            |park: &Park<'_, ModelMark, StoredEvent>| (*park.mark, park.row.clone(), Why::of(park.reason));
        let change = |(key, change): &(ParkedKey, Change<'_>)| (*key, What::of(*change));
        let (parks, changes) = (told.park.iter().map(park), told.changes.iter().map(change));
        Self {
            lane: told.lease.lane,
            prefix: told.prefix.to_vec(),
            parks: if world.has(Flaw::IntendsNoParks) { Vec::new() } else { parks.collect() },
            changes: if world.has(Flaw::IntendsNoChanges) { Vec::new() } else { changes.collect() },
        }
    }

    /// Settles it with the transaction of this number, unless its lane has done that.
    fn carry_out(&self, world: &mut World, number: u64) {
        let carried_twice = world.has(Flaw::CarriesOutTwice);
        let Some(row) = world.lane(self.lane) else { return };
        if row.carries >= number && !carried_twice {
            return;
        }
        let (epoch, position) = (row.epoch, row.position.unwrap_or(0));
        // What lies behind the position already moves nothing, but its changes are not told yet.
        let goes_on = self.prefix.last().is_some_and(|mark| mark.0 > position);
        let park = |(mark, row, why): &'_ (ModelMark, StoredEvent, Why)| (*mark, row.clone(), why.clone());
        let parks: Vec<_> = self.parks.iter().filter(|_| goes_on).map(park).collect();
        let settlement = Settlement {
            lease: Lease { lane: self.lane, epoch },
            prefix: if goes_on { &self.prefix } else { &[] },
            park: parks.iter().map(|(mark, row, why)| Park { mark, row, reason: why.reason() }).collect(),
            changes: self.changes.iter().map(|(key, what)| (*key, what.change())).collect(),
            carries: Some(number),
        };
        settle(world, &settlement);
        if let Some(row) = world.lane(self.lane) {
            row.carries = number;
        }
    }
}

impl World {
    /// Whether all these leases hold.
    fn holds(&mut self, leases: &[Lease]) -> bool {
        leases.iter().all(|lease| {
            self.lane(lease.lane).is_some_and(|row| row.epoch == lease.epoch && row.owner.is_some())
        })
    }

    /// The greatest number given to a transaction; 0: none.
    fn newest(&self) -> u64 {
        let intents = self.intents.iter().map(|row| row.stamp.number).max().unwrap_or(0);
        let carried = self.lanes.iter().map(|row| row.carries).max().unwrap_or(0);
        if self.has(Flaw::NumbersComeAgain) { intents } else { intents.max(carried) }
    }

    pub(super) fn intend(&mut self, intent: &Intent<'_, ModelMark, StoredEvent>) -> Verdict {
        let mut leases = intent.leases.to_vec();
        if self.has(Flaw::IntendsByItsOwnLanes) {
            leases = intent.settlements.iter().map(|told| told.lease).collect();
        }
        if !self.holds(&leases) && !self.has(Flaw::IntendsWithoutEpoch) {
            return Verdict::Fenced;
        }
        let newest = self.intents.iter().map(|row| row.stamp.number).max().unwrap_or(0);
        let is_late = intent.stamp.number <= newest && !self.has(Flaw::LateIntentCounts);
        if is_late {
            return Verdict::Done;
        }
        self.intents.retain(|row| row.stamp.number >= intent.settled);
        let lanes: Vec<Told> = intent.settlements.iter().map(|told| Told::of(self, told)).collect();
        if self.has(Flaw::IntendingSettles) {
            lanes.iter().for_each(|told| told.carry_out(self, intent.stamp.number));
        }
        self.intents.push(IntentRow { stamp: intent.stamp, after: intent.after, lanes });
        Verdict::Done
    }

    pub(super) fn resolve(&mut self, leases: &[Lease], committed: Option<Stamp>) -> Resolved {
        let newest = self.newest();
        let is_whole = leases.len() == self.lanes.len() || self.has(Flaw::ResolvesByItsOwnLanes);
        let may = is_whole && self.holds(leases);
        if !may && !self.has(Flaw::ResolvesWithoutEpoch) {
            return Resolved { agreement: Agreement::Fenced, newest };
        }
        let committed = match self.intents.last() {
            Some(last) if self.has(Flaw::TrustsTheNewestIntent) => Some(last.stamp),
            _ => committed,
        };
        let by_number = self.has(Flaw::ForgetsNonces);
        let is_it = |row: &&IntentRow| {
            committed
                .is_some_and(|stamp| row.stamp == stamp || (by_number && row.stamp.number == stamp.number))
        };
        let agreed = match committed {
            None => self.intents.is_empty() || self.has(Flaw::NoStampIsAgreed),
            Some(_) => self.intents.iter().any(|row| is_it(&row)),
        };
        if agreed {
            self.carry_out(committed.map_or(0, |stamp| stamp.number));
        }
        let keeps = !agreed && self.has(Flaw::PartedKeepsIntents);
        let forgets_it = self.has(Flaw::ForgetsTheCommitted);
        self.intents.retain(|row| keeps || agreed && is_it(&row) && !forgets_it);
        if !keeps {
            self.intents.iter_mut().for_each(|row| row.lanes.clear());
        }
        Resolved { agreement: if agreed { Agreement::Agreed } else { Agreement::Parted }, newest }
    }

    /// Carries out the chain that ends at this number, from its beginning.
    fn carry_out(&mut self, committed: u64) {
        let mut chain = Vec::new();
        let mut next = committed;
        while let Some(row) = self.intents.iter().find(|row| row.stamp.number == next) {
            (next, _) = (row.after, chain.push(row.clone()));
        }
        if self.has(Flaw::CarriesOutTheAborted) {
            chain = self.intents.iter().filter(|row| row.stamp.number <= committed).cloned().collect();
            chain.reverse();
        }
        if self.has(Flaw::CarriesOutTheLastAlone) {
            chain.truncate(1);
        }
        if self.has(Flaw::ResolvesNothing) {
            chain.clear();
        }
        for row in chain.iter().rev() {
            row.lanes.iter().for_each(|told| told.carry_out(self, row.stamp.number));
        }
    }
}
