//! Each driver, as an application would use it: its own transactions, its own savepoints, its own ways to end them.

use diesel_async::SimpleAsyncConnection as _;
use eventferry::core::EnqueueFault;
use eventferry::postgres::PostgresOutbox;
use eventferry::sqlite::SqliteOutbox;
use eventferry::{Event, Interceptor, IntoEvent, MessageId};

use crate::database::Place;

/// What happens in one transaction.
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    pub(crate) end: Fate,
}

/// What happens in it, one after the other.
pub(crate) enum Step {
    /// These events, in one call.
    Enqueue(Vec<Event>),
    /// These events, in one call whose answer is looked at.
    Try(Vec<Event>),
    /// A value of a type, through an outbox with an interceptor.
    Typed(Placed),
    /// These events, in a savepoint.
    Savepoint(Vec<Event>, Fate),
}

/// How a transaction or a savepoint ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Kept,
    RolledBack,
    Dropped,
}

/// What the calls answered.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) ids: Vec<MessageId>,
    pub(crate) tried: Vec<Result<Vec<MessageId>, EnqueueFault>>,
}

/// A driver of a database.
pub(crate) trait Driver {
    /// On which it works.
    const PLACE: Place;

    /// Plays `script` on the database at `url` through a connection of its own, which is closed then.
    async fn play(&self, url: &str, script: Script) -> Told;
}

/// A value of an application's own.
#[derive(Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) order: u32,
}

impl IntoEvent for &Placed {
    fn into_event(self) -> Result<Event, EnqueueFault> {
        if self.order == 0 {
            return Err(EnqueueFault::refused("there is no order 0"));
        }
        let payload = format!(r#"{{"order": {}}}"#, self.order);
        Ok(Event::new("orders.placed", ("order", self.order)).payload(payload, "application/json"))
    }
}

/// Adds a header to each event.
#[derive(Clone, Copy)]
pub(crate) struct Tenant;

impl Interceptor for Tenant {
    fn intercept(&self, event: &mut Event) -> Result<(), EnqueueFault> {
        *event = event.clone().header("tenant", "acme");
        Ok(())
    }
}

/// Plays a script by a driver that waits and has guards: how to begin a savepoint is all that differs.
macro_rules! play {
    (
        $outbox:expr, $script:expr, $tx:ident, $handle:expr,
        savepoint: $inner:ident, $begin:expr, $inner_handle:expr
    ) => {{
        let mut told = Told::default();
        for step in $script.steps {
            match step {
                Step::Enqueue(events) => match &events[..] {
                    [event] => told.ids.push($outbox.enqueue($handle, event).await.unwrap()),
                    _ => told.ids.extend($outbox.enqueue_many($handle, &events).await.unwrap()),
                },
                Step::Try(events) => told.tried.push($outbox.enqueue_many($handle, &events).await),
                Step::Typed(placed) => {
                    let outbox = Clone::clone(&$outbox).with(Tenant);
                    told.ids.push(outbox.enqueue($handle, &placed).await.unwrap());
                    told.ids.extend(outbox.enqueue_many($handle, [&placed, &placed]).await.unwrap());
                }
                Step::Savepoint(events, fate) => {
                    #[allow(
                        unused_mut,
                        clippy::allow_attributes,
                        reason = "some drivers take it by reference"
                    )]
                    let mut $inner = $begin.await.unwrap();
                    told.ids.extend($outbox.enqueue_many($inner_handle, &events).await.unwrap());
                    match fate {
                        Fate::Kept => $inner.commit().await.unwrap(),
                        Fate::RolledBack => $inner.rollback().await.unwrap(),
                        Fate::Dropped => drop($inner),
                    }
                }
            }
        }
        match $script.end {
            Fate::Kept => $tx.commit().await.unwrap(),
            Fate::RolledBack => $tx.rollback().await.unwrap(),
            Fate::Dropped => drop($tx),
        }
        told
    }};
}

