//! Databases with an outbox of their own, and what lies in it.

use std::time::{Duration, Instant};

use eventferry::core::packed::packed_headers;
use eventferry::core::store::{Prepare, Store as _};
use eventferry::postgres::{FeedChoice, PostgresConfig, PostgresStore};
use eventferry::sqlite::{SqliteConfig, SqliteStore};
use eventferry::{Event, MessageId};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// Where a driver works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Postgres,
    Sqlite,
}

/// The servers: the newest PostgreSQL that we support, and the oldest.
const SERVERS: [&str; 2] = ["EVENTFERRY_TEST_POSTGRES_URL", "EVENTFERRY_TEST_POSTGRES_14_URL"];

const PATIENCE: Duration = Duration::from_secs(60);

/// A database with an outbox.
pub(crate) enum Database {
    Postgres { url: String, name: String, server: String },
    Sqlite { folder: TempDir },
}

/// Runs a test on a database of its own, of every kind that there is at this place.
pub(crate) async fn on_each(place: Place, test: impl AsyncFn(&Database)) {
    match place {
        Place::Postgres => {
            for server in SERVERS {
                let database = Database::postgres(server, FeedChoice::Table).await;
                test(&database).await;
                database.remove().await;
            }
        }
        Place::Sqlite => {
            let folder = tempfile::tempdir().unwrap();
            let database = Database::Sqlite { folder };
            let config = SqliteConfig::from_url(&format!("sqlite://{}", database.url())).unwrap();
            SqliteStore::new(config).prepare(Prepare::Apply).await.unwrap();
            test(&database).await;
        }
    }
}

impl Database {
    /// One on the newest PostgreSQL.
    pub(crate) async fn newest_postgres(feed: FeedChoice) -> Self {
        Self::postgres(SERVERS[0], feed).await
    }

    async fn postgres(variable: &str, feed: FeedChoice) -> Self {
        let server = std::env::var(variable).unwrap_or_else(|_| {
            panic!("{variable} is not set: run `eval \"$(cargo xtask services env)\"` first")
        });
        let name = format!("eventferry_drivers_{}", Uuid::new_v4().simple());
        connect(&server).await.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let (base, _) = server.rsplit_once('/').unwrap();
        let url = format!("{base}/{name}");
        let config = PostgresConfig::from_url(&url).unwrap().feed(feed);
        PostgresStore::new(config).prepare(Prepare::Apply).await.unwrap();
        Self::Postgres { url, name, server }
    }

    /// What a driver opens.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Postgres { url, .. } => url.clone(),
            Self::Sqlite { folder } => folder.path().join("shop.db").to_str().unwrap().to_owned(),
        }
    }

    /// The database refuses events for the topic `forbidden` from now on.
    pub(crate) async fn forbid(&self) {
        match self {
            Self::Postgres { url, .. } => {
                let rule = "ALTER TABLE eventferry.outbox ADD CONSTRAINT a_rule CHECK (topic <> 'forbidden')";
                connect(url).await.batch_execute(rule).await.unwrap();
            }
            Self::Sqlite { .. } => {
                let rule =
                    "CREATE TRIGGER a_rule BEFORE INSERT ON eventferry_outbox WHEN new.topic = 'forbidden'
                            BEGIN SELECT RAISE(ABORT, 'a_rule'); END";
                rusqlite::Connection::open(self.url()).unwrap().execute_batch(rule).unwrap();
            }
        }
    }

    /// SQLite ends the whole transaction in which an event for this topic is enqueued, as it does when a disk is full.
    pub(crate) async fn end_at(&self, topic: &str) {
        let rule = format!(
            "CREATE TRIGGER an_end BEFORE INSERT ON eventferry_outbox WHEN new.topic = '{topic}'
                BEGIN SELECT RAISE(ROLLBACK, 'an_end'); END"
        );
        rusqlite::Connection::open(self.url()).unwrap().execute_batch(&rule).unwrap();
    }

    /// The committed events, in the order of their ids, once nobody else is connected: what an open transaction holds
    /// would else not be seen, and could still come.
    pub(crate) async fn events(&self) -> Vec<Event> {
        match self {
            Self::Postgres { url, .. } => {
                let client = connect(url).await;
                alone(&client).await;
                postgres_events(&client).await
            }
            Self::Sqlite { .. } => sqlite_events(&rusqlite::Connection::open(self.url()).unwrap()),
        }
    }

    /// Gives it back.
    pub(crate) async fn remove(self) {
        if let Self::Postgres { name, server, .. } = self {
            let drop = format!("DROP DATABASE {name} WITH (FORCE)");
            connect(&server).await.batch_execute(&drop).await.unwrap();
        }
    }
}

pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Waits until all other sessions of this database have ended.
async fn alone(client: &Client) {
    let others = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    let started = Instant::now();
    while client.query_one(others, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(started.elapsed() < PATIENCE, "a connection stays open");
        // waits: between two looks
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn postgres_events(client: &Client) -> Vec<Event> {
    let query = "SELECT message_id, topic, aggregate_type, aggregate_id, key, payload, content_type, headers, partition
                 FROM eventferry.outbox ORDER BY id";
    let rows = client.query(query, &[]).await.unwrap();
    let event = |row: &tokio_postgres::Row| {
        let (kind, id): (String, String) = (row.get(2), row.get(3));
        let mut event = Event::new(row.get::<_, String>(1), (kind, id));
        event.message_id = Some(MessageId(row.get::<_, Uuid>(0).into_bytes()));
        (event.key, event.payload, event.content_type) = (row.get(4), row.get(5), row.get(6));
        event.partition = row.get(8);
        for pair in row.get::<_, Option<Vec<Vec<u8>>>>(7).unwrap_or_default().chunks(2) {
            event = event.header(String::from_utf8(pair[0].clone()).unwrap(), pair[1].clone());
        }
        event
    };
    rows.iter().map(event).collect()
}

/// Headers come back as one in its packed form, which is the store's own affair.
fn sqlite_events(connection: &rusqlite::Connection) -> Vec<Event> {
    let query = "SELECT message_id, topic, aggregate_type, aggregate_id, key, payload, content_type, headers, partition
                 FROM eventferry_outbox ORDER BY id";
    let mut statement = connection.prepare(query).unwrap();
    let rows = statement.query_map([], |row| {
        let (kind, id): (String, String) = (row.get(2)?, row.get(3)?);
        let mut event = Event::new(row.get::<_, String>(1)?, (kind, id));
        event.message_id = Some(MessageId(row.get(0)?));
        (event.key, event.payload, event.content_type) = (row.get(4)?, row.get(5)?, row.get(6)?);
        event.partition = row.get(8)?;
        Ok(match row.get::<_, Option<Vec<u8>>>(7)? {
            Some(packed) => event.header("packed", packed),
            None => event,
        })
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// An event as it is expected back at this place.
pub(crate) fn as_stored(place: Place, event: &Event, id: MessageId) -> Event {
    let mut event = event.clone().message_id(id);
    if let (Place::Sqlite, Some(packed)) = (place, packed_headers(&event.headers)) {
        event.headers.clear();
        event = event.header("packed", packed);
    }
    event
}
