//! Parked events: how they get into the ledger and what becomes of them there.

use std::time::Duration;

use eventferry_core::parked::{Cause, Change, End, Next, ParkReason, ParkedAsk, ParkedKey};
use eventferry_core::store::{Claim, Feed as _, Lanes as _, Ledger as _, Settlement, Upkeep as _, Verdict};
use eventferry_core::{Lane, Row as _, StoreFaultKind};
use tokio_postgres::Client;

use crate::server::{
    Database, LEASE, REFUSED, Relay, TOO_LARGE, enqueue, expire, fail_over, on_every_server, query,
    read_by_owner, text, texts,
};

const HOUR: Duration = Duration::from_secs(3600);

/// A relay, and events 1 to `events` of one aggregate, all parked: the first for this reason, the others behind it.
pub(crate) async fn parked(
    database: &Database,
    events: u32,
    first: ParkReason<'_>,
) -> (Relay, Vec<ParkedKey>) {
    let (mut relay, records) = read_by_owner(database, events).await;
    let mut reasons = vec![ParkReason::Behind; events as usize];
    reasons[0] = first;
    relay.park(&records, &reasons).await;
    let keys = relay.keys().await;
    assert_eq!(keys.len(), events as usize);
    (relay, keys)
}

/// The columns of the first parked event, as text.
async fn first_row(database: &Database) -> String {
    let columns = "concat_ws(' ', state, attempts, class, message, decision, settled_at IS NOT NULL)";
    let sql = format!("SELECT {columns} FROM eventferry.parked ORDER BY ordinal LIMIT 1");
    query(&database.client().await, &sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_event_and_the_position_past_it_are_one() {
    on_every_server(async |database| {
        let (mut relay, records) = read_by_owner(&database, 3).await;
        relay.park(&records[1..], &[REFUSED, ParkReason::Behind]).await;
        let lane: Lane = records[0].lane;
        let ask = ParkedAsk { lanes: &[lane], after: None, limit: 1 };
        let first = relay.roles.ledger.parked(ask).await.unwrap();
        assert!(first.more);
        assert_eq!(first.events[0].aggregate_id, "a");
        let ask = ParkedAsk { lanes: &[lane], after: Some(first.events[0].key), limit: 1 };
        let second = relay.roles.ledger.parked(ask).await.unwrap();
        assert_eq!((second.events.len(), second.more), (1, false));
        relay.open_again().await;
        assert!(relay.read_all().await.is_empty());
        let gauge = relay.roles.upkeep.gauge().await.unwrap();
        assert_eq!(gauge.lanes[usize::from(lane.0)].parked, 2);
        assert_eq!(gauge.lanes.iter().map(|lane| lane.lag_records).sum::<u64>(), 0);
        relay.tell(&[(first.events[0].key, Change::Settled(End::Shipped))]).await;
        let gauge = relay.roles.upkeep.gauge().await.unwrap();
        assert_eq!(gauge.lanes[usize::from(lane.0)].parked, 1, "a settled one is not counted");
        assert_eq!(relay.keys().await, [second.events[0].key], "nor listed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_event_comes_back_with_what_waits_behind_it_after_its_pause() {
    on_every_server(async |database| {
        let reason = ParkReason::Refused { cause: TOO_LARGE, next: Next::Retry(HOUR) };
        let (mut relay, keys) = parked(&database, 3, reason).await;
        let page = relay.due().await;
        assert!(page.events.is_empty() && !page.more && page.decisions.is_empty());
        let next_in = page.next_in.unwrap();
        assert!(next_in <= HOUR && next_in > HOUR - Duration::from_secs(60), "{next_in:?}");
        relay.tell(&[(keys[0], Change::Postponed(Duration::ZERO))]).await;
        let page = relay.due().await;
        assert_eq!(texts(&page.events), ["a/1", "a/2", "a/3"]);
        let attempts: Vec<_> = page.events.iter().map(|event| (event.key, event.attempts)).collect();
        assert_eq!(attempts, [(keys[0], 1), (keys[1], 0), (keys[2], 0)]);
        assert!(page.events.iter().all(|event| event.death.is_none()));
        assert_eq!((page.more, page.next_in), (false, None));
        assert_eq!(texts(&relay.due().await.events).len(), 3, "asking twice hands it over twice");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_behind_an_event_that_is_not_due_is_not_due() {
    on_every_server(async |database| {
        let (mut relay, keys) = parked(&database, 3, REFUSED).await;
        relay.tell(&[(keys[1], Change::Postponed(HOUR))]).await;
        let page = relay.due().await;
        assert_eq!(texts(&page.events), ["a/1"]);
        assert!(page.next_in.is_some_and(|next_in| next_in <= HOUR));
        let refused = Change::Refused { cause: TOO_LARGE, attempts: 2, next: Next::Wait };
        relay.tell(&[(keys[0], refused), (keys[1], Change::Postponed(Duration::ZERO))]).await;
        let page = relay.due().await;
        assert_eq!((texts(&page.events).len(), page.next_in), (0, None), "it waits for a person, as do they");
        relay.tell(&[(keys[0], Change::Settled(End::Discarded))]).await;
        assert_eq!(texts(&relay.due().await.events), ["a/2", "a/3"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_left_out_keeps_what_waits_behind_it_and_no_dead_letter() {
    on_every_server(async |database| {
        let app = database.client().await;
        for (topic, aggregate) in [("t", "a"), ("held", "a"), ("t", "a"), ("held", "b")] {
            let event = "SELECT eventferry.enqueue($1, 'test', $2, $1 || '/' || $2)";
            app.execute(event, &[&topic, &aggregate]).await.unwrap();
        }
        let mut relay = database.owner().await;
        for record in relay.read().await.records {
            let held = record.row.topic() == "held";
            relay
                .park(&[record], &[if held { ParkReason::TopicHeld(TOO_LARGE) } else { ParkReason::Behind }])
                .await;
        }
        assert_eq!(texts(&relay.due().await.events).len(), 4);
        let page = relay.due_but(&["held"]).await;
        assert_eq!((texts(&page.events), page.next_in), (vec!["t/a".to_owned()], None));
        assert_eq!(page.events[0].attempts, 0);
        let key = relay.due().await.events.iter().find(|event| text(&event.row) == "held/b").unwrap().key;
        let refused = Change::Refused { cause: TOO_LARGE, attempts: 5, next: Next::Die };
        relay.tell(&[(key, refused)]).await;
        assert!(texts(&relay.due_but(&["held"]).await.events).contains(&"held/b".to_owned()));
    })
    .await;
}

/// Three events of an aggregate are parked, the first is settled, another is parked behind them; all are settled and
/// one more is parked behind the last in the same settlement. What is due then, each time.
async fn settled_from_the_front(database: &Database) -> Vec<Vec<String>> {
    let (mut relay, keys) = parked(database, 3, REFUSED).await;
    let mut seen = Vec::new();
    relay.tell(&[(keys[0], Change::Settled(End::Shipped))]).await;
    seen.push(texts(&relay.due().await.events));
    let app = database.client().await;
    enqueue(&app, "a", "4").await;
    let record = relay.read().await.records.pop().unwrap();
    let settled = [1, 2].map(|at| (keys[at], Change::Settled(End::Shipped)));
    let park = vec![eventferry_core::parked::Park {
        mark: &record.mark,
        row: &record.row,
        reason: ParkReason::Behind,
    }];
    let prefix = [record.mark.clone()];
    let settlement = Settlement {
        lease: relay.lease(record.lane),
        prefix: &prefix,
        park,
        changes: settled.to_vec(),
        carries: None,
    };
    assert_eq!(relay.roles.ledger.settle(&[settlement]).await.unwrap(), [Verdict::Done]);
    seen.push(texts(&relay.due().await.events));
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_behind_a_settled_event_is_due_by_itself() {
    on_every_server(async |database| {
        assert_eq!(settled_from_the_front(&database).await, [vec!["a/2", "a/3"], vec!["a/4"]]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_behind_a_settled_event_would_wait_for_ever() {
    on_every_server(async |database| {
        let mend = "PERFORM eventferry.first_is_due(of_lanes, of_types, of_ids, moment);";
        database.undo("settle", mend, "").await;
        let seen = settled_from_the_front(&database).await;
        assert!(seen.iter().all(Vec::is_empty), "with the mend undone: {seen:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_given_up_goes_to_the_dead_letter_topic_with_its_reason_and_nowhere_else() {
    on_every_server(async |database| {
        let (mut relay, keys) = parked(&database, 2, REFUSED).await;
        let cause = Cause { class: "InvalidRecord", message: "no schema" };
        relay.tell(&[(keys[0], Change::Refused { cause, attempts: 5, next: Next::Die })]).await;
        let page = relay.due().await;
        assert_eq!(texts(&page.events), ["a/1", "a/2"]);
        let death = page.events[0].death.as_ref().unwrap();
        assert_eq!((death.class.as_str(), death.message.as_str()), ("InvalidRecord", "no schema"));
        assert_eq!(page.events[0].attempts, 5);
        let at = relay.roles.upkeep.gauge().await.unwrap().at;
        assert!(death.failed_at <= at && at.0 - death.failed_at.0 < 60_000_000);
        // Whatever comes, it never goes back.
        let again = Change::Refused { cause: TOO_LARGE, attempts: 6, next: Next::Retry(Duration::ZERO) };
        for change in [Change::Retried, again, Change::Postponed(Duration::ZERO)] {
            relay.tell(&[(keys[0], change)]).await;
            let page = relay.due().await;
            assert_eq!(page.events[0].death.as_ref().unwrap().class, "InvalidRecord", "{change:?}");
            assert_eq!(page.events[0].attempts, 5);
        }
        relay.tell(&[(keys[0], Change::Held)]).await;
        let page = relay.due().await;
        assert_eq!((page.events.len(), page.next_in), (0, None), "its aggregate is held");
        relay.tell(&[(keys[0], Change::Settled(End::DeadLettered))]).await;
        assert_eq!(texts(&relay.due().await.events), ["a/2"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_event_are_applied_in_their_order() {
    on_every_server(async |database| {
        let (mut relay, keys) = parked(&database, 1, REFUSED).await;
        let refused = |attempts, next| Change::Refused { cause: TOO_LARGE, attempts, next };
        let changes = [refused(2, Next::Wait), Change::Retried, refused(1, Next::Retry(HOUR))];
        relay.tell(&changes.map(|change| (keys[0], change))).await;
        assert_eq!(first_row(&database).await, "topic 1 MessageSizeTooLarge 1 MB are too many f");
        relay.tell(&[(keys[0], Change::Retried), (keys[0], refused(1, Next::Wait))]).await;
        assert_eq!(first_row(&database).await, "waiting 1 MessageSizeTooLarge 1 MB are too many f");
        relay.tell(&[(keys[0], refused(1, Next::Wait)), (keys[0], Change::Retried)]).await;
        assert_eq!(first_row(&database).await, "topic 0 MessageSizeTooLarge 1 MB are too many f");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_settled_or_missing_events_change_nothing() {
    on_every_server(async |database| {
        let (mut relay, keys) = parked(&database, 1, REFUSED).await;
        relay.tell(&[(keys[0], Change::Settled(End::Discarded))]).await;
        let row = "SELECT row_to_json(p)::text FROM eventferry.parked AS p";
        let app = database.client().await;
        let before: String = query(&app, row).await;
        let again = Change::Refused { cause: TOO_LARGE, attempts: 6, next: Next::Retry(Duration::ZERO) };
        let missing = ParkedKey { lane: keys[0].lane, ordinal: keys[0].ordinal + 1 };
        for change in [again, Change::Retried, Change::Held, Change::Settled(End::Shipped)] {
            relay.tell(&[(keys[0], change), (missing, change)]).await;
        }
        assert_eq!(query::<String>(&app, row).await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_owner_changes_nothing() {
    on_every_server(async |database| {
        let (mut former, keys) = parked(&database, 1, REFUSED).await;
        expire(&database).await;
        let mut next = database.relay("next").await;
        next.take(64).await;
        let verdict = former.try_tell(&[(keys[0], Change::Settled(End::Discarded))]).await.unwrap();
        assert_eq!(verdict, Verdict::Fenced);
        assert_eq!(texts(&next.due().await.events), ["a/1"]);
    })
    .await;
}

/// A change as the server gets it, from a settlement that follows version $2 and stays at its place: of lane $1,
/// event $3, change $4, attempts 2.
const SENT_EARLIER: &str = "
    SELECT s.verdict FROM eventferry.position AS p, eventferry.current_history() AS h,
        eventferry.settle('owner', h.system_identifier, h.timeline, ARRAY[p.lane], ARRAY[p.epoch], ARRAY[p.version],
            ARRAY[p.read_window], ARRAY[p.last_id], '{}', '{}', '{}', '{}', '{}', '{}',
            '{77}', '{}', '{}', '{}', '{}', '{}', '{}', ARRAY[p.lane], ARRAY[$3::bigint], '{1}', ARRAY[$4],
            '{0}', '{2}', '{Late}', '{late}') AS s
    WHERE p.lane = $1 AND p.version = $2";

async fn send_earlier(client: &Client, key: ParkedKey, version: i64, change: &str) -> String {
    let lane = i32::from(key.lane.0);
    client.query_one(SENT_EARLIER, &[&lane, &version, &key.ordinal, &change]).await.unwrap().get(0)
}

/// A change is told at version 1; its call is thought lost, and comes after what became of the event then.
async fn told_late(database: &Database, then: &[Change<'_>], late: &str) -> (String, Relay) {
    let (mut relay, keys) = parked(database, 1, REFUSED).await;
    for change in then {
        relay.tell(&[(keys[0], *change)]).await;
    }
    (send_earlier(&database.client().await, keys[0], 1, late).await, relay)
}

const DIE: Change<'static> = Change::Refused { cause: TOO_LARGE, attempts: 5, next: Next::Die };
const WAIT: Change<'static> = Change::Refused { cause: TOO_LARGE, attempts: 5, next: Next::Wait };

/// Any version may be followed, as if there were only the epoch.
async fn undo_versions(database: &Database) {
    let newest = "t.version = (SELECT p.version";
    database.undo("settle", newest, "t.version <= (SELECT p.version").await;
    let next = "(SELECT max(n.version) + 1 FROM eventferry.position AS n WHERE n.lane = t.lane), t.epoch";
    database.undo("settle", "t.version + 1, t.epoch", next).await;
    // Nor does the number of attempts tell that a refusal comes late.
    database.undo("settle", "c.attempts >= p.attempts", "true").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_comes_late_changes_nothing_though_no_position_moved() {
    on_every_server(async |database| {
        let (verdict, mut relay) = told_late(&database, &[DIE], "refused_retry").await;
        assert_eq!(verdict, "stale");
        assert_eq!(first_row(&database).await, "dead_letter_topic 5 MessageSizeTooLarge 1 MB are too many f");
        assert!(relay.due().await.events[0].death.is_some());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_versions_a_late_change_sends_again_what_waits_for_a_person() {
    on_every_server(async |database| {
        undo_versions(&database).await;
        let (_, mut relay) = told_late(&database, &[WAIT], "refused_retry").await;
        assert_eq!(relay.due().await.events.len(), 1, "with the mend undone");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_versions_and_the_way_of_states_a_dead_event_goes_to_its_own_topic() {
    on_every_server(async |database| {
        undo_versions(&database).await;
        database
            .undo("state_after", "WHEN $1 IN ('dead_letter_topic', 'held') THEN $1", "WHEN false THEN $1")
            .await;
        let (_, mut relay) = told_late(&database, &[DIE], "refused_retry").await;
        assert!(relay.due().await.events[0].death.is_none(), "with the mend undone");
    })
    .await;
}

/// A call that is thought lost arrives after the lanes were opened again and before what is told then. What that is
/// answered, and how many events are unsettled.
async fn told_otherwise_before(database: &Database) -> (Result<Verdict, StoreFaultKind>, usize) {
    let (mut relay, keys) = parked(database, 1, REFUSED).await;
    relay.open_again().await;
    assert_eq!(send_earlier(&database.client().await, keys[0], 1, "postponed").await, "done");
    let answer = relay.try_tell(&[(keys[0], Change::Settled(End::Shipped))]).await;
    (answer.map_err(|fault| *fault.kind()), relay.keys().await.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_otherwise_under_the_same_version_is_not_taken_for_done() {
    on_every_server(async |database| {
        let told = told_otherwise_before(&database).await;
        assert_eq!(told, (Err(StoreFaultKind::HistoryLost), 1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_alone_takes_one_call_for_another() {
    on_every_server(async |database| {
        database.undo("settle", " AND p.told = coalesce(t.telling, 0)", "").await;
        let told = told_otherwise_before(&database).await;
        assert_eq!(told, (Ok(Verdict::Done), 1), "with the mend undone it is not shipped, and said to be");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_call_is_done_and_counts_once() {
    on_every_server(async |database| {
        let (mut relay, keys) = parked(&database, 1, REFUSED).await;
        let app = database.client().await;
        assert_eq!(send_earlier(&app, keys[0], 1, "refused_retry").await, "done");
        assert_eq!(send_earlier(&app, keys[0], 1, "refused_retry").await, "done");
        let newest = "SELECT max(version) FROM eventferry.position";
        assert_eq!(query::<i64>(&app, newest).await, 2);
        relay.open_again().await;
        assert_eq!(relay.due().await.events[0].attempts, 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_a_refusal_are_cut_and_cannot_break_a_settlement() {
    on_every_server(async |database| {
        let message = format!("\0{}", "ü".repeat(2_000));
        let cause = Cause { class: "nul\0", message: &message };
        let (mut relay, keys) = parked(&database, 1, ParkReason::TopicHeld(cause)).await;
        let app = database.client().await;
        let sql = "SELECT class || char_length(message) || left(message, 2) FROM eventferry.parked";
        assert_eq!(query::<String>(&app, sql).await, "nul\u{fffd}1000\u{fffd}ü");
        let refused = Change::Refused { cause, attempts: 2, next: Next::Retry(Duration::MAX) };
        relay.tell(&[(keys[0], refused)]).await;
        assert_eq!(query::<String>(&app, sql).await, "nul\u{fffd}1000\u{fffd}ü");
        assert!(relay.due().await.next_in.unwrap() > HOUR);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_events_size_is_what_its_row_takes() {
    on_every_server(async |database| {
        let app = database.client().await;
        for number in [1usize, 100, 100_000] {
            let text = "0".repeat(number);
            let event = "SELECT eventferry.enqueue('t', 'test', 'a', $1::text, key => left($1, 7), \
                         headers => '{\"tenant\": \"acme\", \"empty\": null}')";
            app.execute(event, &[&text]).await.unwrap();
        }
        let mut relay = database.owner().await;
        let records = relay.read().await.records;
        relay.park(&records, &[REFUSED, ParkReason::Behind, ParkReason::Behind]).await;
        let lanes = relay.lanes();
        let ask = ParkedAsk { lanes: &lanes, after: None, limit: 10 };
        let listed = relay.roles.ledger.parked(ask).await.unwrap().events;
        let due = relay.due().await.events;
        for ((record, listed), due) in records.iter().zip(&listed).zip(&due) {
            let (size, listed) = (record.row.size_bytes() as u64, listed.size_bytes);
            assert_eq!(size, due.row.size_bytes() as u64);
            assert!((size..size + 64).contains(&listed), "{size} bytes, listed as {listed}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_waits_for_a_settlement_sees_what_it_changed_and_parked() {
    on_every_server(async |database| {
        let (mut relay, keys) = parked(&database, 2, REFUSED).await;
        expire(&database).await;
        let mut app = database.client().await;
        // The server is in the middle of the former owner's last settlement.
        let settling = app.transaction().await.unwrap();
        let lane = i32::from(keys[0].lane.0);
        let sent = settling.query_one(SENT_EARLIER, &[&lane, &1i64, &keys[0].ordinal, &"shipped"]).await;
        assert_eq!(sent.unwrap().get::<_, String>(0), "done");
        let mut next = database.relay("next").await;
        next.take(64).await;
        assert_eq!(next.leases.len(), 63, "its lane is not taken meanwhile");
        settling.commit().await.unwrap();
        let claim = Claim { keep: next.leases.clone(), take_max: 1, lease: LEASE, whole: false };
        next.leases = next.roles.lanes.hold(claim).await.unwrap().leases;
        next.open_again().await;
        assert_eq!(next.keys().await, keys[1..]);
        assert_eq!(texts(&next.due().await.events), ["a/2"]);
        let fenced = relay.try_tell(&[(keys[1], Change::Retried)]).await.unwrap();
        assert_eq!(fenced, Verdict::Fenced);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_another_timeline_nothing_is_handed_over_again() {
    on_every_server(async |database| {
        let (mut relay, keys) = parked(&database, 1, REFUSED).await;
        fail_over(&database).await;
        let lanes = relay.lanes();
        let ask = eventferry_core::parked::DueAsk {
            lanes: &lanes,
            except_topics: &[],
            after: None,
            records_max: 10,
            bytes_max: 1000,
        };
        let fault = relay.roles.ledger.due(ask).await.unwrap_err();
        assert_eq!(*fault.kind(), StoreFaultKind::HistoryLost);
        let fault = relay.try_tell(&[(keys[0], Change::Retried)]).await.unwrap_err();
        assert_eq!(*fault.kind(), StoreFaultKind::HistoryLost);
        // Lanes that were open before are to be opened anew, all of them: the feed says so once.
        assert!(relay.roles.feed.open(&relay.leases).await.is_err());
        relay.open_again().await;
        assert_eq!(relay.due().await.events.len(), 1);
    })
    .await;
}
