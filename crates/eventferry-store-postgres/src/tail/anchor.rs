//! From windows to the tail: what a snapshot shows, and where each lane stands in the log.

use std::sync::Arc;

use eventferry_core::Lane;
use eventferry_core::store::Wish;

use crate::window::{END, PostgresMark, TailPlace, Window};

/// A snapshot, as `pg_current_snapshot()` writes it: `xmin:xmax:xip,xip`.
#[derive(Debug)]
pub(super) struct Snapshot {
    xmin: u64,
    xmax: u64,
    running: Vec<u64>,
}

impl Snapshot {
    pub(super) fn of(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (xmin, xmax) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let running = parts.next()?.split(',').filter(|xid| !xid.is_empty());
        let running = running.map(|xid| xid.parse().ok()).collect::<Option<Vec<u64>>>()?;
        Some(Self { xmin, xmax, running })
    }

    /// Whether it shows what this transaction wrote, once it has committed. The stream has the lower half of an xid.
    fn shows(&self, low: u32) -> bool {
        let distance = low.wrapping_sub(self.xmax as u32).cast_signed();
        let xid = self.xmax.wrapping_add_signed(i64::from(distance));
        xid < self.xmin || (xid < self.xmax && !self.running.contains(&xid))
    }

    /// Whether all transactions below this xid had ended.
    pub(super) fn sees_none_below(&self, horizon: u64) -> bool {
        self.xmin >= horizon
    }
}

/// A lane that is read from the tail.
pub(super) struct LaneTail {
    pub(super) place: TailPlace,
    window: Arc<Window>,
    /// How far the window is settled: to its end, where rows are carried.
    last_id: i64,
    /// What this shows has been handed over before the tail began; `None`: nothing that comes.
    shown: Option<Arc<Snapshot>>,
    /// It is in the wish that is being served.
    wished: bool,
    /// Something of it was passed over: it is read again from its place.
    behind: bool,
}

/// Where the lanes stand, by their number; `None`: not open, or read through windows.
#[derive(Default)]
pub(super) struct Stands(Vec<Option<LaneTail>>);

impl Stands {
    pub(super) fn of(lanes_total: u16) -> Self {
        Self((0..lanes_total).map(|_| None).collect())
    }

    pub(super) fn clear(&mut self) {
        self.0.iter_mut().for_each(|lane| *lane = None);
    }

    pub(super) fn remove(&mut self, lane: Lane) {
        if let Some(slot) = self.0.get_mut(usize::from(lane.0)) {
            *slot = None;
        }
    }

    pub(super) fn has(&self, lane: Lane) -> bool {
        self.0.get(usize::from(lane.0)).is_some_and(Option::is_some)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// A lane whose window is read to its end goes on in the tail, from this place.
    pub(super) fn enter(
        &mut self,
        lane: Lane,
        mark: &PostgresMark,
        shown: Option<Snapshot>,
        place: TailPlace,
    ) {
        let window = Arc::clone(&mark.window);
        let (last_id, shown) = (mark.last_id, shown.map(Arc::new));
        let entering = LaneTail { place, window, last_id, shown, wished: false, behind: false };
        if let Some(slot) = self.0.get_mut(usize::from(lane.0)) {
            *slot = Some(entering);
        }
    }

    /// From where the stream must begin so that no lane misses anything.
    pub(super) fn start(&self) -> Option<u64> {
        self.0.iter().flatten().map(|lane| lane.place.lsn).min()
    }

    /// Takes note of which lanes are wanted; whether one of them is behind.
    pub(super) fn wish(&mut self, wish: &Wish<'_>) -> bool {
        self.0.iter_mut().flatten().for_each(|lane| lane.wished = false);
        let mut behind = false;
        for lane in wish.lanes {
            if let Some(Some(lane)) = self.0.get_mut(usize::from(lane.0)) {
                lane.wished = true;
                behind |= lane.behind;
            }
        }
        behind
    }

    /// The stream begins anew, before every lane's place: nobody is behind it.
    pub(super) fn begin(&mut self) {
        self.0.iter_mut().flatten().for_each(|lane| lane.behind = false);
    }

    /// Whether an event is to be handed over now: it is new to its lane, and the lane is wanted.
    pub(super) fn wants(&mut self, lane: Lane, place: (u64, i64), xid: u32, is_row: bool) -> bool {
        let Some(Some(lane)) = self.0.get_mut(usize::from(lane.0)) else { return false };
        if place <= (lane.place.lsn, lane.place.ordinal) {
            return false;
        }
        if is_row && lane.place.newest_id.is_none() {
            return false;
        }
        if is_row && lane.shown.as_ref().is_some_and(|shown| shown.shows(xid)) {
            return false;
        }
        lane.behind |= !lane.wished;
        !lane.behind
    }

    /// The mark of an event that is handed over.
    pub(super) fn mark(&mut self, lane: Lane, place: (u64, i64), id: i64) -> Option<PostgresMark> {
        let lane = self.0.get_mut(usize::from(lane.0))?.as_mut()?;
        lane.place.newest_id = lane.place.newest_id.map(|newest| newest.max(id));
        let tail = TailPlace { lsn: place.0, ordinal: place.1, id, newest_id: lane.place.newest_id };
        Some(PostgresMark { window: Arc::clone(&lane.window), last_id: lane.last_id, tail: Some(tail) })
    }

    /// The stream has come to this place: so have all lanes that were wanted, and by `window` if one is given.
    pub(super) fn advance(&mut self, place: (u64, i64), window: Option<&Arc<Window>>) {
        for lane in self.0.iter_mut().flatten().filter(|lane| !lane.behind) {
            if place > (lane.place.lsn, lane.place.ordinal) {
                (lane.place.lsn, lane.place.ordinal) = place;
            }
            if let Some(window) = window {
                lane.window = Arc::clone(window);
                lane.last_id = END;
                lane.shown = None;
            }
        }
    }

    /// Where each wanted lane stands that is not behind.
    pub(super) fn passed(&self) -> Vec<(Lane, PostgresMark)> {
        let at = |(number, lane): (u16, &Option<LaneTail>)| {
            let lane = lane.as_ref().filter(|lane| !lane.behind && lane.wished)?;
            let mark = PostgresMark {
                window: Arc::clone(&lane.window),
                last_id: lane.last_id,
                tail: Some(lane.place),
            };
            Some((Lane(number), mark))
        };
        (0..).zip(&self.0).filter_map(at).collect()
    }

    /// A window that one of the lanes stands by.
    pub(super) fn window(&self) -> Option<&Arc<Window>> {
        self.0.iter().flatten().next().map(|lane| &lane.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_shows_what_had_ended() {
        let snapshot = Snapshot::of("4294967300:4294967310:4294967302,4294967305").unwrap();
        let shown = |xid: u64| snapshot.shows(xid as u32);
        assert!(shown(4294967299) && shown(4294967301) && shown(4294967309) && shown(4294967290));
        assert!(!shown(4294967302) && !shown(4294967305) && !shown(4294967310) && !shown(5000000000));
        assert!(snapshot.sees_none_below(4294967300) && !snapshot.sees_none_below(4294967301));
        assert!(Snapshot::of("5:5:").is_some_and(|snapshot| snapshot.shows(4) && !snapshot.shows(5)));
        assert!(Snapshot::of("5").is_none());
    }
}
