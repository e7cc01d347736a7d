//! The topics that events are for.

use eventferry_core::Event;
use eventferry_core::store::Prepare;
use eventferry_core::store::Store as _;
use eventferry_store_sqlite::SqliteStore;

use crate::database::{Database, refused_for_good};
use crate::parked::parked_events;

#[tokio::test]
async fn topics_are_told_with_their_largest_payloads() {
    let database = Database::with_lanes(4).await;
    let store = SqliteStore::new(database.config());
    assert_eq!(store.topics().await.unwrap(), []);
    let event = |topic: &str, bytes| Event::new(topic, ("order", 1)).payload(vec![b'.'; bytes], "");
    database.commit(&[event("orders", 10), event("orders", 200), event("invoices", 3), event("orders", 7)]);
    database.commit(&[Event::new("tombstones", ("order", 1))]);
    let expected =
        [("invoices", 3), ("orders", 200), ("tombstones", 0)].map(|(name, bytes)| (name.to_owned(), bytes));
    assert_eq!(store.topics().await.unwrap(), expected);
}

#[tokio::test]
async fn a_parked_events_topic_is_told_when_the_log_has_it_no_more() {
    let large = Event::new("orders", ("order", 1)).payload(vec![b'.'; 99], "");
    let (database, _, _, _) = parked_events(&[(large, Some(refused_for_good("no")))]).await;
    database.app().execute("DELETE FROM eventferry_outbox", []).unwrap();
    let mut store = SqliteStore::new(database.config());
    store.prepare(Prepare::Check).await.unwrap();
    assert_eq!(store.topics().await.unwrap(), [("orders".to_owned(), 99)]);
}
