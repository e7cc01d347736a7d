//! What the publisher and the core decided about Kafka, each choice as what a real broker does with it, and does
//! without it.

use std::collections::BTreeSet;
use std::time::Duration;

use eventferry_core::publisher::Publisher;
use eventferry_core::{Event, StoredEvent};
use eventferry_publisher_kafka::KafkaPublisher;

use crate::bench::{Kafka, numbered, stored};
use crate::small_relay::{SmallRelay, Undone};

/// A limit for topics, and a payload that is over it.
const LIMIT: usize = 18_000;
const TOO_LARGE: usize = 20_000;

/// How often something is tried that is seen mostly, but not always.
const TRIES: u32 = 10;

/// Event number `number`, of an aggregate of its own.
fn apart(topic: &str, number: u64, payload_bytes: usize) -> StoredEvent {
    let mut payload = format!("{number} ").into_bytes();
    payload.resize(payload_bytes.max(payload.len()), b'.');
    stored(Event::new(topic, ("order", number)).key("k").payload(payload, "text/plain"))
}

/// A publisher that knows these topics.
async fn publisher(kafka: &Kafka, topics: &[&str], batch_bytes: usize, linger: Duration) -> KafkaPublisher {
    let mut config = kafka.config();
    (config.batch_bytes, config.linger) = (batch_bytes, linger);
    let publisher = KafkaPublisher::new(config).unwrap();
    for topic in topics {
        publisher.learn(topic).await.unwrap();
    }
    publisher
}

/// Tries until it is seen.
async fn is_seen(what: &str, mut tried: impl AsyncFnMut() -> bool) {
    for _ in 0..TRIES {
        if tried().await {
            return;
        }
    }
    panic!("{what} is not seen any more: the choice may not be needed, or is not undone");
}

/// How many of these numbers come again.
fn repeats(numbers: &[u64]) -> usize {
    numbers.len() - numbers.iter().collect::<BTreeSet<_>>().len()
}

/// Carries events of one aggregate, each in a batch of its own, the first of them too large. Says what was written.
async fn poison_first(kafka: &Kafka, undone: Undone) -> Vec<u64> {
    let topic = kafka.topic(1, &[]).await;
    let publisher = publisher(kafka, &[&topic], 1024, Duration::from_millis(100)).await;
    kafka.limit(&topic, LIMIT).await;
    let row = |number| numbered(&topic, number, if number == 0 { TOO_LARGE } else { 2000 });
    let rows: Vec<_> = (0..5).map(row).collect();
    let mut relay = SmallRelay::new(&publisher, &rows, 0, undone);
    relay.carry_all().await;
    if undone == Undone::Nothing {
        assert_eq!((&relay.refused, relay.parked.len()), (&BTreeSet::from([0]), 5), "{:?}", relay.parked);
    }
    relay.end().await;
    kafka.numbers(&topic).await
}

#[tokio::test]
async fn a_sessions_first_record_alone_keeps_its_successors_back() {
    let kafka = Kafka::find();
    assert!(poison_first(&kafka, Undone::Nothing).await.is_empty());
    is_seen("a successor of a refused first record", async || {
        !poison_first(&kafka, Undone::FirstAlone).await.is_empty()
    })
    .await;
}

/// Carries events of which one is too large, each of an aggregate of its own, in one batch. Says which were parked.
async fn poison_among_innocents(kafka: &Kafka, undone: Undone) -> BTreeSet<usize> {
    const POISON: usize = 15;
    let topic = kafka.topic(1, &[]).await;
    let publisher = publisher(kafka, &[&topic], 1_000_000, Duration::from_millis(100)).await;
    // The first is acknowledged alone and opens the pipeline.
    let row = |number| apart(&topic, number, if number == POISON as u64 { TOO_LARGE } else { 100 });
    let rows: Vec<_> = (0..60).map(row).collect();
    kafka.limit(&topic, LIMIT).await;
    let mut relay = SmallRelay::new(&publisher, &rows, 0, undone);
    relay.carry_all().await;
    let parked = relay.parked.clone();
    relay.end().await;
    let mut written = kafka.numbers(&topic).await;
    assert_eq!(repeats(&written), 0, "{written:?}");
    written.sort_unstable();
    let innocent: Vec<u64> = (0..60).filter(|number| !parked.contains(&(*number as usize))).collect();
    assert_eq!(written, innocent, "each was written or parked");
    assert!(parked.contains(&POISON));
    parked
}

#[tokio::test]
async fn trying_alone_parks_no_innocent() {
    let kafka = Kafka::find();
    assert_eq!(poison_among_innocents(&kafka, Undone::Nothing).await.len(), 1);
    is_seen("an innocent that is refused with its batch", async || {
        poison_among_innocents(&kafka, Undone::TryingAlone).await.len() > 1
    })
    .await;
}

/// Carries a record that is too large while another topic's are in flight. Says how many of those came twice.
async fn poison_elsewhere(kafka: &Kafka, undone: Undone) -> usize {
    const COUNT: u64 = 600;
    let (topic, other) = (kafka.topic(1, &[]).await, kafka.topic(1, &[]).await);
    let publisher = publisher(kafka, &[&topic, &other], 2000, Duration::ZERO).await;
    kafka.limit(&topic, LIMIT).await;
    let row = |number| match number {
        100 => apart(&topic, number, TOO_LARGE),
        0 => apart(&topic, number, 10),
        _ => numbered(&other, number, 1000),
    };
    let rows: Vec<_> = (0..COUNT).map(row).collect();
    let mut relay = SmallRelay::new(&publisher, &rows, 0, undone);
    relay.carry_all().await;
    assert_eq!(relay.parked, BTreeSet::from([100]));
    relay.end().await;
    let written = kafka.numbers(&other).await;
    let first: BTreeSet<u64> = written.iter().copied().collect();
    assert_eq!(first, (1..COUNT).filter(|number| *number != 100).collect());
    repeats(&written)
}

#[tokio::test]
async fn waiting_for_the_reports_of_a_dead_session_repeats_nothing() {
    let kafka = Kafka::find();
    for _ in 0..3 {
        assert_eq!(poison_elsewhere(&kafka, Undone::Nothing).await, 0);
    }
    is_seen("an innocent that comes twice", async || poison_elsewhere(&kafka, Undone::Waiting).await > 0)
        .await;
}