pub(crate) struct TokioPostgres;

impl Driver for TokioPostgres {
    const PLACE: Place = Place::Postgres;

    async fn play(&self, url: &str, script: Script) -> Told {
        let (mut client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let mut tx = client.transaction().await.unwrap();
        let outbox = PostgresOutbox::new();
        play!(outbox, script, tx, &mut tx, savepoint: inner, tx.transaction(), &mut inner)
    }
}

/// With the statement for one event kept prepared.
pub(crate) struct TokioPostgresPrepared;

impl Driver for TokioPostgresPrepared {
    const PLACE: Place = Place::Postgres;

    async fn play(&self, url: &str, script: Script) -> Told {
        let (mut client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let outbox = PostgresOutbox::new().prepare(&client).await.unwrap();
        let mut tx = client.transaction().await.unwrap();
        play!(outbox, script, tx, &mut tx, savepoint: inner, tx.transaction(), &mut inner)
    }
}

pub(crate) struct DeadpoolPostgres;

impl Driver for DeadpoolPostgres {
    const PLACE: Place = Place::Postgres;

    async fn play(&self, url: &str, script: Script) -> Told {
        let manager = deadpool_postgres::Manager::new(url.parse().unwrap(), tokio_postgres::NoTls);
        let pool = deadpool_postgres::Pool::builder(manager).max_size(1).build().unwrap();
        let mut client = pool.get().await.unwrap();
        let mut tx = client.transaction().await.unwrap();
        let outbox = PostgresOutbox::new();
        // It derefs to the transaction of tokio-postgres.
        let told = play!(outbox, script, tx, &mut *tx, savepoint: inner, tx.transaction(), &mut *inner);
        // The pool's next borrower finds no transaction of ours.
        drop(client);
        let next = pool.get().await.unwrap();
        let writes = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL";
        let writes: bool = next.query_one(writes, &[]).await.unwrap().get(0);
        assert!(!writes, "a transaction went back to the pool");
        told
    }
}

pub(crate) struct Sqlx;

impl Driver for Sqlx {
    const PLACE: Place = Place::Postgres;

    async fn play(&self, url: &str, script: Script) -> Told {
        use sqlx::Connection as _;
        let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect(url).await.unwrap();
        let mut tx = pool.begin().await.unwrap();
        let outbox = PostgresOutbox::new();
        let told = play!(outbox, script, tx, &mut tx, savepoint: inner, tx.begin(), &mut inner);
        pool.close().await;
        told
    }
}

pub(crate) struct Sqlx08;

impl Driver for Sqlx08 {
    const PLACE: Place = Place::Postgres;

    async fn play(&self, url: &str, script: Script) -> Told {
        use sqlx_08::Connection as _;
        let pool = sqlx_08::postgres::PgPoolOptions::new().max_connections(1).connect(url).await.unwrap();
        let mut tx = pool.begin().await.unwrap();
        let outbox = PostgresOutbox::new();
        let told = play!(outbox, script, tx, &mut tx, savepoint: inner, tx.begin(), &mut inner);
        pool.close().await;
        told
    }
}

pub(crate) struct SeaOrm;

impl Driver for SeaOrm {
    const PLACE: Place = Place::Postgres;

    async fn play(&self, url: &str, script: Script) -> Told {
        use sea_orm::TransactionTrait as _;
        let mut options = sea_orm::ConnectOptions::new(url);
        options.max_connections(1);
        let database = sea_orm::Database::connect(options).await.unwrap();
        let mut tx = database.begin().await.unwrap();
        let outbox = PostgresOutbox::new();
        let told = play!(outbox, script, tx, &mut tx, savepoint: inner, tx.begin(), &mut &inner);
        database.close().await.unwrap();
        told
    }
}

pub(crate) struct SqlxSqlite;

impl Driver for SqlxSqlite {
    const PLACE: Place = Place::Sqlite;

