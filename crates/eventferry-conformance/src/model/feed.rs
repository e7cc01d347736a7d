//! Reading the model's log on from where each lane was settled.

use std::collections::BTreeMap;

use eventferry_core::store::{Anchor, Feed, Keeps, Opened, Page, Rest, Wish};
use eventferry_core::{Lane, Lease, Record, StoreFault, StoredEvent};

use super::Shared;
use super::doorbell::Seen;
use super::flaw::Flaw;
use super::store::ModelMark;
use super::world::{Logged, World};

/// The model's events.
#[derive(Debug)]
pub struct ModelFeed {
    world: Shared,
    seen: Seen,
    open: BTreeMap<Lane, Cursor>,
    /// The latest enqueued event that was handed over. Only flawed models look at it.
    enqueued_max: u64,
    /// Up to where a flawed model reads before it looks whether there is more.
    horizon: Option<u64>,
}

/// How far a lane has been handed over since it was opened.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    place: u64,
    /// Only a flawed model looks at it: nothing enqueued before is read.
    enqueued_after: u64,
}

impl ModelFeed {
    pub(super) fn new(world: Shared, seen: Seen) -> Self {
        Self { world, seen, open: BTreeMap::new(), enqueued_max: 0, horizon: None }
    }

    /// The events to read next, at most as many as the wish says, and what to expect after them.
    fn next(&self, world: &World, wish: &Wish<'_>) -> (Vec<Logged>, Rest) {
        let horizon = self.horizon.unwrap_or(u64::MAX);
        let mut candidates: Vec<_> = world
            .log
            .iter()
            .filter(|event| event.place <= horizon && self.is_wished(world, wish, event))
            .collect();
        if world.has(Flaw::OrdersByTransaction) {
            candidates.sort_by_key(|event| event.transaction);
        }
        if world.has(Flaw::LateComeLast) {
            candidates.sort_by_key(|event| event.enqueued < self.enqueued_max);
        }
        if world.has(Flaw::NewestComeFirst) {
            candidates.reverse();
        }
        // Nothing may pass an event that is held back: it would be behind its lane's position.
        let stalled = candidates.iter().position(|event| world.stalls(event));
        candidates.truncate(stalled.unwrap_or(candidates.len()));
        let total = candidates.len();
        if !world.has(Flaw::IgnoresRecordsMax) {
            candidates.truncate(wish.records_max.max(1) as usize);
        }
        if !world.has(Flaw::IgnoresBytesMax) {
            candidates.truncate(fitting(&candidates, wish.bytes_max));
        }
        let is_all = candidates.len() == total;
        if world.has(Flaw::ReversesCutPages) && !is_all {
            candidates.reverse();
        }
        let since =
            world.open.values().next().filter(|_| stalled.is_some() && !world.has(Flaw::WaitsInSilence));
        let rest = match (is_all, since) {
            (false, _) => Rest::More,
            (true, Some(since)) => Rest::Waiting(*since),
            (true, None) if self.stands_still(world, wish) => Rest::Still,
            (true, None) => Rest::Quiet,
        };
        (candidates.into_iter().cloned().collect(), rest)
    }

    /// Whether nobody has committed anything since the reading before.
    fn stands_still(&self, world: &World, wish: &Wish<'_>) -> bool {
        let own = |event: &Logged| wish.lanes.contains(&event.lane);
        let moved = |event: &&Logged| event.place >= self.seen.get();
        let stirred =
            world.log.iter().filter(moved).any(|event| own(event) || !world.has(Flaw::StillIsItsOwnLanes));
        world.declared.capabilities.doorbell && !stirred
    }

    fn is_wished(&self, world: &World, wish: &Wish<'_>, event: &Logged) -> bool {
        let Some(cursor) = self.open.get(&event.lane) else { return false };
        let mut read_to = cursor.place;
        if world.has(Flaw::OneCursorForAllLanes) {
            read_to = self.open.values().map(|cursor| cursor.place).max().unwrap_or(0);
        }
        if world.has(Flaw::RepeatsItself) {
            read_to = read_to.saturating_sub(1);
        }
        let is_too_large = world.has(Flaw::SkipsTheOversized) && payload_bytes(event) > wish.bytes_max;
        (wish.lanes.contains(&event.lane) || world.has(Flaw::IgnoresTheWish))
            && event.place > read_to
            && event.enqueued > cursor.enqueued_after
            && !is_too_large
            && !self.is_parked(world, event)
    }

    /// Whether an event is parked or was: it comes no more, however far back a lane is opened.
    fn is_parked(&self, world: &World, event: &Logged) -> bool {
        let mut parked = world.parked.iter();
        let row = parked.find(|(key, row)| key.lane == event.lane && row.place == event.place);
        row.is_some_and(|(_, row)| {
            let comes_again =
                if row.end.is_some() { Flaw::RereadsTheSettled } else { Flaw::RereadsTheParked };
            !world.has(comes_again)
        })
    }

