//! Reading: every event once, in order, within the room there is, and only when it is durable.

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use eventferry_core::store::{Anchor, Feed, Rest, Store, Wish};
use eventferry_core::{Event, Lane, Row, StoreFaultKind};
use eventferry_store_sqlite::{SqliteOutbox, SqliteStore};
use rusqlite::Connection;

use eventferry_core::parked::{Change, End};

use crate::database::{
    Database, LEASE, ROOMY, SqlitePage, SqliteRecord, change, event, hold, lanes_of, payload, payloads, read,
    read_all, refused_for_good, settle, settle_page,
};
use crate::parked::{keys, parked_events};

/// So many events, each of another aggregate, numbered.
fn numbered(numbers: std::ops::Range<u32>) -> Vec<Event> {
    numbers.map(|number| event(number, &number.to_string())).collect()
}

fn texts(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn events_come_once_in_the_order_of_their_commits() {
    let database = Database::with_lanes(8).await;
    let (mut relay, leases) = database.sole_relay().await;
    let lanes = lanes_of(&leases);
    assert!(read(&mut relay, &lanes, ROOMY).await.unwrap().rest.is_quiet());
    database.commit(&numbered(0..10));

    let mut app = database.app();
    let transaction = app.transaction().unwrap();
    SqliteOutbox.append_many(&transaction, numbered(10..20)).unwrap();
    assert_eq!(payloads(&read(&mut relay, &lanes, ROOMY).await.unwrap()), texts(0..10));
    let nothing = read(&mut relay, &lanes, ROOMY).await.unwrap();
    assert_eq!((nothing.records.len(), nothing.passed.len(), nothing.rest.is_quiet()), (0, 0, true));
    transaction.commit().unwrap();
    assert_eq!(payloads(&read(&mut relay, &lanes, ROOMY).await.unwrap()), texts(10..20));
}

#[tokio::test]
async fn a_page_keeps_within_its_room() {
    let database = Database::with_lanes(8).await;
    let (mut relay, leases) = database.sole_relay().await;
    let lanes = lanes_of(&leases);
    // Payloads of 100, 100, 100, 5,000 (not read along with its row), 100, 100 bytes.
    let sizes = [100, 100, 100, 5_000, 100, 100];
    database.commit(&sizes.map(|size| event(1, &"x".repeat(size))));

    let page = read(&mut relay, &lanes, (2, u64::MAX)).await.unwrap();
    assert_eq!((page.records.len(), page.rest), (2, Rest::More));
    relay.feed.open(&leases).await.unwrap();

    let mut pages = Vec::new();
    loop {
        let page = read(&mut relay, &lanes, (100, 250)).await.unwrap();
        pages.push(page.records.iter().map(|record| record.row.payload().unwrap().len()).collect::<Vec<_>>());
        if page.rest.is_quiet() {
            break;
        }
    }
    assert_eq!(pages, [vec![100, 100], vec![100], vec![5_000], vec![100, 100]]);

    relay.feed.open(&leases).await.unwrap();
    let none = read(&mut relay, &lanes, (0, 250)).await.unwrap();
    assert_eq!((none.records.len(), none.rest), (0, Rest::More));
    let nowhere = read(&mut relay, &[], ROOMY).await.unwrap();
    assert_eq!((nowhere.records.len(), nowhere.rest.is_quiet()), (0, true));
}

#[tokio::test]
async fn a_lane_left_out_is_read_later_from_where_it_was() {
    let database = Database::with_lanes(4).await;
    let (mut relay, leases) = database.sole_relay().await;
    let lanes = lanes_of(&leases);
    database.commit(&numbered(0..100));
    let without_first = read(&mut relay, &lanes[1..], ROOMY).await.unwrap();
    database.commit(&numbered(100..120));
    let all = read(&mut relay, &lanes, ROOMY).await.unwrap();
    assert!(without_first.records.iter().all(|record| record.lane != lanes[0]));
    let mut seen: Vec<u32> = without_first
        .records
        .iter()
        .chain(&all.records)
        .map(|record| payload(record).parse().unwrap())
        .collect();
    let of_first: Vec<_> = all.records.iter().filter(|record| record.lane == lanes[0]).map(payload).collect();
    assert!(of_first.is_sorted_by_key(|number| number.parse::<u32>().unwrap()), "{of_first:?}");
    seen.sort_unstable();
    assert_eq!(seen, Vec::from_iter(0..120));
}

#[tokio::test]
async fn quiet_lanes_are_passed_so_that_their_positions_move() {
    let database = Database::with_lanes(16).await;
    let (mut relay, leases) = database.sole_relay().await;
    let lanes = lanes_of(&leases);
    database.commit(&[event(1, "a"), event(1, "b")]);
    let page = read(&mut relay, &lanes, ROOMY).await.unwrap();
    let busy = page.records[0].lane;
    let passed: Vec<_> = page.passed.iter().map(|(lane, _)| *lane).collect();
    let quiet: Vec<_> = lanes.iter().copied().filter(|lane| *lane != busy).collect();
    assert_eq!(passed, quiet);
    settle_page(&mut relay, &leases, &page).await;
    let lagging: i64 = database
        .app()
        .query_row("SELECT count(*) FROM eventferry_lane WHERE position <> 2", [], |row| row.get(0))
        .unwrap();
    assert_eq!(lagging, 0);
}

#[tokio::test]
async fn a_lane_far_behind_holds_up_nobody_and_catches_up() {
    let database = Database::with_lanes(2).await;
    let (mut relay, leases) = database.sole_relay().await;
    let (behind, ahead) = (leases[0].lane, leases[1].lane);
    database.commit(&numbered(0..25_000));
    // Only one lane has been read so far.
    while read(&mut relay, &[ahead], ROOMY).await.unwrap().rest == Rest::More {}
    database.commit(&numbered(25_000..25_100));

    let page = read(&mut relay, &[behind, ahead], (1_000, u64::MAX)).await.unwrap();
    let fresh = page.records.iter().filter(|record| record.lane == ahead).count();
    let old = page.records.iter().filter(|record| record.lane == behind).count();
    assert_eq!(old, 500, "half of the room is for what is old");
    assert!((30..70).contains(&fresh), "all {fresh} new events of the other lane are there");
    assert_eq!(page.rest, Rest::More);

    let mut pages = 0;
    let mut of_behind = page.records;
    loop {
        let page = read(&mut relay, &[behind, ahead], (1_000, u64::MAX)).await.unwrap();
        of_behind.extend(page.records);
        pages += 1;
        if page.rest.is_quiet() {
            break;
        }
    }
    let numbers: Vec<u32> = of_behind
        .iter()
        .filter(|record| record.lane == behind)
        .map(|record| payload(record).parse().unwrap())
        .collect();
    let expected: Vec<u32> =
        (0..25_100).filter(|number| Lane::of("order", &number.to_string(), 2) == behind).collect();
    assert_eq!(numbers, expected);
    assert!(pages < 40, "it took {pages} pages");
}

#[tokio::test]
async fn a_backlog_comes_in_pages_of_bounded_size() {
    const EVENTS: u32 = 200_000;
    let database = Database::with_lanes(64).await;
    let text = "x".repeat(300);
    let events: Vec<_> =
        (0..EVENTS).map(|number| event(number % 1_000, &format!("{number} {text}"))).collect();
    database.commit(&events);
    drop(events);
    let (mut relay, leases) = database.sole_relay().await;
    let lanes = lanes_of(&leases);
    let mut last_of = BTreeMap::new();
    let mut count = 0;
    loop {
        let page = read(&mut relay, &lanes, (5_000, 1 << 20)).await.unwrap();
        let bytes: usize = page.records.iter().map(|record| record.row.payload().unwrap().len()).sum();
        assert!(bytes <= 1 << 20, "{bytes} bytes in a page");
        for record in &page.records {
            let number: u32 = payload(record).split_once(' ').unwrap().0.parse().unwrap();
            let before = last_of.insert(record.row.aggregate_id().to_owned(), number);
            assert_eq!(before.map_or(number % 1_000, |before| before + 1_000), number);
            count += 1;
        }
        if page.rest.is_quiet() {
            break;
        }
    }
    assert_eq!(count, EVENTS);
}

#[tokio::test]
async fn large_payloads_come_one_by_one() {
    let database = Database::with_lanes(4).await;
    let (mut relay, leases) = database.sole_relay().await;
    let large = vec![7; 16 << 20];
    for _ in 0..4 {
        database.commit(&[Event::new("t", ("order", 1)).payload(large.clone(), "application/octet-stream")]);
    }
    for rest in [Rest::More, Rest::More, Rest::More, Rest::Quiet] {
        let page = read(&mut relay, &lanes_of(&leases), (5_000, 20 << 20)).await.unwrap();
        assert_eq!((page.records.len(), page.rest), (1, rest));
        assert_eq!(page.records[0].row.payload(), Some(&large[..]));
    }
}

#[tokio::test]
async fn nothing_is_handed_over_before_the_log_is_durable() {
    let database = Database::with_lanes(4).await;
    let (syncs, broken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let config = {
        let (syncs, broken) = (Arc::clone(&syncs), Arc::clone(&broken));
        database.config().log_sync(move |log| {
            syncs.fetch_add(1, Ordering::Relaxed);
            if broken.load(Ordering::Relaxed) {
                Err(io::Error::other("disk on fire"))
            } else {
                log.sync_data()
            }
        })
    };
    let mut relay = database.roles_with(config, "a");
    let leases = hold(&mut relay, &[], 4).await.unwrap();
    relay.feed.open(&leases).await.unwrap();
    let lanes = lanes_of(&leases);

    read(&mut relay, &lanes, ROOMY).await.unwrap();
    assert_eq!(syncs.load(Ordering::Relaxed), 0, "no records, nothing to write through");

    database.commit(&numbered(0..100));
    assert_eq!(read(&mut relay, &lanes, (10, u64::MAX)).await.unwrap().records.len(), 10);
    assert_eq!(syncs.load(Ordering::Relaxed), 1);
    assert_eq!(read(&mut relay, &lanes, ROOMY).await.unwrap().records.len(), 90);
    assert_eq!(syncs.load(Ordering::Relaxed), 1, "the first writing through was for all that could be seen");

    database.commit(&numbered(100..110));
    broken.store(true, Ordering::Relaxed);
    let fault = read(&mut relay, &lanes, ROOMY).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::Unavailable);
    assert!(fault.to_string().contains("disk on fire"), "{fault}");
    assert_eq!(syncs.load(Ordering::Relaxed), 2);

    // A sync that works again says nothing of what was lost before it: the log is copied into the database instead.
    assert_eq!(payloads(&read(&mut relay, &lanes, ROOMY).await.unwrap()), texts(100..110));
    assert_eq!(syncs.load(Ordering::Relaxed), 2);
    let in_log: i64 = database
        .app()
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?)
        })
        .unwrap();
    assert_eq!(in_log, 0);
}

