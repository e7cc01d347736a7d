//! When the stream is read in gulps.
//!
//! The server sends each event by itself. A relay that wakes for each one takes the processor from the very process
//! that sends, publishes each event in a request of its own, and where the processors are busy all of them fall behind
//! together: on two cores, at 10,000 events a second, for 0.1 to 0.3 s at a time. So while events come close upon each
//! other they are left to gather for a moment, as network cards moderate their interrupts.

use std::time::Duration;

/// How long they gather. The runtime's clock counts whole milliseconds, so it is one to two.
const REST: Duration = Duration::from_millis(1);

/// A page with so many events needs no gathering: what a page costs is shared by enough.
const MANY: usize = 64;

/// So many more crowded pages than others make a crowd.
const CROWD: u8 = 4;

/// Where counting ends: a crowd is over after `COUNT_MAX - CROWD + 1` pages that are not crowded.
const COUNT_MAX: u8 = 8;

/// Whether events come close upon each other.
#[derive(Debug, Default)]
pub(super) struct Moderation {
    /// Crowded pages, less those that were not.
    count: u8,
    many: bool,
}

impl Moderation {
    /// How long events are left to gather before the next page; `None`: it is read as soon as there is something.
    pub(super) fn rest(&self) -> Option<Duration> {
        (self.count >= CROWD && !self.many).then_some(REST)
    }

    /// A page was read: with so many events, the first of which was waited for so long; a full one left some behind.
    pub(super) fn page(&mut self, events: usize, is_full: bool, waited: Duration) {
        // One that came alone though there was time to gather is no crowd.
        let alone = events < if self.rest().is_some() { 2 } else { 1 };
        self.many = is_full || events >= MANY;
        self.count = match waited < REST && !alone {
            true => (self.count + 1).min(COUNT_MAX),
            false => self.count.saturating_sub(1),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(pages: impl IntoIterator<Item = (usize, bool)>) -> Moderation {
        let mut moderation = Moderation::default();
        for (events, soon) in pages {
            moderation.page(events, false, if soon { REST / 2 } else { REST });
        }
        moderation
    }

    #[test]
    fn events_far_from_each_other_are_read_as_they_come() {
        assert_eq!(after([]).rest(), None);
        assert_eq!(after([(1, false); 100]).rest(), None);
        assert_eq!(after([(10, false); 100]).rest(), None);
        assert_eq!(after([(0, true); 100]).rest(), None);
        // Every third came soon.
        assert_eq!(after([(1, true), (1, false), (1, false)].repeat(100)).rest(), None);
    }

    #[test]
    fn events_close_upon_each_other_gather() {
        assert_eq!(after([(1, true); 3]).rest(), None);
        assert_eq!(after([(1, true); 4]).rest(), Some(REST));
        assert_eq!(after([(20, true); 100]).rest(), Some(REST));
    }

    #[test]
    fn a_crowd_ends_when_each_comes_alone_again() {
        let crowd = [(20, true); 100];
        let less = |page, times| after(crowd.into_iter().chain(std::iter::repeat_n(page, times))).rest();
        assert_eq!(less((1, true), 4), Some(REST));
        assert_eq!(less((1, true), 5), None);
        assert_eq!(less((5, false), 5), None);
        assert_eq!(less((0, false), 5), None);
    }

    #[test]
    fn a_backlog_is_not_held_back() {
        assert_eq!(after([(MANY, true); 100]).rest(), None);
        let mut small = after([(20, true); 100]);
        small.page(2, true, Duration::ZERO);
        assert_eq!(small.rest(), None, "a full page, however few events it takes");
        assert_eq!(after([(MANY, true); 100].into_iter().chain([(MANY - 1, true)])).rest(), Some(REST));
    }
}
