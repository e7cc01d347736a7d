//! Ownership: leases, take-over, and two relays of one name.

use std::time::Duration;

use eventferry_core::store::{Claim, Held, Lanes};
use eventferry_core::{Lane, Lease, StoreFaultKind};

use crate::database::{Database, LEASE, hold, lanes_of, leave};

/// More than a lease.
const LATER: Duration = Duration::from_secs(11);

/// The time between two renewals.
const RENEWAL: Duration = Duration::from_secs(3);

#[tokio::test]
async fn two_relays_share_the_lanes() {
    let database = Database::with_lanes(8).await;
    let (mut a, mut b) = (database.roles("a"), database.roles("b"));
    let of_a = hold(&mut a, &[], 5).await.unwrap();
    let of_b = hold(&mut b, &[], 8).await.unwrap();
    assert_eq!((of_a.len(), of_b.len()), (5, 3));
    assert!(lanes_of(&of_a).iter().all(|lane| !lanes_of(&of_b).contains(lane)));

    // One is given up by leaving it out, and the other takes it under a higher epoch.
    let kept = hold(&mut a, &of_a[1..], 0).await.unwrap();
    assert_eq!(kept, of_a[1..]);
    let taken = hold(&mut b, &of_b, 1).await.unwrap();
    assert!(taken.contains(&Lease { lane: of_a[0].lane, epoch: of_a[0].epoch + 1 }), "{taken:?}");

    let held =
        a.lanes.hold(Claim { keep: kept.clone(), take_max: 8, lease: LEASE, whole: false }).await.unwrap();
    assert_eq!(held, Held { leases: kept, relays_live: 2, lanes_total: 8 });
}

#[tokio::test]
async fn lanes_change_hands_when_their_owners_heartbeat_has_run_out() {
    let database = Database::with_lanes(4).await;
    let (mut a, mut b) = (database.roles("a"), database.roles("b"));
    let of_a = hold(&mut a, &[], 4).await.unwrap();
    database.pass(LEASE - Duration::from_micros(1));
    assert_eq!(hold(&mut b, &[], 4).await.unwrap(), [], "the lease still runs");
    database.pass(Duration::from_micros(1));
    let of_b = hold(&mut b, &[], 3).await.unwrap();
    assert!(of_b.iter().all(|lease| lease.epoch == 2), "{of_b:?}");

    // The former owner learns what it has lost and keeps what nobody took.
    assert_eq!(hold(&mut a, &of_a, 0).await.unwrap(), of_a[3..]);
}

#[tokio::test]
async fn a_relay_that_leaves_is_not_waited_for() {
    let database = Database::with_lanes(4).await;
    let (mut a, mut b) = (database.roles("a"), database.roles("b"));
    hold(&mut a, &[], 4).await.unwrap();
    leave(&mut a).await;
    let held =
        b.lanes.hold(Claim { keep: Vec::new(), take_max: 4, lease: LEASE, whole: false }).await.unwrap();
    assert_eq!((held.leases.len(), held.relays_live), (4, 1));

    // Nor does it keep its own successor waiting.
    leave(&mut b).await;
    assert_eq!(hold(&mut database.roles("b"), &[], 4).await.unwrap().len(), 4);
}

#[tokio::test]
async fn what_a_relay_does_not_keep_comes_back_only_under_a_higher_epoch() {
    let database = Database::with_lanes(4).await;
    let mut a = database.roles("a");
    let first = hold(&mut a, &[], 4).await.unwrap();
    let again = hold(&mut a, &[], 4).await.unwrap();
    assert_eq!(lanes_of(&again), lanes_of(&first));
    assert!(again.iter().all(|lease| lease.epoch == 2), "{again:?}");
    // An epoch it never had is no lease.
    let forged = Lease { lane: Lane(0), epoch: 1 };
    assert_eq!(hold(&mut a, &[forged], 0).await.unwrap(), []);
}

#[tokio::test]
async fn a_restarted_relay_waits_for_its_former_self_to_run_out() {
    let database = Database::with_lanes(4).await;
    let before = hold(&mut database.roles("a"), &[], 4).await.unwrap();
    let mut restarted = database.roles("a");
    for _ in 0..3 {
        assert_eq!(hold(&mut restarted, &[], 4).await.unwrap(), []);
        database.pass(RENEWAL);
    }
    database.pass(RENEWAL);
    let after = hold(&mut restarted, &[], 4).await.unwrap();
    assert_eq!(lanes_of(&after), lanes_of(&before));
    assert!(after.iter().all(|lease| lease.epoch == 2), "{after:?}");
    database.pass(RENEWAL);
    assert_eq!(hold(&mut restarted, &after, 4).await.unwrap(), after);
}

#[tokio::test]
async fn two_living_relays_of_one_name_are_told_so() {
    let database = Database::with_lanes(4).await;
    let (mut first, mut second) = (database.roles("twin"), database.roles("twin"));
    let leases = hold(&mut first, &[], 4).await.unwrap();
    assert_eq!(hold(&mut second, &[], 4).await.unwrap(), []);
    database.pass(RENEWAL);
    // The first is not disturbed.
    assert_eq!(hold(&mut first, &leases, 4).await.unwrap(), leases);
    let fault = hold(&mut second, &[], 4).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured);
    assert!(fault.to_string().contains("`twin`"), "{fault}");
    leave(&mut second).await;
    assert_eq!(hold(&mut first, &leases, 4).await.unwrap(), leases, "leaving takes nothing from the other");
}

#[tokio::test]
async fn a_frozen_relay_wakes_up_to_a_successor_of_its_name() {
    let database = Database::with_lanes(4).await;
    let (mut frozen, mut successor) = (database.roles("a"), database.roles("a"));
    let former = hold(&mut frozen, &[], 4).await.unwrap();
    database.pass(LATER);
    let leases = hold(&mut successor, &[], 4).await.unwrap();
    assert_eq!(leases.len(), 4);
    assert_eq!(hold(&mut frozen, &former, 4).await.unwrap(), [], "all is lost");
    database.pass(RENEWAL);
    assert_eq!(hold(&mut successor, &leases, 4).await.unwrap(), leases);
    let fault = hold(&mut frozen, &[], 4).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured);
}

#[tokio::test]
async fn a_clock_set_back_keeps_no_dead_relay_alive() {
    let database = Database::with_lanes(4).await;
    database.pass(Duration::from_secs(3600));
    hold(&mut database.roles("dead"), &[], 4).await.unwrap();
    database.set_back(Duration::from_secs(3600));
    assert_eq!(hold(&mut database.roles("b"), &[], 4).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_name_has_bounds() {
    let database = Database::with_lanes(4).await;
    for name in [String::new(), "x".repeat(201)] {
        let fault = hold(&mut database.roles(&name), &[], 4).await.unwrap_err();
        assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured);
    }
    hold(&mut database.roles(&"ü".repeat(200)), &[], 4).await.unwrap();
}

#[tokio::test]
async fn a_renewal_does_not_wait_longer_than_its_timeout_for_a_writer() {
    let database = Database::with_lanes(4).await;
    let app = database.app();
    app.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut relay = database.roles_with(database.config().busy_timeout(Duration::ZERO), "a");
    let fault = hold(&mut relay, &[], 4).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::Contended, "{fault}");
    app.execute_batch("COMMIT").unwrap();
    assert_eq!(hold(&mut relay, &[], 4).await.unwrap().len(), 4);
}
