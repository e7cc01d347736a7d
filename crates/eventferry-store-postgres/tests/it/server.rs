//! Databases of their own on the servers that `cargo xtask services` runs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use eventferry_core::PackedRow;
use eventferry_core::parked::{
    Cause, Change, DueAsk, DueEvent, DuePage, Next, Park, ParkReason, ParkedAsk, ParkedKey,
};
use eventferry_core::store::{
    Claim, Feed as _, Lanes as _, Ledger as _, Page, Prepare, RelayId, Roles, Settlement, Store as _,
    Verdict, Wish,
};
use eventferry_core::{Lane, Lease, Record, Row as _, StoreFault};
use eventferry_store_postgres::{FeedChoice, PostgresConfig, PostgresMark, PostgresStore};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// The variables that name the servers: the newest PostgreSQL we support, and the oldest.
const SERVERS: [&str; 2] = ["EVENTFERRY_TEST_POSTGRES_URL", "EVENTFERRY_TEST_POSTGRES_14_URL"];

/// What is to come comes by then.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A fresh database with the schema in it, dropped when its test ends well.
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) feed: FeedChoice,
}

/// Runs a test on every server, one after the other.
pub(crate) async fn on_every_server(test: impl AsyncFn(Database)) {
    on_every_server_by(FeedChoice::Table, test).await;
}

/// The same, for relays that read by this feed.
pub(crate) async fn on_every_server_by(feed: FeedChoice, test: impl AsyncFn(Database)) {
    for variable in SERVERS {
        let server = std::env::var(variable).unwrap_or_else(|_| {
            panic!("{variable} is not set: run `eval \"$(cargo xtask services env)\"` first")
        });
        let name = format!("eventferry_test_{}", Uuid::new_v4().simple());
        let admin = client(&server).await;
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let (base, _) = server.rsplit_once('/').unwrap();
        let database = Database { url: format!("{base}/{name}"), feed };
        database.store().prepare(Prepare::Apply).await.unwrap();
        test(database).await;
        let drop = format!("DROP DATABASE {name} WITH (FORCE)");
        let started = Instant::now();
        loop {
            drop_slots(&admin, &name).await;
            match admin.batch_execute(&drop).await {
                Ok(()) => break,
                // A slot was still being made.
                Err(error) => {
                    let in_use = error.code() == Some(&SqlState::OBJECT_IN_USE);
                    assert!(in_use && started.elapsed() < CLEARED_WITHIN, "{error:?}");
                }
            }
        }
    }
}

/// How long what reads from a slot, or makes one, may take to end on a busy machine.
const CLEARED_WITHIN: Duration = Duration::from_secs(60);

