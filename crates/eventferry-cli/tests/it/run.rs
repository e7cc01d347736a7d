//! `run`: carrying, waiting, draining.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rdkafka::Message;
use serde_json::Value;

use crate::kafka::{self, Topic, header};
use crate::postgres::Database;
use crate::program::{PATIENCE, Program, Running, within};
use crate::proxy::{Proxy, nobody};

/// A program beside a new outbox in PostgreSQL.
fn outbox() -> (Program, Database) {
    let (program, database) = (Program::new(), Database::new());
    program.done(&["init", "--store", &database.url]);
    (program, database)
}

fn enqueue(program: &Program, store: &str, topic: &str, id: &str, payload: &str) -> String {
    let event = ["--topic", topic, "--aggregate-type", "order", "--aggregate-id", id, "--payload", payload];
    program.done(&[&["enqueue", "--store", store], &event[..]].concat()).trim().to_owned()
}

fn lag(program: &Program, store: &str) -> u64 {
    let status = program.done(&["status", "--store", store, "--json"]);
    serde_json::from_str::<Value>(&status).unwrap()["lag_events"].as_u64().unwrap()
}

#[test]
fn an_event_arrives_as_it_was_enqueued_and_sigterm_drains() {
    let (program, database, topic) = (Program::new(), Database::new(), Topic::new());
    let (postgres, sqlite) = (database.url.clone(), program.sqlite());
    for (store, at) in [(&postgres, 0), (&sqlite, 1)] {
        program.done(&["init", "--store", store]);
        let event = ["--topic", &topic.name, "--aggregate-type", "order", "--aggregate-id", "42"];
        let more =
            ["--payload", "{\"total\": 7}", "--content-type", "application/json", "--header", "tenant=acme"];
        let id = program.done(&[&["enqueue", "--store", store, "--key", "k"], &event[..], &more].concat());

        let mut relay = program.start(&["run", "--store", store, "--publisher", &kafka::url()]);
        let message = topic.messages(at + 1).pop().unwrap();
        assert_eq!(message.key(), Some(&b"k"[..]));
        assert_eq!(message.payload(), Some(&b"{\"total\": 7}"[..]));
        for (name, value) in [
            ("message-id", id.trim()),
            ("aggregate-type", "order"),
            ("aggregate-id", "42"),
            ("content-type", "application/json"),
            ("tenant", "acme"),
        ] {
            assert_eq!(header(&message, name).as_deref(), Some(value), "{name}");
        }
        relay.signal("TERM");
        assert_eq!(relay.ends(), Some(0), "{:#?}", relay.said);
        assert!(relay.said.iter().any(|line| line.contains("drained") && line.contains("shipped=1")));
        assert_eq!(lag(&program, store), 0);
        assert_eq!(relay.printed(), "", "standard output is for results");
    }
}

#[test]
fn log_lines_are_few_and_plain_where_there_is_no_terminal() {
    let (program, database) = outbox();
    let mut relay = program.start(&["run", "--store", &database.url, "--publisher", &kafka::url()]);
    relay.says("took lanes");
    relay.signal("INT");
    assert_eq!(relay.ends(), Some(0));
    assert!(relay.said.len() <= 8, "{:#?}", relay.said);
    for line in &relay.said {
        assert!(!line.contains('\x1b') && !line.contains("::") && line.contains(" INFO  "), "{line}");
    }
}

#[test]
fn log_lines_are_json_if_asked_for() {
    let (program, database) = outbox();
    let run = ["run", "--store", &database.url, "--publisher", &kafka::url(), "--log-format", "json"];
    let mut relay = program.start(&run);
    relay.says("took lanes");
    relay.signal("TERM");
    assert_eq!(relay.ends(), Some(0));
    for line in &relay.said {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["timestamp"].is_string() && line["message"].is_string(), "{line}");
        assert_eq!(line["level"], "INFO");
    }
    // An error too.
    let run =
        ["run", "--store", "sqlite:none.db", "--publisher", "kafka://127.0.0.1:1", "--log-format", "json"];
    let ended = program.run(&run);
    let last: Value = serde_json::from_str(ended.err.lines().last().unwrap()).unwrap();
    assert_eq!((ended.code, &last["level"]), (Some(3), &"ERROR".into()));
}

