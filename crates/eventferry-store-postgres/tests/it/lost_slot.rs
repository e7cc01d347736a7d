//! A slot that is lost: dropped, or let go of because it kept too much.

use eventferry_core::StoreFaultKind;
use eventferry_core::store::{
    Anchor, Feed as _, Prepare, Settlement, Store as _, Upkeep as _, Verdict, Wish,
};
use eventferry_store_postgres::{FeedChoice, PostgresConfig, PostgresStore};
use tokio_postgres::Client;

use crate::own_server::{NEWEST, OLDEST, OwnServer};
use crate::server::{Relay, enqueue, expire, on_every_server_by, query, text};
use crate::tail::{come_to_the_tail, drop_slot, emit, settle_all};

/// Reads on as a relay does that lives through it: lanes are opened again when the history is lost. Ends when this
/// event has come; with how lanes were opened.
async fn live_on(relay: &mut Relay, last: &str) -> (Vec<String>, Option<Anchor>) {
    let (mut texts, mut anchor) = (Vec::new(), None);
    let lanes = relay.lanes();
    while texts.iter().all(|text| text != last) {
        let wish = Wish { lanes: &lanes, records_max: 1000, bytes_max: 1 << 20 };
        match relay.roles.feed.read(wish).await {
            Ok(page) => texts.extend(page.records.iter().map(|record| text(&record.row))),
            Err(fault) if *fault.kind() == StoreFaultKind::Unavailable => {}
            Err(fault) => {
                assert_eq!(*fault.kind(), StoreFaultKind::HistoryLost, "{fault}");
                let opened = relay.roles.feed.open(&relay.leases).await.unwrap();
                anchor = opened.iter().map(|lane| lane.anchor).find(|anchor| *anchor == Anchor::LogLost);
            }
        }
    }
    (texts, anchor)
}

