//! What `eventferry.enqueue` says to an event that cannot be one, and what rolled-back work leaves.

use tokio_postgres::error::SqlState;

use crate::server::{Database, on_every_server};

/// What the server says to a statement, everything that a client may show.
async fn said(database: &Database, sql: &str) -> (SqlState, String) {
    let error = database.client().await.batch_execute(sql).await.unwrap_err();
    let refusal = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
    let more = [refusal.detail(), refusal.hint(), refusal.constraint()].map(Option::unwrap_or_default);
    (refusal.code().clone(), format!("{} {}", refusal.message(), more.join(" ")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_event_is_named_with_its_limit_and_without_its_payload() {
    on_every_server(async |database| {
        for (arguments, says, constraint) in [
            ("'', 'o', '1', 'sesame'::text", "the topic is empty", "topic_has_1_to_249_characters"),
            ("null, 'o', '1', 'sesame'::text", "the topic is empty", "topic_has_1_to_249_characters"),
            ("repeat('t', 250), 'o', '1', 'sesame'::text", "249 characters", "topic_has_1_to_249_characters"),
            ("'t', '', '1', 'sesame'::text", "type is empty", "aggregate_type_has_1_to_1024_bytes"),
            ("'t', null, '1', '\"sesame\"'::jsonb", "type is empty", "aggregate_type_has_1_to_1024_bytes"),
            ("'t', 'o', '', 'sesame'::text", "id is empty", "aggregate_id_has_1_to_1024_bytes"),
            (
                "'t', 'o', repeat('i', 1025), 'sesame'::bytea",
                "1024 bytes",
                "aggregate_id_has_1_to_1024_bytes",
            ),
            (
                "'t', 'o', '1', 'sesame' || repeat('x', 16777211)",
                "16777217 bytes, over the limit of 16777216",
                "payload_has_at_most_16_mib",
            ),
            (
                "'t', 'o', '1', 'sesame'::text, headers => '[\"sesame\"]'",
                "the headers are no JSON object",
                "headers_are_names_and_values",
            ),
        ] {
            let (code, said) = said(&database, &format!("SELECT eventferry.enqueue({arguments})")).await;
            assert_eq!(code, SqlState::CHECK_VIOLATION, "{said}");
            assert!(said.contains(says) && said.contains(constraint), "{arguments}: {said}");
            assert!(!said.contains("sesame") && !said.contains("736573616d65"), "{said}");
        }
        assert_eq!(database.owner().await.read_all().await, [""; 0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_insert_is_held_to_the_same_limits() {
    on_every_server(async |database| {
        for (columns, values, constraint) in [
            ("topic, aggregate_type, aggregate_id", "'', 'o', '1'", "topic_has_1_to_249_characters"),
            ("topic, aggregate_type, aggregate_id", "'t', '', '1'", "aggregate_type_has_1_to_1024_bytes"),
            ("topic, aggregate_type, aggregate_id", "'t', 'o', ''", "aggregate_id_has_1_to_1024_bytes"),
            (
                "topic, aggregate_type, aggregate_id, payload",
                "'t', 'o', '1', convert_to(repeat('x', 16777217), 'UTF8')",
                "payload_has_at_most_16_mib",
            ),
            (
                "topic, aggregate_type, aggregate_id, headers",
                "'t', 'o', '1', ARRAY['name']::bytea[]",
                "headers_are_names_and_values",
            ),
            (
                "topic, aggregate_type, aggregate_id, partition",
                "'t', 'o', '1', -1",
                "partition_is_not_negative",
            ),
        ] {
            let sql = format!("INSERT INTO eventferry.outbox ({columns}) VALUES ({values})");
            let (code, said) = said(&database, &sql).await;
            assert!(code == SqlState::CHECK_VIOLATION && said.contains(constraint), "{sql}: {said}");
        }
        assert_eq!(database.owner().await.read_all().await, [""; 0]);
    })
    .await;
}
