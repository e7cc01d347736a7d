//! The log's tail: events by logical replication.

use eventferry_core::Lane;
use eventferry_core::store::{Feed as _, Settlement, Verdict};
use eventferry_store_postgres::FeedChoice;

use crate::server::{Database, Relay, enqueue, expire, on_every_server_by, query, text};

/// How many read from the slot.
pub(crate) const STREAMS: &str =
    "SELECT count(*) FROM pg_replication_slots WHERE slot_name = eventferry.tail_slot() AND active";

#[tokio::test(flavor = "multi_thread")]
async fn the_tail_hands_over_what_is_committed_once_and_in_order() {
    on_every_server_by(FeedChoice::TailTable, async |database| {
        let mut app = database.client().await;
        enqueue(&app, "a", "0").await;
        let mut relay = database.owner().await;
        assert_eq!(relay.read_all().await, ["a/0"]);
        // Others' transactions in the same cluster may keep it at windows for a while.
        come_to_the_tail(&mut relay, &app).await;
        let tx = app.transaction().await.unwrap();
        enqueue(&tx, "a", "1").await;
        assert!(relay.read_all().await.is_empty(), "nothing before the commit");
        tx.commit().await.unwrap();
        let mut tx = app.transaction().await.unwrap();
        enqueue(&tx, "a", "2").await;
        let savepoint = tx.transaction().await.unwrap();
        enqueue(&savepoint, "a", "savepoint").await;
        savepoint.rollback().await.unwrap();
        enqueue(&tx, "b", "1").await;
        tx.commit().await.unwrap();
        assert_eq!(relay.read_all().await, ["a/1", "a/2", "b/1"]);
        assert!(relay.read_all().await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_emitted_comes_in_the_order_of_commits_and_a_savepoint_rolled_back_takes_its_own_along() {
    on_every_server_by(FeedChoice::TailMessages, async |database| {
        let mut app = database.client().await;
        emit(&app, "a", "1").await;
        let mut relay = database.owner().await;
        let mut tx = app.transaction().await.unwrap();
        emit(&tx, "a", "2").await;
        let savepoint = tx.transaction().await.unwrap();
        emit(&savepoint, "a", "savepoint").await;
        savepoint.rollback().await.unwrap();
        emit(&tx, "a", "3").await;
        assert_eq!(relay.read_all().await, ["a/1"], "nothing before the commit");
        tx.commit().await.unwrap();
        let tx = app.transaction().await.unwrap();
        emit(&tx, "a", "rolled back").await;
        tx.rollback().await.unwrap();
        assert_eq!(relay.read_all().await, ["a/2", "a/3"]);
        let rows: i64 = query(&app, "SELECT count(*) FROM eventferry.outbox").await;
        assert_eq!(rows, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn emitting_without_a_slot_raises() {
    on_every_server_by(FeedChoice::Table, async |database| {
        let app = database.client().await;
        let error =
            app.execute("SELECT eventferry.emit('t', 'test', 'a', 'text'::text)", &[]).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert!(error.message().contains("no replication slot"), "{error}");
        assert!(error.hint().unwrap().contains("init --tail"), "{error}");
    })
    .await;
}

/// Emits an event whose payload is `AGGREGATE/REST`, through SQL.
pub(crate) async fn emit(client: &impl tokio_postgres::GenericClient, aggregate: &str, rest: &str) {
    let text = format!("{aggregate}/{rest}");
    client.execute("SELECT eventferry.emit('t', 'test', $1, $2::text)", &[&aggregate, &text]).await.unwrap();
}

/// Reads on, quietly, until the relay streams: others' transactions in the same cluster may keep it at windows.
pub(crate) async fn come_to_the_tail(relay: &mut Relay, app: &tokio_postgres::Client) {
    while query::<i64>(app, STREAMS).await == 0 {
        assert!(relay.read_all().await.is_empty());
    }
}

/// Settles every lane as far as it was read.
pub(crate) async fn settle_all(relay: &mut Relay) {
    let mut marks = Vec::new();
    for _ in 0..5 {
        let page = relay.read().await;
        assert!(page.records.is_empty());
        if !page.passed.is_empty() {
            marks = page.passed;
        }
    }
    for (lane, mark) in marks {
        let prefix = [mark];
        let settlement = Settlement {
            lease: relay.lease(lane),
            prefix: &prefix,
            park: vec![],
            changes: vec![],
            carries: None,
        };
        assert_eq!(relay.settle(settlement).await, Verdict::Done);
    }
}

/// Ends whoever reads from the slot, and drops it.
pub(crate) async fn drop_slot(app: &tokio_postgres::Client) {
    let drop = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
                WHERE slot_name = eventferry.tail_slot() AND active;
                SELECT pg_drop_replication_slot(eventferry.tail_slot())";
    while app.batch_execute(drop).await.is_err() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_owner_ends_the_reader_of_a_frozen_one() {
    on_every_server_by(FeedChoice::TailTable, async |database| {
        let app = database.client().await;
        let mut frozen = database.owner().await;
        come_to_the_tail(&mut frozen, &app).await;
        enqueue(&app, "a", "1").await;
        expire(&database).await;
        let mut heir = database.relay("heir").await;
        heir.take(64).await;
        assert_eq!(heir.leases.len(), 64);
        assert_eq!(heir.read_all().await, ["a/1"]);
        come_to_the_tail(&mut heir, &app).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_relay_has_all_lanes_and_the_others_none() {
    on_every_server_by(FeedChoice::TailTable, async |database| {
        let owner = database.owner().await;
        let mut other = database.relay("other").await;
        other.take(32).await;
        assert!(other.leases.is_empty());
        // Relays that share lanes leave none for one that would not take it.
        let table = Database { url: database.url.clone(), feed: FeedChoice::Table };
        drop(owner);
        expire(&database).await;
        let mut sharing = table.relay("sharing").await;
        sharing.take(10).await;
        other.take(64).await;
        assert_eq!((sharing.leases.len(), other.leases.len()), (10, 0));
        assert_eq!(sharing.relays_live().await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tail_goes_on_inside_a_transaction_that_was_settled_in_part() {
    on_every_server_by(FeedChoice::TailMessages, async |database| {
        let app = database.client().await;
        app.batch_execute(
            "BEGIN; SELECT eventferry.emit('t', 'test', 'a', 'a/' || n) FROM generate_series(1, 20) AS n; COMMIT",
        )
        .await
        .unwrap();
        let (mut relay, records) = {
            let mut relay = database.owner().await;
            let mut records = Vec::new();
            // A page ends where the socket is read dry.
            while records.len() < 20 {
                records.extend(relay.read().await.records);
            }
            (relay, records)
        };
        assert_eq!(records.len(), 20);
        let prefix = [records[11].mark.clone()];
        let lease = relay.lease(records[0].lane);
        let settlement = Settlement { lease, prefix: &prefix, park: vec![], changes: vec![], carries: None };
        assert_eq!(relay.settle(settlement).await, Verdict::Done);
        relay.open_again().await;
        let expected: Vec<String> = (13..=20).map(|number| format!("a/{number}")).collect();
        assert_eq!(relay.read_all().await, expected);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_feed_goes_on_where_the_tail_was_and_the_tail_where_that_was() {
    on_every_server_by(FeedChoice::TailTable, async |database| {
        let app = database.client().await;
        let table = Database { url: database.url.clone(), feed: FeedChoice::Table };
        let mut relay = database.owner().await;
        come_to_the_tail(&mut relay, &app).await;
        enqueue(&app, "a", "1").await;
        assert_eq!(relay.read_all().await, ["a/1"]);
        settle_all(&mut relay).await;
        drop(relay);
        enqueue(&app, "a", "2").await;
        expire(&database).await;
        let mut sharing = table.relay("table").await;
        sharing.take(64).await;
        let read = sharing.read_all().await;
        assert!(
            read.ends_with(&["a/2".into()]),
            "{read:?}: what was shipped may come again, before what was not"
        );
        drop(sharing);
        expire(&database).await;
        enqueue(&app, "a", "3").await;
        let mut relay = database.relay("tail again").await;
        relay.take(64).await;
        let read = relay.read_all().await;
        assert!(read.ends_with(&["a/2".into(), "a/3".into()]), "{read:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_windows_says_nothing_of_the_lanes_that_are_in_the_tail() {
    on_every_server_by(FeedChoice::TailTable, async |database| {
        let app = database.client().await;
        let mut relay = database.owner().await;
        come_to_the_tail(&mut relay, &app).await;
        // A transaction that is open keeps a lane at windows that is opened now.
        let holder = database.client().await;
        holder.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
        let lane = |aggregate| Lane::of("test", aggregate, 64);
        assert_ne!(lane("a"), lane("b"));
        let anew = relay.lease(lane("b"));
        relay.roles.feed.open(&[anew]).await.unwrap();
        for number in 1..=6 {
            // They take turns.
            assert!(number % 2 == 0 || relay.read().await.records.is_empty());
            enqueue(&app, "a", &number.to_string()).await;
            enqueue(&app, "b", &number.to_string()).await;
            let mut read = Vec::new();
            let mut is_quiet = false;
            while !is_quiet {
                let page = relay.read().await;
                is_quiet = page.rest.is_quiet();
                read.extend(page.records.iter().map(|record| text(&record.row)));
            }
            read.sort();
            assert_eq!(read, [format!("a/{number}"), format!("b/{number}")], "when all was quiet");
        }
    })
    .await;
}