/// A database with a slot cannot be dropped, nor a slot that is read from.
async fn drop_slots(admin: &Client, database: &str) {
    let drop = format!(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = '{database}' AND active;
         SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{database}'"
    );
    let started = Instant::now();
    while let Err(error) = admin.batch_execute(&drop).await {
        assert!(started.elapsed() < CLEARED_WITHIN, "{error:?}");
        // waits: for the process that reads from it to end
        tokio::time::sleep(Duration::from_millis(20)).await;
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
        let config = PostgresConfig::from_url(&self.url).unwrap();
        PostgresStore::new(config.feed(self.feed).tail_wait(Duration::from_millis(20)))
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

/// Makes an outbox with its slot, and asks for all that a relay of the log's tail needs at its start.
pub(crate) async fn start_a_tail(config: PostgresConfig) {
    let config = config.feed(FeedChoice::TailTable);
    PostgresStore::new(config.clone()).prepare(Prepare::Apply).await.unwrap();
    PostgresStore::new(config).prepare(Prepare::Check).await.unwrap();
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
        let claim = Claim { keep: self.leases.clone(), take_max: most, lease: LEASE, whole: false };
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

    /// Settles up to the last of these records, and parks them all.
    pub(crate) async fn park(&mut self, records: &[Read], reasons: &[ParkReason<'_>]) {
        let prefix = [records.last().unwrap().mark.clone()];
        let park = records.iter().zip(reasons);
        let park =
            park.map(|(record, reason)| Park { mark: &record.mark, row: &record.row, reason: *reason });
        let lease = self.lease(records[0].lane);
        let settlement =
            Settlement { lease, prefix: &prefix, park: park.collect(), changes: vec![], carries: None };
        assert_eq!(self.roles.ledger.settle(&[settlement]).await.unwrap(), [Verdict::Done]);
    }

    pub(crate) async fn settle(&mut self, settlement: Settlement<'_, PostgresMark, PackedRow>) -> Verdict {
        self.roles.ledger.settle(&[settlement]).await.unwrap()[0]
    }

    /// How many relays share the lanes, as this one is told.
    pub(crate) async fn relays_live(&mut self) -> u32 {
        let claim = Claim { keep: self.leases.clone(), take_max: 0, lease: LEASE, whole: false };
        self.roles.lanes.hold(claim).await.unwrap().relays_live
    }

    /// Says what became of parked events of a lane, and nothing else.
    pub(crate) async fn try_tell(
        &mut self,
        changes: &[(ParkedKey, Change<'_>)],
    ) -> Result<Verdict, StoreFault> {
        let lease = self.lease(changes[0].0.lane);
        let settlement =
            Settlement { lease, prefix: &[], park: vec![], changes: changes.to_vec(), carries: None };
        Ok(self.roles.ledger.settle(&[settlement]).await?[0])
    }

    pub(crate) async fn tell(&mut self, changes: &[(ParkedKey, Change<'_>)]) {
        assert_eq!(self.try_tell(changes).await.unwrap(), Verdict::Done);
    }

    /// All that is due, and what people decided.
    pub(crate) async fn due(&mut self) -> DuePage<PackedRow> {
        self.due_but(&[]).await
    }

    pub(crate) async fn due_but(&mut self, except_topics: &[&str]) -> DuePage<PackedRow> {
        let lanes = self.lanes();
        let ask = DueAsk { lanes: &lanes, except_topics, after: None, records_max: 1000, bytes_max: 1 << 20 };
        self.roles.ledger.due(ask).await.unwrap()
    }

    /// The keys of unsettled parked events.
    pub(crate) async fn keys(&mut self) -> Vec<ParkedKey> {
        let lanes = self.lanes();
        let page =
            self.roles.ledger.parked(ParkedAsk { lanes: &lanes, after: None, limit: 1000 }).await.unwrap();
        assert!(!page.more);
        page.events.iter().map(|event| event.key).collect()
    }

    pub(crate) fn lanes(&self) -> Vec<Lane> {
        self.leases.iter().map(|lease| lease.lane).collect()
    }

    pub(crate) async fn read(&mut self) -> Page<PostgresMark, PackedRow> {
        self.try_read().await.unwrap()
    }

    pub(crate) async fn try_read(&mut self) -> Result<Page<PostgresMark, PackedRow>, StoreFault> {
        let lanes = self.lanes();
        self.roles.feed.read(Wish { lanes: &lanes, records_max: 1000, bytes_max: 1 << 20 }).await
    }

    /// Reads until nothing more comes; the events' payloads as text, in the order of reading.
    pub(crate) async fn read_all(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        let mut empty = 0;
        while empty < 3 {
            let page = self.read().await;
            let is_empty = page.records.is_empty() && page.rest.is_quiet();
            empty = if is_empty { empty + 1 } else { 0 };
            texts.extend(page.records.iter().map(|record| text(&record.row)));
        }
        texts
    }
}

pub(crate) type Read = Record<PostgresMark, PackedRow>;

pub(crate) const TOO_LARGE: Cause<'static> =
    Cause { class: "MessageSizeTooLarge", message: "1 MB are too many" };

/// Refused for the first time, and due again at once.
pub(crate) const REFUSED: ParkReason<'static> =
    ParkReason::Refused { cause: TOO_LARGE, next: Next::Retry(Duration::ZERO) };

/// Events 1, 2, ... of one aggregate, read by a relay that owns every lane.
pub(crate) async fn read_by_owner(database: &Database, events: u32) -> (Relay, Vec<Read>) {
    let app = database.client().await;
    for number in 1..=events {
        enqueue(&app, "a", &number.to_string()).await;
    }
    let mut relay = database.owner().await;
    let records = relay.read().await.records;
    assert_eq!(records.len(), events as usize);
    (relay, records)
}

pub(crate) fn texts(events: &[DueEvent<PackedRow>]) -> Vec<String> {
    events.iter().map(|event| text(&event.row)).collect()
}

pub(crate) async fn query<T: FromSqlOwned>(client: &Client, sql: &str) -> T {
    client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// Waits until a query's answer is this.
pub(crate) async fn until(app: &Client, sql: &str, wanted: i64) {
    let started = Instant::now();
    loop {
        let is = query::<i64>(app, sql).await;
        if is == wanted {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{sql}: {is}, not {wanted}");
        // waits: between two looks
        tokio::time::sleep(Duration::from_millis(10)).await;
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
