//! The engine: performs what a relay's core asks for, and tells it what came of it.

use eventferry_core::fault::PublishFaultKind;
use eventferry_core::machine::{
    Action, AggregateKey, Arrival, ChangeOrder, ChangeWhat, Delivery, IntendOrder, Outcome, Routed,
    SettleOrder, TopicId,
};
use eventferry_core::parked::Next;
use eventferry_core::publisher::{Domain, Role, Token};
use eventferry_core::store::{Rest, Verdict};
use eventferry_core::{Lane, Lease, Stamp};

use super::calls::{Answer, Call};
use super::{What, World};
use crate::agenda::{MILLISECOND, SECOND, Time};
use crate::broker::{Life, Message, Producer};
use crate::checks::{fencing, memory, punctual};
use crate::database::{DueWish, Mark, ToldChange, ToldIntent, ToldLane, ToldPark};
use crate::flaw::Flaw;
use crate::plan::Temper;
use crate::relay::{Birth, InHand, Relay};
use crate::truth::{Event, Incident, Poison};

/// How many actions a core may ask for at one instant.
const ACTIONS_MAX: usize = 20_000;

/// What one page brought.
pub(crate) struct Page {
    /// Lane, event, id.
    pub(crate) rows: Vec<(u16, u32, Mark)>,
    pub(crate) passed: Vec<(u16, Mark)>,
    pub(crate) rest: Rest,
}

/// How long after lanes were opened a relay may still be listing what is parked in them.
const LISTING_MAX: Time = 200 * MILLISECOND;

impl World {
    pub(super) fn start(&mut self, relay: usize, name: usize) {
        if self.relays.get(relay).is_some_and(|process| process.up) {
            return;
        }
        if !self.exactly_once && self.broker.coordinator.is_unsettled() {
            // Who changes to at least once after a relay that did not finish waits for its transactions to end.
            self.agenda.enter(self.now + 500 * MILLISECOND, What::Start { relay, name });
            return;
        }
        if self.relays.iter().all(|process| !process.up) {
            self.manned_since = self.now;
        }
        self.incarnations += 1;
        let incarnation = self.incarnations;
        let delivery = if self.exactly_once { Delivery::ExactlyOnce } else { Delivery::AtLeastOnce };
        let birth = Birth { incarnation, at: self.now, delivery };
        let process = Relay::new(&self.plan, name, birth, self.flaw);
        if relay < self.relays.len() {
            self.relays[relay] = process;
        } else {
            while self.relays.len() < relay {
                // Slots are taken in the order of starting; one that starts late leaves room before it.
                let mut empty =
                    Relay::new(&self.plan, usize::MAX, Birth { incarnation: 0, ..birth }, self.flaw);
                empty.up = false;
                self.relays.push(empty);
            }
            self.relays.push(process);
        }
        self.note(|| format!("relay {relay} starts as r{name}"));
        let sweep_at = self.now + self.dice.between(500, 2_000) * MILLISECOND;
        self.agenda.enter(sweep_at, What::Sweep { relay, incarnation });
        self.act(relay);
    }

    /// Does what the core asks for, until it sleeps.
    pub(super) fn act(&mut self, relay: usize) {
        for _ in 0..ACTIONS_MAX {
            let process = &mut self.relays[relay];
            if !process.up || process.frozen || self.broken.is_some() {
                return;
            }
            let clock = process.clock(self.now);
            let action = process.core.poll(clock);
            self.tally.actions += 1;
            match action {
                Action::Sleep(until) if until <= clock => {
                    self.breaks(2, || format!("relay {relay} spins: its core wants to be woken at once"));
                    return;
                }
                Action::Sleep(until) => {
                    let settings = &self.plan.settings;
                    let found = memory::load(self.relays[relay].core.load(), settings, 200);
                    self.check(9, found);
                    let rung = std::mem::take(&mut self.relays[relay].rung);
                    if rung
                        && self.one_relay_is_up()
                        && self.plan.temper == Temper::Calm
                        && !self.plan.lanes_fill()
                    {
                        let process = &self.relays[relay];
                        // With something in hand there may be no room.
                        let needs_no_look = process.core.load().0 > 0
                            || process.client.cursors.is_empty()
                            || process.draining
                            // Its parked events are listed first.
                            || self.now < process.opened_at + LISTING_MAX;
                        let looks = process.reads || process.opens;
                        let found = punctual::looks_when_rung(looks || needs_no_look);
                        self.check(2, found);
                    }
                    let wait = until.saturating_sub(clock).as_micros().max(1);
                    let at = self.now.saturating_add(Time::try_from(wait).unwrap_or(Time::MAX));
                    self.wake(relay, at);
                    return;
                }
                Action::Stop(stop) => {
                    self.note(|| format!("relay {relay} stops: {stop:?}"));
                    self.stopped(relay, stop);
                    return;
                }
                action => self.perform(relay, action),
            }
        }
        self.breaks(2, || format!("relay {relay} spins: its core asks and asks and never sleeps"));
    }

