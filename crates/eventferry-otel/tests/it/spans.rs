//! An SDK that keeps the spans of one test.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState, TracerProvider as _};
use opentelemetry::{Context, trace::TraceContextExt as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracer, SdkTracerProvider, SpanData};

pub(crate) struct Spans {
    pub(crate) provider: SdkTracerProvider,
    kept: InMemorySpanExporter,
}

impl Spans {
    pub(crate) fn new() -> Self {
        let kept = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
        Self { provider, kept }
    }

    pub(crate) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("test")
    }

    /// Those that have ended, in that order.
    pub(crate) fn ended(&self) -> Vec<SpanData> {
        self.kept.get_finished_spans().unwrap()
    }

    /// The only one that has ended.
    #[track_caller]
    pub(crate) fn one(&self) -> SpanData {
        let mut ended = self.ended();
        assert_eq!(ended.len(), 1, "{ended:#?}");
        ended.remove(0)
    }
}

/// An attribute's value as text.
pub(crate) fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| attribute.value.to_string())
}

/// A span of another process, current.
pub(crate) fn remote(flags: TraceFlags) -> Context {
    let state = "vendor=1".parse::<TraceState>().unwrap();
    let span = SpanContext::new(TraceId::from(0x0af7), SpanId::from(0xb7ad), flags, true, state);
    Context::new().with_remote_span_context(span)
}
