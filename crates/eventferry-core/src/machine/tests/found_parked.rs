//! Transcripts of what the simulator found about parked events.

use super::parked::*;
use super::*;

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
    let settings = Settings { page_records_max: 4, memory_records_max: 5, ..settings() };
    let mut stage = Stage::with(settings, 1);
    stage.parked = vec![ParkedItem { lane: LANE, aggregate: AggregateKey(1), size_bytes: 100 }];
    stage.due_open = true;
    stage.turn();
    assert!(stage.reading, "both are asked for");
    assert_eq!((stage.room_due, stage.room_log), (1, 4));
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
