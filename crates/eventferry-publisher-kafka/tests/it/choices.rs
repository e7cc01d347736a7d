//! What the publisher and the core decided about Kafka, each choice as what a real broker does with it, and does
//! without it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use eventferry_core::machine::Notice;
use eventferry_core::publisher::Publisher;
use eventferry_core::{Event, StoredEvent};
use eventferry_publisher_kafka::{KafkaConfig, KafkaPublisher};

use crate::bench::{Kafka, numbered, stored};
use crate::road::Road;
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

/// Carries events of one aggregate, each in a batch of its own: one that is taken, one that is too large, and others.
/// Says what was written.
async fn poison_second(kafka: &Kafka, change: impl FnOnce(KafkaConfig) -> KafkaConfig) -> Vec<u64> {
    let topic = kafka.topic(1, &[]).await;
    let mut config = change(kafka.config());
    (config.batch_bytes, config.linger) = (1024, Duration::from_millis(100));
    let publisher = KafkaPublisher::new(config).unwrap();
    publisher.learn(&topic).await.unwrap();
    kafka.limit(&topic, LIMIT).await;
    let row = |number| numbered(&topic, number, if number == 1 { TOO_LARGE } else { 2000 });
    let rows: Vec<_> = (0..6).map(row).collect();
    let mut relay = SmallRelay::new(&publisher, &rows, 0, Undone::Nothing);
    relay.carry_all().await;
    relay.end().await;
    kafka.numbers(&topic).await
}

#[tokio::test]
async fn gapless_keeps_the_successors_of_a_refused_record_back() {
    let kafka = Kafka::find();
    for _ in 0..3 {
        assert_eq!(poison_second(&kafka, |config| config).await, [0]);
    }
    is_seen("a successor of a refused record", async || {
        let gaps = |config: KafkaConfig| config.undone("enable.gapless.guarantee", "false");
        poison_second(&kafka, gaps).await != [0]
    })
    .await;
}

/// Events a second, where they come one after the other.
const RATE: f64 = 1000.0;

/// How many numbers come for the first time after a greater one.
fn first_deliveries_out_of_order(numbers: &[u64]) -> usize {
    let (mut seen, mut greatest) = (BTreeSet::new(), 0);
    let late = |number: &&u64| {
        let first = seen.insert(**number);
        greatest = greatest.max(**number);
        first && **number < greatest
    };
    numbers.iter().filter(late).count()
}

/// Carries events that are enqueued one after the other while the broker freezes for a while. Says what was written.
async fn frozen_for(freeze: Duration, change: impl FnOnce(KafkaConfig) -> KafkaConfig) -> Vec<u64> {
    const COUNT: u64 = 3500;
    const BEFORE: Duration = Duration::from_millis(500);
    let kafka = Kafka::find();
    let topic = kafka.topic(1, &[]).await;
    let mut config = change(kafka.config());
    let road = Road::to(&config.brokers);
    config.brokers.clone_from(&road.address);
    let publisher = KafkaPublisher::new(config).unwrap();
    publisher.learn(&topic).await.unwrap();
    let rows: Vec<_> = (0..COUNT).map(|number| numbered(&topic, number, 100)).collect();
    let mut relay = SmallRelay::new(&publisher, &rows, 0, Undone::Nothing);
    let started = Instant::now();
    let carry = relay.carry(|relay| {
        relay.enqueued = rows.len().min((started.elapsed().as_secs_f64() * RATE) as usize);
        relay.position == rows.len()
    });
    // Apart from the relay, which may be waiting for the broker.
    let weather = async {
        // waits: so long the broker works, and so long it does not.
        tokio::time::sleep(BEFORE).await;
        road.freeze();
        // waits: as above.
        tokio::time::sleep(freeze).await;
        road.thaw();
    };
    tokio::join!(carry, weather);
    relay.end().await;
    let written = kafka.numbers(&topic).await;
    assert_eq!(written.iter().collect::<BTreeSet<_>>().len(), rows.len(), "nothing is lost");
    written
}

#[tokio::test]
async fn without_a_message_timeout_a_frozen_broker_reorders_nothing() {
    let written = frozen_for(Duration::from_secs(2), |config| config).await;
    assert_eq!((first_deliveries_out_of_order(&written), repeats(&written)), (0, 0));
    is_seen("a first delivery out of order", async || {
        let timeout = |config: KafkaConfig| config.undone("message.timeout.ms", "1000");
        first_deliveries_out_of_order(&frozen_for(Duration::from_millis(1800), timeout).await) > 0
    })
    .await;
}

/// Carries events while the broker freezes, and the database goes away until the lease is over; then another relay
/// goes on. Says what was written.
async fn given_up(undone: Undone) -> Vec<u64> {
    const COUNT: usize = 4000;
    let kafka = Kafka::find();
    let topic = kafka.topic(1, &[]).await;
    let mut config = kafka.config();
    let road = Road::to(&config.brokers);
    config.brokers.clone_from(&road.address);
    let publisher = KafkaPublisher::new(config).unwrap();
    publisher.learn(&topic).await.unwrap();
    let rows: Vec<_> = (0..COUNT as u64).map(|number| numbered(&topic, number, 100)).collect();
    let mut former = SmallRelay::new(&publisher, &rows, 0, undone);
    let started = Instant::now();
    former
        .carry(|relay| {
            let now = started.elapsed();
            relay.enqueued = COUNT.min((now.as_secs_f64() * RATE) as usize);
            if now > Duration::from_millis(500) {
                road.freeze();
            }
            relay.store_answers = now < Duration::from_millis(2500);
            relay.said.contains(&Notice::LeaseExpired) && relay.has_no_session()
        })
        .await;
    road.thaw();
    let mut next = SmallRelay::new(&publisher, &rows, former.position, Undone::Nothing);
    next.carry_all().await;
    next.end().await;
    former.end().await;
    let written = kafka.numbers(&topic).await;
    assert_eq!(written.iter().collect::<BTreeSet<_>>().len(), COUNT, "nothing is lost");
    assert_eq!(first_deliveries_out_of_order(&written), 0);
    written
}

#[tokio::test]
async fn giving_up_by_purging_repeats_only_what_was_on_its_way() {
    /// What five requests hold and what was acknowledged but not settled; the queue held two thousand.
    const ON_ITS_WAY: usize = 700;
    let repeated = repeats(&given_up(Undone::Nothing).await);
    assert!(repeated <= ON_ITS_WAY, "{repeated} came twice");
    is_seen("a queue that is sent twice", async || repeats(&given_up(Undone::Ending).await) > 2 * ON_ITS_WAY)
        .await;
}
