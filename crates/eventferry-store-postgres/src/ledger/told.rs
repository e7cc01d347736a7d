//! What a settlement tells the server, column by column.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use eventferry_core::parked::{
    CAUSE_MESSAGE_CHARS_MAX, Cause, Change, End, Next, Park, ParkReason, ParkedKey,
};
use eventferry_core::store::Settlement;
use eventferry_core::{PackedRow, Row};
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::positions::Positions;
use crate::enqueue::byte_array_text;
use crate::window::{History, PostgresMark, Window};

type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// The arguments of `settle.sql` and `settle_parked.sql`.
#[derive(Default)]
pub(super) struct Told {
    history: Option<History>,
    pub(super) lanes: Vec<i32>,
    epochs: Vec<i64>,
    pub(super) versions: Vec<i64>,
    /// Where each lane stands afterwards; `None`: it is not open.
    pub(super) marks: Vec<Option<PostgresMark>>,
    windows: Vec<Uuid>,
    last_ids: Vec<i64>,
    lsns: Vec<Option<i64>>,
    ordinals: Vec<Option<i64>>,
    newest_ids: Vec<Option<i64>>,
    pub(super) new: NewWindows,
    tellings: Vec<i64>,
    parks: Parks,
    changes: Changes,
    /// `None`: without transactions.
    carries: Option<Vec<i64>>,
}

/// Windows that the ledger may not have yet.
#[derive(Default)]
pub(super) struct NewWindows {
    pub(super) windows: BTreeMap<Uuid, Arc<Window>>,
    ids: Vec<Uuid>,
    prevs: Vec<String>,
    curs: Vec<String>,
    floors: Vec<i64>,
    late_floors: Vec<i64>,
    restored: Vec<i64>,
}

#[derive(Default)]
struct Parks {
    lanes: Vec<i32>,
    ids: Vec<i64>,
    states: Vec<&'static str>,
    pauses: Vec<Option<i64>>,
    classes: Vec<Option<String>>,
    messages: Vec<Option<String>>,
    copies: Copies,
}

/// Columns of events to park that came from the log's tail; `None` and empty for others, which the server copies
/// itself.
#[derive(Default)]
struct Copies {
    created: Vec<Option<i64>>,
    message_ids: Vec<Option<Uuid>>,
    topics: Vec<Option<String>>,
    types: Vec<Option<String>>,
    aggregates: Vec<Option<String>>,
    keys: Vec<Option<Vec<u8>>>,
    payloads: Vec<Option<Vec<u8>>>,
    content_types: Vec<Option<String>>,
    headers: Vec<Option<String>>,
    partitions: Vec<Option<i32>>,
}

impl Copies {
    fn add(&mut self, row: Option<&PackedRow>) {
        self.created.push(row.map(|row| row.enqueued_at().0));
        self.message_ids.push(row.map(|row| Uuid::from_bytes(row.message_id().0)));
        self.topics.push(row.map(|row| row.topic().to_owned()));
        self.types.push(row.map(|row| row.aggregate_type().to_owned()));
        self.aggregates.push(row.map(|row| row.aggregate_id().to_owned()));
        self.keys.push(row.and_then(|row| row.key().map(<[u8]>::to_vec)));
        self.payloads.push(row.and_then(|row| row.payload().map(<[u8]>::to_vec)));
        self.content_types.push(row.and_then(|row| row.content_type().map(str::to_owned)));
        self.headers.push(row.and_then(|row| {
            let mut parts: Vec<Vec<u8>> = Vec::new();
            row.headers(&mut |name, value| parts.extend([name.as_bytes().to_vec(), value.to_vec()]));
            byte_array_text(parts.iter().map(Vec::as_slice))
        }));
        self.partitions.push(row.and_then(Row::partition));
    }

    fn params(&self) -> [Param<'_>; 10] {
        [
            (&self.created, Type::INT8_ARRAY),
            (&self.message_ids, Type::UUID_ARRAY),
            (&self.topics, Type::TEXT_ARRAY),
            (&self.types, Type::TEXT_ARRAY),
            (&self.aggregates, Type::TEXT_ARRAY),
            (&self.keys, Type::BYTEA_ARRAY),
            (&self.payloads, Type::BYTEA_ARRAY),
            (&self.content_types, Type::TEXT_ARRAY),
            (&self.headers, Type::TEXT_ARRAY),
            (&self.partitions, Type::INT4_ARRAY),
        ]
    }
}