    fn wake(&mut self, relay: usize, at: Time) {
        let process = &mut self.relays[relay];
        if at < process.wake_at {
            process.wake_at = at;
            let incarnation = process.incarnation;
            self.agenda.enter(at, What::Wake { relay, incarnation });
        }
    }

    fn perform(&mut self, relay: usize, action: Action<Mark>) {
        match action {
            Action::Hold(claim) => {
                self.relays[relay].claimed_at = self.now;
                self.call(relay, Call::Hold(claim));
            }
            Action::Open(leases) => {
                self.relays[relay].opens = true;
                self.call(relay, Call::Open(leases));
            }
            Action::Close(lanes) => self.relays[relay].client.close(&lanes),
            Action::ReadParked { lanes, after } => {
                self.call(relay, Call::Parked { lanes, after });
            }
            Action::ReadDue { lanes, except_topics, after, records_max, bytes_max } => {
                let except_topics = except_topics.iter().map(|topic| topic.0 as u16).collect();
                let records_max = records_max as usize;
                let timeline = self.relays[relay].client.timeline;
                let wish = DueWish { timeline, lanes, except_topics, after, records_max, bytes_max };
                self.call(relay, Call::Due(wish));
            }
            Action::Read { lanes, records_max, bytes_max } => {
                let factor = if self.has(Flaw::ReadsBeyondRoom) { 8 } else { 1 };
                let asleep_since = self.asleep_since(relay);
                let process = &mut self.relays[relay];
                (process.reads, process.reads_asleep_since) = (true, asleep_since);
                self.read(relay, &lanes, records_max as usize * factor, bytes_max * factor as u64);
            }
            Action::Settle(orders) => {
                let told = orders.into_iter().map(|order| self.told(relay, order)).collect();
                self.settle(relay, told);
            }
            Action::SettleAgain => {
                if let Some(told) = self.relays[relay].told.take() {
                    self.settle(relay, told);
                }
            }
            Action::Connect(role) => self.connect(relay, role),
            Action::TakeOver => self.take_over(relay),
            Action::Begin(stamp) => self.begin_transaction(relay, stamp),
            Action::Commit => self.commit_transaction(relay),
            Action::Abort => self.abort_transaction(relay),
            Action::Intend(order) => self.intend(relay, order),
            Action::IntendAgain => {
                if let Some(told) = self.relays[relay].intended.take() {
                    self.call(relay, Call::Intend(told));
                }
            }
            Action::Resolve { leases, committed } => {
                self.relays[relay].resolves += 1;
                let attempt = self.relays[relay].resolves;
                self.call(relay, Call::Resolve { leases, committed, attempt });
            }
            Action::Shipped(tokens) => {
                for token in tokens {
                    self.relays[relay].held.remove(&token);
                }
            }
            Action::Learn(topic) => self.learn(relay, topic),
            Action::Route(token) => {
                let held = self.relays[relay].held.get(&token).copied();
                let routed = held.map_or(Routed::Unknown, |held| self.route(relay, held.event, held.dying));
                let process = &mut self.relays[relay];
                process.core.handle_routed(process.clock(self.now), token, routed);
            }
            Action::Send(role, token, _) => self.send(relay, role, token),
            Action::Abandon(role, within) => self.abandon(relay, role, within.as_micros() as Time),
            Action::Forget(tokens) => {
                for token in tokens {
                    self.relays[relay].held.remove(&token);
                }
            }
            Action::Say(notice) => self.note(|| format!("relay {relay} says {notice:?}")),
            Action::LieDown => self.lie_down(relay),
            Action::GetUp => self.get_up(relay),
            Action::Sleep(_) | Action::Stop(_) => {}
        }
    }

