//! The service, started as a user would, on a database of its own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use orders_example::{Config, Failure, Service};
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::{ClientConfig, Message as _};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run `eval \"$(cargo xtask services env)\"` first"))
}

/// A running service with a database of its own.
struct Running {
    address: SocketAddr,
    server: String,
    config: Config,
    stop: oneshot::Sender<()>,
    service: JoinHandle<Result<(), Failure>>,
}

impl Running {
    async fn start(kafka_brokers: Option<String>) -> Self {
        let server = variable("EVENTFERRY_TEST_POSTGRES_URL");
        let name = format!("orders_example_{}", Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&server).await.unwrap();
        admin.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        let (base, _) = server.rsplit_once('/').unwrap();
        let config = Config {
            database_url: format!("{base}/{name}"),
            listen: "127.0.0.1:0".into(),
            kafka_brokers,
            topic: format!("{name}.created"),
        };
        let listener = TcpListener::bind(&config.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = Service::prepare(&config).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let service = tokio::spawn(service.run(listener, async move { drop(stopped.await) }));
        Self { address, server, config, stop, service }
    }

    /// What the service answers: the status and the body.
    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn database(&self) -> PgConnection {
        PgConnection::connect(&self.config.database_url).await.unwrap()
    }

    /// The payloads in the outbox.
    async fn events(&self) -> Vec<Value> {
        let select = "SELECT payload FROM eventferry.outbox ORDER BY id";
        let payloads: Vec<Vec<u8>> =
            sqlx::query_scalar(select).fetch_all(&mut self.database().await).await.unwrap();
        payloads.iter().map(|payload| serde_json::from_slice(payload).unwrap()).collect()
    }

    /// Stops it, as Ctrl-C would, and gives the database back.
    async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.service).await.unwrap().unwrap().unwrap();
        let (_, name) = self.config.database_url.rsplit_once('/').unwrap();
        let mut admin = PgConnection::connect(&self.server).await.unwrap();
        let drop = format!("DROP DATABASE {name} WITH (FORCE)");
        admin.execute(sqlx::AssertSqlSafe(drop)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_placed_is_there_with_its_event() {
    let running = Running::start(None).await;
    let (status, placed) = running.ask("POST", "/orders", r#"{"customer": "ada", "total": 700}"#).await;
    assert_eq!(status, 201, "{placed}");
    let order = json!({"id": 1, "customer": "ada", "total": 700});
    assert_eq!(serde_json::from_str::<Value>(&placed).unwrap(), order);
    let (status, found) = running.ask("GET", "/orders/1", "").await;
    assert_eq!((status, serde_json::from_str::<Value>(&found).unwrap()), (200, order.clone()));
    assert_eq!(running.ask("GET", "/orders/2", "").await.0, 404);
    assert_eq!(running.events().await, [order]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_event_cannot_be_enqueued_is_not_placed() {
    let running = Running::start(None).await;
    let refuse = "ALTER TABLE eventferry.outbox ADD CONSTRAINT a_rule CHECK (false)";
    running.database().await.execute(refuse).await.unwrap();
    let (status, _) = running.ask("POST", "/orders", r#"{"customer": "ada", "total": 700}"#).await;
    assert_eq!(status, 503);
    assert_eq!(running.ask("GET", "/orders/1", "").await.0, 404);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_makes_no_sense_is_refused_without_a_trace() {
    let running = Running::start(None).await;
    for wrong in [r#"{"customer": "ada", "total": -1}"#, r#"{"customer": "", "total": 1}"#, r#"{"total": 1}"#]
    {
        assert_eq!(running.ask("POST", "/orders", wrong).await.0, 422, "{wrong}");
    }
    assert_eq!(running.events().await, [] as [Value; 0]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_of_an_order_arrives_in_kafka() {
    let brokers = variable("EVENTFERRY_TEST_KAFKA_BROKERS");
    let running = Running::start(Some(brokers.clone())).await;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &brokers).set("group.id", &running.config.topic);
    let consumer: StreamConsumer = config.set("auto.offset.reset", "earliest").create().unwrap();
    consumer.subscribe(&[&running.config.topic]).unwrap();
    assert_eq!(running.ask("POST", "/orders", r#"{"customer": "ada", "total": 700}"#).await.0, 201);
    let arrived = tokio::time::timeout(PATIENCE, consumer.recv()).await.unwrap().unwrap();
    let payload: Value = serde_json::from_slice(arrived.payload().unwrap()).unwrap();
    assert_eq!(payload, json!({"id": 1, "customer": "ada", "total": 700}));
    assert_eq!(arrived.key(), Some(&b"1"[..]));
    running.stop().await;
}
