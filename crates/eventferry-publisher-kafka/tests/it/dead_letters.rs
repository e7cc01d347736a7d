//! Reading a dead-letter topic on a real Kafka.

use std::ops::Range;
use std::time::Instant;

use eventferry_core::PublishFaultKind;
use eventferry_publisher_kafka::{DeadLetterReader, ReadFrom, TopicRecord};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer};

use crate::bench::{Kafka, PATIENCE};
use crate::own_broker::{Door, OwnBroker};

/// Sends records with their number as payload to a partition.
async fn fill(kafka: &Kafka, topic: &str, partition: i32, numbers: Range<u64>) {
    fill_with(kafka, topic, partition, numbers, 1).await;
}

/// Sends records with their number, filled up to so many bytes, as payload to a partition.
async fn fill_with(kafka: &Kafka, topic: &str, partition: i32, numbers: Range<u64>, bytes: usize) {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.config().brokers)
        .set("linger.ms", "0")
        .create()
        .unwrap();
    for number in numbers {
        let mut payload = number.to_string();
        payload.push_str(&" ".repeat(bytes.saturating_sub(payload.len())));
        let record = FutureRecord::to(topic).key("k").payload(&payload).partition(partition);
        producer.send(record, PATIENCE).await.unwrap();
    }
}

async fn open(kafka: &Kafka, topic: &str, from: ReadFrom) -> DeadLetterReader {
    DeadLetterReader::open(&kafka.config(), topic, &format!("group-{topic}"), from).await.unwrap()
}

/// Everything that is left, in batches of so many.
async fn rest(reader: &mut DeadLetterReader, records_max: usize) -> Vec<TopicRecord> {
    let mut all = Vec::new();
    loop {
        let records = reader.read(records_max, usize::MAX).await.unwrap();
        if records.is_empty() {
            return all;
        }
        assert!(records.len() <= records_max);
        all.extend(records);
    }
}

fn numbers(records: &[TopicRecord], partition: i32) -> Vec<u64> {
    let of_it = records.iter().filter(|record| record.partition == partition);
    let payload = |record: &TopicRecord| String::from_utf8(record.payload.clone().unwrap()).unwrap();
    of_it.map(|record| payload(record).trim_end().parse().unwrap()).collect()
}

/// The broker has yet to make the topic where groups' positions lie.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_group_of_a_clusters_life_is_waited_for() {
    let door = Door { name: "OPEN", protocol: "PLAINTEXT", settings: String::new() };
    let broker = OwnBroker::start(&[door], &[]);
    let kafka = Kafka::at(format!("localhost:{}", broker.port("OPEN")));
    let topic = kafka.topic(1, &[]).await;
    fill(&kafka, &topic, 0, 0..3).await;
    let mut reader = open(&kafka, &topic, ReadFrom::Group).await;
    assert_eq!(numbers(&rest(&mut reader, 10).await, 0), [0, 1, 2]);
    reader.commit(&[(0, 3)]).await.unwrap();
}

#[tokio::test]
async fn a_topic_is_read_to_the_end_it_had_when_it_was_opened() {
    let kafka = Kafka::find();
    let topic = kafka.topic(3, &[]).await;
    fill(&kafka, &topic, 0, 0..30).await;
    // More than the reader keeps in memory, so that it still reads here when what comes later has come.
    fill_with(&kafka, &topic, 2, 0..250, 100_000).await;
    let mut reader = open(&kafka, &topic, ReadFrom::Group).await;
    let spans: Vec<_> = reader.spans().iter().map(|span| (span.partition, span.from, span.to)).collect();
    assert_eq!(spans, [(0, 0, 30), (1, 0, 0), (2, 0, 250)]);
    fill(&kafka, &topic, 0, 30..40).await;
    fill(&kafka, &topic, 1, 0..1).await;
    let records = rest(&mut reader, 7).await;
    assert_eq!(numbers(&records, 0), (0..30).collect::<Vec<_>>());
    assert_eq!((numbers(&records, 1), numbers(&records, 2)), (vec![], (0..250).collect()));
    assert!(reader.read(7, usize::MAX).await.unwrap().is_empty(), "the end stays the end");
}

#[tokio::test]
async fn a_record_comes_with_all_it_has() {
    let kafka = Kafka::find();
    let topic = kafka.topic(1, &[]).await;
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", kafka.config().brokers).create().unwrap();
    let headers = OwnedHeaders::new()
        .insert(Header { key: "b", value: Some(&[0, 255]) })
        .insert(Header { key: "a", value: Some(&[]) })
        .insert(Header::<&[u8]> { key: "b", value: None });
    let whole = FutureRecord::to(&topic).key(&[255][..]).payload(&[0][..]).headers(headers);
    producer.send(whole, PATIENCE).await.unwrap();
    producer.send(FutureRecord::<[u8], [u8]>::to(&topic), PATIENCE).await.unwrap();
    let records = rest(&mut open(&kafka, &topic, ReadFrom::Group).await, 10).await;
    let header = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
    assert_eq!(
        (records[0].key.as_deref(), records[0].payload.as_deref()),
        (Some(&[255][..]), Some(&[0][..]))
    );
    assert_eq!(records[0].headers, [header("b", &[0, 255]), header("a", &[]), header("b", &[])]);
    assert_eq!((&records[1].key, &records[1].payload, records[1].headers.len()), (&None, &None, 0));
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 1]);
    let shown = format!("{:?}", records[0]);
    assert!(!shown.contains("payload") && shown.contains("offset: 0"), "{shown}");
}

