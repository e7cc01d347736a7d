//! Pages of the tail, and of the windows that lead to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use eventferry_core::store::{Page, Prepare, Rest, Wish};
use eventferry_core::{Lane, PackedRow, StoreFault, StoreFaultKind, Timestamp};
use tokio_postgres::types::{ToSql, Type};

use super::anchor::{Snapshot, Stands};
use super::moderation::Moderation;
use super::ready::Ready;
use super::slot::{Making, Slot};
use super::stream::{Sheet, Stop, Stream};
use crate::config::{FeedChoice, PostgresConfig};
use crate::fault::shut_out;
use crate::feed::{PostgresFeed, REFRESH};
use crate::window::{Bounds, History, PostgresMark, TailPlace, Window};

/// How far the log goes on without an event of ours before positions follow: a segment, which the server keeps whole.
const SILENCE_BYTES: u64 = 16 << 20;

/// After so many quiet readings in a row, which wait a second each, positions that moved follow once more: by then the
/// server has noted which transactions run, as it does every 15 s, and lets the log before that go once it is passed.
const FOLLOW_AFTER: u32 = 30;

/// How long the server may take to show that all has come that is on disk.
const PROOF_WAIT: Duration = Duration::from_secs(2);

/// How long a lane that was passed over waits at most while the others go on.
const BEHIND_WAIT: Duration = Duration::from_secs(1);

/// How often a window is opened, on the way to the tail, though nothing is new.
const APPROACH_PAUSE: Duration = Duration::from_secs(1);

/// How often a window is taken beside the tail while events flow: what it shows is what retention may remove.
const PAIR_PAUSE: Duration = Duration::from_secs(1);

/// The tail's side of a feed.
pub(crate) struct Tail {
    config: PostgresConfig,
    stands: Stands,
    slot: Option<Slot>,
    /// In place of a lost one.
    making: Option<Making>,
    /// Which publication the rows of the table come by.
    publication: Option<String>,
    stream: Option<Stream>,
    /// A reading began and did not end: what it took from the stream was not handed over.
    reading: bool,
    /// A window, and the place past which it holds.
    pair: Option<(Arc<Window>, u64)>,
    paired_at: Option<Instant>,
    /// Events came since the last pair.
    dirty: bool,
    /// Where positions were last told to follow.
    passed: u64,
    /// Readings in a row that found nothing, ours or much of others'.
    quiet: u32,
    behind_since: Option<Instant>,
    /// Lanes that are read through windows had their turn.
    windows_turn: bool,
    moderation: Moderation,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("streams", &self.stream.is_some()).finish_non_exhaustive()
    }
}

/// What a snapshot taken beside the stream says.
struct Pair {
    window: Arc<Window>,
    place: u64,
    flushed: u64,
    at: Timestamp,
}

impl Tail {
    pub(crate) fn new(config: &PostgresConfig, lanes_total: u16) -> Self {
        Self {
            config: config.clone(),
            stands: Stands::of(lanes_total),
            slot: None,
            making: None,
            publication: None,
            stream: None,
            reading: false,
            pair: None,
            paired_at: None,
            dirty: true,
            passed: 0,
            quiet: 0,
            behind_since: None,
            windows_turn: false,
            moderation: Moderation::default(),
        }
    }

    /// Forgets all of a history that is gone.
    pub(crate) fn clear(&mut self) {
        self.stands.clear();
        self.begin();
        (self.slot, self.passed) = (None, 0);
    }

    pub(crate) fn close(&mut self, lane: Lane) {
        self.stands.remove(lane);
        if self.stands.is_empty() {
            (self.stream, self.slot, self.making) = (None, None, None);
        }
    }

    /// Where only what was emitted is carried, there is no table to fall back on.
    fn has_table(&self) -> bool {
        self.config.feed != FeedChoice::TailMessages
    }

    /// Positions may follow to this window when the stream has come to this place.
    fn keep(&mut self, window: Arc<Window>, place: u64) {
        (self.pair, self.dirty) = (Some((window, place)), false);
    }

    fn begin(&mut self) {
        self.stream = None;
        self.behind_since = None;
        self.stands.begin();
        // A server that crashed since may have lost the log up to that place, and writes another there, with the same
        // transaction ids.
        (self.pair, self.paired_at, self.dirty, self.quiet) = (None, None, true, 0);
    }
}

