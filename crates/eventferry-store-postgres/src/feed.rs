//! The events: opening lanes and reading windows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventferry_core::PackedRow;
use eventferry_core::store::{Anchor, Feed, Opened, Page, Rest, Wish};
use eventferry_core::{Lane, Lease, StoreFault, StoreFaultKind};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::config::PostgresConfig;
use crate::connection::Connection;
use crate::doorbell::Outlook;
use crate::ledger::Positions;
use crate::page::{LookParams, Looked, PageParams, PageRows, Share};
use crate::tail::Tail;
use crate::window::{Bounds, END, History, PostgresMark, TailPlace, Window};

/// The events, read window by window.
///
/// Lanes that stand at the same place are read together. Lanes that were left out of a wish, or came later, stand
/// behind: they are read by themselves until they have caught up.
#[derive(Debug)]
pub struct PostgresFeed {
    pub(crate) connection: Connection,
    pub(crate) positions: Positions,
    /// For the doorbell: from where it looks once more.
    pub(crate) outlook: Outlook,
    pub(crate) lanes_total: u16,
    /// Where each open lane will be read on, by windows.
    pub(crate) cursors: BTreeMap<Lane, PostgresMark>,
    pub(crate) history: Option<History>,
    /// The log's tail, where that is read.
    pub(crate) tail: Option<Tail>,
    /// The database told, once, that its history changed, and no lane was opened since.
    anchored: Option<Anchor>,
    /// The connection on which the history was last compared.
    compared: u64,
    /// Since when lanes that have more are read, and those that have read all wait.
    others_wait_since: Option<Instant>,
    turn: usize,
    /// The mean size of the last page's rows.
    row_bytes_mean: u64,
    /// How many rows fitted of a page that was too large: so many are asked for next.
    fits: Option<u32>,
    /// Where an idle relay stands: the last reading found nothing.
    pub(crate) idle: Option<Idle>,
    /// Since when windows were opened and not entered, for their log was not on disk and they showed nothing.
    unmoved_since: Option<Instant>,
    /// How long that may go on.
    pub(crate) stay_max: Duration,
    /// The window whose last page was full, and where that page ended.
    in_the_middle: Option<(Uuid, i64)>,
}

/// Ids a page looks at: other relays' rows are stepped over in bounded bites, of at least this many and at least
/// [`SCAN_FACTOR`] for each row that may be handed over.
const SCAN_MIN: u32 = 20_000;
const SCAN_FACTOR: u32 = 4;

/// How often in a row a page may be too large, each asked for with fewer rows, before it is given up for a moment.
const FLOODS_MAX: usize = 8;

/// An idle relay opens a window only this often, so that its positions move on; between, it only glances.
pub(crate) const REFRESH: Duration = Duration::from_secs(60);

/// What is known while nothing comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    /// When a window was opened last.
    pub(crate) since: Instant,
    /// The last id that was given, once it was asked for.
    newest: Option<i64>,
}

/// How long lanes that have read all wait for others that have not.
const OPEN_PAUSE: Duration = Duration::from_millis(20);

/// Lanes that are read together, with the place to read on from.
struct Group {
    at: PostgresMark,
    lanes: Vec<Lane>,
}

/// Windows opened and not yet known to be durable, with the lanes that would read them.
struct Opening {
    groups: Vec<Group>,
    lsn: String,
}

impl PostgresFeed {
    pub(crate) fn new(
        config: &PostgresConfig,
        connection: Connection,
        positions: Positions,
        outlook: Outlook,
        lanes_total: u16,
    ) -> Self {
        Self {
            tail: config.feed.is_tail().then(|| Tail::new(config, lanes_total)),
            connection,
            positions,
            outlook,
            lanes_total,
            cursors: BTreeMap::new(),
            history: None,
            anchored: None,
            compared: 0,
            others_wait_since: None,
            turn: 0,
            row_bytes_mean: 0,
            fits: None,
            idle: None,
            unmoved_since: None,
            stay_max: REFRESH,
            in_the_middle: None,
        }
    }

    /// Compares the server's history with the one the cursors speak of, once a connection.
    async fn compare_history(&mut self) -> Result<(), StoreFault> {
        let client = self.connection.client().await?;
        if self.compared == self.connection.generation() {
            return Ok(());
        }
        let query = client.query_typed_one(include_str!("../sql/current_history.sql"), &[]);
        let row = self.connection.answer("compare the history", query).await?;
        self.admit_history(History { system_identifier: row.get(0), timeline: row.get(1) })?;
        self.compared = self.connection.generation();
        Ok(())
    }

