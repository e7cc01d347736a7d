//! What becomes of parked events: changed in their lane's settlements, once, and never after they are settled.

use std::time::Duration;

use eventferry_core::parked::{
    Cause, Change, Decision, End, Next, Park, ParkReason, ParkedAsk, ParkedFilter, ParkedKey, Stage,
};
use eventferry_core::store::{Feed, Ledger, Roles, Settlement, Verdict};
use eventferry_core::{Event, Lane, Lease, Row, StoreFaultKind};
use eventferry_store_sqlite::SqliteStore;

use crate::database::{
    Database, SqliteRecord, change, decide, due, event, hold, lanes_of, payloads_due, read_all, refused,
    refused_for_good, settle, show,
};

const SECOND: Duration = Duration::from_secs(1);
const AGAIN: Cause<'_> = Cause { class: "StillTooLarge", message: "too large again" };

/// One lane with these events, settled to the end, with those parked for which there is a reason.
pub(crate) async fn parked_events(
    events: &[(Event, Option<ParkReason<'_>>)],
) -> (Database, Roles<SqliteStore>, Lease, Vec<SqliteRecord>) {
    let database = Database::with_lanes(1).await;
    let (mut relay, leases) = database.sole_relay().await;
    database.commit(&events.iter().map(|(event, _)| event.clone()).collect::<Vec<_>>());
    let records = read_all(&mut relay, &lanes_of(&leases)).await;
    let reasons = records.iter().zip(events);
    let parks: Vec<_> = reasons.filter_map(|(record, (_, reason))| Some((record, (*reason)?))).collect();
    settle(&mut relay, leases[0], records.last().unwrap(), &parks).await.unwrap();
    (database, relay, leases[0], records)
}

pub(crate) async fn keys(relay: &mut Roles<SqliteStore>) -> Vec<ParkedKey> {
    let ask = ParkedAsk { lanes: &[Lane(0)], after: None, limit: 1_000_000 };
    relay.ledger.parked(ask).await.unwrap().events.into_iter().map(|event| event.key).collect()
}

/// Everything the table says of an event but its columns.
fn row(database: &Database, key: ParkedKey) -> String {
    let sql = "SELECT concat_ws(' ', stage, coalesce(\"end\", '-'), coalesce(settled_at, '-'), attempts,
                                coalesce(due_at, '-'), coalesce(decision, '-'), cause_class, cause_message, failed_at)
               FROM eventferry_parked WHERE ordinal = ?1";
    database.app().query_row(sql, [key.ordinal], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn an_event_is_parked_for_each_reason_as_the_contract_says() {
    let long = "ö".repeat(1_200);
    let cause = Cause { class: "UnknownTopic", message: "no such topic" };
    let (database, mut relay, _, _) = parked_events(&[
        (event(1, "retried"), Some(refused(&long, Next::Retry(SECOND * 5)))),
        (event(1, "behind"), Some(ParkReason::Behind)),
        (event(2, "waits"), Some(refused_for_good("no"))),
        (event(3, "dies"), Some(refused("no", Next::Die))),
        (event(4, "held up"), Some(ParkReason::TopicHeld(cause))),
        (event(5, "shipped"), None),
    ])
    .await;
    let now = database.now();
    let shown = show(&mut relay, &ParkedFilter::default()).await;
    let told: Vec<_> = shown
        .iter()
        .map(|event| {
            (event.stage, event.attempts, event.class.as_deref(), event.due_at.map(|at| at.0 - now.0))
        })
        .collect();
    assert_eq!(
        told,
        [
            (Stage::Topic, 1, Some("TooLarge"), Some(5_000_000)),
            (Stage::Topic, 0, None, None),
            (Stage::Waiting, 1, Some("TooLarge"), None),
            (Stage::DeadLetterTopic, 1, Some("TooLarge"), Some(0)),
            (Stage::Topic, 0, Some("UnknownTopic"), Some(0)),
        ]
    );
    assert_eq!(shown[0].message.as_deref(), Some(&*"ö".repeat(1_000)), "the first 1,000 characters");
    assert_eq!((shown[1].message.as_deref(), shown[4].message.as_deref()), (None, Some("no such topic")));
    assert!(shown.iter().all(|event| event.parked_at == now && event.decision.is_none()));
}

#[tokio::test]
async fn each_change_makes_hold_what_it_names() {
    let (database, mut relay, lease, _) =
        parked_events(&[(event(1, "1"), Some(refused("no", Next::Retry(SECOND))))]).await;
    let key = keys(&mut relay).await[0];
    database.pass(SECOND);
    let at = database.now().0;
    for (told, holds) in [
        (
            Change::Refused { cause: AGAIN, attempts: 2, next: Next::Retry(SECOND) },
            format!("topic - - 2 {} - StillTooLarge too large again {at}", at + 1_000_000),
        ),
        (
            Change::Postponed(SECOND * 2),
            format!("topic - - 2 {} - StillTooLarge too large again {at}", at + 2_000_000),
        ),
        (
            Change::Refused { cause: AGAIN, attempts: 3, next: Next::Wait },
            format!("waiting - - 3 - - StillTooLarge too large again {at}"),
        ),
        (Change::Retried, format!("topic - - 0 {at} - StillTooLarge too large again {at}")),
        (
            Change::Refused { cause: AGAIN, attempts: 1, next: Next::Die },
            format!("dead_letter_topic - - 1 {at} - StillTooLarge too large again {at}"),
        ),
        (
            Change::Postponed(SECOND),
            format!("dead_letter_topic - - 1 {} - StillTooLarge too large again {at}", at + 1_000_000),
        ),
        (Change::Held, format!("held - - 1 - - StillTooLarge too large again {at}")),
        (
            Change::Settled(End::DeadLettered),
            format!("held dead_lettered {at} 1 - - StillTooLarge too large again {at}"),
        ),
    ] {
        assert_eq!(change(&mut relay, lease, &[(key, told)]).await.unwrap(), Verdict::Done);
        assert_eq!(row(&database, key), holds, "{told:?}");
    }
}

#[tokio::test]
async fn what_is_settled_or_missing_or_anothers_is_not_changed() {
    let no = || Some(refused("no", Next::Retry(SECOND)));
    let (database, mut relay, lease, _) =
        parked_events(&[(event(1, "1"), no()), (event(2, "2"), no())]).await;
    let parked = keys(&mut relay).await;
    let settled = (parked[0], Change::Settled(End::Discarded));
    change(&mut relay, lease, &[settled]).await.unwrap();
    let before = (row(&database, parked[0]), row(&database, parked[1]));
    database.pass(SECOND);
    let refused = Change::Refused { cause: AGAIN, attempts: 9, next: Next::Die };
    let all = [
        refused,
        Change::Postponed(SECOND),
        Change::Retried,
        Change::Held,
        Change::Settled(End::Shipped),
        Change::DecisionRefused,
    ];
    let missing = ParkedKey { ordinal: 99, ..parked[0] };
    let of_another_lane = ParkedKey { lane: Lane(7), ..parked[1] };
    for key in [parked[0], missing, of_another_lane] {
        for told in all {
            assert_eq!(change(&mut relay, lease, &[(key, told)]).await.unwrap(), Verdict::Done);
        }
    }
    assert_eq!((row(&database, parked[0]), row(&database, parked[1])), before);
}

#[tokio::test]
async fn a_former_owner_changes_nothing() {
    let (database, mut former, lease, _) =
        parked_events(&[(event(1, "1"), Some(refused_for_good("no")))]).await;
    let key = keys(&mut former).await[0];
    database.pass(SECOND * 11);
    hold(&mut database.roles("owner"), &[], 1).await.unwrap();
    let before = row(&database, key);
    let verdict = change(&mut former, lease, &[(key, Change::Settled(End::Shipped))]).await.unwrap();
    assert_eq!((verdict, row(&database, key)), (Verdict::Fenced, before));
}

#[tokio::test]
async fn a_late_refusal_and_one_of_what_was_given_up_count_for_nothing() {
    let next = Next::Retry(SECOND);
    let (database, mut relay, lease, _) = parked_events(&[(event(1, "1"), Some(refused("no", next)))]).await;
    let key = keys(&mut relay).await[0];
    let refused = |attempts, next| [(key, Change::Refused { cause: AGAIN, attempts, next })];
    change(&mut relay, lease, &refused(3, next)).await.unwrap();
    let before = row(&database, key);
    database.pass(SECOND);
    change(&mut relay, lease, &refused(2, Next::Wait)).await.unwrap();
    assert_eq!(row(&database, key), before, "fewer attempts");

    change(&mut relay, lease, &refused(4, Next::Die)).await.unwrap();
    let before = row(&database, key);
    database.pass(SECOND);
    for told in [refused(5, next), refused(5, Next::Wait), [(key, Change::Retried)]] {
        change(&mut relay, lease, &told).await.unwrap();
        assert_eq!(row(&database, key), before, "never to its own topic again");
    }
}

#[tokio::test]
async fn changes_come_before_parks_and_both_with_the_position() {
    let (database, mut relay, lease, _) =
        parked_events(&[(event(1, "1"), Some(refused_for_good("no")))]).await;
    let key = keys(&mut relay).await[0];
    database.commit(&[event(1, "2"), event(2, "x")]);
    let records = read_all(&mut relay, &[Lane(0)]).await;
    // What it was parked behind is settled in the same breath: it is due.
    let park = vec![Park { mark: &records[0].mark, row: &records[0].row, reason: ParkReason::Behind }];
    let changes = vec![(key, Change::Settled(End::Discarded))];
    let prefix = std::slice::from_ref(&records[1].mark);
    let settlement = Settlement { lease, prefix, park, changes, carries: None };
    assert_eq!(relay.ledger.settle(&[settlement]).await.unwrap(), [Verdict::Done]);
    assert_eq!(payloads_due(&due(&mut relay, &[Lane(0)]).await), ["2"]);
    relay.feed.open(&[lease]).await.unwrap();
    assert_eq!(read_all(&mut relay, &[Lane(0)]).await.len(), 0);
}

#[tokio::test]
async fn a_settlement_that_moves_no_position_still_changes() {
    let (database, mut relay, lease, _) = parked_events(&[
        (event(1, "1"), Some(refused_for_good("no"))),
        (event(1, "2"), Some(ParkReason::Behind)),
    ])
    .await;
    let parked = keys(&mut relay).await;
    let told = [(parked[0], Change::Settled(End::Shipped)), (parked[1], Change::Settled(End::Discarded))];
    assert_eq!(change(&mut relay, lease, &told).await.unwrap(), Verdict::Done);
    assert_eq!(keys(&mut relay).await, []);
    let position: i64 =
        database.app().query_row("SELECT position FROM eventferry_lane", [], |row| row.get(0)).unwrap();
    assert_eq!(position, 2);
}

#[tokio::test]
async fn a_late_settlement_changes_no_parked_event() {
    let (database, mut relay, lease, records) =
        parked_events(&[(event(1, "1"), Some(refused_for_good("no"))), (event(2, "x"), None)]).await;
    let key = keys(&mut relay).await[0];
    let before = row(&database, key);
    let prefix = std::slice::from_ref(&records[0].mark);
    let changes = vec![(key, Change::Settled(End::Discarded))];
    let late = Settlement { lease, prefix, park: Vec::new(), changes, carries: None };
    assert_eq!(relay.ledger.settle(&[late]).await.unwrap(), [Verdict::Done]);
    assert_eq!(row(&database, key), before);
}

#[tokio::test]
async fn a_call_made_again_leaves_what_people_decided_meanwhile() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    let database = Database::with_lanes(1).await;
    // Writing the log through fails when told to: the commit has happened, and the call answers that it may have.
    let fails = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&fails);
    let config = database.config().log_sync(move |log| match asked.load(Ordering::Relaxed) {
        true => Err(std::io::Error::other("told to fail")),
        false => log.sync_data(),
    });
    let mut relay = database.roles_with(config, "a");
    let mut desk = database.roles("desk");
    let leases = hold(&mut relay, &[], 1).await.unwrap();
    relay.feed.open(&leases).await.unwrap();
    database.commit(&[event(1, "1"), event(2, "2")]);
    let records = read_all(&mut relay, &[Lane(0)]).await;
    let parks = [(&records[0], refused_for_good("no")), (&records[1], refused_for_good("no"))];
    settle(&mut relay, leases[0], &records[1], &parks).await.unwrap();
    let parked = keys(&mut relay).await;
    let everything = ParkedFilter::default();
    assert_eq!(decide(&mut desk, &everything, Decision::Retry).await.taken, 2);

    let told = [(parked[0], Change::Retried), (parked[1], Change::DecisionRefused)];
    fails.store(true, Ordering::Relaxed);
    let fault = change(&mut relay, leases[0], &told).await.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::Unavailable, "{fault}");
    assert_eq!(decide(&mut desk, &everything, Decision::Discard).await.taken, 2);
    fails.store(false, Ordering::Relaxed);
    database.pass(SECOND);
    let before = (row(&database, parked[0]), row(&database, parked[1]));
    assert_eq!(change(&mut relay, leases[0], &told).await.unwrap(), Verdict::Done);
    assert_eq!((row(&database, parked[0]), row(&database, parked[1])), before);
    let decisions = due(&mut relay, &[Lane(0)]).await.decisions;
    assert_eq!(decisions.len(), 2, "{decisions:?}");

    // Answered, the same words are another call.
    assert_eq!(change(&mut relay, leases[0], &told).await.unwrap(), Verdict::Done);
    assert_ne!(row(&database, parked[1]), before.1);
}

