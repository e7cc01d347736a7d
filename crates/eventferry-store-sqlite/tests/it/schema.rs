//! Preparing: what is missing, older, newer or set wrongly is said with what to do.

use eventferry_core::StoreFaultKind;
use eventferry_core::parked::{ParkedFilter, Stage};
use eventferry_core::store::Upkeep;
use eventferry_core::store::{Prepare, Prepared, Store};
use eventferry_core::{Lane, Row};
use eventferry_store_sqlite::{SqliteConfig, SqliteStore};
use rusqlite::Connection;

use crate::database::{Database, due, hold, lanes_of, payload, payloads_due, read_all, show};

async fn refusal(config: SqliteConfig, prepare: Prepare) -> String {
    let fault = SqliteStore::new(config).prepare(prepare).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured, "{fault}");
    fault.to_string()
}

#[tokio::test]
async fn applying_twice_creates_once() {
    let database = Database::empty();
    let mut store = SqliteStore::new(database.config());
    let created = store.prepare(Prepare::Apply).await.unwrap();
    assert_eq!((created.version, created.upgraded_from, created.lanes), (3, Some(0), 64));
    let found = Prepared { upgraded_from: None, ..created };
    assert_eq!(store.prepare(Prepare::Apply).await.unwrap(), found);
    assert_eq!(store.prepare(Prepare::Check).await.unwrap(), found);
    let mode: String = database.app().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn several_who_apply_at_once_create_once() {
    let database = Database::empty();
    let appliers: Vec<_> = (0..4)
        .map(|_| {
            let config = database.config();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(SqliteStore::new(config).prepare(Prepare::Apply)).unwrap()
            })
        })
        .collect();
    let prepared: Vec<_> = appliers.into_iter().map(|applier| applier.join().unwrap()).collect();
    assert_eq!(prepared.iter().filter(|prepared| prepared.upgraded_from == Some(0)).count(), 1);
    assert_eq!(database.count("eventferry_lane"), 64);
}

#[tokio::test]
async fn the_number_of_lanes_is_given_once() {
    let database = Database::with_lanes(100).await;
    let prepared = SqliteStore::new(database.config()).prepare(Prepare::Check).await.unwrap();
    assert_eq!(prepared.lanes, 100);
    let other = refusal(database.config().lanes(64).unwrap(), Prepare::Apply).await;
    assert!(other.contains("has 100 lanes") && other.contains("says 64"), "{other}");

    database.app().execute("DELETE FROM eventferry_lane WHERE lane = 7", []).unwrap();
    let hole = refusal(database.config(), Prepare::Check).await;
    assert!(hole.contains("lane 7 is missing"), "{hole}");
}

#[tokio::test]
async fn a_missing_file_folder_or_schema_is_said() {
    let database = Database::empty();
    let said = refusal(database.config(), Prepare::Check).await;
    assert!(said.contains("there is no database") && said.contains("eventferry init"), "{said}");
    assert!(!database.path.exists(), "looking must not create it");

    let elsewhere = SqliteConfig::at(database.folder().join("no/app.db")).unwrap();
    let said = refusal(elsewhere, Prepare::Apply).await;
    assert!(said.contains("there is no folder"), "{said}");

    database.app().execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY)").unwrap();
    let said = refusal(database.config(), Prepare::Check).await;
    assert!(said.contains("no eventferry tables") && said.contains("eventferry init"), "{said}");
}

#[tokio::test]
async fn an_older_or_newer_schema_is_refused() {
    let database = Database::with_lanes(4).await;
    database.app().execute("INSERT INTO eventferry_migration (version) VALUES (4)", []).unwrap();
    for prepare in [Prepare::Check, Prepare::Apply] {
        let said = refusal(database.config(), prepare).await;
        assert!(said.contains("version 4") && said.contains("newer program"), "{said}");
    }
    database.app().execute("DELETE FROM eventferry_migration", []).unwrap();
    let said = refusal(database.config(), Prepare::Check).await;
    assert!(said.contains("eventferry init"), "{said}");
}

