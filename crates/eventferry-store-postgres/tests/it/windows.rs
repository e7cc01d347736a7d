//! What windows hand over: everything committed, once, in order.

use eventferry_core::store::{Feed as _, Prepare, Rest, Store as _, Wish};
use eventferry_store_postgres::FeedChoice;

use crate::own_server::{NEWEST, OLDEST, OwnServer};
use crate::server::{Database, PATIENCE, Relay, by_aggregate, enqueue, on_every_server, query, text, until};
use crate::tail::STREAMS;

#[tokio::test(flavor = "multi_thread")]
async fn committed_events_come_once_and_others_never() {
    on_every_server(async |database| {
        let mut app = database.client().await;
        let mut relay = database.owner().await;
        let tx = app.transaction().await.unwrap();
        enqueue(&tx, "a", "1").await;
        assert!(relay.read_all().await.is_empty(), "nothing before the commit");
        tx.commit().await.unwrap();
        let tx = app.transaction().await.unwrap();
        enqueue(&tx, "a", "rolled back").await;
        tx.rollback().await.unwrap();
        let mut tx = app.transaction().await.unwrap();
        enqueue(&tx, "a", "2").await;
        let savepoint = tx.transaction().await.unwrap();
        enqueue(&savepoint, "a", "savepoint").await;
        savepoint.rollback().await.unwrap();
        enqueue(&tx, "a", "3").await;
        tx.commit().await.unwrap();
        assert_eq!(relay.read_all().await, ["a/1", "a/2", "a/3"]);
        assert!(relay.read_all().await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_from_before_the_first_relay_come_too() {
    on_every_server(async |database| {
        let app = database.client().await;
        enqueue(&app, "a", "1").await;
        enqueue(&app, "b", "1").await;
        let mut relay = database.owner().await;
        assert_eq!(relay.read_all().await, ["a/1", "b/1"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_commits_late_holds_nobody_up_and_is_not_skipped() {
    on_every_server(async |database| {
        let (mut slow, app) = (database.client().await, database.client().await);
        let mut relay = database.owner().await;
        let tx = slow.transaction().await.unwrap();
        enqueue(&tx, "slow", "1").await;
        for number in 0..2500 {
            if number % 500 == 0 {
                assert_eq!(relay.read_all().await.len(), if number == 0 { 0 } else { 500 });
            }
            enqueue(&app, "fast", &number.to_string()).await;
        }
        enqueue(&tx, "slow", "2").await;
        tx.commit().await.unwrap();
        enqueue(&app, "slow", "3").await;
        let read = by_aggregate(&relay.read_all().await);
        assert_eq!(read["slow"], ["1", "2", "3"]);
        assert_eq!(read["fast"].len(), 500);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_size_hand_over_the_same() {
    on_every_server(async |database| {
        let app = database.client().await;
        for number in 0..40 {
            enqueue(
                &app,
                &format!("a{}", number % 7),
                &format!("{number:0>width$}", width = number * 10 + 1),
            )
            .await;
        }
        let mut relay = database.owner().await;
        let whole = relay.read_all().await;
        assert_eq!(whole.len(), 40);
        for (records_max, bytes_max) in [(1, 1 << 20), (3, 1 << 20), (100, 1), (100, 700), (7, 300)] {
            relay.open_again().await;
            let lanes = relay.lanes();
            let mut texts = Vec::new();
            loop {
                let wish = Wish { lanes: &lanes, records_max, bytes_max };
                let page = relay.roles.feed.read(wish).await.unwrap();
                // The last one may go over, by itself.
                let before_last = page.records.iter().rev().skip(1);
                let bytes: usize = before_last.map(|record| text(&record.row).len()).sum();
                assert!(page.records.len() <= records_max as usize && (bytes as u64) < bytes_max.max(1));
                texts.extend(page.records.iter().map(|record| text(&record.row)));
                if page.records.is_empty() && page.rest.is_quiet() {
                    break;
                }
            }
            assert_eq!(texts, whole, "{records_max} records, {bytes_max} bytes");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_left_out_for_a_while_catch_up() {
    on_every_server(async |database| {
        let app = database.client().await;
        let mut relay = database.owner().await;
        let (some, all) = (relay.lanes()[..20].to_vec(), relay.lanes());
        let mut texts = Vec::new();
        for round in 0..6 {
            for aggregate in 0..50 {
                enqueue(&app, &format!("a{aggregate}"), &round.to_string()).await;
            }
            for _ in 0..4 {
                let lanes = if round % 2 == 0 { &some } else { &all };
                let wish = Wish { lanes, records_max: 30, bytes_max: 1 << 20 };
                let page = relay.roles.feed.read(wish).await.unwrap();
                texts.extend(page.records.iter().map(|record| text(&record.row)));
            }
        }
        texts.extend(relay.read_all().await);
        let aggregates = by_aggregate(&texts);
        assert_eq!(aggregates.len(), 50);
        for (aggregate, rounds) in aggregates {
            assert_eq!(rounds, ["0", "1", "2", "3", "4", "5"], "{aggregate}");
        }
    })
    .await;
}

/// A window of many pages in the middle of which one transaction's rows are late; what is read of it, page by page.
async fn late_in_the_middle(database: &Database) -> Vec<String> {
    let app = database.client().await;
    let mut slow_client = database.client().await;
    let mut relay = database.owner().await;
    let slow = slow_client.transaction().await.unwrap();
    slow.execute("SELECT pg_current_xact_id()", &[]).await.unwrap();
    // The relay's next window begins while it runs.
    enqueue(&app, "fast", "first").await;
    relay.read_all().await;
    for number in 0..60 {
        let text = number.to_string();
        match number {
            35 => enqueue(&slow, "slow", &text).await,
            _ => enqueue(&app, "fast", &text).await,
        }
    }
    slow.commit().await.unwrap();
    let lanes = relay.lanes();
    let mut read = Vec::new();
    loop {
        let page =
            relay.roles.feed.read(Wish { lanes: &lanes, records_max: 10, bytes_max: 1 << 20 }).await.unwrap();
        read.extend(page.records.iter().map(|record| text(&record.row)));
        if page.rest.is_quiet() {
            return read.iter().filter_map(|text| Some(text.split_once('/')?.1.to_owned())).collect();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn late_rows_come_in_their_place_on_any_page() {
    on_every_server(async |database| {
        let expected: Vec<String> = (0..60).map(|number| number.to_string()).collect();
        assert_eq!(late_in_the_middle(&database).await, expected);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_streamed_before_the_last_late_row_would_miss_it() {
    on_every_server(async |database| {
        for function in ["open_windows", "look"] {
            database.undo(function, "coalesce(max(late.id), 0)", "coalesce(max(0), 0)").await;
        }
        database.undo("look", "late_through := 9223372036854775807", "late_through := 0").await;
        let read = late_in_the_middle(&database).await;
        assert_eq!(read.len(), 59, "{read:?}");
        assert!(!read.contains(&"35".to_owned()));
    })
    .await;
}

/// Two events, the second of which is committed when the window of the first is open and not yet read.
async fn committed_meanwhile(database: &Database) -> Vec<String> {
    const SLEEPS: &str = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let near = "near := eventferry.newest_id()";
    database.undo("look", near, &format!("PERFORM pg_sleep(0.3); {near}")).await;
    let app = database.client().await;
    let mut relay = database.owner().await;
    relay.read_all().await;
    enqueue(&app, "a", "1").await;
    let meanwhile = async {
        until(&app, SLEEPS, 1).await;
        enqueue(&app, "b", "1").await;
    };
    let (mut texts, ()) = tokio::join!(relay.read_all(), meanwhile);
    texts.extend(relay.read_all().await);
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_while_a_window_is_read_comes_once() {
    on_every_server(async |database| {
        assert_eq!(committed_meanwhile(&database).await, ["a/1", "b/1"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_all_that_is_visible_hands_over_twice() {
    on_every_server(async |database| {
        let mend = "AND pg_visible_in_snapshot(o.xid, taken) AND NOT";
        database.undo("look", mend, "AND NOT").await;
        assert_eq!(committed_meanwhile(&database).await, ["a/1", "b/1", "b/1"], "with the mend undone");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_found_however_little_the_sequence_knows_of_them() {
    on_every_server(async |database| {
        let app = database.client().await;
        let mut relay = database.owner().await;
        enqueue(&app, "a", "1").await;
        assert_eq!(relay.read_all().await, ["a/1"]);
        // As after data were copied and sequences were not.
        let ahead = "INSERT INTO eventferry.outbox (id, topic, aggregate_type, aggregate_id, payload)
                     SELECT 100000 * n, 't', 'test', 'a', convert_to('a/' || n, 'UTF8')
                     FROM generate_series(2, 3) AS n";
        app.batch_execute(ahead).await.unwrap();
        assert_eq!(relay.read_all().await, ["a/2", "a/3"]);
    })
    .await;
}

/// A server that writes its log to disk late, a relay, and a session that does not wait for that.
async fn beside_others(programs: &str, feed: FeedChoice) -> (OwnServer, Relay, tokio_postgres::Client) {
    let server = OwnServer::start(programs, "wal_writer_delay = '10s'").await;
    let database = server.database(feed);
    database.store().prepare(Prepare::Apply).await.unwrap();
    let relay = database.owner().await;
    let others = database.client().await;
    others.batch_execute("CREATE TABLE others (); SET synchronous_commit = off").await.unwrap();
    (server, relay, others)
}

/// Where others write all the time, the log is never all on disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_outbox_in_a_busy_cluster_is_only_glanced_at() {
    for programs in [NEWEST, OLDEST] {
        let (_server, mut relay, others) = beside_others(programs, FeedChoice::Table).await;
        let mut rests = Vec::new();
        while rests.last() != Some(&Rest::Still) {
            others.batch_execute("INSERT INTO others DEFAULT VALUES").await.unwrap();
            rests.push(relay.read().await.rest);
            assert!(rests.len() < 10, "{rests:?}");
        }
        others.batch_execute("SET synchronous_commit = on").await.unwrap();
        enqueue(&others, "a", "1").await;
        assert_eq!(relay.read_all().await, ["a/1"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_outbox_in_a_busy_cluster_comes_to_the_tail() {
    let (_server, mut relay, others) = beside_others(NEWEST, FeedChoice::TailTable).await;
    let started = std::time::Instant::now();
    while query::<i64>(&others, STREAMS).await == 0 {
        others.batch_execute("INSERT INTO others DEFAULT VALUES").await.unwrap();
        assert!(relay.read().await.records.is_empty());
        assert!(started.elapsed() < PATIENCE, "it stays at windows");
    }
}
