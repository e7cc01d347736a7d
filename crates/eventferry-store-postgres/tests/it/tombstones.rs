//! What stays of settled parked events, how long, and what it is good for.

use eventferry_core::parked::{Change, End, ParkReason};
use eventferry_core::store::{Anchor, Feed as _, Wish};

use crate::parked::parked;
use crate::retention::{age, carry_all, count, restore, sweep};
use crate::server::{Database, REFUSED, Relay, enqueue, expire, on_every_server, text};

const SETTLED: &str = "eventferry.parked WHERE settled_at IS NOT NULL";

/// Nothing is known of where unsettled events begin, so that all of the log is read again.
async fn forget_floors(database: &Database) {
    database.client().await.batch_execute("DELETE FROM eventferry.anchor").await.unwrap();
}

/// Events a/1 to a/3: one discarded, one carried to the dead-letter topic, one parked still; b/1 shipped. Then the
/// database is restored from a copy in another cluster, and lanes are opened there.
async fn restored_with_parked(database: &Database) -> Relay {
    let (mut relay, keys) = parked(database, 3, REFUSED).await;
    relay
        .tell(&[(keys[0], Change::Settled(End::Discarded)), (keys[1], Change::Settled(End::DeadLettered))])
        .await;
    let app = database.client().await;
    enqueue(&app, "b", "1").await;
    assert_eq!(carry_all(&mut relay).await, 1);
    // Of a message id that an event has which is parked: the application gave it.
    let twin = "INSERT INTO eventferry.outbox (message_id, topic, aggregate_type, aggregate_id, payload)
                SELECT message_id, 't', 'test', 'c', 'c/twin' FROM eventferry.parked WHERE ordinal = $1";
    app.execute(twin, &[&keys[0].ordinal]).await.unwrap();
    forget_floors(database).await;
    restore(database).await;
    let opened = relay.roles.feed.open(&relay.leases).await.unwrap();
    assert!(opened.iter().all(|opened| opened.anchor == Anchor::Restored));
    relay
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_what_is_parked_or_was_is_not_handed_over_again() {
    on_every_server(async |database| {
        let mut relay = restored_with_parked(&database).await;
        let lanes = relay.lanes();
        let first =
            relay.roles.feed.read(Wish { lanes: &lanes, records_max: 1, bytes_max: 1000 }).await.unwrap();
        assert_eq!(text(&first.records[0].row), "b/1", "it may have been shipped after the copy was made");
        // The relay dies in the middle of it: the next one goes on in the same window.
        relay.open_again().await;
        assert_eq!(relay.read_all().await, ["b/1", "c/twin"]);
        assert_eq!(relay.keys().await.len(), 1, "a/3 comes back from where it is parked");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_what_was_given_up_would_be_shipped() {
    on_every_server(async |database| {
        let mend = "AND (SELECT p.id FROM eventferry.parked AS p \
                    WHERE p.message_id = o.message_id AND p.id = o.id LIMIT 1) \
                    IS NULL";
        database.undo("read_page", mend, "").await;
        let mut relay = restored_with_parked(&database).await;
        let read = relay.read_all().await;
        assert_eq!(read, ["a/1", "a/2", "a/3", "b/1", "c/twin"], "with the mend undone");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_pages_of_any_size_leave_out_what_is_parked() {
    on_every_server(async |database| {
        let app = database.client().await;
        for number in 0..50 {
            enqueue(&app, "a", &number.to_string()).await;
        }
        let mut relay = database.owner().await;
        let records = relay.read().await.records;
        relay.park(&records, &[ParkReason::Behind; 50]).await;
        app.batch_execute("DELETE FROM eventferry.parked WHERE ordinal % 10 = 0").await.unwrap();
        forget_floors(&database).await;
        restore(&database).await;
        relay.open_again().await;
        let (lanes, mut read) = (relay.lanes(), 0);
        loop {
            let wish = Wish { lanes: &lanes, records_max: 2, bytes_max: 1 << 20 };
            let page = relay.roles.feed.read(wish).await.unwrap();
            read += page.records.len();
            if page.records.is_empty() && page.rest.is_quiet() {
                break;
            }
        }
        assert_eq!(read, 5);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_event_stays_as_long_as_the_log_has_it_and_an_unsettled_one_always() {
    on_every_server(async |database| {
        let (mut relay, keys) = parked(&database, 2, REFUSED).await;
        carry_all(&mut relay).await;
        relay.tell(&[(keys[0], Change::Settled(End::DeadLettered))]).await;
        sweep(&mut relay).await;
        assert_eq!(count(&database, SETTLED).await, 1, "the log has it");
        age(&database).await;
        sweep(&mut relay).await;
        assert_eq!(count(&database, "eventferry.outbox").await, 0);
        sweep(&mut relay).await;
        assert_eq!(count(&database, SETTLED).await, 0);
        assert_eq!(relay.keys().await, keys[1..]);
    })
    .await;
}

/// Lanes that read another cluster's log again, of which the copy has lost an event that is settled.
async fn swept_while_rereading(database: &Database) -> i64 {
    let (mut relay, keys) = parked(database, 1, REFUSED).await;
    carry_all(&mut relay).await;
    relay.tell(&[(keys[0], Change::Settled(End::DeadLettered))]).await;
    restore(database).await;
    relay.open_again().await;
    database.client().await.batch_execute("DELETE FROM eventferry.outbox").await.unwrap();
    sweep(&mut relay).await;
    let meanwhile = count(database, SETTLED).await;
    // Twice: the window after the restore, and the next.
    for number in ["1", "2"] {
        enqueue(&database.client().await, "b", number).await;
        carry_all(&mut relay).await;
    }
    sweep(&mut relay).await;
    assert_eq!(count(database, SETTLED).await, 0);
    meanwhile
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_settled_is_removed_before_the_positions_have_passed_it() {
    on_every_server(async |database| assert_eq!(swept_while_rereading(&database).await, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_look_at_the_positions_it_is_removed_before() {
    on_every_server(async |database| {
        database.undo("sweep_parked", "AND t.lane <> ALL (rereading)", "").await;
        assert_eq!(swept_while_rereading(&database).await, 0, "with the mend undone");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_changes_hands_leaves_what_is_settled_behind() {
    on_every_server(async |database| {
        let (mut relay, keys) = parked(&database, 3, REFUSED).await;
        relay.tell(&[(keys[0], Change::Settled(End::Shipped))]).await;
        expire(&database).await;
        let mut next = database.relay("next").await;
        next.take(64).await;
        assert_eq!(next.keys().await, keys[1..]);
        assert!(next.read_all().await.is_empty());
    })
    .await;
}

/// What is read, all in all, after a restore with an event whose transaction has a number that this cluster gives
/// later, while a transaction runs that began before.
async fn reached_by_this_cluster(database: &Database) -> Vec<String> {
    let (app, long) = (database.client().await, database.client().await);
    let mut relay = database.owner().await;
    assert!(relay.read_all().await.is_empty());
    enqueue(&app, "a", "1").await;
    restore(database).await;
    let near = "UPDATE eventferry.outbox SET xid = (pg_current_xact_id()::text::bigint + 3000)::text::xid8";
    app.batch_execute(near).await.unwrap();
    long.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
    relay.open_again().await;
    let mut texts = relay.read_all().await;
    let reach = "DO $$ BEGIN FOR i IN 1 .. 6000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";
    app.batch_execute(reach).await.unwrap();
    texts.extend(relay.read_all().await);
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_another_cluster_comes_once_whatever_number_this_one_reaches() {
    on_every_server(async |database| assert_eq!(reached_by_this_cluster(&database).await, ["a/1"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn below_the_floor_an_event_of_another_cluster_would_come_again() {
    on_every_server(async |database| {
        database.undo("look", "(o.id > start OR o.xid < old_max)", "true").await;
        assert_eq!(reached_by_this_cluster(&database).await, ["a/1", "a/1"], "with the mend undone");
    })
    .await;
}