#[tokio::test]
async fn a_settlement_is_durable_when_it_is_answered() {
    let database = Database::with_lanes(1).await;
    let syncs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&syncs);
    let config = database.config().log_sync(move |log| {
        counter.fetch_add(1, Ordering::Relaxed);
        log.sync_data()
    });
    let mut relay = database.roles_with(config, "a");
    let leases = hold(&mut relay, &[], 1).await.unwrap();
    relay.feed.open(&leases).await.unwrap();
    database.commit(&numbered(0..1));
    let records = read_all(&mut relay, &lanes_of(&leases)).await;
    let before = syncs.load(Ordering::Relaxed);
    settle(&mut relay, leases[0], &records[0], &[]).await.unwrap();
    assert_eq!(syncs.load(Ordering::Relaxed), before + 1);
}

#[tokio::test]
async fn a_reading_that_is_dropped_loses_nothing() {
    let database = Database::with_lanes(4).await;
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    // Each writing through of the log waits for a word.
    let config =
        database.config().log_sync(move |_| released.lock().unwrap().recv().map_err(io::Error::other));
    let mut relay = database.roles_with(config, "a");
    let leases = hold(&mut relay, &[], 4).await.unwrap();
    relay.feed.open(&leases).await.unwrap();
    let lanes = lanes_of(&leases);
    database.commit(&numbered(0..10));
    {
        let dropped = pin!(relay.feed.read(Wish { lanes: &lanes, records_max: 5, bytes_max: u64::MAX }));
        let first = dropped.poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(first, Poll::Pending));
    }
    release.send(()).unwrap();
    release.send(()).unwrap();
    assert_eq!(payloads(&read(&mut relay, &lanes, ROOMY).await.unwrap()), texts(0..10));
}

