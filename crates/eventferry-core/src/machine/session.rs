//! Sessions with the broker: opened, ended, replaced; and the topics it takes.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::Core;
use super::action::{Action, Notice, Stop, TopicId};
use super::entry::{ChannelId, Routed, State};
use crate::fault::PublishFaultKind;
use crate::lane::Lane;
use crate::publisher::{Domain, Role, Token};

/// What became of a record, as the core needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// See [`crate::publisher::Outcome::Acknowledged`].
    Acknowledged,
    /// See [`crate::publisher::Outcome::Refused`].
    Refused(PublishFaultKind),
    /// See [`crate::publisher::Outcome::Uncertain`].
    Uncertain,
}

/// How often an unknown refusal of one record is put down to the broker.
const UNKNOWN_REFUSALS_MAX: u8 = 3;

/// The sending side of one role: its session and its channels.
pub(super) struct Port {
    role: Role,
    pub(super) phase: Phase,
    /// Sessions that failed since the last acknowledgement.
    pub(super) failures: u32,
    /// People were told that the broker is away.
    away: bool,
    pub(super) full: bool,
    pub(super) flight_records: usize,
    pub(super) flight_bytes: u64,
    pub(super) channels: Vec<Channel>,
    numbers: BTreeMap<(Domain, TopicId), u32>,
    /// Channels with something queued, in turn.
    pub(super) ready: VecDeque<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Down {
        retry_at: Duration,
    },
    Connecting,
    Open,
    /// To be abandoned: the action is due.
    Ending,
    Abandoning,
}

/// An order domain as one session reaches it.
pub(super) struct Channel {
    pub(super) domain: Domain,
    pub(super) topic: TopicId,
    pub(super) queue: VecDeque<u32>,
    pub(super) flight_records: u32,
    pub(super) listed: bool,
    /// When this session last had an acknowledgement here.
    pub(super) acknowledged_at: Option<Duration>,
}

impl Channel {
    /// Whether more than one record may fly: a session's first record in a domain, and the first after a long
    /// silence, fly alone, because the broker would take whatever came first from a producer it does not know.
    pub(super) fn pipelining(&self, now: Duration, first_alone: Option<Duration>) -> bool {
        match (first_alone, self.acknowledged_at) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(silence), Some(at)) => now.saturating_sub(at) < silence,
        }
    }
}

impl Port {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            phase: Phase::Down { retry_at: Duration::ZERO },
            failures: 0,
            away: false,
            full: false,
            flight_records: 0,
            flight_bytes: 0,
            channels: Vec::new(),
            numbers: BTreeMap::new(),
            ready: VecDeque::new(),
        }
    }

    /// The channel to a domain, made when first asked for. Domains are as many as the broker has partitions.
    pub(super) fn channel(&mut self, domain: Domain, topic: TopicId) -> ChannelId {
        let next = self.channels.len() as u32;
        let number = *self.numbers.entry((domain, topic)).or_insert(next);
        if number == next {
            let queue = VecDeque::new();
            self.channels.push(Channel {
                domain,
                topic,
                queue,
                flight_records: 0,
                listed: false,
                acknowledged_at: None,
            });
        }
        ChannelId { role: self.role, number }
    }

    pub(super) fn enqueue(&mut self, channel: ChannelId, index: u32) {
        self.channels[channel.number as usize].queue.push_back(index);
        self.list(channel.number);
    }

    /// Puts a channel into the turn, if it has something to send.
    pub(super) fn list(&mut self, number: u32) {
        let channel = &mut self.channels[number as usize];
        if !channel.listed && !channel.queue.is_empty() {
            channel.listed = true;
            self.ready.push_back(number);
        }
    }

    /// A new session knows nothing of what the one before had done.
    fn reset(&mut self) {
        (self.full, self.flight_records, self.flight_bytes) = (false, 0, 0);
        self.ready.clear();
        for channel in &mut self.channels {
            channel.queue.clear();
            (channel.flight_records, channel.listed, channel.acknowledged_at) = (0, false, None);
        }
    }
}

