//! What an event takes along.

use std::convert::Infallible;
use std::sync::Mutex;

use eventferry_core::{Enqueue, EnqueueFault, Event, Intercepted, Interceptor, MessageId};
use eventferry_otel::{TraceCapture, extract};
use opentelemetry::baggage::{Baggage, BaggageExt as _};
use opentelemetry::trace::{SpanKind, TraceContextExt as _, TraceFlags, Tracer as _};
use opentelemetry::{Context, trace::SpanContext};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::spans::{Spans, attribute, remote};

fn event() -> Event {
    Event::new("orders.created", ("order", 42)).payload("{}", "application/json")
}

fn header(event: &Event, name: &str) -> Option<String> {
    let mut found = event.headers.iter().filter(|header| header.name == name);
    let value = found.next().map(|header| String::from_utf8(header.value.clone()).unwrap());
    assert!(found.next().is_none(), "{name} is there twice");
    value
}

/// The span that an event names.
fn named(event: &Event) -> SpanContext {
    let headers = event.headers.iter().map(|header| (header.name.as_str(), header.value.as_slice()));
    extract(headers).span().span_context().clone()
}

/// What becomes of an event that is enqueued now.
fn enqueued(capture: &TraceCapture, mut event: Event) -> Event {
    capture.intercept(&mut event).unwrap();
    event
}

