//! How long, how many, how much: the numbers a relay runs by.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

/// The numbers a relay runs by. [`Settings::default`] is right for most; [`Settings::check`] says which two disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How long a lease lasts without renewal; default 10 s. After a crash, a lane waits this long for its next
    /// owner; a shorter lease survives shorter pauses of the database.
    pub lease: Duration,
    /// How often leases are renewed, and lanes looked for that are nobody's; default 250 ms, whatever the lease: this
    /// is how long lanes wait that a leaving relay has handed over, and how much longer than the lease those of a
    /// killed one. With the default lease thirty renewals in a row may fail.
    pub renewal: Duration,
    /// How long before its lease ends a relay stops sending; default 2 s: what it has handed to the network by then
    /// has time to arrive before the next owner begins.
    pub margin: Duration,
    /// How long a draining relay waits for what is in flight before it gives up; default 8 s, below the 10 s after
    /// which most supervisors kill.
    pub grace: Duration,
    /// The most records read at once; default 5,000.
    pub page_records_max: u32,
    /// The most payload bytes read at once, save for one larger event; default 4 MiB.
    pub page_bytes_max: u64,
    /// The most records in memory; default 30,000.
    pub memory_records_max: usize,
    /// The most payload bytes in memory, save for one page's overshoot; default 24 MiB.
    pub memory_bytes_max: u64,
    /// The most records of one lane in memory, past which it is not read; default 20,000.
    pub lane_records_max: usize,
    /// The most payload bytes of one lane in memory; default 16 MiB.
    pub lane_bytes_max: u64,
    /// The most records in a session's hands; default 20,000.
    pub flight_records_max: usize,
    /// The most payload bytes in a session's hands; default 16 MiB.
    pub flight_bytes_max: u64,
    /// How long a busy relay waits between settlements; default 50 ms. A crash repeats about as much.
    pub settle_pause: Duration,
    /// How long positions of lanes where nothing happens may lag behind; default 10 s.
    pub settle_idle: Duration,
    /// The shortest pause after an empty page; default 10 ms.
    pub poll_min: Duration,
    /// The longest pause after empty pages in a row; default 250 ms.
    pub poll_max: Duration,
    /// The shortest pause after a failure; default 100 ms, doubled for each in a row.
    pub retry_min: Duration,
    /// The longest pause after failures in a row; default 5 s.
    pub retry_max: Duration,
    /// How long a topic's events go one by one after a message of it was refused; default 30 s.
    pub quarantine: Duration,
    /// The most parked events a lane may have before it waits instead; default 10,000.
    pub lane_parked_max: usize,
}

/// The longest time between two renewals by default. A renewal is one statement of about a millisecond, and an idle
/// relay asks for events as often.
const RENEWAL_MAX: Duration = Duration::from_millis(250);

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            renewal: RENEWAL_MAX,
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
            poll_min: Duration::from_millis(10),
            poll_max: Duration::from_millis(250),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
            quarantine: Duration::from_secs(30),
            lane_parked_max: 10_000,
        }
    }
}

impl Settings {
    /// The default settings with this lease, the margin scaled to it, and at least four renewals in it.
    pub fn with_lease(lease: Duration) -> Self {
        Self { lease, renewal: (lease / 4).min(RENEWAL_MAX), margin: lease / 5, ..Self::default() }
    }

    /// Holds the settings against each other.
    ///
    /// # Errors
    /// Names the two that disagree and what would be right.
    pub fn check(&self) -> Result<(), SettingsDisagree> {
        let disagree = |text: String| Err(SettingsDisagree(text));
        if self.renewal.is_zero() || self.renewal * 2 + self.margin > self.lease {
            return disagree(format!(
                "lease ({:?}) and renewal ({:?}): two renewals and the margin ({:?}) must fit into a lease, so that \
                 one renewal may fail; make the lease longer or renew more often",
                self.lease, self.renewal, self.margin
            ));
        }
        if self.margin.is_zero() {
            return disagree(format!(
                "margin ({:?}) and lease ({:?}): a relay must stop before its lease ends; give a margin over zero",
                self.margin, self.lease
            ));
        }
        if self.page_records_max == 0 || self.memory_records_max < self.page_records_max as usize {
            return disagree(format!(
                "page_records_max ({}) and memory_records_max ({}): a page of at least 1 record must fit into memory",
                self.page_records_max, self.memory_records_max
            ));
        }
        if self.page_bytes_max == 0 || self.memory_bytes_max < self.page_bytes_max {
            return disagree(format!(
                "page_bytes_max ({}) and memory_bytes_max ({}): a page of at least 1 byte must fit into memory",
                self.page_bytes_max, self.memory_bytes_max
            ));
        }
        if self.poll_min > self.poll_max {
            return disagree(format!(
                "poll_min ({:?}) and poll_max ({:?}): the shortest pause must not be the longer one",
                self.poll_min, self.poll_max
            ));
        }
        Ok(())
    }

    /// The pause after this many failures in a row.
    pub(super) fn retry_pause(&self, failures: u32) -> Duration {
        let doubled = self.retry_min.saturating_mul(1 << failures.min(16));
        doubled.min(self.retry_max)
    }
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

    #[test]
    fn the_defaults_agree() {
        assert_eq!(Settings::default().check(), Ok(()));
        assert_eq!(Settings::with_lease(Duration::from_secs(2)).check(), Ok(()));
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
    fn each_disagreement_names_both_settings() {
        let renewal = Settings { renewal: Duration::from_secs(5), ..Settings::default() };
        let margin = Settings { margin: Duration::ZERO, ..Settings::default() };
        let records = Settings { memory_records_max: 10, ..Settings::default() };
        let bytes = Settings { memory_bytes_max: 10, ..Settings::default() };
        let poll = Settings { poll_min: Duration::from_secs(1), ..Settings::default() };
        for (settings, one, other) in [
            (renewal, "lease", "renewal"),
            (margin, "margin", "lease"),
            (records, "page_records_max", "memory_records_max"),
            (bytes, "page_bytes_max", "memory_bytes_max"),
            (poll, "poll_min", "poll_max"),
        ] {
            let text = settings.check().unwrap_err().to_string();
            assert!(text.contains(one) && text.contains(other), "{text}");
        }
    }
}
