//! Which parked events are handed over again, and when.

use std::time::{Duration, Instant};

use eventferry_core::parked::{
    Cause, Change, Decided, Decision, DueAsk, End, Next, ParkReason, ParkedFilter, ParkedKey, Stage,
};
use eventferry_core::store::{Feed, Ledger, Roles};
use eventferry_core::{Event, Lane, Row, StoreFaultKind};
use eventferry_store_sqlite::SqliteStore;

use crate::database::{
    Database, change, decide, due, due_ask, event, hold, lanes_of, payload, payloads_due, read_all, refused,
    refused_for_good, settle,
};
use crate::parked::{keys, parked_events};

const SECOND: Duration = Duration::from_secs(1);
const LANE: &[Lane] = &[Lane(0)];
const UNKNOWN: Cause<'_> = Cause { class: "UnknownTopic", message: "no such topic" };

fn to(topic: &str, aggregate: u32, payload: &str) -> Event {
    Event::new(topic, ("order", aggregate)).payload(payload, "text/plain")
}

#[tokio::test]
async fn events_are_due_at_their_time_and_what_waits_behind_comes_with_them() {
    let (database, mut relay, _, _) = parked_events(&[
        (event(1, "1a"), Some(refused("no", Next::Retry(SECOND * 5)))),
        (event(2, "2a"), Some(refused("no", Next::Retry(SECOND * 3)))),
        (event(1, "1b"), Some(ParkReason::Behind)),
        (event(2, "2b"), Some(ParkReason::Behind)),
        (event(3, "3a"), Some(refused_for_good("no"))),
        (event(3, "3b"), Some(ParkReason::Behind)),
    ])
    .await;
    let page = due(&mut relay, LANE).await;
    assert_eq!((payloads_due(&page).len(), page.more, page.next_in), (0, false, Some(SECOND * 3)));
    database.pass(SECOND * 3);
    let page = due(&mut relay, LANE).await;
    assert_eq!((payloads_due(&page), page.next_in), (vec!["2a".into(), "2b".into()], Some(SECOND * 2)));
    database.pass(SECOND * 2);
    let page = due(&mut relay, LANE).await;
    // In the order of their keys, not of their aggregates.
    assert_eq!(payloads_due(&page), ["1a", "2a", "1b", "2b"]);
    assert!(page.events.is_sorted_by_key(|event| event.key));
    assert_eq!((page.more, page.next_in), (false, None));
    assert_eq!(page.events.iter().map(|event| event.attempts).collect::<Vec<_>>(), [1, 1, 0, 0]);
    assert!(page.events.iter().all(|event| event.death.is_none()));
    // It stays so until a change says what became of them.
    assert_eq!(payloads_due(&due(&mut relay, LANE).await).len(), 4);
    assert_eq!(payloads_due(&due(&mut relay, &[Lane(7)]).await).len(), 0);
}

#[tokio::test]
async fn what_waited_is_due_when_the_first_is_settled() {
    let (database, mut relay, lease, _) = parked_events(&[
        (event(1, "1"), Some(refused("no", Next::Retry(SECOND)))),
        (event(1, "2"), Some(ParkReason::Behind)),
        (event(1, "3"), Some(ParkReason::Behind)),
        (event(2, "x"), Some(refused_for_good("no"))),
        (event(2, "y"), Some(ParkReason::Behind)),
    ])
    .await;
    let parked = keys(&mut relay).await;
    change(&mut relay, lease, &[(parked[0], Change::Settled(End::Shipped))]).await.unwrap();
    assert_eq!(payloads_due(&due(&mut relay, LANE).await), ["2", "3"]);
    // One in the middle is refused: what comes before it goes on, what comes after it waits.
    let refused = Change::Refused { cause: UNKNOWN, attempts: 1, next: Next::Retry(SECOND) };
    change(&mut relay, lease, &[(parked[2], refused)]).await.unwrap();
    let page = due(&mut relay, LANE).await;
    assert_eq!((payloads_due(&page), page.next_in), (vec!["2".into()], Some(SECOND)));
    database.pass(SECOND);
    assert_eq!(payloads_due(&due(&mut relay, LANE).await), ["2", "3"]);
    // Also where a person removes a row by hand.
    database.app().execute("DELETE FROM eventferry_parked WHERE ordinal = ?1", [parked[3].ordinal]).unwrap();
    assert_eq!(payloads_due(&due(&mut relay, LANE).await), ["2", "3", "y"]);
}

