//! `topics`: what is at the broker, what is declared, and what does not fit.

use serde_json::Value;

use crate::kafka::{self, Topic};
use crate::postgres::Database;
use crate::program::{Ended, Program};

fn topics(program: &Program, more: &[&str]) -> Ended {
    let url = kafka::url();
    program.run(&[&["topics"], more, &["--publisher", &url]].concat())
}

#[track_caller]
fn done(program: &Program, more: &[&str]) -> String {
    let ended = topics(program, more);
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    ended.out
}

fn file(program: &Program, text: &str) {
    std::fs::write(program.path("eventferry.toml"), text).unwrap();
}

#[test]
fn topics_are_listed_and_described() {
    let (program, topic) = (Program::new(), Topic::with(&[("retention.ms", "123456")]));
    let listed = done(&program, &["list"]);
    assert!(listed.starts_with("TOPIC ") && listed.contains(&topic.name), "{listed}");
    assert!(!listed.contains("\n__"), "{listed}");
    let described = done(&program, &["describe", &topic.name]);
    let row: Vec<_> = described.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, [&topic.name, "1", "1", "yes", "1048588", "123456", "delete", "1"], "{described}");
    let line: Value = serde_json::from_str(&done(&program, &["describe", &topic.name, "--json"])).unwrap();
    assert_eq!(line["settings"]["retention.ms"], "123456");
    assert_eq!((&line["partitions"], &line["may_write"]), (&1.into(), &true.into()));
    topics(&program, &["describe", "no-such-topic", &topic.name])
        .expect(4, &["`no-such-topic`", "create it"]);
    let nobody = format!("kafka://{}", crate::proxy::nobody());
    program.run(&["topics", "list", "--publisher", &nobody]).expect(4, &["no broker of", "refused"]);
    program.run(&["topics", "list"]).expect(2, &["no publisher is named"]);
}

#[test]
fn declared_topics_are_made_and_grown_only_with_yes_and_never_shrunk() {
    let (program, topic) = (Program::new(), Topic::to_be());
    let name = &topic.name;
    let declare = |partitions| {
        file(
            &program,
            &format!(
                "[topics.\"{name}\"]\npartitions = {partitions}\nreplication = 1\nconfig = {{ retention.ms = 9000 }}\n"
            ),
        );
    };
    declare(2);
    let create = format!("create topic `{name}`: partitions 2, replication 1, retention.ms=9000");
    let said = done(&program, &["ensure"]);
    assert_eq!(said, format!("{create}\nnothing was changed: give --yes to do it\n"));
    assert!(!kafka::topics().contains(name));
    let missing = topics(&program, &["check"]);
    missing.expect(4, &["1 of 1 topics"]);
    assert!(
        missing.out.contains("it does not exist, and it is declared: create it by `eventferry topics ensure")
    );

    assert_eq!(done(&program, &["ensure", "--yes"]), format!("{create}\ndone: {create}\n"));
    assert_eq!(done(&program, &["ensure", "--yes"]), "nothing to do\n");
    assert_eq!(done(&program, &["check"]), "1 checked: all is well\n");

    declare(5);
    let fewer = topics(&program, &["check"]);
    fewer.expect(4, &[]);
    assert!(fewer.out.contains("it has 2 partitions, 5 are declared: add them by"), "{}", fewer.out);
    let rehearsed = done(&program, &["ensure"]);
    assert!(rehearsed.contains("from 2 to 5 partitions") && rehearsed.contains("keys move"), "{rehearsed}");
    assert!(done(&program, &["ensure", "--yes"]).contains("done: grow topic"));

    declare(3);
    let shrunk = topics(&program, &["ensure", "--yes"]);
    shrunk.expect(4, &["not all topics are as they are declared"]);
    assert!(
        shrunk.out.contains("none can be taken away") && shrunk.out.contains("nothing to do"),
        "{}",
        shrunk.out
    );
    assert!(done(&program, &["describe", name]).lines().nth(1).unwrap().contains(" 5 "));

    file(&program, "[topics.\"t\"]\non_dead = \"hold\"\n");
    topics(&program, &["ensure"]).expect(2, &["no topic is declared", "partitions = 12"]);
    file(&program, "[topics.\"t\"]\npartitions = 0\n");
    topics(&program, &["ensure"]).expect(2, &["line 2, partitions: `0`"]);
}

