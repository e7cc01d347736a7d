//! Brokers that stop answering, and sessions that must end all the same.

use std::time::{Duration, Instant};

use eventferry_core::publisher::{Publisher, Role, Taken};
use eventferry_publisher_kafka::{KafkaConfig, KafkaPublisher};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::bench::{
    PATIENCE, Routed, Said, acknowledged, assert_answered_once, numbered, reports, said, send, session,
};

const COUNT: u64 = 1000;

async fn open(cluster: &MockCluster<'static, DefaultProducerContext>) -> Routed {
    cluster.create_topic("t", 4, 1).unwrap();
    let publisher = KafkaPublisher::new(KafkaConfig::new(cluster.bootstrap_servers())).unwrap();
    publisher.learn("t").await.unwrap();
    let mut session = session(&publisher, Role::Main).await;
    acknowledged(&mut session, 0, &numbered("t", 0, 10)).await;
    session
}

fn send_all(session: &mut Routed) {
    for number in 1..=COUNT {
        assert_eq!(send(session, number, &numbered("t", number, 100)), Taken::Yes);
    }
}

/// Abandons a session whose broker does not answer, and checks its answers and its time.
async fn abandon_in_vain(session: Routed) {
    const WITHIN: Duration = Duration::from_millis(300);
    let started = Instant::now();
    let answers = session.abandon(WITHIN).await;
    let took = started.elapsed();
    assert_answered_once(&answers, 1..=COUNT);
    assert!(answers.iter().all(|report| said(report) == Said::Uncertain));
    assert!(took >= WITHIN, "it did not wait: {took:?}");
    assert!(took < WITHIN + Duration::from_secs(3), "it waited too long: {took:?}");
}

#[tokio::test]
async fn a_frozen_broker_does_not_hold_up_the_end() {
    let cluster = MockCluster::new(1).unwrap();
    let mut session = open(&cluster).await;
    cluster.broker_round_trip_time(-1, Duration::from_secs(3600)).unwrap();
    send_all(&mut session);
    abandon_in_vain(session).await;
}

#[tokio::test]
async fn a_broker_that_is_down_does_not_hold_up_the_end() {
    let cluster = MockCluster::new(1).unwrap();
    let mut session = open(&cluster).await;
    cluster.broker_down(-1).unwrap();
    send_all(&mut session);
    abandon_in_vain(session).await;
}

#[tokio::test]
async fn a_broker_that_comes_back_gets_everything_once() {
    let cluster = MockCluster::new(1).unwrap();
    let mut session = open(&cluster).await;
    cluster.broker_down(-1).unwrap();
    send_all(&mut session);
    let mut early = Vec::new();
    drop(tokio::time::timeout(Duration::from_millis(300), session.reports(&mut early)).await);
    assert!(early.is_empty(), "a broker that is away is waited for: {early:?}");
    cluster.broker_up(-1).unwrap();
    let answers = reports(&mut session, COUNT as usize).await;
    assert_answered_once(&answers, 1..=COUNT);
    assert!(answers.iter().all(|report| said(report) == Said::Acknowledged));
}

#[tokio::test]
async fn what_a_dead_producer_only_queued_is_answered_soon() {
    let cluster = MockCluster::new(1).unwrap();
    let mut session = open(&cluster).await;
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refused]);
    let sent = (1..=COUNT)
        .take_while(|number| send(&mut session, *number, &numbered("t", *number, 100)) == Taken::Yes);
    let sent = sent.count() as u64;
    let started = Instant::now();
    let answers = session.abandon(PATIENCE).await;
    assert_answered_once(&answers, 1..=sent);
    assert!(started.elapsed() < Duration::from_secs(5), "it waited for what would never come");
}

#[tokio::test]
async fn what_is_in_flight_is_awaited() {
    let cluster = MockCluster::new(1).unwrap();
    let mut session = open(&cluster).await;
    cluster.broker_round_trip_time(-1, Duration::from_millis(300)).unwrap();
    send_all(&mut session);
    let started = Instant::now();
    let answers = session.abandon(PATIENCE).await;
    assert_answered_once(&answers, 1..=COUNT);
    assert!(answers.iter().all(|report| said(report) == Said::Acknowledged));
    assert!(started.elapsed() < PATIENCE / 2, "it waited for nothing");
}

#[tokio::test]
async fn a_dropped_session_holds_nobody_up() {
    let cluster = MockCluster::new(1).unwrap();
    let publisher = KafkaPublisher::new(KafkaConfig::new(cluster.bootstrap_servers())).unwrap();
    let mut sessions = Vec::new();
    for _ in 0..10 {
        sessions.push(session(&publisher, Role::Main).await);
    }
    let started = Instant::now();
    drop(sessions);
    // The end of each producer takes up to a tenth of a second.
    assert!(started.elapsed() < Duration::from_millis(200), "{:?}", started.elapsed());
}
