//! Places that are not there, are something else, or let nobody in.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use crate::kafka::{self, Topic};
use crate::postgres::Database;
use crate::program::{Ended, Program, within};
use crate::proxy::{Proxy, nobody};

const EVENT: [&str; 8] =
    ["--topic", "t", "--aggregate-type", "order", "--aggregate-id", "1", "--payload", "sesame"];

/// A store's commands that ask once, each run to its end.
fn asked_once(program: &Program, store: &str) -> [Ended; 3] {
    let enqueue = [&["enqueue", "--store", store], &EVENT[..]].concat();
    [
        program.run(&["init", "--store", store]),
        program.run(&["status", "--store", store]),
        program.run(&enqueue),
    ]
}

/// All of this is said, in one line, and no secret.
#[track_caller]
fn says(ended: &Ended, code: i32, says: &[&str]) {
    ended.expect(code, says);
    assert!(!ended.err.contains("sesame") && ended.out.is_empty(), "{}{}", ended.err, ended.out);
    assert!(ended.err.lines().count() <= 2, "{}", ended.err);
}

/// A server that takes connections and answers this to what it is sent, and ends them after a full stop.
fn server(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while client.read(&mut bytes).is_ok_and(|read| read > 0) {
                    if client.write_all(answer).is_err() || answer.ends_with(b".") {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn a_url_that_is_none_is_a_usage_error_for_every_command() {
    let program = Program::new();
    for (store, text) in [
        ("", "postgres:// or sqlite://"),
        ("mysql://u:sesame@h/d", "postgres:// or sqlite://"),
        ("postgres://u:sesame@h:notaport/d", "`port`; give one like postgres://"),
        ("postgres://u:sesame@h:99999/d", "`port`; give one like postgres://"),
        ("postgres://", "names no host; give one like postgres://"),
        ("postgres:///sesame", "names no host"),
        ("postgres://u:sesame@:5432/d", "names no host"),
        ("sqlite:", "has no path; name a file"),
    ] {
        for ended in asked_once(&program, store) {
            says(&ended, 2, &["--store: ", text]);
        }
        says(&program.run(&["run", "--store", store, "--publisher", "kafka://h"]), 2, &["--store: ", text]);
    }
    for (publisher, text) in [
        ("", "begins with kafka://"),
        ("amqp://u:sesame@h", "begins with kafka://"),
        ("kafka://", "names no host"),
        ("kafka://:9092", "names no host"),
        ("kafka://h:notaport", "broker 1 of the Kafka URL is no port"),
        ("kafka://h:99999", "give 1 to 65535"),
        ("kafka://h/orders", "leave it out"),
        ("kafka://u:sesame@h", "sasl.username"),
    ] {
        let ended = program.run(&["run", "--store", "postgres://h/d", "--publisher", publisher]);
        says(&ended, 2, &["--publisher: ", text]);
    }
}

#[test]
fn a_store_that_is_not_there_is_named_with_what_to_check() {
    let program = Program::new();
    let address = nobody();
    for ended in asked_once(&program, &format!("postgres://u:sesame@{address}/d")) {
        says(&ended, 3, &[&address, "refused", "check host and port in the store's URL"]);
    }
    for ended in asked_once(&program, "postgres://u:sesame@no-such-host.invalid/d") {
        says(&ended, 3, &["no-such-host.invalid:5432", "the name does not resolve: check it"]);
    }
}

#[test]
fn an_outage_before_the_start_is_said_once_for_each_fault_and_when_it_is_over() {
    let (program, database, topic) = (Program::new(), Database::new(), Topic::new());
    program.done(&["init", "--store", &database.url]);
    let event = ["--topic", &topic.name, "--aggregate-type", "order", "--aggregate-id", "1"];
    program.done(&[&["enqueue", "--store", &database.url, "--payload", "x"], &event[..]].concat());
    let address = nobody();
    let run = ["run", "--store", &database.url_at(&address), "--publisher", &kafka::url(), "--log-level"];
    let mut relay = program.start(&[&run[..], &["debug"]].concat());
    let first = relay.says("the store does not answer: waiting");
    assert!(first.contains("WARN") && first.contains(&address) && first.contains("check host"), "{first}");
    for _ in 0..3 {
        relay.says("the store still does not answer");
    }
    let _way = Proxy::at(&address, &database.address());
    relay.says("the store answers");
    relay.says("relay started");
    topic.messages(1);
    let waits = relay.said.iter().filter(|line| line.contains("does not answer: waiting")).count();
    assert_eq!(waits, 1, "{:#?}", relay.said);
}

#[test]
fn a_relay_waits_for_a_name_that_does_not_resolve_and_says_so() {
    let program = Program::new();
    let store = "postgres://u:sesame@no-such-host.invalid/d";
    let mut relay = program.start(&["run", "--store", store, "--publisher", "kafka://127.0.0.1:1"]);
    let line = relay.says("does not answer: waiting");
    assert!(line.contains("the name does not resolve: check it"), "{line}");
    relay.signal("TERM");
    assert_eq!(relay.ends(), Some(0));
    assert!(relay.said.iter().all(|line| !line.contains("sesame")), "{:#?}", relay.said);
}

#[test]
fn what_is_not_postgresql_behind_a_url_is_found_out() {
    let program = Program::new();
    for (answer, text) in [
        (&b""[..], "no answer within 3s; check that host and port in the store's URL are PostgreSQL's"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "no answer within 3s; check that host and port"),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\nno.",
            "check that host and port in the store's URL are PostgreSQL's",
        ),
    ] {
        let address = server(answer);
        let store = format!("postgres://u:sesame@{address}/d?connect_timeout=1");
        for ended in asked_once(&program, &store) {
            says(&ended, 3, &[&address, text]);
        }
        let mut relay = program.start(&["run", "--store", &store, "--publisher", "kafka://127.0.0.1:1"]);
        assert!(relay.says("does not answer: waiting").contains(text), "{:#?}", relay.said);
    }
}

#[test]
fn a_broker_that_is_not_kafka_or_not_there_is_said_once_and_waited_for() {
    let (program, database) = (Program::new(), Database::new());
    program.done(&["init", "--store", &database.url]);
    let enqueue = [&["enqueue", "--store", &database.url], &EVENT[..]].concat();
    program.done(&enqueue);
    let http = server(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    for (broker, text) in [
        (http.as_str(), "what answers there is not Kafka, or wants TLS"),
        (&nobody(), "Connection refused; check address, network, credentials and broker"),
        ("no-such-host.invalid:9092", "Failed to resolve"),
    ] {
        let publisher = format!("kafka://{broker}");
        let run = ["run", "--store", &database.url, "--publisher", &publisher, "--log-level", "debug"];
        let mut relay = program.start(&run);
        let line = relay.says("the broker does not answer: waiting");
        assert!(line.contains(broker) && line.contains(text) && !line.contains("code"), "{line}");
        // Again and again, and not a word of it.
        for _ in 0..2 {
            relay.says("the publisher failed");
        }
        relay.signal("TERM");
        assert_eq!(relay.ends(), Some(0), "{:#?}", relay.said);
        let warnings = relay.said.iter().filter(|line| line.contains(" WARN ")).count();
        assert_eq!(warnings, 1, "{:#?}", relay.said);
    }
    let status = program.done(&["status", "--store", &database.url]);
    assert!(status.contains("lag      1 event"), "{status}");
}

#[test]
fn a_database_that_lets_nobody_in_is_not_waited_for() {
    let (program, database) = (Program::new(), Database::new());
    let wrong = database.url_as("postgres", "wrong-sesame");
    let nameless = database.url_as("no_such_role", "sesame");
    let without = wrong.replacen(":wrong-sesame", "", 1);
    let missing = database.url.replacen(&database.name, "no_such_database", 1);
    for (store, text) in [
        (&wrong, "check user and password in the store's URL"),
        (&nameless, "check user and password in the store's URL"),
        (&without, "the server asks for a password, and neither the store's URL nor a passfile has one"),
        (&missing, "\"no_such_database\" does not exist (SQLSTATE 3D000); create it, or correct the name"),
    ] {
        for ended in asked_once(&program, store) {
            says(&ended, 3, &["connect to PostgreSQL at ", &database.address(), text]);
        }
        let run = ["run", "--store", store, "--publisher", "kafka://127.0.0.1:1"];
        says(&program.run(&run), 3, &[" ERROR ", &database.address(), text]);
    }
}

#[test]
fn a_missing_topic_is_not_made_and_loses_nothing() {
    let (program, database, topic) = (Program::new(), Database::new(), Topic::to_be());
    program.done(&["init", "--store", &database.url]);
    for id in ["1", "2"] {
        let event = ["--topic", &topic.name, "--aggregate-type", "order", "--aggregate-id", id];
        program.done(&[&["enqueue", "--store", &database.url, "--payload", "sesame"], &event[..]].concat());
    }
    let mut relay = program.start(&["run", "--store", &database.url, "--publisher", &kafka::url()]);
    let line = relay.says("its events wait");
    assert!(line.contains(&topic.name) && line.contains("does not exist: create it"), "{line}");
    assert!(!kafka::topics().contains(&topic.name));
    relay.signal("TERM");
    assert_eq!(relay.ends(), Some(0), "{:#?}", relay.said);
    assert!(relay.said.iter().all(|line| !line.contains("sesame")), "{:#?}", relay.said);

    topic.create();
    let _relay = program.start(&["run", "--store", &database.url, "--publisher", &kafka::url()]);
    topic.messages(2);
    within(Duration::from_secs(60), || {
        program.done(&["status", "--store", &database.url]).contains("lag      none").then_some(())
    });
}

#[test]
fn a_broker_that_is_away_refuses_no_topic_until_it_says_so() {
    let (program, database, topic) = (Program::new(), Database::new(), Topic::to_be());
    program.done(&["init", "--store", &database.url]);
    let event = ["--topic", &topic.name, "--aggregate-type", "order", "--aggregate-id", "1", "--tombstone"];
    program.done(&[&["enqueue", "--store", &database.url], &event[..]].concat());
    let address = nobody();
    let publisher = format!("kafka://{address}");
    let mut relay = program.start(&["run", "--store", &database.url, "--publisher", &publisher]);
    let line = relay.says("does not answer for this topic: its events wait");
    assert!(line.contains(&topic.name), "{line}");
    let _way = Proxy::at(&address, &kafka::address());
    let line = relay.says("the broker refuses this topic: its events wait");
    assert!(line.contains(&topic.name) && line.contains("create it"), "{line}");
}
