//! Relays that read the log's tail: made ready by `init --tail`, started, stopped, and changed for others.

use std::collections::BTreeMap;

use rdkafka::Message;
use serde_json::Value;

use crate::kafka::{self, Topic};
use crate::postgres::{Database, on_the_server, random};
use crate::program::{PATIENCE, Program, Running, within};

/// A relay that carries by this feed, when it has taken its lanes.
fn relay(program: &Program, store: &str, feed: &str) -> Running {
    let mut relay = started(program, store, feed);
    relay.says("took lanes");
    relay
}

fn started(program: &Program, store: &str, feed: &str) -> Running {
    program.start(&["run", "--store", store, "--publisher", &kafka::url(), "--feed", feed])
}

fn stop(mut relay: Running) {
    relay.signal("TERM");
    assert_eq!(relay.ends(), Some(0), "{:#?}", relay.said);
}

/// Whether the slot is read from.
fn is_read(database: &Database) -> bool {
    let active = "SELECT active::text FROM pg_replication_slots WHERE slot_name = eventferry.tail_slot()";
    database.sql(active).as_deref() == Some("true")
}

fn drop_slot(database: &Database) {
    let slot = "FROM pg_replication_slots WHERE slot_name = eventferry.tail_slot()";
    within(PATIENCE, || {
        database.sql(&format!("SELECT pg_terminate_backend(active_pid) {slot} AND active"));
        database.sql(&format!("SELECT pg_drop_replication_slot(slot_name) {slot} AND NOT active"));
        (database.sql(&format!("SELECT count(*) {slot}")).as_deref() == Some("0")).then_some(())
    });
}

/// The payloads that came, of each key.
fn by_key(topic: &Topic, count: usize) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in topic.messages(count) {
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        all.entry(text(message.key())).or_default().push(text(message.payload()));
    }
    all
}

#[test]
fn init_tail_makes_a_failover_slot_once() {
    let (program, database) = (Program::new(), Database::new());
    let init = ["init", "--store", &database.url, "--tail"];
    assert!(program.done(&init).starts_with("created the outbox"));
    let slot = "SELECT concat_ws(' ', plugin, failover, confirmed_flush_lsn) FROM pg_replication_slots
                WHERE slot_name = eventferry.tail_slot()";
    let made = database.sql(slot).unwrap();
    assert!(made.starts_with("pgoutput t "), "{made}");
    assert!(program.done(&init).starts_with("the outbox is up to date"));
    assert_eq!(database.sql(slot).unwrap(), made);
}

#[test]
fn what_the_flags_of_the_tail_do_not_fit_is_said() {
    let program = Program::new();
    for flag in ["--accept-loss", "--close-messages"] {
        program.run(&["init", "--store", "postgres://u@h/d", flag]).expect(2, &["--tail"]);
    }
    program.run(&["init", "--store", &program.sqlite(), "--tail"]).expect(2, &["only a PostgreSQL outbox"]);
    let run = |store: &str, feed: &str| {
        program.run(&["run", "--store", store, "--publisher", "kafka://127.0.0.1:1", "--feed", feed])
    };
    run("postgres://u@h/d", "wal").expect(2, &["--feed: `wal` is no feed; give table, tail or messages"]);
    run(&program.sqlite(), "tail").expect(2, &["only a PostgreSQL outbox has a tail"]);
    let run = ["run", "--store", "postgres://u@h/d", "--publisher", "kafka://127.0.0.1:1", "--feed", "tail"];
    program
        .run(&[&run[..], &["--replication-url", "mysql://u:sesame@h"]].concat())
        .expect(2, &["--replication-url: "]);
}

#[test]
fn a_relay_of_the_tail_without_a_slot_is_told_to_make_one() {
    let (program, database) = (Program::new(), Database::new());
    program.done(&["init", "--store", &database.url]);
    for feed in ["tail", "messages"] {
        let mut relay = started(&program, &database.url, feed);
        assert_eq!(relay.ends(), Some(3), "{:#?}", relay.said);
        assert!(relay.said.last().unwrap().contains("eventferry init --tail"), "{:#?}", relay.said);
    }
}

