//! Databases of their own on the servers that `cargo xtask services` runs.

use std::collections::BTreeMap;
use std::time::Duration;

use eventferry_core::PackedRow;
use eventferry_core::store::{
    Claim, Feed as _, Lanes as _, Page, Prepare, RelayId, Rest, Roles, Store as _, Wish,
};
use eventferry_core::{Lane, Lease, Row as _};
use eventferry_store_postgres::{PostgresConfig, PostgresMark, PostgresStore};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// The variables that name the servers: the newest PostgreSQL we support, and the oldest.
const SERVERS: [&str; 2] = ["EVENTFERRY_TEST_POSTGRES_URL", "EVENTFERRY_TEST_POSTGRES_14_URL"];

/// A fresh database with the schema in it, dropped when its test ends well.
pub(crate) struct Database {
    pub(crate) url: String,
}

/// Runs a test on every server, one after the other.
pub(crate) async fn on_every_server(test: impl AsyncFn(Database)) {
    for variable in SERVERS {
        let server = std::env::var(variable).unwrap_or_else(|_| {
            panic!("{variable} is not set: run `eval \"$(cargo xtask services env)\"` first")
        });
        let name = format!("eventferry_test_{}", Uuid::new_v4().simple());
        let admin = client(&server).await;
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let (base, _) = server.rsplit_once('/').unwrap();
        let database = Database { url: format!("{base}/{name}") };
        database.store().prepare(Prepare::Apply).await.unwrap();
        test(database).await;
        admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    }
}

pub(crate) async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

impl Database {
    pub(crate) async fn client(&self) -> Client {
        client(&self.url).await
    }

    pub(crate) fn store(&self) -> PostgresStore {
        PostgresStore::new(PostgresConfig::from_url(&self.url).unwrap())
    }

    pub(crate) async fn relay(&self, name: &str) -> Relay {
        let mut store = self.store();
        store.prepare(Prepare::Check).await.unwrap();
        Relay { roles: store.roles(&RelayId(name.into())), leases: Vec::new() }
    }

    /// A relay that holds every lane and has opened them.
    pub(crate) async fn owner(&self) -> Relay {
        let mut relay = self.relay("owner").await;
        relay.take(64).await;
        relay
    }

    /// Rewrites a part of one of our functions: what its mend undone would look like.
    pub(crate) async fn undo(&self, function: &str, mend: &str, undone: &str) {
        let admin = self.client().await;
        let query = "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = $1 \
                     AND pronamespace = 'eventferry'::regnamespace";
        let definition: String = admin.query_one(query, &[&function]).await.unwrap().get(0);
        assert!(definition.contains(mend), "{function} has no `{mend}` any more");
        admin.batch_execute(&definition.replace(mend, undone)).await.unwrap();
    }
}

/// Every lease runs out, by the database's clock.
pub(crate) async fn expire(database: &Database) {
    let past = "UPDATE eventferry.beat SET until = clock_timestamp() - interval '1 ms'";
    database.client().await.execute(past, &[]).await.unwrap();
}

/// The database is on another timeline from now on, as far as anybody can see.
pub(crate) async fn fail_over(database: &Database) {
    let file = "pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn())";
    let look = format!("('x' || pg_catalog.substr({file}, 1, 8))::bit(32)::integer");
    database.undo("current_history", &look, "99").await;
}

/// A relay's roles, driven by hand.
pub(crate) struct Relay {
    pub(crate) roles: Roles<PostgresStore>,
    pub(crate) leases: Vec<Lease>,
}

pub(crate) const LEASE: Duration = Duration::from_secs(600);

impl Relay {
    /// Takes up to `most` lanes more and opens what is new.
    pub(crate) async fn take(&mut self, most: u16) {
        let claim = Claim { keep: self.leases.clone(), take_max: most, lease: LEASE };
        let held = self.roles.lanes.hold(claim).await.unwrap();
        let new: Vec<Lease> =
            held.leases.iter().filter(|lease| !self.leases.contains(lease)).copied().collect();
        self.leases = held.leases;
        self.roles.feed.open(&new).await.unwrap();
    }

    /// Opens its lanes again, from where they were settled.
    pub(crate) async fn open_again(&mut self) {
        self.roles.feed.open(&self.leases).await.unwrap();
    }

    pub(crate) fn lease(&self, lane: Lane) -> Lease {
        *self.leases.iter().find(|lease| lease.lane == lane).unwrap()
    }

    pub(crate) fn lanes(&self) -> Vec<Lane> {
        self.leases.iter().map(|lease| lease.lane).collect()
    }

    pub(crate) async fn read(&mut self) -> Page<PostgresMark, PackedRow> {
        let lanes = self.lanes();
        let wish = Wish { lanes: &lanes, records_max: 1000, bytes_max: 1 << 20 };
        self.roles.feed.read(wish).await.unwrap()
    }

    /// Reads until nothing more comes; the events' payloads as text, in the order of reading.
    pub(crate) async fn read_all(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        let mut empty = 0;
        while empty < 3 {
            let page = self.read().await;
            let is_empty = page.records.is_empty() && page.rest == Rest::Quiet;
            empty = if is_empty { empty + 1 } else { 0 };
            texts.extend(page.records.iter().map(|record| text(&record.row)));
        }
        texts
    }
}

pub(crate) fn text(row: &PackedRow) -> String {
    String::from_utf8(row.payload().unwrap_or_default().to_vec()).unwrap()
}

/// The texts of each aggregate, when a text is `AGGREGATE/REST`.
pub(crate) fn by_aggregate(texts: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut aggregates: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for text in texts {
        let (aggregate, rest) = text.split_once('/').unwrap();
        aggregates.entry(aggregate.into()).or_default().push(rest.into());
    }
    aggregates
}

/// Enqueues an event whose payload is `AGGREGATE/REST`, through SQL.
pub(crate) async fn enqueue(client: &impl tokio_postgres::GenericClient, aggregate: &str, rest: &str) {
    let text = format!("{aggregate}/{rest}");
    client
        .execute("SELECT eventferry.enqueue('t', 'test', $1, $2::text)", &[&aggregate, &text])
        .await
        .unwrap();
}
