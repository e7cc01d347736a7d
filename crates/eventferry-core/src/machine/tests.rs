//! Transcripts of the state machine: what happened, and what it asked for then.

mod abilities;
mod bell;
mod drain;
mod found;
mod found_parked;
mod outage;
mod parked;
mod transactions;

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use self::abilities::{capabilities, kafka_like};
use super::*;
use crate::fault::{PublishFaultKind, StoreFaultKind};
use crate::lane::Lease;
use crate::parked::ParkedKey;
use crate::publisher::Domain;
use crate::store::{Anchor, Held, Opened, Ownership, Rest, Verdict};
use crate::transaction::{Agreement, Resolved, Stamp};

type Mark = u32;

/// A core with a friendly store and broker around it: every call of the store is answered at once and well, unless
/// the test says otherwise.
struct Stage {
    core: Core<Mark>,
    now: Duration,
    lanes_total: u16,
    relays_live: u32,
    epochs: Vec<u64>,
    owned: Vec<Lease>,
    /// What was sent and is not reported, in order.
    sent: Vec<(Role, Token)>,
    settled: Vec<SettleOrder<Mark>>,
    reads: Vec<Vec<Lane>>,
    said: Vec<Notice>,
    abandoned: Vec<Role>,
    /// How long the last abandoned session's reports are waited for.
    waits: Duration,
    forgotten: Vec<Token>,
    learned: Vec<TopicId>,
    routed: Vec<Token>,
    stopped: Option<Stop>,
    /// The store answers; if not, calls stay open.
    store_answers: bool,
    settle_answers: bool,
    open_calls: usize,
    /// The broker answers connects.
    connects: bool,
    /// Reads are answered by hand.
    reading: bool,
    /// The bell is waited for.
    lying: bool,
    holds: usize,
    /// What the ledger lists as parked.
    parked: Vec<ParkedItem>,
    /// What the ledger answers when it is asked for what is due, one after the other, then nothing.
    due: VecDeque<DueList>,
    /// Asking for what is due stays open.
    due_open: bool,
    /// After which event, and without which topics, it was asked.
    asked: Vec<(Option<ParkedKey>, Vec<TopicId>)>,
    /// How many records were wanted last, of the log and of what is due.
    room_log: u32,
    room_due: u32,
    /// The tokens of what was due.
    due_tokens: Vec<Option<Token>>,
    /// What the broker says was committed last.
    committed: Option<Stamp>,
    begun: Vec<Stamp>,
    intended: Vec<IntendOrder<Mark>>,
    commits: usize,
    aborts: usize,
    shipped: Vec<Token>,
}

impl Stage {
    fn with(settings: Settings, lanes_total: u16) -> Self {
        Self {
            core: Core::new(settings, &capabilities(), kafka_like()),
            now: Duration::ZERO,
            lanes_total,
            relays_live: 1,
            epochs: vec![0; usize::from(lanes_total)],
            owned: Vec::new(),
            sent: Vec::new(),
            settled: Vec::new(),
            reads: Vec::new(),
            said: Vec::new(),
            abandoned: Vec::new(),
            waits: Duration::ZERO,
            forgotten: Vec::new(),
            learned: Vec::new(),
            routed: Vec::new(),
            stopped: None,
            store_answers: true,
            settle_answers: true,
            open_calls: 0,
            connects: true,
            reading: false,
            lying: false,
            holds: 0,
            parked: Vec::new(),
            due: VecDeque::new(),
            due_open: false,
            asked: Vec::new(),
            room_log: 0,
            room_due: 0,
            due_tokens: Vec::new(),
            committed: None,
            begun: Vec::new(),
            intended: Vec::new(),
            commits: 0,
            aborts: 0,
            shipped: Vec::new(),
        }
    }

    /// One lane, owned and open, with a session.
    fn ready() -> Self {
        let mut stage = Self::with(Settings::default(), 1);
        stage.turn();
        assert!(stage.reading, "the lane is read");
        stage
    }