/// A file as version 1 made and filled it: lane 0 settled up to 4 with three events parked, one event to come.
fn of_version_1() -> Database {
    let database = Database::empty();
    let app = database.app();
    app.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    app.execute_batch(include_str!("../../migrations/0001_outbox.sql")).unwrap();
    app.execute_batch(
        "INSERT INTO eventferry_migration (version) VALUES (1);
         DELETE FROM eventferry_lane WHERE lane > 0;
         INSERT INTO eventferry_outbox (topic, aggregate_type, aggregate_id, payload, headers) VALUES
             ('orders', 'order', '1', 'poison', '{\"a\": \"1\"}'), ('orders', 'order', '1', 'behind', NULL),
             ('orders', 'order', '2', 'other', NULL), ('orders', 'order', '3', 'shipped', NULL),
             ('orders', 'order', '3', 'to come', NULL);
         UPDATE eventferry_lane SET position = 4, owner = 'gone', epoch = 7;
         INSERT INTO eventferry_parked
             (id, lane, refused, parked_at, message_id, topic, aggregate_type, aggregate_id, key, content_type, headers,
              partition, enqueued_at, payload)
         SELECT id, 0, iif(id = 2, NULL, 'too large'), 1600000000000000, message_id, topic, aggregate_type,
                aggregate_id, key, content_type, headers, partition, enqueued_at, payload
         FROM eventferry_outbox WHERE id <= 3",
    )
    .unwrap();
    database
}

#[tokio::test]
async fn a_file_of_the_first_version_is_upgraded_with_all_that_is_parked() {
    let database = of_version_1();
    let said = refusal(database.config(), Prepare::Check).await;
    assert!(said.contains("version 1") && said.contains("eventferry init"), "{said}");
    let prepared = SqliteStore::new(database.config()).prepare(Prepare::Apply).await.unwrap();
    assert_eq!((prepared.version, prepared.upgraded_from, prepared.lanes), (3, Some(1), 1));
    assert_eq!(prepared.outbox.0.len(), 32);

    let (mut relay, leases) = database.sole_relay().await;
    assert_eq!(leases[0].epoch, 8);
    let shown = show(&mut relay, &ParkedFilter::default()).await;
    let told: Vec<_> = shown
        .iter()
        .map(|event| (event.stage, event.attempts, event.class.as_deref(), event.message.as_deref()))
        .collect();
    let refused = (Stage::Topic, 1, Some("Unrecorded"), Some("too large"));
    assert_eq!(told, [refused, (Stage::Topic, 0, None, None), refused]);
    let sizes: Vec<u64> = database
        .app()
        .prepare("SELECT size FROM eventferry_parked ORDER BY ordinal")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for (size, event) in sizes.iter().zip(&shown) {
        let exact = event.row.size_bytes() as u64;
        assert!((exact..exact + 200).contains(size), "{size} for {exact}");
    }
    // What could only wait before is tried again.
    assert_eq!(payloads_due(&due(&mut relay, &[Lane(0)]).await), ["poison", "behind", "other"]);
    let records = read_all(&mut relay, &lanes_of(&leases)).await;
    assert_eq!(records.iter().map(payload).collect::<Vec<_>>(), ["to come"]);
    assert_eq!(relay.upkeep.gauge().await.unwrap().lanes[0].parked, 3);
}

#[tokio::test]
async fn another_journal_mode_is_refused_and_applying_mends_it() {
    let database = Database::with_lanes(4).await;
    database.app().query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).unwrap();
    let said = refusal(database.config(), Prepare::Check).await;
    assert!(said.contains("journal mode delete") && said.contains("eventferry init"), "{said}");
    let fault = hold(&mut database.roles("a"), &[], 1).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured, "{fault}");
    SqliteStore::new(database.config()).prepare(Prepare::Apply).await.unwrap();
    SqliteStore::new(database.config()).prepare(Prepare::Check).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_said() {
    let database = Database::empty();
    std::fs::write(&database.path, "a letter, long enough to be taken for a page of something".repeat(100))
        .unwrap();
    let said = refusal(database.config(), Prepare::Check).await;
    assert!(said.contains("no SQLite database"), "{said}");
}

#[tokio::test]
async fn roles_without_tables_say_what_to_do() {
    let database = Database::empty();
    Connection::open(&database.path).unwrap().query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    let fault = hold(&mut database.roles("a"), &[], 1).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured);
    assert!(fault.to_string().contains("eventferry init"), "{fault}");
}
