//! The ordinary ways of a real Kafka.

use std::time::Duration;

use eventferry_core::publisher::{Domain, Publisher, Role, Route, Taken};
use eventferry_core::{Envelope, Event, PublishFaultKind, StoredEvent};
use eventferry_publisher_kafka::KafkaPublisher;
use rdkafka::message::{Headers, Message};

use crate::bench::{
    Kafka, PATIENCE, Said, acknowledged, assert_answered_once, numbered, reports, said, send, session, stored,
};

fn partition(publisher: &KafkaPublisher, row: &StoredEvent) -> i32 {
    match publisher.route(&Envelope::of(row)) {
        Route::To(Domain(domain)) => (domain & 0xffff_ffff) as i32,
        other => panic!("{other:?}"),
    }
}

fn is_refused(publisher: &KafkaPublisher, row: &StoredEvent) -> bool {
    match publisher.route(&Envelope::of(row)) {
        Route::Refused(fault) => *fault.kind() == PublishFaultKind::Rejected,
        _ => false,
    }
}

#[tokio::test]
async fn what_is_sent_is_what_a_consumer_reads() {
    let kafka = Kafka::find();
    let topic = kafka.topic(8, &[]).await;
    let publisher = kafka.publisher();
    publisher.learn(&topic).await.unwrap();
    let event = || Event::new(&topic, ("order", 42));
    let rows = [
        stored(event().payload([0, 255, 10], "application/octet-stream")),
        stored(event().key([0, 159, 146, 150]).payload(Vec::new(), "")),
        stored(event().key(Vec::new())),
        stored(event().partition(5).header("b", "1").header("a", "").header("b", [0, 255])),
        stored(event().key("k").payload("text", "text/plain").header("", "no name")),
    ];
    let mut session = session(&publisher, Role::Main).await;
    let tokens = [0, u64::MAX, 1 << 32, 3, 7];
    for (token, row) in tokens.into_iter().zip(&rows) {
        assert_eq!(send(&mut session, token, row), Taken::Yes);
    }
    let reports = reports(&mut session, rows.len()).await;
    assert_answered_once(&reports, tokens);
    assert!(reports.iter().all(|report| said(report) == Said::Acknowledged), "{reports:?}");

    let messages = kafka.read(&topic).await;
    assert_eq!(messages.len(), rows.len());
    for row in &rows {
        let envelope = Envelope::of(row);
        let mut headers = Vec::new();
        envelope.headers(|name, value| headers.push((name.to_owned(), value.to_vec())));
        let same = |message: &&rdkafka::message::OwnedMessage| {
            let read = message.headers().unwrap();
            let read: Vec<_> =
                read.iter().map(|header| (header.key.to_owned(), header.value.unwrap().to_vec())).collect();
            message.key() == Some(envelope.key())
                && message.payload() == envelope.payload()
                && message.partition() == partition(&publisher, row)
                && message.timestamp().to_millis() == Some(envelope.timestamp().millis())
                && read == headers
        };
        assert_eq!(messages.iter().filter(same).count(), 1, "{row:?} in {messages:?}");
    }
    assert_eq!(partition(&publisher, &rows[3]), 5);
}

#[tokio::test]
async fn a_time_that_kafka_does_not_know_becomes_the_first_it_does() {
    let kafka = Kafka::find();
    let topic = kafka.topic(1, &[("retention.ms", "-1")]).await;
    let publisher = kafka.publisher();
    publisher.learn(&topic).await.unwrap();
    let mut session = session(&publisher, Role::Main).await;
    for (token, micros) in [0, -5_000_000].into_iter().enumerate() {
        let mut row = numbered(&topic, token as u64, 10);
        row.enqueued_at.0 = micros;
        acknowledged(&mut session, token as u64, &row).await;
    }
    let read = kafka.read(&topic).await;
    let times: Vec<_> = read.iter().map(|message| message.timestamp().to_millis()).collect();
    assert_eq!(times, [Some(1), Some(1)]);
}

