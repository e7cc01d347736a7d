//! Several clusters, by topic. They are one Kafka here; what the first one has goes under a prefix.

use rdkafka::Message;
use serde_json::Value;

use crate::kafka::{self, Topic, header};
use crate::postgres::random;
use crate::program::{PATIENCE, Program, Running, within};
use crate::proxy::{Proxy, nobody};
use crate::run::get;

/// A prefix like no other, under which topics are removed as those of the tests are.
fn prefix() -> String {
    format!("eventferry-cli-{}-", random())
}

/// Two clusters, of which the first has topics that begin with `payments`.
fn two(first: &str, other: &str) -> String {
    format!(
        "[clusters.payments]\nurl = \"{first}\"\ntopics = [\"payments*\"]\n[clusters.main]\nurl = \"{other}\"\n"
    )
}

/// A program beside an outbox and a file of settings.
fn program(settings: &str) -> Program {
    let program = Program::new();
    program.done(&["init", "--store", &program.sqlite()]);
    configure(&program, settings);
    program
}

fn configure(program: &Program, settings: &str) {
    std::fs::write(program.path("eventferry.toml"), settings).unwrap();
}

fn enqueue(program: &Program, topic: &str, payload: &str) {
    let event = ["--topic", topic, "--aggregate-type", "order", "--aggregate-id", "1", "--payload", payload];
    program.done(&[&["enqueue", "--store", &program.sqlite()], &event[..]].concat());
}

/// A relay, and where its health is told.
fn relay(program: &Program, more: &[&str]) -> (Running, String) {
    let run = ["run", "--store", &program.sqlite(), "--listen", "127.0.0.1:0"];
    let mut relay = program.start(&[&run[..], more].concat());
    let line = relay.says("/readyz");
    (relay, line.rsplit(' ').next().unwrap().to_owned())
}

/// Waits until health is told so.
fn told(address: &str, status: u16, says: &[&str]) {
    within(PATIENCE, || {
        let (found, body) = get(address, "/readyz");
        (found == status && says.iter().all(|line| body.contains(line))).then_some(())
    });
}