#[test]
fn what_is_emitted_is_carried_and_a_lost_slot_ends_the_relay_until_a_person_accepts_it() {
    let (program, database, topic) = (Program::new(), Database::new(), Topic::new());
    let init = ["init", "--store", &database.url, "--tail"];
    program.done(&init);
    let emit = |text: &str| {
        database.sql(&format!("SELECT eventferry.emit('{}', 'order', '1', '{text}'::text)", topic.name));
    };
    emit("1");
    let mut first = relay(&program, &database.url, "messages");
    assert_eq!(by_key(&topic, 1)["1"], ["1"]);
    assert_eq!(database.sql("SELECT count(*) FROM eventferry.outbox").as_deref(), Some("0"));
    drop_slot(&database);
    assert_eq!(first.ends(), Some(3), "{:#?}", first.said);
    assert!(first.said.last().unwrap().contains("init --tail --accept-loss"), "{:#?}", first.said);
    // Whoever starts it again is told at once, also after an `init` that did not accept it.
    for _ in 0..2 {
        let mut again = started(&program, &database.url, "messages");
        assert_eq!(again.ends(), Some(3), "{:#?}", again.said);
        assert!(again.said.last().unwrap().contains("init --tail --accept-loss"), "{:#?}", again.said);
        let said = program.run(&init);
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert!(said.err.contains("--accept-loss"), "{}", said.err);
    }
    program.done(&[&init[..], &["--accept-loss"]].concat());
    emit("2");
    let second = relay(&program, &database.url, "messages");
    assert_eq!(by_key(&topic, 2)["1"], ["1", "2"]);
    stop(second);
}

#[test]
fn a_slot_lost_under_a_relay_of_the_table_is_said_and_costs_nothing() {
    let (program, database, topic) = (Program::new(), Database::new(), Topic::new());
    program.done(&["init", "--store", &database.url, "--tail"]);
    let mut relay = relay(&program, &database.url, "tail");
    within(PATIENCE, || is_read(&database).then_some(()));
    let enqueue = |text: &str| {
        database.sql(&format!("SELECT eventferry.enqueue('{}', 'order', '1', '{text}'::text)", topic.name));
    };
    enqueue("1");
    assert_eq!(by_key(&topic, 1)["1"], ["1"]);
    drop_slot(&database);
    enqueue("2");
    let line = relay.says("the replication slot is lost");
    assert!(line.contains(" WARN "), "{line}");
    relay.says("reading starts again earlier: expect duplicates");
    within(PATIENCE, || is_read(&database).then_some(()));
    enqueue("3");
    let came = || by_key(&topic, topic.count())["1"].clone();
    let came = within(PATIENCE, || Some(came()).filter(|came| came.last().is_some_and(|last| last == "3")));
    // What was shipped may come again, before what was not.
    let first = |text: &str| came.iter().position(|came| came == text);
    assert!(first("1") < first("2") && first("2") < first("3"), "{came:?}");
    stop(relay);
}

#[test]
fn a_role_that_may_not_enqueue_cannot_forge_a_message_once_they_are_closed() {
    let (program, database) = (Program::new(), Database::new());
    program.done(&["init", "--store", &database.url, "--tail"]);
    let (forger, shop) = (format!("forger_{}", random()), format!("shop_{}", random()));
    for role in [&forger, &shop] {
        on_the_server(&format!("CREATE ROLE {role} LOGIN PASSWORD 'sesame'"));
    }
    database.sql(&format!("SELECT eventferry.grant_application('{shop}')"));
    let says = |role: &str, sql: &str| crate::postgres::refusal(&database.url_as(role, "sesame"), sql);
    let raw = "SELECT pg_logical_emit_message(true, 'eventferry', 'forged'::bytea)";
    let emit = "SELECT eventferry.emit('t', 'order', '1', 'x'::text)";
    assert_eq!(says(&forger, raw), None, "PostgreSQL lets everybody, until it is closed");
    program.done(&["init", "--store", &database.url, "--tail", "--close-messages"]);
    for (role, sql) in [(&forger, raw), (&shop, raw), (&forger, emit)] {
        let refusal = says(role, sql).unwrap();
        assert!(refusal.contains("permission denied"), "{role}: {refusal}");
    }
    assert_eq!(says(&shop, emit), None);
    for role in [&forger, &shop] {
        database.sql(&format!("DROP OWNED BY {role}"));
        on_the_server(&format!("DROP ROLE {role}"));
    }
}

