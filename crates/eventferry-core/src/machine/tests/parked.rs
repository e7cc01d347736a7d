//! Parked events: retried when due, given up, decided upon.

use super::*;
use crate::parked::{Decision, End, Next, Stage as ParkedStage};

pub(super) const LANE: Lane = Lane(0);

pub(super) fn key(ordinal: i64) -> ParkedKey {
    ParkedKey { lane: LANE, ordinal }
}

/// A parked event of an aggregate, by its ordinal, as it comes back.
pub(super) fn due(ordinal: i64, aggregate: u64) -> DueArrival {
    DueArrival {
        key: key(ordinal),
        aggregate: AggregateKey(aggregate),
        topic: TopicId(0),
        own_topic: TopicId(0),
        route: Routed::To(Domain(1)),
        size_bytes: 100,
        attempts: 0,
        dying: false,
    }
}

pub(super) fn list(arrivals: &[DueArrival]) -> DueList {
    DueList { arrivals: arrivals.to_vec(), ..DueList::default() }
}

pub(super) fn settings() -> Settings {
    let backoff = Backoff::Fixed(Duration::from_millis(300));
    Settings { retry: RetryPolicy { attempts: 3, backoff, ..RetryPolicy::default() }, ..Settings::default() }
}

impl Stage {
    /// One lane with these parked events (their aggregates, in order), of which these are due at once.
    pub(super) fn with_parked(settings: Settings, aggregates: &[u64], due: DueList) -> Self {
        let mut stage = Self::with(settings, 1);
        let item =
            |aggregate: &u64| ParkedItem { lane: LANE, aggregate: AggregateKey(*aggregate), size_bytes: 100 };
        stage.parked = aggregates.iter().map(item).collect();
        stage.due.push_back(due);
        stage.turn();
        stage
    }

    /// The token of the nth event that came back.
    pub(super) fn came(&self, at: usize) -> Token {
        self.due_tokens[at].expect("it was wanted")
    }

    /// What was told of parked events, in order.
    pub(super) fn told(&mut self) -> Vec<(i64, ChangeWhat)> {
        self.later(Duration::from_millis(100));
        let orders = core::mem::take(&mut self.settled).into_iter().flat_map(|order| order.changes);
        orders.map(|change| (change.key.ordinal, change.what)).collect()
    }

    /// What was sent through each role and not reported.
    pub(super) fn flying(&self, role: Role) -> Vec<Token> {
        self.sent.iter().filter(|(of, _)| *of == role).map(|(_, token)| *token).collect()
    }
}

#[test]
fn a_run_that_is_due_is_sent_in_order_and_settled() {
    let mut stage = Stage::with_parked(settings(), &[1, 1, 1], list(&[due(1, 1), due(2, 1), due(3, 1)]));
    let tokens: Vec<Token> = (0..3).map(|at| stage.came(at)).collect();
    for token in tokens {
        assert_eq!(stage.sent()[0], token);
        stage.acknowledge(token);
    }
    let shipped = ChangeWhat::Settled(End::Shipped);
    assert_eq!(stage.told(), [(1, shipped), (2, shipped), (3, shipped)]);
    // Nothing is parked any more: the log goes straight through, and nobody asks again.
    let asked = stage.asked.len();
    let tokens = stage.page(&[(0, 9, 1, 1)]);
    assert_eq!(stage.sent(), tokens);
    stage.later(Duration::from_secs(2));
    assert_eq!(stage.asked.len(), asked);
}

#[test]
fn the_log_passes_behind_a_parked_event_only_while_all_that_is_parked_is_in_hand() {
    let mut stage = Stage::with_parked(settings(), &[1, 1], list(&[due(1, 1)]));
    let first = stage.page(&[(0, 5, 1, 1)]);
    stage.acknowledge(stage.came(0));
    stage.later(Duration::from_millis(100));
    let order = stage.settled.last().unwrap();
    assert_eq!(
        order.park.iter().map(|park| (park.token, park.why)).collect::<Vec<_>>(),
        [(first[0], ParkWhy::Behind)]
    );
    // Both that are left come back: what follows in the log waits for them in memory, not in the ledger.
    stage.due.push_back(list(&[due(2, 1), due(3, 1)]));
    stage.later(Duration::from_secs(1));
    let second = stage.page(&[(0, 6, 1, 1)]);
    stage.acknowledge(stage.came(1));
    stage.acknowledge(stage.came(2));
    assert_eq!(stage.sent(), second);
    stage.acknowledge(second[0]);
    stage.later(Duration::from_millis(100));
    let order = stage.settled.last().unwrap();
    assert!(order.park.is_empty());
    assert_eq!(order.prefix, [6]);
}