#[test]
fn an_event_names_a_span_of_its_own_below_the_current_one() {
    let spans = Spans::new();
    let capture = TraceCapture::new().tracer_provider(&spans.provider);
    let parent = spans.tracer().start("handler");
    let context = Context::new().with_span(parent);
    let _current = context.clone().attach();
    let id = MessageId([7; 16]);
    let enqueued = enqueued(&capture, event().message_id(id).correlation_id("story").partition(3));

    let created = spans.one();
    assert_eq!(
        (created.name.as_ref(), created.span_kind.clone()),
        ("create orders.created", SpanKind::Producer)
    );
    assert_eq!(created.parent_span_id, context.span().span_context().span_id());
    assert_eq!(created.span_context.trace_id(), context.span().span_context().trace_id());
    for (name, value) in [
        ("messaging.system", "kafka"),
        ("messaging.operation.name", "create"),
        ("messaging.operation.type", "create"),
        ("messaging.destination.name", "orders.created"),
        ("messaging.destination.partition.id", "3"),
        ("messaging.message.id", &id.to_string()),
        ("messaging.message.conversation_id", "story"),
        ("messaging.kafka.message.key", "42"),
    ] {
        assert_eq!(attribute(&created, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(attribute(&created, "messaging.kafka.message.tombstone"), None);
    let named = named(&enqueued);
    assert_eq!(named.span_id(), created.span_context.span_id());
    assert!(named.is_sampled());
    assert_eq!(
        header(&enqueued, "traceparent").unwrap(),
        format!("00-{}-{}-01", created.span_context.trace_id(), created.span_context.span_id())
    );
}

#[test]
fn an_event_names_the_current_span_if_it_is_to_have_none_of_its_own() {
    let spans = Spans::new();
    let capture = TraceCapture::new().tracer_provider(&spans.provider).without_spans();
    let _current = remote(TraceFlags::SAMPLED).attach();
    let enqueued = enqueued(&capture, event());
    assert!(spans.ended().is_empty());
    assert_eq!(
        header(&enqueued, "traceparent").as_deref(),
        Some("00-00000000000000000000000000000af7-000000000000b7ad-01")
    );
    assert_eq!(header(&enqueued, "tracestate").as_deref(), Some("vendor=1"));
}

#[test]
fn an_event_names_the_current_span_where_nobody_makes_spans() {
    // No global provider is set in this program.
    let _current = remote(TraceFlags::SAMPLED).attach();
    let enqueued = enqueued(&TraceCapture::new(), event());
    assert_eq!(
        header(&enqueued, "traceparent").as_deref(),
        Some("00-00000000000000000000000000000af7-000000000000b7ad-01")
    );
}

#[test]
fn a_trace_that_is_not_sampled_goes_on_and_has_no_spans() {
    let spans = Spans::new();
    let capture = TraceCapture::new().tracer_provider(&spans.provider);
    let _current = remote(TraceFlags::default()).attach();
    let enqueued = enqueued(&capture, event());
    assert!(spans.ended().is_empty());
    assert_eq!(
        header(&enqueued, "traceparent").as_deref(),
        Some("00-00000000000000000000000000000af7-000000000000b7ad-00")
    );
}

#[test]
fn the_current_span_of_tracing_is_the_current_one() {
    for activates in [true, false] {
        let spans = Spans::new();
        let capture = TraceCapture::new().tracer_provider(&spans.provider);
        let layer = tracing_opentelemetry::layer().with_tracer(spans.tracer());
        let layer = layer.with_context_activation(activates);
        let subscriber = tracing_subscriber::registry().with(layer);
        let enqueued = tracing::subscriber::with_default(subscriber, || {
            let outer = tracing::info_span!("outer").entered();
            let inner = tracing::info_span!("inner").entered();
            let enqueued = enqueued(&capture, event());
            drop(inner);
            drop(outer);
            enqueued
        });
        let ended = spans.ended();
        let of = |name: &str| ended.iter().find(|span| span.name == name).unwrap();
        let (created, inner) = (of("create orders.created"), of("inner"));
        assert_eq!(created.parent_span_id, inner.span_context.span_id(), "{activates}");
        assert_eq!(named(&enqueued).span_id(), created.span_context.span_id());
        assert_eq!(named(&enqueued).trace_id(), of("outer").span_context.trace_id());
    }
}

#[test]
fn an_event_with_a_context_of_its_own_keeps_it() {
    let spans = Spans::new();
    let capture = TraceCapture::new().tracer_provider(&spans.provider);
    let _current = remote(TraceFlags::SAMPLED).with_baggage(baggage()).attach();
    let of_another = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for event in [
        event().traceparent(of_another),
        event().header("Traceparent", "no"),
        event().header("tracestate", "a=1"),
    ] {
        assert_eq!(enqueued(&capture, event.clone()), event);
    }
    assert!(spans.ended().is_empty());
}

#[test]
fn without_a_span_nothing_is_added() {
    let spans = Spans::new();
    let capture = TraceCapture::new().tracer_provider(&spans.provider);
    assert_eq!(enqueued(&capture, event()), event());
    let _current = Context::new().with_baggage(baggage()).attach();
    assert_eq!(enqueued(&capture, event()), event());
    assert!(spans.ended().is_empty());
}

fn baggage() -> Baggage {
    let mut baggage = Baggage::new();
    baggage.insert("tenant", "acme & sons");
    baggage
}

#[test]
fn baggage_comes_along_unless_it_is_not_wanted() {
    let _current = remote(TraceFlags::SAMPLED).with_baggage(baggage()).attach();
    let of = |capture: TraceCapture| header(&enqueued(&capture, event()), "baggage");
    assert_eq!(of(TraceCapture::new()).as_deref(), Some("tenant=acme%20%26%20sons"));
    assert_eq!(of(TraceCapture::new().without_baggage()), None);
    let own = enqueued(&TraceCapture::new(), event().header("baggage", "own=1"));
    assert_eq!(header(&own, "baggage").as_deref(), Some("own=1"));
}

#[test]
fn baggage_is_never_longer_than_everybody_carries() {
    let mut big = baggage();
    for name in ["a", "b", "c"] {
        big.insert(name, "\u{1f}".repeat(2500));
    }
    assert_eq!(big.len(), 4);
    let _current = remote(TraceFlags::SAMPLED).with_baggage(big).attach();
    let text = header(&enqueued(&TraceCapture::new(), event()), "baggage").unwrap();
    assert!(text.len() <= 8192 && text.starts_with("a=%1F") && text.ends_with(",tenant=acme%20%26%20sons"));
}

/// An outbox that keeps what is appended.
#[derive(Default)]
struct Kept(Mutex<Vec<Event>>);

impl Enqueue<()> for Kept {
    async fn enqueue(&self, (): &mut (), events: &[Event]) -> Result<Vec<MessageId>, EnqueueFault> {
        self.0.lock().unwrap().extend_from_slice(events);
        Ok(vec![MessageId([1; 16]); events.len()])
    }
}

#[tokio::test]
async fn each_event_of_many_names_a_span_of_its_own() {
    let spans = Spans::new();
    let capture = TraceCapture::new().tracer_provider(&spans.provider);
    let outbox = Intercepted::new(Kept::default(), capture);
    let work = async {
        outbox.enqueue_many(&mut (), [event(), event()]).await.unwrap();
        Ok::<_, Infallible>(())
    };
    let context = remote(TraceFlags::SAMPLED);
    opentelemetry::trace::FutureExt::with_context(work, context).await.unwrap();
    let kept = outbox.outbox().0.lock().unwrap();
    let named: Vec<_> = kept.iter().map(|event| named(event).span_id()).collect();
    let created: Vec<_> = spans.ended().iter().map(|span| span.span_context.span_id()).collect();
    assert_eq!(named, created);
    assert!(named.len() == 2 && named[0] != named[1]);
}
