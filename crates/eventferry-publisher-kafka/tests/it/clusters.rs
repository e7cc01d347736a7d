//! Several clusters in one publisher.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use eventferry_core::publisher::{Publisher, Role, Route, Taken};
use eventferry_core::{Envelope, Event, PublishFaultKind, StoredEvent};
use eventferry_publisher_kafka::{ClusterConfig, KafkaClusters, KafkaConfig};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::bench::{
    Kafka, PATIENCE, Routed, Said, acknowledged, assert_answered_once, numbered, reports, said, send,
    session, stored,
};
use crate::own_broker::OwnBroker;
use crate::small_relay::{SmallRelay, Undone};

type Mock = MockCluster<'static, DefaultProducerContext>;

/// Two mock clusters, the first with topic `a`, the second with topic `b`.
fn mocks() -> [Mock; 2] {
    ["a", "b"].map(|topic| {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(topic, 4, 1).unwrap();
        cluster
    })
}

/// Topics that begin with `a` are the first one's.
fn two(first: KafkaConfig, second: KafkaConfig) -> KafkaClusters {
    let first = ClusterConfig::new("one", first).topics(["a*"]);
    KafkaClusters::new([first, ClusterConfig::new("other", second)]).unwrap()
}

/// A publisher for both, which has learned their topics.
async fn publisher_of(mocks: &[Mock; 2]) -> KafkaClusters {
    let [one, other] = mocks.each_ref().map(|mock| KafkaConfig::new(mock.bootstrap_servers()));
    let publisher = two(one, other);
    publisher.learn("a").await.unwrap();
    publisher.learn("b").await.unwrap();
    publisher
}

async fn open(mocks: &[Mock; 2]) -> Routed<KafkaClusters> {
    session(&publisher_of(mocks).await, Role::Main).await
}

/// Event number `number`, of the first cluster if that is even.
fn alternating(number: u64) -> StoredEvent {
    numbered(if number.is_multiple_of(2) { "a" } else { "b" }, number, 10)
}

#[tokio::test]
async fn a_dropped_wait_loses_no_report_of_any_cluster() {
    const COUNT: u64 = 500;
    let mocks = mocks();
    let mut session = open(&mocks).await;
    let (mut sent, mut answers) = (0, Vec::new());
    let started = Instant::now();
    while answers.len() < COUNT as usize {
        assert!(started.elapsed() < PATIENCE, "{} of {COUNT} reports came", answers.len());
        if sent < COUNT {
            assert_eq!(send(&mut session, sent, &alternating(sent)), Taken::Yes);
            sent += 1;
        }
        drop(tokio::time::timeout(Duration::from_micros(50), session.reports(&mut answers)).await);
    }
    assert_answered_once(&answers, 0..COUNT);
    assert!(answers.iter().all(|report| said(report) == Said::Acknowledged));
}

#[tokio::test]
async fn a_partition_of_one_cluster_is_no_order_domain_of_another() {
    let mocks = mocks();
    let publisher = publisher_of(&mocks).await;
    let domain = |topic: &str| {
        let row = stored(Event::new(topic, ("order", 1)).partition(0));
        match publisher.route(&Envelope::of(&row)) {
            Route::To(domain) => domain,
            other => panic!("{other:?}"),
        }
    };
    // Each is its cluster's first topic.
    assert_ne!(domain("a"), domain("b"));
}

#[tokio::test]
async fn one_wait_takes_what_all_clusters_have_to_say() {
    let mocks = mocks();
    let mut session = open(&mocks).await;
    let started = Instant::now();
    for round in 0.. {
        assert!(started.elapsed() < PATIENCE, "never both at once");
        for token in [2 * round, 2 * round + 1] {
            assert_eq!(send(&mut session, token, &alternating(token)), Taken::Yes);
        }
        // waits: for both to answer; if one has not by then, the next round may show it
        tokio::time::sleep(Duration::from_millis(50)).await;
        match reports(&mut session, 1).await.len() {
            2 => return,
            count => drop(reports(&mut session, 2 - count).await),
        }
    }
}

#[tokio::test]
async fn a_cluster_that_is_silent_holds_up_nothing_of_another() {
    const COUNT: u64 = 100;
    for silent in [1, 0] {
        let mocks = mocks();
        let mut session = open(&mocks).await;
        mocks[silent].broker_round_trip_time(-1, Duration::from_secs(3600)).unwrap();
        let (of_other, of_silent): (Vec<_>, Vec<_>) =
            (0..COUNT).partition(|number| number % 2 != silent as u64);
        for number in &of_silent {
            assert_eq!(send(&mut session, *number, &alternating(*number)), Taken::Yes);
        }
        // One by one, so that each is waited for.
        let started = Instant::now();
        for number in of_other {
            assert!(started.elapsed() < PATIENCE, "{number} waits for what the silent cluster says");
            acknowledged(&mut session, number, &alternating(number)).await;
        }
        assert_answered_once(&session.abandon(Duration::ZERO).await, of_silent);
    }
}

