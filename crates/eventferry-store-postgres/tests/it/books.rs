//! Leases, positions and parked events.

use std::time::Duration;

use eventferry_core::store::{Anchor, Claim, Feed as _, Lanes as _, Ledger as _, Settlement, Verdict};
use eventferry_core::{Lease, StoreFaultKind};

use crate::server::{
    Database, LEASE, Read, Relay, enqueue, expire, fail_over, on_every_server, read_by_owner,
};

async fn settle(relay: &mut Relay, record: &Read) -> Verdict {
    let prefix = [record.mark.clone()];
    let settlement = Settlement {
        lease: relay.lease(record.lane),
        prefix: &prefix,
        park: vec![],
        changes: vec![],
        carries: None,
    };
    relay.roles.ledger.settle(&[settlement]).await.unwrap()[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_prefix_is_not_read_again_and_the_rest_is() {
    on_every_server(async |database| {
        let (mut relay, records) = read_by_owner(&database, 3).await;
        assert_eq!(settle(&mut relay, &records[1]).await, Verdict::Done);
        relay.open_again().await;
        assert_eq!(relay.read_all().await, ["a/3"]);
    })
    .await;
}

/// A settlement as the server gets it: that of version 1 from version 0, word for word.
const FIRST_AGAIN: &str = "
    SELECT s.verdict FROM eventferry.position AS p, eventferry.current_history() AS h,
        eventferry.settle('owner', h.system_identifier, h.timeline, ARRAY[p.lane], ARRAY[p.epoch], ARRAY[0::bigint],
            ARRAY[p.read_window], ARRAY[p.last_id], '{}', '{}', '{}', '{}', '{}', '{}') AS s
    WHERE p.lane = $1 AND p.version = 1";

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_settlement_is_done_and_a_late_one_changes_nothing() {
    on_every_server(async |database| {
        let (mut relay, records) = read_by_owner(&database, 3).await;
        let app = database.client().await;
        let lane = i32::from(records[0].lane.0);
        assert_eq!(settle(&mut relay, &records[0]).await, Verdict::Done);
        let again: String = app.query_one(FIRST_AGAIN, &[&lane]).await.unwrap().get(0);
        assert_eq!(again, "done");
        assert_eq!(settle(&mut relay, &records[2]).await, Verdict::Done);
        // From a connection that was thought lost, after the next settlement.
        let late: String = app.query_one(FIRST_AGAIN, &[&lane]).await.unwrap().get(0);
        assert_eq!(late, "stale");
        relay.open_again().await;
        assert!(relay.read_all().await.is_empty(), "the newer position stands");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_version_a_late_settlement_moves_a_position_back() {
    on_every_server(async |database| {
        let newest = "t.version = ( SELECT p.version";
        database.undo("settle", &newest.replace("( ", "("), "t.version <= (SELECT p.version").await;
        database
            .undo(
                "settle",
                "t.version + 1, t.epoch",
                "(SELECT max(n.version) + 1 FROM eventferry.position AS n WHERE n.lane = t.lane), t.epoch",
            )
            .await;
        let (mut relay, records) = read_by_owner(&database, 3).await;
        let lane = i32::from(records[0].lane.0);
        settle(&mut relay, &records[0]).await;
        settle(&mut relay, &records[2]).await;
        database.client().await.query_one(FIRST_AGAIN, &[&lane]).await.unwrap();
        relay.open_again().await;
        assert_eq!(relay.read_all().await, ["a/2", "a/3"], "with the mend undone they are sent again");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_owner_can_settle_nothing() {
    on_every_server(async |database| {
        let (mut former, records) = read_by_owner(&database, 3).await;
        expire(&database).await;
        let mut next = database.relay("next").await;
        next.take(64).await;
        assert_eq!(next.leases.len(), 64);
        assert!(next.leases.iter().all(|lease| lease.epoch == 2));
        assert_eq!(settle(&mut former, &records[0]).await, Verdict::Fenced);
        assert_eq!(next.read_all().await, ["a/1", "a/2", "a/3"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_whose_position_is_being_settled_is_not_taken_meanwhile() {
    on_every_server(async |database| {
        let _former = database.owner().await;
        expire(&database).await;
        let mut app = database.client().await;
        let settling = app.transaction().await.unwrap();
        settling.batch_execute(include_str!("settling.sql")).await.unwrap();
        let mut next = database.relay("next").await;
        next.take(64).await;
        assert_eq!(next.leases.len(), 63, "the others do not wait for it");
        settling.commit().await.unwrap();
        next.take(1).await;
        assert_eq!(next.leases.len(), 64);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_touches_an_event_and_books_are_only_added_to() {
    on_every_server(async |database| {
        let app = database.client().await;
        let mut relay = database.owner().await;
        for number in 0..50 {
            enqueue(&app, "a", &number.to_string()).await;
            for record in relay.read().await.records {
                assert_eq!(settle(&mut relay, &record).await, Verdict::Done);
            }
            let keep = relay.leases.clone();
            relay.roles.lanes.hold(Claim { keep, take_max: 0, lease: LEASE, whole: false }).await.unwrap();
        }
        // A row's xmax is set by whoever updates, deletes or locks it.
        for table in ["outbox", "position", "beat", "read_window", "anchor"] {
            let touched = format!("SELECT count(*) FROM eventferry.{table} WHERE xmax <> '0'");
            assert_eq!(app.query_one(&touched, &[]).await.unwrap().get::<_, i64>(0), 0, "{table}");
        }
        let versions = "SELECT max(version) FROM eventferry.position";
        assert_eq!(app.query_one(versions, &[]).await.unwrap().get::<_, i64>(0), 50);
        let moved = "SELECT count(*) FROM eventferry.lane WHERE epoch <> 1";
        assert_eq!(app.query_one(moved, &[]).await.unwrap().get::<_, i64>(0), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_relay_of_the_same_name_is_told_so() {
    on_every_server(async |database| {
        let mut first = database.relay("twin").await;
        first.take(4).await;
        let mut second = database.relay("twin").await;
        let claim = || Claim { keep: Vec::new(), take_max: 4, lease: LEASE, whole: false };
        let held = second.roles.lanes.hold(claim()).await.unwrap();
        assert!(held.leases.is_empty(), "it may just have died: wait");
        first.take(0).await;
        let fault = second.roles.lanes.hold(claim()).await.unwrap_err();
        assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured);
        assert!(fault.to_string().contains("`twin`") && fault.to_string().contains("--relay-id"), "{fault}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_relay_regains_its_lanes_with_a_higher_epoch() {
    on_every_server(async |database| {
        let _former = database.owner().await;
        expire(&database).await;
        let again = database.owner().await;
        assert_eq!(again.leases.len(), 64);
        assert!(again.leases.iter().all(|lease| lease.epoch == 2));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_never_hold_one_lane_and_see_each_other() {
    on_every_server(async |database| {
        let (mut one, mut two) = (database.relay("one").await, database.relay("two").await);
        one.take(40).await;
        two.take(40).await;
        assert_eq!((one.leases.len(), two.leases.len()), (40, 24));
        assert!(one.lanes().iter().all(|lane| !two.lanes().contains(lane)));
        let keep = one.leases[..32].to_vec();
        let held =
            one.roles.lanes.hold(Claim { keep, take_max: 0, lease: LEASE, whole: false }).await.unwrap();
        assert_eq!((held.leases.len(), held.relays_live, held.lanes_total), (32, 2, 64));
        let leave = Claim { keep: Vec::new(), take_max: 0, lease: Duration::ZERO, whole: false };
        let held = one.roles.lanes.hold(leave).await.unwrap();
        assert_eq!((held.leases.len(), held.relays_live), (0, 1));
        two.take(64).await;
        assert_eq!(two.leases.len(), 64);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_opened_on_another_timeline_say_so_for_those_open_before() {
    on_every_server(async |database| {
        let app = database.client().await;
        let mut relay = database.relay("r").await;
        relay.take(32).await;
        for aggregate in 0..50 {
            enqueue(&app, &format!("a{aggregate}"), "1").await;
        }
        fail_over(&database).await;
        let claim = Claim { keep: relay.leases.clone(), take_max: 32, lease: LEASE, whole: false };
        let held = relay.roles.lanes.hold(claim).await.unwrap();
        let new: Vec<Lease> =
            held.leases.iter().filter(|lease| !relay.leases.contains(lease)).copied().collect();
        let fault = relay.roles.feed.open(&new).await.unwrap_err();
        assert_eq!(*fault.kind(), StoreFaultKind::HistoryLost);
        relay.leases = held.leases;
        let opened = relay.roles.feed.open(&relay.leases).await.unwrap();
        assert!(
            opened.iter().any(|opened| opened.anchor == Anchor::FailedOver),
            "it is said aloud: {opened:?}"
        );
        assert_eq!(relay.read_all().await.len(), 50);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_renews_too_late_is_not_told_that_it_owns_what_another_is_taking() {
    on_every_server(async |database| {
        let late = database.owner().await;
        expire(&database).await;
        let mut app = database.client().await;
        let incarnation: uuid::Uuid =
            app.query_one("SELECT incarnation FROM eventferry.beat LIMIT 1", &[]).await.unwrap().get(0);
        let epochs: Vec<i64> = late.leases.iter().map(|lease| lease.epoch as i64).collect();
        let lanes: Vec<i32> = late.leases.iter().map(|lease| i32::from(lease.lane.0)).collect();
        // The server is in the middle of the late renewal while another relay takes over.
        let renewing = app.transaction().await.unwrap();
        let hold =
            "SELECT cardinality(lanes) FROM eventferry.hold('owner', $1, 1000, 10000, $2, $3, 0, false)";
        let kept: i32 = renewing.query_one(hold, &[&incarnation, &lanes, &epochs]).await.unwrap().get(0);
        let taking = tokio::spawn({
            let mut next = database.relay("next").await;
            async move {
                next.take(64).await;
                next.leases.len()
            }
        });
        let watch = database.client().await;
        while !taking.is_finished() {
            let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'";
            if watch.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) > 0 {
                break;
            }
        }
        renewing.commit().await.unwrap();
        assert_eq!(kept as usize + taking.await.unwrap(), 64, "each lane has one owner");
    })
    .await;
}

/// A claim that was sent before all others of its process comes now. Says how many lanes the process has then.
async fn claimed_late(database: &Database) -> i64 {
    let owner = database.owner().await;
    assert_eq!(owner.leases.len(), 64);
    let app = database.client().await;
    let late = "SELECT eventferry.hold('owner', incarnation, 0, 10000, '{}', '{}', 0, false)
                FROM eventferry.beat LIMIT 1";
    app.execute(late, &[]).await.unwrap();
    app.query_one("SELECT count(*) FROM eventferry.lane WHERE owner = 'owner'", &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_comes_late_frees_no_lane_that_was_taken_since() {
    on_every_server(async |database| assert_eq!(claimed_late(&database).await, 64)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_comes_late_would_free_lanes_that_are_worked_on() {
    on_every_server(async |database| {
        database.undo("hold", "IF NOT FOUND THEN", "IF true THEN").await;
        assert_eq!(claimed_late(&database).await, 0, "with the mend undone");
    })
    .await;
}
