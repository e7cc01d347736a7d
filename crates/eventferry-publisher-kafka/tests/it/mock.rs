//! What librdkafka's mock cluster can be made to do.

use std::time::{Duration, Instant};

use eventferry_core::PublishFaultKind;
use eventferry_core::publisher::{Publisher, Role, Taken};
use eventferry_publisher_kafka::{KafkaConfig, KafkaPublisher};
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaRespErr;

use crate::bench::{Said, assert_answered_once, numbered, reports, said, send, session};

#[tokio::test]
async fn learning_creates_no_topic() {
    let cluster = MockCluster::new(1).unwrap();
    let publisher = KafkaPublisher::new(KafkaConfig::new(cluster.bootstrap_servers())).unwrap();
    // The mock cluster creates whatever it is asked about, unless it is asked not to.
    for _ in 0..2 {
        let fault = publisher.learn("never").await.unwrap_err();
        assert_eq!(*fault.kind(), PublishFaultKind::TopicRefused, "{fault}");
    }
}

#[tokio::test]
async fn a_topic_without_permission_is_refused_with_what_to_do() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    cluster.topic_error("t", RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).unwrap();
    let publisher = KafkaPublisher::new(KafkaConfig::new(cluster.bootstrap_servers())).unwrap();
    let fault = publisher.learn("t").await.unwrap_err();
    assert_eq!(*fault.kind(), PublishFaultKind::TopicRefused);
    assert!(fault.to_string().contains("grant DESCRIBE and WRITE"), "{fault}");
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_unavailable_within_seconds() {
    let publisher = KafkaPublisher::new(KafkaConfig::new("127.0.0.1:1")).unwrap();
    let started = Instant::now();
    let Err(fault) = publisher.connect(Role::Main).await else { panic!("connected to nothing") };
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(*fault.kind(), PublishFaultKind::Unavailable);
    let message = fault.to_string();
    assert!(message.contains("127.0.0.1:1") && message.contains("Connection refused"), "{message}");
}

#[tokio::test]
async fn a_full_session_takes_more_after_a_report() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let mut config = KafkaConfig::new(cluster.bootstrap_servers());
    config.in_flight_records_max = 10;
    let publisher = KafkaPublisher::new(config).unwrap();
    publisher.learn("t").await.unwrap();
    let mut session = session(&publisher, Role::Main).await;
    for number in 0..10 {
        assert_eq!(send(&mut session, number, &numbered("t", number, 10)), Taken::Yes);
    }
    assert_eq!(send(&mut session, 10, &numbered("t", 10, 10)), Taken::Full);
    let mut answers = reports(&mut session, 1).await;
    assert_eq!(send(&mut session, 10, &numbered("t", 10, 10)), Taken::Yes);
    answers.extend(reports(&mut session, 11 - answers.len()).await);
    assert_answered_once(&answers, 0..=10);
    assert!(answers.iter().all(|report| said(report) == Said::Acknowledged));
}

#[tokio::test]
async fn a_session_is_full_by_bytes_but_takes_any_one_record() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let mut config = KafkaConfig::new(cluster.bootstrap_servers());
    config.in_flight_bytes_max = 1000;
    let publisher = KafkaPublisher::new(config).unwrap();
    publisher.learn("t").await.unwrap();
    let mut session = session(&publisher, Role::Main).await;
    assert_eq!(send(&mut session, 0, &numbered("t", 0, 5000)), Taken::Yes);
    assert_eq!(send(&mut session, 1, &numbered("t", 1, 1)), Taken::Full);
    reports(&mut session, 1).await;
    assert_eq!(send(&mut session, 1, &numbered("t", 1, 400)), Taken::Yes);
    assert_eq!(send(&mut session, 2, &numbered("t", 2, 800)), Taken::Full);
    reports(&mut session, 1).await;
    assert_eq!(send(&mut session, 2, &numbered("t", 2, 800)), Taken::Yes);
}

#[tokio::test]
async fn a_dropped_wait_loses_no_report() {
    const COUNT: u64 = 500;
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 4, 1).unwrap();
    let publisher = KafkaPublisher::new(KafkaConfig::new(cluster.bootstrap_servers())).unwrap();
    publisher.learn("t").await.unwrap();
    let mut session = session(&publisher, Role::Main).await;
    let (mut sent, mut answers) = (0, Vec::new());
    while answers.len() < COUNT as usize {
        if sent < COUNT {
            assert_eq!(send(&mut session, sent, &numbered("t", sent, 10)), Taken::Yes);
            sent += 1;
        }
        drop(tokio::time::timeout(Duration::from_micros(50), session.reports(&mut answers)).await);
    }
    assert_answered_once(&answers, 0..COUNT);
}