#[test]
fn a_retry_goes_alone_and_when_it_is_refused_what_is_behind_leaves_the_hand() {
    let retried = DueArrival { attempts: 1, ..due(1, 1) };
    let mut stage = Stage::with_parked(settings(), &[1, 1, 2], list(&[retried, due(2, 1), due(3, 2)]));
    let (first, behind, other) = (stage.came(0), stage.came(1), stage.came(2));
    assert_eq!((stage.flying(Role::Alone), stage.flying(Role::Main)), (vec![first], vec![other]));
    stage.acknowledge(other);
    let log = stage.page(&[(0, 9, 1, 1)]);
    stage.settle_answers = false;
    stage.report(first, REJECTED);
    assert!(stage.forgotten.contains(&behind));
    let next = Next::Retry(Duration::from_millis(300));
    assert!(stage.said.contains(&Notice::RefusedAgain { token: first, attempts: 2, next }));
    stage.later(Duration::from_millis(100));
    let order = stage.settled.last().unwrap().clone();
    let refused = ChangeWhat::Refused { token: first, attempts: 2, next };
    assert_eq!(order.changes.last(), Some(&ChangeOrder { key: key(1), what: refused }));
    assert_eq!(order.park.iter().map(|park| park.token).collect::<Vec<_>>(), log);
    assert!(!stage.forgotten.contains(&first), "its words are still to be told");
    stage.core.handle_settled(stage.now, Ok(&[Verdict::Done]));
    stage.turn();
    assert!(stage.forgotten.contains(&first));
    assert_eq!(stage.asked.last().unwrap().0, None, "a new round begins");
}

#[test]
fn what_one_round_found_behind_an_event_that_left_is_not_taken() {
    let retried = DueArrival { attempts: 1, ..due(1, 1) };
    let page = DueList { more: true, ..list(&[retried]) };
    let mut stage = Stage::with_parked(settings(), &[1, 1], page);
    stage.due_open = true;
    // The next page of the round was asked for before the first event of it was refused.
    stage.asked.clear();
    stage.turn();
    stage.report(stage.came(0), REJECTED);
    stage.due.push_back(list(&[due(2, 1)]));
    stage.answer_due();
    stage.turn();
    assert_eq!(stage.due_tokens, [stage.due_tokens[0], None]);
}

#[test]
fn attempts_used_up_wait_for_a_person_or_die() {
    for (dead_letters, next) in [(false, Next::Wait), (true, Next::Die)] {
        let retried = DueArrival { attempts: 2, ..due(1, 1) };
        let mut stage = Stage::with_parked(Settings { dead_letters, ..settings() }, &[1], list(&[retried]));
        let token = stage.came(0);
        stage.report(token, REJECTED);
        assert_eq!(stage.told(), [(1, ChangeWhat::Refused { token, attempts: 3, next })]);
    }
}

#[test]
fn a_topics_own_policy_comes_first() {
    let mut stage = Stage::with(settings(), 1);
    let backoff = Backoff::Fixed(Duration::from_secs(7));
    stage.core.set_retry(TopicId(0), RetryPolicy { attempts: 2, backoff, ..RetryPolicy::default() });
    stage.turn();
    let token = stage.page(&[(0, 1, 1, 1)])[0];
    stage.report(token, REJECTED);
    stage.abandoned(Role::Main, &[]);
    stage.report(token, REJECTED);
    assert!(stage.said.contains(&Notice::Parked(token, Next::Retry(Duration::from_secs(7)))));
}

fn dying(ordinal: i64, aggregate: u64) -> DueArrival {
    DueArrival {
        topic: TopicId(9),
        route: Routed::To(Domain(99)),
        attempts: 3,
        dying: true,
        ..due(ordinal, aggregate)
    }
}

#[test]
fn successors_go_after_the_dead_letters_acknowledgement() {
    let settings = Settings { dead_letters: true, ..settings() };
    let mut stage = Stage::with_parked(settings, &[1, 1], list(&[dying(1, 1), due(2, 1)]));
    let (dead, behind) = (stage.came(0), stage.came(1));
    assert_eq!(stage.sent, [(Role::Alone, dead)]);
    stage.acknowledge(dead);
    assert_eq!(stage.sent(), [behind]);
    assert!(stage.said.contains(&Notice::Dead(dead, false)));
    assert_eq!(stage.told(), [(1, ChangeWhat::Settled(End::DeadLettered))]);
}

