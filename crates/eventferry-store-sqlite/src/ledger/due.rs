//! Which parked events are due.
//!
//! Most parked events only wait behind the first one of their aggregate, so what is looked for is the first ones whose
//! time has come, by an index of times; from each, those behind it are gone over as far as they are due too. What waits
//! costs nothing: neither those behind a first one that is not due, nor those that wait for a person.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eventferry_core::PackedRow;
use eventferry_core::packed::Columns;
use eventferry_core::parked::{Death, Decided, DueAsk, DueEvent, DuePage, ParkedKey, Stage};
use eventferry_core::{Lane, StoreFault, Timestamp};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Transaction};

use super::words::{DECISIONS, one_of, stage_of};
use crate::connection::{Keeper, Past};
use crate::fault::fault;
use crate::feed::history_lost;
use crate::row::{bytes_of, columns_of, text_of};

const WHAT: &str = "look for parked events that are due";

/// A [`DueAsk`], as its thread gets it.
pub(super) struct DueRound {
    pub(super) lanes: BTreeSet<Lane>,
    pub(super) except_topics: BTreeSet<String>,
    pub(super) after: Option<ParkedKey>,
    pub(super) records_max: usize,
    pub(super) bytes_max: u64,
    /// The epoch and position at which each lane was seen last.
    pub(super) known: BTreeMap<Lane, (u64, i64)>,
}

impl DueRound {
    pub(super) fn of(ask: DueAsk<'_>, known: &BTreeMap<Lane, (u64, i64)>) -> Self {
        let lanes: BTreeSet<Lane> = ask.lanes.iter().copied().collect();
        Self {
            known: known
                .iter()
                .filter(|(lane, _)| lanes.contains(lane))
                .map(|(lane, at)| (*lane, *at))
                .collect(),
            lanes,
            except_topics: ask.except_topics.iter().map(|topic| (*topic).to_owned()).collect(),
            after: ask.after,
            records_max: ask.records_max as usize,
            bytes_max: ask.bytes_max,
        }
    }

    pub(super) fn run(self, keeper: &mut Keeper) -> Result<DuePage<PackedRow>, StoreFault> {
        let now = keeper.config.now();
        let (database, past) = keeper.database()?;
        if past == Past::Replaced {
            return Err(history_lost("another file was put in the place of the database"));
        }
        let transaction = database.snapshot(WHAT)?;
        let look = || {
            if self.went_back(&transaction)? {
                return Ok(None);
            }
            self.page(&transaction, now).map(Some)
        };
        let page = look().map_err(|error| fault(WHAT, error))?;
        transaction.commit().map_err(|error| fault(WHAT, error))?;
        let page =
            page.ok_or_else(|| history_lost("the database knows less than was settled: it was restored"))?;
        if page.events.iter().any(|event| event.death.is_some()) {
            // Decided by a former owner, perhaps, and visible only: it must hold whatever crashes, before the
            // dead-letter topic has the event.
            database.make_durable()?;
        }
        Ok(page)
    }

