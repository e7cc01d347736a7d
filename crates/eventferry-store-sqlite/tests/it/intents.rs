//! Intents in a file: what a restore makes of them, and what outlives everything.

use std::time::Duration;

use eventferry_core::parked::{Park, ParkReason};
use eventferry_core::store::{
    Claim, Feed, Held, Intent, Lanes, Ledger, Prepare, Roles, Settlement, Store, Verdict,
};
use eventferry_core::transaction::{Agreement, Resolved, Stamp};
use eventferry_core::{Lease, StoreFault, StoreFaultKind};
use eventferry_store_sqlite::SqliteStore;

use crate::database::{
    Database, LEASE, SqliteRecord, event, hold, lanes_of, payload, read_all, refused_for_good, settle,
};

fn stamp(number: u64) -> Stamp {
    Stamp { number, nonce: u64::MAX - number }
}

/// One lane with these events, all read, with transactions.
async fn read_events(texts: &[&str]) -> (Database, Roles<SqliteStore>, Vec<Lease>, Vec<SqliteRecord>) {
    let database = Database::with_lanes(1).await;
    let (mut relay, leases) = database.sole_relay().await;
    database.commit(&texts.iter().map(|text| event(1, text)).collect::<Vec<_>>());
    let records = read_all(&mut relay, &lanes_of(&leases)).await;
    (database, relay, leases, records)
}

