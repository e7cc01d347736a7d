//! How long, how many, how much: the numbers a relay runs by.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

use super::retry::{Backoff, RetryPolicy};
use crate::fault::StoreFaultKind;

/// No time is longer: a year, beyond which nobody waits for the end.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// No lease is longer: 1 day, since for so long a relay that crashed leaves its lanes to nobody.
const LEASE_MAX: Duration = Duration::from_secs(24 * 3600);

/// No pause between two attempts is longer: 1 day, beyond which a retry is a surprise to whoever is on duty.
const BACKOFF_MAX: Duration = Duration::from_secs(24 * 3600);

/// People's decisions are looked for at least this often: 1 hour.
const PARKED_POLL_MAX: Duration = Duration::from_secs(3600);

/// The numbers a relay runs by. [`Settings::default`] is right for most; [`Settings::check`] says which two disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How long a lease lasts without renewal; at most 1 day. Default 10 s: after a crash a lane waits this long for
    /// its next owner, and a pause of the database (a failover, a checkpoint on a slow disk) of less than that stops
    /// nobody.
    pub lease: Duration,
    /// How often leases are renewed, and lanes looked for that are nobody's; at most half of what the margin leaves of
    /// a lease. Default 250 ms, whatever the lease: this is how long lanes wait that a leaving relay has handed over,
    /// and how much longer than the lease those of a killed one. With the default lease thirty in a row may fail.
    pub renewal: Duration,
    /// How often leases are renewed while the whole log stands still and no lane is wanted; not less often than a lease
    /// allows, nor more often than [`Settings::renewal`]. Default 800 ms: while nobody enqueues nobody waits for lanes.
    pub renewal_idle: Duration,
    /// How long before its lease ends a relay stops sending; over zero. Default 2 s: what it has handed to the
    /// network by then has time to arrive before the next owner begins, and its clock may run a fifth slower than the
    /// store's.
    pub margin: Duration,
    /// How long a draining relay waits for what is in flight before it gives up; at most the lease less the margin:
    /// past that nothing may be sent if the database is away, and waiting is in vain. Default 8 s, below the 10 s after
    /// which most supervisors kill.
    pub grace: Duration,
    /// The most records read at once; at least 1. Default 5,000, with which reading keeps pace with a broker.
    pub page_records_max: u32,
    /// The most payload bytes read at once, save for one larger event; at least 1. Default 4 MiB: 5,000 events of 800
    /// bytes, the size of most.
    pub page_bytes_max: u64,
    /// The most records in memory; at least a page and one. Default 30,000: six pages, so that the broker is fed while
    /// the database is asked.
    pub memory_records_max: usize,
    /// The most payload bytes in memory, save for one larger event from the log and one from among the parked ones; at
    /// least a page. Default 24 MiB: six pages.
    pub memory_bytes_max: u64,
    /// The most records of one lane in memory, past which it is not read; at least 1. Default 20,000: one slow lane
    /// leaves a third to the others.
    pub lane_records_max: usize,
    /// The most payload bytes of one lane in memory. Default 16 MiB, for the same reason.
    pub lane_bytes_max: u64,
    /// The most records in a session's hands; at least 1. Default 20,000: enough for 400,000 a second at 50 ms from
    /// the broker.
    pub flight_records_max: usize,
    /// The most payload bytes in a session's hands. Default 16 MiB: enough for 300 MB/s at 50 ms from the broker.
    pub flight_bytes_max: u64,
    /// How long a busy relay waits between settlements. Default 50 ms: a crash repeats about as much, and 20 small
    /// commits a second are nothing to a database.
    pub settle_pause: Duration,
    /// How long positions of lanes where nothing happens may lag behind. Default 10 s: it only holds up retention,
    /// which is far longer.
    pub settle_idle: Duration,
    /// The shortest pause after an empty page; over zero. Default 1 ms: what a relay that has just had something to do
    /// adds at most to the next event's way. While the log moves a pause is also three times as long as the empty
    /// reading before it took, so that looking in vain takes a quarter of a connection's time at most.
    pub poll_min: Duration,
    /// The longest pause after empty pages in a row; at least [`Settings::poll_min`]. Default 400 ms: what an idle
    /// relay whose bell does not ring adds at most to an event's way, for five statements in two seconds.
    pub poll_max: Duration,
    /// How long the whole log must have stood still before pauses grow to [`Settings::poll_max`], and the relay lies
    /// down at its store's doorbell. Default 50 ms: while any relay lies there each commit rings, which costs writers
    /// dearly, so it must not happen between two commits of many.
    pub doze: Duration,
    /// The shortest pause after a failure, doubled for each in a row; over zero. Default 100 ms: about what a broken
    /// connection needs to be made anew.
    pub retry_min: Duration,
    /// The longest pause after failures in a row; at least [`Settings::retry_min`]. Default 5 s: the most that an
    /// outage lasts longer for a relay than for the server.
    pub retry_max: Duration,
    /// The longest time for which a topic's events go one by one because messages of it were refused. At the first
    /// refusal only what was refused goes alone; each further one within this time makes the topic go alone, for
    /// [`retry_min`](Self::retry_min) and then twice as long each time. Default 30 s: as long as the longest pause
    /// between attempts, so that poison that comes in a row kills the main session seldom.
    pub quarantine: Duration,
    /// The most unsettled parked events a lane may have before it waits instead; at least 1. Default 10,000: two
    /// pages, a number people can still look through.
    pub lane_parked_max: usize,
    /// The most bytes the unsettled parked events of a lane may take before it waits instead; at least
    /// [`Settings::page_bytes_max`]. Default 64 MiB: 10,000 events of 6 KiB, and 4 GiB if all of 64 lanes are full.
    pub lane_parked_bytes_max: u64,
    /// How often people's decisions on parked events are looked for, while there are any; from [`Settings::poll_min`]
    /// to 1 hour. Default 1 s: who decides looks on, and one small statement a second costs nothing.
    pub parked_poll: Duration,
    /// How long a topic may take nothing before its events are parked, uncounted, so that their lanes go on; from
    /// [`Settings::retry_min`] to [`Settings::lease`]. Default 2 s: longer than a partition's leadership takes to
    /// move, and shorter than most people notice.
    pub topic_patience: Duration,
    /// How refused events are retried, where their topic has no policy of its own; see [`RetryPolicy`].
    pub retry: RetryPolicy,
    /// How often an event comes to its consumers. Default [`Delivery::AtLeastOnce`].
    pub delivery: Delivery,
    /// The most records in a transaction, where [`Settings::delivery`] has them; at least 1 and at most half of
    /// [`Settings::memory_records_max`], for while one is committed the next is filled. Default 15,000: a
    /// twelfth of a second's at full speed.
    pub transaction_records_max: usize,
    /// How long a transaction waits to be filled; longer while the one before is being committed, and up to twenty
    /// times as long while there is more to fill it with. Default 5 ms: a transaction costs a broker as much as some
    /// hundred records.
    pub transaction_linger: Duration,
    /// Whether there is a dead-letter topic. Default false: what was refused too often waits for a person.
    pub dead_letters: bool,
    /// What chance begins with: two relays should not have the same. Default 0.
    pub seed: u64,
}

