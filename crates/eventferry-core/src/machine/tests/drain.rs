//! Transcripts of a relay's end.

use super::*;

#[test]
fn a_drain_settles_what_is_in_flight_and_leaves() {
    let mut stage = Stage::ready();
    let tokens = stage.page(&[(0, 1, 1, 1), (0, 2, 2, 2), (0, 3, 1, 1)]);
    stage.acknowledge(tokens[1]);
    stage.core.drain(stage.now);
    stage.turn();
    assert_eq!(stage.stopped, None);
    assert!(stage.forgotten.contains(&tokens[2]), "what was not sent is not sent any more");
    stage.acknowledge(tokens[0]);
    stage.later(Duration::from_millis(10));
    assert_eq!(stage.last_settled(), [2]);
    assert_eq!(stage.stopped, Some(Stop::Drained));
    assert!(stage.owned.is_empty());
}

#[test]
fn what_comes_back_from_a_session_is_left_to_the_next_owner() {
    let unknown = Outcome::Refused(PublishFaultKind::Unknown);
    let mut stage = Stage::ready();
    let tokens = stage.page(&[(0, 1, 1, 1), (0, 2, 2, 2), (0, 3, 3, 3)]);
    stage.core.drain(stage.now);
    stage.turn();
    stage.acknowledge(tokens[0]);
    stage.report(tokens[1], unknown);
    stage.abandoned(Role::Main, &[(tokens[2], Outcome::Uncertain)]);
    stage.later(Duration::from_millis(10));
    assert!(stage.sent.is_empty(), "nobody else goes through here, so it would not be believed for long");
    assert_eq!((stage.last_settled(), stage.stopped), (vec![1], Some(Stop::Drained)));
}

#[test]
fn what_comes_back_before_an_acknowledged_record_is_sent_again() {
    let mut stage = Stage::ready();
    let tokens = stage.page(&[(0, 1, 1, 1), (0, 2, 2, 2)]);
    stage.core.drain(stage.now);
    stage.turn();
    stage.report(tokens[0], Outcome::Uncertain);
    stage.abandoned(Role::Main, &[(tokens[1], Outcome::Acknowledged)]);
    assert_eq!(stage.sent(), [tokens[0]]);
    stage.acknowledge(tokens[0]);
    stage.later(Duration::from_millis(10));
    assert_eq!((stage.last_settled(), stage.stopped), (vec![2], Some(Stop::Drained)));
}

#[test]
fn a_drain_that_takes_too_long_gives_up_and_says_so() {
    let mut stage = Stage::ready();
    stage.page(&[(0, 1, 1, 1)]);
    stage.core.drain(stage.now);
    for _ in 0..9 {
        stage.later(Duration::from_secs(1));
    }
    stage.abandoned(Role::Main, &[]);
    stage.later(Duration::from_millis(100));
    assert_eq!(stage.stopped, Some(Stop::GraceOver));
}

#[test]
fn a_store_that_refuses_the_last_word_does_not_hide_that_the_grace_time_ran_out() {
    let mut stage = Stage::ready();
    stage.page(&[(0, 1, 1, 1)]);
    stage.store_answers = false;
    stage.core.drain(stage.now);
    stage.later(Settings::default().grace);
    stage.abandoned(Role::Main, &[]);
    assert_eq!(stage.stopped, None);
    stage.core.handle_held(stage.now, Err(StoreFaultKind::Unavailable));
    stage.later(Duration::from_millis(200));
    stage.core.handle_held(stage.now, Err(StoreFaultKind::Unavailable));
    stage.turn();
    assert_eq!(stage.stopped, Some(Stop::GraceOver));
}

#[test]
fn a_store_that_does_not_answer_the_last_word_is_waited_for_without_spinning_and_not_for_long() {
    let settings = Settings::default();
    // One relay owns a lane, the other none.
    for (mut stage, stop) in
        [(Stage::ready(), Stop::GraceOver), (Stage::with(settings.clone(), 0), Stop::Drained)]
    {
        stage.turn();
        stage.store_answers = false;
        stage.core.drain(stage.now);
        let mut turns = 0;
        while stage.stopped.is_none() {
            let wake = stage.turn();
            assert!(stage.stopped.is_some() || wake > stage.now, "it spins at {:?}", stage.now);
            stage.now = wake;
            turns += 1;
        }
        assert_eq!(stage.stopped, Some(stop));
        assert!(stage.now <= settings.grace + settings.margin, "it ends at {:?}", stage.now);
        assert!(turns < 20, "{turns} turns");
    }
}