impl PostgresFeed {
    /// Before lanes are opened: the slot is there, or is made anew while the table is read, which has all that it had.
    pub(crate) async fn look_at_slot(&mut self) -> Result<(), StoreFault> {
        let Some(tail) = &mut self.tail else { return Ok(()) };
        tail.begin();
        tail.slot = None;
        if tail.making.as_ref().is_some_and(|making| !making.is_done()) {
            return Ok(());
        }
        tail.making = None;
        let mut is_blind = false;
        if tail.has_table() {
            let ready = Ready::look(&mut self.connection).await?;
            ready.check(Prepare::Check)?;
            is_blind =
                tail.publication.as_ref().is_some_and(|before| ready.publication.as_ref() != Some(before));
            tail.publication = ready.publication;
        }
        let slot = Slot::take_over(&mut self.connection).await?;
        if slot.lives() && !is_blind {
            tail.slot = Some(slot);
            return Ok(());
        }
        if !tail.has_table() {
            return Err(slot.gone());
        }
        tracing::warn!(
            slot = slot.name,
            "the replication slot is lost: events are read from the table until a new one has taken over; some that \
             were shipped may be shipped again, and what was emitted without the table is lost"
        );
        tail.making = Some(Making::start(&tail.config));
        Ok(())
    }

    /// The slot, when one is there that was being made.
    async fn find_slot(&mut self) -> Result<(), StoreFault> {
        let Some(tail) = &mut self.tail else { return Ok(()) };
        if tail.slot.is_some() || !tail.making.as_ref().is_some_and(Making::is_done) {
            return Ok(());
        }
        let slot = Slot::look(&mut self.connection).await?;
        tail.making = None;
        if slot.lives() {
            tracing::info!(slot = slot.name, "a new replication slot is there");
            tail.slot = Some(slot);
        } else {
            tail.making = Some(Making::start(&tail.config));
        }
        Ok(())
    }

    /// A lane is opened at this mark; what is returned is where it is read on from.
    pub(crate) fn open_tail(&mut self, lane: Lane, mark: PostgresMark) -> Result<PostgresMark, StoreFault> {
        let Some(Tail { config, stands, slot, .. }) = &mut self.tail else { return Ok(mark) };
        stands.remove(lane);
        let Some(slot) = slot else { return Ok(PostgresMark { tail: None, ..mark }) };
        let messages = config.feed == FeedChoice::TailMessages;
        if messages {
            let begins = TailPlace { lsn: slot.confirmed, ordinal: 0, id: 0, newest_id: None };
            let place = TailPlace { newest_id: None, ..mark.tail.unwrap_or(begins) };
            if place.lsn < slot.confirmed {
                return Err(slot.gone());
            }
            stands.enter(lane, &mark, None, place);
            return Ok(PostgresMark { tail: Some(place), ..mark });
        }
        // Where only what was emitted was carried, rows are to be found through windows.
        let Some(place) = mark.tail.filter(|place| place.newest_id.is_some()) else {
            return Ok(PostgresMark { tail: None, ..mark });
        };
        if place.lsn < slot.confirmed {
            return Ok(PostgresMark { tail: None, ..mark });
        }
        let shown = Snapshot::of(&mark.window.cur).ok_or_else(unreadable)?;
        stands.enter(lane, &mark, Some(shown), place);
        Ok(mark)
    }

    /// Reads on: through windows where a lane has not come to the tail, else from the tail.
    pub(crate) async fn read_tail(
        &mut self,
        wish: Wish<'_>,
    ) -> Result<Page<PostgresMark, PackedRow>, StoreFault> {
        let Some(tail) = &mut self.tail else { return self.read_windows(wish).await };
        if std::mem::replace(&mut tail.reading, true) {
            tail.begin();
        }
        let apart: Vec<Lane> = wish.lanes.iter().filter(|lane| !tail.stands.has(**lane)).copied().collect();
        tail.windows_turn = !tail.windows_turn;
        let windows_first = tail.windows_turn || apart.len() == wish.lanes.len();
        let page = self.read_both(&wish, &apart, windows_first).await;
        if let Some(tail) = &mut self.tail {
            // After a failure the stream may have taken what was not handed over.
            if page.is_err() {
                tail.begin();
            }
            tail.reading = false;
        }
        page
    }

    /// Reads from the tail and, for the lanes that are apart, through windows: one of them, and the other too if that
    /// shows that nothing is there.
    async fn read_both(
        &mut self,
        wish: &Wish<'_>,
        apart: &[Lane],
        windows_first: bool,
    ) -> Result<Page<PostgresMark, PackedRow>, StoreFault> {
        let windows = Wish { lanes: apart, ..*wish };
        if apart.is_empty() {
            return self.stream_on(wish).await;
        }
        let all_apart = apart.len() == wish.lanes.len();
        let mut first =
            if windows_first { self.approach(windows).await? } else { self.stream_on(wish).await? };
        if all_apart {
            return Ok(first);
        }
        if !first.records.is_empty() || first.rest == Rest::More {
            // Nothing was asked of the others.
            return Ok(Page { rest: Rest::More, ..first });
        }
        let second = if windows_first { self.stream_on(wish).await? } else { self.approach(windows).await? };
        first.passed.extend(second.passed);
        let rest = if first.rest.is_quiet() { second.rest } else { first.rest };
        Ok(Page { records: second.records, passed: first.passed, rest })
    }

