//! Exactly once: what a login needs for it.

use std::collections::BTreeMap;
use std::time::Duration;

use eventferry_core::publisher::{Outcome, Publisher as _, Session as _, Token};
use eventferry_core::{OutboxId, PublishFault, PublishFaultKind, Stamp};
use eventferry_publisher_kafka::{Change, Cluster, DeclaredTopic, KafkaConfig, KafkaPublisher, KafkaSession};

use crate::own_broker::OwnBroker;

const STAMPS: &str = "eventferry.stamps.orders";

/// Takes the cluster over as often as it is asked to wait, as a relay does.
async fn take_over(publisher: &KafkaPublisher) -> Result<(KafkaSession, Option<Stamp>), PublishFault> {
    let mut waited = 0;
    loop {
        let taken = publisher.take_over(&OutboxId("orders".into())).await;
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
    broker.grant("Write", &["--topic", STAMPS]);
    broker.grant("Read", &["--topic", STAMPS]);
    let (mut session, last) = take_over(&ferry).await.unwrap();
    assert_eq!(last, None);
    let stamp = Stamp { number: 7, nonce: 9 };
    session.begin(Token(1), stamp);
    acknowledged(&mut session, Token(1)).await;
    session.commit(Token(2));
    acknowledged(&mut session, Token(2)).await;
    session.abandon(Duration::from_secs(1)).await;
    let (_, last) = take_over(&ferry).await.unwrap();
    assert_eq!(last, Some(stamp));
}
