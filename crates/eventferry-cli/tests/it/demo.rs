//! `demo`, in one process and on real servers.

use serde_json::Value;

use crate::kafka;
use crate::postgres::Database;
use crate::program::{Program, names_in};

/// Checks the figures of a demonstration that went well.
fn went_well(printed: &str, events: u64) {
    assert_eq!(printed.lines().count(), 1, "{printed}");
    let figures: Value = serde_json::from_str(printed).unwrap();
    let names: Vec<&str> = figures.as_object().unwrap().keys().map(String::as_str).collect();
    let mut known = ["events", "aggregates", "events_per_second", "duplicates", "order_violations", "lost"];
    known.sort_unstable();
    assert_eq!(names, known);
    assert_eq!(figures["events"], events);
    for (name, value) in [("duplicates", 0), ("order_violations", 0), ("lost", 0)] {
        assert_eq!(figures[name], value, "{name}");
    }
    assert!(
        figures["aggregates"].as_u64().unwrap() > 0 && figures["events_per_second"].as_u64().unwrap() > 0
    );
}

/// The topics of demonstrations.
fn topics() -> Vec<String> {
    kafka::topics().into_iter().filter(|name| name.starts_with("eventferry-demo-")).collect()
}

#[test]
fn the_demonstration_needs_nothing_and_leaves_nothing() {
    // A database that a variable or a file happens to name is not touched.
    let program = Program::new().with("EVENTFERRY_STORE", "postgres://nobody@127.0.0.1:1/nothing");
    std::fs::write(program.path("eventferry.toml"), "stor = \"sqlite:app.db\"").unwrap();
    let ended = program.run(&["demo", "--events", "3000", "--aggregates", "40", "--seed", "7", "--json"]);
    ended.expect(0, &[]);
    went_well(&ended.out, 3000);
    assert_eq!(ended.err, "");
    assert_eq!(names_in(program.folder.path()), ["eventferry.toml"]);
}

#[test]
fn the_table_is_for_people() {
    let program = Program::new();
    let ended = program.run(&["demo", "--events", "500", "--rate", "2000"]);
    ended.expect(0, &["--seed", "SQLite", "speaking Kafka's protocol"]);
    assert!(ended.out.starts_with("events                    500 "), "{}", ended.out);
    assert!(ended.out.ends_with("every promise held\n"), "{}", ended.out);
    let quiet = program.run(&["demo", "--events", "500", "--quiet"]);
    assert_eq!((quiet.code, quiet.err.as_str()), (Some(0), ""));
}

#[test]
fn on_real_servers_it_makes_its_own_things_and_removes_them() {
    let (program, database) = (Program::new(), Database::new());
    let servers = ["--store", &database.url, "--publisher", &kafka::url()];
    let ended = program.run(&[&["demo", "--events", "600", "--json"], &servers[..]].concat());
    ended.expect(0, &["eventferry_demo_", "eventferry-demo-", "removed in the end"]);
    went_well(&ended.out, 600);
    let left = "SELECT count(*) FROM pg_namespace n FULL JOIN pg_class c ON c.relnamespace = n.oid
                WHERE n.nspname = 'eventferry' OR c.relname LIKE 'eventferry%'";
    assert_eq!(database.sql(left).as_deref(), Some("0"));
    let topic = ended.err.split_whitespace().find(|word| word.starts_with("eventferry-demo-")).unwrap();
    assert!(!topics().contains(&topic.trim_end_matches(',').to_owned()));
}

#[test]
fn an_outbox_that_is_in_use_is_left_alone() {
    let (program, database) = (Program::new(), Database::new());
    program.done(&["init", "--store", &database.url]);
    let demo = ["demo", "--events", "200", "--store", &database.url];
    went_well(&program.done(&[&demo[..], &["--json"]].concat()), 200);
    assert_eq!(
        database.sql("SELECT count(*) FROM eventferry.migration WHERE version = 1").as_deref(),
        Some("1")
    );

    let event = ["--topic", "t", "--aggregate-type", "order", "--aggregate-id", "1", "--payload", "x"];
    program.done(&[&["enqueue", "--store", &database.url], &event[..]].concat());
    program.run(&demo).expect(2, &["is in use", "1 events not shipped", "a database of its own"]);
    let tables = "SELECT count(*) FROM pg_class WHERE relname LIKE 'eventferry_demo%'";
    assert_eq!(database.sql(tables).as_deref(), Some("0"));
}

#[test]
fn a_file_that_is_there_is_left_alone() {
    let program = Program::new();
    std::fs::write(program.path("app.db"), "mine").unwrap();
    program.run(&["demo", "--store", &program.sqlite()]).expect(2, &["is there already"]);
    assert_eq!(std::fs::read(program.path("app.db")).unwrap(), b"mine");
    program.done(&["demo", "--events", "200", "--store", "sqlite:new.db"]);
    assert_eq!(names_in(program.folder.path()), ["app.db"]);
}

#[test]
fn a_broker_that_does_not_answer_is_said() {
    let publisher = format!("kafka://{}", crate::proxy::nobody());
    let ended = Program::new().run(&["demo", "--events", "10", "--publisher", &publisher]);
    ended.expect(4, &["create topic eventferry-demo-", "check the publisher's URL"]);
}

#[test]
fn ctrl_c_removes_what_was_made() {
    let (program, database) = (Program::new(), Database::new());
    let mut demo = program.start(&["demo", "--rate", "100", "--store", &database.url]);
    demo.says("broker");
    crate::program::within(crate::program::PATIENCE, || {
        let tables = database.sql("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'eventferry_demo%'");
        (tables.as_deref() == Some("1")).then_some(())
    });
    demo.signal("INT");
    assert_eq!(demo.ends(), Some(130), "{:#?}", demo.said);
    let left =
        "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'eventferry%' OR schemaname = 'eventferry'";
    assert_eq!(database.sql(left).as_deref(), Some("0"));
}