    /// Reads windows, until one sees nothing run that may have been committed before the slot begins.
    async fn approach(&mut self, wish: Wish<'_>) -> Result<Page<PostgresMark, PackedRow>, StoreFault> {
        self.find_slot().await?;
        if self.tail.as_ref().is_some_and(|tail| tail.slot.is_some()) {
            // A window that is opened now may see nothing run any more.
            self.idle.take_if(|idle| idle.since.elapsed() >= APPROACH_PAUSE);
            self.stay_max = APPROACH_PAUSE;
        }
        let page = self.read_windows(wish).await;
        self.stay_max = REFRESH;
        let mut page = page?;
        let Some(tail) = &mut self.tail else { return Ok(page) };
        let Some(slot) = &tail.slot else { return Ok(page) };
        let mut entered = false;
        for lane in wish.lanes {
            let Some(mark) = self.cursors.get(lane).filter(|mark| mark.is_end()) else { continue };
            let shown = Snapshot::of(&mark.window.cur).ok_or_else(unreadable)?;
            if mark.window.is_restored_beginning() || !shown.sees_none_below(slot.horizon) {
                continue;
            }
            let place = TailPlace { lsn: slot.confirmed, ordinal: 0, id: 0, newest_id: Some(0) };
            tail.stands.enter(*lane, mark, Some(shown), place);
            entered = true;
        }
        if entered {
            // It must be read from the place of the last one that came.
            tail.begin();
            page.rest = Rest::More;
        }
        Ok(page)
    }

    async fn stream_on(&mut self, wish: &Wish<'_>) -> Result<Page<PostgresMark, PackedRow>, StoreFault> {
        self.start_stream(wish).await?;
        self.take_pair().await?;
        let lanes_total = self.lanes_total;
        let mut sheet = Sheet::new(wish.records_max, wish.bytes_max);
        let Some(tail) = &mut self.tail else { return Err(unopened()) };
        let Some(stream) = &mut tail.stream else { return Err(unopened()) };
        if let Some(rest) = tail.moderation.rest() {
            tokio::time::sleep(rest).await;
        }
        let (listened, mut waited) = (Instant::now(), Duration::ZERO);
        let mut is_full = false;
        loop {
            if stream.fill(&mut sheet, &mut tail.stands, lanes_total)? == Stop::Full {
                is_full = true;
                break;
            }
            if stream.read_now()? {
                continue;
            }
            if !sheet.records.is_empty() || tail.behind_since.is_some() {
                break;
            }
            let left = tail.config.tail_wait.saturating_sub(listened.elapsed());
            match tokio::time::timeout(left, stream.read()).await {
                Ok(read) => read?,
                Err(_) => break,
            }
            waited = listened.elapsed();
        }
        tail.moderation.page(sheet.records.len(), is_full, waited);
        let mut rest = Rest::More;
        if sheet.records.is_empty() && tail.behind_since.is_none() {
            rest = self.prove_quiet(&mut sheet).await?;
        }
        Ok(self.page(sheet, rest))
    }

    /// The stream, begun anew if a wanted lane was passed over.
    async fn start_stream(&mut self, wish: &Wish<'_>) -> Result<(), StoreFault> {
        let Some(tail) = &mut self.tail else { return Err(unopened()) };
        if tail.stands.wish(wish) {
            let since = *tail.behind_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= BEHIND_WAIT || tail.config.tail_wait < BEHIND_WAIT {
                tail.begin();
                tail.stands.wish(wish);
            }
        }
        if tail.stream.is_none() {
            let history = self.history.ok_or_else(unopened)?;
            let slot = Slot::take_over(&mut self.connection).await?;
            let Some(start) = tail.stands.start() else { return Err(unopened()) };
            if !slot.lives() || slot.confirmed > start {
                return Err(StoreFault::new(StoreFaultKind::HistoryLost, "the replication slot was lost"));
            }
            tail.stands.begin();
            // It was let in at its start.
            let stream = Stream::start(&tail.config, &slot.name, start, history).await.map_err(shut_out)?;
            tail.stream = Some(stream);
        }
        if let (Some(stream), Some(settled)) = (&tail.stream, self.positions.tail_floor(self.lanes_total)) {
            stream.settled(settled);
        }
        Ok(())
    }