#[tokio::test]
async fn a_held_aggregate_and_one_that_waits_for_a_person_hold_up_themselves_only() {
    let (_database, mut relay, lease, _) = parked_events(&[
        (event(1, "1"), Some(refused("no", Next::Die))),
        (event(1, "2"), Some(ParkReason::Behind)),
        (event(2, "x"), Some(refused("no", Next::Retry(Duration::ZERO)))),
    ])
    .await;
    let parked = keys(&mut relay).await;
    assert_eq!(payloads_due(&due(&mut relay, LANE).await), ["1", "2", "x"]);
    change(&mut relay, lease, &[(parked[0], Change::Held)]).await.unwrap();
    let page = due(&mut relay, LANE).await;
    assert_eq!((payloads_due(&page), page.next_in), (vec!["x".into()], None));
    change(&mut relay, lease, &[(parked[0], Change::Settled(End::DeadLettered))]).await.unwrap();
    assert_eq!(payloads_due(&due(&mut relay, LANE).await), ["2", "x"]);
}

#[tokio::test]
async fn topics_that_are_left_out_hold_up_what_waits_behind_them() {
    let (database, mut relay, _, _) = parked_events(&[
        (to("gone", 1, "1"), Some(ParkReason::TopicHeld(UNKNOWN))),
        (to("orders", 1, "2"), Some(ParkReason::Behind)),
        (to("orders", 2, "x"), Some(refused("no", Next::Retry(Duration::ZERO)))),
        (to("gone", 2, "y"), Some(ParkReason::Behind)),
        (to("orders", 2, "z"), Some(ParkReason::Behind)),
        (to("gone", 3, "late"), Some(refused("no", Next::Retry(SECOND)))),
        // It goes to the dead-letter topic, whatever became of its own.
        (to("gone", 4, "dying"), Some(refused("no", Next::Die))),
    ])
    .await;
    let without = DueAsk { except_topics: &["gone", "never"], ..due_ask(LANE) };
    let page = relay.ledger.due(without).await.unwrap();
    assert_eq!((payloads_due(&page), page.next_in), (vec!["x".into(), "dying".into()], None));
    let page = due(&mut relay, LANE).await;
    assert_eq!(payloads_due(&page), ["1", "2", "x", "y", "z", "dying"]);
    assert_eq!(page.next_in, Some(SECOND));
    database.pass(SECOND);
    assert_eq!(relay.ledger.due(without).await.unwrap().events.len(), 2);
}

#[tokio::test]
async fn pages_keep_their_bounds_and_go_on_after_the_last_one() {
    let database = Database::with_lanes(4).await;
    let (mut relay, leases) = database.sole_relay().await;
    let lanes = lanes_of(&leases);
    database.commit(&(0..60).map(|number| event(number, &format!("{number:03}"))).collect::<Vec<_>>());
    let records = read_all(&mut relay, &lanes).await;
    for lease in &leases {
        let of_lane: Vec<_> = records.iter().filter(|record| record.lane == lease.lane).collect();
        let reason = refused("no", Next::Retry(Duration::ZERO));
        let parks: Vec<_> = of_lane.iter().map(|record| (*record, reason)).collect();
        settle(&mut relay, *lease, of_lane[of_lane.len() - 1], &parks).await.unwrap();
    }
    let mut expected: Vec<_> = records.iter().map(|record| (record.lane, payload(record))).collect();
    expected.sort();
    let expected: Vec<_> = expected.into_iter().map(|(_, payload)| payload).collect();
    let size = records[0].row.size_bytes() as u64;
    for (records_max, bytes_max, most) in
        [(7, u64::MAX, 7), (1_000, size * 5 + 5, 5), (1, 1, 1), (1_000, 0, 1)]
    {
        let (mut got, mut after) = (Vec::new(), None);
        loop {
            let ask = DueAsk { records_max, bytes_max, after, ..due_ask(&lanes) };
            let page = relay.ledger.due(ask).await.unwrap();
            assert!((1..=most).contains(&page.events.len()), "{records_max} {bytes_max}");
            after = page.events.last().map(|event| event.key);
            got.extend(payloads_due(&page));
            if !page.more {
                break;
            }
        }
        assert_eq!(got, expected, "{records_max} {bytes_max}");
    }
    let ask = DueAsk { after: Some(ParkedKey { lane: Lane(9), ordinal: 0 }), ..due_ask(&lanes) };
    let page = relay.ledger.due(ask).await.unwrap();
    assert_eq!((page.events.len(), page.more), (0, false));
}

