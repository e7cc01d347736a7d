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
