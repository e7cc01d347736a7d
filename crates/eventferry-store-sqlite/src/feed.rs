//! The events, by id.
//!
//! SQLite has one writer at a time and gives ids out in the order in which transactions commit, so everything up to an
//! id is there as soon as that id is: a position is an id, and reading on is reading what is above it.
//!
//! Each open lane has a cursor of its own, because a lane is left out while its relay has no room for it, and lanes are
//! gained at different places. A reading goes over the rows once, from the lowest cursor of the lanes it is asked for,
//! and hands over what lies above each row's own; every one of those cursors then moves to where it ended, whether or
//! not the lane had events. Lanes far behind the others are read apart and with half of the room, so that neither they
//! nor the others wait.

use std::collections::{BTreeMap, BTreeSet};

use eventferry_core::PackedRow;
use eventferry_core::store::{Anchor, Feed, Opened, Page, Rest, Wish};
use eventferry_core::{Lane, Lease, MessageId, Record, Row, StoreFault, StoreFaultKind};
use rusqlite::types::ToSqlOutput;
use rusqlite::{CachedStatement, OptionalExtension, Transaction};

use crate::config::SqliteConfig;
use crate::connection::{Connection, Database, Keeper, Past};
use crate::doorbell::Seen;
use crate::fault::fault;
use crate::row::{bytes_of, columns_of, text_of};
use crate::schema::lanes_total;

/// A place in a lane: the id up to which it was carried.
#[derive(Clone, Debug)]
pub struct SqliteMark(pub(crate) i64);

/// The events of one file.
#[derive(Debug)]
pub struct SqliteFeed {
    connection: Connection,
    /// For the doorbell: how far was looked.
    seen: Seen,
    lanes_total: u16,
    /// Up to which id each open lane was handed over.
    cursors: BTreeMap<Lane, i64>,
    /// Up to which id each open lane that went back had been carried before: its events may be parked already.
    again: BTreeMap<Lane, i64>,
    /// Lanes that were open when another history was found.
    lost: BTreeSet<Lane>,
    /// The event of the highest id handed over: if its row is another event's now, the file is another one.
    witness: Option<(i64, MessageId)>,
    /// Up to which id the log is known to be durable.
    durable_through: i64,
}

/// The most rows one reading looks at, those of other lanes included: about a tenth of a second.
const ROWS_MAX: u32 = 50_000;

/// How many ids a lane may lag behind the foremost before it is read apart.
const APART_IDS: i64 = 10_000;

/// The largest payload read along with its row, in bytes: a larger one lies on pages of its own, which are read only
/// for an event that is handed over.
const PAYLOAD_ALONG_BYTES_MAX: i64 = 4096;

impl SqliteFeed {
    pub(crate) fn new(config: SqliteConfig, seen: Seen) -> Self {
        Self {
            connection: Connection::new(config, "feed"),
            seen,
            lanes_total: 0,
            cursors: BTreeMap::new(),
            again: BTreeMap::new(),
            lost: BTreeSet::new(),
            witness: None,
            durable_through: 0,
        }
    }

    /// Forgets whatever speaks of this history.
    fn forget(&mut self) {
        self.lost.extend(std::mem::take(&mut self.cursors).into_keys());
        self.again.clear();
        self.witness = None;
        self.durable_through = 0;
    }
}

impl Feed for SqliteFeed {
    type Mark = SqliteMark;
    type Row = PackedRow;

    async fn open(&mut self, leases: &[Lease]) -> Result<Vec<Opened>, StoreFault> {
        let leases = leases.to_vec();
        let opening = self.connection.ask(move |keeper| open(keeper, &leases)).await?;
        if opening.past == Past::Replaced {
            self.forget();
        }
        self.lanes_total = opening.lanes_total;
        for Place { opened, position, reached } in &opening.places {
            self.cursors.insert(opened.lane, *position);
            self.again.remove(&opened.lane);
            if position < reached {
                self.again.insert(opened.lane, *reached);
            }
        }
        Ok(opening
            .places
            .into_iter()
            .map(|Place { opened: Opened { lane, anchor }, .. }| {
                let restored = self.lost.remove(&lane) && anchor == Anchor::Continued;
                Opened { lane, anchor: if restored { Anchor::Restored } else { anchor } }
            })
            .collect())
    }