/// How often an event comes to its consumers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Once, and again where a crash or an outage left open whether it was written.
    #[default]
    AtLeastOnce,
    /// Once to whoever reads what is committed, by transactions of the broker's: with a publisher that has them
    /// ([`Abilities::transactions`](crate::publisher::Abilities::transactions)) and a store that writes down what they
    /// settle ([`Capabilities::intents`](crate::store::Capabilities::intents)). One relay carries all lanes; others
    /// stand by.
    ExactlyOnce,
}

/// The longest time between two renewals by default. A renewal is one statement of about a millisecond.
const RENEWAL_MAX: Duration = Duration::from_millis(250);

/// The same for a relay with nothing to do: with its looks it asks less than five times a second.
const RENEWAL_IDLE_MAX: Duration = Duration::from_millis(800);

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            renewal: RENEWAL_MAX,
            renewal_idle: RENEWAL_IDLE_MAX,
            margin: Duration::from_secs(2),
            grace: Duration::from_secs(8),
            page_records_max: 5_000,
            page_bytes_max: 4 << 20,
            memory_records_max: 30_000,
            memory_bytes_max: 24 << 20,
            lane_records_max: 20_000,
            lane_bytes_max: 16 << 20,
            flight_records_max: 20_000,
            flight_bytes_max: 16 << 20,
            settle_pause: Duration::from_millis(50),
            settle_idle: Duration::from_secs(10),
            poll_min: Duration::from_millis(1),
            poll_max: Duration::from_millis(400),
            doze: Duration::from_millis(50),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
            quarantine: Duration::from_secs(30),
            lane_parked_max: 10_000,
            lane_parked_bytes_max: 64 << 20,
            parked_poll: Duration::from_secs(1),
            topic_patience: Duration::from_secs(2),
            retry: RetryPolicy::default(),
            delivery: Delivery::AtLeastOnce,
            transaction_records_max: 15_000,
            transaction_linger: Duration::from_millis(5),
            dead_letters: false,
            seed: 0,
        }
    }
}

