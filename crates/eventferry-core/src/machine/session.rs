//! Sessions with the broker: opened, ended, replaced.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::action::{Action, Notice, Stop, TopicId};
use super::entry::{ChannelId, Entry, State};
use super::lane::LaneState;
use super::{Core, Drain};
use crate::fault::PublishFaultKind;
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
    /// How many sessions were opened, and when the last was.
    pub(super) sessions: u64,
    opened_at: Duration,
    /// Sessions that failed since the last acknowledgement.
    pub(super) failures: u32,
    /// How long the broker asked to be left alone when the session ended.
    throttled: Duration,
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
            sessions: 0,
            opened_at: Duration::ZERO,
            failures: 0,
            throttled: Duration::ZERO,
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

impl<M: Clone> Core<M> {
    pub(super) fn port_mut(&mut self, role: Role) -> &mut Port {
        match role {
            Role::Main => &mut self.main,
            Role::Alone => &mut self.alone,
        }
    }

    /// The session that has the records of this role.
    pub(super) fn session_mut(&mut self, role: Role) -> &mut Port {
        if self.transactions.is_some() { &mut self.main } else { self.port_mut(role) }
    }

    /// Whether a session is wanted: the main one always, the other when there is something for it.
    fn is_wanted(&self, role: Role) -> bool {
        match (&self.transactions, role) {
            (Some(_), Role::Main) => self.wants_to_take_over(),
            (Some(_), Role::Alone) => false,
            (None, Role::Main) => true,
            (None, Role::Alone) => self.alone.channels.iter().any(|channel| !channel.queue.is_empty()),
        }
    }

    pub(super) fn next_session(&mut self) -> Option<Action<M>> {
        if self.transactions.is_some() && self.lanes.is_empty() {
            self.end_session(Role::Main, None);
        }
        for role in [Role::Main, Role::Alone] {
            let now = self.now;
            let within = self.reports_wait();
            let wanted = self.is_wanted(role);
            let port = self.port_mut(role);
            match port.phase {
                Phase::Ending => {
                    port.phase = Phase::Abandoning;
                    return Some(Action::Abandon(role, within));
                }
                Phase::Down { retry_at } if now >= retry_at && wanted => {
                    port.phase = Phase::Connecting;
                    return Some(match &mut self.transactions {
                        None => Action::Connect(role),
                        Some(transactions) => {
                            transactions.note_asked();
                            Action::TakeOver
                        }
                    });
                }
                _ => {}
            }
        }
        None
    }

    /// How long the reports of a session that ended are waited for. What is given up earlier may have been written, and
    /// is sent again: so as long as the lease allows; a relay on its way out has less time.
    fn reports_wait(&self) -> Duration {
        let grace_left = |drain: Drain| drain.deadline.saturating_sub(self.now).max(self.settings.margin);
        self.lease_left().min(self.drain.map_or(Duration::MAX, grace_left))
    }