    fn close(&mut self, lanes: &[Lane]) {
        self.lost.retain(|lane| !lanes.contains(lane));
        self.cursors.retain(|lane, _| !lanes.contains(lane));
        self.again.retain(|lane, _| !lanes.contains(lane));
    }

    async fn read(&mut self, wish: Wish<'_>) -> Result<Page<SqliteMark, PackedRow>, StoreFault> {
        let cursor = |lane: &Lane| self.cursors.get(lane).map(|cursor| (*lane, *cursor));
        let Some(cursors) = wish.lanes.iter().map(cursor).collect::<Option<Vec<_>>>() else {
            return Err(history_lost("a lane that is not open was to be read"));
        };
        let mut again = Vec::new();
        for (lane, cursor) in &cursors {
            again.extend(
                self.again.get(lane).filter(|through| cursor < *through).map(|through| (*lane, *through)),
            );
        }
        let reading = Reading {
            lanes_total: self.lanes_total,
            cursors,
            again,
            records_max: wish.records_max,
            bytes_max: wish.bytes_max,
            witness: self.witness,
            durable_through: self.durable_through,
            seen: self.seen.get(),
        };
        // What was read counts only when it is here: a future that is dropped before changes nothing.
        match self.connection.ask(move |keeper| reading.run(keeper)).await {
            Ok(read) => {
                self.durable_through = read.durable_through;
                self.witness = read.page.records.iter().map(witness).max().max(self.witness);
                self.cursors.extend(read.cursors);
                self.seen.set(read.last_id);
                Ok(read.page)
            }
            Err(fault) => {
                if *fault.kind() == StoreFaultKind::HistoryLost {
                    self.forget();
                }
                Err(fault)
            }
        }
    }
}

fn witness(record: &Record<SqliteMark, PackedRow>) -> (i64, MessageId) {
    (record.mark.0, record.row.message_id())
}

pub(crate) fn history_lost(message: &str) -> StoreFault {
    StoreFault::new(StoreFaultKind::HistoryLost, message)
}