    /// Does what the core asks for, until it sleeps.
    fn turn(&mut self) -> Duration {
        for _ in 0..10_000 {
            match self.core.poll(self.now) {
                Action::Hold(claim) if self.store_answers => {
                    self.holds += 1;
                    let held = self.hold(&claim);
                    self.core.handle_held(self.now, Ok(held));
                }
                Action::Open(leases) => {
                    let opened: Vec<Opened> =
                        leases.iter().map(|l| Opened { lane: l.lane, anchor: Anchor::Continued }).collect();
                    self.core.handle_opened(self.now, Ok(&opened));
                }
                Action::ReadParked { .. } => {
                    let list = ParkedList { events: self.parked.clone(), ..ParkedList::default() };
                    self.core.handle_parked(self.now, Ok(list));
                }
                Action::ReadDue { after, except_topics, records_max, .. } => {
                    self.room_due = records_max;
                    self.asked.push((after, except_topics));
                    if !self.due_open {
                        self.answer_due();
                    }
                }
                Action::Read { lanes, records_max, .. } => {
                    self.room_log = records_max;
                    self.reads.push(lanes);
                    self.reading = true;
                }
                Action::LieDown => {
                    assert!(!self.lying, "it lies already");
                    self.lying = true;
                }
                Action::GetUp => {
                    self.lying = false;
                    self.core.handle_got_up(self.now);
                }
                Action::Settle(orders) => {
                    let verdicts = vec![Verdict::Done; orders.len()];
                    self.settled.extend(orders);
                    if self.settle_answers {
                        self.core.handle_settled(self.now, Ok(&verdicts));
                    }
                }
                Action::Connect(role) if self.connects => self.core.handle_connected(self.now, role, Ok(())),
                Action::Send(role, token, _) => self.sent.push((role, token)),
                Action::Abandon(role, within) => {
                    self.waits = within;
                    self.abandoned.push(role);
                }
                Action::Forget(tokens) => self.forgotten.extend(tokens),
                Action::Learn(topic) => self.learned.push(topic),
                Action::Route(token) => self.routed.push(token),
                Action::TakeOver => self.core.handle_taken_over(self.now, Ok(self.committed)),
                Action::Resolve { committed, .. } => {
                    let newest = committed.map_or(0, |stamp| stamp.number);
                    let agreement = Agreement::Agreed;
                    self.core.handle_resolved(self.now, Ok(Resolved { agreement, newest }));
                }
                Action::Begin(stamp) => self.begun.push(stamp),
                Action::Intend(order) => self.intended.push(order),
                Action::Commit => self.commits += 1,
                Action::Abort => self.aborts += 1,
                Action::Shipped(tokens) => self.shipped.extend(tokens),
                Action::Say(notice) => self.said.push(notice),
                Action::Close(_) => {}
                Action::Hold(_) | Action::Connect(_) | Action::SettleAgain | Action::IntendAgain => {
                    self.open_calls += 1;
                }
                Action::Sleep(until) => return until,
                Action::Stop(stop) => {
                    self.stopped = Some(stop);
                    return self.now;
                }
            }
        }
        panic!("the core never sleeps");
    }

    fn hold(&mut self, claim: &crate::store::Claim) -> Held {
        self.owned = claim.keep.clone();
        for lane in 0..self.lanes_total {
            let taken = self.owned.iter().any(|lease| lease.lane == Lane(lane));
            if !taken && self.owned.len() < claim.keep.len() + usize::from(claim.take_max) {
                self.epochs[usize::from(lane)] += 1;
                self.owned.push(Lease { lane: Lane(lane), epoch: self.epochs[usize::from(lane)] });
            }
        }
        Held { leases: self.owned.clone(), relays_live: self.relays_live, lanes_total: self.lanes_total }
    }

    fn answer_due(&mut self) {
        let list = self.due.pop_front().unwrap_or_default();
        self.core.handle_due(self.now, Ok(list), &mut self.due_tokens);
    }

    fn later(&mut self, by: Duration) -> Duration {
        self.now += by;
        self.turn()
    }

    /// Hands over a page: each record is (lane, mark, aggregate, domain).
    fn page(&mut self, records: &[(u16, Mark, u64, u64)]) -> Vec<Token> {
        assert!(core::mem::take(&mut self.reading), "nobody asked for a page");
        let arrivals: Vec<_> = records.iter().map(|r| arrival(*r)).collect();
        let mut tokens = Vec::new();
        self.core.handle_page(self.now, arrivals, [], Rest::Quiet, &mut tokens);
        self.turn();
        tokens.into_iter().map(|token| token.expect("the lane is wanted")).collect()
    }

    fn report(&mut self, token: Token, outcome: Outcome) {
        self.sent.retain(|(_, sent)| *sent != token);
        self.core.handle_report(self.now, token, outcome);
        self.turn();
    }

    fn acknowledge(&mut self, token: Token) {
        self.report(token, Outcome::Acknowledged);
    }

