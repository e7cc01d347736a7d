//! How brokers are, as a publisher tells it.

use std::time::{Duration, Instant};

use eventferry_core::publisher::Role;
use eventferry_publisher_kafka::{BrokerHealth, Contact, KafkaConfig, KafkaPublisher};

use crate::bench::{Kafka, PATIENCE, acknowledged, numbered, session};
use crate::own_broker::{Door, OwnBroker};

/// Waits until the publisher knows of one broker, in this state.
async fn broker(publisher: &KafkaPublisher, contact: Contact) -> BrokerHealth {
    let until = Instant::now() + PATIENCE;
    loop {
        let brokers = publisher.health();
        if let [broker] = &brokers[..]
            && broker.contact == contact
        {
            return broker.clone();
        }
        assert!(Instant::now() < until, "{brokers:?}");
        // waits: between two looks
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_answers_is_up_and_its_round_trips_are_measured() {
    let kafka = Kafka::find();
    let topic = kafka.topic(1, &[]).await;
    let publisher = KafkaPublisher::new(kafka.config().undone("statistics.interval.ms", "200")).unwrap();
    eventferry_core::publisher::Publisher::learn(&publisher, &topic).await.unwrap();
    assert_eq!(publisher.health(), [], "nothing is known before there is a session");
    let mut session = session(&publisher, Role::Main).await;
    acknowledged(&mut session, 1, &numbered(&topic, 1, 10)).await;
    let broker = broker(&publisher, Contact::Up).await;
    assert!(broker.id >= 0 && broker.throttled.is_zero() && broker.trouble().is_none(), "{broker:?}");
    assert!(broker.round_trip_p99 > Duration::ZERO && broker.round_trip_p99 < PATIENCE, "{broker:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_gone_is_out_of_reach() {
    let door = Door { name: "OPEN", protocol: "PLAINTEXT", settings: String::new() };
    let own = OwnBroker::start(&[door], &[]);
    let config = KafkaConfig::new(format!("localhost:{}", own.port("OPEN")));
    let publisher = KafkaPublisher::new(config.undone("statistics.interval.ms", "200")).unwrap();
    let _session = session(&publisher, Role::Main).await;
    broker(&publisher, Contact::Up).await;
    drop(own);
    let said = broker(&publisher, Contact::OutOfReach).await.trouble().unwrap();
    assert!(said.contains("is out of reach"), "{said}");
}
