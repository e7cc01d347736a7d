//! What an application's session is set to changes nothing of what it inserts.

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
