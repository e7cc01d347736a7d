//! Transcripts of what seeded storms found: each was a schedule of the simulator's that broke a promise.

use super::*;

#[test]
fn a_record_parked_before_its_topic_is_known_goes_nowhere_when_it_is() {
    let mut stage = Stage::with(Settings::default(), 1);
    stage.parked = vec![ParkedItem { lane: Lane(0), aggregate: AggregateKey(1), size_bytes: 100 }];
    stage.turn();
    assert!(core::mem::take(&mut stage.reading));
    stage.settle_answers = false;
    let unknown = Arrival { route: Routed::Unknown, ..arrival((0, 1, 1, 1)) };
    let mut tokens = Vec::new();
    stage.core.handle_page(stage.now, [unknown], [], Rest::Quiet, &mut tokens);
    stage.turn();
    assert_eq!(stage.learned, [TopicId(0)]);
    stage.later(Duration::from_secs(1));
    assert_eq!(stage.settled.iter().flat_map(|order| &order.park).count(), 1, "parked, and not yet answered");
    stage.core.handle_learned(stage.now, TopicId(0), Ok(()));
    stage.turn();
    for token in core::mem::take(&mut stage.routed) {
        stage.core.handle_routed(stage.now, token, Routed::To(Domain(1)));
    }
    stage.turn();
    assert!(stage.sent.is_empty());
}

#[test]
fn what_waits_for_a_lost_lanes_records_is_sent_once_when_their_session_ends() {
    let (mut stage, old, again) = lost_and_regained();
    stage.report(old[0], Outcome::Uncertain);
    stage.abandoned(Role::Main, &[]);
    assert_eq!(stage.sent(), [again]);
    stage.acknowledge(again);
    stage.later(Duration::from_millis(100));
    assert_eq!(stage.core.load(), (0, 0));
}

#[test]
fn a_record_refused_with_an_unknown_code_again_and_again_is_parked_though_it_ends_each_session() {
    let unknown = Outcome::Refused(PublishFaultKind::Unknown);
    let mut stage = Stage::ready();
    let tokens = stage.page(&[(0, 1, 1, 1), (0, 2, 2, 2)]);
    stage.report(tokens[0], unknown);
    stage.abandoned(Role::Main, &[]);
    // The other goes through, once; then there is nothing but the refused one, first in each session.
    stage.acknowledge(tokens[1]);
    for _ in 0..10 {
        if stage.sent.iter().any(|(role, token)| *role == Role::Alone && *token == tokens[0]) {
            stage.report(tokens[0], unknown);
        }
        if stage.abandoned == [Role::Alone] {
            stage.abandoned(Role::Alone, &[]);
        }
        stage.later(Duration::from_secs(1));
    }
    assert!(stage.was_parked(tokens[0]));
}

#[test]
fn an_unknown_code_is_not_believed_while_nothing_goes_through() {
    let unknown = Outcome::Refused(PublishFaultKind::Unknown);
    let mut stage = Stage::ready();
    let tokens = stage.page(&[(0, 1, 1, 1)]);
    stage.report(tokens[0], unknown);
    stage.abandoned(Role::Main, &[]);
    for _ in 0..10 {
        if !stage.sent.is_empty() {
            stage.report(tokens[0], unknown);
            stage.abandoned(Role::Alone, &[]);
        }
        stage.later(Duration::from_secs(1));
    }
    assert!(!stage.was_parked(tokens[0]));
}

#[test]
fn reports_are_waited_for_as_long_as_the_lease_allows() {
    let settings = Settings::default();
    let mut stage = Stage::ready();
    let tokens = stage.page(&[(0, 1, 1, 1)]);
    let pause = settings.renewal / 2;
    stage.later(pause);
    stage.report(tokens[0], Outcome::Uncertain);
    // Given up sooner, what a slow broker is still writing would be written twice.
    assert_eq!(stage.waits, settings.lease - settings.margin - pause);
}

#[test]
fn one_poison_event_does_not_slow_its_topic_down_and_many_do_not_end_the_main_session_each() {
    let mut stage = Stage::ready();
    let mut sessions = 0;
    for round in 0..40_u32 {
        let aggregate = u64::from(round) + 1;
        let tokens = stage.page(&[(0, round + 1, aggregate, 1), (0, round + 100, 99, 2)]);
        let main = stage.sent.iter().any(|(role, token)| *role == Role::Main && *token == tokens[1]);
        assert!(round != 1 || main, "after the first, the topic goes on as ever");
        for _ in 0..4 {
            for (_, token) in stage.sent.clone() {
                stage.report(token, if token == tokens[0] { REJECTED } else { Outcome::Acknowledged });
            }
            while let Some(role) = stage.abandoned.last().copied() {
                sessions += usize::from(role == Role::Main);
                stage.abandoned(role, &[]);
            }
        }
        assert!(stage.was_parked(tokens[0]));
        stage.later(Duration::from_millis(500));
    }
    assert!((4..10).contains(&sessions), "{sessions} main sessions ended in 20 s");
}
