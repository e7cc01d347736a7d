//! The schema of an older version, brought up to date.

use eventferry_core::parked::{Act, Decision, Desk as _, ParkedFilter};
use eventferry_core::store::{Prepare, Store as _};
use eventferry_store_postgres::{PostgresConfig, PostgresStore};

use crate::parked::parked;
use crate::roles::{drop_role, role};
use crate::server::{REFUSED, enqueue, on_every_server, query, texts};

/// The schema of version 4, with what a relay of that version left in it: a refused event, one that waits behind it,
/// and one whose predecessor somebody removed.
const OLDER: [&str; 5] = [
    include_str!("../../migrations/0001_outbox.sql"),
    include_str!("../../migrations/0002_enqueue.sql"),
    include_str!("../../migrations/0003_relay.sql"),
    include_str!("../../migrations/0004_upkeep.sql"),
    "INSERT INTO eventferry.migration (version) VALUES (1), (2), (3), (4);
     INSERT INTO eventferry.parked (lane, id, refused, created_at, message_id, topic, aggregate_type, aggregate_id,
                                    payload)
     VALUES (3, 1, 'message size too large', now(), gen_random_uuid(), 't', 'test', 'a', 'a/1'),
            (3, 2, NULL, now(), gen_random_uuid(), 't', 'test', 'a', 'a/2'),
            (5, 3, NULL, now(), gen_random_uuid(), 't', 'test', 'b', 'b/1')",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_version_parked_for_good_is_tried_again() {
    on_every_server(async |database| {
        let app = database.client().await;
        app.batch_execute("DROP SCHEMA eventferry CASCADE").await.unwrap();
        for script in OLDER {
            app.batch_execute(script).await.unwrap();
        }
        let (name, url) = role(&database, "grant_relay").await;
        let prepared = database.store().prepare(Prepare::Apply).await.unwrap();
        assert_eq!((prepared.upgraded_from, prepared.lanes), (Some(4), 64));
        assert_eq!(database.store().prepare(Prepare::Apply).await.unwrap().upgraded_from, None);
        // The relay's role has what it needs, and is not asked for again.
        let mut store = PostgresStore::new(PostgresConfig::from_url(&url).unwrap());
        store.prepare(Prepare::Check).await.unwrap();
        drop(store);
        let mut relay = database.owner().await;
        let page = relay.due().await;
        assert_eq!(texts(&page.events), ["a/1", "a/2", "b/1"]);
        assert_eq!(page.events.iter().map(|event| event.attempts).collect::<Vec<_>>(), [1, 0, 0]);
        let message =
            "SELECT concat_ws(': ', class, message) FROM eventferry.parked ORDER BY ordinal LIMIT 1";
        assert_eq!(query::<String>(&app, message).await, "Unknown: message size too large");
        enqueue(&app, "c", "1").await;
        assert_eq!(relay.read_all().await, ["c/1"]);
        drop_role(&database, &name).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_for_migration_tools_makes_the_same_schema() {
    on_every_server(async |database| {
        let app = database.client().await;
        app.batch_execute("DROP SCHEMA eventferry CASCADE").await.unwrap();
        app.batch_execute(&eventferry_store_postgres::schema_sql()).await.unwrap();
        let (mut relay, _) = parked(&database, 1, REFUSED).await;
        let act = Act { who: "ada".into(), why: String::new() };
        let decided =
            relay.roles.desk.decide(&ParkedFilter::default(), Decision::Discard, &act).await.unwrap();
        assert_eq!(decided.taken, 1);
    })
    .await;
}
