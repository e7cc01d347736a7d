//! What each role may do, and what it is told when it may not.

use eventferry_core::parked::{
    Act, Change, Decision, Desk as _, DueAsk, End, Park, ParkedAsk, ParkedFilter, ShowAsk,
};
use eventferry_core::store::{
    Claim, Feed as _, Lanes as _, Ledger as _, Prepare, RelayId, Settlement, Store as _, Upkeep as _,
    Verdict, Wish,
};
use eventferry_core::{Event, StoreFaultKind};
use eventferry_store_postgres::{PostgresConfig, PostgresOutbox, PostgresStore};
use std::time::Duration;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::server::{Database, LEASE, REFUSED, client, enqueue, on_every_server, query};

/// A role of its own that may log in, and the database's URL for it.
pub(crate) async fn role(database: &Database, grant: &str) -> (String, String) {
    let name = format!("eventferry_test_{}", Uuid::new_v4().simple());
    let admin = database.client().await;
    admin.batch_execute(&format!("CREATE ROLE {name} LOGIN PASSWORD 'sesame'")).await.unwrap();
    if !grant.is_empty() {
        admin.batch_execute(&format!("SELECT eventferry.{grant}('{name}')")).await.unwrap();
    }
    let (_, place) = database.url.rsplit_once('@').unwrap();
    (name.clone(), format!("postgres://{name}:sesame@{place}"))
}