/// What is known of topics.
pub(super) struct Topics {
    topics: Vec<Topic>,
}

struct Topic {
    phase: TopicPhase,
    failures: u32,
    /// Why it is held, as it was said.
    held_for: Option<PublishFaultKind>,
    quarantined_until: Duration,
    /// Records that could not be routed before the topic is learned.
    unrouted: Vec<Token>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TopicPhase {
    Known,
    /// To be learned, at this time.
    Due(Duration),
    Learning,
}

impl Topics {
    pub(super) fn new() -> Self {
        Self { topics: Vec::new() }
    }

    fn get(&mut self, id: TopicId) -> &mut Topic {
        let at = id.0 as usize;
        while self.topics.len() <= at {
            let (phase, unrouted) = (TopicPhase::Known, Vec::new());
            self.topics.push(Topic {
                phase,
                failures: 0,
                held_for: None,
                quarantined_until: Duration::ZERO,
                unrouted,
            });
        }
        &mut self.topics[at]
    }

    /// Whether its records must wait until it is learned.
    pub(super) fn held(&self, id: TopicId) -> bool {
        self.topics.get(id.0 as usize).is_some_and(|topic| topic.phase != TopicPhase::Known)
    }

    pub(super) fn quarantined(&self, id: TopicId, now: Duration) -> bool {
        self.topics.get(id.0 as usize).is_some_and(|topic| now < topic.quarantined_until)
    }

