//! What a real Kafka refuses, and what becomes of what travelled with it.

use std::time::{Duration, Instant};

use eventferry_core::publisher::{Publisher, Role, Route, Taken};
use eventferry_core::{Envelope, PublishFaultKind};
use eventferry_publisher_kafka::KafkaPublisher;

use crate::bench::{
    Kafka, PATIENCE, Routed, Said, acknowledged, assert_answered_once, numbered, reports, said, send, session,
};

/// A limit for topics, and a payload that is over it.
const LIMIT: usize = 18_000;
const TOO_LARGE: usize = 20_000;

/// Lingers until everything is handed over, so that batches are as planned.
const PLANNED: Duration = Duration::from_millis(100);

async fn publisher(kafka: &Kafka, topic: &str, batch_bytes: usize, linger: Duration) -> KafkaPublisher {
    let mut config = kafka.config();
    config.linger = linger;
    config.batch_bytes = batch_bytes;
    let publisher = KafkaPublisher::new(config).unwrap();
    publisher.learn(topic).await.unwrap();
    publisher
}

#[tokio::test]
async fn nothing_is_written_after_a_refused_record_and_the_innocent_go_through_a_new_session() {
    const POISON: u64 = 15;
    let kafka = Kafka::find();
    let topic = kafka.topic(1, &[]).await;
    // A first batch holds the record that is too large and some innocents on both sides of it; the others follow.
    let publisher = publisher(&kafka, &topic, 26_000, PLANNED).await;
    let row = |number| numbered(&topic, number, if number == POISON { TOO_LARGE } else { 100 });
    let mut main = session(&publisher, Role::Main).await;
    acknowledged(&mut main, 0, &row(0)).await;
    kafka.limit(&topic, LIMIT).await;
    for number in 1..=60 {
        assert_eq!(send(&mut main, number, &row(number)), Taken::Yes);
    }
    let mut answers = reports(&mut main, 1).await;
    assert_eq!(said(&answers[0]), Said::Refused(PublishFaultKind::Rejected), "{answers:?}");
    assert_eq!(send(&mut main, 99, &row(99)), Taken::Ended);
    answers.extend(main.abandon(PATIENCE).await);
    assert_answered_once(&answers, 1..=60);
    let refused = |report: &_| said(report) == Said::Refused(PublishFaultKind::Rejected);
    let refused: Vec<u64> =
        answers.iter().filter(|report| refused(report)).map(|report| report.token.0).collect();
    assert!(refused.len() > 1 && refused.contains(&POISON), "the innocents of its batch too: {refused:?}");
    assert!(answers.iter().all(|report| said(report) != Said::Acknowledged), "{answers:?}");
    assert_eq!(kafka.numbers(&topic).await, [0]);

    // What was known of the topic no longer holds; by its new limit, batches are smaller.
    assert!(matches!(publisher.route(&Envelope::of(&row(1))), Route::Unknown));
    publisher.learn(&topic).await.unwrap();
    assert!(matches!(publisher.route(&Envelope::of(&row(POISON))), Route::Refused(_)));
    let mut main = session(&publisher, Role::Main).await;
    let innocent = || (1..=60).filter(|number| *number != POISON);
    for number in innocent() {
        assert_eq!(send(&mut main, number, &row(number)), Taken::Yes);
    }
    let answers = reports(&mut main, 59).await;
    assert!(answers.iter().all(|report| said(report) == Said::Acknowledged));
    assert_eq!(kafka.numbers(&topic).await, [0].into_iter().chain(innocent()).collect::<Vec<_>>());
}