/// Intends transaction `number`, after the one before it, up to this record.
async fn intend(
    relay: &mut Roles<SqliteStore>,
    leases: &[Lease],
    number: u64,
    up_to: &SqliteRecord,
    parks: &[(&SqliteRecord, ParkReason<'_>)],
) -> Result<Verdict, StoreFault> {
    let park =
        parks.iter().map(|(record, reason)| Park { mark: &record.mark, row: &record.row, reason: *reason });
    let settlement = Settlement {
        lease: leases[0],
        prefix: std::slice::from_ref(&up_to.mark),
        park: park.collect(),
        changes: Vec::new(),
        carries: None,
    };
    let settlements = vec![settlement];
    let (stamp, after, settled) = (stamp(number), number - 1, number - 1);
    relay.ledger.intend(Intent { stamp, after, settled, settlements, leases }).await
}

async fn resolve(relay: &mut Roles<SqliteStore>, leases: &[Lease], committed: Option<Stamp>) -> Resolved {
    relay.ledger.resolve(leases, committed).await.unwrap()
}

fn position(database: &Database) -> (i64, i64) {
    let query = "SELECT position, carries FROM eventferry_lane WHERE lane = 0";
    database.app().query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

#[tokio::test]
async fn an_outbox_keeps_its_name_and_a_copy_has_it() {
    let database = Database::with_lanes(1).await;
    let name = async |path| {
        let config = eventferry_store_sqlite::SqliteConfig::at(path).unwrap();
        SqliteStore::new(config).prepare(Prepare::Apply).await.unwrap().outbox
    };
    let named = name(database.path.clone()).await;
    assert_eq!(name(database.path.clone()).await, named);
    let copy = database.folder().join("copy.db");
    database.app().execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    assert_eq!(name(copy).await, named);
    assert_ne!(name(Database::with_lanes(1).await.path).await, named);
}

#[tokio::test]
async fn a_file_without_a_name_says_what_to_do() {
    let database = Database::with_lanes(1).await;
    database.app().execute("DELETE FROM eventferry_identity", []).unwrap();
    let fault = SqliteStore::new(database.config()).prepare(Prepare::Check).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured);
    assert!(fault.to_string().contains("put a row back"), "{fault}");
}

#[tokio::test]
async fn what_was_committed_outlives_the_process_with_its_parks() {
    let (database, mut relay, leases, records) = read_events(&["1", "2", "3"]).await;
    let park = [(&records[1], refused_for_good("too large"))];
    intend(&mut relay, &leases, 1, &records[1], &park).await.unwrap();
    drop(relay);
    assert_eq!(position(&database), (0, 0));

    database.pass(LEASE);
    let (mut relay, leases) = database.sole_relay().await;
    let resolved = resolve(&mut relay, &leases, Some(stamp(1))).await;
    assert_eq!(resolved, Resolved { agreement: Agreement::Agreed, newest: 1 });
    assert_eq!(position(&database), (2, 1));
    let words: String = database
        .app()
        .query_row("SELECT cause_message FROM eventferry_parked", [], |row| row.get(0))
        .unwrap();
    assert_eq!(words, "too large");
    relay.feed.open(&leases).await.unwrap();
    let rest = read_all(&mut relay, &lanes_of(&leases)).await;
    assert_eq!(rest.iter().map(payload).collect::<Vec<_>>(), ["3"]);
}

#[tokio::test]
async fn two_or_three_intents_are_kept_and_no_more() {
    let texts: Vec<_> = (1..=20).map(|number| number.to_string()).collect();
    let (database, mut relay, leases, records) =
        read_events(&texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for (number, record) in (1..).zip(&records) {
        assert_eq!(intend(&mut relay, &leases, number, record, &[]).await.unwrap(), Verdict::Done);
        assert!(database.count("eventferry_intent") <= 2);
        assert!(database.count("eventferry_intent_item") <= 2);
    }
}

#[tokio::test]
async fn a_number_is_not_given_out_again_however_intents_were_lost() {
    let (database, mut relay, leases, records) = read_events(&["1", "2"]).await;
    intend(&mut relay, &leases, 1, &records[0], &[]).await.unwrap();
    resolve(&mut relay, &leases, Some(stamp(1))).await;
    // The broker was replaced: it has committed nothing.
    let parted = Resolved { agreement: Agreement::Parted, newest: 1 };
    assert_eq!(resolve(&mut relay, &leases, None).await, parted);
    // And the relay dies before it gives out another.
    let again = Resolved { agreement: Agreement::Agreed, newest: 1 };
    assert_eq!(resolve(&mut relay, &leases, None).await, again);
    assert_eq!(position(&database), (1, 1));
}

/// Replaces the whole content of the file, as the command line's `.restore` does.
fn restore(database: &Database, copy: &str) {
    let mut app = database.app();
    app.restore("main", database.folder().join(copy), None::<fn(rusqlite::backup::Progress)>).unwrap();
}

#[tokio::test]
async fn an_intent_of_what_a_restored_file_does_not_know_is_refused() {
    let (database, mut relay, leases, _) = read_events(&["1"]).await;
    let copy = database.folder().join("copy.db");
    database.app().execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    database.commit(&[event(1, "2")]);
    let read = read_all(&mut relay, &lanes_of(&leases)).await;
    restore(&database, "copy.db");
    let fault = intend(&mut relay, &leases, 1, &read[0], &[]).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::HistoryLost, "{fault}");
    assert_eq!(database.count("eventferry_intent"), 0);
}

#[tokio::test]
async fn a_file_put_in_the_place_of_another_takes_no_intent_of_it() {
    let (database, mut relay, leases, records) = read_events(&["1"]).await;
    intend(&mut relay, &leases, 1, &records[0], &[]).await.unwrap();
    let copy = database.folder().join("copy.db");
    database.app().execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    for beside in ["app.db-wal", "app.db-shm"] {
        drop(std::fs::remove_file(database.folder().join(beside)));
    }
    std::fs::rename(&copy, &database.path).unwrap();
    SqliteStore::new(database.config()).prepare(Prepare::Apply).await.unwrap();
    let fault = intend(&mut relay, &leases, 2, &records[0], &[]).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::HistoryLost, "{fault}");
    // Its own it knows.
    let resolved = resolve(&mut relay, &leases, Some(stamp(1))).await;
    assert_eq!(resolved.agreement, Agreement::Agreed);
}

#[tokio::test]
async fn a_restored_file_has_parted_from_what_the_broker_committed_since() {
    let (database, mut relay, leases, records) = read_events(&["1", "2"]).await;
    intend(&mut relay, &leases, 1, &records[0], &[]).await.unwrap();
    let copy = database.folder().join("copy.db");
    database.app().execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    intend(&mut relay, &leases, 2, &records[1], &[]).await.unwrap();
    restore(&database, "copy.db");
    let resolved = resolve(&mut relay, &leases, Some(stamp(2))).await;
    assert_eq!(resolved, Resolved { agreement: Agreement::Parted, newest: 1 });
    assert_eq!((position(&database), database.count("eventferry_intent")), ((0, 0), 0));
}

#[tokio::test]
async fn marks_of_a_file_whose_ids_have_begun_anew_are_not_carried_out() {
    let (database, mut relay, leases, records) = read_events(&["1", "2"]).await;
    intend(&mut relay, &leases, 1, &records[1], &[]).await.unwrap();
    // As a copy without SQLite's own table of sequences leaves it.
    database
        .app()
        .execute_batch(
            "DELETE FROM eventferry_outbox; DELETE FROM sqlite_sequence WHERE name = 'eventferry_outbox'",
        )
        .unwrap();
    let resolved = resolve(&mut relay, &leases, Some(stamp(1))).await;
    assert_eq!((resolved.agreement, position(&database)), (Agreement::Parted, (0, 0)));
}

#[tokio::test]
async fn an_event_to_park_that_is_gone_parts_rather_than_being_skipped() {
    let (database, mut relay, leases, records) = read_events(&["1", "2"]).await;
    let park = [(&records[0], refused_for_good("no"))];
    intend(&mut relay, &leases, 1, &records[1], &park).await.unwrap();
    database.app().execute("DELETE FROM eventferry_outbox WHERE id = 1", []).unwrap();
    let resolved = resolve(&mut relay, &leases, Some(stamp(1))).await;
    assert_eq!((resolved.agreement, position(&database)), (Agreement::Parted, (0, 0)));
    // What was parked before is another matter.
    settle(&mut relay, leases[0], &records[1], &[]).await.unwrap();
}

#[tokio::test]
async fn who_waits_for_all_lanes_has_no_share_of_those_that_are_shared() {
    let database = Database::with_lanes(4).await;
    let (mut shares, mut waits) = (database.roles("shares"), database.roles("waits"));
    let leases = hold(&mut shares, &[], 4).await.unwrap();
    let all = Claim { keep: Vec::new(), take_max: 4, lease: LEASE, whole: true };
    let Held { leases: none, relays_live, .. } = waits.lanes.hold(all.clone()).await.unwrap();
    assert_eq!((none, relays_live), (Vec::new(), 2));
    let beat = Claim { keep: leases.clone(), take_max: 0, lease: LEASE, whole: false };
    assert_eq!(shares.lanes.hold(beat).await.unwrap().relays_live, 1);
    database.pass(LEASE + Duration::from_secs(1));
    assert_eq!(waits.lanes.hold(Claim { take_max: 1, ..all }).await.unwrap().leases.len(), 4);
}