#[tokio::test]
async fn a_group_goes_on_from_where_it_was_told_and_never_back() {
    let kafka = Kafka::find();
    let topic = kafka.topic(2, &[]).await;
    fill(&kafka, &topic, 0, 0..10).await;
    let mut reader = open(&kafka, &topic, ReadFrom::Group).await;
    reader.read(4, usize::MAX).await.unwrap();
    reader.commit(&[(0, 4), (1, 0), (7, 1)]).await.unwrap();
    let mut next = open(&kafka, &topic, ReadFrom::Group).await;
    assert_eq!(numbers(&rest(&mut next, 100).await, 0), (4..10).collect::<Vec<_>>());
    next.commit(&[(0, 10)]).await.unwrap();

    let mut again = open(&kafka, &topic, ReadFrom::Beginning).await;
    assert_eq!(numbers(&again.read(2, usize::MAX).await.unwrap(), 0), [0, 1]);
    again.commit(&[(0, 2)]).await.unwrap();
    assert!(rest(&mut open(&kafka, &topic, ReadFrom::Group).await, 100).await.is_empty(), "it went back");
}

#[tokio::test]
async fn a_batch_is_bounded_in_bytes() {
    let kafka = Kafka::find();
    let topic = kafka.topic(1, &[]).await;
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", kafka.config().brokers).create().unwrap();
    for _ in 0..10 {
        producer.send(FutureRecord::to(&topic).key("k").payload(&vec![7; 100_000]), PATIENCE).await.unwrap();
    }
    let mut reader = open(&kafka, &topic, ReadFrom::Group).await;
    let mut batches = Vec::new();
    loop {
        let records = reader.read(100, 250_000).await.unwrap();
        if records.is_empty() {
            break;
        }
        batches.push(records.len());
    }
    assert_eq!(batches, [3, 3, 3, 1]);
}

#[tokio::test]
async fn what_no_reader_sees_does_not_keep_it_from_the_end() {
    let kafka = Kafka::find();
    let topic = kafka.topic(1, &[]).await;
    fill(&kafka, &topic, 0, 0..2).await;
    let (brokers, written) = (kafka.config().brokers, topic.clone());
    // An aborted record and the mark of its transaction end the partition.
    let aborted = move || {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("transactional.id", &written)
            .create()
            .unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::to(&written).key("k").payload("2")).unwrap();
        producer.flush(PATIENCE).unwrap();
        producer.abort_transaction(PATIENCE).unwrap();
    };
    tokio::task::spawn_blocking(aborted).await.unwrap();
    let started = Instant::now();
    let mut reader = open(&kafka, &topic, ReadFrom::Group).await;
    // The broker answers before it has written the mark.
    while reader.spans()[0].to != 4 {
        assert!(started.elapsed() < PATIENCE, "{:?}", reader.spans());
        reader = open(&kafka, &topic, ReadFrom::Group).await;
    }
    assert_eq!(numbers(&rest(&mut reader, 100).await, 0), [0, 1]);
}

#[tokio::test]
async fn what_retention_removed_before_it_was_read_is_said() {
    let kafka = Kafka::find();
    let topic = kafka.topic(1, &[]).await;
    fill(&kafka, &topic, 0, 0..10).await;
    open(&kafka, &topic, ReadFrom::Group).await.commit(&[(0, 3)]).await.unwrap();
    kafka.remove_before(&topic, 0, 7).await;
    let mut reader = open(&kafka, &topic, ReadFrom::Group).await;
    let span = reader.spans()[0];
    assert_eq!((span.from, span.to, span.removed), (7, 10, 4));
    assert_eq!(numbers(&rest(&mut reader, 100).await, 0), [7, 8, 9]);
    let beginning = open(&kafka, &topic, ReadFrom::Beginning).await;
    assert_eq!((beginning.spans()[0].from, beginning.spans()[0].removed), (7, 0));
}

#[tokio::test]
async fn a_topic_that_was_made_anew_is_not_taken_for_the_old_one() {
    let kafka = Kafka::find();
    let topic = kafka.topic(1, &[]).await;
    fill(&kafka, &topic, 0, 0..3).await;
    // The position of a longer topic: nothing but the offsets tells the two apart.
    let reader = DeadLetterReader::open(&kafka.config(), &topic, "longer", ReadFrom::Group).await;
    reader.unwrap().commit(&[(0, 30)]).await.unwrap();
    let refused = DeadLetterReader::open(&kafka.config(), &topic, "longer", ReadFrom::Group).await;
    let fault = refused.unwrap_err();
    assert_eq!(*fault.kind(), PublishFaultKind::Misconfigured);
    assert!(fault.to_string().contains("made anew"), "{fault}");
    let reader = DeadLetterReader::open(&kafka.config(), &topic, "longer", ReadFrom::Beginning).await;
    let mut reader = reader.unwrap();
    assert_eq!(rest(&mut reader, 10).await.len(), 3);
    reader.commit(&[(0, 3)]).await.unwrap();
    let reader = DeadLetterReader::open(&kafka.config(), &topic, "longer", ReadFrom::Group).await;
    assert_eq!(reader.unwrap().spans()[0].from, 3, "it stands in the new one now");
}

#[tokio::test]
async fn a_topic_that_is_not_there_and_a_broker_that_is_away_are_said() {
    let kafka = Kafka::find();
    let missing = DeadLetterReader::open(&kafka.config(), "no-such-topic", "group", ReadFrom::Group).await;
    let fault = missing.unwrap_err();
    assert_eq!(*fault.kind(), PublishFaultKind::TopicRefused);
    assert!(fault.to_string().contains("`no-such-topic`") && fault.to_string().contains("does not exist"));
    let mut config = kafka.config();
    config.brokers = "127.0.0.1:1".into();
    let away = DeadLetterReader::open(&config, "t", "group", ReadFrom::Group).await.unwrap_err();
    assert_eq!(*away.kind(), PublishFaultKind::Unavailable, "{away}");
    assert!(away.to_string().contains("Connection refused"), "{away}");
}