#[derive(Default)]
struct Changes {
    lanes: Vec<i32>,
    ordinals: Vec<i64>,
    /// Which one of its event's changes it is: they are applied in order.
    rounds: Vec<i32>,
    whats: Vec<&'static str>,
    pauses: Vec<Option<i64>>,
    attempts: Vec<Option<i32>>,
    classes: Vec<Option<String>>,
    messages: Vec<Option<String>>,
    rounds_of: BTreeMap<ParkedKey, i32>,
}

/// A version that no position has: its settlement is fenced or stale.
const NOT_OPEN: i64 = -1;

/// A last id that no position has: the lane stays where it is.
const STAYS: i64 = -1;

impl Told {
    pub(super) fn of(settlements: &[Settlement<'_, PostgresMark, PackedRow>], positions: &Positions) -> Self {
        let mut told = Self { history: positions.history(), ..Self::default() };
        if let Some(mark) = settlements.iter().find_map(|settlement| settlement.prefix.last()) {
            told.history = Some(mark.window.history);
        }
        for settlement in settlements {
            told.add(settlement, positions);
        }
        told
    }

    /// What a transaction settles when it is committed. A lane without a mark stays where it will be then.
    pub(super) fn intended(
        settlements: &[Settlement<'_, PostgresMark, PackedRow>],
        positions: &Positions,
    ) -> Self {
        let mut told = Self { history: positions.history(), ..Self::default() };
        for settlement in settlements {
            let mark = settlement.prefix.last();
            told.history = mark.map(|mark| mark.window.history).or(told.history);
            if let Some(mark) = mark {
                // Whoever carries it out may not have it, whatever was recorded in the meantime.
                told.new.add(&mark.window);
            }
            told.push(settlement, STAYS, mark);
        }
        told
    }

    fn add(&mut self, settlement: &Settlement<'_, PostgresMark, PackedRow>, positions: &Positions) {
        let known = positions.of(settlement.lease);
        let mark = match (settlement.prefix.last(), &known) {
            // A later one was answered already: this one comes late.
            (Some(mark), Some(known)) if mark.place() < known.mark.place() => return,
            // The lane stays where it is. Told again, what became of parked events changes nothing.
            (Some(mark), Some(known)) if mark.place() == known.mark.place() => {
                if settlement.changes.is_empty() {
                    return;
                }
                Some(known.mark.clone())
            }
            (Some(mark), _) => Some(mark.clone()),
            // It stays where it is, in a version of its own: what was told before comes late from now on.
            (None, known) => known.as_ref().map(|known| known.mark.clone()),
        };
        if let Some(carries) = settlement.carries {
            self.carries.get_or_insert_default().push(carries.cast_signed());
        }
        if let Some(mark) = mark.as_ref().filter(|mark| !mark.window.is_recorded()) {
            self.new.add(&mark.window);
        }
        self.push(settlement, known.map_or(NOT_OPEN, |known| known.version), mark.as_ref());
        self.marks.push(mark);
    }

    fn push(
        &mut self,
        settlement: &Settlement<'_, PostgresMark, PackedRow>,
        version: i64,
        mark: Option<&PostgresMark>,
    ) {
        let lane = i32::from(settlement.lease.lane.0);
        self.lanes.push(lane);
        self.epochs.push(settlement.lease.epoch as i64);
        self.versions.push(version);
        self.windows.push(mark.map_or(Uuid::nil(), |mark| mark.window.id));
        self.last_ids.push(mark.map_or(STAYS, |mark| mark.last_id));
        let tail = mark.and_then(|mark| mark.tail);
        self.lsns.push(tail.map(|tail| tail.lsn.cast_signed()));
        self.ordinals.push(tail.map(|tail| tail.ordinal));
        self.newest_ids.push(tail.and_then(|tail| tail.newest_id));
        let mut telling = Telling::new();
        for (key, change) in &settlement.changes {
            self.changes.add(*key, change, &mut telling);
        }
        for park in &settlement.park {
            self.parks.add(lane, park, &mut telling);
        }
        self.tellings.push(telling.number());
    }

    /// Whether it is positions alone that move: the usual case, which has a statement of its own.
    pub(super) fn is_plain(&self) -> bool {
        self.parks.lanes.is_empty() && self.changes.lanes.is_empty()
    }

    /// Whether a lane stands in the log's tail, which has a statement of its own.
    pub(super) fn is_of_tail(&self) -> bool {
        self.lsns.iter().any(Option::is_some)
    }

    /// The parameters of `settle.sql`, `settle_parked.sql` or `settle_tail.sql`.
    pub(super) fn params<'a>(&'a self, relay: &'a &'a str) -> Vec<Param<'a>> {
        let mut params = self.first_params(relay);
        if !self.is_plain() || self.is_of_tail() {
            params.extend(self.more_params());
        }
        if self.is_of_tail() {
            params.extend(self.tail_params());
        }
        params.push((&self.carries, Type::INT8_ARRAY));
        params
    }

