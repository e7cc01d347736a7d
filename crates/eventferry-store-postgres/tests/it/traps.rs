//! Each trap that a prototype fell into, with its mend and with the mend undone.

use tokio_postgres::Client;

use crate::server::{Database, by_aggregate, enqueue, on_every_server, query};

/// A transaction takes an xid and an id; before any other completes, the sequence is read and a window opened: that
/// window's `xmax` is the running transaction's own xid, which is not in its list of running ones.
async fn running_at_xmax(database: &Database) -> Vec<String> {
    let (mut slow, app) = (database.client().await, database.client().await);
    let mut relay = database.owner().await;
    let fill = "INSERT INTO eventferry.outbox (topic, aggregate_type, aggregate_id, payload) \
                SELECT 't', 'test', 'fill', convert_to('fill/' || n, 'UTF8') FROM generate_series(1, 1500) n";
    app.execute(fill, &[]).await.unwrap();
    let tx = slow.transaction().await.unwrap();
    enqueue(&tx, "slow", "1").await;
    let mut texts = relay.read_all().await;
    tx.commit().await.unwrap();
    texts.extend(relay.read_all().await);
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_bound_counts_only_for_windows_that_saw_its_xid_complete() {
    on_every_server(async |database| {
        let texts = running_at_xmax(&database).await;
        assert_eq!(by_aggregate(&texts)["slow"], ["1"]);
        assert_eq!(texts.len(), 1501);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_bound_for_any_window_loses_events() {
    on_every_server(async |database| {
        database.undo("open_windows", "a.xid < pg_snapshot_xmax(prev)", "true").await;
        database.undo("open_windows", "a.xid < pg_snapshot_xmin(prev)", "true").await;
        database.undo("look", "anchor.xid >= old_max", "false").await;
        database.undo("look", "anchor.xid >= old_min", "false").await;
        assert!(running_at_xmax(&database).await.len() < 1501, "with the mend undone events are lost");
    })
    .await;
}

/// The sequence is asked for its last value before it ever gave one.
async fn first_of_a_fresh_sequence(database: &Database) -> Vec<String> {
    let app = database.client().await;
    let mut relay = database.owner().await;
    app.execute("SELECT eventferry.flush()", &[]).await.unwrap();
    // A later transaction completes, so that the next windows may use the pair.
    app.execute("SELECT eventferry.flush()", &[]).await.unwrap();
    // Others write to the server too: until a window was seen to be on disk, and so was moved past.
    while relay.read().await.passed.is_empty() {}
    enqueue(&app, "a", "1").await;
    relay.read_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_event_of_a_fresh_sequence_is_read() {
    on_every_server(async |database| assert_eq!(first_of_a_fresh_sequence(&database).await, ["a/1"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_sequence_taken_at_its_word_loses_the_first_event() {
    on_every_server(async |database| {
        database.undo("newest_id", "), 0)", "), 1)").await;
        assert!(
            first_of_a_fresh_sequence(&database).await.is_empty(),
            "with the mend undone the event is lost"
        );
    })
    .await;
}

/// How often, in so many looks, the last id given is said to be one that is given only later, while others ask for ids.
async fn ids_said_too_early(database: &Database, looks: i32) -> i64 {
    let looker = database.client().await;
    looker.batch_execute(include_str!("said_too_early.sql")).await.unwrap();
    let mut others = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let other = database.client().await;
        others.spawn(async move {
            let ids = "SELECT nextval('eventferry.outbox_id') FROM generate_series(1, 1000)";
            while other.batch_execute(ids).await.is_ok() {}
        });
    }
    let early = looker.query_one("SELECT said_too_early($1)", &[&looks]).await.unwrap().get(0);
    others.shutdown().await;
    early
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_never_said_to_be_given_before_it_is() {
    on_every_server(async |database| assert_eq!(ids_said_too_early(&database, 100_000).await, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_read_like_a_table_says_ids_that_are_given_later() {
    on_every_server(async |database| {
        let mend = "pg_catalog.pg_sequence_last_value('eventferry.outbox_id')";
        database.undo("newest_id", mend, "(SELECT last_value FROM eventferry.outbox_id)").await;
        let mut early = 0;
        for _ in 0..50 {
            early += ids_said_too_early(&database, 20_000).await;
            if early > 0 {
                return;
            }
        }
        panic!("with the mend undone it is seen");
    })
    .await;
}

/// A transaction has an early xid, waits for another's row lock, and enqueues after it.
async fn early_xid_late_event(database: &Database) -> Vec<String> {
    let (mut early, mut late) = (database.client().await, database.client().await);
    let mut relay = database.owner().await;
    let first = early.transaction().await.unwrap();
    first.execute("SELECT pg_current_xact_id()", &[]).await.unwrap();
    let second = late.transaction().await.unwrap();
    enqueue(&second, "a", "1").await;
    second.commit().await.unwrap();
    enqueue(&first, "a", "2").await;
    first.commit().await.unwrap();
    relay.read_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn inside_a_window_ids_decide() {
    on_every_server(async |database| assert_eq!(early_xid_late_event(&database).await, ["a/1", "a/2"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inside_a_window_xids_would_reorder() {
    on_every_server(async |database| {
        for function in ["read_page", "look"] {
            database.undo(function, "ORDER BY o.id LIMIT rows_max;", "ORDER BY o.xid LIMIT rows_max;").await;
        }
        assert_eq!(early_xid_late_event(&database).await, ["a/2", "a/1"], "with the mend undone");
    })
    .await;
}

/// How often what was read was not on disk, with a writer that does not wait for it. Tried often: the WAL writer
/// flushes by itself five times a second.
async fn handed_over_before_durable(database: &Database) -> usize {
    let app = database.client().await;
    app.execute("SET synchronous_commit = off", &[]).await.unwrap();
    let mut relay = database.owner().await;
    let mut early = 0;
    for number in 0..30 {
        enqueue(&app, "a", &number.to_string()).await;
        let written: String = query(&app, "SELECT pg_current_wal_insert_lsn()::text").await;
        if !relay.read().await.records.is_empty() {
            let flushed: bool =
                query(&app, &format!("SELECT pg_current_wal_flush_lsn() >= '{written}'")).await;
            early += usize::from(!flushed);
        }
    }
    early
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_handed_over_before_it_is_durable() {
    on_every_server(async |database| assert_eq!(handed_over_before_durable(&database).await, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_flush_events_are_handed_over_too_early() {
    on_every_server(async |database| {
        let (mend, undone) = ("'synchronous_commit', 'local'", "'synchronous_commit', 'off'");
        database.undo("flush", mend, undone).await;
        database.undo("look", mend, undone).await;
        assert!(handed_over_before_durable(&database).await > 0, "with the mend undone");
    })
    .await;
}

/// What a take-over finds that waits for a settlement which parks an event: its position and its parked events, if
/// both are read by `statement`s that come after the lock, or in one with it.
async fn take_over_while_parking(database: &Database, in_one_statement: bool) -> (i64, i64) {
    let (mut owner, mut taker) = (database.client().await, database.client().await);
    let settling = owner.transaction().await.unwrap();
    settling.batch_execute(include_str!("settling.sql")).await.unwrap();
    let taking = taker.transaction().await.unwrap();
    let found = "SELECT (SELECT max(version) FROM eventferry.position WHERE lane = 0), \
                        (SELECT count(*) FROM eventferry.parked WHERE lane = 0)";
    let lock = "SELECT FROM eventferry.lane WHERE lane = 0 FOR UPDATE";
    let both = format!("WITH taken AS MATERIALIZED ({lock}) {found} FROM taken");
    let commit = async {
        // Until the taker waits for the lock.
        let watch = database.client().await;
        while query::<i64>(&watch, "SELECT count(*) FROM pg_locks WHERE NOT granted").await == 0 {
            tokio::task::yield_now().await;
        }
        settling.commit().await.unwrap();
    };
    let take = async {
        if in_one_statement {
            return taking.query_one(&both, &[]).await.unwrap();
        }
        taking.query_one(&format!("{lock} /* alone */"), &[]).await.unwrap();
        taking.query_one(found, &[]).await.unwrap()
    };
    let (row, ()) = tokio::join!(take, commit);
    (row.get(0), row.get(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_after_the_lock_is_new() {
    on_every_server(async |database| assert_eq!(take_over_while_parking(&database, false).await, (1, 1)))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_with_the_lock_is_old() {
    on_every_server(async |database| {
        assert_eq!(
            take_over_while_parking(&database, true).await,
            (0, 0),
            "so no statement of ours does both"
        );
    })
    .await;
}

/// The pages that a query looks at, by the server's own count.
pub(crate) async fn pages_read(client: &Client, sql: &str) -> i64 {
    let plan =
        client.query_one(&format!("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {sql}"), &[]).await;
    let plan: serde_json::Value = plan.unwrap().get(0);
    let plan = &plan[0]["Plan"];
    let count = |what: &str| plan[what].as_i64().unwrap();
    count("Shared Hit Blocks") + count("Shared Read Blocks")
}

/// How many pages `look` reads before and after `change` was done 400 times, each committed by itself, while a
/// transaction with an old snapshot is open.
async fn under_an_old_snapshot(database: &Database, change: &str, look: &str) -> (i64, i64) {
    let (mut old, app) = (database.client().await, database.client().await);
    let snapshot = old.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead);
    let snapshot = snapshot.start().await.unwrap();
    snapshot.query_one("SELECT count(*) FROM eventferry.lane", &[]).await.unwrap();
    app.batch_execute("SET synchronous_commit = off").await.unwrap();
    app.batch_execute(change).await.unwrap();
    // The planner takes the tables for as small as they are now, as after an autovacuum.
    app.batch_execute("ANALYZE").await.unwrap();
    pages_read(&app, look).await;
    let before = pages_read(&app, look).await;
    for _ in 0..400 {
        app.batch_execute(change).await.unwrap();
    }
    (before, pages_read(&app, look).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_and_heartbeats_stay_quick_under_an_old_snapshot() {
    on_every_server(async |database| {
        let settle = "INSERT INTO eventferry.position (lane, version, epoch, read_window, last_id)
                      SELECT p.lane, p.version + 1, 0, p.read_window, 1
                      FROM eventferry.positions(ARRAY[0, 1, 2, 3, 4, 5, 6, 7]) AS p";
        let look = "SELECT * FROM eventferry.positions(ARRAY[0, 1, 2, 3, 4, 5, 6, 7])";
        let (before, after) = under_an_old_snapshot(&database, settle, look).await;
        assert!(after <= before * 2, "{before} pages, later {after}");
        let beat =
            "INSERT INTO eventferry.beat (relay, until, incarnation) VALUES ('r', now(), gen_random_uuid())";
        let (before, after) =
            under_an_old_snapshot(&database, beat, "SELECT eventferry.relay_lives('r')").await;
        assert!(after <= before * 2, "{before} pages, later {after}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_updated_gets_slower_under_an_old_snapshot() {
    on_every_server(async |database| {
        let (update, look) = (
            "UPDATE eventferry.lane SET epoch = epoch + 1 WHERE lane < 8",
            "SELECT * FROM eventferry.lane WHERE lane < 8",
        );
        let (before, after) = under_an_old_snapshot(&database, update, look).await;
        assert!(after > before * 5, "{before} pages, later {after}: why positions are not kept so");
    })
    .await;
}
