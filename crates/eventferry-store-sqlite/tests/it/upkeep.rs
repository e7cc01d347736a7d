//! Retention and figures.

use std::time::Duration;

use eventferry_core::Timestamp;
use eventferry_core::lane::Lane;
use eventferry_core::parked::{Change, End, ParkReason};
use eventferry_core::store::{Feed, LaneGauge, Roles, Swept, Upkeep};
use eventferry_store_sqlite::SqliteStore;

use crate::database::{
    Database, ROOMY, change, event, hold, lanes_of, payloads, read, read_all, refused_for_good, settle,
    settle_page,
};
use crate::parked::{keys, parked_events};

const HOUR: Duration = Duration::from_secs(3600);

/// Adds events that were enqueued at the test's time.
fn enqueue_at(database: &Database, at: Timestamp, numbers: std::ops::Range<u32>) {
    let mut app = database.app();
    let transaction = app.transaction().unwrap();
    for number in numbers {
        transaction
            .execute(
                "INSERT INTO eventferry_outbox (topic, aggregate_type, aggregate_id, payload, enqueued_at)
                 VALUES ('orders', 'order', ?1, ?1, ?2)",
                (number.to_string(), at.0),
            )
            .unwrap();
    }
    transaction.commit().unwrap();
}

async fn sweep_all(relay: &mut Roles<SqliteStore>, retention: Duration) -> u64 {
    let mut events = 0;
    loop {
        let swept = relay.upkeep.sweep(retention).await.unwrap();
        events += swept.events;
        if !swept.more {
            return events;
        }
    }
}

#[tokio::test]
async fn a_sweep_removes_what_is_settled_and_old_and_nothing_else() {
    let database = Database::with_lanes(2).await;
    let (mut relay, leases) = database.sole_relay().await;
    enqueue_at(&database, database.now(), 0..3_000);
    let page = read(&mut relay, &lanes_of(&leases), ROOMY).await.unwrap();
    database.pass(HOUR * 2);
    assert_eq!(sweep_all(&mut relay, HOUR).await, 0, "nothing is settled");

    settle_page(&mut relay, &leases, &page).await;
    enqueue_at(&database, database.now(), 3_000..3_010);
    let page = read(&mut relay, &lanes_of(&leases), ROOMY).await.unwrap();
    settle_page(&mut relay, &leases, &page).await;
    enqueue_at(&database, Timestamp(0), 3_010..3_020);
    assert_eq!(sweep_all(&mut relay, HOUR * 3).await, 0, "nothing is old enough");
    // What is young, and what is older than anything but unsettled, stays.
    assert_eq!(sweep_all(&mut relay, HOUR).await, 3_000);
    assert_eq!(database.count("eventferry_outbox"), 20);
    assert_eq!(relay.upkeep.sweep(HOUR).await.unwrap(), Swept { events: 0, more: false });
}

#[tokio::test]
async fn one_lane_behind_keeps_the_events_of_all() {
    let database = Database::with_lanes(2).await;
    let (mut relay, leases) = database.sole_relay().await;
    enqueue_at(&database, Timestamp(0), 0..100);
    let page = read(&mut relay, &lanes_of(&leases), ROOMY).await.unwrap();
    settle_page(&mut relay, &leases[..1], &page).await;
    assert_eq!(sweep_all(&mut relay, HOUR).await, 0);
    settle_page(&mut relay, &leases[1..], &page).await;
    assert!(sweep_all(&mut relay, HOUR).await >= 99);
}

#[tokio::test]
async fn ids_do_not_begin_anew_when_retention_has_emptied_the_outbox() {
    let database = Database::with_lanes(1).await;
    let (mut relay, leases) = database.sole_relay().await;
    enqueue_at(&database, Timestamp(0), 0..10);
    let page = read(&mut relay, &lanes_of(&leases), ROOMY).await.unwrap();
    settle_page(&mut relay, &leases, &page).await;
    assert_eq!(sweep_all(&mut relay, HOUR).await, 10);
    assert_eq!(database.count("eventferry_outbox"), 0);

    // A running relay, and one that starts from the stored position.
    database.commit(&[event(1, "after")]);
    let page = read(&mut relay, &lanes_of(&leases), ROOMY).await.unwrap();
    assert_eq!(payloads(&page), ["after"]);
    relay.feed.open(&leases).await.unwrap();
    assert_eq!(read_all(&mut relay, &lanes_of(&leases)).await.len(), 1);
}

#[tokio::test]
async fn what_is_parked_outlives_retention() {
    let database = Database::with_lanes(1).await;
    let (mut relay, leases) = database.sole_relay().await;
    enqueue_at(&database, Timestamp(0), 0..2);
    let records = read_all(&mut relay, &lanes_of(&leases)).await;
    let park = [(&records[0], refused_for_good("no"))];
    settle(&mut relay, leases[0], &records[1], &park).await.unwrap();
    assert_eq!(sweep_all(&mut relay, HOUR).await, 2);
    assert_eq!((database.count("eventferry_outbox"), database.count("eventferry_parked")), (0, 1));
}