    /// What the core ordered, with the events that it does not know.
    fn told(&mut self, relay: usize, order: SettleOrder<Mark>) -> ToldLane {
        self.calls += 1;
        let park = order.park.iter().filter_map(|park| {
            let event = self.relays[relay].held.get(&park.token)?.event;
            let Event { aggregate, topic, size_bytes, .. } = self.truth.events[event as usize];
            Some(ToldPark { id: park.mark.last_id, event, aggregate, topic, size_bytes, why: park.why })
        });
        let park = park.collect();
        let silent = self.relays[relay].draining && self.has(Flaw::LeavesInSilence);
        let told = order.changes.iter().filter(|_| !silent);
        let changes = told.map(|change| self.told_change(relay, *change)).collect();
        let read = self.relays[relay].client.cursors.get(&order.lease.lane.0);
        let read = read.filter(|_| self.has(Flaw::SettlesWhatWasRead)).cloned();
        let mark = order.prefix.into_iter().next_back().map(|mark| read.unwrap_or(mark));
        let call = self.calls;
        ToldLane {
            lease: order.lease,
            version: None,
            timeline: None,
            call,
            mark,
            park,
            changes,
            carries: order.carries,
        }
    }

    /// Writes down what a transaction settles.
    fn intend(&mut self, relay: usize, order: IntendOrder<Mark>) {
        let IntendOrder { stamp, after, settled, leases, settlements } = order;
        let mut lanes: Vec<ToldLane> = settlements.into_iter().map(|order| self.told(relay, order)).collect();
        for lane in &mut lanes {
            lane.timeline = self.relays[relay].client.version_before(lane.lease, lane.call).1;
        }
        self.call(relay, Call::Intend(ToldIntent { stamp, after, settled, leases, lanes }));
        if self.has(Flaw::CommitsBeforeIntent) {
            let process = &mut self.relays[relay];
            let clock = process.clock(self.now);
            process.core.handle_intended(clock, stamp, Ok(Verdict::Done));
        }
    }

    /// A relay has taken the broker over, or could not.
    pub(super) fn was_taken_over(
        &mut self,
        relay: usize,
        result: Result<(u32, Option<Stamp>), PublishFaultKind>,
    ) {
        let doubts = self.has(Flaw::DoubtIsAborted);
        let process = &mut self.relays[relay];
        let clock = process.clock(self.now);
        if let Ok((producer, stamp)) = result {
            process.sessions[Role::Main as usize] = Some(producer);
            if process.heard.is_none() || !doubts {
                process.heard = stamp;
            }
        }
        let heard = process.heard;
        process.core.handle_taken_over(clock, result.map(|_| heard));
    }

    /// The words of a refusal are those that came with the refusal of its token.
    fn told_change(&mut self, relay: usize, order: ChangeOrder) -> ToldChange {
        let ChangeOrder { key, what } = order;
        if let ChangeWhat::Refused { token, next: Next::Die, .. } = what {
            self.carry_early(relay, token);
        }
        let cause = match what {
            ChangeWhat::Refused { token, .. } => self.relays[relay].held.get(&token).map(|held| held.event),
            _ => None,
        };
        ToldChange { key, what, cause }
    }

