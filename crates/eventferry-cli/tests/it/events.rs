//! Events held against a folder of JSON Schemas, and CloudEvents, on real servers.

use rdkafka::Message as _;
use serde_json::{Value, json};

use crate::kafka::{self, Topic, header};
use crate::parked::Shop;
use crate::postgres::Database;
use crate::program::{PATIENCE, Program, within};

/// A folder with version 2 of this topic's event.
fn write_schema(program: &Program, topic: &str) {
    let folder = program.path("events");
    std::fs::create_dir_all(&folder).unwrap();
    let schema = json!({
        "x-event": {"name": "OrderCreated", "topic": topic, "version": 2, "aggregate": "order"},
        "type": "object",
        "required": ["total"],
        "properties": {"total": {"type": "integer"}},
    });
    std::fs::write(folder.join(format!("{topic}.v2.schema.json")), schema.to_string()).unwrap();
}

#[test]
fn an_event_of_plain_sql_that_breaks_its_schema_is_parked_with_the_fields_path_and_others_go_through() {
    let (program, database) = (Program::new(), Database::new());
    let (topic, other) = (Topic::new(), Topic::new());
    program.done(&["init", "--store", &database.url]);
    write_schema(&program, &topic.name);
    let enqueue = |topic: &str, id: u32, payload: &str| {
        database.sql(&format!(
            "SELECT eventferry.enqueue('{topic}', 'order', '{id}', '{payload}'::jsonb, \
             headers => '{{\"event-version\": \"2\"}}')"
        ));
    };
    enqueue(&topic.name, 1, r#"{"total": "sesame"}"#);
    enqueue(&topic.name, 2, r#"{"total": 7}"#);
    enqueue(&other.name, 3, r#"{"total": "anything"}"#);
    let run = ["run", "--store", &database.url, "--publisher", &kafka::url(), "--retry-attempts", "1"];
    let mut relay = program.start(&[&run[..], &["--events", "events"]].concat());
    assert_eq!(topic.messages(1)[0].payload(), Some(&br#"{"total": 7}"#[..]));
    assert_eq!(other.messages(1).len(), 1);
    let parked = within(PATIENCE, || {
        let listed = program.done(&["parked", "list", "--store", &database.url, "--json"]);
        listed.lines().next().map(|line| serde_json::from_str::<Value>(line).unwrap())
    });
    assert_eq!(parked["aggregate_id"], "1", "{parked}");
    assert_eq!(parked["class"], "SchemaMismatch", "{parked}");
    let message = parked["reason"].as_str().unwrap();
    assert!(message.contains("`/total` breaks a rule of version 2: type: integer"), "{message}");
    assert!(!message.contains("sesame"), "{message}");
    assert_eq!(topic.count(), 1);
    relay.signal("TERM");
    assert_eq!(relay.ends(), Some(0));
    assert!(!relay.said.iter().any(|line| line.contains("sesame")), "{:#?}", relay.said);
}

#[test]
fn strict_topics_let_nothing_through_that_no_schema_is_for() {
    let shop = Shop::both().into_iter().next().unwrap();
    write_schema(&shop.program, "elsewhere");
    let settings = format!(
        "events = \"events\"\nretry_attempts = 1\n[topics.\"{}\"]\nevents_strict = true\n",
        shop.topic.name
    );
    std::fs::write(shop.program.path("eventferry.toml"), settings).unwrap();
    shop.enqueue("42", "x", &[]);
    let mut relay = shop.relay(&[]);
    relay.says("relay started");
    shop.parked(1);
    let listed = shop.listed(&[]);
    assert!(listed[0]["reason"].as_str().unwrap().contains("no schema names this topic"), "{listed:#?}");
}

#[test]
fn a_folder_that_cannot_be_used_ends_the_relay_before_it_begins() {
    let program = Program::new();
    write_schema(&program, "orders");
    std::fs::write(program.path("events/orders.v3.schema.json"), "{}").unwrap();
    let run = ["run", "--store", "sqlite:none.db", "--publisher", "kafka://127.0.0.1:1"];
    program
        .run(&[&run[..], &["--events", "events"]].concat())
        .expect(2, &["--events: ", "orders.v3.schema.json"]);
    let program = program.with("EVENTFERRY_EVENTS", "nowhere");
    program.run(&run).expect(2, &["EVENTFERRY_EVENTS: `nowhere` cannot be read"]);
}

#[test]
fn cloudevents_arrive_in_headers_or_around_the_payload() {
    for (envelope, structured) in [("cloudevents-binary", false), ("cloudevents-structured", true)] {
        let (program, topic) = (Program::new(), Topic::new());
        let store = program.sqlite();
        program.done(&["init", "--store", &store]);
        let payload = r#"{"b": 1.000000000000000000001, "a": 1}"#;
        let event = ["enqueue", "--store", &store, "--topic", &topic.name, "--aggregate-type", "order"];
        let more = ["--aggregate-id", "42", "--payload", payload, "--content-type", "application/json"];
        let id = program.done(&[&event[..], &more, &["--header", "event-type=OrderCreated"]].concat());
        let run = ["run", "--store", &store, "--publisher", &kafka::url(), "--envelope", envelope];
        let mut relay = program.start(&[&run[..], &["--cloudevents-source", "/shop"]].concat());
        let message = topic.messages(1).pop().unwrap();
        assert_eq!(message.key(), Some(&b"42"[..]));
        let sent = std::str::from_utf8(message.payload().unwrap()).unwrap().to_owned();
        if structured {
            let content_type = header(&message, "content-type").unwrap();
            assert!(content_type.starts_with("application/cloudevents+json"), "{content_type}");
            let event: Value = serde_json::from_str(&sent).unwrap();
            assert_eq!((&event["id"], &event["type"]), (&json!(id.trim()), &json!("OrderCreated")));
            assert!(sent.ends_with(&format!("\"data\":{payload}}}")), "{sent}");
            assert_eq!(header(&message, "ce_id"), None);
        } else {
            for (name, value) in
                [("specversion", "1.0"), ("id", id.trim()), ("source", "/shop"), ("subject", "42")]
            {
                assert_eq!(header(&message, &format!("ce_{name}")).as_deref(), Some(value), "{name}");
            }
            assert_eq!(header(&message, "content-type").as_deref(), Some("application/json"));
            assert_eq!(sent, payload);
        }
        relay.signal("TERM");
        assert_eq!(relay.ends(), Some(0));
    }
}

#[test]
fn a_folder_is_checked_and_exported() {
    let program = Program::new();
    write_schema(&program, "orders.created");
    let table = program.done(&["events", "check", "--from", "events"]);
    let row: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["orders.created", "2", "OrderCreated", "order", "JSON"]);
    let export = ["events", "export", "--from", "events", "--format"];
    let document = program.done(&[&export[..], &["asyncapi", "--title", "Shop"]].concat());
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!((&document["asyncapi"], &document["info"]["title"]), (&json!("3.0.0"), &json!("Shop")));
    assert!(document["channels"]["orders.created"].is_object());
    let page = program.done(&[&export[..], &["markdown"]].concat());
    assert!(page.contains("## OrderCreated, version 2"), "{page}");
    program.run(&["events", "check", "--from", "none"]).expect(2, &["--from: `none` cannot be read"]);
}