#[tokio::test]
async fn what_ends_the_session_with_one_cluster_ends_all() {
    let mocks = mocks();
    let mut session = open(&mocks).await;
    acknowledged(&mut session, 1, &alternating(1)).await;
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    mocks[0].request_errors(RDKafkaApiKey::Produce, &[refused]);
    assert_eq!(send(&mut session, 0, &alternating(0)), Taken::Yes);
    let answers = reports(&mut session, 1).await;
    assert_eq!(said(&answers[0]), Said::Refused(PublishFaultKind::TopicRefused), "{answers:?}");
    assert_eq!(send(&mut session, 3, &alternating(3)), Taken::Ended);
    assert!(session.abandon(Duration::ZERO).await.is_empty());
}

#[tokio::test]
async fn the_ends_of_all_clusters_are_waited_for_at_once() {
    const COUNT: u64 = 100;
    const WITHIN: Duration = Duration::from_secs(3);
    let mocks = mocks();
    let mut session = open(&mocks).await;
    for mock in &mocks {
        mock.broker_round_trip_time(-1, Duration::from_secs(3600)).unwrap();
    }
    for number in 0..COUNT {
        assert_eq!(send(&mut session, number, &alternating(number)), Taken::Yes);
    }
    let started = Instant::now();
    let answers = session.abandon(WITHIN).await;
    let took = started.elapsed();
    assert_answered_once(&answers, 0..COUNT);
    assert!(answers.iter().all(|report| said(report) == Said::Uncertain));
    assert!((WITHIN..2 * WITHIN).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_named_and_the_others_are_known_to_answer() {
    let mock: Mock = MockCluster::new(1).unwrap();
    let publisher = two(KafkaConfig::new("127.0.0.1:1"), KafkaConfig::new(mock.bootstrap_servers()));
    assert!(publisher.health().iter().all(|cluster| cluster.opened.is_none()));
    for role in [Role::Main, Role::Alone] {
        let Err(fault) = publisher.connect(role).await else { panic!("connected to nothing") };
        assert_eq!(*fault.kind(), PublishFaultKind::Unavailable);
        assert!(fault.message().starts_with("cluster `one`: no broker of `127.0.0.1:1` answers"), "{fault}");
    }
    let [one, other] = &publisher.health()[..] else { panic!("{:?}", publisher.health()) };
    assert_eq!((one.name.as_str(), other.name.as_str()), ("one", "other"));
    let why = one.opened.clone().unwrap().unwrap_err();
    assert!(why.starts_with("no broker of `127.0.0.1:1`"), "{why}");
    assert_eq!(other.opened, Some(Ok(())));
    let fault = publisher.learn("b").await.unwrap_err();
    assert!(fault.message().starts_with("cluster `other`: ") && fault.class().is_some(), "{fault}");
}

/// Two real clusters; topics that begin with `a` are the second one's, under a prefix.
struct Pair {
    shared: Kafka,
    own: Kafka,
    broker: OwnBroker,
    publisher: KafkaClusters,
}

impl Pair {
    fn start() -> Self {
        let broker = OwnBroker::start(&[], &[]);
        let (shared, own) = (Kafka::find(), Kafka::at(broker.judge()));
        let mut config = own.config();
        config.topic_prefix = "own.".into();
        let publisher = two(config, shared.config());
        Self { shared, own, broker, publisher }
    }
}

/// Events in turn for these topics and of these aggregates, as many as there are numbers.
fn rows(topics: [&str; 2], count: usize) -> Vec<StoredEvent> {
    let row = |number: usize| {
        let event = Event::new(topics[number % 2], ("order", number % 6)).key("k");
        stored(event.payload(format!("{number} "), "text/plain"))
    };
    (0..count).map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_to_the_cluster_of_their_topic_in_order_and_an_outage_of_one_loses_nothing() {
    const COUNT: usize = 20_000;
    let Pair { shared, own, mut broker, publisher } = Pair::start();
    let other = shared.topic(1, &[]).await;
    own.create("own.a.events", 1, &[]).await;
    let rows = rows(["a.events", &other], COUNT);
    let mut relay = SmallRelay::new(&publisher, &rows, 0, Undone::Nothing);
    relay.enqueued = COUNT / 4;
    relay.carry(|relay| relay.position == COUNT / 4).await;

    broker.kill();
    relay.enqueued = COUNT / 2;
    // What is for the other cluster goes on as far as the window lets it, and nothing is settled beyond the first that
    // waits.
    relay.carry(|relay| relay.shipped > COUNT / 4 + 500).await;
    assert_eq!(relay.position, COUNT / 4);
    let again = tokio::task::spawn_blocking(move || {
        broker.start_again();
        broker
    });
    relay.carry(|_| again.is_finished()).await;
    let _broker = again.await.unwrap();
    relay.enqueued = COUNT;
    relay.carry_all().await;
    assert!(relay.parked.is_empty(), "an outage parks nothing");
    relay.end().await;

    for (kafka, topic, remainder) in [(&own, "own.a.events", 0), (&shared, other.as_str(), 1)] {
        let numbers = kafka.numbers(topic).await;
        let mut seen = BTreeSet::new();
        let first: Vec<u64> = numbers.into_iter().filter(|number| seen.insert(*number)).collect();
        let wanted: Vec<_> = (0..COUNT as u64).filter(|number| number % 2 == remainder).collect();
        assert!(first == wanted, "{topic}: {} of {} came, or not in order", first.len(), wanted.len());
    }
}