impl Settings {
    /// The default settings with this lease, and what must fit into it scaled to it: the margin, and, where the
    /// lease is short, grace and the patience with topics.
    pub fn with_lease(lease: Duration) -> Self {
        let default = Self::default();
        let margin = lease / 5;
        Self {
            lease,
            renewal: (lease / 4).min(RENEWAL_MAX),
            renewal_idle: (lease / 4).min(RENEWAL_IDLE_MAX),
            margin,
            grace: default.grace.min(lease.saturating_sub(margin)),
            topic_patience: default.topic_patience.min(lease),
            ..default
        }
    }

    /// These settings for this way of delivering. What is in a transaction stays in memory until that is committed, and
    /// the larger a transaction is the less it costs: exactly once takes twice the memory, and 25,000 records at once.
    #[must_use]
    pub fn delivering(self, delivery: Delivery) -> Self {
        match delivery {
            Delivery::AtLeastOnce => Self { delivery, ..self },
            Delivery::ExactlyOnce => Self {
                delivery,
                memory_records_max: self.memory_records_max.saturating_mul(2),
                memory_bytes_max: self.memory_bytes_max.saturating_mul(2),
                transaction_records_max: 25_000.min(self.memory_records_max).max(1),
                ..self
            },
        }
    }

    /// Holds the settings against each other.
    ///
    /// # Errors
    /// Names the two that disagree and what would be right.
    pub fn check(&self) -> Result<(), SettingsDisagree> {
        self.check_lease()?;
        self.check_pauses()?;
        self.check_memory()?;
        self.check_parking()?;
        self.retry.check()
    }

    /// What must fit into a lease.
    fn check_lease(&self) -> Result<(), SettingsDisagree> {
        let Self { lease, renewal, margin, grace, .. } = *self;
        ensure(lease <= LEASE_MAX, || {
            format!("lease ({lease:?}) and {LEASE_MAX:?}: for so long a crash leaves lanes alone; give less")
        })?;
        ensure(!margin.is_zero(), || {
            format!(
                "margin ({margin:?}) and lease ({lease:?}): a relay must stop before its lease ends; give a margin \
                 over zero, a fifth of the lease as a rule"
            )
        })?;
        let needed = renewal.saturating_mul(2).saturating_add(margin);
        ensure(!renewal.is_zero() && needed <= lease, || {
            let most = lease.saturating_sub(margin) / 2;
            let right = match (renewal.is_zero(), most.is_zero()) {
                (true, false) => format!("give a renewal over zero and up to {most:?}"),
                (_, true) => format!("give a lease of at least {needed:?}, or a smaller margin"),
                (false, false) => format!("give a lease of at least {needed:?}, or a renewal up to {most:?}"),
            };
            format!(
                "lease ({lease:?}) and renewal ({renewal:?}): two renewals and the margin ({margin:?}) must fit into \
                 a lease, so that one renewal may fail; {right}"
            )
        })?;
        let sending = lease.saturating_sub(margin);
        ensure(grace <= sending, || {
            format!(
                "grace ({grace:?}) and lease ({lease:?}): a drain must end before the lease would, less the margin \
                 ({margin:?}); give a grace of at most {sending:?}, or a lease of at least {:?}",
                scaled(grace, lease, sending)
            )
        })
    }

    /// Pauses that have a shortest and a longest.
    fn check_pauses(&self) -> Result<(), SettingsDisagree> {
        for (shortest, min, longest, max) in [
            ("poll_min", self.poll_min, "poll_max", self.poll_max),
            ("retry_min", self.retry_min, "retry_max", self.retry_max),
        ] {
            ensure(!min.is_zero() && min <= max, || {
                format!(
                    "{shortest} ({min:?}) and {longest} ({max:?}): the shortest pause must be over zero, or a server \
                     is asked without end, and no longer than the longest"
                )
            })?;
        }
        for (name, time) in [
            ("poll_max", self.poll_max),
            ("doze", self.doze),
            ("renewal_idle", self.renewal_idle),
            ("retry_max", self.retry_max),
            ("settle_pause", self.settle_pause),
            ("settle_idle", self.settle_idle),
            ("quarantine", self.quarantine),
            ("transaction_linger", self.transaction_linger),
        ] {
            ensure(time <= LONGEST, || {
                format!("{name} ({time:?}) and {LONGEST:?}: nobody waits that long; give less")
            })?;
        }
        Ok(())
    }

