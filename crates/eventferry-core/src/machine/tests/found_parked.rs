//! Transcripts of what the simulator found about parked events.

use super::parked::*;
use super::*;
use crate::parked::{Decision, End, Stage as ParkedStage};

const TOPIC_REFUSED: Outcome = Outcome::Refused(PublishFaultKind::TopicRefused);

#[test]
fn a_core_without_room_for_parked_events_sleeps() {
    let settings = Settings { page_records_max: 4, memory_records_max: 5, ..settings() };
    let mut stage = Stage::with_parked(settings, &[1, 2], list(&[due(1, 1)]));
    let wake = stage.later(Duration::from_millis(1_100));
    assert!(wake > stage.now, "one parked event fits, and is in hand");
    stage.acknowledge(stage.came(0));
    assert_eq!(stage.asked.len(), 2);
}

#[test]
fn the_log_and_parked_events_are_not_asked_for_into_the_same_room() {
    let settings = Settings { page_records_max: 15, memory_records_max: 16, ..settings() };
    let mut stage = Stage::with(settings, 1);
    stage.parked = vec![ParkedItem { lane: LANE, aggregate: AggregateKey(1), size_bytes: 100 }];
    stage.due_open = true;
    stage.turn();
    assert!(stage.reading, "both are asked for");
    assert_eq!((stage.room_due, stage.room_log), (4, 12));
    // The log is read when the next round begins.
    stage.answer_due();
    stage.page(&[]);
    stage.later(Duration::from_millis(20));
    assert!(stage.reading);
    stage.later(Duration::from_secs(1));
    assert_eq!((stage.room_due, stage.room_log), (1, 15));
}

#[test]
fn a_shut_topic_that_can_be_learned_is_tried_before_it_is_shut_again() {
    let mut stage = Stage::ready();
    let tokens = stage.page(&[(0, 1, 1, 1)]);
    stage.report(tokens[0], TOPIC_REFUSED);
    stage.abandoned(Role::Main, &[]);
    stage.later(Duration::from_secs(2));
    assert!(stage.said.contains(&Notice::TopicShut(TopicId(0))));
    stage.said.clear();
    stage.later(Duration::from_secs(3));
    stage.due.push_back(list(&[due(1, 1)]));
    stage.core.handle_learned(stage.now, TopicId(0), Ok(()));
    stage.turn();
    assert_eq!(stage.asked.last().unwrap().1, [], "its events are wanted");
    assert_eq!(stage.flying(Role::Alone), [stage.came(stage.due_tokens.len() - 1)]);
    assert!(!stage.said.contains(&Notice::TopicShut(TopicId(0))));
    // It still refuses: it is shut again at once, not after another time of patience.
    stage.report(stage.came(stage.due_tokens.len() - 1), TOPIC_REFUSED);
    assert!(stage.said.contains(&Notice::TopicShut(TopicId(0))));
}

#[test]
fn the_rest_of_a_run_is_asked_for_when_what_was_in_hand_is_settled() {
    let mut stage = Stage::with_parked(settings(), &[1, 1], list(&[due(1, 1)]));
    let asked = stage.asked.len();
    stage.acknowledge(stage.came(0));
    stage.later(Duration::from_millis(50));
    assert_eq!(stage.asked.len(), asked + 1);
}

#[test]
fn a_refusal_of_one_record_is_believed_when_it_comes_with_the_sessions_end() {
    let mut stage = Stage::with_parked(
        settings(),
        &[1, 2],
        list(&[DueArrival { attempts: 1, ..due(1, 1) }, DueArrival { attempts: 1, ..due(2, 2) }]),
    );
    let (unknown, rejected) = (stage.came(0), stage.came(1));
    stage.report(unknown, Outcome::Refused(PublishFaultKind::Unknown));
    stage.abandoned(Role::Alone, &[(rejected, REJECTED)]);
    assert!(
        matches!(stage.told()[..], [(2, ChangeWhat::Refused { attempts: 2, .. })]),
        "it went alone, whatever ended the session"
    );
}

