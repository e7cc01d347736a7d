//! Retention: what a sweep may remove, and what it may not.

use std::time::{Duration, Instant};

use eventferry_core::store::{Anchor, Feed as _, Ledger as _, Settlement, Upkeep as _, Verdict};

use eventferry_core::StoreFaultKind;

use crate::server::{Database, Relay, enqueue, on_every_server};

/// Every slot is old, as if all had been written long ago.
pub(crate) async fn age(database: &Database) {
    let admin = database.client().await;
    admin
        .batch_execute("UPDATE eventferry.outbox SET slot = eventferry.slot_of(now() - interval '1 hour')")
        .await
        .unwrap();
}

pub(crate) async fn sweep(relay: &mut Relay) {
    for _ in 0..8 {
        relay.roles.upkeep.sweep(Duration::ZERO).await.unwrap();
    }
}

pub(crate) async fn count(database: &Database, of: &str) -> i64 {
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
            changes: vec![],
            carries: None,
        };
        assert_eq!(relay.roles.ledger.settle(&[told(a, 0)]).await.unwrap(), [Verdict::Done]);
        // a goes on to the next window; b waits for its topic, for longer than a minute.
        enqueue(&app, "a", "2").await;
        let next = loop {
            if let Some(next) = relay.read().await.records.pop() {
                break next;
            }
        };
        let go_on = Settlement {
            lease: a,
            prefix: std::slice::from_ref(&next.mark),
            park: vec![],
            changes: vec![],
            carries: None,
        };
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

/// What a dump holds when it is restored into a cluster whose xids are far lower: the log and the books of another
/// cluster, as they were.
pub(crate) async fn restore(database: &Database) {
    let admin = database.client().await;
    admin
        .batch_execute(
            "UPDATE eventferry.history SET system_identifier = 1;
             UPDATE eventferry.outbox SET xid = (xid::text::bigint + 4000000000)::text::xid8;
             UPDATE eventferry.anchor SET xid = (xid::text::bigint + 4000000000)::text::xid8;
             UPDATE eventferry.read_window SET prev = '4000000000:4000000000:', cur = '4100000000:4100000000:'
             WHERE id <> '00000000-0000-0000-0000-000000000000'",
        )
        .await
        .unwrap();
}

pub(crate) async fn carry_all(relay: &mut Relay) -> usize {
    let (mut carried, mut empty) = (0, 0);
    while empty < 3 {
        let page = relay.read().await;
        carried += page.records.len();
        empty = if page.records.is_empty() && page.rest.is_quiet() { empty + 1 } else { 0 };
        let prefix: Vec<_> = page.passed.into_iter().map(|(lane, mark)| (lane, [mark])).collect();
        let lease = |lane| *relay.leases.iter().find(|lease| lease.lane == lane).unwrap();
        let told: Vec<_> = prefix
            .iter()
            .map(|(lane, mark)| Settlement {
                lease: lease(*lane),
                prefix: mark,
                park: vec![],
                changes: vec![],
                carries: None,
            })
            .collect();
        for verdict in relay.roles.ledger.settle(&told).await.unwrap() {
            assert_eq!(verdict, Verdict::Done);
        }
    }
    carried
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_nothing_is_removed_by_what_another_cluster_had_settled() {
    on_every_server(async |database| {
        let app = database.client().await;
        let mut relay = database.owner().await;
        enqueue(&app, "a", "1").await;
        assert_eq!(carry_all(&mut relay).await, 1);
        drop(relay);
        restore(&database).await;
        // The slot of a/1 was removed long ago; applications write for hours before a relay runs.
        app.batch_execute("DELETE FROM eventferry.outbox").await.unwrap();
        enqueue(&app, "a", "2").await;
        age(&database).await;
        app.batch_execute("UPDATE eventferry.beat SET until = now() - interval '1 second'").await.unwrap();
        let mut relay = database.relay("next").await;
        sweep(&mut relay).await;
        assert_eq!(count(&database, "eventferry.outbox").await, 1, "a/2 was carried by nobody");
        relay.take(64).await;
        assert_eq!(relay.read_all().await, ["a/2"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_another_cluster_go_like_others_once_they_are_settled() {
    on_every_server(async |database| {
        let app = database.client().await;
        let mut relay = database.owner().await;
        enqueue(&app, "a", "1").await;
        assert_eq!(carry_all(&mut relay).await, 1);
        enqueue(&app, "a", "2").await;
        restore(&database).await;
        let opened = relay.roles.feed.open(&relay.leases).await.unwrap();
        assert_eq!(opened[0].anchor, Anchor::Restored);
        assert!(carry_all(&mut relay).await >= 1);
        age(&database).await;
        // Not before every transaction is over that was running when the restore was found, other tests' included.
        let begun = Instant::now();
        while count(&database, "eventferry.outbox").await > 0 {
            assert!(begun.elapsed() < Duration::from_secs(240), "it stays for ever");
            sweep(&mut relay).await;
            carry_all(&mut relay).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_retention_leaves_a_slot_to_empty_at_any_time() {
    on_every_server(async |database| {
        // Of two seconds each, so that the ring goes round while one waits.
        database.client().await.batch_execute("SELECT eventferry.set_slot_seconds(2)").await.unwrap();
        let app = database.client().await;
        let mut relay = database.owner().await;
        enqueue(&app, "a", "1").await;
        carry_all(&mut relay).await;
        let begun = Instant::now();
        while count(&database, "eventferry.outbox").await > 0 {
            assert!(begun.elapsed() < Duration::from_secs(40), "nothing is ever removed");
            relay.roles.upkeep.sweep(Duration::from_secs(12)).await.unwrap();
        }
        assert!(begun.elapsed() >= Duration::from_secs(11), "kept as long as it should be");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_all_lanes_are_read_together() {
    on_every_server(async |database| {
        let app = database.client().await;
        let mut relay = database.owner().await;
        enqueue(&app, "a", "1").await;
        assert_eq!(carry_all(&mut relay).await, 1);
        enqueue(&app, "a", "2").await;
        restore(&database).await;
        relay.open_again().await;
        let page = relay.read().await;
        assert_eq!(page.passed.len(), 64, "and not the whole log once for each");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_whose_place_somebody_removed_is_said_and_its_events_stay() {
    on_every_server(async |database| {
        let app = database.client().await;
        for number in 0..200 {
            enqueue(&app, &format!("a{number}"), "1").await;
        }
        let mut relay = database.owner().await;
        carry_all(&mut relay).await;
        app.batch_execute("DELETE FROM eventferry.position WHERE lane = 7").await.unwrap();
        age(&database).await;
        sweep(&mut relay).await;
        assert_eq!(count(&database, "eventferry.outbox").await, 200);
        let fault = relay.roles.feed.open(&relay.leases).await.unwrap_err();
        assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured);
        assert!(fault.to_string().contains("lane 7 has no place"), "{fault}");
    })
    .await;
}
