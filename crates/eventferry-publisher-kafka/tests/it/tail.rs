//! Reading a topic as records come.

use std::time::Instant;

use eventferry_core::PublishFaultKind;
use eventferry_publisher_kafka::{KafkaConfig, TailFrom, TopicRecord, TopicTail};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::bench::PATIENCE;

/// Sends records with these numbers as payload to a partition.
async fn fill(brokers: &str, partition: i32, numbers: std::ops::Range<u64>) {
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("linger.ms", "0").create().unwrap();
    for number in numbers {
        let payload = number.to_string();
        let record = FutureRecord::<str, str>::to("t").payload(&payload).partition(partition);
        producer.send(record, PATIENCE).await.unwrap();
    }
}

/// The next records, so many.
async fn next(tail: &mut TopicTail, count: usize) -> Vec<TopicRecord> {
    let mut records = Vec::new();
    let until = Instant::now() + PATIENCE;
    while records.len() < count {
        assert!(Instant::now() < until, "{} of {count} records came", records.len());
        let left = count - records.len();
        match tail.read(left, usize::MAX).await {
            Ok(more) => records.extend(more),
            Err(fault) => assert_eq!(*fault.kind(), PublishFaultKind::Unavailable, "{fault}"),
        }
        assert!(records.len() <= count);
    }
    records
}

fn numbers(records: &[TopicRecord], partition: i32) -> Vec<u64> {
    let of_it = records.iter().filter(|record| record.partition == partition);
    let payload = |record: &TopicRecord| String::from_utf8(record.payload.clone().unwrap()).unwrap();
    of_it.map(|record| payload(record).parse().unwrap()).collect()
}

#[tokio::test]
async fn a_tail_reads_all_partitions_from_where_it_begins() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 2, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let config = KafkaConfig::new(&brokers);
    fill(&brokers, 0, 0..3).await;
    fill(&brokers, 1, 0..2).await;
    let mut all = TopicTail::open(&config, "t", TailFrom::Beginning).await.unwrap();
    let mut late = TopicTail::open(&config, "t", TailFrom::End).await.unwrap();
    assert_eq!(late.partitions(), 2);
    fill(&brokers, 1, 2..30).await;
    let records = next(&mut all, 33).await;
    assert_eq!(numbers(&records, 0), (0..3).collect::<Vec<_>>());
    assert_eq!(numbers(&records, 1), (0..30).collect::<Vec<_>>());
    let records = next(&mut late, 28).await;
    assert_eq!(numbers(&records, 1), (2..30).collect::<Vec<_>>());
    let read = tokio::time::timeout(PATIENCE, late.read(1, usize::MAX)).await;
    assert_eq!(read.expect("nobody waits for ever").unwrap(), []);
}

#[tokio::test]
async fn brokers_that_go_down_are_said_and_waited_for() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let mut tail = TopicTail::open(&KafkaConfig::new(&brokers), "t", TailFrom::End).await.unwrap();
    fill(&brokers, 0, 0..1).await;
    next(&mut tail, 1).await;
    cluster.broker_down(1).unwrap();
    let until = Instant::now() + PATIENCE;
    let fault = loop {
        assert!(Instant::now() < until, "nothing is said");
        if let Err(fault) = tail.read(1, usize::MAX).await {
            break fault;
        }
    };
    assert_eq!(*fault.kind(), PublishFaultKind::Unavailable);
    assert!(fault.message().starts_with("reading topic `t`: "), "{fault}");
    cluster.broker_up(1).unwrap();
    fill(&brokers, 0, 1..2).await;
    assert_eq!(numbers(&next(&mut tail, 1).await, 0), [1]);
}

#[tokio::test]
async fn no_right_to_the_group_is_needed() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::FindCoordinator, &[refused; 100]);
    let brokers = cluster.bootstrap_servers();
    let mut tail = TopicTail::open(&KafkaConfig::new(&brokers), "t", TailFrom::End).await.unwrap();
    fill(&brokers, 0, 0..1).await;
    assert_eq!(numbers(&next(&mut tail, 1).await, 0), [0]);
}