#[test]
fn a_held_aggregate_goes_on_when_a_person_releases_it() {
    let retry = RetryPolicy { on_dead: OnDead::Hold, ..RetryPolicy::default() };
    let settings = Settings { dead_letters: true, retry, ..settings() };
    let mut stage = Stage::with_parked(settings, &[1, 1], list(&[dying(1, 1), due(2, 1)]));
    let log = stage.page(&[(0, 5, 1, 1)]);
    stage.acknowledge(stage.came(0));
    assert!(stage.sent().is_empty(), "nothing behind it goes");
    let item = |decision| DecidedItem {
        key: key(1),
        aggregate: AggregateKey(1),
        decision,
        stage: ParkedStage::Held,
    };
    stage.due.push_back(DueList { decisions: vec![item(Decision::Retry)], ..DueList::default() });
    assert_eq!(stage.told(), [(1, ChangeWhat::Held)]);
    assert_eq!(stage.told(), [(1, ChangeWhat::DecisionRefused)]);
    stage.settle_answers = false;
    stage.due.push_back(DueList { decisions: vec![item(Decision::Release)], ..DueList::default() });
    stage.later(Duration::from_secs(1));
    assert_eq!(stage.told(), [(1, ChangeWhat::Settled(End::DeadLettered))]);
    stage.due.push_back(list(&[due(2, 1), due(3, 1)]));
    stage.settle_answers = true;
    stage.core.handle_settled(stage.now, Ok(&[Verdict::Done]));
    stage.turn();
    let (second, third) = (stage.came(2), stage.came(3));
    stage.acknowledge(second);
    assert_eq!(stage.sent(), [third]);
    assert!(stage.forgotten.contains(&log[0]), "it came back from the ledger");
}

#[test]
fn a_dead_letter_that_is_refused_waits_and_counts_nothing() {
    let settings = Settings { dead_letters: true, ..settings() };
    let pause = settings.retry_max;
    let mut stage = Stage::with_parked(settings, &[1], list(&[dying(1, 1)]));
    stage.report(stage.came(0), REJECTED);
    assert_eq!(stage.told(), [(1, ChangeWhat::Postponed(pause))]);
}

#[test]
fn a_topic_that_takes_nothing_is_shut_and_its_events_parked_until_it_is_back() {
    let mut stage = Stage::with(settings(), 1);
    stage.turn();
    assert!(core::mem::take(&mut stage.reading));
    let unknown = |mark| Arrival { route: Routed::Unknown, topic: TopicId(1), ..arrival((0, mark, 1, 1)) };
    let mut tokens = Vec::new();
    let page = [unknown(1), arrival((0, 2, 1, 2)), arrival((0, 3, 2, 2))];
    stage.core.handle_page(stage.now, page, [], Rest::Quiet, &mut tokens);
    stage.turn();
    let tokens: Vec<Token> = tokens.into_iter().flatten().collect();
    stage.acknowledge(tokens[2]);
    for _ in 0..10 {
        if stage.core.topics.held(TopicId(1)) {
            stage.core.handle_learned(stage.now, TopicId(1), Err(PublishFaultKind::TopicRefused));
        }
        stage.later(Duration::from_millis(300));
    }
    assert!(stage.said.contains(&Notice::TopicShut(TopicId(1))));
    let order = stage.settled.last().unwrap();
    let parked: Vec<_> = order.park.iter().map(|park| (park.token, park.why)).collect();
    assert_eq!(parked, [(tokens[0], ParkWhy::TopicHeld), (tokens[1], ParkWhy::Behind)]);
    assert_eq!(order.prefix, [3], "the lane goes on");
    assert_eq!(stage.asked.last().unwrap().1, [TopicId(1)]);
    stage.core.handle_learned(stage.now, TopicId(1), Ok(()));
    stage.turn();
    assert_eq!(stage.asked.last().unwrap().1, []);
}

#[test]
fn a_topic_refused_in_sending_goes_alone_until_something_is_acknowledged() {
    let mut stage = Stage::ready();
    let tokens = stage.page(&[(0, 1, 1, 1)]);
    stage.report(tokens[0], Outcome::Refused(PublishFaultKind::TopicRefused));
    stage.abandoned(Role::Main, &[]);
    stage.later(Duration::from_millis(100));
    stage.core.handle_learned(stage.now, TopicId(0), Ok(()));
    stage.turn();
    assert_eq!(stage.sent, [(Role::Alone, tokens[0])]);
    assert!(!stage.said.contains(&Notice::TopicReleased(TopicId(0))), "it was not seen to take anything");
    stage.acknowledge(tokens[0]);
    assert!(stage.said.contains(&Notice::TopicReleased(TopicId(0))));
    let later = stage.page(&[(0, 2, 1, 1)]);
    assert_eq!(stage.sent, [(Role::Main, later[0])]);
}

