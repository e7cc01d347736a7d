//! The examples for those who consume, run on real servers: each event takes effect once, however often it comes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio_postgres::NoTls;
use uuid::Uuid;

#[path = "../examples/consume_postgres.rs"]
#[expect(dead_code, reason = "its main is for people")]
mod by_postgres;
#[path = "../examples/consume_sqlite.rs"]
#[expect(dead_code, reason = "its main is for people")]
mod by_sqlite;

const PATIENCE: Duration = Duration::from_secs(60);

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run `eval \"$(cargo xtask services env)\"` first"))
}

/// A topic with orders, some of which come twice, and a record of another program.
struct Orders {
    client: ClientConfig,
    topic: String,
    records: i64,
}

/// What everybody owes, if each order counts once.
const OWED: [(&str, i64); 2] = [("ada", 12), ("bob", 3)];

impl Orders {
    async fn sent() -> Self {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", variable("EVENTFERRY_TEST_KAFKA_BROKERS"));
        let topic = format!("eventferry-consuming-{}", Uuid::new_v4().simple());
        let admin: AdminClient<DefaultClientContext> = client.create().unwrap();
        let new = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
        let made = admin.create_topics([&new], &AdminOptions::new()).await.unwrap();
        made.into_iter().for_each(|made| drop(made.unwrap()));
        let producer: FutureProducer = client.create().unwrap();
        let ids = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()].map(|id| id.to_string());
        let orders = [("ada", 7, 0), ("bob", 3, 1), ("ada", 7, 0), ("ada", 5, 2), ("ada", 5, 2)];
        for (customer, total, id) in orders {
            let mut headers = OwnedHeaders::new();
            let event =
                [("message-id", ids[id].as_str()), ("aggregate-type", "order"), ("aggregate-id", "1")];
            for (key, value) in event {
                headers = headers.insert(Header { key, value: Some(value) });
            }
            let payload = format!(r#"{{"customer": "{customer}", "total": {total}}}"#);
            let record = FutureRecord::<str, str>::to(&topic).payload(&payload).headers(headers);
            producer.send(record, PATIENCE).await.unwrap();
        }
        let foreign = FutureRecord::<str, str>::to(&topic).payload("not ours");
        producer.send(foreign, PATIENCE).await.unwrap();
        Self { client, topic, records: orders.len() as i64 + 1 }
    }

    fn brokers(&self) -> &str {
        self.client.get("bootstrap.servers").unwrap()
    }

    /// Whether the group has told that it is through.
    fn are_done(&self, group: &str) -> bool {
        let asked: BaseConsumer = self.client.clone().set("group.id", group).create().unwrap();
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition(&self.topic, 0);
        match asked.committed_offsets(partitions, PATIENCE) {
            Ok(committed) => committed.elements()[0].offset() == Offset::Offset(self.records),
            // The first group of a cluster's life has the topic made where its position will be.
            Err(error) if error.rdkafka_error_code().is_some_and(has_no_coordinator) => false,
            Err(error) => panic!("{error}"),
        }
    }

    async fn remove(self) {
        let admin: AdminClient<DefaultClientContext> = self.client.create().unwrap();
        admin.delete_topics(&[&self.topic], &AdminOptions::new()).await.unwrap();
    }
}

fn has_no_coordinator(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{
        CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator, WaitingForCoordinator,
    };
    matches!(
        code,
        CoordinatorLoadInProgress | CoordinatorNotAvailable | NotCoordinator | WaitingForCoordinator
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_order_is_charged_once_in_postgresql() {
    let server = variable("EVENTFERRY_TEST_POSTGRES_URL");
    let name = format!("eventferry_consuming_{}", Uuid::new_v4().simple());
    let (admin, connection) = tokio_postgres::connect(&server, NoTls).await.unwrap();
    tokio::spawn(connection);
    admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
    let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    by_postgres::prepare(&mut client).await.unwrap();
    let orders = Orders::sent().await;
    // The second group gets everything once more, as after a crash before any offset was told.
    for group in [format!("one-{}", orders.topic), format!("two-{}", orders.topic)] {
        let consumer = by_postgres::consumer(orders.brokers(), &group).unwrap();
        consumer.subscribe(&[&orders.topic]).unwrap();
        let stop = async {
            let until = Instant::now() + PATIENCE;
            while !tokio::task::block_in_place(|| orders.are_done(&group)) {
                assert!(Instant::now() < until, "the group is not through");
                // waits: between two looks
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        by_postgres::consume(&consumer, &mut client, stop).await.unwrap();
        let rows = client.query("SELECT customer, owes FROM account ORDER BY customer", &[]).await.unwrap();
        let owed: Vec<(&str, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(owed, OWED);
    }
    orders.remove().await;
    admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_order_is_charged_once_in_sqlite() {
    let mut database = rusqlite::Connection::open_in_memory().unwrap();
    by_sqlite::prepare(&mut database).unwrap();
    let orders = Orders::sent().await;
    for group in [format!("one-{}", orders.topic), format!("two-{}", orders.topic)] {
        let consumer = by_sqlite::consumer(orders.brokers(), &group).unwrap();
        consumer.subscribe(&[&orders.topic]).unwrap();
        let until = Instant::now() + PATIENCE;
        let goes_on = || {
            assert!(Instant::now() < until, "the group is not through");
            !orders.are_done(&group)
        };
        tokio::task::block_in_place(|| by_sqlite::consume(&consumer, &mut database, goes_on)).unwrap();
        let mut look = database.prepare("SELECT customer, owes FROM account ORDER BY customer").unwrap();
        let owed = look.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?))).unwrap();
        let owed: Vec<(String, i64)> = owed.map(Result::unwrap).collect();
        assert_eq!(owed, OWED.map(|(customer, owes)| (customer.to_owned(), owes)));
    }
    orders.remove().await;
}