    pub(crate) fn admit_history(&mut self, now: History) -> Result<(), StoreFault> {
        if self.history == Some(now) {
            return Ok(());
        }
        self.history = None;
        self.cursors.clear();
        if let Some(tail) = &mut self.tail {
            tail.clear();
        }
        Err(StoreFault::new(
            StoreFaultKind::HistoryLost,
            "the database is on another timeline or another cluster",
        ))
    }

    /// The wished lanes by where they stand, those furthest behind first.
    fn groups(&self, lanes: &[Lane]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for lane in lanes {
            let Some(cursor) = self.cursors.get(lane) else { continue };
            let same = |group: &&mut Group| match (group.at.is_end(), cursor.is_end()) {
                // At their ends, windows with the same `cur` are the same place, unless they show nothing themselves.
                (true, true) => {
                    let (one, other) = (&group.at.window, &cursor.window);
                    let shows = !one.is_restored_beginning() && !other.is_restored_beginning();
                    one.id == other.id || (shows && one.cur == other.cur)
                }
                (false, false) => {
                    group.at.window.id == cursor.window.id && group.at.last_id == cursor.last_id
                }
                _ => false,
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.lanes.push(*lane),
                None => groups.push(Group { at: cursor.clone(), lanes: vec![*lane] }),
            }
        }
        groups
    }

    /// Opens windows for groups that have read theirs to the end.
    async fn open_windows(&mut self, ended: Vec<Group>) -> Result<Opening, StoreFault> {
        let prevs: Vec<String> = ended.iter().map(|group| group.at.window.cur.clone()).collect();
        let client = self.connection.client().await?;
        let params: [(&(dyn ToSql + Sync), Type); 1] = [(&prevs, Type::TEXT_ARRAY)];
        let query = client.query_typed_one(include_str!("../sql/open_windows.sql"), &params);
        let row = self.connection.answer("open a window", query).await?;
        let history = History { system_identifier: row.get(5), timeline: row.get(6) };
        self.admit_history(history)?;
        let cur: String = row.get(0);
        let [floors, late_floors, late_throughs]: [Vec<i64>; 3] = [row.get(1), row.get(2), row.get(3)];
        let bounds = floors.into_iter().zip(late_floors).zip(late_throughs);
        let mut groups = Vec::new();
        for (group, ((floor, late_floor), late_through)) in ended.into_iter().zip(bounds) {
            let before = &group.at.window;
            let bounds = if before.is_restored_beginning() {
                before.bounds
            } else {
                Bounds { floor, late_floor, late_through, restored_through: 0 }
            };
            let window = Window::opened(before.cur.clone(), cur.clone(), bounds, history);
            let at = PostgresMark::in_window(Arc::new(window), 0);
            groups.push(Group { at, lanes: group.lanes });
        }
        Ok(Opening { groups, lsn: row.get(4) })
    }

    /// Opens a window for a group that has read its own to the end, and reads the first page, in one round trip.
    /// Returns the group in its new window, the page, and whether the log is on disk up to it.
    async fn look(&mut self, ended: Group, wish: &Wish<'_>) -> Result<(Group, PageRows, bool), StoreFault> {
        let params = LookParams { before: &ended.at.window, share: self.share(&ended.lanes, wish) };
        let client = self.connection.client().await?;
        let looked = self.connection.answer("look for events", params.look(&client)).await?;
        let Some(Looked { window, history, rows, flushed }) = looked else {
            let message = "eventferry.look() opens no window: somebody replaced it; run `eventferry init`";
            return Err(StoreFault::new(StoreFaultKind::Misconfigured, message));
        };
        self.admit_history(history)?;
        self.note(&window, &rows);
        let at = PostgresMark::in_window(window, 0);
        Ok((Group { at, lanes: ended.lanes }, rows, flushed))
    }

