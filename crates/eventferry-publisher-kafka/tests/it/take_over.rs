//! Exactly once: what a login needs for it.

use std::collections::BTreeMap;
use std::time::Duration;

use eventferry_core::publisher::{Outcome, Publisher as _, Session as _, Token};
use eventferry_core::{OutboxId, PublishFault, PublishFaultKind, Stamp};
use eventferry_publisher_kafka::{Change, Cluster, DeclaredTopic, KafkaConfig, KafkaPublisher, KafkaSession};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::bench::{Kafka, PATIENCE};
use crate::own_broker::OwnBroker;
use crate::spoken::{listen, said_of};

const STAMPS: &str = "eventferry.stamps.orders";

/// Takes the cluster over as often as it is asked to wait, as a relay does.
async fn take_over(publisher: &KafkaPublisher) -> Result<(KafkaSession, Option<Stamp>), PublishFault> {
    take_over_for(publisher, &OutboxId("orders".into())).await
}

/// The same for an outbox of another name.
async fn take_over_for(
    publisher: &KafkaPublisher,
    outbox: &OutboxId,
) -> Result<(KafkaSession, Option<Stamp>), PublishFault> {
    let mut waited = 0;
    loop {
        let taken = publisher.take_over(outbox).await;
        match taken {
            Err(fault) if *fault.kind() == PublishFaultKind::Unavailable && waited < 40 => waited += 1,
            taken => return taken,
        }
        // waits: as a relay does before it asks again
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Waits for the fate of one message.
async fn acknowledged(session: &mut KafkaSession, token: Token) {
    let mut reports = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), session.reports(&mut reports)).await.unwrap();
    let well = |outcome: &Outcome| matches!(outcome, Outcome::Acknowledged);
    let well = matches!(reports.as_slice(), [report] if report.token == token && well(&report.outcome));
    assert!(well, "{reports:?}");
}

/// A transaction without events.
async fn commit(session: &mut KafkaSession, stamp: Stamp) {
    session.begin(Token(1), stamp);
    acknowledged(session, Token(1)).await;
    session.commit(Token(2));
    acknowledged(session, Token(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_over_needs_no_more_than_is_documented() {
    let broker = OwnBroker::with_permissions();
    let ferry = broker.ferry();

    let refused = ferry.take_over(&OutboxId("orders".into())).await.err().unwrap();
    assert!(refused.message().contains("grant WRITE and DESCRIBE on the transactional ids"), "{refused}");
    for operation in ["Write", "Describe"] {
        let ids = ["--transactional-id", "eventferry-orders-", "--resource-pattern-type", "prefixed"];
        broker.grant(operation, &ids);
    }
    let refused = take_over(&ferry).await.err().unwrap();
    assert_eq!(*refused.kind(), PublishFaultKind::Misconfigured);
    assert!(refused.message().contains("grant CREATE") && refused.message().contains(STAMPS), "{refused}");

    let judge = KafkaPublisher::new(KafkaConfig::new(broker.judge())).unwrap();
    let config = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
    let stamps = DeclaredTopic { name: STAMPS.into(), partitions: Some(1), replication: Some(1), config };
    Cluster::open(&judge).await.unwrap().perform(&Change::Create(stamps)).await.unwrap();
    broker.grant("Read", &["--topic", STAMPS]);
    let refused = take_over(&ferry).await.err().unwrap();
    assert!(refused.message().contains("WRITE") && refused.message().contains(STAMPS), "{refused}");
    broker.grant("Write", &["--topic", STAMPS]);
    let (mut session, last) = take_over(&ferry).await.unwrap();
    assert_eq!(last, None);
    let stamp = Stamp { number: 7, nonce: 9 };
    commit(&mut session, stamp).await;
    session.abandon(Duration::from_secs(1)).await;
    let (_, last) = take_over(&ferry).await.unwrap();
    assert_eq!(last, Some(stamp));
}

/// A publisher for an outbox whose topic of stamps, which has its name, was made by hand.
async fn by_hand(policy: &str) -> (KafkaPublisher, String) {
    let kafka = Kafka::find();
    let stamps = kafka.topic(1, &[("cleanup.policy", policy)]).await;
    let mut config = kafka.config();
    config.stamps_prefix = String::new();
    (KafkaPublisher::new(config).unwrap(), stamps)
}

/// What comes after it is not shown to who reads what is committed: the broker calls an earlier stamp the last.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_transaction_among_the_stamps_hides_none() {
    let (publisher, stamps) = by_hand("compact").await;
    let outbox = OutboxId(stamps.clone());
    let mut foreign = ClientConfig::new();
    foreign.set("bootstrap.servers", Kafka::find().config().brokers).set("transactional.id", &stamps);
    let (mut session, _) = take_over_for(&publisher, &outbox).await.unwrap();
    commit(&mut session, Stamp { number: 1, nonce: 1 }).await;

    let foreign: BaseProducer = foreign.create().unwrap();
    foreign.init_transactions(PATIENCE).unwrap();
    foreign.begin_transaction().unwrap();
    assert!(foreign.send(BaseRecord::to(&stamps).key("other").payload("other")).is_ok());
    foreign.flush(PATIENCE).unwrap();
    let last = Stamp { number: 2, nonce: 2 };
    commit(&mut session, last).await;
    session.abandon(Duration::from_secs(1)).await;

    let fault = publisher.take_over(&outbox).await.err().unwrap();
    assert_eq!(*fault.kind(), PublishFaultKind::Unavailable, "{fault}");
    assert!(fault.message().contains(&stamps) && fault.message().contains("transaction"), "{fault}");
    foreign.abort_transaction(PATIENCE).unwrap();
    let (session, found) = take_over_for(&publisher, &outbox).await.unwrap();
    assert_eq!(found, Some(last));
    session.abandon(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stamps_that_are_removed_with_time_are_warned_of() {
    listen();
    for (policy, warnings) in [("delete", 1), ("compact", 0)] {
        let (publisher, stamps) = by_hand(policy).await;
        let (session, _) = take_over_for(&publisher, &OutboxId(stamps.clone())).await.unwrap();
        session.abandon(Duration::from_secs(1)).await;
        let said = said_of(&stamps);
        assert_eq!(said.len(), warnings, "{said:?}");
        assert!(said.iter().all(|line| line.contains("cleanup.policy=compact")), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_allow_no_transaction_so_long_are_told_apart() {
    let broker = OwnBroker::start_with(&[], &[], "transaction.max.timeout.ms=10000\n");
    let publisher = KafkaPublisher::new(KafkaConfig::new(broker.judge())).unwrap();
    let fault = take_over(&publisher).await.err().unwrap();
    assert_eq!(*fault.kind(), PublishFaultKind::Misconfigured, "{fault}");
    assert!(fault.message().contains("transaction.max.timeout.ms"), "{fault}");
}

/// A runtime that ends waits for its threads.
#[test]
fn a_session_that_is_dropped_commits_no_longer() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut broker = OwnBroker::start(&[], &[]);
    runtime.block_on(async {
        let publisher = KafkaPublisher::new(KafkaConfig::new(broker.judge())).unwrap();
        let (mut session, _) = take_over(&publisher).await.unwrap();
        session.begin(Token(1), Stamp { number: 1, nonce: 1 });
        acknowledged(&mut session, Token(1)).await;
        broker.kill();
        session.commit(Token(2));
    });
    let (ended, has_ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(runtime);
        ended.send(()).unwrap();
    });
    has_ended.recv_timeout(PATIENCE).unwrap();
}
