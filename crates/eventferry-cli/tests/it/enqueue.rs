//! `enqueue`: what goes in, and what does not.

use crate::program::Program;

const EVENT: [&str; 6] = ["--topic", "t", "--aggregate-type", "order", "--aggregate-id", "1"];

/// A program beside a new outbox, and the arguments that all of its events share.
fn outbox() -> (Program, String) {
    let program = Program::new();
    let store = program.sqlite();
    program.done(&["init", "--store", &store]);
    (program, store)
}

fn rows(program: &Program, sql: &str) -> Vec<Option<Vec<u8>>> {
    let database = rusqlite::Connection::open(program.path("app.db")).unwrap();
    let mut query = database.prepare(sql).unwrap();
    let rows = query.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn the_payload_is_a_text_a_file_standard_input_or_nothing() {
    let (program, store) = outbox();
    let enqueue = |payload: &[&'static str]| [&["enqueue", "--store", &store], &EVENT[..], payload].concat();
    std::fs::write(program.path("payload"), [0, 255]).unwrap();
    for payload in [&["--payload", "text"][..], &["--payload", "@payload"], &["--tombstone"]] {
        assert_eq!(program.done(&enqueue(payload)).trim_end().len(), 36);
    }
    assert_eq!(program.fed(&enqueue(&["--payload", "@-"]), b"from afar").code, Some(0));
    let payloads = rows(&program, "SELECT CAST(payload AS BLOB) FROM eventferry_outbox ORDER BY id");
    assert_eq!(payloads, [Some(b"text".to_vec()), Some(vec![0, 255]), None, Some(b"from afar".to_vec())]);
}

#[test]
fn a_message_id_of_ones_own_is_kept_and_printed() {
    let (program, store) = outbox();
    let id = "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f";
    let enqueue = ["enqueue", "--store", &store, "--payload", "x", "--message-id", id];
    assert_eq!(program.done(&[&enqueue, &EVENT[..]].concat()), format!("{id}\n"));
}

#[test]
fn what_cannot_be_an_event_is_refused_with_the_reason() {
    let (program, store) = outbox();
    std::fs::write(program.path("large"), vec![b'x'; (16 << 20) + 1]).unwrap();
    let base = ["enqueue", "--store", &store];
    let refused = |event: &[&str], says: &str| {
        let ended = program.run(&[&base, event].concat());
        ended.expect(2, &[says]);
        assert_eq!(ended.out, "");
    };
    let with = |more: &[&'static str]| [&EVENT[..], more].concat();
    refused(
        &["--topic", "", "--aggregate-type", "o", "--aggregate-id", "1", "--payload", "x"],
        "topic is empty",
    );
    refused(
        &["--topic", "t", "--aggregate-type", "", "--aggregate-id", "1", "--payload", "x"],
        "type is empty",
    );
    refused(
        &["--topic", "t", "--aggregate-type", "o", "--aggregate-id", "", "--payload", "x"],
        "id is empty",
    );
    refused(&with(&[]), "--payload");
    refused(&with(&["--payload", "@large"]), "more than 16777216 bytes");
    refused(&with(&["--payload", "@no-such-file"]), "`no-such-file` cannot be opened");
    refused(&with(&["--payload", "x", "--header", "name"]), "give NAME=VALUE");
    refused(&with(&["--payload", "x", "--message-id", "7"]), "`7` is not a UUID");
    refused(&with(&["--payload", "x", "--partition=-1"]), "partition is negative");
    assert_eq!(rows(&program, "SELECT NULL FROM eventferry_outbox"), []);
}