    fn sent(&self) -> Vec<Token> {
        self.sent.iter().map(|(_, token)| *token).collect()
    }

    /// The session answers that it is gone, with these outcomes, all else uncertain.
    fn abandoned(&mut self, role: Role, known: &[(Token, Outcome)]) {
        assert_eq!(self.abandoned.pop(), Some(role));
        let mut outcomes = known.to_vec();
        for (_, token) in self.sent.iter().filter(|(sent, _)| *sent == role) {
            if !known.iter().any(|(of, _)| of == token) {
                outcomes.push((*token, Outcome::Uncertain));
            }
        }
        self.sent.retain(|(sent, _)| *sent != role);
        self.core.handle_abandoned(self.now, role, &outcomes);
        self.turn();
    }

    fn was_parked(&self, token: Token) -> bool {
        self.said.iter().any(|notice| matches!(notice, Notice::Parked(parked, _) if *parked == token))
    }

    fn last_settled(&self) -> Vec<Mark> {
        self.settled.last().map(|order| order.prefix.clone()).unwrap_or_default()
    }
}

fn arrival((lane, mark, aggregate, domain): (u16, Mark, u64, u64)) -> Arrival<Mark> {
    let (aggregate, topic) = (AggregateKey(aggregate), TopicId(0));
    Arrival { lane: Lane(lane), mark, aggregate, topic, route: Routed::To(Domain(domain)), size_bytes: 100 }
}

const REJECTED: Outcome = Outcome::Refused(PublishFaultKind::Rejected);

#[test]
fn a_position_moves_over_the_longest_settled_prefix_in_arrival_order() {
    let mut stage = Stage::ready();
    // A late record has a smaller mark, and comes later all the same.
    let tokens = stage.page(&[(0, 7, 1, 1), (0, 3, 2, 2), (0, 9, 3, 3)]);
    stage.acknowledge(tokens[2]);
    stage.acknowledge(tokens[1]);
    stage.later(Duration::from_secs(1));
    assert!(stage.settled.is_empty(), "the first is not settled");
    stage.acknowledge(tokens[0]);
    stage.later(Duration::from_secs(1));
    assert_eq!(stage.last_settled(), [9]);
}

#[test]
fn a_sessions_first_record_in_a_domain_flies_alone() {
    let mut stage = Stage::ready();
    let tokens = stage.page(&[(0, 1, 1, 1), (0, 2, 2, 1), (0, 3, 1, 1), (0, 4, 3, 2)]);
    assert_eq!(stage.sent(), [tokens[0], tokens[3]]);
    stage.acknowledge(tokens[0]);
    assert_eq!(stage.sent(), [tokens[3], tokens[1], tokens[2]]);
}

#[test]
fn the_first_record_after_a_long_silence_flies_alone_again() {
    let settings = Settings::default();
    let mut stage = Stage::ready();
    let tokens = stage.page(&[(0, 1, 1, 1)]);
    stage.acknowledge(tokens[0]);
    let hour = Duration::from_secs(3600);
    for _ in 0..hour.div_duration_f64(settings.renewal) as u32 {
        stage.later(settings.renewal);
    }
    let tokens = stage.page(&[(0, 2, 1, 1), (0, 3, 2, 1)]);
    assert_eq!(stage.sent(), [tokens[0]]);
}

#[test]
fn an_aggregate_changes_its_domain_only_after_an_acknowledgement() {
    let mut stage = Stage::ready();
    let open = stage.page(&[(0, 1, 8, 1), (0, 2, 9, 2)]);
    stage.acknowledge(open[0]);
    stage.acknowledge(open[1]);
    stage.later(Duration::from_millis(100));
    let tokens = stage.page(&[(0, 3, 1, 1), (0, 4, 1, 1), (0, 5, 1, 2), (0, 6, 1, 2), (0, 7, 2, 2)]);
    assert_eq!(stage.sent(), [tokens[0], tokens[1], tokens[4]], "the other aggregate does not wait");
    stage.acknowledge(tokens[0]);
    assert_eq!(stage.sent(), [tokens[1], tokens[4]]);
    stage.acknowledge(tokens[1]);
    assert_eq!(stage.sent(), [tokens[4], tokens[2], tokens[3]]);
}

