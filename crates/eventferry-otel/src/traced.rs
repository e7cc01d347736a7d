//! The relay's side: a publisher whose sendings are spans.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use eventferry_core::cause::CORRELATION_ID;
use eventferry_core::publisher::{
    Abilities, Domain, Outcome, Publisher, Report, Role, Route, Session, Taken, Token,
};
use eventferry_core::trace::{TRACEPARENT, TraceParent};
use eventferry_core::{Envelope, OutboxId, PublishFault, PublishFaultKind, Stamp};
use opentelemetry::global::{BoxedSpan, ObjectSafeTracerProvider};
use opentelemetry::trace::{Link, Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};

use crate::attribute::{Attributes, ERROR_TYPE, KAFKA, Operation};
use crate::tracer::Tracer;
use crate::w3c::TraceHeaders;

/// `error.type` of a sending that may or may not have reached the broker; it is made again.
const UNCERTAIN: &str = "uncertain";

/// A publisher that makes a span of each sending of an event whose trace is sampled, from handing it over to the
/// broker's answer.
///
/// ```
/// use eventferry_otel::Traced;
/// # use eventferry_core::publisher::Publisher;
/// # fn relay<P: Publisher>(publisher: P) {
/// let publisher = Traced::new(publisher);
/// # drop(publisher);
/// # }
/// ```
///
/// The span is "send" and the topic's name, a child of the span that enqueued the event and linked to it, of kind
/// CLIENT, for the event was created elsewhere. The message's headers stay as they are: who consumes it goes on from
/// where it was enqueued. A refused sending ends with the status error and the fault's class as `error.type`, one whose
/// outcome nobody knows with `uncertain`; an event that is sent again has a span for each sending. Dead letters have
/// spans too. In transactions the answer is that the broker has the message, not yet that it is committed.
///
/// An event without a sampled `traceparent` costs a walk over its headers' names and nothing else. Spans are kept for
/// what is in flight, and for nothing else.
///
/// Where there is a serializer, this is the publisher behind it: `.publisher(Traced::new(kafka)).serializer(avro)`.
pub struct Traced<P> {
    publisher: P,
    /// `None`: no spans.
    tracing: Option<Tracing>,
}

/// What makes the spans.
#[derive(Clone, Debug)]
struct Tracing {
    tracer: Tracer,
    system: Cow<'static, str>,
    has_keys: bool,
}

impl<P> Traced<P> {
    /// `publisher`, with spans by the global tracer provider as it is when a session is opened; for Kafka.
    pub fn new(publisher: P) -> Self {
        let tracing = Tracing { tracer: Tracer::default(), system: Cow::Borrowed(KAFKA), has_keys: true };
        Self { publisher, tracing: Some(tracing) }
    }

    /// `publisher`, without spans: for programs that decide when they start.
    pub fn off(publisher: P) -> Self {
        Self { publisher, tracing: None }
    }

    /// Spans are made by `provider` and not by the global one.
    #[must_use]
    pub fn tracer_provider(self, provider: &(impl ObjectSafeTracerProvider + ?Sized)) -> Self {
        self.but(|tracing| tracing.tracer = Tracer::of(provider))
    }

    /// What the publisher speaks to, by the name of the conventions (`messaging.system`); default `kafka`.
    #[must_use]
    pub fn system(self, system: impl Into<Cow<'static, str>>) -> Self {
        self.but(|tracing| tracing.system = system.into())
    }

    /// Leaves out `messaging.kafka.message.key`, where keys are not for those who look at traces. Otherwise a key that
    /// is text of at most 256 bytes is told.
    #[must_use]
    pub fn without_keys(self) -> Self {
        self.but(|tracing| tracing.has_keys = false)
    }

    fn but(mut self, change: impl FnOnce(&mut Tracing)) -> Self {
        self.tracing.as_mut().map(change);
        self
    }

    fn session<T>(&self, session: T) -> TracedSession<T> {
        let tracing = self.tracing.as_ref().map(|tracing| Tracing {
            // Looked up once a session.
            tracer: tracing.tracer.settled(),
            ..tracing.clone()
        });
        TracedSession { session, tracing, flights: Flights::default() }
    }
}

impl<P: fmt::Debug> fmt::Debug for Traced<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traced").field("publisher", &self.publisher).field("tracing", &self.tracing).finish()
    }
}

impl<P: Publisher> Publisher for Traced<P> {
    type Session = TracedSession<P::Session>;

    fn abilities(&self) -> Abilities {
        self.publisher.abilities()
    }

    async fn connect(&self, role: Role) -> Result<Self::Session, PublishFault> {
        Ok(self.session(self.publisher.connect(role).await?))
    }

    async fn take_over(&self, outbox: &OutboxId) -> Result<(Self::Session, Option<Stamp>), PublishFault> {
        let (session, stamp) = self.publisher.take_over(outbox).await?;
        Ok((self.session(session), stamp))
    }

    async fn learn(&self, topic: &str) -> Result<(), PublishFault> {
        self.publisher.learn(topic).await
    }

    fn route(&self, envelope: &Envelope<'_>) -> Route {
        self.publisher.route(envelope)
    }
}

/// A session of [`Traced`].
pub struct TracedSession<T> {
    session: T,
    tracing: Option<Tracing>,
    flights: Flights,
}