    pub(super) fn quarantine(&mut self, id: TopicId, until: Duration) {
        self.get(id).quarantined_until = until;
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
    pub(super) fn port_mut(&mut self, role: Role) -> &mut Port {
        match role {
            Role::Main => &mut self.main,
            Role::Alone => &mut self.alone,
        }
    }

    pub(super) fn next_session(&mut self) -> Option<Action<M>> {
        for role in [Role::Main, Role::Alone] {
            let now = self.now;
            let within = self.lease_left().min(self.settings.margin);
            let port = self.port_mut(role);
            match port.phase {
                Phase::Ending => {
                    port.phase = Phase::Abandoning;
                    return Some(Action::Abandon(role, within));
                }
                Phase::Down { retry_at } if now >= retry_at && port.wanted() => {
                    port.phase = Phase::Connecting;
                    return Some(Action::Connect(role));
                }
                _ => {}
            }
        }
        None
    }

    pub(super) fn session_due(&self) -> Option<Duration> {
        let due = [&self.main, &self.alone].into_iter().filter(|port| port.wanted());
        due.filter_map(|port| if let Phase::Down { retry_at } = port.phase { Some(retry_at) } else { None })
            .min()
    }

    /// A session is open, or could not be opened.
    pub fn handle_connected(&mut self, now: Duration, role: Role, result: Result<(), PublishFaultKind>) {
        self.now = now;
        let failures = self.port_mut(role).failures;
        let pause = self.settings.retry_pause(failures);
        let port = self.port_mut(role);
        match result {
            Ok(()) => {
                port.phase = Phase::Open;
                if core::mem::take(&mut port.away) {
                    self.say(Notice::BrokerBack);
                }
            }
            Err(PublishFaultKind::Misconfigured) => self.stop = Some(Stop::PublisherMisconfigured),
            Err(kind) => {
                port.failures = port.failures.saturating_add(1);
                port.phase = Phase::Down { retry_at: now + pause };
                if !core::mem::replace(&mut port.away, true) {
                    self.say(Notice::BrokerAway(kind));
                }
            }
        }
    }

    /// Ends a session, once: nothing more is sent through it, and its last reports are waited for.
    pub(super) fn end_session(&mut self, role: Role, kind: Option<PublishFaultKind>) {
        let port = self.port_mut(role);
        if port.phase != Phase::Open {
            return;
        }
        port.phase = Phase::Ending;
        port.failures = port.failures.saturating_add(1);
        self.say(Notice::SessionEnded(role, kind));
    }

    /// A session has ended; `reports` answers for what it had not reported before.
    pub fn handle_abandoned(&mut self, now: Duration, role: Role, reports: &[(Token, Outcome)]) {
        self.now = now;
        for (token, outcome) in reports {
            let flying =
                self.entries.find(*token).filter(|index| self.entries[*index].state == State::Flying);
            let Some(index) = flying else { continue };
            match outcome {
                Outcome::Acknowledged => self.acknowledge(index),
                Outcome::Refused(kind) => self.suspect(index, *kind),
                Outcome::Uncertain => {}
            }
        }
        let failures = self.port_mut(role).failures;
        let pause = if failures <= 1 { Duration::ZERO } else { self.settings.retry_pause(failures - 2) };
        self.port_mut(role).phase = Phase::Down { retry_at: now + pause };
        self.queue_again(role);
        self.finish_forced_lanes();
    }

    /// Takes back all that a session had in its hands or before it, in the order of arrival.
    fn queue_again(&mut self, role: Role) {
        self.port_mut(role).reset();
        let (mut again, mut orphans) = (Vec::new(), Vec::new());
        for index in self.entries.indices() {
            let entry = &self.entries[index];
            if matches!(entry.state, State::Queued | State::Flying) && entry.channel.role == role {
                if entry.orphan { &mut orphans } else { &mut again }.push(index);
            }
        }
        // What waits for an orphan goes on only when all is taken back: it would be queued now and once more then.
        let numbers: Vec<u32> =
            orphans.into_iter().map(|index| self.take_out(index).aggregate_number).collect();
        for number in &numbers {
            self.aggregates.unpend(*number);
        }
        self.admit_again(again);
        for number in numbers {
            self.advance_aggregate(number);
        }
        let lanes: Vec<Lane> = self.lanes.keys().copied().collect();
        for lane in lanes {
            self.advance_lane(lane);
        }
    }

    /// An unknown refusal is believed when it came back for a record sent alone while others went through: at any time
    /// since the first, for each refusal ends the session and with it what that session had acknowledged.
    pub(super) fn unknown_is_rejected(&self, index: u32) -> bool {
        let entry = &self.entries[index];
        entry.refusals >= UNKNOWN_REFUSALS_MAX && self.acknowledged > entry.acknowledged_before
    }

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

    pub(super) fn hold_topic(&mut self, id: TopicId, kind: PublishFaultKind) {
        let now = self.now;
        let pause = self.settings.retry_pause(self.topics.get(id).failures);
        let topic = self.topics.get(id);
        topic.phase = TopicPhase::Due(now + pause);
        topic.failures = topic.failures.saturating_add(1);
        // Said again when it changes: a broker that was away may come back without the topic.
        if topic.held_for.replace(kind) != Some(kind) {
            self.say(Notice::TopicHeld(id, kind));
        }
    }

    /// A topic was learned, or could not be.
    pub fn handle_learned(&mut self, now: Duration, id: TopicId, result: Result<(), PublishFaultKind>) {
        self.now = now;
        match result {
            Err(PublishFaultKind::Misconfigured) => self.stop = Some(Stop::PublisherMisconfigured),
            Err(kind) => self.hold_topic(id, kind),
            Ok(()) => {
                let topic = self.topics.get(id);
                topic.phase = TopicPhase::Known;
                topic.failures = 0;
                let held = topic.held_for.take().is_some();
                let unrouted = core::mem::take(&mut topic.unrouted);
                self.routes.extend(unrouted);
                if held {
                    self.say(Notice::TopicReleased(id));
                }
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

impl Port {
    /// The main session is always wanted; the other when there is something for it.
    fn wanted(&self) -> bool {
        self.role == Role::Main || self.channels.iter().any(|channel| !channel.queue.is_empty())
    }
}