#[tokio::test]
async fn alone_a_refusal_speaks_of_one_record() {
    let kafka = Kafka::find();
    let topic = kafka.topic(1, &[]).await;
    let publisher = publisher(&kafka, &topic, 1_000_000, PLANNED).await;
    kafka.limit(&topic, LIMIT).await;
    let mut alone = session(&publisher, Role::Alone).await;
    for number in 1..=5 {
        let bytes = if number == 2 { TOO_LARGE } else { 100 };
        assert_eq!(send(&mut alone, number, &numbered(&topic, number, bytes)), Taken::Yes);
    }
    let answers = reports(&mut alone, 5).await;
    assert_answered_once(&answers, 1..=5);
    for report in &answers {
        let expected = match report.token.0 {
            2 => Said::Refused(PublishFaultKind::Rejected),
            _ => Said::Acknowledged,
        };
        assert_eq!(said(report), expected, "{report:?}");
    }
    assert_eq!(kafka.numbers(&topic).await, [1, 3, 4, 5]);
}

/// Sends a record that is refused and four behind it, each in a request of its own.
async fn poison_and_four(kafka: &Kafka, topic: &str, mut session: Routed) {
    kafka.limit(topic, LIMIT).await;
    assert_eq!(send(&mut session, 1, &numbered(topic, 1, TOO_LARGE)), Taken::Yes);
    for number in 2..=5 {
        assert_eq!(send(&mut session, number, &numbered(topic, number, 2000)), Taken::Yes);
    }
    let started = Instant::now();
    assert_answered_once(&session.abandon(PATIENCE).await, 1..=5);
    assert!(started.elapsed() < PATIENCE / 2, "it waited for what would never be reported");
}

// The two tests that follow are why `Abilities::first_alone` is set: a broker takes any first sequence number from a
// producer it does not know, so that gapless begins with the first acknowledgement and not with the first record.

#[tokio::test]
async fn a_fresh_session_is_not_gapless_yet() {
    let kafka = Kafka::find();
    // How many of the four are on their way before the refusal is back is a matter of luck; mostly all are.
    for _ in 0..10 {
        let topic = kafka.topic(1, &[]).await;
        let publisher = publisher(&kafka, &topic, 1024, PLANNED).await;
        poison_and_four(&kafka, &topic, session(&publisher, Role::Main).await).await;
        let written = kafka.numbers(&topic).await;
        assert!([2, 3, 4, 5].starts_with(&written), "{written:?}");
        if !written.is_empty() {
            return;
        }
    }
    panic!("brokers have become strict: `Abilities::first_alone` is needed no more");
}

#[tokio::test]
async fn after_one_acknowledgement_a_session_is_gapless() {
    let kafka = Kafka::find();
    let topic = kafka.topic(1, &[]).await;
    let publisher = publisher(&kafka, &topic, 1024, PLANNED).await;
    let mut main = session(&publisher, Role::Main).await;
    acknowledged(&mut main, 0, &numbered(&topic, 0, 10)).await;
    poison_and_four(&kafka, &topic, main).await;
    assert_eq!(kafka.numbers(&topic).await, [0]);
}

#[tokio::test]
async fn records_in_flight_elsewhere_are_awaited_after_a_refusal() {
    let kafka = Kafka::find();
    let (topic, other) = (kafka.topic(1, &[]).await, kafka.topic(1, &[]).await);
    let publisher = publisher(&kafka, &topic, 2000, Duration::ZERO).await;
    publisher.learn(&other).await.unwrap();
    let mut main = session(&publisher, Role::Main).await;
    acknowledged(&mut main, 0, &numbered(&topic, 0, 10)).await;
    acknowledged(&mut main, 1, &numbered(&other, 1, 10)).await;
    kafka.limit(&topic, LIMIT).await;
    assert_eq!(send(&mut main, 2, &numbered(&topic, 2, TOO_LARGE)), Taken::Yes);
    let send_other = |number: &u64| send(&mut main, *number, &numbered(&other, *number, 1000)) == Taken::Yes;
    let sent = (3..=500).take_while(send_other).last().unwrap_or(2);
    let answers = main.abandon(PATIENCE).await;
    assert_answered_once(&answers, 2..=sent);
    // What is written was acknowledged, or the next session would write it twice.
    let written = kafka.numbers(&other).await.len();
    let acknowledged = answers.iter().filter(|report| said(report) == Said::Acknowledged).count();
    assert_eq!(written, 1 + acknowledged);
}
