//! W3C trace context, as far as a consumer needs it to go on with a trace.

use std::borrow::Cow;

use eventferry_core::trace::{TRACEPARENT, TRACESTATE, TraceParent};

/// A place in a trace, as the headers `traceparent` and `tracestate` name it
/// (<https://www.w3.org/TR/trace-context/>). Hand both texts to a propagator, or use the ids as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceContext<'a> {
    /// The header as it was sent.
    pub traceparent: &'a str,
    /// The vendors' part, in the order of the headers, joined by commas if there were several; `None`: there was
    /// none, or it is no text.
    pub tracestate: Option<Cow<'a, str>>,
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span of whoever enqueued the event.
    pub parent_id: [u8; 8],
    /// Whether the trace is recorded: the flag `sampled`.
    pub sampled: bool,
}

impl<'a> TraceContext<'a> {
    /// The context that these headers name. Without exactly one good `traceparent` there is none, and a new trace
    /// begins: so the standard says.
    pub(crate) fn of(headers: &[(&'a str, &'a [u8])]) -> Option<Self> {
        // Names of headers differ in case between programs.
        let named = |name: &'static str| {
            let of_name = move |(found, _): &&(&str, &[u8])| found.eq_ignore_ascii_case(name);
            headers.iter().filter(of_name).map(|(_, value)| *value)
        };
        let mut parents = named(TRACEPARENT);
        let (Some(traceparent), None) = (parents.next(), parents.next()) else { return None };
        let traceparent = std::str::from_utf8(traceparent).ok()?;
        let TraceParent { trace_id, parent_id, sampled } = TraceParent::parse(traceparent.as_bytes())?;
        let states: Option<Vec<_>> = named(TRACESTATE).map(|value| std::str::from_utf8(value).ok()).collect();
        let tracestate = match states.unwrap_or_default()[..] {
            [] => None,
            [state] => Some(state.into()),
            ref states => Some(states.join(",").into()),
        };
        Some(Self { traceparent, tracestate, trace_id, parent_id, sampled })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_goes_on_from_its_headers() {
        let headers =
            [("tracestate", &b"a=1"[..]), ("Traceparent", PARENT.as_bytes()), ("tracestate", b"b=2")];
        let trace = TraceContext::of(&headers).unwrap();
        assert_eq!((trace.traceparent, trace.sampled), (PARENT, true));
        assert_eq!(trace.tracestate.as_deref(), Some("a=1,b=2"));
        assert_eq!((trace.trace_id[0], trace.trace_id[15]), (0x4b, 0x36));
        assert_eq!((trace.parent_id[0], trace.parent_id[7]), (0x00, 0xb7));
        assert_eq!(TraceContext::of(&headers[1..2]).unwrap().tracestate, None);
        assert_eq!(TraceContext::of(&headers[1..]).unwrap().tracestate.as_deref(), Some("b=2"));
        let without = [("traceparent", PARENT.as_bytes()), ("tracestate", &[255])];
        assert_eq!(TraceContext::of(&without).unwrap().tracestate, None);
    }

    #[test]
    fn what_is_no_context_begins_a_new_trace() {
        let of = |parent: &[u8]| TraceContext::of(&[("traceparent", parent)]).map(|trace| trace.sampled);
        assert_eq!(of(PARENT.as_bytes()), Some(true));
        assert_eq!(of(PARENT.to_uppercase().as_bytes()), None);
        assert_eq!(of(&[255]), None);
        let twice = [("traceparent", PARENT.as_bytes()), ("traceparent", PARENT.as_bytes())];
        assert_eq!(TraceContext::of(&twice), None);
        assert_eq!(TraceContext::of(&[]), None);
    }
}
