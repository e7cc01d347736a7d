//! Lying down at the store's doorbell, and getting up.
//!
//! A relay lies down when the whole log has stood still for a while, in other relays' lanes too: while any relay lies
//! there, each commit rings, and that costs writers dearly. It goes on polling, seldom, because a ring may be missed.

use core::time::Duration;

use super::action::Action;
use super::lanes::LanePhase;
use super::{Core, Settings};
use crate::store::Rest;

/// Where the relay is between its bed and its work.
pub(super) struct BellDesk {
    /// The store has a bell.
    is_there: bool,
    place: Place,
    /// The store says when the log stands still: one that has a bell does.
    says_still: bool,
    /// Since when the whole log has stood still.
    still_since: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Up,
    /// The store's bell is waited for.
    Lying,
    /// The waiting is to end.
    GettingUp,
}

impl BellDesk {
    pub(super) fn new(is_there: bool) -> Self {
        Self { is_there, place: Place::Up, says_still: is_there, still_since: None }
    }
}

impl<M: Clone> Core<M> {
    /// An empty reading said whether the log stood still since the one before.
    pub(super) fn note_stillness(&mut self, empty: bool, rest: Rest) {
        self.bell.says_still |= rest == Rest::Still;
        if !empty || rest != Rest::Still {
            self.stir();
            return;
        }
        self.bell.still_since.get_or_insert(self.now);
    }

    /// Whether somebody enqueues, in whatever lane, or has just done so.
    pub(super) fn log_moves(&self) -> bool {
        self.bell.says_still && !self.has_stood_still()
    }

    /// Something moves, or is about to: the relay works again at a working relay's pace.
    fn stir(&mut self) {
        self.bell.still_since = None;
        self.hold.stir(self.now + self.settings.renewal);
    }

    /// Whether the whole log has stood still for long enough to do less.
    pub(super) fn has_stood_still(&self) -> bool {
        let Settings { doze, .. } = self.settings;
        self.bell.still_since.is_some_and(|since| self.now >= since + doze)
    }

    /// Whether there is nothing to do but wait for new events.
    pub(super) fn is_idle(&self) -> bool {
        self.has_stood_still()
            && self.entries.len() == 0
            && self.lanes.values().all(|state| state.phase == LanePhase::Active && !state.carried)
    }

    pub(super) fn next_bell(&mut self) -> Option<Action<M>> {
        let wanted = self.bell.is_there && self.drain.is_none() && self.may_send() && self.is_idle();
        match self.bell.place {
            Place::Up if wanted && self.feed.is_at_rest() => {
                self.bell.place = Place::Lying;
                Some(Action::LieDown)
            }
            Place::Lying if !wanted => {
                self.bell.place = Place::GettingUp;
                Some(Action::GetUp)
            }
            _ => None,
        }
    }

    /// When the log will have stood still for long enough.
    pub(super) fn bell_due(&self) -> Option<Duration> {
        let due = self.bell.still_since? + self.settings.doze;
        (self.bell.is_there && self.bell.place == Place::Up && due > self.now).then_some(due)
    }

    /// [`Action::LieDown`] was answered: the bell rang.
    pub fn handle_rung(&mut self, now: Duration) {
        self.now = now;
        self.bell.place = Place::Up;
        self.stir();
        self.feed.hurry(now);
    }

    /// [`Action::GetUp`] was answered: the bell is waited for no longer.
    pub fn handle_got_up(&mut self, now: Duration) {
        self.now = now;
        self.bell.place = Place::Up;
    }

    /// Something was enqueued, or is just being: look at once, and often for a while, because its commit may still be
    /// under way.
    pub fn ring(&mut self, now: Duration) {
        self.now = now;
        // A relay at work looks soon enough: more often would only make the pages smaller.
        let at = if self.log_moves() { now + self.settings.poll_min } else { now };
        self.stir();
        self.feed.hurry(at);
    }
}