    /// Asks how far the log is on disk, and waits until the stream has come so far, or brings something.
    async fn prove_quiet(&mut self, sheet: &mut Sheet) -> Result<Rest, StoreFault> {
        let pair = self.pair().await?;
        let Some(tail) = &mut self.tail else { return Err(unopened()) };
        tail.quiet = tail.quiet.saturating_add(1);
        if tail.dirty || tail.quiet == FOLLOW_AFTER || pair.place > tail.passed + SILENCE_BYTES {
            tail.keep(pair.window, pair.place);
        }
        let Some(stream) = &mut tail.stream else { return Err(unopened()) };
        let asked = Instant::now();
        stream.ping();
        loop {
            if stream.fill(sheet, &mut tail.stands, self.lanes_total)? == Stop::Full
                || !sheet.records.is_empty()
            {
                return Ok(Rest::More);
            }
            if stream.reached() >= pair.flushed {
                return Ok(Rest::Quiet);
            }
            if asked.elapsed() >= PROOF_WAIT {
                return Ok(Rest::Waiting(pair.at));
            }
            match tokio::time::timeout(Duration::from_millis(50), stream.read()).await {
                Ok(read) => read?,
                Err(_) => stream.ping(),
            }
        }
    }

    /// While events flow, a window is taken from time to time.
    async fn take_pair(&mut self) -> Result<(), StoreFault> {
        let Some(tail) = &mut self.tail else { return Ok(()) };
        let due = tail.paired_at.is_none_or(|at| at.elapsed() >= PAIR_PAUSE);
        if !tail.dirty || !due || tail.pair.is_some() || tail.config.feed == FeedChoice::TailMessages {
            return Ok(());
        }
        tail.paired_at = Some(Instant::now());
        let pair = self.pair().await?;
        if let Some(tail) = &mut self.tail {
            tail.keep(pair.window, pair.place);
        }
        Ok(())
    }

    /// A snapshot and a place in the log, taken in this order.
    async fn pair(&mut self) -> Result<Pair, StoreFault> {
        let history = self.history.ok_or_else(unopened)?;
        let before =
            self.tail.as_ref().and_then(|tail| tail.stands.window()).cloned().ok_or_else(unopened)?;
        let client = self.connection.client().await?;
        let params: [(&(dyn ToSql + Sync), Type); 1] = [(&before.cur, Type::TEXT)];
        let query = client.query_typed_one(include_str!("../../sql/tail_pair.sql"), &params);
        let row = self.connection.answer("look at the log's end", query).await?;
        self.admit_history(History { system_identifier: row.get(4), timeline: row.get(5) })?;
        if let Some(tail) = self.tail.as_mut().filter(|tail| tail.has_table())
            && tail.publication != row.get::<_, Option<String>>(8)
        {
            let message = "the publication `eventferry` was changed, and events may be missing in the stream";
            return Err(StoreFault::new(StoreFaultKind::HistoryLost, message));
        }
        let bounds =
            Bounds { floor: row.get(1), late_floor: row.get(2), late_through: i64::MAX, restored_through: 0 };
        let window = Window::opened(before.cur.clone(), row.get(0), bounds, history);
        Ok(Pair {
            window: Arc::new(window),
            place: row.get::<_, i64>(3).cast_unsigned(),
            flushed: row.get::<_, i64>(6).cast_unsigned(),
            at: Timestamp(row.get(7)),
        })
    }

    /// The page, with where its lanes stand now.
    fn page(&mut self, sheet: Sheet, rest: Rest) -> Page<PostgresMark, PackedRow> {
        let mut passed = Vec::new();
        if let Some(Tail { config, stands, stream: Some(stream), pair, passed: last, dirty, quiet, .. }) =
            &mut self.tail
        {
            let reached = pair.take_if(|(_, place)| stream.reached() >= *place);
            // Where only what was emitted is carried, windows stay where rows of the table were left.
            let window = reached.as_ref().map(|(window, _)| window);
            let rows = config.feed != FeedChoice::TailMessages;
            stands.advance(stream.place(), window.filter(|_| rows));
            let is_far = stream.reached() > *last + SILENCE_BYTES;
            *dirty |= !sheet.records.is_empty();
            if is_far || !sheet.records.is_empty() {
                *quiet = 0;
            }
            if !sheet.records.is_empty() || reached.is_some() || is_far {
                *last = stream.reached();
                passed = stands.passed();
            }
        }
        Page { records: sheet.records, passed, rest }
    }
}

fn unreadable() -> StoreFault {
    StoreFault::new(StoreFaultKind::Misconfigured, "a snapshot in eventferry.read_window cannot be read")
}

fn unopened() -> StoreFault {
    StoreFault::new(StoreFaultKind::HistoryLost, "lanes are to be opened before they are read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_beside_the_stream_does_not_outlive_it() {
        let config = PostgresConfig::from_url("postgres://nobody@nowhere/none").unwrap();
        let mut tail = Tail::new(&config, 4);
        let bounds = Bounds { floor: 0, late_floor: 0, late_through: 0, restored_through: 0 };
        let window = Window::opened("5:5:".into(), "6:6:".into(), bounds, History::NONE);
        tail.keep(Arc::new(window), 100);
        tail.begin();
        assert!(tail.pair.is_none() && tail.dirty, "the log up to its place may be another by now");
    }
}