impl<T: fmt::Debug> fmt::Debug for TracedSession<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedSession").field("session", &self.session).finish_non_exhaustive()
    }
}

impl<T: Session> Session for TracedSession<T> {
    fn send(&mut self, token: Token, domain: Domain, envelope: &Envelope<'_>) -> Taken {
        let taken = self.session.send(token, domain, envelope);
        if let Some(tracing) = &self.tracing
            && taken == Taken::Yes
            && is_sampled(envelope)
            && let Some(span) = tracing.span(envelope)
        {
            self.flights.begin(token, span);
        }
        taken
    }

    fn begin(&mut self, token: Token, stamp: Stamp) -> Taken {
        self.session.begin(token, stamp)
    }

    fn commit(&mut self, token: Token) {
        self.session.commit(token);
    }

    fn abort(&mut self, token: Token) {
        self.session.abort(token);
    }

    async fn reports(&mut self, into: &mut Vec<Report>) {
        let before = into.len();
        self.session.reports(into).await;
        self.flights.end(&into[before..]);
    }

    fn abandon(self, within: Duration) -> impl Future<Output = Vec<Report>> + Send {
        let Self { session, mut flights, .. } = self;
        async move {
            let reports = session.abandon(within).await;
            flights.end(&reports);
            reports
        }
    }
}

/// Whether the envelope's trace is recorded: a walk over the names of its own headers, without allocating.
fn is_sampled(envelope: &Envelope<'_>) -> bool {
    let mut sampled = false;
    let mut look = |name: &str, value: &[u8]| {
        if name.len() == TRACEPARENT.len() && name.eq_ignore_ascii_case(TRACEPARENT) {
            sampled = TraceParent::parse(value).is_some_and(|parent| parent.sampled);
        }
    };
    match envelope.event() {
        Some(row) => row.headers(&mut look),
        None => envelope.headers(look),
    }
    sampled
}

impl Tracing {
    /// The span of a sending that has just begun; `None`: the headers name no one span after all.
    fn span(&self, envelope: &Envelope<'_>) -> Option<BoxedSpan> {
        let mut trace = TraceHeaders::default();
        let (mut message_id, mut story) = (None, None);
        envelope.headers(|name, value| {
            trace.see(name, value);
            match name {
                // The first one is the message's own; whatever else is called so is the application's.
                "message-id" if message_id.is_none() => {
                    message_id = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                }
                CORRELATION_ID if story.is_none() => story = Some(value.to_vec()),
                _ => {}
            }
        });
        let creation = trace.span()?;
        let topic = envelope.topic();
        let mut attributes = Attributes::of(self.system.clone(), Operation::Send, topic);
        attributes.message(message_id);
        attributes.conversation(story.as_deref());
        attributes.partition(envelope.partition());
        if self.has_keys {
            attributes.key(envelope.key());
        }
        attributes.tombstone(envelope.payload().is_none());
        let builder = SpanBuilder::from_name(Operation::Send.span_name(topic))
            .with_kind(SpanKind::Client)
            .with_attributes(attributes.into_list())
            .with_links(vec![Link::with_context(creation.clone())]);
        Some(self.tracer.start(builder, &Context::new().with_remote_span_context(creation)))
    }
}

/// The spans of what is in flight.
#[derive(Default)]
struct Flights(HashMap<Token, BoxedSpan>);

impl Flights {
    fn begin(&mut self, token: Token, span: BoxedSpan) {
        // Only for one that is recorded there is something to wait for.
        if span.is_recording() {
            self.0.insert(token, span);
        }
    }

    fn end(&mut self, reports: &[Report]) {
        if self.0.is_empty() {
            return;
        }
        for Report { token, outcome } in reports {
            if let Some(span) = self.0.remove(token) {
                end(span, outcome);
            }
        }
    }
}

/// What is in flight when a session is dropped, nobody knows the outcome of.
impl Drop for Flights {
    fn drop(&mut self) {
        self.0.drain().for_each(|(_, span)| end(span, &Outcome::Uncertain));
    }
}

fn end(mut span: BoxedSpan, outcome: &Outcome) {
    let failed = match outcome {
        Outcome::Acknowledged => None,
        Outcome::Refused(fault) => Some((class(fault), Cow::Owned(fault.message().to_owned()))),
        Outcome::Uncertain => Some((UNCERTAIN, Cow::Borrowed("the broker may or may not have it"))),
    };
    if let Some((class, description)) = failed {
        span.set_attribute(KeyValue::new(ERROR_TYPE, class));
        span.set_status(Status::Error { description });
    }
    span.end();
}

/// A fault's class; where it has none, its kind, for few are better than many.
fn class(fault: &PublishFault) -> &'static str {
    fault.class().unwrap_or_else(|| match fault.kind() {
        PublishFaultKind::Unavailable => "unavailable",
        PublishFaultKind::Throttled(_) => "throttled",
        PublishFaultKind::Rejected => "rejected",
        PublishFaultKind::TopicRefused => "topic_refused",
        PublishFaultKind::Fenced => "fenced",
        PublishFaultKind::Misconfigured => "misconfigured",
        _ => "_OTHER",
    })
}