    /// A flawed engine sends the dead letter of an event whose death it is about to tell.
    fn carry_early(&mut self, relay: usize, token: Token) {
        let process = &self.relays[relay];
        let session = process.sessions[Role::Main as usize];
        let (true, Some(number), Some(held)) =
            (self.has(Flaw::CarriesBeforeDecided), session, process.held.get(&token).copied())
        else {
            return;
        };
        self.sees_sent(relay, InHand { dying: true, ..held });
        let topic = self.plan.letter_topic() as u16;
        let domain = self.broker.domain(topic, self.truth.events[held.event as usize].aggregate);
        self.produce(number, domain, Message { token: Token(u64::MAX), event: held.event });
    }

    fn settle(&mut self, relay: usize, mut told: Vec<ToldLane>) {
        for lane in &mut told {
            (lane.version, lane.timeline) = self.relays[relay].client.version_before(lane.lease, lane.call);
        }
        self.call(relay, Call::Settle(told));
    }

    /// Where an event goes, or its dead letter.
    pub(super) fn route(&mut self, relay: usize, event: u32, dying: bool) -> Routed {
        let now = self.now;
        let topic = self.topic_of(event, dying);
        if dying && !self.relays[relay].dead_letters {
            return Routed::Refused;
        }
        if !self.relays[relay].topics_known[topic] {
            return Routed::Unknown;
        }
        let event = self.truth.event(event);
        if !dying && event.ailment.poison_at(now) == Poison::Unroutable {
            event.refusals += 1;
            return Routed::Refused;
        }
        let domain = self.broker.domain(topic as u16, event.aggregate);
        Routed::To(Domain(if self.has(Flaw::OneDomainForAll) { 0 } else { domain as u64 }))
    }

    pub(super) fn topic_of(&self, event: u32, dying: bool) -> usize {
        if dying { self.plan.letter_topic() } else { usize::from(self.truth.events[event as usize].topic) }
    }

    fn send(&mut self, relay: usize, role: Role, token: Token) {
        let process = &self.relays[relay];
        let clock = process.clock(self.now);
        let session = process.sessions[if process.exactly_once { 0 } else { role as usize }];
        let held = process.held.get(&token).copied();
        let (Some(number), Some(held)) = (session, held) else {
            self.relays[relay].core.handle_ended(clock, token);
            return;
        };
        let name = process.name;
        let producer = &mut self.broker.producers[number as usize];
        if producer.life != Life::Open {
            self.relays[relay].core.handle_ended(clock, token);
            return;
        }
        // Beside a stamp that is on its way there may be no room for a large record, or one of a topic just learned.
        let begins = producer.transacting.as_ref().is_some_and(|transacting| transacting.open.is_none());
        let crowded = begins && self.wire_dice.chance(5);
        if crowded || producer.holds() >= self.plan.settings.flight_records_max.max(2) - 1 {
            self.relays[relay].core.handle_full(clock, token);
            return;
        }
        let InHand { event, dying, .. } = held;
        self.note(|| {
            let what = if dying { "the dead letter of " } else { "" };
            format!("relay {relay} sends {what}e{event} through its {role:?} session p{number}")
        });
        self.sees_sent(relay, held);
        let until = self.leases.get(name).copied().unwrap_or(0);
        let found = fencing::sent(name, until, self.now);
        self.check(5, found);
        self.truth.event(event).handed_at.get_or_insert(self.now);
        let domain = {
            let topic = self.topic_of(event, dying) as u16;
            self.broker.domain(topic, self.truth.events[event as usize].aggregate)
        };
        let number =
            if self.has(Flaw::SplitsSession) { number + self.wire_dice.below(2) as u32 } else { number };
        self.produce(number, domain, Message { token, event });
        if self.has(Flaw::AcknowledgesOnSend) || (dying && self.has(Flaw::LettersNeedNoAnswer)) {
            self.reported(relay, &[(token, Outcome::Acknowledged)]);
        }
    }

    /// Tells the core of reports of an open session.
    pub(super) fn reported(&mut self, relay: usize, reports: &[(Token, Outcome)]) {
        for (token, outcome) in reports {
            let process = &mut self.relays[relay];
            if *outcome == Outcome::Acknowledged && !process.exactly_once {
                process.held.remove(token);
            }
            let clock = process.clock(self.now);
            process.core.handle_report(clock, *token, *outcome);
        }
    }