/// Reads until this event has come, and settles what has.
async fn carry(relay: &mut Relay, last: &str) {
    loop {
        let page = relay.read().await;
        for record in &page.records {
            let (lease, prefix) = (relay.lease(record.lane), [record.mark.clone()]);
            let settlement =
                Settlement { lease, prefix: &prefix, park: vec![], changes: vec![], carries: None };
            assert_eq!(relay.settle(settlement).await, Verdict::Done);
        }
        if page.records.iter().any(|record| text(&record.row) == last) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_dropped_under_a_live_relay_loses_nothing_and_reading_does_not_wait_for_a_new_one() {
    on_every_server_by(FeedChoice::TailTable, async |database| {
        let (app, mut slow) = (database.client().await, database.client().await);
        let mut relay = database.owner().await;
        come_to_the_tail(&mut relay, &app).await;
        enqueue(&app, "a", "1").await;
        carry(&mut relay, "a/1").await;
        enqueue(&app, "a", "2").await;
        assert_eq!(relay.read_all().await, ["a/2"]);
        // No slot can be made while it lasts.
        let slow = slow.transaction().await.unwrap();
        enqueue(&slow, "slow", "1").await;
        drop_slot(&app).await;
        enqueue(&app, "a", "3").await;
        let (read, anchor) = live_on(&mut relay, "a/3").await;
        // What was settled may come again, before what was not.
        assert!(read.ends_with(&["a/2".into(), "a/3".into()]), "{read:?}");
        assert_eq!(anchor, Some(Anchor::LogLost));
        enqueue(&app, "a", "4").await;
        assert_eq!(live_on(&mut relay, "a/4").await, (vec!["a/4".into()], None));
        slow.commit().await.unwrap();
        assert_eq!(live_on(&mut relay, "slow/1").await.0, ["slow/1"]);
        come_to_the_tail(&mut relay, &app).await;
        enqueue(&app, "a", "5").await;
        assert_eq!(relay.read_all().await, ["a/5"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_slot_loses_nothing_that_is_in_the_table() {
    on_every_server_by(FeedChoice::TailTable, async |database| {
        let app = database.client().await;
        enqueue(&app, "a", "1").await;
        let mut relay = database.owner().await;
        assert_eq!(relay.read_all().await, ["a/1"]);
        come_to_the_tail(&mut relay, &app).await;
        enqueue(&app, "a", "2").await;
        let records = relay.read().await.records;
        assert_eq!(records.len(), 1);
        drop(relay);
        drop_slot(&app).await;
        enqueue(&app, "a", "3").await;
        expire(&database).await;
        let mut heir = database.relay("heir").await;
        heir.take(64).await;
        assert_eq!(heir.read_all().await, ["a/1", "a/2", "a/3"], "nothing was settled");
        come_to_the_tail(&mut heir, &app).await;
        enqueue(&app, "a", "4").await;
        assert_eq!(heir.read_all().await, ["a/4"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_slot_of_messages_stops_relays_until_a_person_accepts_it() {
    on_every_server_by(FeedChoice::TailMessages, async |database| {
        let app = database.client().await;
        emit(&app, "a", "1").await;
        let mut relay = database.owner().await;
        assert_eq!(relay.read_all().await, ["a/1"]);
        settle_all(&mut relay).await;
        drop_slot(&app).await;
        let leases = relay.leases.clone();
        let fault = relay.roles.feed.open(&leases).await.unwrap_err();
        assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured, "{fault}");
        assert!(fault.message().contains("--accept-loss"), "{fault}");
        let fault = database.store().prepare(Prepare::Apply).await.unwrap_err();
        assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured, "{fault}");
        let accepting = PostgresConfig::from_url(&database.url).unwrap().feed(database.feed).accept_loss();
        PostgresStore::new(accepting).prepare(Prepare::Apply).await.unwrap();
        emit(&app, "a", "2").await;
        relay.roles.feed.open(&leases).await.unwrap();
        assert_eq!(relay.read_all().await, ["a/2"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_of_messages_dropped_under_a_live_relay_ends_it() {
    on_every_server_by(FeedChoice::TailMessages, async |database| {
        let app = database.client().await;
        let mut relay = database.owner().await;
        emit(&app, "a", "1").await;
        carry(&mut relay, "a/1").await;
        drop_slot(&app).await;
        let lanes = relay.lanes();
        let fault = loop {
            let wish = Wish { lanes: &lanes, records_max: 1000, bytes_max: 1 << 20 };
            match relay.roles.feed.read(wish).await {
                Ok(page) => assert!(page.records.is_empty()),
                Err(fault) if *fault.kind() == StoreFaultKind::HistoryLost => break fault,
                Err(fault) => assert_eq!(*fault.kind(), StoreFaultKind::Unavailable, "{fault}"),
            }
        };
        assert!(fault.message().contains("slot"), "{fault}");
        for fault in [
            relay.roles.feed.open(&relay.leases).await.unwrap_err(),
            database.store().prepare(Prepare::Check).await.unwrap_err(),
        ] {
            assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured, "{fault}");
            assert!(fault.message().contains("init --tail --accept-loss"), "{fault}");
        }
    })
    .await;
}

/// Writes so much that the server lets go of what the slot keeps.
async fn outgrow_the_slot(app: &Client) {
    let lost = "SELECT count(*) FROM pg_replication_slots WHERE wal_status = 'lost'";
    while query::<i64>(app, lost).await == 0 {
        for _ in 0..4 {
            app.batch_execute("CREATE TABLE others (); DROP TABLE others").await.unwrap();
            app.batch_execute("SELECT pg_switch_wal()").await.unwrap();
        }
        app.batch_execute("CHECKPOINT").await.unwrap();
    }
}

const SMALL: &str = "max_slot_wal_keep_size = '16MB'\nmax_wal_size = '32MB'\nmin_wal_size = '32MB'";

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_kept_too_much_loses_nothing_that_is_in_the_table() {
    for programs in [NEWEST, OLDEST] {
        let server = OwnServer::start(programs, SMALL).await;
        let database = server.database(FeedChoice::TailTable);
        database.store().prepare(Prepare::Apply).await.unwrap();
        let app = database.client().await;
        let mut relay = database.owner().await;
        come_to_the_tail(&mut relay, &app).await;
        let log = relay.roles.upkeep.log().await.unwrap().unwrap();
        assert!(log.spare_bytes.is_some_and(|spare| spare > 0) && !log.lost, "{log:?}");
        enqueue(&app, "a", "1").await;
        carry(&mut relay, "a/1").await;
        enqueue(&app, "a", "2").await;
        outgrow_the_slot(&app).await;
        assert!(relay.roles.upkeep.log().await.unwrap().unwrap().lost);
        enqueue(&app, "a", "3").await;
        let (read, anchor) = live_on(&mut relay, "a/3").await;
        assert!(read.ends_with(&["a/2".into(), "a/3".into()]), "{read:?}");
        assert_eq!(anchor, Some(Anchor::LogLost));
        come_to_the_tail(&mut relay, &app).await;
        assert!(!relay.roles.upkeep.log().await.unwrap().unwrap().lost);
        enqueue(&app, "a", "4").await;
        assert_eq!(relay.read_all().await, ["a/4"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_of_messages_that_kept_too_much_is_said_and_emitting_raises() {
    for programs in [NEWEST, OLDEST] {
        let server = OwnServer::start(programs, SMALL).await;
        let database = server.database(FeedChoice::TailMessages);
        database.store().prepare(Prepare::Apply).await.unwrap();
        let app = database.client().await;
        let mut relay = database.owner().await;
        emit(&app, "a", "1").await;
        carry(&mut relay, "a/1").await;
        emit(&app, "a", "2").await;
        outgrow_the_slot(&app).await;
        let error = app.execute("SELECT eventferry.emit('t', 'test', 'a', 'text'::text)", &[]).await;
        assert!(error.unwrap_err().as_db_error().unwrap().message().contains("no replication slot"));
        let fault = relay.roles.feed.open(&relay.leases).await.unwrap_err();
        assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured, "{fault}");
        drop(relay);
        let accepting = PostgresConfig::from_url(&database.url).unwrap().feed(database.feed).accept_loss();
        PostgresStore::new(accepting).prepare(Prepare::Apply).await.unwrap();
        emit(&app, "a", "3").await;
        expire(&database).await;
        let mut heir = database.relay("heir").await;
        heir.take(64).await;
        assert_eq!(heir.read_all().await, ["a/3"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_made_anew_by_hand_hides_nothing_from_a_live_relay() {
    on_every_server_by(FeedChoice::TailTable, async |database| {
        let app = database.client().await;
        let mut relay = database.owner().await;
        come_to_the_tail(&mut relay, &app).await;
        enqueue(&app, "a", "1").await;
        carry(&mut relay, "a/1").await;
        app.batch_execute("ALTER PUBLICATION eventferry DROP TABLE eventferry.outbox").await.unwrap();
        enqueue(&app, "a", "2").await;
        app.batch_execute("ALTER PUBLICATION eventferry ADD TABLE eventferry.outbox").await.unwrap();
        enqueue(&app, "a", "3").await;
        let (_, anchor) = live_on(&mut relay, "a/2").await;
        assert_eq!(anchor, Some(Anchor::LogLost));
        come_to_the_tail(&mut relay, &app).await;
        enqueue(&app, "a", "4").await;
        assert_eq!(relay.read_all().await, ["a/4"]);
    })
    .await;
}
