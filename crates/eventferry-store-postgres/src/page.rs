//! A page of a window: one query, read row by row.

use std::sync::Arc;

use eventferry_core::{Lane, PackedRow, Record, Row as _};
use futures_util::{StreamExt as _, pin_mut};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, RowStream};

use crate::row::{LookRow, PageRow};
use crate::window::{Bounds, END, History, PostgresMark, Window};

/// Whose rows a page is to have, and how many.
pub(crate) struct Share {
    /// A byte a lane, 1 to read it.
    pub(crate) mask: Vec<u8>,
    pub(crate) lanes: i32,
    pub(crate) rows_max: i32,
    pub(crate) bytes_max: u64,
    /// How many ids to look at: others' rows are stepped over in bounded bites.
    pub(crate) scan_max: i32,
}

/// Which part of a window to read, and how much of it.
pub(crate) struct PageParams {
    pub(crate) window: Arc<Window>,
    /// Ids up to this one have been read.
    pub(crate) after: i64,
    pub(crate) share: Share,
}

pub(crate) struct PageRows {
    pub(crate) records: Vec<Record<PostgresMark, PackedRow>>,
    pub(crate) bytes: u64,
    /// How far the window has been looked through: to its end, unless a limit was met.
    pub(crate) reached: i64,
    /// There were as many rows as were wanted.
    pub(crate) full: bool,
    /// The server was sending far more than there is room for: the connection is to be given up.
    pub(crate) flooded: bool,
}

impl PageParams {
    /// Reads a page by the function that knows late rows, wide gaps and the end of the window. Its plan is kept by the
    /// session, and its rows are stored before the first is sent: right for windows of a few rows.
    pub(crate) async fn read(&self, client: &Client) -> Result<PageRows, Error> {
        let bounds = &self.window.bounds;
        let params: [(&(dyn ToSql + Sync), Type); 10] = [
            (&self.window.prev, Type::TEXT),
            (&self.window.cur, Type::TEXT),
            (&bounds.floor, Type::INT8),
            (&bounds.late_floor, Type::INT8),
            (&bounds.restored_through, Type::INT8),
            (&self.after, Type::INT8),
            (&self.share.mask, Type::BYTEA),
            (&self.share.lanes, Type::INT4),
            (&self.share.rows_max, Type::INT4),
            (&self.share.scan_max, Type::INT4),
        ];
        self.collect(client.query_typed_raw(include_str!("../sql/read_page.sql"), params).await?, END).await
    }

    /// Reads a page of the middle of a large window that may be streamed: planned each time, which costs the server a
    /// fifth less a row. Three statements, sent together: a client that freezes now holds no more than
    /// one that freezes in the middle of one.
    pub(crate) async fn read_bulk(&self, client: &Client) -> Result<PageRows, Error> {
        let start = self.after.max(self.window.bounds.floor);
        let upto = start.saturating_add(i64::from(self.share.scan_max));
        let params: [(&(dyn ToSql + Sync), Type); 7] = [
            (&self.window.prev, Type::TEXT),
            (&self.window.cur, Type::TEXT),
            (&start, Type::INT8),
            (&upto, Type::INT8),
            (&self.share.mask, Type::BYTEA),
            (&self.share.lanes, Type::INT4),
            (&self.share.rows_max, Type::INT4),
        ];
        let page = async {
            let rows = client.query_typed_raw(include_str!("../sql/read_bulk.sql"), params).await;
            let page = self.collect(rows.map_err(Cut::Failed)?, upto).await.map_err(Cut::Failed)?;
            // What is still being sent is not waited for, nor the commit behind it.
            if page.flooded { Err(Cut::Flooded(page)) } else { Ok(page) }
        };
        let begun =
            async { client.batch_execute(include_str!("../sql/bulk_begin.sql")).await.map_err(Cut::Failed) };
        let committed = async { client.batch_execute("COMMIT").await.map_err(Cut::Failed) };
        match tokio::try_join!(begun, page, committed) {
            Ok(((), page, ())) | Err(Cut::Flooded(page)) => Ok(page),
            Err(Cut::Failed(error)) => Err(error),
        }
    }

    /// Whether [`PageParams::read_bulk`] would find all and no more: no row is late, nor, after a restore, parked.
    pub(crate) fn may_stream(&self) -> bool {
        let bounds = &self.window.bounds;
        self.after >= bounds.late_through && bounds.restored_through == 0
    }

