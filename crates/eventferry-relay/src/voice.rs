//! What the relay says, in a few lines that a person can read.

use std::time::Duration;

use eventferry_core::machine::Notice;
use eventferry_core::parked::{Decision, Next, ParkedKey};
use eventferry_core::{Lane, MessageId, PublishFaultKind};

use crate::happening::EventName;
use crate::refusals::Refusal;

/// How many lines of one sort are said in a minute; the rest is counted and said after it.
const LINES_A_MINUTE: u64 = 20;

const MINUTE: Duration = Duration::from_secs(60);

/// A bound on lines of one sort: a storm of them says no more than its beginning.
#[derive(Debug)]
struct Bound {
    since: Duration,
    said: u64,
    unsaid: u64,
}

impl Bound {
    const fn new() -> Self {
        Self { since: Duration::ZERO, said: 0, unsaid: 0 }
    }

    /// Whether one more is said.
    fn admits(&mut self) -> bool {
        let admits = self.said < LINES_A_MINUTE;
        *(if admits { &mut self.said } else { &mut self.unsaid }) += 1;
        admits
    }

    /// How many were not said in the minute that is over.
    fn turn(&mut self, now: Duration) -> Option<u64> {
        if now.saturating_sub(self.since) < MINUTE {
            return None;
        }
        let unsaid = self.unsaid;
        *self = Self { since: now, ..Self::new() };
        (unsaid > 0).then_some(unsaid)
    }
}

/// Says what people should know through `tracing`.
#[derive(Debug)]
pub(crate) struct Voice {
    parked: Bound,
    exhausted: Bound,
    released: Bound,
    dead: Bound,
    decided: Bound,
    missed: Bound,
}

impl Voice {
    pub(crate) fn new() -> Self {
        let bound = Bound::new;
        Self {
            parked: bound(),
            exhausted: bound(),
            released: bound(),
            dead: bound(),
            decided: bound(),
            missed: bound(),
        }
    }

    /// Says how many lines were left out in a minute that is over. To be called now and then.
    pub(crate) fn turn(&mut self, now: Duration) {
        if let Some(events) = self.parked.turn(now) {
            tracing::warn!(events, "parked more events than are named here; `eventferry parked` shows them");
        }
        if let Some(events) = self.exhausted.turn(now) {
            tracing::warn!(events, "gave up more events than are named here");
        }
        if let Some(events) = self.released.turn(now) {
            tracing::info!(events, "shipped more parked events than are named here");
        }
        if let Some(events) = self.dead.turn(now) {
            tracing::warn!(events, "carried more events to the dead-letter topic than are named here");
        }
        if let Some(decisions) = self.decided.turn(now) {
            tracing::info!(decisions, "met more decisions than are named here");
        }
        if let Some(happenings) = self.missed.turn(now) {
            tracing::warn!(happenings, "left out more happenings: a listener is too slow for them");
        }
    }

    pub(crate) fn parked(&mut self, event: Option<&EventName>, why: &Refusal, next: Next) {
        if !self.parked.admits() {
            return;
        }
        let (topic, message_id) = named(event);
        let Refusal { class, message } = why;
        match next {
            Next::Retry(pause) => tracing::warn!(
                topic,
                message_id,
                class,
                why = message,
                "parked an event that the broker refuses: it is tried again in {pause:?}"
            ),
            Next::Wait | Next::Die => tracing::warn!(
                topic,
                message_id,
                class,
                why = message,
                "parked an event that the broker refuses: {}",
                fate(next)
            ),
        }
    }

    pub(crate) fn refused_again(
        &mut self,
        event: Option<&EventName>,
        why: &Refusal,
        attempts: u32,
        next: Next,
    ) {
        let (topic, message_id) = named(event);
        let Refusal { class, message } = why;
        match next {
            Next::Retry(pause) => {
                tracing::debug!(topic, message_id, class, attempts, ?pause, why = message, "refused again");
            }
            Next::Wait | Next::Die if self.exhausted.admits() => tracing::warn!(
                topic,
                message_id,
                class,
                attempts,
                why = message,
                "the broker refused an event as often as allowed: {}",
                fate(next)
            ),
            Next::Wait | Next::Die => {}
        }
    }

    pub(crate) fn released(&mut self, event: &EventName) {
        if self.released.admits() {
            let (topic, message_id) = named(Some(event));
            tracing::info!(topic, message_id, "a parked event is shipped");
        }
    }

    pub(crate) fn dead(&mut self, event: &EventName, class: &str, attempts: u32, held: bool) {
        if !self.dead.admits() {
            return;
        }
        let (topic, message_id) = named(Some(event));
        if held {
            tracing::warn!(
                topic,
                message_id,
                class,
                attempts,
                "an event is in the dead-letter topic; its aggregate waits until a person releases it with \
                 `eventferry parked`"
            );
        } else {
            tracing::warn!(topic, message_id, class, attempts, "an event is in the dead-letter topic");
        }
    }

