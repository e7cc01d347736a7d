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

#[test]
fn a_password_may_come_from_a_command_and_stays_in_no_message() {
    let database = Database::new();
    let right =
        database.url.split_once("://").unwrap().1.split_once('@').unwrap().0.split_once(':').unwrap().1;
    let store = database.url_as("postgres", "sesame");
    let with = |command: &str| Program::new().with("EVENTFERRY_PASSWORD_COMMAND", command);
    with(&format!("echo {right}")).done(&["init", "--store", &store]);
    let wrong = with("echo sesame").run(&["status", "--store", &database.url]);
    keeps_it(&wrong, 3);
    let failing = with("echo sesame; exit 7").run(&["status", "--store", &database.url]);
    keeps_it(&failing, 3);
    assert!(failing.err.contains("password_command: it failed (exit status: 7)"), "{}", failing.err);
    let program = with("echo sesame");
    let sqlite = program.run(&["status", "--store", &program.sqlite()]);
    keeps_it(&sqlite, 2);
    assert!(
        sqlite.err.contains("EVENTFERRY_PASSWORD_COMMAND: a SQLite file has no password"),
        "{}",
        sqlite.err
    );
}
