//! The handling of a message.

use eventferry_core::MessageId;
use eventferry_otel::Processing;
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _};

use crate::spans::{Spans, attribute};

const HEADERS: [(&str, &[u8]); 3] = [
    ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("correlation-id", b"story"),
    ("baggage", b"tenant=acme"),
];

#[test]
fn handling_is_a_span_below_the_enqueuing_one_and_linked_to_it() {
    let spans = Spans::new();
    let span = Processing::of("orders.created", &HEADERS)
        .message_id(MessageId([7; 16]))
        .consumer_group("billing")
        .partition(3)
        .offset(42)
        .key(b"k")
        .tracer_provider(&spans.provider)
        .start();
    let context = span.context().clone();
    assert_eq!(context.baggage().get("tenant").map(|value| value.as_str()), Some("acme"));
    span.done();

    let ended = spans.one();
    assert_eq!(
        (ended.name.as_ref(), ended.span_kind.clone()),
        ("process orders.created", SpanKind::Consumer)
    );
    assert_eq!(ended.span_context.span_id(), context.span().span_context().span_id());
    assert_eq!(ended.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(ended.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(ended.links.links[0].span_context.span_id().to_string(), "00f067aa0ba902b7");
    assert_eq!(ended.status, Status::Unset);
    for (name, value) in [
        ("messaging.system", "kafka"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", "orders.created"),
        ("messaging.destination.partition.id", "3"),
        ("messaging.kafka.offset", "42"),
        ("messaging.kafka.message.key", "k"),
        ("messaging.consumer.group.name", "billing"),
        ("messaging.message.id", &MessageId([7; 16]).to_string()),
        ("messaging.message.conversation_id", "story"),
    ] {
        assert_eq!(attribute(&ended, name).as_deref(), Some(value), "{name}");
    }
}

#[test]
fn handling_within_another_span_is_below_that_one_and_linked_to_the_enqueuing_one() {
    let spans = Spans::new();
    let ambient = Context::new().with_span(spans.tracer().start("ambient"));
    let _current = ambient.clone().attach();
    Processing::of("t", &HEADERS).tracer_provider(&spans.provider).start().done();
    let ended = spans.one();
    assert_eq!(ended.parent_span_id, ambient.span().span_context().span_id());
    assert_eq!(ended.links.links[0].span_context.span_id().to_string(), "00f067aa0ba902b7");
}

#[test]
fn a_message_without_a_trace_begins_one() {
    let spans = Spans::new();
    Processing::of("t", &[]).tracer_provider(&spans.provider).start().done();
    let ended = spans.one();
    assert!(ended.span_context.is_valid() && ended.links.links.is_empty());
}

#[test]
fn handling_that_failed_or_was_given_up_says_so() {
    let spans = Spans::new();
    let start = || Processing::of("t", &HEADERS).tracer_provider(&spans.provider).start();
    start().failed("database", "no connection");
    drop(start());
    let [failed, dropped] = &spans.ended()[..] else { panic!("two spans") };
    assert_eq!(attribute(failed, "error.type").as_deref(), Some("database"));
    assert_eq!(failed.status, Status::error("no connection"));
    assert_eq!(attribute(dropped, "error.type").as_deref(), Some("abandoned"));
    assert!(matches!(dropped.status, Status::Error { .. }));
}

#[test]
fn what_is_enqueued_while_handling_is_part_of_the_trace() {
    use eventferry_core::{Event, Interceptor as _};
    let spans = Spans::new();
    let span = Processing::of("t", &HEADERS).tracer_provider(&spans.provider).start();
    let mut event = Event::new("next", ("order", 1));
    {
        let _current = span.context().clone().attach();
        eventferry_otel::TraceCapture::new().tracer_provider(&spans.provider).intercept(&mut event).unwrap();
    }
    span.done();
    let [created, process] = &spans.ended()[..] else { panic!("two spans") };
    assert_eq!(created.parent_span_id, process.span_context.span_id());
    assert_eq!(created.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    let names: Vec<_> = event.headers.iter().map(|header| header.name.as_str()).collect();
    assert_eq!(names, ["traceparent", "baggage"]);
}
