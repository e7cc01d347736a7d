//! The topics the broker takes: learned before the first record, held while they take nothing, shut when that lasts.
//!
//! A held topic's records wait in memory, in case it is over in a moment (a topic just being made). After
//! [`Settings::topic_patience`](super::Settings::topic_patience) it is shut: its records are parked, with no attempt
//! counted, so that their lanes go on, and the ledger is asked for them when the topic is back.

use alloc::vec::Vec;
use core::time::Duration;

use super::action::{Action, Notice, Stop, TopicId};
use super::entry::{Routed, State};
use super::retry::RetryPolicy;
use super::{Core, Settings};
use crate::fault::PublishFaultKind;
use crate::lane::Lane;
use crate::publisher::{Role, Token};

/// What is known of topics.
pub(super) struct Topics {
    topics: Vec<Topic>,
    /// How many are refused and not shut: nearly always none.
    refused: usize,
}

#[derive(Default)]
struct Topic {
    phase: TopicPhase,
    failures: u32,
    /// Why it is held, as it was said.
    held_for: Option<PublishFaultKind>,
    quarantined_until: Duration,
    /// How many sessions it ended lately, the last one of them, and when.
    strikes: u32,
    struck_in: Option<(Role, u64)>,
    struck_at: Duration,
    /// Records that could not be routed before the topic is learned.
    unrouted: Vec<Token>,
    /// Since when the broker refuses it.
    refused_since: Option<Duration>,
    shut: bool,
    /// It was refused in sending although it could be learned: it goes alone until something of it is acknowledged, so
    /// that each try ends no session but that.
    probation: bool,
    /// How its refused events are retried, if not as all others.
    retry: Option<RetryPolicy>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TopicPhase {
    #[default]
    Known,
    /// To be learned, at this time.
    Due(Duration),
    Learning,
}

impl Topic {
    /// Whether it may be shut: not while it is tried because it could be learned, for it would never be tried.
    fn is_closing(&self) -> bool {
        !self.shut && self.phase != TopicPhase::Known
    }
}

impl Topics {
    pub(super) fn new() -> Self {
        Self { topics: Vec::new(), refused: 0 }
    }

    fn get(&mut self, id: TopicId) -> &mut Topic {
        let at = id.0 as usize;
        if self.topics.len() <= at {
            self.topics.resize_with(at + 1, Topic::default);
        }
        &mut self.topics[at]
    }

    /// Whether its records must wait until it is learned.
    pub(super) fn held(&self, id: TopicId) -> bool {
        self.topics.get(id.0 as usize).is_some_and(|topic| topic.phase != TopicPhase::Known)
    }

    /// Whether its records go one by one.
    pub(super) fn goes_alone(&self, id: TopicId, now: Duration) -> bool {
        self.topics.get(id.0 as usize).is_some_and(|topic| topic.probation || now < topic.quarantined_until)
    }

    pub(super) fn is_shut(&self, id: TopicId) -> bool {
        self.topics.get(id.0 as usize).is_some_and(|topic| topic.shut)
    }

    /// Those that are shut.
    pub(super) fn shut(&self) -> Vec<TopicId> {
        let shut = self.topics.iter().enumerate().filter(|(_, topic)| topic.shut);
        shut.map(|(at, _)| TopicId(at as u32)).collect()
    }

    pub(super) fn set_retry(&mut self, id: TopicId, policy: RetryPolicy) {
        self.get(id).retry = Some(policy);
    }

    /// The policy of a topic: its own, or this one.
    pub(super) fn retry<'a>(&'a self, id: TopicId, usual: &'a RetryPolicy) -> &'a RetryPolicy {
        self.topics.get(id.0 as usize).and_then(|topic| topic.retry.as_ref()).unwrap_or(usual)
    }

    /// When the next refused topic is to be shut.
    pub(super) fn patience_due(&self, patience: Duration) -> Option<Duration> {
        if self.refused == 0 {
            return None;
        }
        let waiting = self.topics.iter().filter(|topic| topic.is_closing());
        waiting.filter_map(|topic| topic.refused_since).min().map(|since| since + patience)
    }

    /// Shuts a topic that was refused for long enough.
    fn shut_next(&mut self, now: Duration, patience: Duration) -> Option<TopicId> {
        if self.refused == 0 {
            return None;
        }
        let over = |topic: &Topic| {
            topic.is_closing() && topic.refused_since.is_some_and(|since| now >= since + patience)
        };
        let at = self.topics.iter().position(over)?;
        self.topics[at].shut = true;
        self.refused -= 1;
        Some(TopicId(at as u32))
    }

    /// Notes since when it is refused: since the first time, until it is known to take something again.
    fn refused(&mut self, id: TopicId, now: Duration) {
        let topic = self.get(id);
        if topic.refused_since.is_none() {
            topic.refused_since = Some(now);
            self.refused += 1;
        }
    }

    /// It is to be tried. Whether it was shut.
    fn reopen(&mut self, id: TopicId) -> bool {
        let topic = self.get(id);
        let was_shut = core::mem::take(&mut topic.shut);
        let over = !topic.probation && topic.refused_since.take().is_some();
        match (was_shut, over) {
            (true, false) => self.refused += 1,
            (false, true) => self.refused -= 1,
            _ => {}
        }
        was_shut
    }

