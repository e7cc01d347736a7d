//! What the relay says, in a few lines that a person can read.

use std::time::Duration;

use eventferry_core::machine::Notice;
use eventferry_core::{MessageId, PublishFault, PublishFaultKind, StoreFault};

/// Says notices through `tracing`.
#[derive(Debug)]
pub(crate) struct Voice {
    parked: u64,
}

/// How many parked events are named one by one; the rest are in `status`.
const PARKED_NAMED_MAX: u64 = 20;

impl Voice {
    pub(crate) fn new() -> Self {
        Self { parked: 0 }
    }

    pub(crate) fn say(
        &self,
        notice: &Notice,
        owned: usize,
        store_fault: Option<&StoreFault>,
        publish_fault: Option<&PublishFault>,
    ) {
        let store = || store_fault.map(ToString::to_string).unwrap_or_default();
        let broker = || publish_fault.map(ToString::to_string).unwrap_or_default();
        match notice {
            Notice::Gained(lanes) => tracing::info!(gained = lanes.len(), owned, "took lanes"),
            Notice::Released(lanes) => tracing::info!(released = lanes.len(), "handed lanes over"),
            Notice::Lost(lanes) => tracing::warn!(lost = lanes.len(), owned, "lanes have another owner"),
            Notice::LeaseExpired => {
                tracing::warn!("the leases could not be renewed in time: sending has stopped");
            }
            Notice::Anchored(lane, anchor) => {
                tracing::warn!(lane = lane.0, ?anchor, "reading starts again earlier: expect duplicates");
            }
            Notice::StoreAway(_) => tracing::warn!(fault = store(), "the store does not answer: waiting"),
            Notice::StoreBack => tracing::info!("the store answers again"),
            Notice::HistoryLost => {
                tracing::warn!(fault = store(), "the database's history changed: positions are read anew");
            }
            Notice::SessionEnded(role, Some(_)) => {
                tracing::warn!(?role, fault = broker(), "the broker refused a message: sending starts anew");
            }
            Notice::SessionEnded(role, None) => tracing::info!(?role, "the session with the broker ended"),
            Notice::BrokerAway(_) => tracing::warn!(fault = broker(), "the broker does not answer: waiting"),
            Notice::BrokerBack => tracing::info!("the broker answers again"),
            Notice::LaneFull(lane) => {
                tracing::warn!(lane = lane.0, "as many parked events as allowed: the lane waits");
            }
            other => tracing::info!(notice = ?other, "notice"),
        }
    }

    pub(crate) fn parked(&mut self, event: Option<(&str, MessageId, &str)>) {
        self.parked += 1;
        if self.parked > PARKED_NAMED_MAX {
            return;
        }
        if let Some((topic, message_id, why)) = event {
            tracing::warn!(topic, %message_id, why, "parked an event that the broker refuses; see `eventferry status`");
        }
        if self.parked == PARKED_NAMED_MAX {
            tracing::warn!("more parked events are not named here");
        }
    }

    pub(crate) fn topic_held(&self, topic: &str, fault: Option<&PublishFault>) {
        let is_away = fault.is_some_and(|fault| *fault.kind() == PublishFaultKind::Unavailable);
        let fault = fault.map(ToString::to_string).unwrap_or_default();
        if is_away {
            tracing::warn!(topic, fault, "the broker does not answer for this topic: its events wait");
        } else {
            tracing::warn!(topic, fault, "the broker refuses this topic: its events wait");
        }
    }

    pub(crate) fn topic_released(&self, topic: &str) {
        tracing::info!(topic, "the broker takes this topic again");
    }
}

/// How long until an outage that goes on is said again.
const OUTAGE_REPEAT: Duration = Duration::from_secs(300);

/// What was said of an outage, so that each fault is said once, and again only after a long time.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    said: Vec<String>,
    said_at: Duration,
}

impl Outage {
    /// Whether this fault, met at this time, is to be said.
    pub(crate) fn is_news(&mut self, fault: &str, now: Duration) -> bool {
        if now.saturating_sub(self.said_at) >= OUTAGE_REPEAT {
            self.said.clear();
        }
        if self.said.iter().any(|said| said == fault) {
            return false;
        }
        self.said.push(fault.to_owned());
        self.said_at = now;
        true
    }

    /// Whether anything was said that is over now; forgets it.
    pub(crate) fn is_over(&mut self) -> bool {
        !std::mem::take(&mut self.said).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_said_once_and_again_when_it_changes_or_after_a_long_time() {
        let (mut outage, second) = (Outage::default(), Duration::from_secs(1));
        assert!(!outage.is_over());
        assert!(outage.is_news("refused", second));
        assert!(!outage.is_news("refused", 2 * second));
        assert!(outage.is_news("starting", 3 * second));
        assert!(!outage.is_news("refused", 4 * second));
        assert!(!outage.is_news("starting", 5 * second));
        assert!(outage.is_news("refused", 3 * second + OUTAGE_REPEAT));
        assert!(outage.is_over() && !outage.is_over());
        assert!(outage.is_news("refused", 3 * second + OUTAGE_REPEAT));
    }
}