#[tokio::test]
async fn a_reopened_lane_continues_after_what_was_settled() {
    let database = Database::with_lanes(1).await;
    let (mut relay, leases) = database.sole_relay().await;
    database.commit(&numbered(0..3));
    let records = read_all(&mut relay, &lanes_of(&leases)).await;
    settle(&mut relay, leases[0], &records[1], &[]).await.unwrap();
    let opened = relay.feed.open(&leases).await.unwrap();
    assert_eq!(opened[0].anchor, Anchor::Continued);
    assert_eq!(
        read_all(&mut relay, &lanes_of(&leases)).await.iter().map(payload).collect::<Vec<_>>(),
        texts(2..3)
    );

    relay.feed.close(&lanes_of(&leases));
    let fault = read(&mut relay, &lanes_of(&leases), ROOMY).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::HistoryLost);
}

#[tokio::test]
async fn text_that_is_no_text_stops_no_lane() {
    let database = Database::with_lanes(1).await;
    let app = database.app();
    app.execute_batch(
        "INSERT INTO eventferry_outbox (topic, aggregate_type, aggregate_id, headers)
         VALUES (CAST(x'74ff' AS TEXT), CAST(x'ff' AS TEXT), CAST(x'fe' AS TEXT), x'00')",
    )
    .unwrap();
    database.commit(&numbered(0..1));
    let (mut relay, leases) = database.sole_relay().await;
    let page: SqlitePage = read(&mut relay, &lanes_of(&leases), ROOMY).await.unwrap();
    assert_eq!(page.records.len(), 2);
    assert_eq!(page.records[0].row.topic(), "t\u{fffd}");
    let mut headers = Vec::new();
    page.records[0].row.headers(&mut |name, value| headers.push((name.to_owned(), value.to_vec())));
    assert_eq!(headers, [("eventferry-unreadable-headers".to_owned(), vec![0])]);
}