#[test]
fn after_an_uncertain_send_everything_goes_again_in_order() {
    let mut stage = Stage::ready();
    let open = stage.page(&[(0, 1, 8, 1)]);
    stage.acknowledge(open[0]);
    stage.later(Duration::from_millis(100));
    let tokens = stage.page(&[(0, 2, 1, 1), (0, 3, 1, 1), (0, 4, 2, 1), (0, 5, 1, 1)]);
    stage.report(tokens[0], Outcome::Uncertain);
    assert_eq!(stage.abandoned, [Role::Main]);
    stage.abandoned(Role::Main, &[(tokens[2], Outcome::Acknowledged)]);
    assert_eq!(stage.sent(), [tokens[0]], "alone, in the new session");
    stage.acknowledge(tokens[0]);
    assert_eq!(stage.sent(), [tokens[1], tokens[3]]);
}

#[test]
fn a_refused_record_is_tried_alone_and_then_parked_with_its_aggregate() {
    let mut stage = Stage::ready();
    let open = stage.page(&[(0, 1, 8, 1)]);
    stage.acknowledge(open[0]);
    stage.later(Duration::from_millis(100));
    let tokens = stage.page(&[(0, 2, 1, 1), (0, 3, 1, 1), (0, 4, 2, 1)]);
    stage.report(tokens[0], REJECTED);
    assert_eq!(stage.abandoned, [Role::Main], "nothing more goes through a session with a gap");
    // The innocent of another aggregate travelled in the same batch.
    stage.abandoned(Role::Main, &[(tokens[2], REJECTED)]);
    assert_eq!(stage.sent, [(Role::Alone, tokens[0]), (Role::Alone, tokens[2])]);
    stage.acknowledge(tokens[2]);
    stage.report(tokens[0], REJECTED);
    stage.later(Duration::from_secs(1));
    let order = stage.settled.last().unwrap().clone();
    assert_eq!(order.prefix, [4]);
    let parked: Vec<_> = order.park.iter().map(|park| (park.token, park.why == ParkWhy::Behind)).collect();
    assert_eq!(parked, [(tokens[0], false), (tokens[1], true)]);
    assert!(stage.forgotten.contains(&tokens[0]) && stage.forgotten.contains(&tokens[1]));

    // What comes later of the aggregate waits behind it; others go on.
    stage.later(Duration::from_millis(300));
    let later = stage.page(&[(0, 5, 1, 1), (0, 6, 3, 2)]);
    assert_eq!(stage.sent(), [later[1]]);
    stage.acknowledge(later[1]);
    stage.later(Duration::from_secs(1));
    let behind = stage.settled.iter().flat_map(|order| &order.park).filter(|park| park.token == later[0]);
    assert_eq!(behind.map(|park| park.why).collect::<Vec<_>>(), [ParkWhy::Behind]);
}

#[test]
fn a_record_refused_by_its_route_is_parked_after_its_predecessors() {
    let mut stage = Stage::ready();
    assert!(core::mem::take(&mut stage.reading));
    let refused = Arrival { route: Routed::Refused, ..arrival((0, 2, 1, 1)) };
    let mut tokens = Vec::new();
    stage.core.handle_page(stage.now, [arrival((0, 1, 1, 1)), refused], [], Rest::Quiet, &mut tokens);
    stage.turn();
    assert!(!stage.said.iter().any(|notice| matches!(notice, Notice::Parked(..))));
    stage.acknowledge(tokens[0].unwrap());
    assert!(stage.was_parked(tokens[1].unwrap()));
}

#[test]
fn records_of_an_unknown_topic_wait_and_nobody_else() {
    let mut stage = Stage::ready();
    assert!(core::mem::take(&mut stage.reading));
    let unknown = Arrival { route: Routed::Unknown, topic: TopicId(1), ..arrival((0, 1, 1, 1)) };
    let mut tokens = Vec::new();
    stage.core.handle_page(stage.now, [unknown, arrival((0, 2, 2, 2))], [], Rest::Quiet, &mut tokens);
    stage.turn();
    assert_eq!(stage.sent(), [tokens[1].unwrap()]);
    assert_eq!(stage.learned, [TopicId(1)]);
    stage.core.handle_learned(stage.now, TopicId(1), Err(PublishFaultKind::TopicRefused));
    stage.turn();
    assert!(stage.said.contains(&Notice::TopicHeld(TopicId(1), PublishFaultKind::TopicRefused)));
    stage.later(Duration::from_secs(1));
    assert_eq!(stage.learned.len(), 2, "asked again by itself");
    stage.core.handle_learned(stage.now, TopicId(1), Ok(()));
    stage.turn();
    assert_eq!(stage.routed, [tokens[0].unwrap()]);
    stage.core.handle_routed(stage.now, tokens[0].unwrap(), Routed::To(Domain(9)));
    stage.turn();
    assert_eq!(stage.sent(), [tokens[1].unwrap(), tokens[0].unwrap()]);
}