    /// What must fit into memory, and what must have room for one.
    fn check_memory(&self) -> Result<(), SettingsDisagree> {
        let Self { page_records_max, memory_records_max, page_bytes_max, memory_bytes_max, .. } = *self;
        ensure(page_records_max > 0 && memory_records_max > page_records_max as usize, || {
            format!(
                "page_records_max ({page_records_max}) and memory_records_max ({memory_records_max}): a page of at \
                 least 1 record and a parked event must fit into memory; give a memory of at least {}",
                u64::from(page_records_max).max(1) + 1
            )
        })?;
        ensure(page_bytes_max > 0 && memory_bytes_max >= page_bytes_max, || {
            format!(
                "page_bytes_max ({page_bytes_max}) and memory_bytes_max ({memory_bytes_max}): a page of at least 1 \
                 byte must fit into memory; give a memory of at least {}",
                page_bytes_max.max(1)
            )
        })?;
        let Self { transaction_records_max, delivery, .. } = *self;
        let fits = transaction_records_max > 0 && transaction_records_max <= memory_records_max / 2;
        ensure(delivery == Delivery::AtLeastOnce || fits, || {
            format!(
                "transaction_records_max ({transaction_records_max}) and memory_records_max ({memory_records_max}): \
                 one is filled while another is committed; give 1 to {}",
                memory_records_max / 2
            )
        })?;
        for (name, max) in
            [("lane_records_max", self.lane_records_max), ("flight_records_max", self.flight_records_max)]
        {
            ensure(max > 0, || {
                format!(
                    "{name} ({max}) and page_records_max ({page_records_max}): what is read must go somewhere; give \
                     at least 1, a page as a rule"
                )
            })?;
        }
        Ok(())
    }

    /// How parked events are bounded and looked after.
    fn check_parking(&self) -> Result<(), SettingsDisagree> {
        let Self { lane_parked_max, lane_parked_bytes_max, page_bytes_max, .. } = *self;
        let Self { parked_poll, poll_min, topic_patience, retry_min, lease, .. } = *self;
        ensure(lane_parked_max > 0, || {
            format!(
                "lane_parked_max ({lane_parked_max}) and page_records_max ({}): the first refused event would stop \
                 its lane for good; give at least 1, a page as a rule",
                self.page_records_max
            )
        })?;
        ensure(lane_parked_bytes_max >= page_bytes_max, || {
            format!(
                "lane_parked_bytes_max ({lane_parked_bytes_max}) and page_bytes_max ({page_bytes_max}): what one \
                 page holds of a topic that takes nothing must fit; give at least {page_bytes_max}"
            )
        })?;
        ensure(parked_poll >= poll_min && parked_poll <= PARKED_POLL_MAX, || {
            format!(
                "parked_poll ({parked_poll:?}) and poll_min ({poll_min:?}): decisions need no looking for more often \
                 than events, and people wait for them; give {poll_min:?} to {PARKED_POLL_MAX:?}"
            )
        })?;
        ensure(topic_patience >= retry_min, || {
            format!(
                "topic_patience ({topic_patience:?}) and retry_min ({retry_min:?}): a topic must be asked about \
                 twice before its events are parked; give at least {retry_min:?}"
            )
        })?;
        ensure(topic_patience <= lease, || {
            format!(
                "topic_patience ({topic_patience:?}) and lease ({lease:?}): a topic that takes nothing must not hold \
                 up lanes for longer than a crash does; give at most {lease:?}"
            )
        })
    }

    /// How often leases are renewed while nothing happens: as often as a lease needs it, if that is more.
    pub(super) fn renewal_at_rest(&self) -> Duration {
        self.renewal_idle.min(self.lease.saturating_sub(self.margin) / 2).max(self.renewal)
    }

    /// The pause before a call of the store's that failed is made again.
    pub(super) fn store_pause(&self, kind: StoreFaultKind, failures: u32) -> Duration {
        match kind {
            StoreFaultKind::Contended => self.retry_min / 10,
            StoreFaultKind::Throttled(after) => after,
            _ => self.retry_pause(failures),
        }
    }