    async fn play(&self, url: &str, script: Script) -> Told {
        use sqlx::Connection as _;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(url);
        let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect_with(options).await.unwrap();
        let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let outbox = SqliteOutbox;
        let told = play!(outbox, script, tx, &mut tx, savepoint: inner, tx.begin(), &mut inner);
        pool.close().await;
        told
    }
}

pub(crate) struct SeaOrmSqlite;

impl Driver for SeaOrmSqlite {
    const PLACE: Place = Place::Sqlite;

    async fn play(&self, url: &str, script: Script) -> Told {
        use sea_orm::{SqliteTransactionMode, TransactionOptions, TransactionTrait as _};
        let mut options = sea_orm::ConnectOptions::new(format!("sqlite://{url}"));
        options.max_connections(1);
        let database = sea_orm::Database::connect(options).await.unwrap();
        let immediate = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let mut tx = database.begin_with_options(immediate).await.unwrap();
        let outbox = SqliteOutbox;
        let told = play!(outbox, script, tx, &mut tx, savepoint: inner, tx.begin(), &mut &inner);
        database.close().await.unwrap();
        told
    }
}

pub(crate) struct Rusqlite;

impl Driver for Rusqlite {
    const PLACE: Place = Place::Sqlite;

    async fn play(&self, url: &str, script: Script) -> Told {
        let mut connection = rusqlite::Connection::open(url).unwrap();
        let immediate = rusqlite::TransactionBehavior::Immediate;
        let mut tx = connection.transaction_with_behavior(immediate).unwrap();
        let mut told = Told::default();
        for step in script.steps {
            match step {
                Step::Enqueue(events) => match &events[..] {
                    [event] => told.ids.push(SqliteOutbox.append(&tx, event).unwrap()),
                    _ => told.ids.extend(SqliteOutbox.append_many(&tx, &events).unwrap()),
                },
                Step::Try(events) => told.tried.push(SqliteOutbox.append_many(&tx, &events)),
                Step::Typed(placed) => {
                    let outbox = SqliteOutbox.with(Tenant);
                    told.ids.push(outbox.append(&mut tx, &placed).unwrap());
                    told.ids.extend(outbox.append_many(&mut &tx, [&placed, &placed]).unwrap());
                }
                Step::Savepoint(events, fate) => {
                    let mut savepoint = tx.savepoint().unwrap();
                    told.ids.extend(SqliteOutbox.append_many(&savepoint, &events).unwrap());
                    match fate {
                        Fate::Kept => savepoint.commit().unwrap(),
                        Fate::RolledBack => savepoint.rollback().unwrap(),
                        Fate::Dropped => drop(savepoint),
                    }
                }
            }
        }
        match script.end {
            Fate::Kept => tx.commit().unwrap(),
            Fate::RolledBack => tx.rollback().unwrap(),
            Fate::Dropped => drop(tx),
        }
        told
    }
}

/// How a closure of diesel's ends a transaction that is not to be kept.
fn rolled_back<T>(told: Result<T, diesel::result::Error>) -> Option<T> {
    match told {
        Ok(told) => Some(told),
        Err(diesel::result::Error::RollbackTransaction) => None,
        Err(error) => panic!("{error}"),
    }
}

pub(crate) struct Diesel;

impl Driver for Diesel {
    const PLACE: Place = Place::Postgres;