#[tokio::test]
async fn an_aggregates_events_arrive_in_order_through_many_batches() {
    const COUNT: u64 = 20_000;
    let kafka = Kafka::find();
    let topic = kafka.topic(3, &[]).await;
    let mut config = kafka.config();
    config.batch_bytes = 2000;
    config.in_flight_records_max = 500;
    let publisher = KafkaPublisher::new(config).unwrap();
    publisher.learn(&topic).await.unwrap();
    let mut session = session(&publisher, Role::Main).await;
    let (mut sent, mut answers) = (0, Vec::new());
    while answers.len() < COUNT as usize {
        while sent < COUNT && send(&mut session, sent, &numbered(&topic, sent, 20)) == Taken::Yes {
            sent += 1;
        }
        answers.extend(reports(&mut session, 1).await);
    }
    assert_answered_once(&answers, 0..COUNT);
    assert!(answers.iter().all(|report| said(report) == Said::Acknowledged));
    assert!(session.abandon(Duration::ZERO).await.is_empty());
    assert_eq!(kafka.numbers(&topic).await, (0..COUNT).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_topic_that_does_not_exist_is_refused_with_what_to_do() {
    let kafka = Kafka::find();
    let publisher = kafka.publisher();
    let fault = publisher.learn("no-such-topic").await.unwrap_err();
    assert_eq!(*fault.kind(), PublishFaultKind::TopicRefused);
    let message = fault.to_string();
    assert!(message.contains("`no-such-topic`") && message.contains("create it"), "{message}");
    let fault = publisher.learn("no such topic").await.unwrap_err();
    assert_eq!(*fault.kind(), PublishFaultKind::TopicRefused);
    let row = numbered("no-such-topic", 1, 10);
    assert!(matches!(publisher.route(&Envelope::of(&row)), Route::Unknown));
}

#[tokio::test]
async fn learning_again_finds_new_partitions() {
    let kafka = Kafka::find();
    let topic = kafka.topic(2, &[]).await;
    let publisher = kafka.publisher();
    publisher.learn(&topic).await.unwrap();
    let mut early = session(&publisher, Role::Main).await;
    let asked = stored(Event::new(&topic, ("order", 1)).payload("1 ", "").partition(5));
    acknowledged(&mut early, 1, &numbered(&topic, 1, 10)).await;
    publisher.learn(&topic).await.unwrap();
    assert!(is_refused(&publisher, &asked));
    kafka.add_partitions(&topic, 6).await;
    publisher.learn(&topic).await.unwrap();
    assert_eq!(partition(&publisher, &asked), 5);
    // A producer asks for a topic's partitions once in minutes, and does not know the new ones yet.
    assert_eq!(send(&mut early, 2, &asked), Taken::Ended);
    assert!(early.abandon(PATIENCE).await.is_empty());
    acknowledged(&mut session(&publisher, Role::Main).await, 2, &asked).await;
    assert_eq!(kafka.read(&topic).await.last().unwrap().partition(), 5);
}

#[tokio::test]
async fn route_refuses_exactly_what_the_broker_refuses() {
    let kafka = Kafka::find();
    let topic = kafka.topic(1, &[("max.message.bytes", "5000")]).await;
    let publisher = kafka.publisher();
    publisher.learn(&topic).await.unwrap();
    let row = |payload_bytes| numbered(&topic, 1, payload_bytes);
    let fits = (4000..6000).rfind(|bytes| !is_refused(&publisher, &row(*bytes))).unwrap();
    let mut session = session(&publisher, Role::Alone).await;
    acknowledged(&mut session, 1, &row(fits)).await;
    assert_eq!(send(&mut session, 2, &row(fits + 1)), Taken::Yes);
    let refused = reports(&mut session, 1).await;
    assert_eq!(said(&refused[0]), Said::Refused(PublishFaultKind::Rejected), "{refused:?}");
}

#[tokio::test]
async fn batches_stay_below_a_limit_learned_after_the_session_began() {
    const COUNT: u64 = 2000;
    let kafka = Kafka::find();
    let topic = kafka.topic(1, &[("max.message.bytes", "30000")]).await;
    let mut config = kafka.config();
    config.linger = Duration::from_millis(200); // Time for batches of any size.
    let publisher = KafkaPublisher::new(config).unwrap();
    let mut early = session(&publisher, Role::Main).await;
    publisher.learn(&topic).await.unwrap();
    assert_eq!(send(&mut early, 1, &numbered(&topic, 0, 100)), Taken::Ended);
    assert!(early.abandon(Duration::from_secs(1)).await.is_empty());

    let mut session = session(&publisher, Role::Main).await;
    for number in 0..COUNT {
        assert_eq!(send(&mut session, number, &numbered(&topic, number, 100)), Taken::Yes);
    }
    let reports = reports(&mut session, COUNT as usize).await;
    assert!(reports.iter().all(|report| said(report) == Said::Acknowledged));
    assert_eq!(kafka.numbers(&topic).await, (0..COUNT).collect::<Vec<_>>());
}
