//! The consumer's side: the handling of an event is a span.

use std::borrow::Cow;

use eventferry_core::MessageId;
use eventferry_core::cause::CORRELATION_ID;
use opentelemetry::global::ObjectSafeTracerProvider;
use opentelemetry::trace::{Link, SpanBuilder, SpanKind, Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};

use crate::attribute::{Attributes, ERROR_TYPE, KAFKA, Operation};
use crate::tracer::Tracer;
use crate::w3c::TraceHeaders;

/// `error.type` of a handling that was given up: the handler panicked, or its future was dropped.
const ABANDONED: &str = "abandoned";

/// The handling of a message, about to begin: what its span says.
///
/// ```
/// use eventferry_otel::Processing;
/// use opentelemetry::trace::FutureExt as _;
///
/// # async fn handle() -> Result<(), std::io::Error> { Ok(()) }
/// # async fn of(headers: &[(&str, &[u8])], message_id: eventferry_core::MessageId) -> Result<(), std::io::Error> {
/// // With eventferry's consumer: `&arrival.headers` and `arrival.message_id`.
/// let span = Processing::of("orders.created", headers)
///     .message_id(message_id)
///     .consumer_group("billing")
///     .partition(0)
///     .offset(42)
///     .start();
/// let handled = handle().with_context(span.context().clone()).await;
/// match &handled {
///     Ok(()) => span.done(),
///     Err(error) => span.failed("io", error.to_string()),
/// }
/// handled
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Processing<'a> {
    topic: &'a str,
    headers: &'a [(&'a str, &'a [u8])],
    message_id: Option<MessageId>,
    group: Option<String>,
    partition: Option<i32>,
    offset: Option<i64>,
    key: Option<&'a [u8]>,
    system: Cow<'static, str>,
    tracer: Tracer,
}

impl<'a> Processing<'a> {
    /// That of a message from `topic` with these headers, of which those are looked at that tell of traces and the
    /// `correlation-id`.
    pub fn of(topic: &'a str, headers: &'a [(&'a str, &'a [u8])]) -> Self {
        Self {
            topic,
            headers,
            message_id: None,
            group: None,
            partition: None,
            offset: None,
            key: None,
            system: Cow::Borrowed(KAFKA),
            tracer: Tracer::default(),
        }
    }

    /// Adds the message's identity, as `messaging.message.id`.
    #[must_use]
    pub fn message_id(mut self, id: MessageId) -> Self {
        self.message_id = Some(id);
        self
    }

    /// Adds who handles it, as `messaging.consumer.group.name`.
    #[must_use]
    pub fn consumer_group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Adds the partition it came from, as `messaging.destination.partition.id`.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Adds its place in the partition, as `messaging.kafka.offset`.
    #[must_use]
    pub fn offset(mut self, offset: i64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Adds its key, as `messaging.kafka.message.key`, if that is text of at most 256 bytes.
    #[must_use]
    pub fn key(mut self, key: &'a [u8]) -> Self {
        self.key = Some(key);
        self
    }

    /// Where it came from, by the name of the conventions (`messaging.system`); default `kafka`.
    #[must_use]
    pub fn system(mut self, system: impl Into<Cow<'static, str>>) -> Self {
        self.system = system.into();
        self
    }

    /// The span is made by `provider` and not by the global one.
    #[must_use]
    pub fn tracer_provider(mut self, provider: &(impl ObjectSafeTracerProvider + ?Sized)) -> Self {
        self.tracer = Tracer::of(provider);
        self
    }

    /// Begins the span "process" and the topic's name, of kind CONSUMER and linked to the span that enqueued the
    /// message. That one is its parent, too, unless a span is current: then the current one is, as the conventions
    /// recommend.
    pub fn start(self) -> ProcessingSpan {
        let trace = TraceHeaders::of(self.headers.iter().copied());
        let creation = trace.span();
        let mut attributes = Attributes::of(self.system, Operation::Process, self.topic);
        attributes.message(self.message_id);
        let story = self.headers.iter().find(|(name, _)| *name == CORRELATION_ID);
        attributes.conversation(story.map(|(_, value)| *value));
        attributes.group(self.group);
        attributes.partition(self.partition);
        attributes.offset(self.offset);
        if let Some(key) = self.key {
            attributes.key(key);
        }
        let mut builder = SpanBuilder::from_name(Operation::Process.span_name(self.topic))
            .with_kind(SpanKind::Consumer)
            .with_attributes(attributes.into_list());
        if let Some(creation) = &creation {
            builder = builder.with_links(vec![Link::with_context(creation.clone())]);
        }
        let ambient = Context::current();
        let parent = match creation {
            Some(creation) if !ambient.span().span_context().is_valid() => {
                ambient.with_remote_span_context(creation)
            }
            _ => ambient,
        };
        let parent = trace.with_baggage(&parent);
        let span = self.tracer.start(builder, &parent);
        ProcessingSpan { context: parent.with_span(span), is_over: false }
    }
}

/// A handling under way. Say how it ended: dropped without that, it counts as failed, with `abandoned` as
/// `error.type`.
#[derive(Debug)]
pub struct ProcessingSpan {
    context: Context,
    is_over: bool,
}

impl ProcessingSpan {
    /// The context to handle the message in: the span, and the message's baggage. Attach it, give it to a future
    /// (`opentelemetry::trace::FutureExt::with_context`), or to a span of tracing's (`span.set_parent(..)`): what is
    /// enqueued in it is part of the trace.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Ends the span: the message is handled.
    pub fn done(mut self) {
        self.is_over = true;
        self.context.span().end();
    }

    /// Ends the span with an error. `class` becomes `error.type`: one of few, such as a type's name or a code.
    /// `description` is for people; leave out of it what is not for those who look at traces.
    pub fn failed(mut self, class: impl Into<Cow<'static, str>>, description: impl Into<Cow<'static, str>>) {
        self.fail(class.into(), description.into());
    }

    fn fail(&mut self, class: Cow<'static, str>, description: Cow<'static, str>) {
        self.is_over = true;
        let span = self.context.span();
        span.set_attribute(KeyValue::new(ERROR_TYPE, class));
        span.set_status(Status::Error { description });
        span.end();
    }
}

impl Drop for ProcessingSpan {
    fn drop(&mut self) {
        if !self.is_over {
            self.fail(Cow::Borrowed(ABANDONED), Cow::Borrowed("the handler did not come to its end"));
        }
    }
}
