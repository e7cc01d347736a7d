//! `tail`: a topic's records as they come.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kafka::{self, Topic, Transaction};
use crate::program::{Ended, PATIENCE, Program, Running, within};
use crate::proxy::nobody;

const ID: &str = "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f";

/// The arguments that tail a topic.
fn tail<'a>(url: &'a str, topic: &'a Topic, more: &[&'a str]) -> Vec<&'a str> {
    [&["tail", "--publisher", url, "--topic", &topic.name], more].concat()
}

/// A tail that has begun to read.
fn begun(program: &Program, topic: &Topic, more: &[&str]) -> Running {
    let mut running = program.start(&tail(&kafka::url(), topic, more));
    running.says("reading topic");
    running
}

/// What it prints of all records from the beginning, as JSON.
#[track_caller]
fn all(topic: &Topic, count: usize) -> Vec<Value> {
    let (url, limit) = (kafka::url(), count.to_string());
    let more = ["--from", "beginning", "--json", "--limit", &limit];
    let printed = Program::new().done(&tail(&url, topic, &more));
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn event(topic: &Topic, payload: Option<&str>) {
    topic.send("42", payload, &[("message-id", ID), ("aggregate-type", "order"), ("aggregate-id", "42")]);
}

#[test]
fn an_event_that_a_relay_carried_is_printed_decoded() {
    let (program, topic) = (Program::new(), Topic::new());
    let store = program.sqlite();
    program.done(&["init", "--store", &store]);
    let event =
        ["--topic", &topic.name, "--aggregate-type", "order", "--aggregate-id", "42", "--message-id", ID];
    let own = ["--header", "b=1", "--header", "b=2", "--content-type", "application/json", "--key", "k"];
    program
        .done(&[&["enqueue", "--store", &store, "--payload", "{\"total\": 7}"], &event[..], &own].concat());
    program.done(&[&["enqueue", "--store", &store, "--tombstone"], &event[..]].concat());
    let _relay = program.start(&["run", "--store", &store, "--publisher", &kafka::url()]);
    let printed = all(&topic, 2);
    let first = &printed[0];
    assert_eq!(
        (&first["topic"], &first["partition"], &first["offset"]),
        (&json!(topic.name), &json!(0), &json!(0))
    );
    assert_eq!((&first["message_id"], &first["aggregate_id"]), (&json!(ID), &json!("42")));
    assert_eq!(
        (&first["key"], &first["payload"]),
        (&json!({"text": "k"}), &json!({"text": "{\"total\": 7}"}))
    );
    assert_eq!(first["headers"], json!([{"name": "b", "text": "1"}, {"name": "b", "text": "2"}]));
    assert_eq!((&printed[1]["payload"], &printed[1]["undecoded"]), (&Value::Null, &Value::Null));

    let more = ["--from", "beginning", "--limit", "1"];
    let text = program.done(&tail(&kafka::url(), &topic, &more));
    assert!(
        text.contains(&format!(" 0:0  order 42  {ID}\n")) && text.contains("\n    header    b: 2\n"),
        "{text}"
    );
    assert!(text.ends_with("12 bytes of application/json\n      {\"total\": 7}\n"), "{text}");
}

#[test]
fn it_begins_with_what_comes_unless_told_otherwise() {
    let (program, topic) = (Program::new(), Topic::new());
    event(&topic, Some("before"));
    let mut running = begun(&program, &topic, &["--limit", "2"]);
    event(&topic, Some("first"));
    topic.send("k", Some("\u{1b}[2Jsecond"), &[]);
    event(&topic, Some("third"));
    assert_eq!(running.ends(), Some(0), "{:#?}", running.said);
    let text = running.printed();
    assert!(!text.contains("before") && text.contains("      first\n"), "{text}");
    assert!(text.contains("0:2  not eventferry's: no header message-id\n    key       k\n"), "{text}");
    assert!(text.ends_with("      \\u{1b}[2Jsecond\n"), "{text}");
    assert_eq!(all(&topic, 4)[0]["payload"], json!({"text": "before"}));
}

#[test]
fn only_what_is_committed_is_printed() {
    let topic = Topic::new();
    let transaction = Transaction::begin(&topic, "aborted");
    event(&topic, Some("plain"));
    transaction.abort();
    Transaction::begin(&topic, "committed").commit();
    let printed = all(&topic, 2);
    let payloads: Vec<_> = printed.iter().map(|line| line["payload"]["text"].as_str().unwrap()).collect();
    assert_eq!(payloads, ["plain", "committed"]);
}

#[test]
fn a_signal_ends_it_well_and_no_group_is_left() {
    let (program, topic) = (Program::new(), Topic::new());
    event(&topic, Some("x"));
    for signal in ["INT", "TERM"] {
        let mut running = begun(&program, &topic, &["--from", "beginning"]);
        let groups = kafka::groups();
        assert!(groups.iter().all(|group| !group.contains("tail")), "{groups:?}");
        running.signal(signal);
        let asked = Instant::now();
        assert_eq!(running.ends(), Some(0), "{:#?}", running.said);
        assert!(asked.elapsed() < Duration::from_secs(5), "at once, not after a look: {:?}", asked.elapsed());
    }
    let groups = kafka::groups();
    assert!(groups.iter().all(|group| !group.contains("tail")), "{groups:?}");
}

#[test]
fn a_signal_is_heard_before_the_broker_answers() {
    let program = Program::new();
    // Takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("kafka://{}", silent.local_addr().unwrap());
    let mut running = program.start(&tail(&url, &Topic::to_be(), &[]));
    silent.accept().unwrap();
    running.signal("INT");
    assert_eq!(running.ends(), Some(0), "{:#?}", running.said);
}

#[test]
fn it_ends_when_nobody_reads_on() {
    let (program, topic) = (Program::new(), Topic::new());
    let mut running = begun(&program, &topic, &[]);
    drop(running.child.stdout.take());
    let status = within(PATIENCE, || {
        event(&topic, Some("x"));
        running.child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(0), "{:#?}", running.said);
}

#[test]
fn a_topic_that_goes_away_is_said() {
    let (program, topic) = (Program::new(), Topic::new());
    let mut running = begun(&program, &topic, &[]);
    let name = topic.name.clone();
    drop(topic);
    assert_eq!(running.ends(), Some(4), "{:#?}", running.said);
    let last = running.said.last().unwrap();
    assert!(last.contains(&name) && last.contains("does not exist"), "{:#?}", running.said);
}

#[test]
fn what_cannot_be_read_is_said_at_once() {
    let (program, missing) = (Program::new(), Topic::to_be());
    let run = |url: &str, more: &[&str]| -> Ended { program.run(&tail(url, &missing, more)) };
    run(&kafka::url(), &[]).expect(4, &[&missing.name, "does not exist: create it"]);
    assert!(!kafka::topics().contains(&missing.name), "asking for it made it");
    let address = nobody();
    run(&format!("kafka://{address}"), &[]).expect(4, &[&missing.name, &address, "Connection refused"]);
    run("http://h", &[]).expect(2, &["--publisher: ", "kafka://"]);
    run("kafka://h:9092?no.such.property=1", &[]).expect(2, &["--publisher: ", "is not known"]);
    run(&kafka::url(), &["--limit", "0"]).expect(2, &["--limit"]);
    run(&kafka::url(), &["--from", "middle"]).expect(2, &["--from"]);
    program.run(&["tail", "--topic", "t"]).expect(2, &["no publisher is named"]);
    program.run(&["tail", "--publisher", "kafka://h", "--topic", ""]).expect(2, &["--topic"]);
}
