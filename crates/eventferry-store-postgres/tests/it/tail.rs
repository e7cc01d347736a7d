//! The log's tail: events by logical replication.

use eventferry_store_postgres::FeedChoice;

use crate::server::{enqueue, on_every_server_by, query};

#[tokio::test(flavor = "multi_thread")]
async fn the_tail_hands_over_what_is_committed_once_and_in_order() {
    on_every_server_by(FeedChoice::TailTable, async |database| {
        let mut app = database.client().await;
        enqueue(&app, "a", "0").await;
        let mut relay = database.owner().await;
        assert_eq!(relay.read_all().await, ["a/0"]);
        // Others' transactions in the same cluster may keep it at windows for a while.
        let streams =
            "SELECT count(*) FROM pg_replication_slots WHERE slot_name = eventferry.tail_slot() AND active";
        while query::<i64>(&app, streams).await == 0 {
            assert!(relay.read_all().await.is_empty());
        }
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
async fn emit(client: &impl tokio_postgres::GenericClient, aggregate: &str, rest: &str) {
    let text = format!("{aggregate}/{rest}");
    client.execute("SELECT eventferry.emit('t', 'test', $1, $2::text)", &[&aggregate, &text]).await.unwrap();
}