#[test]
fn a_store_that_does_not_answer_is_waited_for() {
    let (program, database, topic) = (Program::new(), Database::new(), Topic::new());
    program.done(&["init", "--store", &database.url]);
    enqueue(&program, &database.url, &topic.name, "1", "x");
    let address = nobody();
    let mut relay =
        program.start(&["run", "--store", &database.url_at(&address), "--publisher", &kafka::url()]);
    let line = relay.says("the store does not answer");
    assert!(line.contains("WARN") && line.contains("refused"), "{line}");
    let _way = Proxy::at(&address, &database.address());
    relay.says("relay started");
    topic.messages(1);
}

#[test]
fn a_relay_that_waits_for_its_store_ends_at_once() {
    let program = Program::new();
    let store = format!("postgres://u@{}/d", nobody());
    let mut relay = program.start(&["run", "--store", &store, "--publisher", &kafka::url()]);
    relay.says("the store does not answer");
    relay.signal("TERM");
    assert_eq!(relay.ends(), Some(0), "{:#?}", relay.said);
}

#[test]
fn a_missing_topic_is_said_and_waited_for() {
    let (program, database) = outbox();
    let topic = Topic::to_be();
    enqueue(&program, &database.url, &topic.name, "1", "x");
    let mut relay = program.start(&["run", "--store", &database.url, "--publisher", &kafka::url()]);
    let line = relay.says("its events wait");
    assert!(line.contains(&topic.name) && line.contains("create it"), "{line}");
    topic.create();
    assert_eq!(topic.messages(1).len(), 1);
}

#[test]
fn a_broker_that_does_not_answer_is_said_and_waited_for() {
    let (program, database) = outbox();
    let publisher = format!("kafka://{}", nobody());
    let mut relay = program.start(&["run", "--store", &database.url, "--publisher", &publisher]);
    relay.says("WARN");
    relay.signal("TERM");
    assert_eq!(relay.ends(), Some(0), "{:#?}", relay.said);
}

#[test]
fn two_relays_of_one_id_are_one_too_many() {
    let (program, database) = outbox();
    let run =
        ["run", "--store", &database.url, "--publisher", &kafka::url(), "--relay-id", "one", "--lease", "5s"];
    let mut first = program.start(&run);
    first.says("took lanes");
    program.run(&run).expect(3, &["another relay runs under the id `one`", "give each its own"]);
    first.signal("TERM");
    assert_eq!(first.ends(), Some(0));
}

#[test]
fn a_port_in_use_is_a_clear_error() {
    let program = Program::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = ["run", "--store", "sqlite:app.db", "--publisher", "kafka://127.0.0.1:1", "--listen", &address];
    program.run(&run).expect(2, &["--listen: cannot listen on", &address, "choose another port"]);
}

/// What a GET answers: the status, and the body.
pub(crate) fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[test]
fn readyz_says_whether_both_sides_answer() {
    let (program, database) = outbox();
    let (working, broken) = (kafka::url(), format!("kafka://{}", nobody()));
    for (publisher, status, says) in
        [(&working, 200, "ready\n"), (&broken, 503, "not ready\npublisher: no broker")]
    {
        let run = ["run", "--store", &database.url, "--publisher", publisher, "--listen", "127.0.0.1:0"];
        let mut relay = program.start(&run);
        let line = relay.says("/readyz");
        let address = line.rsplit(' ').next().unwrap();
        assert_eq!(get(address, "/livez"), (200, "alive\n".to_owned()));
        let found =
            within(PATIENCE, || Some(get(address, "/readyz")).filter(|(_, body)| body.starts_with(says)));
        assert_eq!(found.0, status);
        assert_eq!(get(address, "/").0, 404);
    }
}