    fn first_params<'a>(&'a self, relay: &'a &'a str) -> Vec<Param<'a>> {
        let history = self.history.as_ref().unwrap_or(&History::NONE);
        vec![
            (relay, Type::TEXT),
            (&history.system_identifier, Type::INT8),
            (&history.timeline, Type::INT4),
            (&self.lanes, Type::INT4_ARRAY),
            (&self.epochs, Type::INT8_ARRAY),
            (&self.versions, Type::INT8_ARRAY),
            (&self.windows, Type::UUID_ARRAY),
            (&self.last_ids, Type::INT8_ARRAY),
            (&self.new.ids, Type::UUID_ARRAY),
            (&self.new.prevs, Type::TEXT_ARRAY),
            (&self.new.curs, Type::TEXT_ARRAY),
            (&self.new.floors, Type::INT8_ARRAY),
            (&self.new.late_floors, Type::INT8_ARRAY),
            (&self.new.restored, Type::INT8_ARRAY),
        ]
    }

    /// The parameters of `settle_tail.sql` but for the last, whatever there is of them: those of `intend.sql` begin so.
    pub(super) fn all_params<'a>(&'a self, relay: &'a &'a str) -> Vec<Param<'a>> {
        let mut params = self.first_params(relay);
        params.extend(self.more_params());
        params.extend(self.tail_params());
        params
    }

    fn more_params(&self) -> Vec<Param<'_>> {
        let mut params: Vec<Param<'_>> = vec![(&self.tellings, Type::INT8_ARRAY)];
        params.extend(self.parks.params());
        params.extend(self.changes.params());
        params
    }

    fn tail_params(&self) -> Vec<Param<'_>> {
        let mut params: Vec<Param<'_>> = vec![
            (&self.lsns, Type::INT8_ARRAY),
            (&self.ordinals, Type::INT8_ARRAY),
            (&self.newest_ids, Type::INT8_ARRAY),
        ];
        params.extend(self.parks.copies.params());
        params
    }
}

impl NewWindows {
    fn add(&mut self, window: &Arc<Window>) {
        if self.windows.insert(window.id, Arc::clone(window)).is_some() {
            return;
        }
        self.ids.push(window.id);
        self.prevs.push(window.prev.clone());
        self.curs.push(window.cur.clone());
        self.floors.push(window.bounds.floor);
        self.late_floors.push(window.bounds.late_floor);
        self.restored.push(window.bounds.restored_through);
    }
}

impl Parks {
    fn add(&mut self, lane: i32, park: &Park<'_, PostgresMark, PackedRow>, telling: &mut Telling) {
        let (state, pause, cause) = match park.reason {
            ParkReason::Refused { cause, next } => {
                let (state, pause) = refused(next);
                (state, pause, Some(cause))
            }
            ParkReason::TopicHeld(cause) => ("topic_held", None, Some(cause)),
            ParkReason::Behind => ("behind", None, None),
        };
        let id = park.mark.tail.map_or(park.mark.last_id, |tail| tail.id);
        self.lanes.push(lane);
        self.ids.push(id);
        self.copies.add(park.mark.tail.map(|_| park.row));
        self.states.push(state);
        self.pauses.push(pause);
        self.classes.push(cause.map(|cause| kept(cause.class)));
        self.messages.push(cause.map(|cause| kept(cause.message)));
        telling.add(state, &[id, pause.unwrap_or(-1)], cause);
    }

    fn params(&self) -> [Param<'_>; 6] {
        [
            (&self.lanes, Type::INT4_ARRAY),
            (&self.ids, Type::INT8_ARRAY),
            (&self.states, Type::TEXT_ARRAY),
            (&self.pauses, Type::INT8_ARRAY),
            (&self.classes, Type::TEXT_ARRAY),
            (&self.messages, Type::TEXT_ARRAY),
        ]
    }
}

