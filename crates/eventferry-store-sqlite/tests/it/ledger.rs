//! Settling: fenced, idempotent, never late; and what is parked.

use std::time::Duration;

use eventferry_core::parked::{Park, ParkReason, ParkedAsk, ParkedEvent};
use eventferry_core::store::{Feed, Ledger, Roles, Settlement, Verdict};
use eventferry_core::{Lane, Lease, Row, StoreFaultKind};
use eventferry_store_sqlite::SqliteStore;

use crate::database::{
    Database, SqliteRecord, event, hold, lanes_of, payload, read_all, refused_for_good, settle,
};

/// More than a lease.
const LATER: Duration = Duration::from_secs(11);

/// One lane with these events, all read.
async fn read_events(texts: &[&str]) -> (Database, Roles<SqliteStore>, Lease, Vec<SqliteRecord>) {
    let database = Database::with_lanes(1).await;
    let (mut relay, leases) = database.sole_relay().await;
    database.commit(&texts.iter().map(|text| event(1, text)).collect::<Vec<_>>());
    let records = read_all(&mut relay, &lanes_of(&leases)).await;
    (database, relay, leases[0], records)
}

fn position(database: &Database) -> i64 {
    database
        .app()
        .query_row("SELECT position FROM eventferry_lane WHERE lane = 0", [], |row| row.get(0))
        .unwrap()
}

async fn parked(relay: &mut Roles<SqliteStore>, lanes: &[Lane]) -> Vec<ParkedEvent> {
    let page = relay.ledger.parked(ParkedAsk { lanes, after: None, limit: 100 }).await.unwrap();
    assert!(!page.more);
    page.events
}

#[tokio::test]
async fn repeating_a_settlement_changes_nothing() {
    let (database, mut relay, lease, records) = read_events(&["1", "2", "3"]).await;
    let park = [(&records[1], refused_for_good("too large"))];
    assert_eq!(settle(&mut relay, lease, &records[2], &park).await.unwrap(), Verdict::Done);
    let once = parked(&mut relay, &[Lane(0)]).await;
    database.pass(Duration::from_secs(1));
    assert_eq!(settle(&mut relay, lease, &records[2], &park).await.unwrap(), Verdict::Done);
    assert_eq!(parked(&mut relay, &[Lane(0)]).await, once);
    assert_eq!(position(&database), 3);
}

#[tokio::test]
async fn a_late_settlement_changes_nothing() {
    let (database, mut relay, lease, records) = read_events(&["1", "2", "3"]).await;
    settle(&mut relay, lease, &records[2], &[]).await.unwrap();
    let late = [(&records[0], refused_for_good("no")), (&records[1], ParkReason::Behind)];
    assert_eq!(settle(&mut relay, lease, &records[1], &late).await.unwrap(), Verdict::Done);
    assert_eq!(parked(&mut relay, &[Lane(0)]).await, []);
    assert_eq!(position(&database), 3);
}