    /// The pause after this many failures in a row.
    pub(super) fn retry_pause(&self, failures: u32) -> Duration {
        self.doubled_pause(failures, self.retry_max)
    }

    /// The shortest pause, doubled so often, at most this long.
    pub(super) fn doubled_pause(&self, times: u32, most: Duration) -> Duration {
        self.retry_min.saturating_mul(1 << times.min(16)).min(most)
    }
}

impl RetryPolicy {
    /// Holds the policy's parts against each other; [`Settings::check`] does so for [`Settings::retry`].
    ///
    /// # Errors
    /// Names the two that disagree and what would be right.
    pub fn check(&self) -> Result<(), SettingsDisagree> {
        let attempts = self.attempts;
        ensure(attempts >= 1, || {
            format!("retry attempts ({attempts}) and the first attempt, which counts: give at least 1")
        })?;
        let (shortest, min, longest, max) = match self.backoff {
            Backoff::Fixed(pause) => ("retry pause", pause, "retry pause", pause),
            Backoff::Linear { step, max } => ("retry step", step, "retry max", max),
            Backoff::Exponential { min, max } => ("retry min", min, "retry max", max),
        };
        ensure(!min.is_zero(), || {
            format!(
                "{shortest} ({min:?}) and attempts ({attempts}): without a pause they are used up at once; give a \
                 pause over zero"
            )
        })?;
        ensure(min <= max, || {
            format!("{shortest} ({min:?}) and {longest} ({max:?}): give a longest of at least {min:?}")
        })?;
        ensure(max <= BACKOFF_MAX, || {
            format!(
                "{longest} ({max:?}) and {BACKOFF_MAX:?}: nobody expects an attempt that late; give at most \
                 {BACKOFF_MAX:?}"
            )
        })
    }
}

