//! What people see of parked events, and what they decide.

use std::time::Duration;

use eventferry_core::parked::{
    Act, Cause, Change, Decision, Decisions, Desk, End, Next, ParkReason, ParkedFilter, ShowAsk, Stage,
};
use eventferry_core::{Event, MessageId, Row, StoreFaultKind};
use rusqlite::Connection;

use crate::database::{Database, act, change, decide, event, refused, refused_for_good, show};
use crate::parked::{keys, parked_events};

const SECOND: Duration = Duration::from_secs(1);

/// Five parked events, one of each kind.
async fn desk()
-> (Database, eventferry_core::store::Roles<eventferry_store_sqlite::SqliteStore>, eventferry_core::Lease) {
    let unknown = Cause { class: "UnknownTopic", message: "there is no topic Größe" };
    let invoice = Event::new("invoices", ("invoice", 7)).payload("4", "text/plain");
    let (database, relay, lease, _) = parked_events(&[
        (event(1, "0"), Some(refused("message too large", Next::Retry(SECOND)))),
        (event(1, "1"), Some(ParkReason::Behind)),
        (event(2, "2"), Some(refused_for_good("no"))),
        (event(3, "3"), Some(refused("no", Next::Die))),
        (invoice, Some(ParkReason::TopicHeld(unknown))),
    ])
    .await;
    (database, relay, lease)
}

async fn seen(
    relay: &mut eventferry_core::store::Roles<eventferry_store_sqlite::SqliteStore>,
    filter: &ParkedFilter,
) -> String {
    let shown = show(relay, filter).await;
    shown.iter().map(|event| str::from_utf8(event.row.payload().unwrap()).unwrap()).collect()
}

#[tokio::test]
async fn a_filter_shows_what_matches_every_part_of_it() {
    let (database, mut relay, _) = desk().await;
    let all = ParkedFilter::default;
    let ids: Vec<_> = show(&mut relay, &all()).await.iter().map(|event| event.row.message_id()).collect();
    database.pass(SECOND);
    for (filter, payloads) in [
        (all(), "01234"),
        (ParkedFilter { message_ids: vec![ids[3], ids[1], ids[3], MessageId([9; 16])], ..all() }, "13"),
        (ParkedFilter { message_ids: vec![ids[3], ids[1]], stage: Some(Stage::Topic), ..all() }, "1"),
        (ParkedFilter { aggregate_type: Some("invoice".into()), ..all() }, "4"),
        (ParkedFilter { aggregate_id: Some("1".into()), ..all() }, "01"),
        (ParkedFilter { topic: Some("orders".into()), aggregate_id: Some("2".into()), ..all() }, "2"),
        (ParkedFilter { stage: Some(Stage::Topic), ..all() }, "014"),
        (ParkedFilter { stage: Some(Stage::Held), ..all() }, ""),
        (ParkedFilter { reason: Some("TOOLARGE".into()), ..all() }, "023"),
        (ParkedFilter { reason: Some("Too Large".into()), ..all() }, "0"),
        (
            ParkedFilter {
                reason: Some("topic GRÖSSE".to_lowercase().replace("ss", "ß").to_uppercase()),
                ..all()
            },
            "",
        ),
        (ParkedFilter { reason: Some("GRÖ".into()), ..all() }, "4"),
        (ParkedFilter { reason: Some("TooLarg".into()), ..all() }, ""),
        (ParkedFilter { parked_for: Some(SECOND), ..all() }, "01234"),
        (ParkedFilter { parked_for: Some(SECOND * 2), ..all() }, ""),
        (ParkedFilter { parked_for: Some(Duration::MAX), ..all() }, ""),
    ] {
        assert_eq!(seen(&mut relay, &filter).await, payloads, "{filter:?}");
    }
}

#[tokio::test]
async fn what_is_shown_comes_in_pages() {
    let (_database, mut relay, _) = desk().await;
    let whole = show(&mut relay, &ParkedFilter::default()).await;
    let two = (whole[0].row.size_bytes() + whole[1].row.size_bytes()) as u64;
    let ids = whole.iter().rev().map(|event| event.row.message_id()).collect();
    for filter in [ParkedFilter::default(), ParkedFilter { message_ids: ids, ..ParkedFilter::default() }] {
        for (records_max, bytes_max, most) in [(2, u64::MAX, 2), (9, two, 2), (9, 1, 1)] {
            let (mut keys, mut after) = (Vec::new(), None);
            loop {
                let ask = ShowAsk { filter: &filter, after, records_max, bytes_max };
                let page = relay.desk.show(ask).await.unwrap();
                assert!(page.events.len() <= most);
                after = page.events.last().map(|event| event.key);
                keys.extend(page.events.iter().map(|event| event.key));
                if !page.more {
                    break;
                }
            }
            assert_eq!(keys, whole.iter().map(|event| event.key).collect::<Vec<_>>());
        }
    }
}