    async fn play(&self, url: &str, script: Script) -> Told {
        let url = url.to_owned();
        tokio::task::spawn_blocking(move || play_diesel(&url, script)).await.unwrap()
    }
}

fn play_diesel(url: &str, script: Script) -> Told {
    use diesel::connection::{AnsiTransactionManager, Connection as _, TransactionManager as _};
    use diesel::result::Error::RollbackTransaction;

    let mut connection = diesel::PgConnection::establish(url).unwrap();
    let outbox = PostgresOutbox::new();
    let mut told = Told::default();
    if script.end == Fate::Dropped {
        // What a closure that never ends leaves: a connection that is dropped in a transaction.
        AnsiTransactionManager::begin_transaction(&mut connection).unwrap();
        play_diesel_steps(&outbox, &mut connection, script.steps, &mut told);
        return told;
    }
    rolled_back(connection.transaction(|connection| {
        play_diesel_steps(&outbox, connection, script.steps, &mut told);
        if script.end == Fate::Kept { Ok(()) } else { Err(RollbackTransaction) }
    }));
    told
}

fn play_diesel_steps(
    outbox: &PostgresOutbox,
    connection: &mut diesel::PgConnection,
    steps: Vec<Step>,
    told: &mut Told,
) {
    use diesel::connection::Connection as _;

    for step in steps {
        match step {
            Step::Enqueue(events) => match &events[..] {
                [event] => told.ids.push(outbox.append(connection, event).unwrap()),
                _ => told.ids.extend(outbox.append_many(connection, &events).unwrap()),
            },
            Step::Try(events) => told.tried.push(outbox.append_many(connection, &events)),
            Step::Typed(placed) => {
                let outbox = outbox.with(Tenant);
                told.ids.push(outbox.append(connection, &placed).unwrap());
                told.ids.extend(outbox.append_many(connection, [&placed, &placed]).unwrap());
            }
            Step::Savepoint(events, fate) => {
                rolled_back(connection.transaction(|connection| {
                    told.ids.extend(outbox.append_many(connection, &events).unwrap());
                    let keep = fate == Fate::Kept;
                    if keep { Ok(()) } else { Err(diesel::result::Error::RollbackTransaction) }
                }));
            }
        }
    }
}

pub(crate) struct DieselAsync;

impl Driver for DieselAsync {
    const PLACE: Place = Place::Postgres;

    async fn play(&self, url: &str, script: Script) -> Told {
        use diesel::result::Error::RollbackTransaction;
        use diesel_async::{AsyncConnection as _, AsyncPgConnection};

        let mut connection = AsyncPgConnection::establish(url).await.unwrap();
        let outbox = PostgresOutbox::new();
        let mut told = Told::default();
        if script.end == Fate::Dropped {
            // What a future that is dropped leaves: a connection in a transaction, which no pool takes back.
            connection.batch_execute("BEGIN").await.unwrap();
            play_diesel_async_steps(&outbox, &mut connection, script.steps, &mut told).await;
            return told;
        }
        let played = connection.transaction(async |connection| {
            play_diesel_async_steps(&outbox, connection, script.steps, &mut told).await;
            if script.end == Fate::Kept { Ok(()) } else { Err(RollbackTransaction) }
        });
        rolled_back(played.await);
        told
    }
}

async fn play_diesel_async_steps(
    outbox: &PostgresOutbox,
    connection: &mut diesel_async::AsyncPgConnection,
    steps: Vec<Step>,
    told: &mut Told,
) {
    use diesel_async::AsyncConnection as _;

    for step in steps {
        match step {
            Step::Enqueue(events) => match &events[..] {
                [event] => told.ids.push(outbox.enqueue(connection, event).await.unwrap()),
                _ => told.ids.extend(outbox.enqueue_many(connection, &events).await.unwrap()),
            },
            Step::Try(events) => told.tried.push(outbox.enqueue_many(connection, &events).await),
            Step::Typed(placed) => {
                let outbox = outbox.with(Tenant);
                told.ids.push(outbox.enqueue(connection, &placed).await.unwrap());
                told.ids.extend(outbox.enqueue_many(connection, [&placed, &placed]).await.unwrap());
            }
            Step::Savepoint(events, fate) => {
                let played = connection.transaction(async |connection| {
                    told.ids.extend(outbox.enqueue_many(connection, &events).await.unwrap());
                    let keep = fate == Fate::Kept;
                    if keep { Ok(()) } else { Err(diesel::result::Error::RollbackTransaction) }
                });
                rolled_back(played.await);
            }
        }
    }
}
