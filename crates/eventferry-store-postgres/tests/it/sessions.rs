//! What a session is set to changes nothing: the application's, which inserts, and the relay's.

use eventferry_core::StoreFaultKind;
use eventferry_core::store::{Prepare, Store as _};
use eventferry_store_postgres::{PostgresConfig, PostgresStore};

use crate::roles::{drop_role, role};
use crate::server::{enqueue, on_every_server, query};

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_depends_on_no_setting_of_the_session_that_inserts() {
    on_every_server(async |database| {
        let app = database.client().await;
        let other = "CREATE SCHEMA mine;
             CREATE FUNCTION mine.joined(a bytea, b bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS 'SELECT $1';
             CREATE OPERATOR mine.|| (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = mine.joined);
             CREATE FUNCTION mine.decode(text, text) RETURNS bytea LANGUAGE sql IMMUTABLE AS 'SELECT NULL::bytea'";
        app.batch_execute(other).await.unwrap();
        enqueue(&app, "order-42", "plain").await;
        for setting in ["standard_conforming_strings = off", "search_path = mine, pg_catalog", "search_path = ''"] {
            // In a session that has not read the function yet.
            let app = database.client().await;
            app.batch_execute(&format!("SET {setting}; SET escape_string_warning = off")).await.unwrap();
            enqueue(&app, "order-42", setting).await;
        }
        let hashes = "SELECT count(DISTINCT lane_hash) FROM eventferry.outbox HAVING count(*) = 4";
        assert_eq!(query::<i64>(&app, hashes).await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_may_not_ask_for_the_last_id_is_told() {
    on_every_server(async |database| {
        let (name, url) = role(&database, "grant_relay").await;
        let admin = database.client().await;
        admin
            .batch_execute(&format!("REVOKE SELECT ON SEQUENCE eventferry.outbox_id FROM {name}"))
            .await
            .unwrap();
        let mut store = PostgresStore::new(PostgresConfig::from_url(&url).unwrap());
        let fault = store.prepare(Prepare::Check).await.unwrap_err();
        assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured, "{fault}");
        assert!(fault.message().contains("eventferry.outbox_id"), "{fault}");
        drop_role(&database, &name).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_found_however_little_the_sequence_knows_of_them() {
    on_every_server(async |database| {
        let app = database.client().await;
        let mut relay = database.owner().await;
        enqueue(&app, "a", "1").await;
        assert_eq!(relay.read_all().await, ["a/1"]);
        // As after data were copied and sequences were not.
        let ahead = "INSERT INTO eventferry.outbox (id, topic, aggregate_type, aggregate_id, payload)
                     SELECT 100000 * n, 't', 'test', 'a', convert_to('a/' || n, 'UTF8')
                     FROM generate_series(2, 3) AS n";
        app.batch_execute(ahead).await.unwrap();
        assert_eq!(relay.read_all().await, ["a/2", "a/3"]);
    })
    .await;
}