#[tokio::test]
async fn a_former_owner_can_move_nothing() {
    let (database, mut former, lease, records) = read_events(&["1", "2"]).await;
    let mut owner = database.roles("owner");
    database.pass(LATER);
    let taken = hold(&mut owner, &[], 1).await.unwrap();
    assert_eq!(taken, [Lease { lane: Lane(0), epoch: 2 }]);
    let park = [(&records[0], refused_for_good("no"))];
    assert_eq!(settle(&mut former, lease, &records[1], &park).await.unwrap(), Verdict::Fenced);
    assert_eq!((position(&database), database.count("eventferry_parked")), (0, 0));
    // Not even with the owner's lease: it is another relay.
    assert_eq!(settle(&mut former, taken[0], &records[1], &[]).await.unwrap(), Verdict::Fenced);

    owner.feed.open(&taken).await.unwrap();
    let again = read_all(&mut owner, &[Lane(0)]).await;
    assert_eq!(again.iter().map(payload).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(settle(&mut owner, taken[0], &again[1], &[]).await.unwrap(), Verdict::Done);
    assert_eq!(position(&database), 2);
}

#[tokio::test]
async fn a_lane_that_was_given_up_is_fenced_at_once() {
    let (database, mut relay, lease, records) = read_events(&["1"]).await;
    hold(&mut relay, &[], 0).await.unwrap();
    assert_eq!(settle(&mut relay, lease, &records[0], &[]).await.unwrap(), Verdict::Fenced);
    hold(&mut relay, &[], 1).await.unwrap();
    assert_eq!(settle(&mut relay, lease, &records[0], &[]).await.unwrap(), Verdict::Fenced);
    assert_eq!(position(&database), 0);
}

#[tokio::test]
async fn an_expired_lease_that_nobody_took_still_settles() {
    let (database, mut relay, lease, records) = read_events(&["1"]).await;
    database.pass(LATER);
    assert_eq!(settle(&mut relay, lease, &records[0], &[]).await.unwrap(), Verdict::Done);
    assert_eq!(position(&database), 1);
}

#[tokio::test]
async fn several_lanes_settle_at_once_each_with_an_answer_of_its_own() {
    let database = Database::with_lanes(4).await;
    let (mut relay, leases) = database.sole_relay().await;
    database.commit(&(0..40).map(|number| event(number, "x")).collect::<Vec<_>>());
    let records = read_all(&mut relay, &lanes_of(&leases)).await;
    let settlements: Vec<_> = leases
        .iter()
        .map(|lease| {
            let last = records.iter().rfind(|record| record.lane == lease.lane).unwrap();
            let epoch = if lease.lane == Lane(2) { 7 } else { lease.epoch };
            let lease = Lease { epoch, ..*lease };
            Settlement {
                lease,
                prefix: std::slice::from_ref(&last.mark),
                park: Vec::new(),
                changes: Vec::new(),
                carries: None,
            }
        })
        .collect();
    let verdicts = relay.ledger.settle(&settlements).await.unwrap();
    assert_eq!(verdicts, [Verdict::Done, Verdict::Done, Verdict::Fenced, Verdict::Done]);
    let unmoved: Vec<u16> = database
        .app()
        .prepare("SELECT lane FROM eventferry_lane WHERE position = 0")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(unmoved, [2]);
}

#[tokio::test]
async fn a_parked_event_is_kept_in_full_and_listed_in_order() {
    let database = Database::with_lanes(2).await;
    let (mut relay, leases) = database.sole_relay().await;
    let full = event(1, "payload").key("k").header("a", "1").header("a", [0]).partition(3);
    database.commit(&[full]);
    database.commit(&(1..20).map(|number| event(number, "x")).collect::<Vec<_>>());
    let records = read_all(&mut relay, &lanes_of(&leases)).await;
    let mut parked_ids = Vec::new();
    for lease in &leases {
        let of_lane: Vec<_> = records.iter().filter(|record| record.lane == lease.lane).collect();
        let park = of_lane.iter().enumerate().map(|(at, record)| Park {
            mark: &record.mark,
            row: &record.row,
            reason: if at == 0 { refused_for_good("message too large") } else { ParkReason::Behind },
        });
        let prefix: Vec<_> = of_lane.iter().map(|record| record.mark.clone()).collect();
        let settlement = Settlement {
            lease: *lease,
            prefix: &prefix,
            park: park.collect(),
            changes: Vec::new(),
            carries: None,
        };
        assert_eq!(relay.ledger.settle(&[settlement]).await.unwrap(), [Verdict::Done]);
        parked_ids.extend(of_lane.iter().map(|record| (record.row.aggregate_id().to_owned(), size(record))));
    }
    let differing: i64 = database
        .app()
        .query_row(
            "SELECT count(*) FROM (
                 SELECT id, message_id, topic, aggregate_type, aggregate_id, key, content_type, headers, partition,
                        enqueued_at, payload FROM eventferry_outbox
                 EXCEPT
                 SELECT id, message_id, topic, aggregate_type, aggregate_id, key, content_type, headers, partition,
                        enqueued_at, payload FROM eventferry_parked)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!((differing, database.count("eventferry_parked")), (0, 20));

    // Page by page, lanes in ascending order whatever the order of asking.
    let lanes = [leases[1].lane, leases[0].lane];
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = relay.ledger.parked(ParkedAsk { lanes: &lanes, after, limit: 3 }).await.unwrap();
        assert!(page.events.len() <= 3);
        after = page.events.last().map(|event| event.key);
        listed.extend(page.events);
        if !page.more {
            break;
        }
    }
    assert!(listed.is_sorted_by_key(|event| event.key));
    let told: Vec<_> =
        listed.iter().map(|event| (event.aggregate_id.clone(), event.size_bytes as usize)).collect();
    assert_eq!(told, parked_ids);
    assert!(listed.iter().all(|event| event.aggregate_type == "order"));
    let of_one = parked(&mut relay, &lanes[..1]).await;
    assert!(of_one.iter().all(|event| event.key.lane == lanes[0]) && !of_one.is_empty());
}

fn size(record: &SqliteRecord) -> usize {
    record.row.size_bytes()
}

#[tokio::test]
async fn a_mark_of_another_history_is_refused() {
    let (database, mut relay, lease, records) = read_events(&["1", "2"]).await;
    settle(&mut relay, lease, &records[1], &[]).await.unwrap();
    database.app().execute("UPDATE eventferry_lane SET position = 1", []).unwrap();
    let fault = settle(&mut relay, lease, &records[1], &[]).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::HistoryLost, "the position went back: {fault}");

    let (database, mut relay, lease, records) = read_events(&["1", "2"]).await;
    database.app().execute_batch("DELETE FROM eventferry_outbox; DELETE FROM sqlite_sequence").unwrap();
    let fault = settle(&mut relay, lease, &records[1], &[]).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::HistoryLost, "no such event was ever there: {fault}");

    let (database, mut relay, lease, records) = read_events(&["1", "2"]).await;
    database.app().execute("DELETE FROM eventferry_outbox WHERE id = 1", []).unwrap();
    let park = [(&records[0], refused_for_good("no"))];
    let fault = settle(&mut relay, lease, &records[1], &park).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::HistoryLost, "nothing is there to be parked: {fault}");
    assert_eq!((position(&database), database.count("eventferry_parked")), (0, 0), "and nothing was settled");
}