/// A whole copy of a database, its log included.
fn copy(from: &Connection, to: &std::path::Path) {
    from.execute("VACUUM INTO ?1", [to.to_str().unwrap()]).unwrap();
}

#[tokio::test]
async fn a_file_put_in_the_place_of_the_open_one_is_noticed() {
    let database = Database::with_lanes(1).await;
    let (mut relay, leases) = database.sole_relay().await;
    let lanes = lanes_of(&leases);
    database.commit(&numbered(0..2));
    let records = read_all(&mut relay, &lanes).await;
    settle(&mut relay, leases[0], &records[0], &[]).await.unwrap();
    let backup = database.folder().join("backup.db");
    copy(&database.app(), &backup);
    database.commit(&numbered(2..4));
    let records = read_all(&mut relay, &lanes).await;
    settle(&mut relay, leases[0], &records[1], &[]).await.unwrap();

    // As a person restores it: the log and its index belong to the old file.
    for part in ["-wal", "-shm"] {
        drop(std::fs::remove_file(format!("{}{part}", database.path.display())));
    }
    std::fs::rename(&backup, &database.path).unwrap();
    SqliteStore::new(database.config()).prepare(eventferry_core::store::Prepare::Apply).await.unwrap();
    database.commit(&numbered(10..11));

    let fault = read(&mut relay, &lanes, ROOMY).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::HistoryLost, "{fault}");
    let fault = settle(&mut relay, leases[0], &records[1], &[]).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::HistoryLost, "{fault}");
    let opened = relay.feed.open(&leases).await.unwrap();
    assert_eq!(opened[0].anchor, Anchor::Restored);
    let records = read_all(&mut relay, &lanes).await;
    assert_eq!(records.iter().map(payload).collect::<Vec<_>>(), ["1", "10"]);
    settle(&mut relay, leases[0], &records[1], &[]).await.unwrap();
}

#[tokio::test]
async fn a_file_overwritten_in_place_is_noticed() {
    let database = Database::with_lanes(1).await;
    let (mut relay, leases) = database.sole_relay().await;
    let lanes = lanes_of(&leases);
    database.commit(&numbered(0..1));
    read_all(&mut relay, &lanes).await;
    let backup = database.folder().join("backup.db");
    copy(&database.app(), &backup);
    database.commit(&numbered(1..3));
    read_all(&mut relay, &lanes).await;

    // Fewer events than were read.
    let restore = || database.app().restore("main", &backup, None::<fn(rusqlite::backup::Progress)>).unwrap();
    restore();
    let fault = read(&mut relay, &lanes, ROOMY).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::HistoryLost, "{fault}");
    relay.feed.open(&leases).await.unwrap();
    assert_eq!(read_all(&mut relay, &lanes).await.len(), 1);
    database.commit(&numbered(1..3));
    assert_eq!(read_all(&mut relay, &lanes).await.len(), 2);

    // As many and more, but others.
    restore();
    database.commit(&numbered(5..9));
    let fault = read(&mut relay, &lanes, ROOMY).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::HistoryLost, "{fault}");
}

