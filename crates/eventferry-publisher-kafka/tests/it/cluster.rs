//! Topics as a real cluster has them: seen, made, grown, and kept from us.

use std::collections::BTreeMap;

use eventferry_core::PublishFaultKind;
use eventferry_publisher_kafka::{Change, Cluster, DeclaredTopic, KafkaConfig, KafkaPublisher};

use crate::bench::Kafka;
use crate::own_broker::OwnBroker;

fn declared(name: &str, partitions: i32) -> DeclaredTopic {
    let config = BTreeMap::from([("retention.ms".to_owned(), "123456".to_owned())]);
    DeclaredTopic { name: name.to_owned(), partitions: Some(partitions), replication: Some(1), config }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_topic_is_made_as_it_is_declared_and_grows() {
    let kafka = Kafka::find();
    let other = kafka.topic(1, &[]).await;
    let name = format!("{other}-declared");
    let cluster = Cluster::open(&kafka.publisher()).await.unwrap();
    let states = cluster.describe(&[name.clone(), other.clone()]).await.unwrap();
    let fault = states[0].1.as_ref().unwrap_err();
    assert_eq!(*fault.kind(), PublishFaultKind::TopicRefused);
    assert!(fault.message().contains(&name) && fault.message().contains("create it"), "{fault}");
    assert_eq!((states[1].0.as_str(), states[1].1.as_ref().unwrap().partitions), (other.as_str(), 1));

    let mut topic = declared(&name, 2);
    let create = topic.change(None).unwrap();
    cluster.perform(&create).await.unwrap();
    let state = |cluster: &Cluster, name: &str| {
        let (cluster, name) = (Cluster::clone(cluster), name.to_owned());
        async move { cluster.describe(&[name]).await.unwrap().pop().unwrap().1.unwrap() }
    };
    let made = state(&cluster, &name).await;
    assert_eq!((made.partitions, made.replication, made.may_write), (2, 1, Some(true)));
    assert_eq!((made.number("retention.ms"), made.leaderless, made.behind), (Some(123_456), 0, 0));
    assert_eq!(topic.differences(&made), []);
    assert!(cluster.names().await.unwrap().contains(&name));

    let again = cluster.perform(&create).await.unwrap_err();
    assert!(again.message().contains("it exists by now"), "{again}");
    topic.partitions = Some(5);
    let grow = topic.change(Some(&made)).unwrap();
    assert_eq!(grow, Change::Grow { topic: name.clone(), from: 2, to: 5 });
    cluster.perform(&grow).await.unwrap();
    assert_eq!(state(&cluster, &name).await.partitions, 5);

    for (wrong, setting) in [
        (DeclaredTopic { replication: Some(7), ..declared("x-replicas", 1) }, "(replication)"),
        (
            DeclaredTopic { config: [("no.such".into(), "1".into())].into(), ..declared("x-config", 1) },
            "see config",
        ),
        (declared("no such name", 1), "no such name for a topic"),
    ] {
        let refused = cluster.perform(&Change::Create(wrong)).await.unwrap_err();
        assert!(refused.message().contains(setting), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_login_may_not_do_is_said_with_the_permission_it_lacks() {
    let broker = OwnBroker::with_permissions();
    let judge = KafkaPublisher::new(KafkaConfig::new(broker.judge())).unwrap();
    let judge = Cluster::open(&judge).await.unwrap();
    for topic in ["hidden", "seen", "writable"] {
        judge.perform(&Change::Create(declared(topic, 1))).await.unwrap();
    }
    broker.grant("Describe", &["--topic", "seen"]);
    broker.grant("Write", &["--topic", "writable"]);

    let ferry = broker.ferry();
    let cluster = Cluster::open(&ferry).await.unwrap();
    let names = ["hidden", "seen", "writable"].map(str::to_owned);
    let states = cluster.describe(&names).await.unwrap();
    let hidden = states[0].1.as_ref().unwrap_err();
    assert!(hidden.message().contains("grant DESCRIBE and WRITE"), "{hidden}");
    let may_write = |at: usize| states[at].1.as_ref().unwrap().may_write;
    assert_eq!((may_write(1), may_write(2)), (Some(false), Some(true)));
    // Settings are for DescribeConfigs.
    assert!(states[2].1.as_ref().unwrap().settings.is_none());
    assert_eq!(cluster.names().await.unwrap(), ["seen", "writable"]);
    for change in
        [Change::Create(declared("another", 1)), Change::Grow { topic: "writable".into(), from: 1, to: 2 }]
    {
        let refused = cluster.perform(&change).await.unwrap_err();
        assert!(refused.message().contains("grant CREATE on the cluster"), "{refused}");
    }
}
