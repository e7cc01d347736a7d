//! A model of PostgreSQL and of the store on it: a log read through windows between snapshots.
//!
//! | idea | where |
//! |---|---|
//! | snapshots, windows, places in them | `window.rs` |
//! | transactions, the log, what is on disk, crashes and copies | `books.rs` |
//! | who owns which lane | `lanes.rs` |
//! | opening windows and reading pages | `feed.rs` |
//! | moving positions, parking, retention | `ledger.rs` |
//! | what is settled when a transaction of the broker's is committed | `intents.rs` |
//! | parked events: due, changed, decided upon | `parked.rs` |
//!
//! Each method is one statement: it happens at one instant. What takes several statements takes several instants,
//! between which others have theirs.

mod books;
mod feed;
mod intents;
mod lanes;
mod ledger;
mod parked;
mod window;

pub(crate) use books::{Books, LOADED_BY, Row as LogRow};
pub(crate) use feed::{Opening, PageRead, PageWish};
pub(crate) use intents::ToldIntent;
pub(crate) use lanes::Claimant;
pub(crate) use ledger::{Settled, ToldChange, ToldLane, ToldPark};
pub(crate) use parked::{Applied, DueRead, DueRow, DueWish, ParkedRow};
pub(crate) use window::{Mark, Window};

use crate::agenda::Time;
use crate::flaw::Flaw;

/// The database's server.
pub(crate) struct Database {
    pub(crate) books: Books,
    /// A standby that lags behind.
    pub(crate) copy: Option<Books>,
    /// Nothing answers before this time.
    pub(crate) down_until: Time,
    /// Relays' calls do not reach it before this time.
    pub(crate) away_until: Time,
    /// Which life of the server this is: a statement of a connection of an earlier one never happens.
    pub(crate) generation: u32,
    /// Windows are numbered as they are opened.
    windows: u64,
    anchor_ids: u64,
    flaw: Option<Flaw>,
    /// What the last settlement changed of parked events.
    pub(crate) applied: Vec<Applied>,
    /// What a flawed retention keeps locked.
    pub(crate) locked_until: Time,
}

impl Database {
    pub(crate) fn new(lanes: u16, anchor_ids: u64, flaw: Option<Flaw>) -> Self {
        Self {
            books: Books::new(lanes),
            copy: None,
            down_until: 0,
            away_until: 0,
            generation: 0,
            windows: 0,
            anchor_ids,
            flaw,
            applied: Vec::new(),
            locked_until: 0,
        }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// The server's process ends: connections break, what was not on disk is gone.
    pub(crate) fn crash(&mut self, down_until: Time) {
        self.generation += 1;
        self.down_until = down_until;
        self.books.crash();
    }

    /// A copy takes its place, on a timeline of its own.
    pub(crate) fn fail_over(&mut self, down_until: Time) {
        let timeline = self.books.timeline;
        if let Some(copy) = self.copy.take() {
            self.books = copy;
        }
        if self.has(Flaw::FailsOverWithoutParked) {
            self.books.parked.clear();
        }
        self.books.timeline = timeline + 1;
        self.generation += 1;
        self.down_until = down_until;
    }

    /// A dump takes its place, loaded into another cluster: positions speak of transactions that mean nothing there.
    pub(crate) fn restore(&mut self, down_until: Time) {
        self.fail_over(down_until);
        let unsettled = self.books.first_unsettled();
        self.books.restore();
        if self.has(Flaw::RestoresPositions) {
            return;
        }
        self.windows += 1;
        let mut beginning = Window::beginning();
        if let Some(window) = std::rc::Rc::get_mut(&mut beginning.window) {
            (window.serial, window.timeline) = (self.windows, self.books.timeline);
        }
        self.books.re_anchor(unsettled, &beginning);
    }
}