    /// Reads a page of one group's window; with it says whether the log is on disk up to `lsn`, if that is asked.
    async fn read_page(
        &mut self,
        group: &Group,
        wish: &Wish<'_>,
        lsn: Option<&str>,
    ) -> Result<(PageRows, bool), StoreFault> {
        let params = PageParams {
            window: Arc::clone(&group.at.window),
            after: group.at.last_id,
            share: self.share(&group.lanes, wish),
        };
        // After a full page of a window there is probably another.
        let bulk = self.in_the_middle == Some((group.at.window.id, group.at.last_id)) && params.may_stream();
        let client = self.connection.client().await?;
        let page = async {
            let rows = if bulk { params.read_bulk(&client).await? } else { params.read(&client).await? };
            // Asked after the rows are here: by then a synchronous commit's log is on disk.
            let flushed = match lsn {
                // It is read again.
                Some(_) if rows.flooded => false,
                Some(lsn) => is_flushed(&client, lsn).await?,
                None => true,
            };
            Ok((rows, flushed))
        };
        let (rows, flushed): (PageRows, bool) = self.connection.answer("read a page", page).await?;
        self.note(&group.at.window, &rows);
        Ok((rows, flushed))
    }

    /// These lanes' share of the next page.
    fn share(&mut self, lanes: &[Lane], wish: &Wish<'_>) -> Share {
        let mut mask = vec![0u8; usize::from(self.lanes_total)];
        for lane in lanes {
            if let Some(byte) = mask.get_mut(usize::from(lane.0)) {
                *byte = 1;
            }
        }
        let scan_max = wish.records_max.saturating_mul(SCAN_FACTOR).max(SCAN_MIN);
        Share {
            mask,
            lanes: i32::from(self.lanes_total),
            rows_max: i32::try_from(self.rows_for(wish)).unwrap_or(i32::MAX),
            bytes_max: wish.bytes_max,
            scan_max: i32::try_from(scan_max).unwrap_or(i32::MAX),
        }
    }

    /// Keeps what the next page may go by.
    fn note(&mut self, window: &Window, rows: &PageRows) {
        if rows.flooded {
            self.connection.give_up();
            // So many fitted.
            self.fits = u32::try_from(rows.records.len()).ok();
        }
        self.in_the_middle = rows.full.then_some((window.id, rows.reached));
        if !rows.records.is_empty() {
            self.row_bytes_mean = rows.bytes / rows.records.len() as u64;
        }
    }

    /// Looks for anything new without opening a window, where the last reading found nothing; `None`: read.
    async fn glance(&mut self, at: &PostgresMark) -> Result<Option<Rest>, StoreFault> {
        let Some(idle) = self.idle.filter(|idle| idle.since.elapsed() < REFRESH) else { return Ok(None) };
        let client = self.connection.client().await?;
        let params: [(&(dyn ToSql + Sync), Type); 1] = [(&at.window.cur, Type::TEXT)];
        let query = client.query_typed_one(include_str!("../sql/glance.sql"), &params);
        let row = self.connection.answer("look for events", query).await?;
        self.admit_history(History { system_identifier: row.get(2), timeline: row.get(3) })?;
        if row.get(0) {
            return Ok(None);
        }
        let newest: i64 = row.get(1);
        self.idle = Some(Idle { newest: Some(newest), ..idle });
        Ok(Some(if idle.newest == Some(newest) { Rest::Still } else { Rest::Quiet }))
    }

    /// As many rows as the wish has bytes for, going by the last page: more would be sent and thrown away.
    fn rows_for(&mut self, wish: &Wish<'_>) -> u32 {
        if let Some(fits) = self.fits.take() {
            return fits.clamp(1, wish.records_max.max(1));
        }
        let fitting = wish.bytes_max / self.row_bytes_mean.max(1) + 1;
        wish.records_max.min(u32::try_from(fitting).unwrap_or(u32::MAX)).max(1)
    }

    /// Reads on in windows.
    pub(crate) async fn read_windows(
        &mut self,
        wish: Wish<'_>,
    ) -> Result<Page<PostgresMark, PackedRow>, StoreFault> {
        for _ in 0..FLOODS_MAX {
            if let Some(page) = self.read_window(wish).await? {
                return Ok(page);
            }
        }
        Err(StoreFault::new(StoreFaultKind::Contended, "read a page: its rows are larger each time"))
    }

