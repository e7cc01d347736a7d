//! A reading: several statements one after the other, between which others have theirs.
//!
//! Lanes that stand at the same place are read together; lanes that were left out, or came later, by themselves until
//! they stand where the others do.

use std::rc::Rc;

use eventferry_core::Lane;
use eventferry_core::fault::StoreFaultKind;
use eventferry_core::store::Rest;

use super::calls::{Answer, Call};
use super::engine::Page;
use super::{What, World};
use crate::agenda::{MILLISECOND, Time};
use crate::database::{Mark, Opening, PageRead, PageWish};
use crate::flaw::Flaw;

/// Lanes that are read together, with the place to read on from.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    at: Mark,
    lanes: Vec<u16>,
}

#[derive(Debug)]
pub(crate) struct Reading {
    wish: PageWish,
    /// Those that have read their windows to the end, while new ones are opened for them.
    ended: Vec<Group>,
    reading: Vec<Group>,
    turn: usize,
    behind: bool,
    stage: Stage,
    /// What must be on disk before anything is handed over.
    lsn: Option<u64>,
    page: Option<PageRead>,
    rest: Rest,
    /// The last id that was given, when that was asked.
    newest: Option<u64>,
}

/// The next statement.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Newest,
    Open(Opening),
    Page,
    Flush,
    Done,
}

/// How long lanes that have read all wait for others that have not.
const OPEN_PAUSE: Time = 20 * MILLISECOND;

impl World {
    pub(super) fn read(&mut self, relay: usize, lanes: &[Lane], records_max: usize, bytes_max: u64) {
        let now = self.now;
        let scan_ids = self.plan.scan_ids;
        let client = &mut self.relays[relay].client;
        let (mut ended, mut reading) = (Vec::new(), Vec::new());
        for lane in lanes {
            let Some(cursor) = client.cursors.get(&lane.0) else { continue };
            let groups: &mut Vec<Group> = if cursor.is_end() { &mut ended } else { &mut reading };
            let same = |group: &&mut Group| match cursor.is_end() {
                true => group.at.window.cur == cursor.window.cur,
                false => group.at.place() == cursor.place(),
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.lanes.push(lane.0),
                None => groups.push(Group { at: cursor.clone(), lanes: vec![lane.0] }),
            }
        }
        let behind = reading.len() > 1 || (!reading.is_empty() && !ended.is_empty());
        let due = client.others_wait_since.is_some_and(|at| now - at >= OPEN_PAUSE);
        let opens = !ended.is_empty() && (reading.is_empty() || due);
        if opens {
            client.others_wait_since = None;
        } else {
            client.others_wait_since.get_or_insert(now);
            ended.clear();
        }
        client.turn = client.turn.wrapping_add(1);
        let turn = client.turn;
        let wish = PageWish { lanes: Vec::new(), records_max: records_max.max(1), bytes_max, scan_ids };
        let stage = if opens { Stage::Newest } else { Stage::Page };
        let reading = Reading {
            wish,
            ended,
            reading,
            turn,
            behind,
            stage,
            lsn: None,
            page: None,
            rest: Rest::More,
            newest: None,
        };
        self.call(relay, Call::Read(reading));
    }

    /// One statement of a reading happens; the next is sent, or the answer is.
    pub(super) fn read_on(&mut self, relay: usize, incarnation: u32, mut reading: Reading) {
        let known = self.relays.get(relay).and_then(|process| process.client.timeline);
        if known != Some(self.database.books.timeline) && !self.has(Flaw::IgnoresHistory) {
            let answer = Answer::Read(Err(StoreFaultKind::HistoryLost));
            let at = self.now + self.store_delay() / 2;
            self.agenda.enter(at, What::Answer { relay, incarnation, answer });
            return;
        }
        reading.stage = self.take_stage(&mut reading);
        if matches!(reading.stage, Stage::Done) {
            let answer = Answer::Read(Ok(Box::new(reading)));
            let at = self.now + self.store_delay() / 2;
            self.agenda.enter(at, What::Answer { relay, incarnation, answer });
            return;
        }
        if self.runs(relay, incarnation) {
            self.call(relay, Call::Read(reading));
        }
    }

    fn take_stage(&mut self, reading: &mut Reading) -> Stage {
        match reading.stage {
            Stage::Newest => {
                reading.newest = Some(self.database.newest());
                return Stage::Open(self.database.read_newest());
            }
            Stage::Open(opening) => {
                let prevs: Vec<Mark> = reading.ended.iter().map(|group| group.at.clone()).collect();
                let (marks, lsn) = self.database.open_windows(opening, &prevs);
                let groups = reading.ended.drain(..).zip(marks);
                reading.reading = groups.map(|(group, at)| Group { at, lanes: group.lanes }).collect();
                reading.lsn = Some(lsn);
                return Stage::Page;
            }
            Stage::Page if reading.reading.is_empty() => reading.rest = Rest::Quiet,
            Stage::Page => {
                reading.turn %= reading.reading.len();
                let group = &reading.reading[reading.turn];
                reading.wish.lanes.clone_from(&group.lanes);
                let page = self.database.read_page(&group.at, &reading.wish);
                let ends = page.reached == u64::MAX && !reading.behind && reading.reading.len() == 1;
                let flushed = reading.lsn.is_none_or(|lsn| self.database.is_flushed(lsn));
                if !flushed && page.rows.is_empty() && ends {
                    // Nothing to hand over, and not worth a flush: stay, and look again with another window.
                    reading.reading.clear();
                    reading.rest = Rest::Quiet;
                    return Stage::Done;
                }
                reading.rest = if ends && reading.lsn.is_some() { Rest::Quiet } else { Rest::More };
                reading.page = Some(page);
                if !flushed {
                    return Stage::Flush;
                }
            }
            Stage::Flush => self.flushed_with(|database| database.flush()),
            Stage::Done => {}
        }
        Stage::Done
    }

    /// A reading's answer: only now do the cursors enter windows just opened, because what they show is on disk.
    pub(super) fn was_read(&mut self, relay: usize, reading: Result<Box<Reading>, StoreFaultKind>) {
        let process = &mut self.relays[relay];
        process.reads = false;
        let clock = process.clock(self.now);
        let reading = match reading {
            Ok(reading) => reading,
            Err(kind) => {
                if kind == StoreFaultKind::HistoryLost {
                    process.client.cursors.clear();
                    process.client.timeline = None;
                }
                process.core.handle_read_failed(clock, kind);
                return;
            }
        };
        for group in &reading.reading {
            for lane in &group.lanes {
                process.client.cursors.insert(*lane, group.at.clone());
            }
        }
        let mut page = Page { rows: Vec::new(), passed: Vec::new(), rest: reading.rest };
        if let (Some(group), Some(read)) = (reading.reading.get(reading.turn), reading.page) {
            let at = |last_id| Mark { window: Rc::clone(&group.at.window), last_id };
            page.rows = read.rows.iter().map(|(lane, event, id)| (*lane, *event, at(*id))).collect();
            page.passed = group.lanes.iter().map(|lane| (*lane, at(read.reached))).collect();
            for (lane, mark) in &page.passed {
                process.client.cursors.insert(*lane, mark.clone());
            }
        }
        if self.plan.bell.is_some() && page.rows.is_empty() && page.rest == Rest::Quiet {
            // The whole log has stood still since the reading before.
            let stood = reading.newest.is_some() && process.client.newest == reading.newest;
            page.rest = if stood { Rest::Still } else { Rest::Quiet };
        }
        process.client.newest = reading.newest.or(process.client.newest);
        self.see_punctual(relay, &page);
        self.page(relay, page);
    }
}