    /// Whether a lane is not as far any more as it was settled under the same lease.
    fn went_back(&self, transaction: &Transaction<'_>) -> rusqlite::Result<bool> {
        let mut statement = transaction.prepare_cached(include_str!("../../sql/went_back.sql"))?;
        for (lane, (epoch, position)) in &self.known {
            if statement.exists((lane.0, epoch, position))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn page(&self, transaction: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<DuePage<PackedRow>> {
        let mut look = Look::new(self, transaction, now)?;
        let (mut due, mut decisions, mut next_at) = (Vec::new(), Vec::new(), None::<i64>);
        for lane in parked_lanes(transaction)?.into_iter().filter(|lane| self.lanes.contains(lane)) {
            look.decisions(lane, &mut decisions)?;
            let earliest = look.next_at(lane)?;
            next_at = next_at.into_iter().chain(earliest).min();
            // One more than there is room for, to know whether there is one.
            if due.len() <= self.records_max && self.after.is_none_or(|after| lane >= after.lane) {
                due.extend(look.due(lane, self.records_max + 1 - due.len())?);
            }
        }
        let mut statements = RowStatements::new(transaction)?;
        let (mut events, mut bytes) = (Vec::new(), 0_u64);
        for Due { key, size_bytes } in &due {
            bytes = bytes.saturating_add(*size_bytes);
            if events.len() == self.records_max || (!events.is_empty() && bytes > self.bytes_max) {
                break;
            }
            events.push(statements.read(key.ordinal, due_event)?);
        }
        let next_in = next_at.map(|at| Duration::from_micros(at.abs_diff(now.0)));
        Ok(DuePage { more: events.len() < due.len(), events, decisions, next_in })
    }
}

/// The lanes that have unsettled parked events, in ascending order.
pub(crate) fn parked_lanes(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<Lane>> {
    let mut statement = transaction.prepare_cached(include_str!("../../sql/parked_lanes.sql"))?;
    let lanes = statement.query_map([], |row| Ok(Lane(row.get(0)?)))?;
    let mut lanes: Vec<_> = lanes.collect::<rusqlite::Result<_>>()?;
    lanes.sort_unstable();
    Ok(lanes)
}

/// An event that is due.
struct Due {
    key: ParkedKey,
    size_bytes: u64,
}

/// The statements that find what is due in one snapshot.
struct Look<'a> {
    round: &'a DueRound,
    now: Timestamp,
    topic: CachedStatement<'a>,
    heads: CachedStatement<'a>,
    run: CachedStatement<'a>,
    next: CachedStatement<'a>,
    decided: CachedStatement<'a>,
}

/// The stages in which an event goes somewhere by itself.
const MOVING: [(Stage, &str); 2] = [(Stage::Topic, "topic"), (Stage::DeadLetterTopic, "dead_letter_topic")];

impl<'a> Look<'a> {
    fn new(round: &'a DueRound, transaction: &'a Transaction<'_>, now: Timestamp) -> rusqlite::Result<Self> {
        Ok(Self {
            round,
            now,
            topic: transaction.prepare_cached(include_str!("../../sql/due_topic.sql"))?,
            heads: transaction.prepare_cached(include_str!("../../sql/due_heads.sql"))?,
            run: transaction.prepare_cached(include_str!("../../sql/due_run.sql"))?,
            next: transaction.prepare_cached(include_str!("../../sql/due_next.sql"))?,
            decided: transaction.prepare_cached(include_str!("../../sql/decided.sql"))?,
        })
    }

    fn decisions(&mut self, lane: Lane, decisions: &mut Vec<Decided>) -> rusqlite::Result<()> {
        let mut rows = self.decided.query((lane.0, self.round.records_max - decisions.len()))?;
        while let Some(row) = rows.next()? {
            let Some(decision) = one_of(&DECISIONS, row.get_ref(4)?)? else { continue };
            decisions.push(Decided {
                key: ParkedKey { lane: Lane(row.get(0)?), ordinal: row.get(1)? },
                aggregate_type: text_of(row.get_ref(2)?).unwrap_or_default().into_owned(),
                aggregate_id: text_of(row.get_ref(3)?).unwrap_or_default().into_owned(),
                decision,
                stage: stage_of(row.get_ref(5)?)?,
            });
        }
        Ok(())
    }

    /// When the next event of a lane falls due.
    fn next_at(&mut self, lane: Lane) -> rusqlite::Result<Option<i64>> {
        let mut next_at = None::<i64>;
        for (stage, word) in MOVING {
            for topic in self.topics(lane, stage, word)? {
                let asked = (lane.0, word, text(&topic), self.now.0);
                let earliest: Option<i64> = self.next.query_row(asked, |row| row.get(0))?;
                next_at = next_at.into_iter().chain(earliest).min();
            }
        }
        Ok(next_at)
    }

    /// Up to so many events of a lane that are due, in the order of their keys. An aggregate whose first one is in
    /// hand, or was passed over, is left out: what waits behind that one must not come without it.
    fn due(&mut self, lane: Lane, limit: usize) -> rusqlite::Result<Vec<Due>> {
        let above = self.round.after.filter(|after| after.lane == lane).map_or(0, |after| after.ordinal);
        let mut due = Vec::new();
        for (stage, word) in MOVING {
            for topic in self.topics(lane, stage, word)? {
                let asked = (lane.0, word, text(&topic), self.now.0, above);
                let heads: Vec<i64> =
                    self.heads.query_map(asked, |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
                for head in heads {
                    self.go_over(lane, head, limit, &mut due)?;
                }
            }
        }
        due.sort_unstable_by_key(|due| due.key);
        due.truncate(limit);
        Ok(due)
    }

    /// The topics of a lane's events of a stage that have a time, without those that are left out. What was given up
    /// is for the dead-letter topic, whatever its own, and is not left out.
    fn topics(&mut self, lane: Lane, stage: Stage, word: &str) -> rusqlite::Result<Vec<Vec<u8>>> {
        let except_topics = &self.round.except_topics;
        let (mut topics, mut last) = (Vec::new(), Vec::new());
        loop {
            let mut rows = self.topic.query((lane.0, word, text(&last)))?;
            let Some(topic) = rows.next()?.map(|row| row.get_ref(0)).transpose()?.and_then(bytes_of) else {
                return Ok(topics);
            };
            last = topic.to_vec();
            let is_left_out = except_topics.contains(String::from_utf8_lossy(topic).as_ref());
            if stage == Stage::DeadLetterTopic || !is_left_out {
                topics.push(last.clone());
            }
        }
    }

    /// Adds the events of an aggregate from its first one on, as far as they are due; no more than can be of use.
    fn go_over(&mut self, lane: Lane, head: i64, limit: usize, due: &mut Vec<Due>) -> rusqlite::Result<()> {
        let (round, now) = (self.round, self.now.0);
        let mut room = limit;
        let mut rows = self.run.query([head])?;
        while let Some(row) = rows.next()? {
            let due_at: Option<i64> = row.get(3)?;
            let topic = text_of(row.get_ref(2)?).unwrap_or_default();
            let is_due = match stage_of(row.get_ref(1)?)? {
                Stage::Topic => {
                    due_at.is_none_or(|at| at <= now) && !round.except_topics.contains(topic.as_ref())
                }
                Stage::DeadLetterTopic => due_at.is_some_and(|at| at <= now),
                Stage::Waiting | Stage::Held => false,
            };
            let is_decided: bool = row.get(4)?;
            if !is_due || is_decided || room == 0 {
                break;
            }
            room -= 1;
            due.push(Due { key: ParkedKey { lane, ordinal: row.get(0)? }, size_bytes: row.get(5)? });
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(bytes))
}

/// The statements that read parked events in full.
pub(crate) struct RowStatements<'a> {
    row: CachedStatement<'a>,
    json_headers: CachedStatement<'a>,
}

impl<'a> RowStatements<'a> {
    pub(crate) fn new(transaction: &'a Transaction<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            row: transaction.prepare_cached(include_str!("../../sql/parked_row.sql"))?,
            json_headers: transaction.prepare_cached(include_str!("../../sql/json_headers.sql"))?,
        })
    }

    /// Reads the event of this place, whose row is handed to `read` with what was enqueued.
    pub(crate) fn read<T>(
        &mut self,
        ordinal: i64,
        read: impl FnOnce(&rusqlite::Row<'_>, PackedRow) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let json_headers = &mut self.json_headers;
        self.row.query_row([ordinal], |row| {
            let columns: Columns<'_> = columns_of(row, json_headers)?;
            let packed = columns.with_payload(bytes_of(row.get_ref(11)?));
            read(row, packed)
        })
    }
}

/// The place of a row of `sql/parked_row.sql`.
pub(crate) fn key_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<ParkedKey> {
    Ok(ParkedKey { lane: Lane(row.get(12)?), ordinal: row.get(13)? })
}

fn due_event(row: &rusqlite::Row<'_>, event: PackedRow) -> rusqlite::Result<DueEvent<PackedRow>> {
    let words =
        |column| Ok::<_, rusqlite::Error>(text_of(row.get_ref(column)?).unwrap_or_default().into_owned());
    let death = match stage_of(row.get_ref(14)?)? {
        Stage::DeadLetterTopic => Some(Death {
            class: words(16)?,
            message: words(17)?,
            failed_at: Timestamp(row.get::<_, Option<i64>>(18)?.unwrap_or_default()),
        }),
        _ => None,
    };
    Ok(DueEvent { key: key_of(row)?, row: event, attempts: row.get(15)?, death })
}
