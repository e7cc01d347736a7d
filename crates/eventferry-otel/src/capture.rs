//! The application's side: an event takes the current trace along.

use std::borrow::Cow;

use eventferry_core::cause::CORRELATION_ID;
use eventferry_core::trace::{BAGGAGE, TRACEPARENT, TRACESTATE};
use eventferry_core::{EnqueueFault, Event, Header, Interceptor};
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::global::ObjectSafeTracerProvider;
use opentelemetry::trace::{Span as _, SpanBuilder, SpanContext, SpanKind, TraceContextExt as _};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::attribute::{Attributes, KAFKA, Operation};
use crate::tracer::Tracer;
use crate::{baggage, w3c};

/// Has each event carry the trace in which it is enqueued, as the W3C headers `traceparent`, `tracestate` and
/// `baggage`.
///
/// ```
/// # #[derive(Clone, Copy)] struct PostgresOutbox;
/// # impl PostgresOutbox {
/// #     fn new() -> Self { Self }
/// #     fn with<I: eventferry_core::Interceptor>(self, interceptor: I) -> eventferry_core::Intercepted<Self, I> {
/// #         eventferry_core::Intercepted::new(self, interceptor)
/// #     }
/// # }
/// use eventferry_otel::TraceCapture;
///
/// let outbox = PostgresOutbox::new().with(TraceCapture::new());
/// ```
///
/// The current context is OpenTelemetry's, else that of the current span of `tracing`, if `tracing-opentelemetry` is
/// among its subscribers. Where neither has a span, nothing is added. An event that has a `traceparent` or `tracestate`
/// of its own keeps its headers as they are.
///
/// If the trace is sampled, each event gets a span of its own, "create" and the topic's name, of kind PRODUCER and
/// without length; it is what the event names as its parent, so that each event of many is told from the others
/// ("create" in the conventions: a unique creation context for messages that are sent in batches). It says that the
/// event was handed over, not that its transaction was committed.
#[derive(Clone, Debug)]
pub struct TraceCapture {
    tracer: Tracer,
    system: Cow<'static, str>,
    creates: bool,
    takes_baggage: bool,
    shows_keys: bool,
}

impl Default for TraceCapture {
    fn default() -> Self {
        let (creates, takes_baggage, shows_keys) = (true, true, true);
        Self { tracer: Tracer::default(), system: Cow::Borrowed(KAFKA), creates, takes_baggage, shows_keys }
    }
}

impl TraceCapture {
    /// With a span for each event, by the global tracer provider; with baggage; for Kafka.
    pub fn new() -> Self {
        Self::default()
    }

    /// Spans are made by `provider` and not by the global one.
    #[must_use]
    pub fn tracer_provider(mut self, provider: &(impl ObjectSafeTracerProvider + ?Sized)) -> Self {
        self.tracer = Tracer::of(provider);
        self
    }

    /// Where the relays carry the events to, by the name of the conventions (`messaging.system`); default `kafka`.
    #[must_use]
    pub fn system(mut self, system: impl Into<Cow<'static, str>>) -> Self {
        self.system = system.into();
        self
    }

    /// Makes no span: an event's parent is the current span.
    #[must_use]
    pub fn without_spans(mut self) -> Self {
        self.creates = false;
        self
    }

    /// Leaves baggage out: it goes to whoever reads the topic. What is in it is sent as it is, up to 64 entries and
    /// 8,192 bytes; an entry for which there is no room is left out whole.
    #[must_use]
    pub fn without_baggage(mut self) -> Self {
        self.takes_baggage = false;
        self
    }

    /// Leaves messages' keys out of spans: they may say who somebody is. An event without one has its aggregate's id.
    #[must_use]
    pub fn without_keys(mut self) -> Self {
        self.shows_keys = false;
        self
    }

    /// The span that `event` names: a new one, or the current one.
    fn creation(&self, event: &Event, current: &Context) -> SpanContext {
        let span = current.span();
        if !self.creates || !span.span_context().is_sampled() {
            return span.span_context().clone();
        }
        let mut attributes = Attributes::of(self.system.clone(), Operation::Create, &event.topic);
        attributes.message(event.message_id);
        let story = event.headers.iter().find(|header| header.name == CORRELATION_ID);
        attributes.conversation(story.map(|header| header.value.as_slice()));
        attributes.partition(event.partition);
        if self.shows_keys {
            attributes.key(event.key.as_deref().unwrap_or(event.aggregate.id.as_bytes()));
        }
        attributes.tombstone(event.payload.is_none());
        let builder = SpanBuilder::from_name(Operation::Create.span_name(&event.topic))
            .with_kind(SpanKind::Producer)
            .with_attributes(attributes.into_list());
        let mut created = self.tracer.start(builder, current);
        created.end();
        match created.span_context() {
            context if context.is_valid() => context.clone(),
            // A tracer that does nothing at all.
            _ => span.span_context().clone(),
        }
    }
}

impl Interceptor for TraceCapture {
    fn intercept(&self, event: &mut Event) -> Result<(), EnqueueFault> {
        if has(event, TRACEPARENT) || has(event, TRACESTATE) {
            return Ok(());
        }
        let Some(current) = current() else { return Ok(()) };
        let span = self.creation(event, &current);
        let mut add = |name: &str, value: String| {
            event.headers.push(Header { name: name.to_owned(), value: value.into_bytes() });
        };
        add(TRACEPARENT, w3c::traceparent(&span));
        let state = span.trace_state().header();
        if !state.is_empty() {
            add(TRACESTATE, state);
        }
        if self.takes_baggage
            && !has(event, BAGGAGE)
            && let Some(baggage) = baggage::header(current.baggage())
        {
            event.headers.push(Header { name: BAGGAGE.to_owned(), value: baggage.into_bytes() });
        }
        Ok(())
    }
}

fn has(event: &Event, name: &str) -> bool {
    event.headers.iter().any(|header| header.name.eq_ignore_ascii_case(name))
}

/// The current context, if there is a span in it. OpenTelemetry's own goes first: where spans of tracing set it, as
/// they do unless told otherwise, it is the innermost of both.
fn current() -> Option<Context> {
    let has_span = |context: &Context| context.span().span_context().is_valid();
    let current = Context::current();
    if has_span(&current) {
        return Some(current);
    }
    Some(tracing::Span::current().context()).filter(has_span)
}