#[tokio::test]
async fn ids_that_begin_anew_are_read_from_the_beginning() {
    let database = Database::with_lanes(2).await;
    let (mut relay, leases) = database.sole_relay().await;
    database.commit(&numbered(0..5));
    let page = read(&mut relay, &lanes_of(&leases), ROOMY).await.unwrap();
    settle_page(&mut relay, &leases, &page).await;
    // What a copy table by table does that leaves SQLite's own table of sequences out.
    database.app().execute_batch("DELETE FROM eventferry_outbox; DELETE FROM sqlite_sequence").unwrap();
    database.commit(&numbered(5..7));

    let fault = read(&mut relay, &lanes_of(&leases), ROOMY).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::HistoryLost, "{fault}");
    let opened = relay.feed.open(&leases).await.unwrap();
    assert!(opened.iter().all(|opened| opened.anchor == Anchor::Restored), "{opened:?}");
    let page = read(&mut relay, &lanes_of(&leases), ROOMY).await.unwrap();
    assert_eq!(payloads(&page), texts(5..7));
    let fault = settle(&mut relay, leases[0], &page.records[0], &[]).await;
    assert!(fault.is_err_and(|fault| *fault.kind() == StoreFaultKind::HistoryLost), "the ledger knew better");
    settle_page(&mut relay, &leases, &page).await;
    let positions: i64 =
        database.app().query_row("SELECT sum(position) FROM eventferry_lane", [], |row| row.get(0)).unwrap();
    assert_eq!(positions, 4, "both lanes are at 2");
}

fn read_payloads(records: &[SqliteRecord]) -> Vec<String> {
    records.iter().map(payload).collect()
}

#[tokio::test]
async fn what_is_parked_or_was_does_not_come_again_when_a_lane_goes_back() {
    let no = || Some(refused_for_good("no"));
    let (database, mut relay, lease, _) = parked_events(&[
        (event(1, "shipped"), None),
        (event(2, "settled"), no()),
        (event(3, "parked"), no()),
        (event(4, "shipped too"), None),
    ])
    .await;
    let parked = keys(&mut relay).await;
    change(&mut relay, lease, &[(parked[0], Change::Settled(End::Discarded))]).await.unwrap();
    database.commit(&[event(5, "new")]);

    // Its events have left the log, which it does not need.
    database.app().execute("DELETE FROM eventferry_outbox WHERE id = 3", []).unwrap();
    for back in [0, 1] {
        database.app().execute("UPDATE eventferry_lane SET position = ?1", [back]).unwrap();
        let opened = relay.feed.open(&[lease]).await.unwrap();
        assert_eq!(opened[0].anchor, Anchor::Restored);
        let records = read_all(&mut relay, &[Lane(0)]).await;
        let expected = ["shipped", "shipped too", "new"];
        assert_eq!(read_payloads(&records), expected[back..], "{back}");
    }
    assert_eq!(keys(&mut relay).await, parked[1..]);
}

#[tokio::test]
async fn what_is_parked_is_known_under_another_id_and_to_the_next_owner() {
    let events: Vec<_> = (0..40)
        .map(|number| {
            (event(number, &format!("{number:02}")), (number % 2 == 1).then(|| refused_for_good("no")))
        })
        .collect();
    let (database, relay, _, _) = parked_events(&events).await;
    drop(relay);
    // Filled from a copy that has neither the ids nor SQLite's table of sequences, in another order.
    database
        .app()
        .execute_batch(
            "CREATE TABLE copy AS SELECT * FROM eventferry_outbox;
             DELETE FROM eventferry_outbox;
             DELETE FROM sqlite_sequence WHERE name = 'eventferry_outbox';
             INSERT INTO eventferry_outbox (message_id, topic, aggregate_type, aggregate_id, payload, enqueued_at)
             SELECT message_id, topic, aggregate_type, aggregate_id, payload, enqueued_at
             FROM copy WHERE id > 1 ORDER BY id DESC",
        )
        .unwrap();
    database.pass(LEASE * 2);
    let mut first = database.roles("first");
    let leases = hold(&mut first, &[], 1).await.unwrap();
    assert_eq!(first.feed.open(&leases).await.unwrap()[0].anchor, Anchor::Restored);
    let page = read(&mut first, &[Lane(0)], (10, u64::MAX)).await.unwrap();
    let even = |numbers: std::ops::Range<u32>| -> Vec<String> {
        numbers.rev().filter(|number| number % 2 == 0).map(|number| format!("{number:02}")).collect()
    };
    assert_eq!(payloads(&page), even(20..40));
    // What is parked now gets a place of its own, whatever had its id before.
    let last = page.records.last().unwrap();
    assert_eq!(database.count("eventferry_parked"), 20);
    settle(&mut first, leases[0], last, &[(last, refused_for_good("no"))]).await.unwrap();
    assert_eq!(database.count("eventferry_parked"), 21);

    database.pass(LEASE * 2);
    database.commit(&[event(41, "new")]);
    let mut next = database.roles("next");
    let leases = hold(&mut next, &[], 1).await.unwrap();
    next.feed.open(&leases).await.unwrap();
    let records = read_all(&mut next, &[Lane(0)]).await;
    let mut expected = even(2..20);
    expected.push("new".into());
    assert_eq!(read_payloads(&records), expected);
}