/// The audit table: who, why, what, and the aggregate it is about.
fn audit(app: &Connection) -> Vec<(String, String, String, Option<String>)> {
    app.prepare(
        "SELECT who, why, what, aggregate_type || ' ' || aggregate_id FROM eventferry_audit ORDER BY id",
    )
    .unwrap()
    .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
    .unwrap()
    .collect::<Result<_, _>>()
    .unwrap()
}

#[tokio::test]
async fn a_decision_is_written_once_onto_what_it_fits_with_a_line_each() {
    let (database, mut relay, lease) = desk().await;
    let all = ParkedFilter::default();
    // Not onto what only waits behind, nor onto what was given up.
    assert_eq!(decide(&mut relay, &all, Decision::Retry).await, Decisions { taken: 3, refused: 2 });
    let decisions = |shown: Vec<_>| -> Vec<Option<Decision>> {
        shown.into_iter().map(|event: eventferry_core::parked::ShownEvent<_>| event.decision).collect()
    };
    let retry = Some(Decision::Retry);
    assert_eq!(decisions(show(&mut relay, &all).await), [retry, None, retry, None, retry]);
    // A decision that is not carried out is not replaced.
    assert_eq!(decide(&mut relay, &all, Decision::Discard).await, Decisions { taken: 2, refused: 3 });
    assert_eq!(decide(&mut relay, &all, Decision::Release).await, Decisions { taken: 0, refused: 5 });
    let line = |what: &str, about: &str| (act().who, act().why, what.to_owned(), Some(about.to_owned()));
    assert_eq!(
        audit(&database.app()),
        [
            line("retry", "order 1"),
            line("retry", "order 2"),
            line("retry", "invoice 7"),
            line("discard", "order 1"),
            line("discard", "order 3"),
        ]
    );
    let about: (i64, Vec<u8>, String, i64) = database
        .app()
        .query_row("SELECT ordinal, message_id, topic, at FROM eventferry_audit WHERE id = 3", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .unwrap();
    let shown = show(&mut relay, &all).await;
    let id = shown[4].row.message_id().0.to_vec();
    assert_eq!(about, (shown[4].key.ordinal, id, "invoices".to_owned(), database.now().0));

    // The dead-letter topic acknowledged it meanwhile: the decision goes, and only a release fits.
    let dying = shown[3].key;
    change(&mut relay, lease, &[(dying, Change::Held), (dying, Change::DecisionRefused)]).await.unwrap();
    assert_eq!(decide(&mut relay, &all, Decision::Discard).await, Decisions { taken: 0, refused: 5 });
    assert_eq!(decide(&mut relay, &all, Decision::Release).await, Decisions { taken: 1, refused: 4 });
    change(&mut relay, lease, &[(dying, Change::Settled(End::DeadLettered))]).await.unwrap();
    assert_eq!(decide(&mut relay, &all, Decision::Release).await, Decisions { taken: 0, refused: 4 });
    assert_eq!(keys(&mut relay).await.len(), 4);
}

#[tokio::test]
async fn a_decision_and_its_lines_are_one_and_durable() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let (database, mut relay, _) = desk().await;
    database
        .app()
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON eventferry_audit WHEN NEW.aggregate_id = '3'
             BEGIN SELECT RAISE(ABORT, 'no'); END",
        )
        .unwrap();
    let all = ParkedFilter::default();
    let result = relay.desk.decide(&all, Decision::Discard, &act()).await;
    assert!(result.is_err());
    assert_eq!(audit(&database.app()), []);
    assert!(show(&mut relay, &all).await.iter().all(|event| event.decision.is_none()));

    database.app().execute_batch("DROP TRIGGER refuse").unwrap();
    let syncs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&syncs);
    let config = database.config().log_sync(move |log| {
        counter.fetch_add(1, Ordering::Relaxed);
        log.sync_data()
    });
    let mut other = database.roles_with(config, "desk");
    assert_eq!(decide(&mut other, &all, Decision::Discard).await.taken, 5);
    assert_eq!(syncs.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_was_done_beside_is_noted_by_whoever_says_who_they_are() {
    let (database, mut relay, _) = desk().await;
    relay.desk.record("replay of orders.dlq", &act()).await.unwrap();
    let line = (act().who, act().why, "replay of orders.dlq".to_owned(), None);
    assert_eq!(audit(&database.app()), [line]);
    for (who, why, says) in
        [("", "", "1 to 200"), (&*"ö".repeat(201), "", "1 to 200"), ("ada", &*"ö".repeat(1_001), "1000")]
    {
        let act = Act { who: who.into(), why: why.into() };
        let faults = [
            relay.desk.record("x", &act).await.unwrap_err(),
            relay.desk.decide(&ParkedFilter::default(), Decision::Discard, &act).await.unwrap_err(),
        ];
        for fault in faults {
            assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured);
            assert!(fault.to_string().contains(says), "{fault}");
        }
    }
    let most = Act { who: "ö".repeat(200), why: "ö".repeat(1_000) };
    relay.desk.record("x", &most).await.unwrap();
    assert_eq!(audit(&database.app()).len(), 2);
}