#[tokio::test]
async fn a_call_that_was_dropped_comes_before_the_next_one() {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    let (database, mut relay, lease, _) =
        parked_events(&[(event(1, "1"), Some(refused("no", Next::Retry(SECOND))))]).await;
    let key = keys(&mut relay).await[0];
    let lock = database.app();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    {
        let dropped = [(key, Change::Postponed(SECOND * 60))];
        let dropped = pin!(change(&mut relay, lease, &dropped));
        let first = dropped.poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(first, Poll::Pending));
    }
    let later = [(key, Change::Refused { cause: AGAIN, attempts: 5, next: Next::Wait })];
    {
        let mut later = pin!(change(&mut relay, lease, &later));
        assert!(later.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        lock.execute_batch("COMMIT").unwrap();
        assert_eq!(later.await.unwrap(), Verdict::Done);
    }
    assert_eq!(show(&mut relay, &ParkedFilter::default()).await[0].stage, Stage::Waiting);
    assert!(row(&database, key).starts_with("waiting - - 5 - -"), "the postponement came first");
}

#[tokio::test]
async fn a_settled_event_keeps_no_payload_and_is_listed_no_more() {
    let full = event(1, "payload").key("k").header("a", "1");
    let (database, mut relay, lease, _) = parked_events(&[(full, Some(refused_for_good("no")))]).await;
    let key = keys(&mut relay).await[0];
    change(&mut relay, lease, &[(key, Change::Settled(End::Discarded))]).await.unwrap();
    let kept: (String, bool, bool, bool) = database
        .app()
        .query_row(
            "SELECT topic, key IS NULL, headers IS NULL, payload IS NULL FROM eventferry_parked",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .unwrap();
    assert_eq!(kept, ("orders".to_owned(), true, true, true));
    assert_eq!(keys(&mut relay).await, []);
    assert_eq!(show(&mut relay, &ParkedFilter::default()).await.len(), 0);
    assert_eq!(due(&mut relay, &[Lane(0)]).await.events.len(), 0);
}

#[tokio::test]
async fn a_parked_aggregate_that_is_no_text_stops_no_list() {
    let database = Database::with_lanes(1).await;
    database
        .app()
        .execute_batch(
            "INSERT INTO eventferry_outbox (topic, aggregate_type, aggregate_id, headers, payload)
             VALUES (CAST(x'74ff' AS TEXT), CAST(x'ff' AS TEXT), CAST(x'fe' AS TEXT), '{\"a\": \"1\"}', 'text')",
        )
        .unwrap();
    let (mut relay, leases) = database.sole_relay().await;
    let records = read_all(&mut relay, &[Lane(0)]).await;
    let held = ParkReason::TopicHeld(AGAIN);
    settle(&mut relay, leases[0], &records[0], &[(&records[0], held)]).await.unwrap();
    let listed = relay.ledger.parked(ParkedAsk { lanes: &[Lane(0)], after: None, limit: 9 }).await.unwrap();
    assert_eq!(listed.events[0].aggregate_id, "\u{fffd}");
    assert_eq!(listed.events[0].size_bytes, records[0].row.size_bytes() as u64);
    let page = due(&mut relay, &[Lane(0)]).await;
    assert_eq!(page.events[0].row, records[0].row);
    assert_eq!(show(&mut relay, &ParkedFilter::default()).await[0].row, records[0].row);
}