    /// Marks up to which every wished lane has been handed over: to the log's end, or to the last record of a page
    /// that was cut.
    fn passed(&self, world: &World, wish: &Wish<'_>, last: Option<u64>) -> Vec<(Lane, ModelMark)> {
        if world.declared.capabilities.keeps == Keeps::UntilSettled {
            return Vec::new();
        }
        let end = world.next_place - 1;
        let to = match last {
            Some(last) if !world.has(Flaw::PassesUnread) => last,
            _ => end,
        };
        let behind =
            wish.lanes.iter().filter(|lane| self.open.get(lane).is_some_and(|cursor| cursor.place < to));
        behind.map(|lane| (*lane, ModelMark(to))).collect()
    }
}

/// How many events fit into so many bytes of payload: one at least.
fn fitting(events: &[&Logged], bytes_max: u64) -> usize {
    let mut bytes = 0;
    let fit = events.iter().take_while(|event| {
        bytes += payload_bytes(event);
        bytes <= bytes_max
    });
    fit.count().max(1)
}

fn payload_bytes(event: &Logged) -> u64 {
    event.stored.event.payload.as_ref().map_or(0, Vec::len) as u64
}

impl Feed for ModelFeed {
    type Mark = ModelMark;
    type Row = StoredEvent;

    async fn open(&mut self, leases: &[Lease]) -> Result<Vec<Opened>, StoreFault> {
        let world = self.world.lock();
        let mut opened = Vec::new();
        for Lease { lane, .. } in leases {
            let row = &world.lanes[usize::from(lane.0)];
            let mut anchor = row.position.map_or(Anchor::First, |_| Anchor::Continued);
            let mut cursor = Cursor { place: row.position.unwrap_or(0), enqueued_after: 0 };
            if world.declared.capabilities.keeps == Keeps::UntilSettled {
                cursor.place = 0;
            }
            if row.rewound {
                anchor = Anchor::Restored;
            }
            if world.has(Flaw::AlwaysContinues) {
                anchor = Anchor::Continued;
            }
            if world.has(Flaw::StartsAtTheEnd) && row.position.is_none() {
                cursor.place = world.next_place - 1;
            }
            if world.has(Flaw::ForgetsTheUnsettled) {
                cursor.place = row.handed_over;
            }
            if world.has(Flaw::StartsOver) {
                cursor.place = 0;
            }
            if world.has(Flaw::NewOwnerForgetsTheLate) {
                let settled =
                    world.log.iter().filter(|event| event.lane == *lane && event.place <= cursor.place);
                cursor.enqueued_after = settled.map(|event| event.enqueued).max().unwrap_or(0);
            }
            if world.has(Flaw::ReopensWhereItWas)
                && let Some(before) = self.open.get(lane)
            {
                cursor = *before;
            }
            self.open.insert(*lane, cursor);
            opened.push(Opened { lane: *lane, anchor });
        }
        Ok(opened)
    }

    fn close(&mut self, lanes: &[Lane]) {
        let stays = self.world.lock().has(Flaw::ReopensWhereItWas);
        self.open.retain(|lane, _| stays || !lanes.contains(lane));
    }

    async fn read(&mut self, wish: Wish<'_>) -> Result<Page<ModelMark, StoredEvent>, StoreFault> {
        let mut world = self.world.lock();
        if world.has(Flaw::QuietTooSoon) {
            self.horizon.get_or_insert(world.next_place - 1);
        }
        let (events, rest) = self.next(&world, &wish);
        self.seen.set(world.next_place);
        let last = if rest.is_quiet() { None } else { Some(events.last().map_or(0, |event| event.place)) };
        for event in &events {
            self.enqueued_max = self.enqueued_max.max(event.enqueued);
            if let Some(cursor) = self.open.get_mut(&event.lane) {
                cursor.place = cursor.place.max(event.place);
            }
            if let Some(row) = world.lane(event.lane) {
                row.handed_over = row.handed_over.max(event.place);
            }
        }
        let horizon = if rest == Rest::More { self.horizon } else { self.horizon.take() };
        let last = last.or(horizon);
        let passed = self.passed(&world, &wish, last);
        for (lane, mark) in &passed {
            // What was passed need not be looked at again; a flawed model's own cursor knows better than its mark.
            if let Some(cursor) = self.open.get_mut(lane)
                && !world.has(Flaw::PassesUnread)
            {
                cursor.place = mark.0;
            }
        }
        let changes_times = world.has(Flaw::TimesAtReading);
        let changes_ids = world.has(Flaw::NamesAtReading);
        let records = events.into_iter().map(|event| {
            let mut row = event.stored;
            if changes_times {
                row.enqueued_at = world.now();
            }
            if changes_ids {
                row.message_id.0[..8].copy_from_slice(&world.number().to_be_bytes());
            }
            Record { lane: event.lane, mark: ModelMark(event.place), row }
        });
        Ok(Page { records: records.collect(), passed, rest })
    }
}
