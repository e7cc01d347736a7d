//! Transcripts of a broker that is away.

use super::*;

#[test]
fn an_outage_of_the_broker_counts_nothing_and_loses_nothing() {
    let mut stage = Stage::with(Settings::default(), 1);
    stage.connects = false;
    stage.turn();
    stage.core.handle_connected(stage.now, Role::Main, Err(PublishFaultKind::Unavailable));
    stage.turn();
    assert!(stage.said.contains(&Notice::BrokerAway(PublishFaultKind::Unavailable)));
    let tokens = stage.page(&[(0, 1, 1, 1)]);
    assert!(stage.sent.is_empty());
    stage.connects = true;
    stage.later(Duration::from_secs(1));
    assert!(stage.said.contains(&Notice::BrokerBack));
    assert_eq!(stage.sent(), tokens);
}

#[test]
fn a_session_that_ends_by_itself_is_replaced_and_answers_for_what_it_had() {
    let mut stage = Stage::ready();
    stage.core.handle_session_ended(stage.now, Role::Main);
    stage.turn();
    stage.abandoned(Role::Main, &[]);
    let open = stage.page(&[(0, 1, 8, 1)]);
    assert_eq!(stage.sent(), open, "in the new session");
    stage.acknowledge(open[0]);
    stage.later(Duration::from_millis(100));
    let tokens = stage.page(&[(0, 2, 1, 1), (0, 3, 2, 1)]);
    stage.core.handle_session_ended(stage.now, Role::Main);
    stage.turn();
    stage.abandoned(Role::Main, &[(tokens[0], Outcome::Acknowledged)]);
    assert_eq!(stage.sent(), [tokens[1]], "what was not acknowledged goes again, and nothing else");
}

#[test]
fn a_session_that_lived_long_has_not_failed_when_it_ends_by_itself() {
    let mut stage = Stage::ready();
    for _ in 0..10 {
        stage.later(Duration::from_secs(6));
        stage.core.handle_session_ended(stage.now, Role::Main);
        stage.turn();
        stage.abandoned(Role::Main, &[]);
    }
    let tokens = stage.page(&[(0, 1, 8, 1)]);
    assert_eq!(stage.sent(), tokens, "another was opened at once");
}