#[test]
fn a_parked_event_in_hand_keeps_no_others_out_however_small_the_pages_are() {
    let settings = Settings { page_records_max: 4, ..settings() };
    let mut stage = Stage::with_parked(settings, &[1, 2], list(&[due(1, 1)]));
    let asked = stage.asked.len();
    stage.later(Duration::from_millis(1_100));
    assert_eq!(stage.asked.len(), asked + 1);
}

#[test]
fn a_lane_with_much_to_tell_keeps_no_other_lane_waiting() {
    let mut stage = Stage::with(Settings::default(), 2);
    stage.core.ledger.items_max = 1;
    stage.turn();
    let tokens = stage.page(&[(0, 1, 1, 1), (0, 2, 3, 3), (1, 1, 2, 2)]);
    stage.settle_answers = false;
    stage.acknowledge(tokens[0]);
    stage.acknowledge(tokens[2]);
    stage.later(Duration::from_millis(50));
    // The first lane has more to tell before it is answered.
    stage.acknowledge(tokens[1]);
    stage.settle_answers = true;
    stage.core.handle_settled(stage.now, Ok(&[Verdict::Done]));
    stage.turn();
    let lanes: Vec<u16> = stage.settled.iter().map(|order| order.lease.lane.0).collect();
    assert_eq!(lanes, [0, 1, 0], "and none of them waits for a pause");
}

#[test]
fn records_to_be_parked_behind_an_event_that_is_settled_meanwhile_go_after_all() {
    let decision = DecidedItem {
        key: key(1),
        aggregate: AggregateKey(1),
        decision: Decision::Discard,
        stage: ParkedStage::Waiting,
    };
    let mut stage = Stage::with_parked(settings(), &[1], list(&[]));
    // The first of the lane is not acknowledged, so nothing behind it can be parked yet.
    let tokens = stage.page(&[(0, 1, 2, 2), (0, 2, 1, 1), (0, 3, 1, 1)]);
    assert_eq!(stage.sent(), [tokens[0]]);
    stage.due.push_back(DueList { decisions: vec![decision], ..DueList::default() });
    stage.later(Duration::from_secs(1));
    assert_eq!(stage.told(), [(1, ChangeWhat::Settled(End::Discarded))]);
    assert_eq!(stage.sent()[1..], tokens[1..2]);
    stage.acknowledge(tokens[1]);
    assert_eq!(stage.sent()[1..], tokens[2..]);
}

#[test]
fn a_lane_whose_parked_bytes_were_guessed_is_counted_anew_before_it_counts_as_full() {
    let decision = DecidedItem {
        key: key(1),
        aggregate: AggregateKey(1),
        decision: Decision::Discard,
        stage: ParkedStage::Waiting,
    };
    let mut stage = Stage::with(Settings { lane_parked_bytes_max: 500, ..settings() }, 1);
    let item = |size_bytes| ParkedItem { lane: LANE, aggregate: AggregateKey(1), size_bytes };
    stage.parked = vec![item(900), item(100), item(100)];
    stage.due.push_back(DueList { decisions: vec![decision], ..DueList::default() });
    stage.turn();
    assert!(stage.reads.is_empty(), "the lane is full");
    // What was discarded was the largest, which the core does not know.
    stage.parked.remove(0);
    assert_eq!(stage.told(), [(1, ChangeWhat::Settled(End::Discarded))]);
    stage.later(Duration::from_millis(100));
    assert_eq!(stage.reads, [[LANE]]);
}

