//! A page of a window: one query, read row by row.

use std::sync::Arc;

use eventferry_core::{Lane, PackedRow, Record, Row as _};
use futures_util::{StreamExt as _, pin_mut};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, RowStream};

use crate::row::PageRow;
use crate::window::{END, PostgresMark, Window};

/// Which part of a window to read, and how much of it.
pub(crate) struct PageParams {
    pub(crate) window: Arc<Window>,
    /// Ids up to this one have been read.
    pub(crate) after: i64,
    /// A byte a lane, 1 to read it.
    pub(crate) mask: Vec<u8>,
    pub(crate) lanes: i32,
    pub(crate) rows_max: i32,
    pub(crate) bytes_max: u64,
    /// How many ids to look at: others' rows are stepped over in bounded bites.
    pub(crate) scan_max: i32,
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
            (&self.mask, Type::BYTEA),
            (&self.lanes, Type::INT4),
            (&self.rows_max, Type::INT4),
            (&self.scan_max, Type::INT4),
        ];
        self.collect(client.query_typed_raw(include_str!("../sql/read_page.sql"), params).await?, END).await
    }

    /// Reads a page of the middle of a large window that may be streamed: planned each time, which costs the server a
    /// fifth less a row. Three statements, sent together: a client that freezes now holds no more than
    /// one that freezes in the middle of one.
    pub(crate) async fn read_bulk(&self, client: &Client) -> Result<PageRows, Error> {
        let start = self.after.max(self.window.bounds.floor);
        let upto = start.saturating_add(i64::from(self.scan_max));
        let params: [(&(dyn ToSql + Sync), Type); 7] = [
            (&self.window.prev, Type::TEXT),
            (&self.window.cur, Type::TEXT),
            (&start, Type::INT8),
            (&upto, Type::INT8),
            (&self.mask, Type::BYTEA),
            (&self.lanes, Type::INT4),
            (&self.rows_max, Type::INT4),
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
        let mut page = PageRows { records: Vec::new(), bytes: 0, reached, full: false, flooded: false };
        let (mut beyond, mut no_room) = (0, false);
        while let Some(row) = rows.next().await {
            match PageRow::of(&row?)? {
                PageRow::LookedUpTo(id) => page.reached = page.reached.min(id),
                PageRow::Event { id, lane, row } => {
                    let bytes = row.size_bytes() as u64;
                    no_room |= !page.records.is_empty() && page.bytes + bytes > self.bytes_max;
                    if no_room {
                        // What comes now is read again with the next page.
                        beyond += bytes;
                        page.flooded = beyond > self.bytes_max;
                        if page.flooded {
                            break;
                        }
                        continue;
                    }
                    page.bytes += bytes;
                    let mark = PostgresMark::in_window(Arc::clone(&self.window), id);
                    page.records.push(Record { lane: Lane(lane), mark, row });
                }
            }
        }
        page.full = no_room || page.records.len() >= self.rows_max as usize;
        if let Some(last) = page.records.last().filter(|_| page.full) {
            page.reached = last.mark.last_id;
        }
        Ok(page)
    }
}

/// What ends a page's statements before the last of them is answered.
enum Cut {
    Failed(Error),
    Flooded(PageRows),
}
