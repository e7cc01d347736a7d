//! A broker that asks for less: it slows a client down and refuses nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use eventferry_core::publisher::{Publisher, Role, Taken};
use eventferry_publisher_kafka::KafkaPublisher;

use crate::bench::{Kafka, PATIENCE, Said, assert_answered_once, numbered, reports, said, send, session};

/// Bytes a second that a client may send. The broker takes ten times as many at first.
const RATE: f64 = 10_000.0;

/// Limits what clients of this name may send, by the protocol's AlterClientQuotas, which the binding has not.
fn limit_rate(brokers: &str, client_id: &str) {
    const ALTER_CLIENT_QUOTAS: u16 = 49;
    let text = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
    let one = 1_u32.to_be_bytes().to_vec();
    let request = [
        ALTER_CLIENT_QUOTAS.to_be_bytes().to_vec(),
        vec![0, 0],       // Version 0.
        vec![0, 0, 0, 1], // Its number.
        text("test"),
        one.clone(), // One entry, of one entity ...
        one.clone(),
        text("client-id"),
        text(client_id),
        one, // ... with one change.
        text("producer_byte_rate"),
        RATE.to_be_bytes().to_vec(),
        vec![0, 0], // Not removed; not only validated.
    ]
    .concat();
    let mut stream = TcpStream::connect(brokers).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&[&(request.len() as u32).to_be_bytes()[..], &request].concat()).unwrap();
    let mut size = [0; 4];
    stream.read_exact(&mut size).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer).unwrap();
    // Number, throttle time, one entry, and its error code.
    assert_eq!(answer[8..14], [0, 0, 0, 1, 0, 0], "{answer:?}");
}

#[tokio::test]
async fn a_quota_slows_and_refuses_nothing() {
    const COUNT: u64 = 54;
    let kafka = Kafka::find();
    let topic = kafka.topic(1, &[]).await;
    let mut config = kafka.config();
    config.client_id = topic.clone();
    // Small batches: the broker reads no next one while it throttles.
    config.batch_bytes = 2000;
    limit_rate(&config.brokers, &config.client_id);
    let publisher = KafkaPublisher::new(config).unwrap();
    publisher.learn(&topic).await.unwrap();
    let mut main = session(&publisher, Role::Main).await;
    let started = Instant::now();
    let throttled = tokio::spawn(throttled(publisher.clone()));
    for number in 0..COUNT {
        assert_eq!(send(&mut main, number, &numbered(&topic, number, 1900)), Taken::Yes);
    }
    let answers = reports(&mut main, COUNT as usize).await;
    assert_answered_once(&answers, 0..COUNT);
    assert!(answers.iter().all(|report| said(report) == Said::Acknowledged), "{answers:?}");
    assert!(started.elapsed() > Duration::from_secs(1), "nothing was throttled: {:?}", started.elapsed());
    assert_eq!(kafka.numbers(&topic).await, (0..COUNT).collect::<Vec<_>>());
    let said = tokio::time::timeout(PATIENCE, throttled).await.unwrap().unwrap();
    assert!(said.contains("makes requests wait") && said.contains("a quota is used up"), "{said}");
}

/// Waits until the publisher says that a broker throttles it.
async fn throttled(publisher: KafkaPublisher) -> String {
    loop {
        let brokers = publisher.health();
        if let Some(broker) = brokers.iter().find(|broker| !broker.throttled.is_zero()) {
            return broker.trouble().unwrap();
        }
        // waits: between two looks
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
