//! Spans of the binary: what its variables say, and a collector that is away.

use std::time::Instant;

use crate::collector::{Collector, Mood};
use crate::kafka::{self, Topic};
use crate::postgres::Database;
use crate::program::{PATIENCE, Program, Running, within};

/// More spans than the exporter keeps: a queue of 2,048 and a batch of 512.
const EVENTS: usize = 5_000;
const KEPT_MAX: usize = 2_048 + 512;

/// Enqueues events whose traces are sampled, as a program without a library does.
fn enqueue(database: &Database, topic: &Topic, events: usize) {
    let sql = format!(
        "SELECT count(eventferry.enqueue('{}', 'order', n::text, 'x', headers => json_build_object('traceparent', \
         '00-4bf92f3577b34da6a3ce929d0e0e4736-' || lpad(to_hex(n), 16, '0') || '-01'))) \
         FROM generate_series(1, {events}) AS n",
        topic.name
    );
    database.sql(&sql);
}

fn relay(collector: &Collector, database: &Database, variables: &[(&str, &str)]) -> (Program, Running) {
    let mut program = Program::new().with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint());
    for (name, value) in variables {
        program = program.with(name, value);
    }
    program.done(&["init", "--store", &database.url]);
    let relay = program.start(&["run", "--store", &database.url, "--publisher", &kafka::url()]);
    (program, relay)
}

fn count(relay: &Running, text: &str) -> usize {
    relay.said.iter().filter(|line| line.contains(text)).count()
}

#[test]
fn a_collector_that_hangs_neither_holds_events_up_nor_has_spans_pile_up() {
    let (collector, database, topic) = (Collector::new(), Database::new(), Topic::new());
    collector.is(Mood::Hangs);
    let (_program, mut relay) = relay(&collector, &database, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "120000")]);
    relay.says("relay started");
    enqueue(&database, &topic, EVENTS);
    assert_eq!(topic.messages(EVENTS).len(), EVENTS);
    within(PATIENCE, || (collector.requests() == 1).then_some(()));
    // What waited is what there was room for.
    collector.is(Mood::Takes);
    relay.signal("TERM");
    assert_eq!(relay.ends(), Some(0), "{:#?}", relay.said);
    let spans = collector.spans().len();
    assert!((512..=KEPT_MAX).contains(&spans), "{spans} spans");
    assert!(relay.said.len() <= 9, "{:#?}", relay.said);
}

#[test]
fn the_end_waits_for_the_last_spans_only_so_long() {
    let (collector, database, topic) = (Collector::new(), Database::new(), Topic::new());
    collector.is(Mood::Hangs);
    let (_program, mut relay) = relay(&collector, &database, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000")]);
    relay.says("relay started");
    enqueue(&database, &topic, 1);
    topic.messages(1);
    relay.signal("TERM");
    let begun = Instant::now();
    assert_eq!(relay.ends(), Some(0), "{:#?}", relay.said);
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(count(&relay, "the last spans were not all sent within 5s"), 1, "{:#?}", relay.said);
}

#[test]
fn an_outage_of_the_collector_is_told_once_and_so_is_its_end() {
    let (collector, database, topic) = (Collector::new(), Database::new(), Topic::new());
    collector.is(Mood::Refuses);
    let (_program, mut relay) = relay(&collector, &database, &[("OTEL_BSP_SCHEDULE_DELAY", "10")]);
    relay.says("relay started");
    // A batch for each.
    for round in 1..=5 {
        enqueue(&database, &topic, 1);
        within(PATIENCE, || (collector.requests() >= round).then_some(()));
    }
    let line = relay.says("takes no spans: it answers 503");
    assert!(line.contains("WARN") && line.contains("events are carried as before"), "{line}");
    collector.is(Mood::Takes);
    enqueue(&database, &topic, 1);
    assert_eq!(topic.messages(6).len(), 6);
    relay.says("takes spans again");
    relay.signal("TERM");
    assert_eq!(relay.ends(), Some(0), "{:#?}", relay.said);
    assert_eq!(count(&relay, "takes no spans"), 1, "{:#?}", relay.said);
    assert_eq!(count(&relay, "opentelemetry"), 0, "{:#?}", relay.said);
}

#[test]
fn the_standards_variables_name_the_service_and_sample() {
    let (collector, database, topic) = (Collector::new(), Database::new(), Topic::new());
    let variables = [
        ("OTEL_SERVICE_NAME", "ferry"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.instance.id=mine"),
    ];
    let (_program, mut named) = relay(&collector, &database, &variables);
    enqueue(&database, &topic, 1);
    topic.messages(1);
    named.signal("TERM");
    assert_eq!(named.ends(), Some(0));
    let sent = collector.span(&format!("send {}", topic.name));
    assert_eq!(sent.resource("service.name").as_deref(), Some("ferry"));
    assert_eq!(sent.resource("service.instance.id").as_deref(), Some("mine"));
    assert_eq!(sent.resource("deployment.environment.name").as_deref(), Some("test"));

    let (_program, mut silent) = relay(&collector, &database, &[("OTEL_TRACES_SAMPLER", "always_off")]);
    enqueue(&database, &topic, 1);
    topic.messages(2);
    silent.signal("TERM");
    assert_eq!(silent.ends(), Some(0));
    assert_eq!(collector.spans().len(), 1);
}

#[test]
fn what_the_variables_ask_for_and_cannot_be_had_is_said_at_the_start() {
    let program = Program::new()
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
        .with("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let ended = program.run(&["run", "--store", &program.sqlite(), "--publisher", "kafka://127.0.0.1:1"]);
    ended.expect(2, &["OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"]);
}