    /// Reads on in one window; `None`: its rows did not fit, and fewer are asked for next time.
    async fn read_window(
        &mut self,
        wish: Wish<'_>,
    ) -> Result<Option<Page<PostgresMark, PackedRow>>, StoreFault> {
        let (mut ended, mut reading): (Vec<_>, Vec<_>) =
            self.groups(wish.lanes).into_iter().partition(|group| group.at.is_end());
        if reading.is_empty() && ended.is_empty() {
            return Ok(Some(Page { records: Vec::new(), passed: Vec::new(), rest: Rest::Quiet }));
        }
        if let ([at_end], true) = (ended.as_slice(), reading.is_empty())
            && !at_end.at.window.is_restored_beginning()
            && let Some(rest) = self.glance(&at_end.at).await?
        {
            self.outlook.set(Some(at_end.at.window.cur.clone()));
            return Ok(Some(Page { records: Vec::new(), passed: Vec::new(), rest }));
        }
        self.outlook.set(None);
        let idle = self.idle.take();
        let behind = reading.len() > 1 || (!reading.is_empty() && !ended.is_empty());
        // Lanes far behind do not keep the others waiting for long, nor the other way round: they take turns.
        let due = self.others_wait_since.is_some_and(|at| at.elapsed() >= OPEN_PAUSE);
        let opens = !ended.is_empty() && (reading.is_empty() || due);
        if opens {
            self.others_wait_since = None;
        } else {
            self.others_wait_since.get_or_insert_with(Instant::now);
        }
        self.turn = self.turn.wrapping_add(1);
        let together = opens && ended.len() == 1 && !ended[0].at.window.is_restored_beginning();
        let mut opened_on = None;
        let (turn, rows, flushed) = if let Some(group) = ended.pop_if(|_| together) {
            let (group, rows, flushed) = self.look(group, &wish).await?;
            opened_on = Some(self.connection.generation());
            reading = vec![group];
            (0, rows, flushed)
        } else {
            let mut lsn = None;
            if opens {
                let opening = self.open_windows(ended).await?;
                opened_on = Some(self.connection.generation());
                (reading, lsn) = (opening.groups, Some(opening.lsn));
            }
            let turn = self.turn % reading.len();
            let (rows, flushed) = self.read_page(&reading[turn], &wish, lsn.as_deref()).await?;
            (turn, rows, flushed)
        };
        if rows.flooded && opened_on.is_some() {
            return Ok(None);
        }
        if !flushed {
            let is_nothing = rows.records.is_empty() && rows.reached == END && !behind && reading.len() == 1;
            let stays = self.unmoved_since.get_or_insert_with(Instant::now).elapsed() < self.stay_max;
            if is_nothing && stays {
                // Not worth a flush: stay. Nothing is new since the window before, either, where others keep the log
                // ahead of the disk all the time. If a glance was of no use, the next look goes without one.
                if idle.is_none() && opens {
                    self.outlook.set(Some(reading[turn].at.window.prev.clone()));
                    self.idle = Some(Idle { since: Instant::now(), newest: None });
                }
                return Ok(Some(Page { records: Vec::new(), passed: Vec::new(), rest: Rest::Quiet }));
            }
            self.flush().await?;
        }
        // A server that has crashed since may have forgotten what the window showed, and its log is another: what is on
        // disk now says nothing.
        if opened_on.is_some_and(|generation| generation != self.connection.generation()) {
            return Err(StoreFault::new(StoreFaultKind::Contended, "read a page: the connection is another"));
        }
        // Only now do the cursors enter windows just opened: what they show is on disk.
        self.unmoved_since = None;
        for group in &reading {
            for lane in &group.lanes {
                self.cursors.insert(*lane, group.at.clone());
            }
        }
        let group = &reading[turn];
        let mark = PostgresMark::in_window(Arc::clone(&group.at.window), rows.reached);
        for lane in &group.lanes {
            self.cursors.insert(*lane, mark.clone());
        }
        // Only a window that was opened just now, and is at its end, shows that nothing more is committed.
        let quiet = opens && mark.is_end() && !behind && reading.len() == 1;
        if quiet {
            self.outlook.set(Some(group.at.window.cur.clone()));
        }
        self.idle = (quiet && rows.records.is_empty()).then(|| Idle { since: Instant::now(), newest: None });
        Ok(Some(Page {
            records: rows.records,
            passed: group.lanes.iter().map(|lane| (*lane, mark.clone())).collect(),
            rest: if quiet { Rest::Quiet } else { Rest::More },
        }))
    }

    async fn flush(&mut self) -> Result<(), StoreFault> {
        let client = self.connection.client().await?;
        let query = client.query_typed(include_str!("../sql/flush.sql"), &[]);
        self.connection.answer("flush the log", query).await.map(drop)
    }
}