#[test]
fn what_became_of_parked_events_leaves_room_for_what_is_to_be_parked() {
    let mut stage = Stage::with(settings(), 1);
    stage.core.ledger.items_max = 4;
    let item = |aggregate| ParkedItem { lane: LANE, aggregate: AggregateKey(aggregate), size_bytes: 100 };
    // Of the second aggregate nothing comes back: what follows is to be parked behind it.
    stage.parked = vec![item(1), item(2)];
    stage.due.push_back(list(&[due(1, 1)]));
    stage.turn();
    let tokens = stage.page(&[(0, 1, 2, 2), (0, 2, 2, 2), (0, 3, 2, 2), (0, 4, 2, 2)]);
    stage.acknowledge(stage.came(0));
    stage.later(Duration::from_millis(50));
    let order = stage.settled.first().unwrap();
    assert_eq!((order.changes.len(), order.park.len()), (1, 2));
    let parked: usize = stage.settled.iter().map(|order| order.park.len()).sum();
    assert_eq!(parked, tokens.len(), "the rest is told at once");
}

#[test]
fn a_lane_is_opened_in_another_history_only_if_it_is_still_this_relays_there() {
    let mut stage = Stage::ready();
    stage.store_answers = false;
    assert!(core::mem::take(&mut stage.reading));
    stage.core.handle_read_failed(stage.now, StoreFaultKind::HistoryLost);
    stage.turn();
    assert_eq!(stage.open_calls, 1, "its leases are asked for");
    assert!(!stage.reading, "and nothing is opened before the answer");
    // In the restored database the lane is another's.
    let held = Held { leases: vec![], relays_live: 2, lanes_total: 1 };
    stage.core.handle_held(stage.now, Ok(held));
    stage.turn();
    assert!(stage.said.contains(&Notice::Lost(vec![LANE])));
    assert!(!stage.reading);
}

#[test]
fn a_claim_that_was_open_when_the_history_was_lost_says_nothing_of_the_new_one() {
    let mut stage = Stage::ready();
    stage.store_answers = false;
    stage.later(Settings::default().renewal);
    assert_eq!(stage.open_calls, 1);
    let leases = stage.owned.clone();
    stage.core.handle_read_failed(stage.now, StoreFaultKind::HistoryLost);
    stage.reading = false;
    stage.turn();
    let held = Held { leases, relays_live: 1, lanes_total: 1 };
    stage.core.handle_held(stage.now, Ok(held));
    stage.turn();
    assert_eq!(stage.open_calls, 2, "it is asked again");
    assert!(!stage.reading);
}

#[test]
fn records_to_be_parked_for_a_topics_sake_go_after_all_when_it_is_back() {
    let mut stage = Stage::with(settings(), 1);
    stage.turn();
    assert!(core::mem::take(&mut stage.reading));
    let held = |mark, domain| Arrival { topic: TopicId(1), ..arrival((0, mark, 2, domain)) };
    let page = [arrival((0, 1, 1, 1)), held(2, 2), arrival((0, 3, 2, 3))];
    let mut tokens = Vec::new();
    stage.core.handle_page(stage.now, page, [], Rest::Quiet, &mut tokens);
    stage.turn();
    let tokens: Vec<Token> = tokens.into_iter().flatten().collect();
    // The first of the lane stays in flight, so nothing behind it can be parked.
    stage.report(tokens[1], TOPIC_REFUSED);
    stage.abandoned(Role::Main, &[]);
    stage.later(Duration::from_secs(3));
    assert!(stage.said.contains(&Notice::TopicShut(TopicId(1))));
    assert_eq!(stage.sent(), [tokens[0]]);
    stage.core.handle_learned(stage.now, TopicId(1), Ok(()));
    stage.turn();
    assert_eq!(stage.sent(), [tokens[0], tokens[1]]);
    stage.acknowledge(tokens[1]);
    assert_eq!(stage.sent(), [tokens[0], tokens[2]]);
    for token in [tokens[0], tokens[2]] {
        stage.acknowledge(token);
    }
    stage.later(Duration::from_secs(1));
    assert_eq!(stage.core.load(), (0, 0));
    assert!(stage.settled.iter().all(|order| order.park.is_empty()));
}