    fn connect(&mut self, relay: usize, role: Role) {
        let incarnation = self.relays[relay].incarnation;
        let away = self.broker.down_until.max(self.broker.frozen_until) > self.now;
        let (after, result) = if away {
            (self.wire_dice.between(50, 1_000) * MILLISECOND, Err(PublishFaultKind::Unavailable))
        } else {
            let number = self.broker.producers.len() as u32;
            self.broker.producers.push(Producer::new(relay, incarnation, role));
            if self.has(Flaw::SplitsSession) {
                self.broker.producers.push(Producer::new(relay, incarnation, role));
            }
            (self.wire_dice.between(1, 30) * MILLISECOND, Ok(number))
        };
        let answer = Answer::Connected(role, result);
        self.agenda.enter(self.now + after, What::Answer { relay, incarnation, answer });
    }

    fn learn(&mut self, relay: usize, topic: TopicId) {
        let incarnation = self.relays[relay].incarnation;
        let at = topic.0 as usize;
        let away = self.broker.down_until.max(self.broker.frozen_until) > self.now;
        let (after, result) = match away {
            true => (self.wire_dice.between(50, 1_000) * MILLISECOND, Err(PublishFaultKind::Unavailable)),
            false if self.broker.gone_until[at] > self.now => {
                (self.wire_dice.between(1, 30) * MILLISECOND, Err(PublishFaultKind::TopicRefused))
            }
            false => (self.wire_dice.between(1, 30) * MILLISECOND, Ok(())),
        };
        let answer = Answer::Learned(topic, result);
        self.agenda.enter(self.now + after, What::Answer { relay, incarnation, answer });
    }

    /// Hands a page to the core.
    pub(super) fn page(&mut self, relay: usize, page: Page) {
        let mut arrivals: Vec<Arrival<Mark>> = Vec::with_capacity(page.rows.len());
        for (lane, number, mark) in &page.rows {
            let route = self.route(relay, *number, false);
            let event = &self.truth.events[*number as usize];
            arrivals.push(Arrival {
                lane: Lane(*lane),
                mark: mark.clone(),
                aggregate: AggregateKey(event.aggregate.into()),
                topic: TopicId(event.topic.into()),
                route,
                size_bytes: event.size_bytes,
            });
        }
        let passed = page.passed.into_iter().map(|(lane, mark)| (Lane(lane), mark));
        let mut tokens = Vec::with_capacity(arrivals.len());
        let process = &mut self.relays[relay];
        let clock = process.clock(self.now);
        process.core.handle_page(clock, arrivals, passed, page.rest, &mut tokens);
        let timeline = process.client.timeline.unwrap_or(0);
        for ((_, event, _), token) in page.rows.iter().zip(&tokens) {
            if let Some(token) = token {
                process.held.insert(*token, InHand { event: *event, parked: None, dying: false, timeline });
            }
        }
        let found = memory::load(process.core.load(), &self.plan.settings, 200);
        self.check(9, found);
        if !page.rows.is_empty() {
            self.note(|| {
                let events: Vec<String> = page.rows.iter().map(|(_, event, _)| format!("e{event}")).collect();
                format!("relay {relay} reads {}", events.join(" "))
            });
        }
    }

    fn stopped(&mut self, relay: usize, stop: eventferry_core::machine::Stop) {
        use eventferry_core::machine::Stop;
        match stop {
            Stop::Drained if self.relays[relay].draining => {}
            Stop::GraceOver if self.relays[relay].exactly_once => {}
            Stop::GraceOver => {
                let (from, until) = (self.now, self.now + 10 * SECOND);
                self.truth.incidents.push(Incident { from, until, repeats: 2 });
            }
            stop => self.breaks(2, || format!("relay {relay} stops by itself: {stop:?}")),
        }
        self.end_process(relay);
    }

    pub(super) fn lease_of(&self, lane: Lane) -> Lease {
        Lease { lane, epoch: self.database.books.lanes[usize::from(lane.0)].epoch }
    }
}