    /// Takes rows as they come, as many as there is room for; `reached` unless a limit is met.
    async fn collect(&self, rows: RowStream, reached: i64) -> Result<PageRows, Error> {
        pin_mut!(rows);
        let mut taking = Taking::new(self.share.bytes_max, reached);
        while let Some(row) = rows.next().await {
            taking.take(PageRow::of(&row?)?, &self.window);
            if taking.page.flooded {
                break;
            }
        }
        Ok(taking.end(self.share.rows_max))
    }
}

/// A page whose rows are coming.
struct Taking {
    page: PageRows,
    bytes_max: u64,
    /// The bytes of rows for which there was no room.
    beyond: u64,
    no_room: bool,
}

impl Taking {
    fn new(bytes_max: u64, reached: i64) -> Self {
        let page = PageRows { records: Vec::new(), bytes: 0, reached, full: false, flooded: false };
        Self { page, bytes_max, beyond: 0, no_room: false }
    }

    fn take(&mut self, row: PageRow, window: &Arc<Window>) {
        let page = &mut self.page;
        match row {
            PageRow::LookedUpTo(id) => page.reached = page.reached.min(id),
            PageRow::Event { id, lane, row } => {
                let bytes = row.size_bytes() as u64;
                self.no_room |= !page.records.is_empty() && page.bytes + bytes > self.bytes_max;
                if self.no_room {
                    // What comes now is read again with the next page.
                    self.beyond += bytes;
                    page.flooded = self.beyond > self.bytes_max;
                    return;
                }
                page.bytes += bytes;
                let mark = PostgresMark::in_window(Arc::clone(window), id);
                page.records.push(Record { lane: Lane(lane), mark, row });
            }
        }
    }

    fn end(self, rows_max: i32) -> PageRows {
        let mut page = self.page;
        page.full = self.no_room || page.records.len() >= rows_max as usize;
        if let Some(last) = page.records.last().filter(|_| page.full) {
            page.reached = last.mark.last_id;
        }
        page
    }
}

/// A window to be opened, and how much of it to read at once.
pub(crate) struct LookParams<'a> {
    /// The window that was read before, to its end.
    pub(crate) before: &'a Window,
    pub(crate) share: Share,
}

/// A window just opened, and its first page.
pub(crate) struct Looked {
    pub(crate) window: Arc<Window>,
    pub(crate) history: History,
    pub(crate) rows: PageRows,
    /// Whether the log is on disk as far as the window needs it.
    pub(crate) flushed: bool,
}

impl LookParams<'_> {
    /// Opens a window and reads its first page in one round trip. `None`: the server said nothing of the window.
    pub(crate) async fn look(&self, client: &Client) -> Result<Option<Looked>, Error> {
        let params: [(&(dyn ToSql + Sync), Type); 5] = [
            (&self.before.cur, Type::TEXT),
            (&self.share.mask, Type::BYTEA),
            (&self.share.lanes, Type::INT4),
            (&self.share.rows_max, Type::INT4),
            (&self.share.scan_max, Type::INT4),
        ];
        let rows = client.query_typed_raw(include_str!("../sql/look.sql"), params).await?;
        pin_mut!(rows);
        let mut opened = None;
        let mut taking = Taking::new(self.share.bytes_max, END);
        let mut flushed = false;
        while let Some(row) = rows.next().await {
            match (LookRow::of(&row?)?, &opened) {
                (LookRow::Opened { cur, bounds }, _) => opened = Some(self.opened(cur, bounds)),
                (LookRow::Page(row), Some((window, _))) => taking.take(row, window),
                (LookRow::Page(_), None) => return Ok(None),
                (LookRow::Flushed(all), _) => flushed = all,
            }
            if taking.page.flooded {
                break;
            }
        }
        let rows = taking.end(self.share.rows_max);
        Ok(opened.map(|(window, history)| Looked { window, history, rows, flushed }))
    }

    fn opened(&self, cur: String, bounds: [i64; 5]) -> (Arc<Window>, History) {
        let [floor, late_floor, late_through, system_identifier, timeline] = bounds;
        let history = History { system_identifier, timeline: timeline as i32 };
        let bounds = Bounds { floor, late_floor, late_through, restored_through: 0 };
        (Arc::new(Window::opened(self.before.cur.clone(), cur, bounds, history)), history)
    }
}

/// What ends a page's statements before the last of them is answered.
enum Cut {
    Failed(Error),
    Flooded(PageRows),
}
