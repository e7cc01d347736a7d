//! The doorbell: who rings, who sleeps, and what neither may do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eventferry_core::store::{
    Capabilities, Doorbell as _, Feed as _, Lanes as _, Prepare, RelayId, Rest, Store as _, Wish,
};
use eventferry_core::{Lane, StoreFaultKind};
use eventferry_store_postgres::{PostgresConfig, PostgresDoorbell, PostgresStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::server::{Database, LEASE, PATIENCE, client, enqueue, on_every_server, query, until};

/// How many sleep under the lock, as far as the server knows.
const SLEEPERS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'
    AND granted AND (classid, objid) = (1685024626, 1650814060)
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// How many sessions asked last whether they may lie down.
const LISTEN: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND query LIKE '%eventferry.lie_down%' AND pid <> pg_backend_pid()";

impl Database {
    /// With the bell hung: the servers of the tests let transactions be prepared.
    async fn with_bell(&self) -> Client {
        let config = PostgresConfig::from_url(&self.url).unwrap().doorbell(true);
        let mut store = PostgresStore::new(config);
        store.prepare(Prepare::Apply).await.unwrap();
        assert!(store.capabilities().doorbell);
        self.client().await
    }

    /// A relay that has read everything, and its bell.
    async fn at_rest(&self, name: &str, config: PostgresConfig) -> PostgresDoorbell {
        let mut store = PostgresStore::new(config);
        store.prepare(Prepare::Check).await.unwrap();
        let mut roles = store.roles(&RelayId(name.into()));
        let claim = eventferry_core::store::Claim { keep: vec![], take_max: 64, lease: LEASE, whole: false };
        let leases = roles.lanes.hold(claim).await.unwrap().leases;
        let lanes: Vec<Lane> = if leases.is_empty() { vec![] } else { (0..64).map(Lane).collect() };
        assert!(!lanes.is_empty(), "{name} got no lanes");
        roles.feed.open(&leases).await.unwrap();
        loop {
            let page = roles.feed.read(Wish { lanes: &lanes, records_max: 100, bytes_max: 1000 }).await;
            if page.unwrap().rest == Rest::Still {
                return roles.doorbell;
            }
        }
    }

    fn config(&self) -> PostgresConfig {
        PostgresConfig::from_url(&self.url).unwrap()
    }
}

/// Sleeps, on a task of its own.
fn asleep(mut bell: PostgresDoorbell) -> JoinHandle<PostgresDoorbell> {
    tokio::spawn(async move {
        bell.wait().await;
        bell
    })
}

async fn rings(sleeper: JoinHandle<PostgresDoorbell>) -> PostgresDoorbell {
    tokio::time::timeout(PATIENCE, sleeper).await.expect("the bell did not ring").unwrap()
}

/// Whether nothing rings for long enough to say so.
async fn sleeps_on(sleeper: &mut JoinHandle<PostgresDoorbell>) -> bool {
    tokio::time::timeout(Duration::from_millis(700), sleeper).await.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_wakes_a_sleeper_and_a_rollback_nobody() {
    on_every_server(async |database| {
        let app = database.with_bell().await;
        let mut sleeper = asleep(database.at_rest("a", database.config()).await);
        until(&app, SLEEPERS, 1).await;
        app.batch_execute("BEGIN").await.unwrap();
        enqueue(&app, "a", "1").await;
        app.batch_execute("ROLLBACK; BEGIN; SAVEPOINT s").await.unwrap();
        enqueue(&app, "a", "2").await;
        app.batch_execute("ROLLBACK TO s; COMMIT").await.unwrap();
        assert!(sleeps_on(&mut sleeper).await, "nothing was committed");
        app.batch_execute("BEGIN; SAVEPOINT s").await.unwrap();
        enqueue(&app, "a", "3").await;
        app.batch_execute("ROLLBACK TO s").await.unwrap();
        enqueue(&app, "a", "4").await;
        app.batch_execute("COMMIT").await.unwrap();
        rings(sleeper).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_stays_in_bed_while_it_is_rung_until_it_gets_up() {
    on_every_server(async |database| {
        let app = database.with_bell().await;
        let sleeper = asleep(database.at_rest("a", database.config()).await);
        until(&app, SLEEPERS, 1).await;
        enqueue(&app, "a", "1").await;
        let bell = rings(sleeper).await;
        assert_eq!(query::<i64>(&app, SLEEPERS).await, 1, "it need not ask for the lock again");
        for number in 2..=4 {
            enqueue(&app, "a", &number.to_string()).await;
        }
        let counted = tokio::spawn(async move {
            let (mut bell, mut rings) = (bell, 0);
            while rings < 3 {
                rings += bell.wait().await;
            }
            (bell, rings)
        });
        let (bell, rung) = tokio::time::timeout(PATIENCE, counted).await.expect("no ring is lost").unwrap();
        assert_eq!(rung, 3);
        let mut sleeper = asleep(bell);
        assert!(sleeps_on(&mut sleeper).await, "each has rung once");
        sleeper.abort();
        assert!(sleeper.await.unwrap_err().is_cancelled());
        until(&app, SLEEPERS, 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gets_up_tells_who_lies_beside_and_nobody_rings_for_it() {
    on_every_server(async |database| {
        let app = database.with_bell().await;
        let mut first = database.at_rest("a", database.config()).await;
        // Long enough that it has been told that it lies.
        let told = async {
            until(&app, SLEEPERS, 1).await;
            // waits: for the answer of what has taken the lock
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        tokio::select! {
            rings = first.wait() => panic!("it rang {rings} times for nothing"),
            () = told => {}
        }
        app.batch_execute("UPDATE eventferry.lane SET owner = NULL").await.unwrap();
        let mut beside = asleep(database.at_rest("b", database.config()).await);
        until(&app, LISTEN, 2).await;
        assert!(sleeps_on(&mut beside).await);
        first.get_up().await;
        // Sooner than it would look by itself.
        let taken = tokio::time::timeout(Duration::from_secs(3), until(&app, SLEEPERS, 1)).await;
        taken.expect("who lay beside has the lock now");
        enqueue(&app, "a", "1").await;
        let mut beside = rings(beside).await;
        beside.get_up().await;
        assert_eq!(query::<i64>(&app, SLEEPERS).await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_look_after_the_grant_a_ring_would_be_missed() {
    on_every_server(async |database| {
        let app = database.with_bell().await;
        let bell = database.at_rest("a", database.config()).await;
        enqueue(&app, "a", "nobody slept, so nobody rang").await;
        let bell = rings(asleep(bell)).await;
        until(&app, SLEEPERS, 0).await;
        let mend = "IF (SELECT g.stirred FROM eventferry.glance(prev) AS g)";
        database.undo("lie_down", mend, "IF false").await;
        let mut sleeper = asleep(bell);
        assert!(sleeps_on(&mut sleeper).await, "the look is what finds it");
        sleeper.abort();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_would_not_ring_keeps_everybody_awake_until_it_ends() {
    on_every_server(async |database| {
        let app = database.with_bell().await;
        let writer = database.client().await;
        writer.batch_execute("BEGIN").await.unwrap();
        enqueue(&writer, "a", "before anybody slept").await;
        let mut sleeper = asleep(database.at_rest("a", database.config()).await);
        assert!(sleeps_on(&mut sleeper).await);
        until(&app, SLEEPERS, 0).await;
        writer.batch_execute("COMMIT").await.unwrap();
        rings(sleeper).await;
    })
    .await;
}

/// Sessions that wait for a lock, or hold a snapshot while they do nothing.
const BURDENS: &str = "SELECT (SELECT count(*) FROM pg_locks WHERE NOT granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
    + (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
       AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL))";

#[tokio::test(flavor = "multi_thread")]
async fn who_sleeps_beside_another_waits_for_no_lock_and_pins_no_snapshot() {
    on_every_server(async |database| {
        let app = database.with_bell().await;
        // A relay of another process.
        let first = database.client().await;
        first.batch_execute("SELECT pg_advisory_lock(7237125663275445356)").await.unwrap();
        let mut second = asleep(database.at_rest("b", database.config()).await);
        until(&app, LISTEN, 1).await;
        until(&app, BURDENS, 0).await;
        assert!(sleeps_on(&mut second).await);
        assert_eq!((query::<i64>(&app, SLEEPERS).await, query::<i64>(&app, BURDENS).await), (1, 0));
        // The one under the lock is killed without a word: the other takes its place.
        let others =
            format!("{SLEEPERS} AND pid <> {}", query::<i32>(&first, "SELECT pg_backend_pid()").await);
        drop(first);
        until(&app, &others, 1).await;
        enqueue(&app, "a", "1").await;
        rings(second).await;
        // What waiting instead of trying would do.
        let holder = database.client().await;
        holder.batch_execute("SELECT pg_advisory_lock(7237125663275445356)").await.unwrap();
        let tries = "pg_try_advisory_lock(7237125663275445356)";
        database.undo("lie_down", tries, "pg_advisory_lock(7237125663275445356) IS NOT NULL").await;
        app.batch_execute("UPDATE eventferry.lane SET owner = NULL").await.unwrap();
        let third = asleep(database.at_rest("c", database.config()).await);
        until(&app, BURDENS, 2).await;
        third.abort();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_transactions_are_prepared_no_bell_hangs_unasked() {
    on_every_server(async |database| {
        let app = database.client().await;
        let mut store = database.store();
        store.prepare(Prepare::Check).await.unwrap();
        let Capabilities { doorbell, .. } = store.capabilities();
        assert!(query::<i64>(&app, "SELECT current_setting('max_prepared_transactions')::bigint").await > 0);
        assert!(!doorbell, "the server lets transactions be prepared");
        let prepare = async |app: &Client, name: &str| {
            app.batch_execute("BEGIN").await.unwrap();
            enqueue(app, "a", name).await;
            app.batch_execute(&format!("PREPARE TRANSACTION '{name}'")).await
        };
        let name = format!("prepared_{}", uuid::Uuid::new_v4().simple());
        prepare(&app, &name).await.unwrap();
        app.batch_execute(&format!("COMMIT PREPARED '{name}'")).await.unwrap();
        // With a bell it fails, but only while somebody sleeps.
        database.with_bell().await;
        let sleeper = asleep(database.at_rest("a", database.config()).await);
        until(&app, SLEEPERS, 1).await;
        let refused = prepare(&app, &name).await.unwrap_err();
        assert!(refused.as_db_error().unwrap().message().contains("NOTIFY"), "{refused:?}");
        // A prepared transaction that would not ring keeps relays awake.
        sleeper.abort();
        until(&app, SLEEPERS, 0).await;
        prepare(&app, &name).await.unwrap();
        app.batch_execute("UPDATE eventferry.lane SET owner = NULL").await.unwrap();
        let mut sleeper = asleep(database.at_rest("b", database.config()).await);
        assert!(sleeps_on(&mut sleeper).await);
        app.batch_execute(&format!("COMMIT PREPARED '{name}'")).await.unwrap();
        rings(sleeper).await;
        let config = database.config().doorbell(false);
        PostgresStore::new(config).prepare(Prepare::Apply).await.unwrap();
        let hangs = "SELECT count(*) FROM pg_trigger WHERE tgname = 'doorbell'";
        assert_eq!(query::<i64>(&app, hangs).await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_session_is_made_anew_and_hears() {
    on_every_server(async |database| {
        let app = database.with_bell().await;
        let sleeper = asleep(database.at_rest("a", database.config()).await);
        until(&app, SLEEPERS, 1).await;
        let pid: i32 = query(
            &app,
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .await;
        app.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
        let anew = format!("{SLEEPERS} AND pid <> {pid}");
        until(&app, &anew, 1).await;
        enqueue(&app, "a", "1").await;
        rings(sleeper).await;
    })
    .await;
}

/// A way to the server on which no notification comes through, as on a pooler in transaction mode; how many did not.
async fn swallowing(database: &Database) -> (String, Arc<AtomicUsize>) {
    let (credentials, place) = database.url.rsplit_once('@').unwrap();
    let (server, rest) = place.split_once('/').unwrap();
    let (server, listener) = (server.to_owned(), TcpListener::bind(("127.0.0.1", 0)).await.unwrap());
    let url = format!("{credentials}@{}/{rest}?sslmode=disable", listener.local_addr().unwrap());
    let swallowed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&swallowed);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(&server).await.unwrap();
            let ((mut asks, mut hears), (mut answers, mut asked)) = (near.into_split(), far.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut asks, &mut asked).await });
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut head = [0; 5];
                while answers.read_exact(&mut head).await.is_ok() {
                    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
                    let mut body = vec![0; length];
                    answers.read_exact(&mut body).await.unwrap();
                    if head[0] == b'A' {
                        counted.fetch_add(1, Ordering::SeqCst);
                    } else if hears.write_all(&[&head[..], &body].concat()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, swallowed)
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_pooler_nobody_lies_down_and_a_direct_url_is_listened_at() {
    on_every_server(async |database| {
        let app = database.with_bell().await;
        let (pooled, swallowed) = swallowing(&database).await;
        let pooled = PostgresConfig::from_url(&pooled).unwrap();
        let mut deaf = asleep(database.at_rest("a", pooled.clone()).await);
        let started = std::time::Instant::now();
        while swallowed.load(Ordering::SeqCst) == 0 {
            assert!(started.elapsed() < PATIENCE, "it rings to see whether it hears");
            // waits: between two looks
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        enqueue(&app, "a", "1").await;
        assert!(sleeps_on(&mut deaf).await);
        assert_eq!(query::<i64>(&app, SLEEPERS).await, 0, "no lock may be left on somebody else's session");
        deaf.abort();
        app.batch_execute("UPDATE eventferry.lane SET owner = NULL").await.unwrap();
        let direct = pooled.listen_url(&database.url).unwrap();
        let hears = asleep(database.at_rest("b", direct).await);
        until(&app, SLEEPERS, 1).await;
        enqueue(&app, "a", "2").await;
        rings(hears).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applications_role_rings() {
    on_every_server(async |database| {
        let admin = database.with_bell().await;
        let (name, url) = crate::roles::role(&database, "grant_application").await;
        let (relay, relays_url) = crate::roles::role(&database, "grant_relay").await;
        let config = PostgresConfig::from_url(&relays_url).unwrap();
        let sleeper = asleep(database.at_rest("a", config).await);
        until(&admin, SLEEPERS, 1).await;
        let app = client(&url).await;
        enqueue(&app, "a", "1").await;
        rings(sleeper).await;
        drop(app);
        until(&admin, "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'eventferry_test_%'", 0)
            .await;
        for name in [name, relay] {
            crate::roles::drop_role(&database, &name).await;
        }
    })
    .await;
}

#[test]
fn a_url_to_listen_at_is_refused_without_being_repeated() {
    let config = PostgresConfig::from_url("postgres://u@h/d").unwrap();
    let fault = config.listen_url("postgres://u:sesame@/d").unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured);
    assert!(fault.message().starts_with("the URL to listen at"), "{fault}");
    assert!(!fault.to_string().contains("sesame"), "{fault}");
}
