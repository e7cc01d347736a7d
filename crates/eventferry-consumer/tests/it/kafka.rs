//! A record of a real broker, decoded.

use std::time::{Duration, Instant};

use eventferry_consumer::{Arrival, DecodeFaultKind};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use uuid::Uuid;

use crate::server::{PATIENCE, id, variable};

#[tokio::test]
async fn a_record_of_a_broker_is_decoded() {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", variable("EVENTFERRY_TEST_KAFKA_BROKERS"));
    let topic = format!("eventferry-consumer-{}", Uuid::new_v4().simple());
    let admin: AdminClient<DefaultClientContext> = client.create().unwrap();
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let made = admin.create_topics([&NewTopic::new(&topic, 1, TopicReplication::Fixed(1))], &options).await;
    made.unwrap().into_iter().for_each(|made| drop(made.unwrap()));

    let id = id();
    let text = id.to_string();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [
        ("message-id", Some(text.as_bytes())),
        ("aggregate-type", Some(b"order")),
        ("aggregate-id", Some("größe".as_bytes())),
        ("b", Some(&[0, 255])),
        ("traceparent", Some(parent.as_bytes())),
        ("b", None),
    ];
    let sent = headers
        .iter()
        .fold(OwnedHeaders::new(), |sent, (key, value)| sent.insert(Header { key, value: *value }));
    let producer: FutureProducer = client.create().unwrap();
    let tombstone = FutureRecord::<[u8], [u8]>::to(&topic).key(&[0, 255]).headers(sent);
    producer.send(tombstone, PATIENCE).await.unwrap();
    let foreign = FutureRecord::<[u8], [u8]>::to(&topic).payload(b"not ours");
    producer.send(foreign, PATIENCE).await.unwrap();

    let consumer: BaseConsumer = client.set("group.id", &topic).create().unwrap();
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(&topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&partitions).unwrap();
    let next = || {
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < until, "no record came");
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                return message;
            }
        }
    };
    let message = next();
    let arrival = Arrival::of_message(&message).unwrap();
    assert_eq!(arrival.message_id, id);
    assert_eq!((arrival.aggregate_type, arrival.aggregate_id), ("order", "größe"));
    assert_eq!((arrival.key, arrival.payload), (Some(&[0, 255][..]), None));
    assert_eq!(arrival.headers, [("b", &[0, 255][..]), ("traceparent", parent.as_bytes()), ("b", b"")]);
    assert_eq!(arrival.trace.unwrap().traceparent, parent);
    let detached = message.detach();
    assert_eq!(Arrival::of_message(&detached).unwrap().message_id, id);
    let fault = Arrival::of_message(&next()).unwrap_err();
    assert_eq!(*fault.kind(), DecodeFaultKind::Missing("message-id"));
    admin.delete_topics(&[&topic], &options).await.unwrap();
}