#[test]
fn topics_are_made_checked_and_written_under_their_names_at_the_broker() {
    let program = Program::new();
    program.done(&["init", "--store", &program.sqlite()]);
    let there = Topic::to_be();
    let own = there.name.strip_prefix("eventferry-").unwrap();
    file(&program, &format!("[topics.\"{own}\"]\npartitions = 1\n"));
    let url = format!("{}?topic_prefix=eventferry-", kafka::url());
    let done = |more: &[&str]| program.done(&[more, &["--publisher", &url]].concat());
    assert!(done(&["topics", "ensure", "--yes"]).contains(&format!("done: create topic `{}`", there.name)));
    let event = ["--topic", own, "--aggregate-type", "order", "--aggregate-id", "1", "--payload", "x"];
    program.done(&[&["enqueue", "--store", &program.sqlite()], &event[..]].concat());
    assert_eq!(done(&["topics", "check", "--store", &program.sqlite()]), "1 checked: all is well\n");
    let _relay = program.start(&["run", "--store", &program.sqlite(), "--publisher", &url]);
    there.messages(1);
}

#[test]
fn what_the_outbox_has_is_held_against_its_topics() {
    for store in [None, Some(Database::new())] {
        let program = Program::new();
        let store = store.as_ref().map_or_else(|| program.sqlite(), |database| database.url.clone());
        program.done(&["init", "--store", &store]);
        let small = Topic::with(&[("max.message.bytes", "5000"), ("retention.ms", "1")]);
        let dead = Topic::with(&[("max.message.bytes", "4000"), ("cleanup.policy", "compact")]);
        let check = |more: &[&str]| topics(&program, &[&["check", "--store", &store], more].concat());
        assert!(check(&[]).out.contains("no topic to check"));
        let nobody = ["topics", "check", "--store", &store, "--publisher", "kafka://127.0.0.1:1"];
        program.run(&nobody).expect(4, &["127.0.0.1:1", "Connection refused"]);
        std::fs::write(program.path("large"), "x".repeat(6000)).unwrap();
        for topic in [&small.name, "never-made"] {
            let event =
                ["--topic", topic, "--aggregate-type", "order", "--aggregate-id", "1", "--payload", "@large"];
            program.done(&[&["enqueue", "--store", &store], &event[..]].concat());
        }
        let found = check(&["--dead-letter-topic", &dead.name]);
        found.expect(4, &["1 of 3 topics or settings are wrong"]);
        for text in [
            "error: topic `never-made`: it does not exist, and the outbox has events for it: create it",
            "has 6,000 bytes and max.message.bytes is 5,000",
            "retention.ms is 0.0 s and the outbox has events of",
            "max.message.bytes is 4,000, less than that of",
            "cleanup.policy has `compact`",
        ] {
            assert!(found.out.contains(text), "`{text}` is not in {}", found.out);
        }
        let json = check(&["--json"]);
        assert!(
            json.out.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["level"].is_string())
        );

        let url = kafka::url();
        let mut relay = program.start(&["run", "--store", &store, "--publisher", &url]);
        let line = relay.says("it does not exist, and the outbox has events for it");
        assert!(line.contains("WARN") && line.contains("never-made"), "{line}");
    }
}

#[test]
fn a_relay_starts_whether_or_not_topics_can_be_checked() {
    let program = Program::new();
    program.done(&["init", "--store", &program.sqlite()]);
    let nobody = format!("kafka://{}", crate::proxy::nobody());
    let mut relay = program.start(&["run", "--store", &program.sqlite(), "--publisher", &nobody]);
    relay.says("the broker does not answer");
    relay.signal("TERM");
    assert_eq!(relay.ends(), Some(0), "{:#?}", relay.said);
    assert!(!relay.said.iter().any(|line| line.contains("topic")), "{:#?}", relay.said);
}
