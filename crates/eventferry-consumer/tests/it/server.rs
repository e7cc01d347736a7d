//! Databases of their own on the servers of the tests.

use std::time::{Duration, Instant};

use eventferry_consumer::PostgresInbox;
use eventferry_core::MessageId;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// The newest PostgreSQL we support, and the oldest.
const SERVERS: [&str; 2] = ["EVENTFERRY_TEST_POSTGRES_URL", "EVENTFERRY_TEST_POSTGRES_14_URL"];

/// What is to come comes by then, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run `eval \"$(cargo xtask services env)\"` first"))
}

/// A database of its own, with an inbox and a table `handled`, dropped when its test ends well.
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) inbox: PostgresInbox,
}

/// Runs a test on every server, one after the other.
pub(crate) async fn on_every_server(test: impl AsyncFn(&Database)) {
    on_every_bare_server(async |database| {
        let mut client = database.client().await;
        database.inbox.prepare(&mut client).await.unwrap();
        client.batch_execute("CREATE TABLE handled (id bigserial, what text)").await.unwrap();
        test(database).await;
    })
    .await;
}

/// The same without inbox and table.
pub(crate) async fn on_every_bare_server(test: impl AsyncFn(&Database)) {
    for server in SERVERS {
        let server = variable(server);
        let name = format!("eventferry_consumer_{}", Uuid::new_v4().simple());
        let admin = connect(&server).await;
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let (base, _) = server.rsplit_once('/').unwrap();
        test(&Database { url: format!("{base}/{name}"), inbox: PostgresInbox::new("billing") }).await;
        admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    }
}

impl Database {
    /// A connection, on which nothing waits for ever.
    pub(crate) async fn client(&self) -> Client {
        let client = connect(&self.url).await;
        client.batch_execute("SET lock_timeout = '60s'; SET statement_timeout = '60s'").await.unwrap();
        client
    }

    /// The same for another role.
    pub(crate) async fn client_as(&self, role: &str, password: &str) -> Client {
        let (_, place) = self.url.split_once('@').unwrap();
        connect(&format!("postgres://{role}:{password}@{place}")).await
    }

    /// What handlers have noted, in order.
    pub(crate) async fn handled(&self) -> Vec<String> {
        let rows = self.client().await.query("SELECT what FROM handled ORDER BY id", &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// How many messages the inbox holds.
    pub(crate) async fn noted(&self) -> i64 {
        let count = "SELECT count(*) FROM eventferry_inbox.message";
        self.client().await.query_one(count, &[]).await.unwrap().get(0)
    }

    /// Waits until so many sessions of the database wait for a lock.
    pub(crate) async fn until_waiting(&self, sessions: i64) {
        let client = self.client().await;
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let until = Instant::now() + PATIENCE;
        loop {
            let found: i64 = client.query_one(waiting, &[]).await.unwrap().get(0);
            if found == sessions {
                return;
            }
            assert!(Instant::now() < until, "{found} of {sessions} sessions wait");
            // waits: between two looks
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A message id that nobody else has.
pub(crate) fn id() -> MessageId {
    MessageId(Uuid::new_v4().into_bytes())
}

/// A handler's error, as an application might have one.
#[derive(Debug)]
pub(crate) enum Trouble {
    Inbox(eventferry_consumer::InboxFault),
    Database(tokio_postgres::Error),
    Own(&'static str),
}

impl From<eventferry_consumer::InboxFault> for Trouble {
    fn from(fault: eventferry_consumer::InboxFault) -> Self {
        Self::Inbox(fault)
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl Trouble {
    #[track_caller]
    pub(crate) fn inbox(self) -> eventferry_consumer::InboxFault {
        match self {
            Self::Inbox(fault) => fault,
            other => panic!("{other:?}"),
        }
    }
}