#[tokio::test]
async fn nothing_comes_without_what_it_waits_behind() {
    let (database, mut relay, lease, _) = parked_events(&[
        (event(1, "1a"), Some(refused("no", Next::Retry(SECOND)))),
        (event(2, "2a"), Some(refused("no", Next::Retry(Duration::ZERO)))),
        (event(1, "1b"), Some(ParkReason::Behind)),
        (event(2, "2b"), Some(ParkReason::Behind)),
        (event(3, "3a"), Some(refused("no", Next::Retry(Duration::ZERO)))),
    ])
    .await;
    let page = relay.ledger.due(DueAsk { records_max: 1, ..due_ask(LANE) }).await.unwrap();
    assert_eq!((payloads_due(&page), page.more), (vec!["2a".into()], true));
    // The first one was passed over, and falls due before the next page is asked for.
    database.pass(SECOND);
    let after = page.events.last().map(|event| event.key);
    let page = relay.ledger.due(DueAsk { after, ..due_ask(LANE) }).await.unwrap();
    assert_eq!((payloads_due(&page), page.more), (vec!["3a".into()], false));
    // The rest of a run comes when what was in hand is settled, and the list is begun anew.
    change(&mut relay, lease, &[(after.unwrap(), Change::Settled(End::Shipped))]).await.unwrap();
    let page = relay.ledger.due(DueAsk { after, ..due_ask(LANE) }).await.unwrap();
    assert_eq!(payloads_due(&page), ["2b", "3a"]);
    assert_eq!(payloads_due(&due(&mut relay, LANE).await), ["1a", "1b", "2b", "3a"]);
}

#[tokio::test]
async fn a_dying_event_tells_its_last_refusal_and_is_durable() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let (database, mut relay, lease, records) =
        parked_events(&[(event(1, "1"), Some(refused("no", Next::Retry(SECOND))))]).await;
    let key = keys(&mut relay).await[0];
    database.pass(SECOND);
    let cause = Cause { class: "Last", message: "the last words" };
    let died_at = database.now();
    let died = Change::Refused { cause, attempts: 5, next: Next::Die };
    change(&mut relay, lease, &[(key, died)]).await.unwrap();
    database.pass(SECOND);
    let syncs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&syncs);
    let config = database.config().log_sync(move |log| {
        counter.fetch_add(1, Ordering::Relaxed);
        log.sync_data()
    });
    // A new owner cannot know whether what it sees is on the disk.
    let mut owner = database.roles_with(config, "owner");
    let page = due(&mut owner, LANE).await;
    assert_eq!(syncs.load(Ordering::Relaxed), 1);
    let death = page.events[0].death.as_ref().unwrap();
    assert_eq!((&*death.class, &*death.message, death.failed_at), ("Last", "the last words", died_at));
    assert_eq!((page.events[0].attempts, &page.events[0].row), (5, &records[0].row));
}

fn decided_on(key: ParkedKey, aggregate_id: &str, decision: Decision, stage: Stage) -> Decided {
    Decided { key, aggregate_type: "order".into(), aggregate_id: aggregate_id.into(), decision, stage }
}

#[tokio::test]
async fn decisions_come_whatever_is_in_hand_and_their_events_do_not() {
    let retry = || Some(refused("no", Next::Retry(Duration::ZERO)));
    let (_database, mut relay, lease, _) = parked_events(&[
        (event(1, "1"), retry()),
        (event(1, "2"), Some(ParkReason::Behind)),
        (event(2, "x"), Some(refused_for_good("no"))),
        (event(3, "3"), retry()),
    ])
    .await;
    let parked = keys(&mut relay).await;
    let of = |id: &str| ParkedFilter { aggregate_id: Some(id.into()), ..ParkedFilter::default() };
    let first = ParkedFilter { stage: Some(Stage::Topic), reason: Some("toolarge".into()), ..of("1") };
    assert_eq!(decide(&mut relay, &first, Decision::Discard).await.taken, 1);
    assert_eq!(decide(&mut relay, &of("2"), Decision::Retry).await.taken, 1);
    let page = relay.ledger.due(DueAsk { after: Some(parked[3]), ..due_ask(LANE) }).await.unwrap();
    let decided = [
        decided_on(parked[0], "1", Decision::Discard, Stage::Topic),
        decided_on(parked[2], "2", Decision::Retry, Stage::Waiting),
    ];
    assert_eq!((page.events.len(), &page.decisions[..]), (0, &decided[..]));
    let page = due(&mut relay, LANE).await;
    assert_eq!((payloads_due(&page), page.next_in), (vec!["3".into()], None));
    let page = relay.ledger.due(DueAsk { records_max: 1, ..due_ask(LANE) }).await.unwrap();
    assert_eq!(page.decisions, decided[..1]);

    let carried_out = [(parked[0], Change::Settled(End::Discarded)), (parked[2], Change::Retried)];
    change(&mut relay, lease, &carried_out).await.unwrap();
    let page = due(&mut relay, LANE).await;
    assert_eq!((payloads_due(&page), page.decisions), (vec!["2".into(), "x".into(), "3".into()], vec![]));
    assert_eq!(page.events[1].attempts, 0);
}