    pub(crate) fn letter_refused(&self, event: &EventName, why: &Refusal) {
        let (topic, message_id) = named(Some(event));
        let Refusal { class, message } = why;
        tracing::warn!(
            topic,
            message_id,
            class,
            why = message,
            "a dead letter is refused: its event stays parked, is tried again every few seconds, and its aggregate \
             waits; mend the dead-letter topic, or discard the event with `eventferry parked`"
        );
    }

    pub(crate) fn decided(&mut self, key: ParkedKey, decision: Decision, done: bool) {
        if !self.decided.admits() {
            return;
        }
        let (lane, ordinal) = (key.lane.0, key.ordinal);
        if done {
            tracing::info!(lane, ordinal, ?decision, "carried out a decision on a parked event");
        } else {
            tracing::warn!(
                lane,
                ordinal,
                ?decision,
                "a decision does not fit the parked event any more, which stays as it is; look at it and decide again"
            );
        }
    }

    pub(crate) fn lanes_gained(&self, gained: usize, owned: usize) {
        tracing::info!(gained, owned, "took lanes");
    }

    pub(crate) fn lanes_released(&self, released: usize) {
        tracing::info!(released, "handed lanes over");
    }

    pub(crate) fn lanes_lost(&self, lost: usize, owned: usize) {
        tracing::warn!(lost, owned, "lanes have another owner");
    }

    pub(crate) fn lane_full(&self, lane: Lane) {
        tracing::warn!(lane = lane.0, "as many parked events as allowed: the lane waits");
    }

    /// What concerns no event and no topic.
    pub(crate) fn notice(&self, notice: &Notice, fault: &str) {
        match notice {
            Notice::LeaseExpired => {
                tracing::warn!("the leases could not be renewed in time: sending has stopped");
            }
            Notice::Anchored(lane, anchor) => {
                tracing::warn!(lane = lane.0, ?anchor, "reading starts again earlier: expect duplicates");
            }
            Notice::StoreAway(_) => tracing::warn!(fault, "the store does not answer: waiting"),
            Notice::StoreBack => tracing::info!("the store answers again"),
            Notice::HistoryLost => {
                tracing::warn!(fault, "the database's history changed: positions are read anew");
            }
            Notice::Parted => tracing::warn!(
                "the database does not know what the broker committed last: one of them was restored or replaced, or \
                 the events were carried in another mode since; events that had been shipped may be shipped again"
            ),
            Notice::SessionEnded(role, Some(_)) => {
                tracing::warn!(?role, fault, "the broker refused a message: sending starts anew");
            }
            Notice::SessionEnded(role, None) => tracing::info!(?role, "the session with the broker ended"),
            Notice::BrokerAway(_) => tracing::warn!(fault, "the broker does not answer: waiting"),
            Notice::BrokerBack => tracing::info!("the broker answers again"),
            other => tracing::info!(notice = ?other, "notice"),
        }
    }

    pub(crate) fn topic_held(&self, topic: &str, kind: PublishFaultKind, fault: &str) {
        if kind == PublishFaultKind::Unavailable {
            tracing::warn!(topic, fault, "the broker does not answer for this topic: its events wait");
        } else {
            tracing::warn!(topic, fault, "the broker refuses this topic: its events wait");
        }
    }

    pub(crate) fn topic_shut(&self, topic: &str, why: &Refusal) {
        let Refusal { class, message } = why;
        tracing::warn!(
            topic,
            class,
            why = message,
            "the broker still takes nothing for this topic: its events are parked, uncounted, and go out when it \
             does; create the topic, or grant DESCRIBE and WRITE on it"
        );
    }

    pub(crate) fn topic_released(&self, topic: &str) {
        tracing::info!(topic, "the broker takes this topic again");
    }

    pub(crate) fn missed(&mut self) {
        if self.missed.said == 0 {
            tracing::warn!("a listener is too slow: happenings are left out, counted and told later");
        }
        self.missed.said = LINES_A_MINUTE;
        self.missed.admits();
    }
}

/// What becomes of an event that is not tried again.
fn fate(next: Next) -> &'static str {
    match next {
        Next::Die => "it goes to the dead-letter topic",
        _ => {
            "it waits for a person, who retries or discards it with `eventferry parked`; its aggregate waits behind it"
        }
    }
}

fn named(event: Option<&EventName>) -> (&str, Option<tracing::field::DisplayValue<MessageId>>) {
    match event {
        Some(event) => (&event.topic, Some(tracing::field::display(event.message_id))),
        None => ("", None),
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
    fn a_storm_says_its_beginning_and_a_number() {
        let (mut bound, minute) = (Bound::new(), MINUTE);
        let said = (0..1_000).filter(|_| bound.admits()).count() as u64;
        assert_eq!(said, LINES_A_MINUTE);
        assert_eq!(bound.turn(minute / 2), None);
        assert_eq!(bound.turn(minute), Some(1_000 - LINES_A_MINUTE));
        assert!(bound.admits());
        assert_eq!(bound.turn(2 * minute), None);
    }

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
