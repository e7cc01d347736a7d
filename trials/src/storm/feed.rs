//! How the relays of a storm read the outbox, and what that asks of everybody else.

use std::str::FromStr;

use eventferry::postgres::FeedChoice;

use super::scene::{DatabaseNeed, Scene};
use crate::failure::{Failure, failure};

/// How relays read the outbox, as in `--feed NAME`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Feed {
    /// Windows of the table.
    #[default]
    Table,
    /// Inserts into the table, from the log.
    Tail,
    /// What is emitted into the log, and is in no table.
    Messages,
    /// Windows of the table, and transactions of the broker's: nothing comes twice, whoever is killed.
    ExactlyOnce,
}

pub(super) const FEEDS: [Feed; 4] = [Feed::Table, Feed::Tail, Feed::Messages, Feed::ExactlyOnce];

impl Feed {
    /// As people say it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Tail => "tail",
            Self::Messages => "messages",
            Self::ExactlyOnce => "exactly-once",
        }
    }

    /// As relays are told.
    pub(super) fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::ExactlyOnce => ["--feed", "table", "--delivery", "exactly-once"],
            feed => ["--feed", feed.name(), "--delivery", "at-least-once"],
        }
    }

    /// As the store is told.
    pub(super) fn choice(self) -> FeedChoice {
        match self {
            Self::Table | Self::ExactlyOnce => FeedChoice::Table,
            Self::Tail => FeedChoice::TailTable,
            Self::Messages => FeedChoice::TailMessages,
        }
    }

    /// Whether there is a replication slot.
    pub(super) fn is_tail(self) -> bool {
        matches!(self, Self::Tail | Self::Messages)
    }

    /// Whether one relay has all lanes, and others stand by.
    pub(super) fn is_whole(self) -> bool {
        self != Self::Table
    }

    /// Why a scene is not played with this feed, said for people.
    pub(super) fn leaves_out(self, scene: &Scene) -> Option<&'static str> {
        match (self, scene.database) {
            (Self::Messages, DatabaseNeed::AsynchronousStandby) => Some(
                "a standby that is behind may lack what the slot has given away: messages are lost with their slot",
            ),
            (Self::Messages, DatabaseNeed::Dumped) => {
                Some("a dump has no replication slot: messages are lost with their slot")
            }
            _ => None,
        }
    }
}

impl FromStr for Feed {
    type Err = Failure;

    fn from_str(name: &str) -> Result<Self, Failure> {
        FEEDS.into_iter().find(|feed| feed.name() == name).ok_or_else(|| {
            failure(format!(
                "there is no feed `{name}`; there are table, tail, messages and exactly-once, or all in turn"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenes::SCENES;
    use super::*;

    #[test]
    fn only_messages_leave_scenes_out_in_which_no_slot_can_live_on() {
        let left_out = |feed: Feed| -> Vec<&str> {
            let scenes = SCENES.iter().filter(|scene| feed.leaves_out(scene).is_some());
            scenes.map(|scene| scene.name).collect()
        };
        assert!(
            [Feed::Table, Feed::Tail, Feed::ExactlyOnce].into_iter().all(|feed| left_out(feed).is_empty())
        );
        assert_eq!(left_out(Feed::Messages), ["failover-lost-tail", "restored-elsewhere"]);
    }
}