#[test]
fn why_a_topic_is_held_is_said_again_only_when_it_changes() {
    use PublishFaultKind::{TopicRefused, Unavailable};
    let mut stage = Stage::ready();
    assert!(core::mem::take(&mut stage.reading));
    let unknown = Arrival { route: Routed::Unknown, topic: TopicId(1), ..arrival((0, 1, 1, 1)) };
    stage.core.handle_page(stage.now, [unknown], [], Rest::Quiet, &mut Vec::new());
    stage.turn();
    for (kind, is_said) in [(Unavailable, true), (Unavailable, false), (TopicRefused, true)] {
        stage.said.clear();
        stage.core.handle_learned(stage.now, TopicId(1), Err(kind));
        stage.turn();
        assert_eq!(stage.said.contains(&Notice::TopicHeld(TopicId(1), kind)), is_said, "{kind:?}");
        stage.later(Duration::from_secs(1));
    }
}

#[test]
fn a_settlement_that_failed_is_made_again_unchanged_before_any_other() {
    let mut stage = Stage::ready();
    stage.settle_answers = false;
    let tokens = stage.page(&[(0, 1, 1, 1), (0, 2, 2, 2)]);
    stage.acknowledge(tokens[0]);
    stage.later(Duration::from_millis(100));
    assert_eq!(stage.last_settled(), [1]);
    stage.core.handle_settled(stage.now, Err(StoreFaultKind::Unavailable));
    stage.acknowledge(tokens[1]);
    let before = stage.open_calls;
    stage.later(Duration::from_secs(1));
    assert_eq!((stage.open_calls, stage.settled.len()), (before + 1, 1), "again, and nothing new");
    stage.core.handle_settled(stage.now, Ok(&[Verdict::Done]));
    stage.later(Duration::from_millis(100));
    assert_eq!(stage.last_settled(), [2]);
}

#[test]
fn a_fenced_lane_is_forgotten_at_once() {
    let mut stage = Stage::ready();
    stage.settle_answers = false;
    let tokens = stage.page(&[(0, 1, 1, 1), (0, 2, 1, 1)]);
    stage.acknowledge(tokens[0]);
    stage.later(Duration::from_millis(100));
    stage.core.handle_settled(stage.now, Ok(&[Verdict::Fenced]));
    stage.turn();
    assert!(stage.said.contains(&Notice::Lost(vec![Lane(0)])));
    assert_eq!(stage.core.lanes().count(), 0);
    // What was in flight counts for nothing, whatever becomes of it.
    stage.acknowledge(tokens[1]);
    assert_eq!(stage.core.load(), (0, 0));
}

#[test]
fn nothing_is_sent_after_the_lease_less_its_margin() {
    let mut stage = Stage::ready();
    let tokens = stage.page(&[(0, 1, 1, 1), (0, 2, 1, 1), (0, 3, 2, 1)]);
    stage.store_answers = false;
    stage.later(Duration::from_secs(3));
    stage.later(Duration::from_secs(6));
    assert!(stage.said.contains(&Notice::LeaseExpired));
    assert_eq!(stage.abandoned, [Role::Main], "what is in flight is given up");
    // The first was acknowledged after all: it is told to the ledger under the old epoch.
    stage.abandoned(Role::Main, &[(tokens[0], Outcome::Acknowledged)]);
    assert_eq!(stage.last_settled(), [1]);
    assert!(stage.sent.is_empty());
    assert_eq!(stage.core.load(), (0, 0), "what was not is forgotten");
}

#[test]
fn a_renewal_counts_from_when_it_was_sent() {
    let mut stage = Stage::ready();
    stage.store_answers = false;
    stage.later(Duration::from_millis(2_500));
    // The answer comes seven seconds after the question.
    stage.now += Duration::from_secs(5);
    let held = Held { leases: stage.owned.clone(), relays_live: 1, lanes_total: 1 };
    stage.core.handle_held(stage.now, Ok(held));
    stage.turn();
    assert!(!stage.said.contains(&Notice::LeaseExpired));
    stage.later(Duration::from_secs(3));
    assert!(stage.said.contains(&Notice::LeaseExpired), "2.5 s + 10 s - 2 s have passed");
}