impl Changes {
    fn add(&mut self, key: ParkedKey, change: &Change<'_>, telling: &mut Telling) {
        let (what, pause, attempts, cause) = match *change {
            Change::Refused { cause, attempts, next } => {
                let (what, pause) = refused(next);
                (what, pause, Some(i32::try_from(attempts).unwrap_or(i32::MAX)), Some(cause))
            }
            Change::Postponed(pause) => ("postponed", Some(micros(pause)), None, None),
            Change::Retried => ("retried", None, None, None),
            Change::Held => ("held", None, None, None),
            Change::Settled(End::Shipped) => ("shipped", None, None, None),
            Change::Settled(End::DeadLettered) => ("dead_lettered", None, None, None),
            Change::Settled(End::Discarded) => ("discarded", None, None, None),
            Change::DecisionRefused => ("decision_refused", None, None, None),
        };
        let round = self.rounds_of.entry(key).or_insert(0);
        *round += 1;
        self.lanes.push(i32::from(key.lane.0));
        self.ordinals.push(key.ordinal);
        self.rounds.push(*round);
        self.whats.push(what);
        self.pauses.push(pause);
        self.attempts.push(attempts);
        self.classes.push(cause.map(|cause| kept(cause.class)));
        self.messages.push(cause.map(|cause| kept(cause.message)));
        let numbers = [key.ordinal, pause.unwrap_or(-1), attempts.map_or(-1, i64::from)];
        telling.add(what, &numbers, cause);
    }

    fn params(&self) -> [Param<'_>; 8] {
        [
            (&self.lanes, Type::INT4_ARRAY),
            (&self.ordinals, Type::INT8_ARRAY),
            (&self.rounds, Type::INT4_ARRAY),
            (&self.whats, Type::TEXT_ARRAY),
            (&self.pauses, Type::INT8_ARRAY),
            (&self.attempts, Type::INT4_ARRAY),
            (&self.classes, Type::TEXT_ARRAY),
            (&self.messages, Type::TEXT_ARRAY),
        ]
    }
}

fn refused(next: Next) -> (&'static str, Option<i64>) {
    match next {
        Next::Retry(pause) => ("refused_retry", Some(micros(pause))),
        Next::Wait => ("refused_wait", None),
        Next::Die => ("refused_die", None),
    }
}

/// A time in microseconds; no longer than a century, which a timestamp can hold.
pub(crate) fn micros(time: Duration) -> i64 {
    const CENTURY: Duration = Duration::from_secs(100 * 366 * 86_400);
    i64::try_from(time.min(CENTURY).as_micros()).unwrap_or(i64::MAX)
}

/// A cause's text as it is kept: not longer than promised, and without the one character that a text cannot hold here.
fn kept(text: &str) -> String {
    let cut = text.char_indices().nth(CAUSE_MESSAGE_CHARS_MAX).map_or(text, |(end, _)| &text[..end]);
    cut.replace('\0', "\u{fffd}")
}

/// What is told of one lane beside its position, as one number: FNV-1a over it all, 0 if it is nothing. The same call
/// made again has the same; what comes late from a connection thought lost, to the same version and place, has not.
struct Telling(Option<u64>);

impl Telling {
    fn new() -> Self {
        Self(None)
    }

    fn add(&mut self, what: &str, numbers: &[i64], cause: Option<Cause<'_>>) {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let mut hash = self.0.unwrap_or(OFFSET);
        let mut add = |bytes: &[u8]| {
            for byte in bytes.iter().chain(&[0xff]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
            }
        };
        add(what.as_bytes());
        for number in numbers {
            add(&number.to_be_bytes());
        }
        if let Some(Cause { class, message }) = cause {
            add(class.as_bytes());
            add(message.as_bytes());
        }
        self.0 = Some(hash);
    }

    fn number(&self) -> i64 {
        self.0.map_or(0, |hash| hash.max(1).cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_causes_text_is_cut_between_characters_and_holds_no_nul() {
        assert_eq!(kept(&"ü".repeat(1_001)), "ü".repeat(1_000));
        assert_eq!(kept("a\0b"), "a\u{fffd}b");
        assert_eq!(kept(""), "");
    }

    #[test]
    fn a_time_beyond_all_measure_fits_a_timestamp() {
        assert_eq!(micros(Duration::MAX), 3_162_240_000_000_000);
        assert_eq!(micros(Duration::from_micros(7)), 7);
    }

    #[test]
    fn what_is_told_tells_one_call_from_another() {
        let number = |told: &[(&str, i64)]| {
            let mut telling = Telling::new();
            told.iter().for_each(|(what, ordinal)| telling.add(what, &[*ordinal], None));
            telling.number()
        };
        assert_eq!(number(&[]), 0);
        assert_eq!(number(&[("shipped", 1)]), number(&[("shipped", 1)]));
        assert_ne!(number(&[("shipped", 1)]), number(&[("shipped", 2)]));
        assert_ne!(number(&[("shipped", 1)]), number(&[("discarded", 1)]));
        assert_ne!(number(&[("shipped", 1), ("shipped", 2)]), number(&[("shipped", 2), ("shipped", 1)]));
    }
}