#[tokio::test]
async fn a_decided_event_holds_up_those_behind_it_and_not_those_before() {
    let (_database, mut relay, _, records) = parked_events(&[
        (event(1, "1"), Some(refused("no", Next::Retry(Duration::ZERO)))),
        (event(1, "2"), Some(ParkReason::Behind)),
        (event(1, "3"), Some(ParkReason::Behind)),
    ])
    .await;
    let message_ids = vec![records[1].row.message_id()];
    let second = ParkedFilter { message_ids, ..ParkedFilter::default() };
    assert_eq!(decide(&mut relay, &second, Decision::Discard).await.taken, 1);
    assert_eq!(payloads_due(&due(&mut relay, LANE).await), ["1"]);
}

#[tokio::test]
async fn what_was_restored_is_not_due() {
    let (database, mut relay, _, _) =
        parked_events(&[(event(1, "1"), Some(refused("no", Next::Retry(Duration::ZERO))))]).await;
    database.app().execute("UPDATE eventferry_lane SET position = 0", []).unwrap();
    let fault = relay.ledger.due(due_ask(LANE)).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::HistoryLost, "{fault}");
    // It has forgotten what it knew: the relay opens its lanes anew.
    let leases = hold(&mut relay, &[], 1).await.unwrap();
    relay.feed.open(&leases).await.unwrap();
    assert_eq!(payloads_due(&due(&mut relay, LANE).await), ["1"]);
}

/// Twenty thousand rows that are not due cost less than a thousand that are.
#[tokio::test]
async fn what_is_not_due_costs_nothing() {
    let database = Database::with_lanes(4).await;
    let fill = |lane: u16, columns: &str, values: &str, rows: u32| {
        let sql = format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
             INSERT INTO eventferry_parked (lane, parked_at, size, id, message_id, topic, aggregate_type, enqueued_at,
                                            cause_class, cause_message, failed_at, aggregate_id, {columns})
             SELECT {lane}, 0, 300, n, randomblob(16), 'orders', 'order', 0, 'Class', 'words', 0, {values} FROM n"
        );
        database.app().execute_batch(&sql).unwrap();
    };
    let (mut relay, leases) = database.sole_relay().await;
    let lanes = lanes_of(&leases);
    let ask = DueAsk { records_max: 1_000, ..due_ask(&lanes) };
    // The quickest of many: others may be at work on this machine.
    let quickest = async |relay: &mut Roles<SqliteStore>| {
        let mut quickest = Duration::MAX;
        for _ in 0..20 {
            let began = Instant::now();
            relay.ledger.due(ask).await.unwrap();
            quickest = quickest.min(began.elapsed());
        }
        quickest
    };
    fill(0, "due_at", "n, 0", 1_000);
    let a_thousand = quickest(&mut relay).await;
    assert_eq!(relay.ledger.due(ask).await.unwrap().events.len(), 1_000);
    database.app().execute("DELETE FROM eventferry_parked", []).unwrap();

    let far = i64::MAX;
    fill(0, "stage", "n, 'waiting'", 4_000);
    fill(1, "due_at", &format!("'hot', iif(n = 1, {far}, NULL)"), 4_000);
    fill(2, "settled_at, \"end\"", "n, 1, 'shipped'", 4_000);
    fill(3, "due_at, decision", "n, 0, 'discard'", 10);
    fill(3, "due_at", &format!("-n, {far}"), 8_000);
    let page = relay.ledger.due(ask).await.unwrap();
    assert_eq!((page.events.len(), page.decisions.len(), page.more), (0, 10, false));
    assert!(page.next_in.is_some());
    let nothing = quickest(&mut relay).await;
    assert!(nothing < a_thousand, "{nothing:?} against {a_thousand:?}");
}