#[test]
fn lost_history_throws_everything_away_and_opens_the_lanes_again() {
    let mut stage = Stage::ready();
    let tokens = stage.page(&[(0, 1, 1, 1), (0, 2, 2, 2), (0, 3, 2, 2)]);
    stage.acknowledge(tokens[0]);
    assert!(stage.reading || stage.later(Duration::from_millis(20)) > Duration::ZERO);
    stage.settled.clear();
    stage.core.handle_read_failed(stage.now, StoreFaultKind::HistoryLost);
    let reads = stage.reads.len();
    stage.reading = false;
    stage.later(Duration::from_secs(1));
    assert!(stage.said.contains(&Notice::HistoryLost));
    assert!(stage.settled.is_empty(), "no mark of the old history is told");
    assert!(stage.reads.len() > reads, "the lane is read again");
}

#[test]
fn a_relay_with_more_than_its_share_hands_the_rest_over() {
    let mut stage = Stage::with(Settings::default(), 8);
    stage.turn();
    assert_eq!(stage.core.lanes().count(), 8);
    stage.relays_live = 3;
    stage.later(Duration::from_millis(2_500));
    stage.later(Duration::from_millis(50));
    assert_eq!(stage.core.lanes().count(), 3, "a third, rounded up");
    assert!(stage.said.contains(&Notice::Released(vec![Lane(3), Lane(4), Lane(5), Lane(6), Lane(7)])));
}

#[test]
fn where_all_lanes_are_leased_at_once_nothing_is_handed_over_to_those_that_stand_by() {
    let mut stage = Stage::with(Settings::default(), 8);
    let whole = Capabilities { ownership: Ownership::Whole, ..capabilities() };
    stage.core = Core::new(Settings::default(), &whole, kafka_like());
    stage.turn();
    stage.relays_live = 3;
    stage.later(Duration::from_millis(2_500));
    stage.later(Duration::from_millis(50));
    assert_eq!(stage.core.lanes().count(), 8);
}

#[test]
fn reading_stops_when_memory_is_full_and_goes_on_when_there_is_room() {
    let settings =
        Settings { page_records_max: 4, memory_records_max: 8, lane_records_max: 100, ..Settings::default() };
    let mut stage = Stage::with(settings, 1);
    stage.turn();
    let first: Vec<_> = (0..4).map(|mark| (0, mark, u64::from(mark), 1)).collect();
    let tokens = stage.page(&first);
    stage.later(Duration::from_millis(300));
    let second: Vec<_> = (4..8).map(|mark| (0, mark, u64::from(mark), 1)).collect();
    stage.page(&second);
    stage.later(Duration::from_millis(300));
    assert!(!stage.reading, "8 records are in memory");
    for token in tokens {
        stage.acknowledge(token);
    }
    stage.later(Duration::from_millis(300));
    assert!(stage.reading);
}

/// A lane is lost with two records in flight and regained; its next record waits for them, being for another domain.
fn lost_and_regained() -> (Stage, Vec<Token>, Token) {
    let mut stage = Stage::ready();
    let open = stage.page(&[(0, 1, 9, 1)]);
    stage.acknowledge(open[0]);
    stage.later(Duration::from_millis(100));
    let old = stage.page(&[(0, 2, 1, 1), (0, 3, 1, 1)]);
    assert_eq!(stage.sent(), old);
    // Somebody else had it meanwhile; now it is ours again, with the next epoch.
    stage.owned.clear();
    stage.epochs[0] += 1;
    stage.now += Duration::from_millis(2_500);
    stage.store_answers = false;
    stage.turn();
    stage.core.handle_held(stage.now, Ok(Held { leases: vec![], relays_live: 1, lanes_total: 1 }));
    stage.store_answers = true;
    stage.reading = false;
    stage.turn();
    stage.core.handle_read_failed(stage.now, StoreFaultKind::Contended);
    stage.later(Duration::from_secs(1));
    let again = stage.page(&[(0, 2, 1, 2)]);
    assert!(!stage.sent().contains(&again[0]), "into another domain, it waits for the old ones' outcome");
    (stage, old, again[0])
}

#[test]
fn a_lane_that_is_lost_and_regained_waits_for_what_it_had_in_flight() {
    let (mut stage, old, again) = lost_and_regained();
    stage.acknowledge(old[0]);
    stage.acknowledge(old[1]);
    assert!(stage.sent().contains(&again));
}
