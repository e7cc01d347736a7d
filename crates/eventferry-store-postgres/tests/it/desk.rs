//! What people see of parked events, and what they decide.

use std::time::Duration;

use eventferry_core::parked::{
    Act, Change, Decision, Decisions, Desk as _, End, Next, ParkReason, ParkedFilter, ParkedKey, ShowAsk,
    ShownPage, Stage,
};
use eventferry_core::{MessageId, PackedRow, Row as _, StoreFaultKind};

use crate::parked::parked;
use crate::server::{Database, REFUSED, Relay, TOO_LARGE, enqueue, on_every_server, query, text, texts};

fn act() -> Act {
    Act { who: "ada".into(), why: "the schema is mended".into() }
}

fn all() -> ParkedFilter {
    ParkedFilter::default()
}

async fn show(relay: &mut Relay, filter: &ParkedFilter) -> ShownPage<PackedRow> {
    let ask = ShowAsk { filter, after: None, records_max: 100, bytes_max: 1 << 20 };
    relay.roles.desk.show(ask).await.unwrap()
}

async fn shown(relay: &mut Relay, filter: ParkedFilter) -> Vec<String> {
    show(relay, &filter).await.events.iter().map(|event| text(&event.row)).collect()
}

async fn decide(relay: &mut Relay, decision: Decision) -> (u64, u64) {
    let Decisions { taken, refused } = relay.roles.desk.decide(&all(), decision, &act()).await.unwrap();
    (taken, refused)
}

async fn decided(relay: &mut Relay) -> Vec<(ParkedKey, Decision, Stage)> {
    let page = relay.due().await;
    page.decisions.iter().map(|decided| (decided.key, decided.decision, decided.stage)).collect()
}

