//! Lying down at the store's doorbell, and getting up.
//!
//! | the relay | it looks | writers |
//! |---|---|---|
//! | is up | often while the log moves, seldom while it stands still | pay nothing |
//! | lies, and has not heard the bell | as if it were up | ring, if the store can tell them to |
//! | lies, and has heard it | when it rings, and seldom beside | ring at each commit |
//!
//! Where ringing lets one writer commit at a time, as in PostgreSQL, it costs little while commits are few and quick,
//! and their throughput when they are many or slow. How slow the store is just now, a reading tells. So a relay that
//! hears more than [`RING_MIN`] and its readings are worth gets up, and tries again after a while. Without having been
//! disturbed it lies down when the whole log has stood still for a while, in other relays' lanes too. It goes on
//! looking, seldom, because a ring may be missed.

use core::time::Duration;

use super::action::Action;
use super::lane::LanePhase;
use super::{Core, Settings};
use crate::store::Rest;

/// What a ring counts for: so much of the time in which writers commit, or as much as this many readings took, for a
/// commit takes about as long as one, up to a bound. It may fill half of the time: a thousand commits a second.
const RING_MIN: Duration = Duration::from_millis(1);
const RING_READINGS: u32 = 2;
const RING_MAX: Duration = Duration::from_millis(20);

/// So much may ring at once.
const RINGS_AHEAD: Duration = Duration::from_millis(100);

/// How long a relay stays up that was rung out of bed, at first and at most: it doubles until it lay for longer.
const UP_MIN: Duration = Duration::from_secs(1);
const UP_MAX: Duration = Duration::from_secs(32);

/// How long the bell may be silent while events come: then it is deaf, and writers pay for nothing.
const DEAF: Duration = Duration::from_secs(1);

/// Where the relay is between its bed and its work.
pub(super) struct BellDesk {
    /// The store has a bell.
    is_there: bool,
    place: Place,
    /// It has rung since the relay lay down: whoever enqueues rings.
    heard: bool,
    /// It has rung since the last reading was asked for.
    rang: bool,
    /// It had rung before that.
    read_for_ring: bool,
    /// Since when events come for which it did not ring.
    unheard_since: Option<Duration>,
    /// When what has rung is paid for.
    rings_until: Duration,
    lain_since: Duration,
    /// Not before then, while the log moves.
    up_until: Duration,
    up_next: Duration,
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
    /// It rang: it is to be waited for again, or left.
    Rung,
    /// The waiting is to end.
    GettingUp,
}

impl BellDesk {
    pub(super) fn new(is_there: bool) -> Self {
        Self {
            is_there,
            place: Place::Up,
            heard: false,
            rang: false,
            read_for_ring: false,
            unheard_since: None,
            rings_until: Duration::ZERO,
            lain_since: Duration::ZERO,
            up_until: UP_MIN,
            up_next: UP_MIN,
            says_still: is_there,
            still_since: None,
        }
    }

    /// Whether it will ring for whatever is committed.
    pub(super) fn is_heard(&self) -> bool {
        self.heard && matches!(self.place, Place::Lying | Place::Rung)
    }

    /// A reading is asked for.
    pub(super) fn note_reading(&mut self) {
        self.read_for_ring = core::mem::take(&mut self.rang);
    }

    /// It rang since the last reading was asked for, which may not have seen what it rang for.
    pub(super) fn has_rung(&self) -> bool {
        self.rang
    }

    /// Whether more rings than it is worth.
    fn is_loud(&self, now: Duration) -> bool {
        self.rings_until > now + RINGS_AHEAD
    }

    fn is_deaf(&self, now: Duration) -> bool {
        self.unheard_since.is_some_and(|since| now >= since + DEAF)
    }

    /// Up, and for how long while the log moves.
    fn stay_up(&mut self, now: Duration) {
        if now >= self.lain_since + UP_MAX {
            self.up_next = UP_MIN;
        }
        self.up_until = now + self.up_next;
        self.up_next = (self.up_next * 2).min(UP_MAX);
        (self.heard, self.unheard_since, self.rings_until) = (false, None, Duration::ZERO);
    }
}

impl<M: Clone> Core<M> {
    /// A reading was answered: whether it found nothing, and whether the log stood still since the one before.
    pub(super) fn note_stillness(&mut self, empty: bool, rest: Rest) {
        self.bell.says_still |= rest == Rest::Still;
        if !empty || rest != Rest::Still {
            self.stir();
            return;
        }
        self.bell.still_since.get_or_insert(self.now);
    }

    /// Events came: whether the bell has rung for them.
    pub(super) fn note_found(&mut self) {
        if self.bell.place == Place::Lying && !self.bell.rang && !self.bell.read_for_ring {
            self.bell.unheard_since.get_or_insert(self.now);
        }
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
        let may_lie = self.bell.is_there && self.drain.is_none() && self.may_send();
        let disturbed = self.bell.is_loud(self.now) || self.bell.is_deaf(self.now);
        match self.bell.place {
            Place::Up
                if may_lie
                    && self.feed.is_at_rest()
                    && (self.is_idle() || self.now >= self.bell.up_until) =>
            {
                (self.bell.place, self.bell.lain_since) = (Place::Lying, self.now);
                Some(Action::LieDown)
            }
            Place::Rung if may_lie && !disturbed => {
                self.bell.place = Place::Lying;
                Some(Action::LieDown)
            }
            Place::Rung | Place::Lying if !may_lie || disturbed => {
                self.bell.place = Place::GettingUp;
                if disturbed {
                    self.bell.stay_up(self.now);
                }
                Some(Action::GetUp)
            }
            _ => None,
        }
    }

    /// When the relay may lie down, or when it knows that the bell is deaf.
    pub(super) fn bell_due(&self) -> Option<Duration> {
        let due = match self.bell.place {
            Place::Up => {
                let still = self.bell.still_since.map(|since| since + self.settings.doze);
                [still, Some(self.bell.up_until)].into_iter().flatten().filter(|due| *due > self.now).min()
            }
            Place::Lying => self.bell.unheard_since.map(|since| since + DEAF),
            Place::Rung | Place::GettingUp => None,
        };
        due.filter(|due| self.bell.is_there && *due > self.now)
    }

    /// [`Action::LieDown`] was answered: the bell rang, so often. 0: it may be that nobody rings any longer.
    pub fn handle_rung(&mut self, now: Duration, rings: u32) {
        self.now = now;
        let ring = (self.feed.took() * RING_READINGS).clamp(RING_MIN, RING_MAX);
        self.bell.rings_until = self.bell.rings_until.max(now) + ring.saturating_mul(rings);
        (self.bell.heard, self.bell.rang, self.bell.unheard_since) = (rings > 0, true, None);
        self.bell.place = if rings > 0 { Place::Rung } else { Place::Up };
        if rings == 0 {
            self.bell.up_until = self.bell.up_until.max(now + self.settings.doze);
        }
        self.stir();
        self.feed.hurry(now);
    }

    /// [`Action::GetUp`] was answered: the bell is waited for no longer.
    pub fn handle_got_up(&mut self, now: Duration) {
        self.now = now;
        (self.bell.place, self.bell.heard) = (Place::Up, false);
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