#[tokio::test]
async fn what_was_parked_is_removed_after_retention_once_it_is_settled() {
    let events: Vec<_> = (0..3).map(|number| (event(number, "x"), Some(refused_for_good("no")))).collect();
    let (database, mut relay, lease, _) = parked_events(&events).await;
    let parked = keys(&mut relay).await;
    database.app().execute("UPDATE eventferry_outbox SET enqueued_at = 0 WHERE id <> 2", []).unwrap();
    database.pass(HOUR);
    let settled = [parked[0], parked[1]].map(|key| (key, Change::Settled(End::Shipped)));
    change(&mut relay, lease, &settled).await.unwrap();
    database.pass(HOUR);
    assert_eq!(sweep_all(&mut relay, HOUR).await, 2, "the events, of which nothing is needed");
    assert_eq!(database.count("eventferry_parked"), 3, "settled for not longer than an hour");
    database.pass(HOUR);
    // The event of the second is still in the outbox: whoever goes back must know that it was parked.
    assert_eq!(sweep_all(&mut relay, HOUR).await, 0, "what is left of parked ones does not count");
    assert_eq!(database.count("eventferry_parked"), 2);
    database.app().execute("UPDATE eventferry_outbox SET enqueued_at = 0", []).unwrap();
    assert_eq!(sweep_all(&mut relay, HOUR).await, 1);
    assert_eq!(database.count("eventferry_parked"), 1);
    database.pass(HOUR * 1_000);
    sweep_all(&mut relay, Duration::ZERO).await;
    assert_eq!(keys(&mut relay).await, parked[2..], "never what is not settled");
}

#[tokio::test]
async fn what_a_lane_that_went_back_must_know_is_kept() {
    let (database, mut relay, lease, _) =
        parked_events(&[(event(1, "1"), Some(refused_for_good("no"))), (event(2, "2"), None)]).await;
    let key = keys(&mut relay).await[0];
    change(&mut relay, lease, &[(key, Change::Settled(End::Shipped))]).await.unwrap();
    let app = database.app();
    // Filled from a copy: other ids, the same messages.
    app.execute_batch("UPDATE eventferry_outbox SET id = id + 10; UPDATE eventferry_lane SET position = 0")
        .unwrap();
    database.pass(HOUR);
    sweep_all(&mut relay, Duration::ZERO).await;
    assert_eq!(database.count("eventferry_parked"), 1);
    app.execute_batch("UPDATE eventferry_lane SET position = 12").unwrap();
    sweep_all(&mut relay, Duration::ZERO).await;
    assert_eq!(database.count("eventferry_parked"), 0);
}

#[tokio::test]
async fn a_gauge_counts_what_is_parked_and_not_settled() {
    let (_database, mut relay, lease, _) = parked_events(&[
        (event(1, "1"), Some(refused_for_good("no"))),
        (event(1, "2"), Some(ParkReason::Behind)),
        (event(2, "3"), Some(refused_for_good("no"))),
    ])
    .await;
    let parked = keys(&mut relay).await;
    assert_eq!(relay.upkeep.gauge().await.unwrap().lanes[0].parked, 3);
    change(&mut relay, lease, &[(parked[0], Change::Settled(End::Shipped))]).await.unwrap();
    change(&mut relay, lease, &[(parked[2], Change::Held)]).await.unwrap();
    assert_eq!(relay.upkeep.gauge().await.unwrap().lanes[0].parked, 2);
}

#[tokio::test]
async fn a_gauge_counts_lag_lanes_and_relays() {
    let database = Database::with_lanes(4).await;
    let (mut relay, leases) = database.sole_relay().await;
    enqueue_at(&database, Timestamp(5), 0..40);
    enqueue_at(&database, Timestamp(7), 40..80);
    let lanes = lanes_of(&leases);
    let page = read(&mut relay, &lanes, (40, u64::MAX)).await.unwrap();
    settle_page(&mut relay, &leases[1..], &page).await;
    let first = page.records.iter().find(|record| record.lane == lanes[1]).unwrap();
    let later = read_all(&mut relay, &lanes).await;
    let next = later.iter().find(|record| record.lane == lanes[1]).unwrap();
    let park = [(next, refused_for_good("no"))];
    settle(&mut relay, leases[1], next, &park).await.unwrap();
    assert_ne!(first.row, next.row);

    database.pass(Duration::from_secs(1));
    let mut other = database.roles("other");
    hold(&mut other, &[], 0).await.unwrap();
    database.pass(Duration::from_secs(9));
    let gauge = relay.upkeep.gauge().await.unwrap();
    assert_eq!(gauge.at, database.now());
    let of_lane = |lane: u16| {
        (0..80).filter(move |number: &u32| Lane::of("order", &number.to_string(), 4) == Lane(lane))
    };
    let expected = |lane: u16, lag: usize, oldest: i64, parked: u64| LaneGauge {
        lane: Lane(lane),
        owner: Some("sole".into()),
        epoch: 1,
        lag_records: lag as u64,
        oldest_unsettled: Some(Timestamp(oldest)),
        parked,
    };
    let late = |lane| of_lane(lane).filter(|number| *number >= 40).count();
    assert_eq!(
        gauge.lanes,
        [
            expected(0, of_lane(0).count(), 5, 0),
            expected(1, late(1) - 1, 7, 1),
            expected(2, late(2), 7, 0),
            expected(3, late(3), 7, 0),
        ]
    );
    let relays: Vec<_> = gauge.relays.iter().map(|relay| (&*relay.id, relay.live)).collect();
    assert_eq!(relays, [("other", true), ("sole", false)]);
    assert_eq!(gauge.relays[0].last_beat.0 - gauge.relays[1].last_beat.0, 1_000_000);

    database.pass(Duration::from_secs(25 * 3600));
    hold(&mut other, &[], 0).await.unwrap();
    relay.upkeep.sweep(HOUR).await.unwrap();
    let gauge = relay.upkeep.gauge().await.unwrap();
    assert_eq!(
        gauge.relays.iter().map(|relay| &*relay.id).collect::<Vec<_>>(),
        ["other"],
        "the other is forgotten"
    );
}
