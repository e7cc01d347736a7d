//! No message holds a password or a payload.

use crate::postgres::Database;
use crate::program::{Ended, Program};
use crate::proxy::nobody;

fn keeps_it(ended: &Ended, code: i32) {
    assert_eq!(ended.code, Some(code), "{}", ended.err);
    assert!(!ended.err.contains("sesame") && !ended.out.contains("sesame"), "{} {}", ended.out, ended.err);
}

#[test]
fn a_password_in_a_url_is_in_no_message() {
    let program = Program::new();
    let wrong_password = Database::new().url_as("postgres", "sesame");
    let unreachable = format!("postgres://u:sesame@{}/d", nobody());
    let event = ["--topic", "t", "--aggregate-type", "order", "--aggregate-id", "1", "--payload", "x"];
    for (store, code) in [
        (wrong_password.as_str(), 3),
        (&unreachable, 3),
        ("postgres://u:sesame@h:notaport/d", 2),
        ("postgres://u:sesame@h/d?sslmode=sesame", 2),
        ("postgres://u:sesame@h/d?sslmode=require&sslrootcert=system", 2),
        ("postgres://u:sesame@h/d?no_such_option=1", 2),
        ("postgres://u@h/d?password=a&sesame=1", 2),
        ("sqlite:///app.db?key=sesame", 2),
        ("mysql://u:sesame@h/d", 2),
        ("u:sesame@h/d", 2),
    ] {
        for command in ["init", "status", "demo"] {
            keeps_it(&program.run(&[command, "--store", store]), code);
        }
        keeps_it(&program.run(&[&["enqueue", "--store", store], &event[..]].concat()), code);
        // A relay waits for a database that does not answer.
        if store != unreachable {
            let run = ["run", "--store", store, "--publisher", "kafka://127.0.0.1:1", "--log-level", "debug"];
            keeps_it(&program.run(&run), code);
        }
    }
}

#[test]
fn a_secret_of_the_publisher_is_in_no_message() {
    let program = Program::new();
    for publisher in [
        "kafka://u:sesame@h:9092",
        "kafka://h:sesame",
        "kafka://h/sesame",
        "kafka://h:9092?sasl.password=a&sesame=1",
        "kafka://h:9092?sasl.password=a&sesame.b=1",
        "kafka://h:9092?sasl.password=a&linger_ms=sesame",
        "kafka://h:9092?sasl.password=sesame&no.such.property=1",
        "kafka://h:9092?sasl.password=sesame&linger_ms=soon",
        "kafka://h:9092?security.protocol=sesame",
    ] {
        let run = ["run", "--store", "postgres://h/d", "--publisher", publisher, "--log-level", "debug"];
        keeps_it(&program.run(&run), 2);
    }
}

#[test]
fn a_refused_event_is_named_without_its_payload() {
    let program = Program::new();
    let store = program.sqlite();
    program.done(&["init", "--store", &store]);
    let event = ["--topic", "", "--aggregate-type", "order", "--aggregate-id", "1", "--payload", "sesame"];
    keeps_it(&program.run(&[&["enqueue", "--store", &store], &event[..]].concat()), 2);
}