/// `time` in the measure in which `part` is `whole`, in milliseconds rounded up.
fn scaled(time: Duration, whole: Duration, part: Duration) -> Duration {
    let millis = time.as_millis().saturating_mul(whole.as_millis()).div_ceil(part.as_millis().max(1));
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// What disagrees, unless it agrees.
fn ensure(agrees: bool, text: impl FnOnce() -> String) -> Result<(), SettingsDisagree> {
    if agrees { Ok(()) } else { Err(SettingsDisagree(text())) }
}

/// Two settings that cannot both hold; the text names them and says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsDisagree(String);

impl fmt::Display for SettingsDisagree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for SettingsDisagree {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    const ZERO: Duration = Duration::ZERO;
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_defaults_agree() {
        assert_eq!(Settings::default().check(), Ok(()));
        for millis in [1_000, 1_500, 2_000, 10_000, 3_600_000] {
            assert_eq!(Settings::with_lease(Duration::from_millis(millis)).check(), Ok(()), "{millis} ms");
        }
    }

    /// What the default settings say once this was done to them.
    fn said(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.check().unwrap_err().to_string()
    }

    #[test]
    fn lanes_that_are_nobodys_are_found_within_a_second_whatever_the_lease() {
        for lease in [1, 2, 10, 3_600].map(Duration::from_secs) {
            let settings = Settings::with_lease(lease);
            assert_eq!(settings.check(), Ok(()));
            assert!(settings.renewal <= Duration::from_millis(250), "{lease:?}");
        }
        assert!(Settings::default().renewal <= Duration::from_millis(250));
    }

    #[test]
    fn each_disagreement_names_both_settings_and_what_would_be_right() {
        let day = 24 * 3600 * SECOND;
        for (text, named) in [
            (said(|s| s.renewal = 5 * SECOND), ["lease (10s)", "renewal (5s)", "at least 12s", "up to 4s"]),
            (said(|s| s.renewal = ZERO), ["lease (10s)", "renewal (0ns)", "over zero", "up to 4s"]),
            (
                said(|s| s.lease = SECOND),
                ["lease (1s)", "renewal (250ms)", "at least 2.5s", "smaller margin"],
            ),
            (said(|s| s.lease = Duration::MAX), ["lease", "crash", "86400s", "give less"]),
            (said(|s| s.renewal = Duration::MAX), ["lease (10s)", "renewal", "up to 4s", "may fail"]),
            (said(|s| s.grace = 12 * SECOND), ["grace (12s)", "lease (10s)", "at most 8s", "at least 15s"]),
            (said(|s| s.grace = Duration::MAX), ["grace", "lease (10s)", "at most 8s", "at least"]),
            (said(|s| s.margin = ZERO), ["margin (0ns)", "lease (10s)", "over zero", "a fifth"]),
            (said(|s| s.margin = 10 * SECOND), ["lease (10s)", "margin (10s)", "at least 10.5s", "renewal"]),
            (
                said(|s| s.memory_records_max = 10),
                ["page_records_max (5000)", "memory_records_max (10)", "5000", "fit"],
            ),
            (
                said(|s| s.page_records_max = 0),
                ["page_records_max (0)", "memory_records_max", "1 record", "fit"],
            ),
            (
                said(|s| s.memory_bytes_max = 10),
                ["page_bytes_max", "memory_bytes_max (10)", "4194304", "fit"],
            ),
            (
                said(|s| s.lane_records_max = 0),
                ["lane_records_max (0)", "page_records_max (5000)", "at least 1", "rule"],
            ),
            (
                said(|s| s.flight_records_max = 0),
                ["flight_records_max (0)", "page_records_max", "at least 1", "rule"],
            ),
            (said(|s| s.poll_min = SECOND), ["poll_min (1s)", "poll_max (400ms)", "over zero", "no longer"]),
            (said(|s| s.poll_min = ZERO), ["poll_min (0ns)", "poll_max (400ms)", "over zero", "no longer"]),
            (
                said(|s| s.retry_min = 6 * SECOND),
                ["retry_min (6s)", "retry_max (5s)", "over zero", "no longer"],
            ),
            (said(|s| s.settle_idle = Duration::MAX), ["settle_idle", "31536000s", "nobody", "give less"]),
            (
                said(|s| s.lane_parked_max = 0),
                ["lane_parked_max (0)", "page_records_max", "at least 1", "for good"],
            ),
            (
                said(|s| s.lane_parked_bytes_max = 4_194_303),
                ["lane_parked_bytes_max (4194303)", "page_bytes_max (4194304)", "at least 4194304", "fit"],
            ),
            (said(|s| s.parked_poll = ZERO), ["parked_poll (0ns)", "poll_min (1ms)", "give 1ms", "3600s"]),
            (said(|s| s.parked_poll = day), ["parked_poll (86400s)", "poll_min (1ms)", "give 1ms", "3600s"]),
            (
                said(|s| s.topic_patience = ZERO),
                ["topic_patience (0ns)", "retry_min (100ms)", "twice", "100ms"],
            ),
            (
                said(|s| s.topic_patience = day),
                ["topic_patience (86400s)", "lease (10s)", "at most 10s", "crash"],
            ),
        ] {
            assert!(named.iter().all(|name| text.contains(name)), "{named:?}: {text}");
        }
    }

    #[test]
    fn a_retry_policy_has_a_first_attempt_and_a_longest_pause() {
        let backoff = |backoff| said(|settings| settings.retry.backoff = backoff);
        let (min, max) = (2 * SECOND, SECOND);
        for (text, named) in [
            (said(|settings| settings.retry.attempts = 0), ["attempts (0)", "at least 1"]),
            (backoff(Backoff::Exponential { min, max }), ["min (2s) and retry max (1s)", "at least 2s"]),
            (backoff(Backoff::Linear { step: min, max }), ["step (2s) and retry max (1s)", "at least 2s"]),
            (backoff(Backoff::Exponential { min: ZERO, max }), ["min (0ns)", "over zero"]),
            (backoff(Backoff::Exponential { min, max: Duration::MAX }), ["retry max", "at most 86400s"]),
            (backoff(Backoff::Linear { step: min, max: Duration::MAX }), ["retry max", "at most 86400s"]),
            (backoff(Backoff::Fixed(ZERO)), ["pause (0ns)", "over zero"]),
            (backoff(Backoff::Fixed(Duration::MAX)), ["retry pause", "at most 86400s"]),
        ] {
            assert!(named.iter().all(|name| text.contains(name)), "{named:?}: {text}");
        }
    }

    #[test]
    fn what_just_fits_agrees() {
        let mut settings = Settings::default();
        settings.renewal = 4 * SECOND;
        settings.lane_parked_bytes_max = settings.page_bytes_max;
        (settings.parked_poll, settings.topic_patience) = (settings.poll_min, settings.lease);
        settings.retry.attempts = 1;
        settings.retry.backoff = Backoff::Fixed(BACKOFF_MAX);
        assert_eq!(settings.check(), Ok(()));
    }
}
