//! `status`, for people and for machines.

use std::time::Duration;

use serde_json::Value;

use crate::kafka::{self, Topic};
use crate::postgres::Database;
use crate::program::{PATIENCE, Program, within};

fn json(program: &Program, store: &str) -> Value {
    serde_json::from_str(&program.done(&["status", "--store", store, "--json"])).unwrap()
}

#[test]
fn an_outbox_that_nobody_carries_says_so() {
    let (program, database) = (Program::new(), Database::new());
    let (postgres, sqlite) = (database.url.clone(), program.sqlite());
    for store in [&postgres, &sqlite] {
        program.done(&["init", "--store", store]);
        let event = ["--topic", "t", "--aggregate-type", "order", "--payload", "x"];
        for id in ["1", "2", "3"] {
            program.done(&[&["enqueue", "--store", store, "--aggregate-id", id], &event[..]].concat());
        }
        let text = program.done(&["status", "--store", store]);
        assert!(text.contains("3 events, the oldest ") && text.contains("none live"), "{text}");
        assert!(text.contains("(nobody)") && text.lines().count() < 10, "{text}");
        let lanes = program.done(&["status", "--store", store, "--lanes"]);
        assert_eq!(lanes.lines().filter(|line| line.contains("(nobody)")).count(), 64);

        let status = json(&program, store);
        assert_eq!(status["lag_events"], 3);
        assert_eq!(status["lag_is_at_least"], false);
        assert!(status["lag_seconds"].as_f64().unwrap() > 0.0 && status["oldest_unshipped"].is_string());
        assert_eq!((&status["parked_events"], &status["relays_live"]), (&0.into(), &0.into()));
        assert_eq!(status["lanes"].as_array().unwrap().len(), 64);
        assert_eq!(status["refused"], Value::Array(Vec::new()));
    }
}

#[test]
fn a_refused_event_is_listed_with_its_reason() {
    let (program, database, topic) = (Program::new(), Database::new(), Topic::new());
    program.done(&["init", "--store", &database.url]);
    let enqueue = |payload: &str| {
        let event = ["--topic", &topic.name, "--aggregate-type", "order", "--aggregate-id", "7"];
        program.done(&[&["enqueue", "--store", &database.url, "--payload", payload], &event[..]].concat())
    };
    // Over the default limit of a topic, 1 MiB, and one that waits behind it.
    std::fs::write(program.path("large"), vec![b'x'; 2 << 20]).unwrap();
    let refused = enqueue("@large").trim().to_owned();
    enqueue("small");
    let relay = program.start(&["run", "--store", &database.url, "--publisher", &kafka::url()]);
    let status = within(PATIENCE, || {
        let status = json(&program, &database.url);
        (status["parked_events"] == 2).then_some(status)
    });
    let listed = status["refused"].as_array().unwrap();
    assert_eq!(listed.len(), 1, "{status:#}");
    assert_eq!(listed[0]["message_id"], refused);
    assert_eq!(listed[0]["topic"], topic.name);
    assert_eq!((&listed[0]["aggregate_type"], &listed[0]["aggregate_id"]), (&"order".into(), &"7".into()));
    assert_eq!((&status["lag_events"], &status["relays_live"]), (&0.into(), &1.into()));
    assert_eq!(status["relays"][0]["lanes"], 64);

    let text = program.done(&["status", "--store", &database.url]);
    assert!(text.contains("REFUSED") && text.contains(&refused) && text.contains("order 7"), "{text}");
    drop(relay);
}

#[test]
fn an_unreachable_database_is_said_at_once() {
    let program = Program::new();
    let store = format!("postgres://u@{}/d", crate::proxy::nobody());
    let asked = std::time::Instant::now();
    program
        .run(&["status", "--store", &store])
        .expect(3, &["refused", "check host and port in the store's URL"]);
    assert!(asked.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_the_database_keeps_of_its_log_for_relays_is_shown() {
    let (program, database) = (Program::new(), Database::new());
    program.done(&["init", "--store", &database.url]);
    assert_eq!(json(&program, &database.url)["log"], Value::Null);
    program.done(&["init", "--store", &database.url, "--tail"]);
    database.sql("SELECT pg_logical_emit_message(true, 'others', repeat('x', 3 << 20))");
    let log = &json(&program, &database.url)["log"];
    assert!(log["kept_bytes"].as_u64().unwrap() > 3 << 20, "{log:#}");
    assert_eq!((&log["spare_bytes"], &log["lost"]), (&Value::Null, &false.into()));
    let text = program.done(&["status", "--store", &database.url]);
    assert!(text.contains("MiB kept by the database for relays\n"), "{text}");
}