    /// A session ended because of a record for this topic. The first time within a quarantine only the refused records
    /// go alone: one poison event must not slow its whole topic down. Then the topic does, for twice as long each time:
    /// many must not end the main session as many times.
    pub(super) fn strike(&mut self, id: TopicId, session: (Role, u64), now: Duration, settings: &Settings) {
        let topic = self.get(id);
        if topic.struck_in.replace(session) == Some(session) {
            return;
        }
        if now.saturating_sub(topic.struck_at) > settings.quarantine {
            topic.strikes = 0;
        }
        topic.struck_at = now;
        if topic.strikes > 0 {
            topic.quarantined_until = now + settings.doubled_pause(topic.strikes - 1, settings.quarantine);
        }
        topic.strikes = topic.strikes.saturating_add(1);
    }

    fn due(&self) -> Option<(TopicId, Duration)> {
        let due = self.topics.iter().enumerate().filter_map(|(at, topic)| match topic.phase {
            TopicPhase::Due(when) => Some((TopicId(at as u32), when)),
            _ => None,
        });
        due.min_by_key(|(_, when)| *when)
    }
}

impl<M: Clone> Core<M> {
    pub(super) fn next_learn(&mut self) -> Option<Action<M>> {
        let (topic, when) = self.topics.due()?;
        if self.now < when {
            return None;
        }
        self.topics.get(topic).phase = TopicPhase::Learning;
        Some(Action::Learn(topic))
    }

    pub(super) fn learn_due(&self) -> Option<Duration> {
        self.topics.due().map(|(_, when)| when)
    }

    /// Records of an unknown topic wait until it is learned.
    pub(super) fn wait_for_topic(&mut self, index: u32) {
        let topic = self.entries[index].topic;
        let token = self.entries.token(index);
        let now = self.now;
        let topic = self.topics.get(topic);
        topic.unrouted.push(token);
        if topic.phase == TopicPhase::Known {
            topic.phase = TopicPhase::Due(now);
        }
    }

    /// A topic takes nothing. `in_sending`: although it could be learned.
    pub(super) fn hold_topic(&mut self, id: TopicId, kind: PublishFaultKind, in_sending: bool) {
        let now = self.now;
        let pause = self.settings.retry_pause(self.topics.get(id).failures);
        let topic = self.topics.get(id);
        topic.probation |= in_sending;
        if !matches!(topic.phase, TopicPhase::Due(_)) {
            topic.phase = TopicPhase::Due(now + pause);
            topic.failures = topic.failures.saturating_add(1);
        }
        // Said again when it changes: a broker that was away may come back without the topic.
        if topic.held_for.replace(kind) != Some(kind) {
            self.say(Notice::TopicHeld(id, kind));
        }
        if kind == PublishFaultKind::TopicRefused {
            self.topics.refused(id, now);
        }
    }

    /// A topic was learned, or could not be.
    pub fn handle_learned(&mut self, now: Duration, id: TopicId, result: Result<(), PublishFaultKind>) {
        self.now = now;
        self.topics.get(id).phase = TopicPhase::Known;
        match result {
            Err(PublishFaultKind::Misconfigured) => self.stop = Some(Stop::PublisherMisconfigured),
            Err(kind) => self.hold_topic(id, kind, false),
            Ok(()) => {
                let topic = self.topics.get(id);
                let unrouted = core::mem::take(&mut topic.unrouted);
                self.routes.extend(unrouted);
                if !topic.probation {
                    self.release_topic(id);
                }
                self.reopen_topic(id);
                for port in [&mut self.main, &mut self.alone] {
                    for number in 0..port.channels.len() {
                        if port.channels[number].topic == id {
                            port.list(number as u32);
                        }
                    }
                }
            }
        }
    }

    /// A topic takes records again.
    fn release_topic(&mut self, id: TopicId) {
        let topic = self.topics.get(id);
        (topic.failures, topic.probation) = (0, false);
        if topic.held_for.take().is_some() {
            self.say(Notice::TopicReleased(id));
        }
    }

    /// A record that went alone was acknowledged: its topic is on probation no longer.
    pub(super) fn topic_acknowledged(&mut self, id: TopicId) {
        if self.topics.get(id).probation {
            self.release_topic(id);
            self.reopen_topic(id);
        }
    }

    /// A topic is to be tried again: the ledger is asked for what it has of it, and what it has not yet goes after all.
    fn reopen_topic(&mut self, id: TopicId) {
        if self.topics.reopen(id) {
            self.due.hurry(self.now);
            let lanes: Vec<Lane> = self.lanes.keys().copied().collect();
            for lane in lanes {
                self.let_go_held(lane, id);
            }
        }
    }

    /// Shuts topics that were refused for long enough: what waits for them is parked.
    pub(super) fn shut_topics(&mut self) {
        while let Some(id) = self.topics.shut_next(self.now, self.settings.topic_patience) {
            self.say(Notice::TopicShut(id));
            for role in [Role::Main, Role::Alone] {
                self.take_back_queued(role, id);
            }
            self.advance_aggregates();
            self.advance_lanes();
        }
    }

    /// The route of a record, asked for by [`Action::Route`].
    pub fn handle_routed(&mut self, now: Duration, token: Token, route: Routed) {
        self.now = now;
        // One that was parked behind another meanwhile goes nowhere, whatever its route.
        let waits = |index: &u32| self.entries[*index].state == State::Waiting;
        let Some(index) = self.entries.find(token).filter(waits) else { return };
        self.entries[index].route = route;
        if route == Routed::Unknown {
            self.wait_for_topic(index);
        } else {
            let (number, lane) = (self.entries[index].aggregate_number, self.entries[index].lane);
            self.advance_aggregate(number);
            self.advance_lane(lane);
        }
    }
}