pub(crate) async fn drop_role(database: &Database, name: &str) {
    let sql = format!("DROP OWNED BY {name}; DROP ROLE {name}");
    database.client().await.batch_execute(&sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_may_add_events_and_nothing_else() {
    on_every_server(async |database| {
        let (name, url) = role(&database, "grant_application").await;
        let mut app = client(&url).await;
        enqueue(&app, "a", "1").await;
        let mut tx = app.transaction().await.unwrap();
        let event = Event::new("t", ("test", "a")).payload("a/2", "text/plain").header("h", "v").key("k");
        PostgresOutbox::new().enqueue(&mut tx, event).await.unwrap();
        tx.commit().await.unwrap();
        for forbidden in [
            "INSERT INTO eventferry.outbox (id, topic, aggregate_type, aggregate_id) VALUES (1, 't', 'test', 'a')",
            "INSERT INTO eventferry.outbox (xid, topic, aggregate_type, aggregate_id) VALUES ('1', 't', 'test', 'a')",
            "INSERT INTO eventferry.outbox (created_at, topic, aggregate_type, aggregate_id)
             VALUES (now(), 't', 'test', 'a')",
            "SELECT * FROM eventferry.outbox",
            "DELETE FROM eventferry.outbox",
            "TRUNCATE eventferry.outbox",
            "UPDATE eventferry.lane SET owner = NULL",
            "SELECT * FROM eventferry.parked",
            "INSERT INTO eventferry.audit (who, what, why) VALUES ('eve', 'nothing', '')",
            "SELECT eventferry.flush()",
        ] {
            let error = app.batch_execute(forbidden).await.unwrap_err();
            assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{forbidden}");
        }
        drop(app);
        assert_eq!(database.owner().await.read_all().await, ["a/1", "a/2"]);
        drop_role(&database, &name).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relays_role_may_do_all_that_a_relay_does() {
    on_every_server(async |database| {
        let (name, url) = role(&database, "grant_relay").await;
        let app = database.client().await;
        enqueue(&app, "a", "1").await;
        let mut store = PostgresStore::new(PostgresConfig::from_url(&url).unwrap());
        store.prepare(Prepare::Check).await.unwrap();
        let mut roles = store.roles(&RelayId("r".into()));
        let held =
            roles.lanes.hold(Claim { keep: vec![], take_max: 64, lease: LEASE, whole: false }).await.unwrap();
        roles.feed.open(&held.leases).await.unwrap();
        let lanes: Vec<_> = held.leases.iter().map(|lease| lease.lane).collect();
        let wish = Wish { lanes: &lanes, records_max: 10, bytes_max: 1000 };
        let page = roles.feed.read(wish).await.unwrap();
        let record = &page.records[0];
        let lease = *held.leases.iter().find(|lease| lease.lane == record.lane).unwrap();
        let prefix = [record.mark.clone()];
        let park = vec![Park { mark: &record.mark, row: &record.row, reason: REFUSED }];
        let settlement = Settlement { lease, prefix: &prefix, park, changes: vec![], carries: None };
        assert_eq!(roles.ledger.settle(&[settlement]).await.unwrap(), [Verdict::Done]);
        let ask = ParkedAsk { lanes: &lanes, after: None, limit: 10 };
        assert_eq!(roles.ledger.parked(ask).await.unwrap().events.len(), 1);
        let ask = DueAsk { lanes: &lanes, except_topics: &[], after: None, records_max: 10, bytes_max: 1000 };
        let key = roles.ledger.due(ask).await.unwrap().events[0].key;
        let filter = ParkedFilter::default();
        let ask = ShowAsk { filter: &filter, after: None, records_max: 10, bytes_max: 1000 };
        assert_eq!(roles.desk.show(ask).await.unwrap().events.len(), 1);
        let act = Act { who: "ada".into(), why: String::new() };
        assert_eq!(roles.desk.decide(&filter, Decision::Discard, &act).await.unwrap().taken, 1);
        roles.desk.record("a look around", &act).await.unwrap();
        let changes = vec![(key, Change::Settled(End::Discarded))];
        let settlement = Settlement { lease, prefix: &[], park: vec![], changes, carries: None };
        assert_eq!(roles.ledger.settle(&[settlement]).await.unwrap(), [Verdict::Done]);
        // The event is old enough: its slot is another one.
        app.execute("UPDATE eventferry.outbox SET slot = (slot + 4) % 8", &[]).await.unwrap();
        let mut removed = 0;
        for _ in 0..8 {
            removed += roles.upkeep.sweep(Duration::ZERO).await.unwrap().events;
        }
        assert_eq!(removed, 1);
        let parked = "SELECT count(*) FROM eventferry.parked";
        for _ in 0..8 {
            roles.upkeep.sweep(Duration::ZERO).await.unwrap();
        }
        assert_eq!(query::<i64>(&app, parked).await, 0);
        roles.upkeep.gauge().await.unwrap();
        let error = client(&url).await.batch_execute("DELETE FROM eventferry.audit").await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "nobody changes what was done");
        drop(roles);
        drop_role(&database, &name).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_lacks_something_is_told_what_and_how_to_get_it() {
    on_every_server(async |database| {
        for (grant, says) in [("", "no privilege on the schema"), ("grant_application", "grant_relay")] {
            let (name, url) = role(&database, grant).await;
            let mut store = PostgresStore::new(PostgresConfig::from_url(&url).unwrap());
            let fault = store.prepare(Prepare::Check).await.unwrap_err();
            assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured);
            assert!(fault.to_string().contains(says), "{fault}");
            drop_role(&database, &name).await;
        }
        for (change, says) in [
            ("REVOKE SELECT ON SEQUENCE eventferry.outbox_id FROM THE_ROLE", "eventferry.outbox_id"),
            ("ALTER ROLE THE_ROLE SET default_transaction_isolation = 'serializable'", "READ COMMITTED"),
        ] {
            let (name, url) = role(&database, "grant_relay").await;
            database.client().await.batch_execute(&change.replace("THE_ROLE", &name)).await.unwrap();
            let mut store = PostgresStore::new(PostgresConfig::from_url(&url).unwrap());
            let fault = store.prepare(Prepare::Check).await.unwrap_err();
            assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured, "{fault}");
            assert!(fault.message().contains(says), "{fault}");
            drop_role(&database, &name).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_or_privilege_that_is_taken_from_a_running_relay_is_waited_for() {
    on_every_server(async |database| {
        let (name, url) = role(&database, "grant_relay").await;
        let admin = database.client().await;
        let mut store = PostgresStore::new(PostgresConfig::from_url(&url).unwrap());
        store.prepare(Prepare::Check).await.unwrap();
        let mut roles = store.roles(&RelayId("taken".into()));
        let claim = || Claim { keep: Vec::new(), take_max: 64, lease: LEASE, whole: false };
        roles.lanes.hold(claim()).await.unwrap();
        for (take, give, says) in [
            ("ALTER ROLE THE_ROLE NOLOGIN", "ALTER ROLE THE_ROLE LOGIN", "28000"),
            ("ALTER ROLE THE_ROLE PASSWORD 'another'", "ALTER ROLE THE_ROLE PASSWORD 'sesame'", "28P01"),
            (
                "REVOKE USAGE ON SCHEMA eventferry FROM THE_ROLE",
                "SELECT eventferry.grant_relay('THE_ROLE')",
                "42501",
            ),
        ] {
            let end =
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'THE_ROLE'";
            admin.batch_execute(&format!("{take}; {end}").replace("THE_ROLE", &name)).await.unwrap();
            // The connection that was ended says so once.
            let mut fault = roles.lanes.hold(claim()).await.unwrap_err();
            if !fault.to_string().contains(says) {
                fault = roles.lanes.hold(claim()).await.unwrap_err();
            }
            assert!(fault.to_string().contains(says), "{fault}");
            assert_eq!(*fault.kind(), StoreFaultKind::Unavailable, "{fault}");
            admin.batch_execute(&give.replace("THE_ROLE", &name)).await.unwrap();
            roles.lanes.hold(claim()).await.unwrap();
        }
        drop(roles);
        drop_role(&database, &name).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_or_newer_schema_is_named_with_its_remedy() {
    on_every_server(async |database| {
        let admin = database.client().await;
        let newest = "DELETE FROM eventferry.migration WHERE version = (SELECT max(version) FROM eventferry.migration)";
        admin.execute("INSERT INTO eventferry.migration (version) VALUES (999)", &[]).await.unwrap();
        let fault = database.store().prepare(Prepare::Check).await.unwrap_err();
        assert!(fault.to_string().contains("999") && fault.to_string().contains("newer program"), "{fault}");
        admin.execute(newest, &[]).await.unwrap();
        admin.execute(newest, &[]).await.unwrap();
        let fault = database.store().prepare(Prepare::Check).await.unwrap_err();
        assert!(fault.to_string().contains("eventferry init"), "{fault}");
        admin.batch_execute("DROP SCHEMA eventferry CASCADE").await.unwrap();
        let fault = database.store().prepare(Prepare::Check).await.unwrap_err();
        assert!(fault.to_string().contains("no schema") && fault.to_string().contains("eventferry init"), "{fault}");
    })
    .await;
}