#[tokio::test]
async fn a_lane_begun_anew_knows_what_is_parked_under_a_later_id_than_it_ever_reached() {
    let events: Vec<_> =
        (0..10).map(|number| (event(number, "parked"), Some(refused_for_good("no")))).collect();
    let (database, relay, _, _) = parked_events(&events).await;
    drop(relay);
    database.commit(&numbered(20..40));
    // Filled from a copy, what is new first; the lane is begun anew by hand.
    database
        .app()
        .execute_batch(
            "CREATE TABLE copy AS SELECT * FROM eventferry_outbox;
             DELETE FROM eventferry_outbox;
             DELETE FROM sqlite_sequence WHERE name = 'eventferry_outbox';
             INSERT INTO eventferry_outbox (message_id, topic, aggregate_type, aggregate_id, payload, enqueued_at)
             SELECT message_id, topic, aggregate_type, aggregate_id, payload, enqueued_at
             FROM copy ORDER BY id <= 10, id;
             UPDATE eventferry_lane SET position = 0",
        )
        .unwrap();
    let read_on = async |name: &str, records_max: u32| {
        database.pass(LEASE * 2);
        let mut relay = database.roles(name);
        let leases = hold(&mut relay, &[], 1).await.unwrap();
        relay.feed.open(&leases).await.unwrap();
        let page = read(&mut relay, &[Lane(0)], (records_max, u64::MAX)).await.unwrap();
        settle(&mut relay, leases[0], page.records.last().unwrap(), &[]).await.unwrap();
        payloads(&page)
    };
    assert_eq!(read_on("first", 15).await, texts(20..35));
    assert_eq!(read_on("next", 100).await, texts(35..40));
}

#[tokio::test]
async fn a_lane_whose_row_was_put_back_knows_what_is_parked() {
    let (database, mut relay, _, _) =
        parked_events(&[(event(1, "1"), Some(refused_for_good("no"))), (event(2, "2"), None)]).await;
    database
        .app()
        .execute_batch("DELETE FROM eventferry_lane; INSERT INTO eventferry_lane (lane) VALUES (0)")
        .unwrap();
    let leases = hold(&mut relay, &[], 1).await.unwrap();
    assert_eq!(relay.feed.open(&leases).await.unwrap()[0].anchor, Anchor::First);
    assert_eq!(read_payloads(&read_all(&mut relay, &[Lane(0)]).await), ["2"]);
}

#[tokio::test]
async fn an_event_with_the_message_id_of_one_that_was_parked_comes_all_the_same() {
    let (database, mut relay, _, _) =
        parked_events(&[(event(1, "dead"), Some(refused_for_good("no")))]).await;
    // As a replay of dead letters enqueues it.
    database.commit(&[event(2, "again")]);
    database
        .app()
        .execute_batch(
            "UPDATE eventferry_outbox SET enqueued_at = p.enqueued_at + 1000, message_id = p.message_id,
                 topic = p.topic, aggregate_type = p.aggregate_type, aggregate_id = p.aggregate_id
             FROM eventferry_parked AS p WHERE eventferry_outbox.id = 2;
             UPDATE eventferry_lane SET position = 0",
        )
        .unwrap();
    let leases = hold(&mut relay, &[], 1).await.unwrap();
    relay.feed.open(&leases).await.unwrap();
    assert_eq!(read_payloads(&read_all(&mut relay, &[Lane(0)]).await), ["again"]);
}
