//! The topics that events are for.

use crate::parked::parked;
use crate::server::{REFUSED, on_every_server};

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_told_with_their_largest_payloads_parked_ones_included() {
    on_every_server(async |database| {
        assert_eq!(database.store().topics().await.unwrap(), []);
        let (_relay, _) = parked(&database, 2, REFUSED).await;
        let app = database.client().await;
        let insert = "INSERT INTO eventferry.outbox (topic, aggregate_type, aggregate_id, payload) VALUES
                      ('large', 'order', '1', convert_to(repeat('x', 300000), 'UTF8')), ('large', 'order', '1', 'x'),
                      ('tombstones', 'order', '1', NULL)";
        app.batch_execute(insert).await.unwrap();
        let topics = database.store().topics().await.unwrap();
        let of = |name: &str| topics.iter().find(|(topic, _)| topic == name).map(|(_, bytes)| *bytes);
        assert_eq!((of("large"), of("tombstones")), (Some(300_000), Some(0)), "{topics:?}");
        assert_eq!(topics.len(), 3, "{topics:?}");
        app.batch_execute("TRUNCATE eventferry.outbox").await.unwrap();
        assert_eq!(database.store().topics().await.unwrap().len(), 1, "what is parked is still to be shipped");
    })
    .await;
}
