//! A context as headers, and headers as a context: W3C trace context and baggage.
//!
//! By hand, and not by the program's propagator: that one may write headers of another standard, or none, and what is
//! stored is read by whoever consumes it. The SDK has the standard's, but who embeds this brings an SDK of their own.

use std::str::FromStr as _;

use eventferry_core::trace::{BAGGAGE, TRACEPARENT, TRACESTATE, TraceParent};
use opentelemetry::Context;
use opentelemetry::baggage::{BaggageExt as _, KeyValueMetadata};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};

use crate::baggage;

/// The header `traceparent` of a span, version 00. Of the flags only `sampled` is told, for others speak of how the
/// trace's id was made.
pub(crate) fn traceparent(span: &SpanContext) -> String {
    let flags = u8::from(span.is_sampled());
    format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id())
}

/// The span that a `traceparent` names, as one of another process.
pub(crate) fn span_context(parent: TraceParent, state: &str) -> SpanContext {
    let TraceParent { trace_id, parent_id, sampled } = parent;
    let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    // What cannot be read of the vendors' part does not make the rest worthless: so the standard says.
    let state = TraceState::from_str(state).unwrap_or_default();
    SpanContext::new(TraceId::from_bytes(trace_id), SpanId::from_bytes(parent_id), flags, true, state)
}

/// What a message's headers say of its trace, collected from one walk over them.
#[derive(Debug, Default)]
pub(crate) struct TraceHeaders {
    parent: Option<TraceParent>,
    /// A second `traceparent`, or one that is none.
    spoilt: bool,
    state: String,
    baggage: String,
}

impl TraceHeaders {
    pub(crate) fn of<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut found = Self::default();
        headers.into_iter().for_each(|(name, value)| found.see(name, value));
        found
    }

    /// Takes a header in. Names of headers differ in case between programs; values that are no text are none.
    pub(crate) fn see(&mut self, name: &str, value: &[u8]) {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        if is(TRACEPARENT) {
            self.spoilt |= self.parent.is_some();
            self.parent = TraceParent::parse(value);
            self.spoilt |= self.parent.is_none();
        } else if is(TRACESTATE) {
            join(&mut self.state, value);
        } else if is(BAGGAGE) {
            join(&mut self.baggage, value);
        }
    }

    /// The span of whoever enqueued the message. Without exactly one good `traceparent` there is none.
    pub(crate) fn span(&self) -> Option<SpanContext> {
        self.parent.filter(|_| !self.spoilt).map(|parent| span_context(parent, &self.state))
    }

    /// `context` with what came along with the message.
    pub(crate) fn with_baggage(&self, context: &Context) -> Context {
        match baggage::read(&self.baggage) {
            read if read.is_empty() => context.clone(),
            read => {
                // What is there already stays, unless the message says otherwise.
                let all = context.baggage().iter().chain(read.iter()).map(|(key, (value, metadata))| {
                    KeyValueMetadata::new(key.clone(), value.clone(), metadata.clone())
                });
                context.with_baggage(all.collect::<Vec<_>>())
            }
        }
    }
}

/// Several headers of one name are one list.
fn join(list: &mut String, value: &[u8]) {
    let Ok(value) = std::str::from_utf8(value) else { return };
    if !list.is_empty() {
        list.push(',');
    }
    list.push_str(value);
}

/// The OpenTelemetry context that a message's headers name: the span of whoever enqueued it, as a remote one, and its
/// baggage. Without either it is `Context::new()`.
///
/// For spans of one's own: `tracing_opentelemetry`'s `span.set_parent(extract(..))`, or a `Link` to
/// `extract(..).span().span_context()`. [`Processing`](crate::Processing) makes the span that the conventions ask for.
///
/// ```
/// use eventferry_otel::extract;
/// use opentelemetry::trace::TraceContextExt as _;
///
/// let headers = [("traceparent", &b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"[..])];
/// let context = extract(headers);
/// assert_eq!(context.span().span_context().trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// ```
pub fn extract<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Context {
    let headers = TraceHeaders::of(headers);
    let context = match headers.span() {
        Some(span) => Context::new().with_remote_span_context(span),
        None => Context::new(),
    };
    headers.with_baggage(&context)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_span_comes_back_as_it_was_written() {
        let headers = [
            ("Traceparent", PARENT.as_bytes()),
            ("tracestate", b"a=1"),
            ("tracestate", b"b=2"),
            ("baggage", b"tenant=acme"),
            ("baggage", b"x=%20"),
        ];
        let context = extract(headers);
        let span = context.span().span_context().clone();
        assert!(span.is_valid() && span.is_remote() && span.is_sampled());
        assert_eq!(traceparent(&span), PARENT);
        assert_eq!(span.trace_state().header(), "a=1,b=2");
        assert_eq!(context.baggage().get("tenant").map(|value| value.as_str()), Some("acme"));
        assert_eq!(context.baggage().get("x").map(|value| value.as_str()), Some(" "));
    }

    #[test]
    fn without_exactly_one_good_traceparent_there_is_no_span() {
        let good = ("traceparent", PARENT.as_bytes());
        for bad in [&[][..], &[good, good], &[good, ("traceparent", b"00")], &[("traceparent", b"00"), good]]
        {
            assert!(!extract(bad.iter().copied()).span().span_context().is_valid(), "{bad:?}");
        }
        let vendors = extract([good, ("tracestate", b"no state")]);
        assert!(vendors.span().span_context().is_valid());
    }
}