/// The highest id ever given out, whether or not its row is still there; 0: none.
pub(crate) fn last_id(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    let mut statement = transaction.prepare_cached(include_str!("../sql/last_id.sql"))?;
    Ok(statement.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// What opening found.
struct Opening {
    lanes_total: u16,
    past: Past,
    places: Vec<Place>,
}

/// Where a lane is opened.
struct Place {
    opened: Opened,
    position: i64,
    /// How far it had ever been carried.
    reached: i64,
}

const OPEN: &str = "open lanes";

/// Reads the lanes' positions.
fn open(keeper: &mut Keeper, leases: &[Lease]) -> Result<Opening, StoreFault> {
    let (database, past) = keeper.database()?;
    let transaction = database.snapshot(OPEN)?;
    let lanes_total = lanes_total(&transaction)?;
    let read = || {
        let last_id = last_id(&transaction)?;
        let any_parked = transaction
            .prepare_cached(include_str!("../sql/any_parked.sql"))?
            .query_row([], |row| row.get::<_, bool>(0))?;
        let mut statement = transaction.prepare_cached(include_str!("../sql/position.sql"))?;
        let (mut places, mut rewound) = (Vec::with_capacity(leases.len()), Vec::new());
        for lease in leases {
            let (position, reached): (i64, i64) =
                statement.query_row([lease.lane.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
            // Ids have begun anew: the tables were filled from a copy without SQLite's own table of sequences.
            let is_beyond = position > last_id;
            // Nothing is known of a lane at 0, perhaps because its row was put back by hand.
            let is_unknown = position == 0 && any_parked && reached < last_id;
            let anchor = match (position, reached) {
                _ if is_beyond => Anchor::Restored,
                (0, 0) => Anchor::First,
                (position, reached) if position < reached => Anchor::Restored,
                _ => Anchor::Continued,
            };
            let (position, reached) =
                if is_beyond || is_unknown { (0, last_id) } else { (position, reached) };
            if is_beyond || is_unknown {
                rewound.push(*lease);
            }
            places.push(Place { opened: Opened { lane: lease.lane, anchor }, position, reached });
        }
        Ok((last_id, places, rewound))
    };
    let (last_id, places, rewound) = read().map_err(|error| fault(OPEN, error))?;
    transaction.commit().map_err(|error| fault(OPEN, error))?;
    if !rewound.is_empty() {
        rewind(database, &rewound, last_id)?;
    }
    Ok(Opening { lanes_total, past, places })
}

/// Begins lanes anew whose positions lie beyond every event (they would swallow the settlements of all ids below), and
/// notes up to where they go over events that may be parked.
fn rewind(database: &mut Database, leases: &[Lease], last_id: i64) -> Result<(), StoreFault> {
    let transaction = database.write(OPEN)?;
    for Lease { lane, epoch } in leases {
        transaction
            .execute(include_str!("../sql/rewind.sql"), (lane.0, epoch, last_id))
            .map_err(|error| fault(OPEN, error))?;
    }
    transaction.commit().map_err(|error| fault(OPEN, error))
}

/// One call of [`Feed::read`], as its thread gets it.
struct Reading {
    lanes_total: u16,
    cursors: Vec<(Lane, i64)>,
    /// Up to which id events of a lane may be parked already; lanes where none is are not named.
    again: Vec<(Lane, i64)>,
    records_max: u32,
    bytes_max: u64,
    witness: Option<(i64, MessageId)>,
    durable_through: i64,
    /// The last id when it was looked before.
    seen: i64,
}

/// What came of it.
struct Read {
    page: Page<SqliteMark, PackedRow>,
    cursors: Vec<(Lane, i64)>,
    durable_through: i64,
    last_id: i64,
}

impl Reading {
    fn run(mut self, keeper: &mut Keeper) -> Result<Read, StoreFault> {
        const WHAT: &str = "read events";
        let (database, past) = keeper.database()?;
        if past == Past::Replaced {
            return Err(history_lost("another file was put in the place of the database"));
        }
        let before = self.cursors.clone();
        let transaction = database.snapshot(WHAT)?;
        let last_id = last_id(&transaction).map_err(|error| fault(WHAT, error))?;
        self.check_history(&transaction, last_id)?;
        let records = self.scan_bands(&transaction, last_id).map_err(|error| fault(WHAT, error))?;
        transaction.commit().map_err(|error| fault(WHAT, error))?;

        // After the reading and before the handing over: see `make_durable`. Once per snapshot is enough, however many
        // pages a backlog takes.
        if records.iter().any(|record| record.mark.0 > self.durable_through) {
            database.make_durable()?;
            self.durable_through = last_id;
        }

        let mut ends: BTreeMap<Lane, i64> = before.into_iter().collect();
        ends.extend(records.iter().map(|record| (record.lane, record.mark.0)));
        let beyond = |(lane, cursor): &&(Lane, i64)| ends.get(lane).is_some_and(|end| end < cursor);
        let passed =
            self.cursors.iter().filter(beyond).map(|(lane, cursor)| (*lane, SqliteMark(*cursor))).collect();
        let more = self.cursors.iter().any(|(_, cursor)| *cursor < last_id);
        let rest = match (more, records.is_empty() && last_id == self.seen) {
            (true, _) => Rest::More,
            (false, false) => Rest::Quiet,
            (false, true) => Rest::Still,
        };
        let page = Page { records, passed, rest };
        Ok(Read { page, cursors: self.cursors, durable_through: self.durable_through, last_id })
    }

    /// Whether the file still is what was read before: it may have been overwritten in place from a copy.
    fn check_history(&self, transaction: &Transaction<'_>, last_id: i64) -> Result<(), StoreFault> {
        let known =
            self.cursors.iter().map(|(_, cursor)| *cursor).max().unwrap_or(0).max(self.durable_through);
        if known > last_id {
            return Err(history_lost("the database knows fewer events than were read from it"));
        }
        let Some((id, message_id)) = self.witness else { return Ok(()) };
        let found = transaction
            .prepare_cached(include_str!("../sql/witness.sql"))
            .and_then(|mut statement| statement.query_row([id], |row| row.get::<_, Vec<u8>>(0)).optional())
            .map_err(|error| fault("look for the last event", error))?;
        if found.is_some_and(|found| found != message_id.0) {
            return Err(history_lost("the database holds another event under the id that was read last"));
        }
        Ok(())
    }

    /// Reads the lanes far behind, then the others, and moves their cursors.
    fn scan_bands(
        &mut self,
        transaction: &Transaction<'_>,
        last_id: i64,
    ) -> rusqlite::Result<Vec<Record<SqliteMark, PackedRow>>> {
        let foremost = self.cursors.iter().map(|(_, cursor)| *cursor).max().unwrap_or(last_id);
        let apart = foremost.saturating_sub(APART_IDS);
        let is_behind = |cursor: i64| cursor < apart;
        let ahead_from =
            self.cursors.iter().map(|(_, cursor)| *cursor).filter(|cursor| !is_behind(*cursor)).min();
        let mut page = PageRoom { records: Vec::new(), records_max: 0, bytes: 0, bytes_max: 0, rows: 0 };
        let mut scan = Scan::new(transaction, self.lanes_total, &self.again)?;

        let behind: Vec<_> = self.cursors.iter_mut().filter(|(_, cursor)| is_behind(*cursor)).collect();
        if !behind.is_empty() {
            page.open(self.records_max.div_ceil(2), self.bytes_max / 2, ROWS_MAX / 2);
            scan.run(behind, ahead_from.unwrap_or(last_id), &mut page)?;
        }
        let ahead: Vec<_> = self.cursors.iter_mut().filter(|(_, cursor)| *cursor >= apart).collect();
        page.open(self.records_max, self.bytes_max, ROWS_MAX);
        scan.run(ahead, last_id, &mut page)?;
        Ok(page.records)
    }
}

/// What a page has, and how much it may have so far.
struct PageRoom {
    records: Vec<Record<SqliteMark, PackedRow>>,
    records_max: u32,
    bytes: u64,
    bytes_max: u64,
    /// How many rows may still be looked at.
    rows: u32,
}

impl PageRoom {
    fn open(&mut self, records_max: u32, bytes_max: u64, rows: u32) {
        (self.records_max, self.bytes_max, self.rows) = (records_max, bytes_max, rows);
    }

    /// Whether an event of this size still fits; the page's first always does.
    fn has_room(&self, bytes: u64) -> bool {
        let fits = self.records.is_empty() || self.bytes.saturating_add(bytes) <= self.bytes_max;
        fits && self.records.len() < self.records_max as usize
    }
}

/// The statements that go over the rows of one snapshot.
struct Scan<'a> {
    lanes_total: u16,
    rows: CachedStatement<'a>,
    payload: CachedStatement<'a>,
    json_headers: CachedStatement<'a>,
    again: Option<Again<'a>>,
}

/// What is looked up for lanes that went back.
struct Again<'a> {
    /// By lane, up to which id its events may be parked already.
    through: Vec<i64>,
    is_parked: CachedStatement<'a>,
}

impl Again<'_> {
    /// Whether an event is parked or was.
    fn knows(&mut self, lane: Lane, id: i64, row: &rusqlite::Row<'_>) -> rusqlite::Result<bool> {
        if self.through.get(usize::from(lane.0)).is_none_or(|through| id > *through) {
            return Ok(false);
        }
        let column = |at| row.get_ref(at).map(ToSqlOutput::Borrowed);
        let message_id = bytes_of(row.get_ref(8)?).unwrap_or_default();
        let event = (message_id, column(10)?, column(4)?, column(1)?, column(2)?);
        self.is_parked.query_row(event, |row| row.get(0))
    }
}

impl<'a> Scan<'a> {
    fn new(
        transaction: &'a Transaction<'_>,
        lanes_total: u16,
        lanes_again: &[(Lane, i64)],
    ) -> rusqlite::Result<Self> {
        let mut again = None;
        if !lanes_again.is_empty() {
            let mut through = vec![0; usize::from(lanes_total)];
            for (lane, until) in lanes_again {
                if let Some(through) = through.get_mut(usize::from(lane.0)) {
                    *through = *until;
                }
            }
            let is_parked = transaction.prepare_cached(include_str!("../sql/is_parked.sql"))?;
            again = Some(Again { through, is_parked });
        }
        Ok(Self {
            lanes_total,
            again,
            rows: transaction.prepare_cached(include_str!("../sql/read.sql"))?,
            payload: transaction.prepare_cached(include_str!("../sql/payload.sql"))?,
            json_headers: transaction.prepare_cached(include_str!("../sql/json_headers.sql"))?,
        })
    }

    /// Goes over the rows from the lowest cursor of these lanes to `until`, as far as there is room, and moves every
    /// cursor to where it ended.
    fn run(&mut self, lanes: Vec<&mut (Lane, i64)>, until: i64, page: &mut PageRoom) -> rusqlite::Result<()> {
        let Some(from) = lanes.iter().map(|(_, cursor)| *cursor).min() else { return Ok(()) };
        let mut wanted_above = vec![i64::MAX; usize::from(self.lanes_total)];
        for (lane, cursor) in lanes.iter().map(|lane| &**lane) {
            if let Some(above) = wanted_above.get_mut(usize::from(lane.0)) {
                *above = *cursor;
            }
        }
        let mut end = from;
        let mut rows = self.rows.query((from, until, PAYLOAD_ALONG_BYTES_MAX))?;
        loop {
            let Some(row) = rows.next()? else {
                end = end.max(until);
                break;
            };
            let id: i64 = row.get(0)?;
            let (kind, aggregate_id) =
                (text_of(row.get_ref(1)?).unwrap_or_default(), text_of(row.get_ref(2)?).unwrap_or_default());
            let lane = Lane::of(&kind, &aggregate_id, self.lanes_total);
            let mut wanted = id > wanted_above[usize::from(lane.0)];
            if let Some(again) = self.again.as_mut().filter(|_| wanted) {
                wanted = !again.knows(lane, id, row)?;
            }
            if page.rows == 0 || (wanted && !page.has_room(bytes_of_event(row)?)) {
                break;
            }
            page.rows -= 1;
            if wanted {
                page.bytes += bytes_of_event(row)?;
                let row = read_row(row, &mut self.payload, &mut self.json_headers)?;
                page.records.push(Record { lane, mark: SqliteMark(id), row });
            }
            end = id;
        }
        for (_, cursor) in lanes {
            *cursor = (*cursor).max(end);
        }
        Ok(())
    }
}

/// What an event takes of a page: its payload, key and headers.
fn bytes_of_event(row: &rusqlite::Row<'_>) -> rusqlite::Result<u64> {
    let payload: Option<u64> = row.get(3)?;
    let (key, headers) = (bytes_of(row.get_ref(5)?), bytes_of(row.get_ref(7)?));
    Ok(payload.unwrap_or(0) + (key.map_or(0, <[u8]>::len) + headers.map_or(0, <[u8]>::len)) as u64)
}

/// Copies a row of `sql/read.sql`, with its payload.
fn read_row(
    row: &rusqlite::Row<'_>,
    payload: &mut CachedStatement<'_>,
    json_headers: &mut CachedStatement<'_>,
) -> rusqlite::Result<PackedRow> {
    let columns = columns_of(row, json_headers)?;
    match row.get::<_, Option<i64>>(3)? {
        Some(large) if large > PAYLOAD_ALONG_BYTES_MAX => payload
            .query_row([row.get::<_, i64>(0)?], |row| Ok(columns.with_payload(bytes_of(row.get_ref(0)?)))),
        _ => Ok(columns.with_payload(bytes_of(row.get_ref(11)?))),
    }
}
