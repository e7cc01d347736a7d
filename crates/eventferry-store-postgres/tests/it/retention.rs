//! Retention: what a sweep may remove, and what it may not.

use std::time::Duration;

use eventferry_core::store::{Ledger as _, Settlement, Upkeep as _, Verdict};

use crate::server::{Database, Relay, enqueue, on_every_server};

/// Every slot is old, as if all had been written long ago.
async fn age(database: &Database) {
    let admin = database.client().await;
    admin
        .batch_execute("UPDATE eventferry.outbox SET slot = eventferry.slot_of(now() - interval '1 hour')")
        .await
        .unwrap();
}

async fn sweep(relay: &mut Relay) {
    for _ in 0..8 {
        relay.roles.upkeep.sweep(Duration::ZERO).await.unwrap();
    }
}

async fn count(database: &Database, of: &str) -> i64 {
    let query = format!("SELECT count(*) FROM {of}");
    database.client().await.query_one(&query, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_stood_still_keeps_its_place_when_it_goes_on() {
    on_every_server(async |database| {
        let app = database.client().await;
        let mut relay = database.owner().await;
        // a and b: two lanes, one window.
        enqueue(&app, "a", "1").await;
        enqueue(&app, "b", "1").await;
        let records = relay.read().await.records;
        assert_eq!(records.len(), 2);
        assert_ne!(records[0].lane, records[1].lane);
        let lease = |at: usize| *relay.leases.iter().find(|lease| lease.lane == records[at].lane).unwrap();
        let (a, b) = (lease(0), lease(1));
        let told = |lease, at: usize| Settlement {
            lease,
            prefix: std::slice::from_ref(&records[at].mark),
            park: vec![],
        };
        assert_eq!(relay.roles.ledger.settle(&[told(a, 0)]).await.unwrap(), [Verdict::Done]);
        // a goes on to the next window; b waits for its topic, for longer than a minute.
        enqueue(&app, "a", "2").await;
        let next = loop {
            if let Some(next) = relay.read().await.records.pop() {
                break next;
            }
        };
        let go_on = Settlement { lease: a, prefix: std::slice::from_ref(&next.mark), park: vec![] };
        assert_eq!(relay.roles.ledger.settle(&[go_on]).await.unwrap(), [Verdict::Done]);
        app.batch_execute("UPDATE eventferry.read_window SET opened_at = opened_at - interval '2 minutes'")
            .await
            .unwrap();
        sweep(&mut relay).await;
        enqueue(&app, "b", "2").await;
        assert_eq!(relay.roles.ledger.settle(&[told(b, 1)]).await.unwrap(), [Verdict::Done]);
        age(&database).await;
        sweep(&mut relay).await;
        assert_eq!(count(&database, "eventferry.stands()").await, 64, "lanes with a place");
        assert_eq!(
            count(&database, "eventferry.outbox WHERE aggregate_id = 'b'").await,
            2,
            "b/2 is not settled"
        );
        relay.open_again().await;
        assert_eq!(relay.read_all().await, ["b/2"]);
    })
    .await;
}