async fn is_flushed(client: &Client, lsn: &str) -> Result<bool, tokio_postgres::Error> {
    let row = client.query_typed_one(include_str!("../sql/is_flushed.sql"), &[(&lsn, Type::TEXT)]).await?;
    row.try_get(0)
}

impl Feed for PostgresFeed {
    type Mark = PostgresMark;
    type Row = PackedRow;

    async fn open(&mut self, leases: &[Lease]) -> Result<Vec<Opened>, StoreFault> {
        let client = self.connection.client().await?;
        let query = client.query_typed_one(include_str!("../sql/check_history.sql"), &[]);
        let row = self.connection.answer("check the history", query).await?;
        let history = History { system_identifier: row.get(1), timeline: row.get(2) };
        match row.get::<_, &str>(0) {
            "restored" => self.anchored = Some(Anchor::Restored),
            "failed_over" => self.anchored = Some(Anchor::FailedOver),
            _ => {}
        }
        // Lanes that were open before must be opened anew too, or nobody would ever read them again.
        if self.history.is_some() {
            self.admit_history(history)?;
        }
        let anchor = self.anchored.unwrap_or(Anchor::Continued);
        (self.history, self.compared) = (Some(history), self.connection.generation());
        // Whoever has no lane must not end the reader of the one that has them all.
        if !leases.is_empty() {
            self.look_at_slot().await?;
        }
        let lanes: Vec<i32> = leases.iter().map(|lease| i32::from(lease.lane.0)).collect();
        let client = self.connection.client().await?;
        let params: [(&(dyn ToSql + Sync), Type); 1] = [(&lanes, Type::INT4_ARRAY)];
        let query = client.query_typed(include_str!("../sql/positions.sql"), &params);
        let rows = self.connection.answer("read positions", query).await?;
        let mut windows: BTreeMap<Uuid, Arc<Window>> = BTreeMap::new();
        let mut opened = Vec::new();
        for row in rows {
            let lane = Lane(row.get::<_, i32>(0) as u16);
            let id: Uuid = row.get(3);
            let window = windows.entry(id).or_insert_with(|| {
                let bounds = Bounds {
                    floor: row.get(6),
                    late_floor: row.get(7),
                    late_through: i64::MAX,
                    restored_through: row.get(8),
                };
                Arc::new(Window::stored(id, row.get(4), row.get(5), bounds, history))
            });
            let anchor = match anchor {
                Anchor::Continued if row.get::<_, i64>(1) == 0 => Anchor::First,
                anchor => anchor,
            };
            let lsn = row.get::<_, Option<i64>>(9).map(i64::cast_unsigned);
            let tail = lsn.map(|lsn| TailPlace { lsn, ordinal: row.get(10), id: 0, newest_id: row.get(11) });
            let mark = PostgresMark { window: Arc::clone(window), last_id: row.get(2), tail };
            let was_in_the_tail = mark.is_of_rows();
            let mark = self.open_tail(lane, mark)?;
            let anchor = match anchor {
                Anchor::Continued if was_in_the_tail && self.tail.is_some() && mark.tail.is_none() => {
                    Anchor::LogLost
                }
                anchor => anchor,
            };
            let epoch = leases.iter().find(|lease| lease.lane == lane).map_or(0, |lease| lease.epoch);
            self.positions.set(Lease { lane, epoch }, row.get(1), &mark);
            self.cursors.insert(lane, mark);
            opened.push(Opened { lane, anchor });
        }
        let is_open = |lane| opened.iter().any(|opened: &Opened| opened.lane == lane);
        if let Some(lease) = leases.iter().find(|lease| !is_open(lease.lane)) {
            return Err(StoreFault::new(
                StoreFaultKind::Misconfigured,
                format!(
                    "lane {} has no place in eventferry.position and eventferry.read_window: somebody changed the \
                     books by hand; put them back from a copy, for nothing is carried in that lane",
                    lease.lane.0
                ),
            ));
        }
        self.anchored = None;
        Ok(opened)
    }

    fn close(&mut self, lanes: &[Lane]) {
        for lane in lanes {
            self.cursors.remove(lane);
            self.positions.forget(*lane);
            if let Some(tail) = &mut self.tail {
                tail.close(*lane);
            }
        }
    }

    async fn read(&mut self, wish: Wish<'_>) -> Result<Page<PostgresMark, PackedRow>, StoreFault> {
        self.compare_history().await?;
        if self.tail.is_some() { self.read_tail(wish).await } else { self.read_windows(wish).await }
    }
}