#[test]
fn a_discarded_event_lets_go_what_follows_when_the_ledger_knows() {
    let decision = DecidedItem {
        key: key(1),
        aggregate: AggregateKey(1),
        decision: Decision::Discard,
        stage: ParkedStage::Waiting,
    };
    let decided = DueList { decisions: vec![decision], ..DueList::default() };
    let mut stage = Stage::with_parked(settings(), &[1], decided);
    stage.settle_answers = false;
    assert_eq!(stage.told(), [(1, ChangeWhat::Settled(End::Discarded))]);
    let log = stage.page(&[(0, 5, 1, 1)]);
    assert!(stage.sent().is_empty());
    stage.settle_answers = true;
    stage.core.handle_settled(stage.now, Ok(&[Verdict::Done]));
    stage.later(Duration::from_millis(100));
    assert_eq!(stage.settled.last().unwrap().park[0].token, log[0]);
}

#[test]
fn a_decision_takes_an_event_out_of_hand_that_is_not_in_a_sessions() {
    let mut stage = Stage::with(settings(), 1);
    stage.connects = false;
    let item = ParkedItem { lane: LANE, aggregate: AggregateKey(1), size_bytes: 100 };
    stage.parked = vec![item, item];
    stage.due.push_back(list(&[due(1, 1), due(2, 1)]));
    stage.turn();
    let decision = DecidedItem {
        key: key(1),
        aggregate: AggregateKey(1),
        decision: Decision::Discard,
        stage: ParkedStage::Topic,
    };
    stage.due.push_back(DueList { decisions: vec![decision], ..DueList::default() });
    stage.later(Duration::from_secs(1));
    assert_eq!(stage.told(), [(1, ChangeWhat::Settled(End::Discarded))]);
    assert_eq!(stage.core.load(), (0, 0), "what followed left the hand as well");
}

#[test]
fn a_draining_lane_parks_what_waits_behind_a_parked_event_and_goes() {
    let retried = DueArrival { attempts: 1, ..due(1, 1) };
    let mut stage = Stage::with_parked(settings(), &[1, 1], list(&[retried, due(2, 1)]));
    let log = stage.page(&[(0, 5, 1, 1), (0, 6, 2, 2)]);
    stage.acknowledge(log[1]);
    stage.core.drain(stage.now);
    stage.turn();
    assert!(stage.stopped.is_none(), "the first is in a session's hands");
    stage.acknowledge(stage.came(0));
    stage.later(Duration::from_millis(100));
    assert_eq!(stage.stopped, Some(Stop::Drained));
    let order = stage.settled.iter().find(|order| !order.park.is_empty()).unwrap();
    assert_eq!((order.park[0].token, order.prefix.as_slice()), (log[0], &[6][..]));
    assert!(stage.forgotten.contains(&stage.came(1)));
}

#[test]
fn a_position_moves_with_what_became_of_parked_events_before_it() {
    let mut stage = Stage::with_parked(settings(), &[1], list(&[due(1, 1)]));
    let log = stage.page(&[(0, 5, 1, 1)]);
    stage.acknowledge(stage.came(0));
    stage.acknowledge(log[0]);
    stage.later(Duration::from_millis(100));
    let order = stage.settled.last().unwrap();
    assert_eq!((order.changes.len(), order.prefix.as_slice()), (1, &[5][..]));
}

#[test]
fn a_full_lane_is_not_read_until_its_parked_events_are_fewer() {
    let bounded = Settings { lane_parked_bytes_max: 150, ..settings() };
    let mut stage = Stage::with_parked(bounded, &[1, 1], list(&[due(1, 1), due(2, 1)]));
    assert!(stage.reads.is_empty());
    assert!(stage.said.contains(&Notice::LaneFull(LANE)));
    stage.acknowledge(stage.came(0));
    assert_eq!(stage.reads, [[LANE]]);
}

#[test]
fn a_throttled_session_comes_back_when_the_broker_said() {
    let mut stage = Stage::ready();
    let tokens = stage.page(&[(0, 1, 1, 1)]);
    let after = Duration::from_secs(3);
    stage.report(tokens[0], Outcome::Refused(PublishFaultKind::Throttled(after)));
    stage.abandoned(Role::Main, &[]);
    stage.later(after - Duration::from_millis(1));
    assert!(stage.sent.is_empty());
    stage.later(Duration::from_millis(1));
    assert_eq!(stage.sent(), tokens);
}
