//! Typed events through the outboxes of both databases, as an application writes them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use eventferry::consumer::Arrival;
use eventferry::core::packed::packed_headers;
use eventferry::events::{Registry, registry};
use eventferry::postgres::PostgresOutbox;
use eventferry::sqlite::SqliteOutbox;
use tokio_postgres::NoTls;
use uuid::Uuid;

#[derive(
    Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema, eventferry::Event,
)]
#[event(topic = "orders.created", aggregate = "order", version = 2, schema)]
struct OrderCreated {
    #[event(aggregate_id)]
    id: u32,
    #[schemars(range(max = 100))]
    total: u32,
}

impl OrderCreated {
    fn one() -> Self {
        Self { id: 42, total: 7 }
    }

    fn too_large() -> Self {
        Self { id: 42, total: 4711 }
    }
}

fn events() -> Registry {
    registry![OrderCreated].build().unwrap()
}

/// What the database has of each event: topic, aggregate, payload, content type and headers.
type Stored = (String, String, String, Vec<u8>, String, Vec<(String, Vec<u8>)>);

fn expected() -> Stored {
    let headers = [("event-type", "OrderCreated"), ("event-version", "2")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    let payload = br#"{"id":42,"total":7}"#.to_vec();
    ("orders.created".into(), "order".into(), "42".into(), payload, "application/json".into(), headers.into())
}

const REFUSAL: &str = "event for topic `orders.created`: `/total` breaks a rule of version 2: maximum: 100";

/// A database of its own.
struct Database {
    admin: tokio_postgres::Client,
    name: String,
    client: tokio_postgres::Client,
}

impl Database {
    async fn new() -> Self {
        let variable = "EVENTFERRY_TEST_POSTGRES_URL";
        let url = std::env::var(variable).unwrap_or_else(|_| {
            panic!("{variable} is not set: run `eval \"$(cargo xtask services env)\"` first")
        });
        let mut config: tokio_postgres::Config = url.parse().unwrap();
        let admin = connected(&config).await;
        let name = format!("eventferry_events_{}", Uuid::new_v4().simple());
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let client = connected(config.dbname(&name)).await;
        client.batch_execute(&eventferry::postgres::schema_sql()).await.unwrap();
        Self { admin, name, client }
    }

    async fn dropped(self) {
        self.admin.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await.unwrap();
    }
}

async fn connected(config: &tokio_postgres::Config) -> tokio_postgres::Client {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn stored(client: &tokio_postgres::Client) -> Vec<Stored> {
    let query =
        "SELECT topic, aggregate_type, aggregate_id, payload, content_type, headers FROM eventferry.outbox";
    let rows = client.query(query, &[]).await.unwrap();
    let of = |row: &tokio_postgres::Row| {
        let headers: Vec<Vec<u8>> = row.get(5);
        let headers =
            headers.chunks(2).map(|pair| (String::from_utf8(pair[0].clone()).unwrap(), pair[1].clone()));
        (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4), headers.collect())
    };
    rows.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_event_is_enqueued_in_postgres_and_decoded_as_it_arrives() {
    let mut database = Database::new().await;
    let client = &mut database.client;
    let mut tx = client.transaction().await.unwrap();
    let id = PostgresOutbox::new().enqueue(&mut tx, &OrderCreated::one()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(stored(client).await, [expected()]);

    let (topic, kind, aggregate, payload, content_type, own) = expected();
    let text = id.to_string();
    let sent = [
        ("message-id", text.as_bytes()),
        ("aggregate-type", kind.as_bytes()),
        ("aggregate-id", aggregate.as_bytes()),
        ("content-type", content_type.as_bytes()),
    ];
    let own = own.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    let arrival = Arrival::decode(sent.into_iter().chain(own), None, Some(&payload)).unwrap();
    let order: OrderCreated =
        events().decode(&topic, arrival.headers.iter().copied(), arrival.payload).unwrap();
    assert_eq!(order, OrderCreated::one());
    database.dropped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_event_that_breaks_its_schema_leaves_the_transaction_of_postgres_as_it_was() {
    let mut database = Database::new().await;
    let client = &mut database.client;
    let outbox = PostgresOutbox::new().with(events());
    let mut tx = client.transaction().await.unwrap();
    let fault = outbox.enqueue(&mut tx, &OrderCreated::too_large()).await.unwrap_err();
    assert_eq!(fault.to_string(), REFUSAL);
    outbox.enqueue(&mut tx, &OrderCreated::one()).await.unwrap();
    let both = [OrderCreated::one(), OrderCreated::too_large()];
    assert!(outbox.enqueue_many(&mut tx, &both).await.is_err());
    tx.commit().await.unwrap();
    assert_eq!(stored(client).await, [expected()]);
    database.dropped().await;
}

#[tokio::test]
async fn a_typed_event_is_enqueued_in_sqlite_and_one_that_breaks_its_schema_is_not() {
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    connection.execute_batch(&eventferry::sqlite::schema_sql()).unwrap();
    let mut tx = connection.transaction().unwrap();
    SqliteOutbox.enqueue(&mut tx, &OrderCreated::one()).await.unwrap();
    let outbox = SqliteOutbox.with(events());
    assert_eq!(outbox.enqueue(&mut tx, OrderCreated::too_large()).await.unwrap_err().to_string(), REFUSAL);
    // For those who do not wait.
    SqliteOutbox.append(&tx, outbox.event(OrderCreated::one()).unwrap()).unwrap();
    tx.commit().unwrap();
    let query =
        "SELECT topic, aggregate_type, aggregate_id, payload, content_type, headers FROM eventferry_outbox";
    let mut query = connection.prepare(query).unwrap();
    let rows = query.query_map([], |row| {
        let headers: Vec<u8> = row.get(5)?;
        Ok(((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, Vec::new()), headers))
    });
    let rows: Vec<(Stored, Vec<u8>)> = rows.unwrap().map(Result::unwrap).collect();
    let (mut event, own) = (expected(), expected().5);
    event.5.clear();
    let own: Vec<_> = own.into_iter().map(|(name, value)| eventferry::Header { name, value }).collect();
    let headers = packed_headers(&own).unwrap();
    assert_eq!(rows, [(event.clone(), headers.clone()), (event, headers)]);
}
