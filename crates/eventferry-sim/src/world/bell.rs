//! The doorbell: who lies at it, who rings, and what comes of it.
//!
//! Whoever enqueues while somebody lies there rings with its commit, and holds the bell's lock, shared, until then: so
//! a sleeper lies down only between such transactions, and looks once more when it does. It stays there when it is
//! rung, until it gets up: what rings before it listens again is counted.

use super::engine::Page;
use super::{Answer, What, World};
use crate::agenda::{MILLISECOND, Time};
use crate::checks::punctual;
use crate::flaw::Flaw;
use crate::plan::Temper;

/// Those who lie at the doorbell.
#[derive(Debug, Default)]
pub(super) struct Bell {
    beds: u64,
    sleepers: Vec<Sleeper>,
}

/// A relay that lies at the bell, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sleeper {
    relay: usize,
    incarnation: u32,
    /// Which time it lies down, of all.
    bed: u64,
    /// Since when it lies there, once it has the bell's lock.
    lies_since: Time,
    /// How often it rang since it listened last.
    rings: u32,
    /// Nobody has told it yet.
    listens: bool,
}

/// The pause before a sleeper tries again to lie down.
const AWAKE: Time = 50 * MILLISECOND;

impl World {
    pub(super) fn lie_down(&mut self, relay: usize) {
        if let Some(sleeper) = self.bell.sleepers.iter_mut().find(|sleeper| sleeper.relay == relay) {
            sleeper.listens = true;
            self.relays[relay].bed = Some(sleeper.bed);
            if sleeper.rings > 0 {
                let sleeper = *sleeper;
                self.tell(sleeper, false);
            }
            return;
        }
        self.bell.beds += 1;
        let (bed, process) = (self.bell.beds, &mut self.relays[relay]);
        process.bed = Some(bed);
        self.tally.naps += 1;
        let incarnation = process.incarnation;
        let sleeper = Sleeper { relay, incarnation, bed, lies_since: Time::MAX, rings: 0, listens: true };
        self.note(|| format!("relay {relay} lies down"));
        let at = self.now + self.store_delay();
        self.agenda.enter(at, What::LieDown(sleeper));
    }

    /// A relay asks for the bell's lock.
    pub(super) fn try_to_lie_down(&mut self, sleeper: Sleeper) {
        let Sleeper { relay, incarnation, bed, .. } = sleeper;
        if !self.runs(relay, incarnation) || self.relays[relay].bed != Some(bed) {
            return;
        }
        let away = self.database.down_until.max(self.database.away_until) > self.now;
        if away || self.somebody_enqueues() {
            self.agenda.enter(self.now + AWAKE, What::LieDown(sleeper));
            return;
        }
        if self.has_news(relay) && !self.has(Flaw::LiesDownBlindly) {
            self.tell(sleeper, true);
        } else {
            self.bell.sleepers.push(Sleeper { lies_since: self.now, ..sleeper });
        }
    }

    /// Whether something was committed since this relay looked last.
    fn has_news(&self, relay: usize) -> bool {
        self.relays[relay].client.cursors.values().any(|looked| self.database.has_news(looked))
    }

    /// Whether whoever enqueues now is to ring.
    pub(super) fn somebody_sleeps(&self) -> bool {
        !self.bell.sleepers.is_empty() && !self.has(Flaw::RingsForNobody)
    }

    /// A transaction that enqueued while somebody slept has committed.
    pub(super) fn ring(&mut self) {
        if self.database.away_until > self.now {
            return;
        }
        let missed = self.plan.bell.unwrap_or(0);
        for place in 0..self.bell.sleepers.len() {
            if !self.dice.chance(missed) {
                self.bell.sleepers[place].rings += 1;
                self.tell(self.bell.sleepers[place], false);
            }
        }
    }

    /// Whoever listens is told that it rang, or that there is something though nobody rings.
    fn tell(&mut self, sleeper: Sleeper, stirred: bool) {
        let Sleeper { relay, incarnation, bed, listens, .. } = sleeper;
        if !listens {
            return;
        }
        if let Some(sleeper) = self.bell.sleepers.iter_mut().find(|sleeper| sleeper.bed == bed) {
            sleeper.listens = false;
        }
        let at = self.now + self.store_delay();
        self.agenda.enter(at, What::Answer { relay, incarnation, answer: Answer::Rung { bed, stirred } });
    }

    /// A relay hears the bell.
    pub(super) fn was_rung(&mut self, relay: usize, bed: u64, stirred: bool) {
        let taken_wrongly = self.has(Flaw::TakesRingForGettingUp);
        let process = &mut self.relays[relay];
        if process.bed != Some(bed) {
            return;
        }
        process.bed = None;
        (process.rung, process.heard_at) = (true, self.now);
        self.tally.rings += 1;
        let clock = process.clock(self.now);
        if taken_wrongly {
            process.core.handle_got_up(clock);
            self.bell.sleepers.retain(|sleeper| sleeper.bed != bed);
            return;
        }
        let sleeper = self.bell.sleepers.iter_mut().find(|sleeper| sleeper.bed == bed);
        let rings = sleeper.map_or(0, |sleeper| std::mem::take(&mut sleeper.rings));
        // Its session may have ended meanwhile, which it does not know.
        process.core.handle_rung(clock, if stirred { 0 } else { rings.max(1) });
    }

    /// Since when a relay lies at the bell, if it does.
    pub(super) fn asleep_since(&self, relay: usize) -> Option<Time> {
        let bed = self.relays[relay].bed?;
        self.bell.sleepers.iter().find(|sleeper| sleeper.bed == bed).map(|sleeper| sleeper.lies_since)
    }

    /// Where no ring is missed, a relay that sleeps finds nothing that was there before.
    pub(super) fn see_punctual(&mut self, relay: usize, page: &Page) {
        let Some(asleep) = self.relays[relay].reads_asleep_since else { return };
        // A lane that was given to it in its sleep may have what nobody rang for.
        if self.relays[relay].opened_at >= asleep
            || self.plan.temper != Temper::Calm
            || self.plan.bell != Some(0)
            || self.plan.lanes_fill()
        {
            return;
        }
        for (_, number, _) in &page.rows {
            let visible = self.truth.events[*number as usize].visible_at;
            // What it has heard of may wait for room.
            if self.relays[relay].heard_at < visible {
                let found = punctual::found_asleep(*number, visible, asleep, self.now);
                self.check(2, found);
            }
        }
    }

    /// Beside others a relay that sleeps may give its lanes away.
    pub(super) fn one_relay_is_up(&self) -> bool {
        self.relays.iter().filter(|process| process.up).count() == 1
    }

    /// A relay gets up by itself.
    pub(super) fn get_up(&mut self, relay: usize) {
        let process = &mut self.relays[relay];
        let incarnation = process.incarnation;
        process.bed = None;
        self.leave_the_bell(relay);
        let at = self.now + MILLISECOND;
        self.agenda.enter(at, What::Answer { relay, incarnation, answer: Answer::GotUp });
    }

    /// A relay's process is gone, and its session with it.
    pub(super) fn leave_the_bell(&mut self, relay: usize) {
        self.bell.sleepers.retain(|sleeper| sleeper.relay != relay);
    }

    /// All sessions are gone: whoever listens tries again.
    pub(super) fn silence_the_bell(&mut self) {
        for sleeper in std::mem::take(&mut self.bell.sleepers) {
            if sleeper.listens {
                self.agenda.enter(self.database.down_until.max(self.now) + AWAKE, What::LieDown(sleeper));
            }
        }
    }
}
