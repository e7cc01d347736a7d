//! Preparing: what is missing, older, newer or set wrongly is said with what to do.

use eventferry_core::StoreFaultKind;
use eventferry_core::store::{Prepare, Prepared, Store};
use eventferry_store_sqlite::{SqliteConfig, SqliteStore};
use rusqlite::Connection;

use crate::database::{Database, hold};

async fn refusal(config: SqliteConfig, prepare: Prepare) -> String {
    let fault = SqliteStore::new(config).prepare(prepare).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured, "{fault}");
    fault.to_string()
}

#[tokio::test]
async fn applying_twice_creates_once() {
    let database = Database::empty();
    let mut store = SqliteStore::new(database.config());
    let created = Prepared { version: 2, upgraded_from: Some(0), lanes: 64 };
    assert_eq!(store.prepare(Prepare::Apply).await.unwrap(), created);
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
    database.app().execute("INSERT INTO eventferry_migration (version) VALUES (3)", []).unwrap();
    for prepare in [Prepare::Check, Prepare::Apply] {
        let said = refusal(database.config(), prepare).await;
        assert!(said.contains("version 3") && said.contains("newer program"), "{said}");
    }
    database.app().execute("DELETE FROM eventferry_migration", []).unwrap();
    let said = refusal(database.config(), Prepare::Check).await;
    assert!(said.contains("eventferry init"), "{said}");
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