    pub(super) fn session_due(&self) -> Option<Duration> {
        let due = [&self.main, &self.alone].into_iter().filter(|port| self.is_wanted(port.role));
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
                (port.sessions, port.opened_at) = (port.sessions + 1, now);
                if core::mem::take(&mut port.away) {
                    self.say(Notice::BrokerBack);
                }
            }
            Err(PublishFaultKind::Misconfigured) => self.stop = Some(Stop::PublisherMisconfigured),
            Err(kind) => {
                port.failures = port.failures.saturating_add(1);
                let asked =
                    if let PublishFaultKind::Throttled(after) = kind { after } else { Duration::ZERO };
                port.phase = Phase::Down { retry_at: now + pause.max(asked) };
                if !core::mem::replace(&mut port.away, true) {
                    self.say(Notice::BrokerAway(kind));
                }
            }
        }
    }

    /// Ends a session, once: nothing more is sent through it, and its last reports are waited for.
    pub(super) fn end_session(&mut self, role: Role, kind: Option<PublishFaultKind>) {
        let port = self.session_mut(role);
        if port.phase != Phase::Open {
            return;
        }
        port.phase = Phase::Ending;
        port.failures = port.failures.saturating_add(1);
        if let Some(PublishFaultKind::Throttled(after)) = kind {
            port.throttled = after;
        }
        self.say(Notice::SessionEnded(role, kind));
    }

    /// A session has ended by itself, whatever is in flight.
    pub fn handle_session_ended(&mut self, now: Duration, role: Role) {
        self.now = now;
        let longest_pause = self.settings.retry_max;
        let port = self.session_mut(role);
        if now.saturating_sub(port.opened_at) > longest_pause {
            // One that lives so long has not failed, whether or not there was anything to send.
            port.failures = 0;
        }
        self.end_session(role, None);
    }

    /// A session has ended; `reports` answers for what it had not reported before.
    pub fn handle_abandoned(&mut self, now: Duration, role: Role, reports: &[(Token, Outcome)]) {
        self.now = now;
        for (token, outcome) in reports {
            if self.handle_transaction_report(*token, *outcome) {
                continue;
            }
            let flying =
                self.entries.find(*token).filter(|index| self.entries[*index].state == State::Flying);
            let Some(index) = flying else { continue };
            match outcome {
                Outcome::Acknowledged => self.acknowledge(index),
                // Else records that are refused in the same moment would each be tried for ever.
                Outcome::Refused(kind) if self.believe(index, *kind) => {}
                Outcome::Refused(kind) => self.suspect(index, *kind),
                Outcome::Uncertain => {}
            }
        }
        let failures = self.port_mut(role).failures;
        let pause = if failures <= 1 { Duration::ZERO } else { self.settings.retry_pause(failures - 2) };
        let port = self.port_mut(role);
        let pause = pause.max(core::mem::take(&mut port.throttled));
        port.phase = Phase::Down { retry_at: now + pause };
        if self.transactions.is_some() {
            self.end_transactions();
        } else {
            self.queue_again(role);
        }
        self.finish_forced_lanes();
    }

    /// Takes back all that a session had in its hands or before it, in the order of arrival.
    pub(super) fn queue_again(&mut self, role: Role) {
        self.port_mut(role).reset();
        let all = self.transactions.is_some();
        if let Some(transactions) = &mut self.transactions {
            // One session had the records of both.
            transactions.queues.iter_mut().for_each(VecDeque::clear);
            self.alone.reset();
            self.lanes.values_mut().for_each(LaneState::look_again);
        }
        let (mut again, mut orphans) = (Vec::new(), Vec::new());
        for index in self.entries.indices() {
            let entry = &self.entries[index];
            let sent = matches!(entry.state, State::Queued | State::Flying | State::Carried);
            if sent && (all || entry.channel.role == role) {
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
        self.leave_what_came_back();
        self.advance_lanes();
    }

    /// Takes what is queued for a topic out of its channels: it waits again, first of its aggregates.
    pub(super) fn take_back_queued(&mut self, role: Role, topic: TopicId) {
        let mut queued = Vec::new();
        if self.transactions.is_some() {
            let of_topic = |entry: &Entry<M>| {
                entry.state == State::Queued && entry.topic == topic && entry.channel.role == role
            };
            queued.extend(self.entries.indices().into_iter().filter(|index| of_topic(&self.entries[*index])));
            self.unlist(&queued.iter().copied().collect());
        }
        for channel in self.port_mut(role).channels.iter_mut().filter(|channel| channel.topic == topic) {
            queued.extend(channel.queue.drain(..));
        }
        queued.sort_unstable_by_key(|index| core::cmp::Reverse(self.entries[*index].arrival));
        for index in queued {
            self.entries[index].state = State::Waiting;
            self.aggregates.wait_first(self.entries[index].aggregate_number, index);
        }
    }

    /// In a transaction nothing that stands behind a record in its lane can go and show whose fault an unknown refusal
    /// is. After as many it is set aside, uncounted, so that others go.
    pub(super) fn unknown_is_unproven(&self, index: u32) -> bool {
        self.transactions.is_some() && self.entries[index].refusals >= UNKNOWN_REFUSALS_MAX
    }

    /// An unknown refusal is believed when it came back for a record sent alone while others went through: at any time
    /// since the first, for each refusal ends the session and with it what that session had acknowledged.
    pub(super) fn unknown_is_rejected(&self, index: u32) -> bool {
        let entry = &self.entries[index];
        entry.refusals >= UNKNOWN_REFUSALS_MAX && self.acknowledged > entry.acknowledged_before
    }
}
