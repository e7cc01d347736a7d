//! What a user may choose of how records are sent, as a real Kafka shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use eventferry_core::Event;
use eventferry_core::publisher::{Publisher as _, Role, Taken};
use eventferry_publisher_kafka::{Compression, KafkaConfig, KafkaPublisher, Partitioner};
use rdkafka::ClientConfig;
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::bench::{Kafka, PATIENCE, Said, acknowledged, numbered, reports, said, send, session, stored};
use crate::road::Road;

#[tokio::test]
async fn the_broker_has_topics_under_the_names_they_are_mapped_to() {
    let kafka = Kafka::find();
    let named = kafka.topic(1, &[("max.message.bytes", "5000")]).await;
    kafka.create(&format!("prod.{named}"), 1, &[]).await;
    let mut config = kafka.config();
    config.topic_prefix = "prod.".into();
    config.topic_map = [("bills".to_owned(), named.clone())].into();
    let publisher = KafkaPublisher::new(config).unwrap();
    assert_eq!((publisher.topic_name("bills"), publisher.topic_name("a")), (named.clone(), "prod.a".into()));
    for topic in ["bills", &named] {
        publisher.learn(topic).await.unwrap();
    }
    let mut session = session(&publisher, Role::Main).await;
    acknowledged(&mut session, 1, &numbered("bills", 1, 10)).await;
    acknowledged(&mut session, 2, &numbered(&named, 2, 6000)).await;
    assert_eq!(kafka.numbers(&named).await, [1]);
    assert_eq!(kafka.numbers(&format!("prod.{named}")).await, [2]);
    // The limit is that of the broker's topic.
    assert_eq!(send(&mut session, 3, &numbered("bills", 3, 6000)), Taken::Yes);
    assert!(matches!(said(&reports(&mut session, 1).await[0]), Said::Refused(_)));
    let missing = publisher.learn("none").await.unwrap_err();
    assert!(
        missing.message().contains("`prod.none`") && missing.message().contains("create it"),
        "{missing}"
    );
}

#[tokio::test]
async fn a_key_goes_where_other_programs_send_it() {
    let kafka = Kafka::find();
    let mut config = kafka.config();
    config.partitioner = Partitioner::Consistent;
    let topic = kafka.topic(7, &[]).await;
    let mut theirs = ClientConfig::new();
    theirs.set("bootstrap.servers", &config.brokers).set("partitioner", "consistent");
    let theirs: FutureProducer = theirs.create().unwrap();
    let publisher = KafkaPublisher::new(config).unwrap();
    publisher.learn(&topic).await.unwrap();
    let mut session = session(&publisher, Role::Main).await;
    let mut expected = BTreeMap::new();
    for number in 0..20 {
        let key = format!("order {number}");
        let sent = theirs.send(FutureRecord::to(&topic).key(&key).payload("theirs"), PATIENCE).await.unwrap();
        let event = Event::new(&topic, ("order", number)).key(key.as_bytes()).payload("ours", "");
        acknowledged(&mut session, number, &stored(event)).await;
        expected.insert(key.into_bytes(), sent.partition);
    }
    let read = kafka.read(&topic).await;
    let ours = read.iter().filter(|message| message.payload() == Some(b"ours"));
    let found: BTreeMap<_, _> =
        ours.map(|message| (message.key().unwrap().to_vec(), message.partition())).collect();
    assert_eq!(found, expected);
}

/// How many bytes it takes to send what compresses well.
async fn bytes_sent(change: impl Fn(&mut KafkaConfig)) -> u64 {
    const COUNT: u64 = 200;
    let kafka = Kafka::find();
    let topic = kafka.topic(1, &[]).await;
    let mut config = kafka.config();
    let road = Road::to(&config.brokers);
    config.brokers.clone_from(&road.address);
    config.linger = Duration::from_millis(500);
    change(&mut config);
    let publisher = KafkaPublisher::new(config).unwrap();
    publisher.learn(&topic).await.unwrap();
    let mut session = session(&publisher, Role::Main).await;
    let before = road.sent();
    for number in 0..COUNT {
        // Words in an order that does not come again, so that looking longer finds more.
        let words = (0..200).map(|at| {
            ["paid ", "sent ", "order ", "item ", "left "][((number * 31 + at * at) % 97 % 5) as usize]
        });
        let payload = words.collect::<String>();
        let event = Event::new(&topic, ("order", 1)).payload(payload, "text/plain");
        assert_eq!(send(&mut session, number, &stored(event)), Taken::Yes);
    }
    let reports = reports(&mut session, COUNT as usize).await;
    assert!(reports.iter().all(|report| said(report) == Said::Acknowledged));
    road.sent() - before
}

#[tokio::test]
async fn batches_are_compressed_as_hard_as_it_is_set() {
    let gzip = |level| {
        move |config: &mut KafkaConfig| {
            (config.compression, config.compression_level) = (Compression::Gzip, Some(level));
        }
    };
    let plain = bytes_sent(|_| {}).await;
    let (fast, small) = (bytes_sent(gzip(1)).await, bytes_sent(gzip(9)).await);
    assert!(small < fast && fast < plain / 2, "{plain} bytes, {fast} at level 1, {small} at level 9");
    let mut wrong = KafkaConfig::new("one:9092");
    gzip(99)(&mut wrong);
    let refused = KafkaPublisher::new(wrong).unwrap_err();
    assert!(refused.message().contains("compression.level"), "{refused}");
}