#[test]
fn a_feed_is_changed_for_another_while_applications_write() {
    let (program, database, topic) = (Program::new(), Database::new(), Topic::new());
    program.done(&["init", "--store", &database.url, "--tail"]);
    let (writers, each) = (4, 500);
    let write = format!(
        "DO $$ BEGIN FOR n IN 1 .. {each} LOOP
             PERFORM eventferry.enqueue('{}', 'order', 'WRITER', lpad(n::text, 5, '0'));
             COMMIT; PERFORM pg_sleep(0.03);
         END LOOP; END $$",
        topic.name
    );
    // One that is open while the feed is changed.
    let long = format!(
        "BEGIN; SELECT eventferry.enqueue('{0}', 'order', 'LONG', '1'::text); SELECT pg_sleep(4);
         SELECT eventferry.enqueue('{0}', 'order', 'LONG', '2'::text); COMMIT",
        topic.name
    );
    let execute = |sql: String| {
        let url = database.url.clone();
        move || crate::postgres::execute(&url, &sql)
    };
    let carry = |feed: &str| {
        let before = topic.count();
        let running = relay(&program, &database.url, feed);
        within(PATIENCE, || (topic.count() > before + 50).then_some(()));
        if feed == "tail" {
            within(PATIENCE, || is_read(&database).then_some(()));
        }
        running
    };
    std::thread::scope(|scope| {
        scope.spawn(execute(long.replace("LONG", "to the tail")));
        for writer in 0..writers {
            scope.spawn(execute(write.replace("WRITER", &writer.to_string())));
        }
        stop(carry("table"));
        let tail = carry("tail");
        scope.spawn(execute(long.replace("LONG", "from the tail")));
        let open =
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%from the tail%' AND pid <> pg_backend_pid()";
        within(PATIENCE, || database.sql(open));
        stop(tail);
        stop(carry("table"));
        stop(carry("tail"));
    });
    let last = relay(&program, &database.url, "tail");
    within(PATIENCE, || (lag(&program, &database) == 0).then_some(()));
    stop(last);
    let came = by_key(&topic, topic.count());
    let firsts = |key: &str| {
        let mut seen = Vec::<String>::new();
        for text in &came[key] {
            if !seen.contains(text) {
                seen.push(text.clone());
            }
        }
        seen
    };
    for writer in 0..writers {
        let expected: Vec<String> = (1..=each).map(|n| format!("{n:05}")).collect();
        assert_eq!(firsts(&writer.to_string()), expected, "writer {writer}");
    }
    for long in ["to the tail", "from the tail"] {
        assert_eq!(firsts(long), ["1", "2"]);
    }
    let (all, came) = (writers * each + 4, topic.count());
    assert!(came - all < all / 4, "{came} came of {all}: too many twice");
}

fn lag(program: &Program, database: &Database) -> u64 {
    let status = program.done(&["status", "--store", &database.url, "--json"]);
    serde_json::from_str::<Value>(&status).unwrap()["lag_events"].as_u64().unwrap()
}

fn kept(program: &Program, database: &Database) -> u64 {
    let status = program.done(&["status", "--store", &database.url, "--json"]);
    serde_json::from_str::<Value>(&status).unwrap()["log"]["kept_bytes"].as_u64().unwrap()
}

#[test]
fn a_busy_database_with_a_quiet_outbox_keeps_little_of_its_log() {
    for feed in ["tail", "messages"] {
        let (program, database) = (Program::new(), Database::new());
        program.done(&["init", "--store", &database.url, "--tail"]);
        let owner = relay(&program, &database.url, feed);
        // Others stand by.
        let others = [(); 2].map(|()| started(&program, &database.url, feed));
        within(PATIENCE, || is_read(&database).then_some(()));
        for _ in 0..12 {
            // A table that comes and goes, and the rest of a segment of 16 MiB.
            database.sql("CREATE TABLE others (); DROP TABLE others; SELECT pg_switch_wal()");
        }
        within(PATIENCE, || {
            // The server moves on from where it noted last which transactions run: by itself every 15 s.
            database.sql("CHECKPOINT");
            (kept(&program, &database) < 64 << 20).then_some(())
        });
        stop(owner);
        drop(others);
    }
}