#[test]
fn events_go_to_the_cluster_of_their_topic_and_health_is_told_of_each() {
    let (prefix, other) = (prefix(), Topic::new());
    let payments = Topic::named(&format!("{prefix}payments"));
    let program = program(&two(&format!("{}?topic_prefix={prefix}", kafka::url()), &kafka::url()));
    for (topic, payload) in [("payments", "1"), (&other.name, "2"), ("payments", "3")] {
        enqueue(&program, topic, payload);
    }
    let (mut relay, address) = relay(&program, &[]);
    let payloads = |messages: Vec<rdkafka::message::OwnedMessage>| {
        messages.iter().map(|message| message.payload().unwrap().to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(payloads(payments.messages(2)), [b"1", b"3"]);
    assert_eq!(payloads(other.messages(1)), [b"2"]);
    told(&address, 200, &["ready\npublisher payments: ready\npublisher main: ready\n"]);
    let url = kafka::url();
    assert!(relay.said.iter().any(|line| line.contains(&format!("to payments ({url}), main ({url})"))));
    relay.signal("TERM");
    assert_eq!(relay.ends(), Some(0), "{:#?}", relay.said);
    assert_eq!((payments.count(), other.count()), (2, 1));
}

#[test]
fn a_cluster_that_does_not_answer_is_named_and_waited_for() {
    let (topic, address) = (Topic::new(), nobody());
    let program = program(&two(&format!("kafka://{address}?sasl.password=sesame"), &kafka::url()));
    enqueue(&program, &topic.name, "1");
    let (mut relay, health) = relay(&program, &[]);
    let line = relay.says("the broker does not answer");
    assert!(line.contains("cluster `payments`: no broker of") && line.contains("refused"), "{line}");
    let lines = [&format!("publisher payments: no broker of `{address}`"), "publisher main: ready"];
    told(&health, 503, &lines);
    assert_eq!(topic.count(), 0, "sessions begin together");
    let _way = Proxy::at(&address, &kafka::address());
    topic.messages(1);
    told(&health, 200, &["publisher payments: ready", "publisher main: ready"]);
    assert!(relay.said.iter().all(|line| !line.contains("sesame")), "{:#?}", relay.said);
}

#[test]
fn events_of_a_topic_that_no_cluster_takes_wait_and_go_when_one_does() {
    let topic = Topic::new();
    let alone =
        |pattern: &str| format!("[clusters.main]\nurl = \"{}\"\ntopics = [\"{pattern}\"]\n", kafka::url());
    let program = program(&alone("payments*"));
    enqueue(&program, &topic.name, "1");
    let (mut relay_of_none, _) = relay(&program, &["--dead-letter-topic", "payments.dlq"]);
    let line = relay_of_none.says("its events wait");
    assert!(line.contains(&format!("no cluster takes topic `{}`", topic.name)), "{line}");
    let line = relay_of_none.says("are parked, uncounted");
    assert!(line.contains(&topic.name), "{line}");
    relay_of_none.signal("TERM");
    assert_eq!(relay_of_none.ends(), Some(0), "{:#?}", relay_of_none.said);
    let check = program.run(&["topics", "check", "--store", &program.sqlite()]);
    check.expect(4, &["1 of 1 topics"]);
    assert!(
        check.out.contains(&format!("error: topic `{}`: no cluster takes it", topic.name)),
        "{}",
        check.out
    );

    configure(&program, &alone("eventferry*"));
    let _relay = relay(&program, &[]);
    topic.messages(1);
}

#[test]
fn a_dead_letter_goes_to_the_cluster_of_its_own_topic_and_is_replayed_from_there() {
    let (prefix, topic) = (prefix(), Topic::with(&[("max.message.bytes", "1000")]));
    let letters = Topic::named(&format!("{prefix}{}.dlq", topic.name));
    let url = kafka::url();
    let program = program(&format!(
        "[clusters.main]\nurl = \"{url}\"\n\
         [clusters.dead]\nurl = \"{url}?topic_prefix={prefix}\"\ntopics = [\"*.dlq\"]\n"
    ));
    enqueue(&program, &topic.name, &"x".repeat(2000));
    // Several attempts: brokers hear of a change of limits a moment later.
    let (_relay, _) = relay(&program, &["--dead-letter-topic", "{topic}.dlq"]);
    let letter = letters.messages(1).remove(0);
    assert_eq!(header(&letter, "dlq-original-topic"), Some(topic.name.clone()));

    topic.set("max.message.bytes", "100000");
    let replay = ["dead-letters", "replay", "--store", &program.sqlite(), "--topic", &letters.name];
    program.run(&replay).expect(2, &["say which: --cluster main or --cluster dead"]);
    let replayed = program.done(&[&replay[..], &["--cluster", "dead"]].concat());
    assert!(replayed.contains("1 event"), "{replayed}");
    topic.messages(1);
}

#[test]
fn topics_are_made_and_checked_where_they_belong_and_looked_at_one_cluster_at_a_time() {
    let (prefix, other) = (prefix(), Topic::to_be());
    let payments = Topic { name: format!("{prefix}payments") };
    let url = kafka::url();
    let program = program(&format!(
        "{}[topics.payments]\npartitions = 1\n[topics.\"{}\"]\npartitions = 1\n",
        two(&format!("{url}?topic_prefix={prefix}"), &url),
        other.name
    ));
    let missing = program.run(&["topics", "check"]);
    missing.expect(4, &["2 of 2 topics"]);
    let lines = [
        format!("error: cluster `payments`: topic `{}`: it does not exist", payments.name),
        format!("error: cluster `main`: topic `{}`: it does not exist", other.name),
    ];
    lines.iter().for_each(|line| assert!(missing.out.contains(line), "{}", missing.out));
    let line = program.run(&["topics", "check", "--json"]).out;
    let line: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert_eq!((&line["cluster"], &line["level"]), (&"payments".into(), &"error".into()));

    let made = program.done(&["topics", "ensure", "--yes"]);
    let lines = [
        format!("done: cluster `payments`: create topic `{}`", payments.name),
        format!("done: cluster `main`: create topic `{}`", other.name),
    ];
    lines.iter().for_each(|line| assert!(made.contains(line), "{made}"));
    assert_eq!(program.done(&["topics", "ensure"]), "nothing to do\n");
    assert_eq!(program.done(&["topics", "check"]), "2 checked: all is well\n");

    payments.send("k", Some("text"), &[]);
    for command in [
        &["topics", "list"][..],
        &["topics", "describe", &payments.name],
        &["tail", "--topic", &payments.name, "--from", "beginning", "--limit", "1"],
    ] {
        let says = ["the file of settings names clusters", "--cluster payments or --cluster main"];
        program.run(command).expect(2, &says);
        let of = |cluster: &str| program.run(&[command, &["--cluster", cluster]].concat());
        of("other").expect(2, &["--cluster: `other` is none of the clusters", "--cluster payments or"]);
        let shown = of("payments");
        shown.expect(0, &[]);
        assert!(shown.out.contains(&payments.name) || shown.out.contains("text"), "{}", shown.out);
    }
    configure(&program, "");
    let beside = ["topics", "list", "--publisher", &url, "--cluster", "main"];
    program.run(&beside).expect(2, &["--cluster: the file of settings names no clusters"]);
}

#[test]
fn what_cannot_be_is_said_with_what_to_do_and_without_secrets() {
    let program = Program::new();
    let base = ["run", "--store", "sqlite:app.db"];
    let refused = |settings: &str, more: &[&str], says: &[&str]| {
        configure(&program, settings);
        let ended = program.run(&[&base[..], more].concat());
        ended.expect(2, says);
        assert!(!ended.err.contains("sesame"), "{}", ended.err);
    };
    let secret = "kafka://one?sasl.password=sesame";
    let both = two(secret, secret);
    let says = ["clusters.payments)", "leave out the one or the others"];
    refused(
        &both,
        &["--publisher", secret],
        &[&["--publisher: there are clusters, too"], &says[..]].concat(),
    );
    let file = format!("publisher = \"{secret}\"\n{both}");
    refused(&file, &[], &[&["eventferry.toml, line 1, publisher: "], &says[..]].concat());
    let says = ["--delivery: exactly-once is not for clusters", "an outbox of its own"];
    refused(&both, &["--delivery", "exactly-once"], &says);
    let file = format!("delivery = \"exactly-once\"\n{both}");
    refused(&file, &[], &["eventferry.toml, line 1, delivery: exactly-once is not for clusters"]);
    let twice = format!("{both}[clusters.main]\nurl = \"{secret}\"\n");
    refused(&twice, &[], &["line 6: this name was given before"]);
    let shadowed = format!("{both}topics = [\"payments.eu\"]\n");
    refused(&shadowed, &[], &["eventferry.toml: pattern `payments.eu` of cluster `main` never counts"]);
    let nameless = "[clusters.main]\ntopics = [\"a\"]\n";
    refused(
        nameless,
        &[],
        &["line 1, clusters.main: the cluster has no url", "EVENTFERRY_CLUSTERS_MAIN_URL"],
    );
    let wrong = "[clusters.main]\nurl = \"http://sesame\"\n";
    refused(wrong, &[], &["eventferry.toml, line 2, url: a publisher's URL begins with kafka://"]);
    let owned = format!("[clusters.main]\nurl = \"{secret}&statistics.interval.ms=sesame\"\n");
    refused(
        &owned,
        &[],
        &["eventferry.toml: cluster `main`: property `statistics.interval.ms` cannot be set"],
    );
    refused("[clusters.main]\nurll = \"x\"\n", &[], &["line 2: the key `urll`", "did you mean `url`?"]);
    refused("[clusters.Main]\nurl = \"kafka://one\"\n", &[], &["`Main` is no name for a cluster"]);

    let program =
        Program::new().with("EVENTFERRY_CLUSTERS_MAIN_URL", "kafka://one?statistics.interval.ms=sesame");
    let program = program.with("EVENTFERRY_CLUSTERS_OTHER_URL", "kafka://two");
    configure(&program, nameless);
    let ended = program.run(&base);
    ended.expect(2, &["property `statistics.interval.ms`", "EVENTFERRY_CLUSTERS_OTHER_URL is not known"]);
    assert!(!ended.err.contains("sesame"), "{}", ended.err);
}
