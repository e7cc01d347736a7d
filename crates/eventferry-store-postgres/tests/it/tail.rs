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
        let reads: i64 = query(
            &app,
            "SELECT count(*) FROM pg_replication_slots WHERE slot_name = eventferry.tail_slot() AND active",
        )
        .await;
        assert_eq!(reads, 1, "it came from the slot");
        assert!(relay.read_all().await.is_empty());
    })
    .await;
}