async fn audit(database: &Database) -> String {
    let sql = "SELECT coalesce(string_agg(concat_ws(' ', who, what, why, topic, aggregate_type, aggregate_id,
                   message_id IS NOT NULL), '; ' ORDER BY id), '') FROM eventferry.audit";
    query(&database.client().await, sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_what_is_parked_why_and_since_when() {
    on_every_server(async |database| {
        let (mut relay, keys) = parked(&database, 2, REFUSED).await;
        let page = show(&mut relay, &all()).await;
        assert!(!page.more);
        let [first, second] = &page.events[..] else { panic!("{page:?}") };
        assert_eq!((first.key, second.key), (keys[0], keys[1]));
        assert_eq!((first.stage, first.attempts, first.decision), (Stage::Topic, 1, None));
        assert_eq!(first.class.as_deref(), Some("MessageSizeTooLarge"));
        assert_eq!(first.message.as_deref(), Some("1 MB are too many"));
        assert!(first.due_at.unwrap() >= first.parked_at && first.parked_at > first.row.enqueued_at());
        assert_eq!((second.attempts, second.class.as_deref(), second.due_at), (0, None, None));
        relay.tell(&[(keys[0], Change::Settled(End::Shipped))]).await;
        assert_eq!(show(&mut relay, &all()).await.events.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_of_a_filter_is_kept_to() {
    on_every_server(async |database| {
        let app = database.client().await;
        for (topic, kind, id) in [("t", "order", "1"), ("u", "order", "2"), ("u", "item", "1")] {
            let event = "SELECT eventferry.enqueue($1, $2, $3, concat_ws('/', $1::text, $2::text, $3::text))";
            app.execute(event, &[&topic, &kind, &id]).await.unwrap();
        }
        let mut relay = database.owner().await;
        let mut ids = Vec::new();
        for record in relay.read().await.records {
            let reason = match record.row.topic() {
                "t" => ParkReason::Refused { cause: TOO_LARGE, next: Next::Wait },
                _ => ParkReason::TopicHeld(eventferry_core::parked::Cause {
                    class: "TopicAuthorizationFailed",
                    message: "Not 100% allowed_",
                }),
            };
            ids.push((text(&record.row), record.row.message_id()));
            relay.park(&[record], &[reason]).await;
        }
        let some = |text: &str| Some(text.to_owned());
        for (filter, expected) in [
            (all(), vec!["t/order/1", "u/item/1", "u/order/2"]),
            (ParkedFilter { aggregate_type: some("order"), ..all() }, vec!["t/order/1", "u/order/2"]),
            (ParkedFilter { aggregate_id: some("1"), ..all() }, vec!["t/order/1", "u/item/1"]),
            (ParkedFilter { topic: some("u"), ..all() }, vec!["u/item/1", "u/order/2"]),
            (ParkedFilter { topic: some("u"), aggregate_id: some("1"), ..all() }, vec!["u/item/1"]),
            (ParkedFilter { reason: some("messagesizetoolarge"), ..all() }, vec!["t/order/1"]),
            (ParkedFilter { reason: some("MessageSize"), ..all() }, vec![]),
            (ParkedFilter { reason: some("not 100% ALLOWED_"), ..all() }, vec!["u/item/1", "u/order/2"]),
            (ParkedFilter { reason: some("100_ allowed"), ..all() }, vec![]),
            (ParkedFilter { stage: Some(Stage::Waiting), ..all() }, vec!["t/order/1"]),
            (ParkedFilter { stage: Some(Stage::Held), ..all() }, vec![]),
            (ParkedFilter { parked_for: Some(Duration::from_secs(60)), ..all() }, vec![]),
            (ParkedFilter { parked_for: Some(Duration::MAX), ..all() }, vec![]),
            (ParkedFilter { message_ids: vec![ids[0].1, MessageId([7; 16])], ..all() }, vec![&ids[0].0[..]]),
        ] {
            let mut shown = shown(&mut relay, filter.clone()).await;
            shown.sort();
            assert_eq!(shown, expected, "{filter:?}");
        }
        app.batch_execute("UPDATE eventferry.parked SET parked_at = parked_at - interval '2 minutes'")
            .await
            .unwrap();
        let old = ParkedFilter { parked_for: Some(Duration::from_secs(60)), ..all() };
        assert_eq!(shown(&mut relay, old).await.len(), 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_for_people_are_bounded_and_together_show_all() {
    on_every_server(async |database| {
        let (mut relay, keys) = parked(&database, 7, REFUSED).await;
        for (records_max, bytes_max) in [(1, 1 << 20), (3, 1 << 20), (7, 1 << 20), (100, 1), (100, 500)] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let ask = ShowAsk { filter: &all(), after, records_max, bytes_max };
                let page = relay.roles.desk.show(ask).await.unwrap();
                let bytes: usize = page.events.iter().map(|event| event.row.size_bytes()).sum();
                assert!(page.events.len() <= records_max as usize);
                assert!(bytes as u64 <= bytes_max || page.events.len() == 1);
                seen.extend(page.events.iter().map(|event| event.key));
                after = seen.last().copied();
                if !page.more {
                    break;
                }
            }
            assert_eq!(seen, keys, "{records_max} records, {bytes_max} bytes");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_a_wish_that_the_owner_carries_out_and_a_line_in_the_audit_table() {
    on_every_server(async |database| {
        let reason = ParkReason::Refused { cause: TOO_LARGE, next: Next::Wait };
        let (mut relay, keys) = parked(&database, 2, reason).await;
        assert_eq!(decide(&mut relay, Decision::Retry).await, (1, 1), "a/2 only waits behind");
        assert_eq!(audit(&database).await, "ada retry the schema is mended t test a t");
        let page = relay.due().await;
        assert!(page.events.is_empty(), "not before it is carried out");
        let [decided_on] = &page.decisions[..] else { panic!("{:?}", page.decisions) };
        assert_eq!(
            (decided_on.key, decided_on.decision, decided_on.stage),
            (keys[0], Decision::Retry, Stage::Waiting)
        );
        assert_eq!((&decided_on.aggregate_type[..], &decided_on.aggregate_id[..]), ("test", "a"));
        assert_eq!(show(&mut relay, &all()).await.events[0].decision, Some(Decision::Retry));
        // Until then there is no other.
        for decision in [Decision::Retry, Decision::Release] {
            assert_eq!(decide(&mut relay, decision).await, (0, 2));
        }
        assert_eq!(decide(&mut relay, Decision::Discard).await, (1, 1), "of a/2");
        relay.tell(&[(keys[0], Change::Retried)]).await;
        assert_eq!(decided(&mut relay).await, [(keys[1], Decision::Discard, Stage::Topic)]);
        let page = relay.due().await;
        assert_eq!((texts(&page.events), page.events[0].attempts), (vec!["a/1".to_owned()], 0));
        relay.tell(&[(keys[1], Change::Settled(End::Discarded))]).await;
        assert_eq!(decided(&mut relay).await, []);
        assert_eq!(relay.keys().await, keys[..1]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_does_not_fit_is_refused() {
    on_every_server(async |database| {
        let (mut relay, keys) = parked(&database, 1, REFUSED).await;
        assert_eq!(decide(&mut relay, Decision::Release).await, (0, 1), "it is not held");
        relay.tell(&[(keys[0], Change::Refused { cause: TOO_LARGE, attempts: 2, next: Next::Die })]).await;
        assert_eq!(decide(&mut relay, Decision::Retry).await, (0, 1), "it is dying");
        assert_eq!(decide(&mut relay, Decision::Discard).await, (1, 0));
        relay.tell(&[(keys[0], Change::Held)]).await;
        assert_eq!(
            decided(&mut relay).await,
            [(keys[0], Decision::Discard, Stage::Held)],
            "it came too late"
        );
        relay.tell(&[(keys[0], Change::DecisionRefused)]).await;
        assert_eq!(decided(&mut relay).await, []);
        for decision in [Decision::Retry, Decision::Discard] {
            assert_eq!(decide(&mut relay, decision).await, (0, 1), "it is in the dead-letter topic");
        }
        assert_eq!(decide(&mut relay, Decision::Release).await, (1, 0));
        assert_eq!(decided(&mut relay).await, [(keys[0], Decision::Release, Stage::Held)]);
        relay.tell(&[(keys[0], Change::Settled(End::DeadLettered))]).await;
        assert_eq!(decide(&mut relay, Decision::Release).await, (0, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_behind_a_discarded_event_goes_on() {
    on_every_server(async |database| {
        let reason = ParkReason::TopicHeld(TOO_LARGE);
        let (mut relay, keys) = parked(&database, 3, reason).await;
        let filter = ParkedFilter { reason: Some("messagesizetoolarge".into()), ..all() };
        let taken = relay.roles.desk.decide(&filter, Decision::Discard, &act()).await.unwrap().taken;
        assert_eq!(taken, 1);
        assert!(relay.due().await.events.is_empty());
        relay.tell(&[(keys[0], Change::Settled(End::Discarded))]).await;
        assert_eq!(texts(&relay.due().await.events), ["a/2", "a/3"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_meets_a_settlement_sees_what_it_did() {
    on_every_server(async |database| {
        let (mut relay, keys) = parked(&database, 1, REFUSED).await;
        let mut app = database.client().await;
        // A settlement is under way that lets the event die.
        let settling = app.transaction().await.unwrap();
        let die = "UPDATE eventferry.parked SET state = 'dead_letter_topic', due_at = now()";
        settling.execute(die, &[]).await.unwrap();
        let commit = async {
            let watch = database.client().await;
            while query::<i64>(&watch, "SELECT count(*) FROM pg_locks WHERE NOT granted").await == 0 {
                tokio::task::yield_now().await;
            }
            settling.commit().await.unwrap();
        };
        let (counts, ()) = tokio::join!(decide(&mut relay, Decision::Retry), commit);
        assert_eq!(counts, (0, 1), "a dying event is not to be retried");
        assert_eq!(audit(&database).await, "");
        assert_eq!(relay.due().await.events[0].key, keys[0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_besides_is_recorded_with_who_and_why() {
    on_every_server(async |database| {
        enqueue(&database.client().await, "a", "1").await;
        let mut relay = database.relay("r").await;
        relay.roles.desk.record("replay of 12 dead letters", &act()).await.unwrap();
        assert_eq!(audit(&database).await, "ada replay of 12 dead letters the schema is mended f");
        let nobody = Act { who: String::new(), why: String::new() };
        let fault = relay.roles.desk.record("replay", &nobody).await.unwrap_err();
        assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured);
        assert!(fault.to_string().contains("who_has_1_to_200_characters"), "{fault}");
    })
    .await;
}
