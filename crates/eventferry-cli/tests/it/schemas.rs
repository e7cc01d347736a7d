//! Events written by schemas of a real registry, in each format.

use rdkafka::Message as _;
use serde_json::Value;

use crate::kafka::{self, Topic, header};
use crate::postgres::Database;
use crate::program::{PATIENCE, Program, within};

/// Where the registry is.
fn registry() -> String {
    let variable = "EVENTFERRY_TEST_SCHEMA_REGISTRY_URL";
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set; start the servers and set it as `cargo xtask services env` prints it")
    })
}

/// The settings for one topic whose schema is registered by the relay.
fn settings(topic: &str, format: &str, file: &str) -> String {
    format!(
        "retry_attempts = 1\n[schemas]\nurl = \"{}\"\n[schemas.topics.\"{topic}\"]\n\
         format = \"{format}\"\nschema = \"{file}\"\nauto_register = true\n",
        registry()
    )
}

const AVRO: &str = r#"{"type": "record", "name": "Order", "namespace": "shop", "fields": [
    {"name": "total", "type": "long"}, {"name": "note", "type": ["null", "string"], "default": null}]}"#;

const PROTOBUF: &str =
    "syntax = \"proto3\"; package shop; message Other {} message Order { int64 total = 1; }";

const JSON_SCHEMA: &str =
    r#"{"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}"#;

/// Enqueues `{"total": 7}` by plain SQL, then one that fits no schema; says what is sent behind the schema's id.
fn sent(format: &str, file: &str, schema: &str, more: &str, content_type: &str) -> Vec<u8> {
    let (program, database, topic) = (Program::new(), Database::new(), Topic::new());
    program.done(&["init", "--store", &database.url]);
    std::fs::write(program.path(file), schema).unwrap();
    let settings = settings(&topic.name, format, file) + more;
    std::fs::write(program.path("eventferry.toml"), settings).unwrap();
    for (id, payload) in [(1, r#"{"total": 7}"#), (2, r#"{"total": "sesame"}"#)] {
        let name = &topic.name;
        database.sql(&format!("SELECT eventferry.enqueue('{name}', 'order', '{id}', '{payload}'::jsonb)"));
    }
    let mut relay = program.start(&["run", "--store", &database.url, "--publisher", &kafka::url()]);
    let message = topic.messages(1).remove(0);
    assert_eq!(header(&message, "content-type").as_deref(), Some(content_type), "{format}");
    let parked = within(PATIENCE, || {
        let listed = program.done(&["parked", "list", "--store", &database.url, "--json"]);
        listed.lines().next().map(|line| serde_json::from_str::<Value>(line).unwrap())
    });
    assert_eq!(
        (&parked["aggregate_id"], &parked["class"]),
        (&"2".into(), &"PayloadMismatch".into()),
        "{parked}"
    );
    let reason = parked["reason"].as_str().unwrap();
    assert!(reason.contains("/total") && !reason.contains("sesame"), "{reason}");
    relay.signal("TERM");
    assert_eq!(relay.ends(), Some(0), "{:#?}", relay.said);
    assert!(!relay.said.iter().any(|line| line.contains("sesame")), "{:#?}", relay.said);
    let payload = message.payload().unwrap();
    let (id, body) = payload.split_at(5);
    assert!(id[0] == 0 && id[1..] != [0; 4], "{format}: {id:?}");
    body.to_vec()
}

#[test]
fn an_event_of_plain_sql_is_sent_as_avro_and_one_that_does_not_fit_is_parked() {
    // A long of 7, and the first branch of the union, which is null.
    assert_eq!(sent("avro", "order.avsc", AVRO, "", "application/vnd.confluent.avro"), [14, 0]);
}

#[test]
fn an_event_of_plain_sql_is_sent_as_protobuf_and_one_that_does_not_fit_is_parked() {
    let record = "record = \"shop.Order\"\n";
    let body = sent("protobuf", "order.proto", PROTOBUF, record, "application/vnd.confluent.protobuf");
    // The second message of the schema; then field 1, which is 7.
    assert_eq!(body, [2, 2, 8, 7]);
}

#[test]
fn an_event_of_plain_sql_is_checked_by_json_schema_and_goes_byte_for_byte() {
    let body = sent("json-schema", "order.json", JSON_SCHEMA, "", "application/vnd.confluent.json");
    assert_eq!(body, br#"{"total": 7}"#);
}