#[test]
fn a_grace_time_that_runs_out_has_a_code_of_its_own() {
    let ((program, database), topic) = (outbox(), Topic::new());
    enqueue(&program, &database.url, &topic.name, "1", "x");
    let run = ["run", "--store", &database.url, "--publisher", &kafka::url(), "--grace", "1s"];
    let mut relay = program.start(&run);
    topic.messages(1);
    within(PATIENCE, || (lag(&program, &database.url) == 0).then_some(()));
    // The second event is shipped, and cannot be settled.
    let _locked = database.locked("eventferry.position");
    enqueue(&program, &database.url, &topic.name, "1", "x");
    topic.messages(2);
    let asked = Instant::now();
    relay.signal("TERM");
    assert_eq!(relay.ends(), Some(5), "{:#?}", relay.said);
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    let last = relay.said.last().unwrap();
    assert!(last.contains("grace time of 1s ran out") && last.contains("sent again"), "{last}");
}

#[test]
fn a_database_that_freezes_does_not_outlast_the_grace_time() {
    let (program, database) = outbox();
    let (mut relay, _way) = frozen(&program, &database, &["--grace", "1s"]);
    let asked = Instant::now();
    relay.signal("TERM");
    assert_eq!(relay.ends(), Some(5), "{:#?}", relay.said);
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
}

/// A relay whose database froze when it had taken its lanes, so that it cannot hand them over.
fn frozen(program: &Program, database: &Database, times: &[&str]) -> (Running, Proxy) {
    let way = Proxy::to(&database.address());
    let store = database.url_at(&way.address);
    let publisher = kafka::url();
    let run = ["run", "--store", &store, "--publisher", &publisher];
    let mut relay = program.start(&[&run, times].concat());
    relay.says("took lanes");
    way.freeze();
    (relay, way)
}

#[test]
fn a_relay_that_drains_hands_its_lanes_over_at_once() {
    let ((program, database), topic) = (outbox(), Topic::new());
    let fill = format!(
        "SELECT eventferry.enqueue('{}', 'order', (i % 50)::text, i::text) FROM generate_series(1, 20000) AS i",
        topic.name
    );
    database.sql(&fill);
    // A lease that nobody waits for here.
    let run = ["run", "--store", &database.url, "--publisher", &kafka::url(), "--lease", "10m"];
    let mut first = program.start(&run);
    topic.messages(100);
    first.signal("TERM");
    assert_eq!(first.ends(), Some(0), "{:#?}", first.said);
    let status = program.done(&["status", "--store", &database.url, "--json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["relays_live"], 0, "{status:#}");
    let lanes = status["lanes"].as_array().unwrap();
    assert!(lanes.len() == 64 && lanes.iter().all(|lane| lane["owner"].is_null()), "{status:#}");
    // What it was acknowledged is settled, to the last event.
    let left = usize::try_from(status["lag_events"].as_u64().unwrap()).unwrap();
    assert_eq!(topic.count() + left, 20_000);

    let mut second = program.start(&run);
    within(PATIENCE, || (lag(&program, &database.url) == 0).then_some(()));
    second.signal("TERM");
    assert_eq!(second.ends(), Some(0), "{:#?}", second.said);
    assert_eq!(topic.count(), 20_000, "none twice");
}

#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    let (program, database) = outbox();
    let mut relay = program.start(&["run", "--store", &database.url, "--publisher", &kafka::url()]);
    relay.says("took lanes");
    // As `timeout` does, which signals a process and its group.
    relay.signal_at_once(&["TERM", "INT"]);
    assert_eq!(relay.ends(), Some(0), "{:#?}", relay.said);
}

#[test]
fn a_second_signal_ends_at_once() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let (program, database) = outbox();
        let (mut relay, _way) = frozen(&program, &database, &["--grace", "50s", "--lease", "2m"]);
        relay.signal(signal);
        relay.says("to drain");
        assert_eq!(relay.signalled_until_it_ends(signal), Some(code));
        assert!(relay.said.last().unwrap().contains("ended at once"), "{:#?}", relay.said);
    }
}
