//! Who makes the spans.

use std::fmt;
use std::sync::Arc;

use opentelemetry::global::{self, BoxedSpan, BoxedTracer, ObjectSafeTracerProvider};
use opentelemetry::trace::{SpanBuilder, Tracer as _};
use opentelemetry::{Context, InstrumentationScope};

/// A tracer under this crate's name: that of the provider that was given, else of the global one.
///
/// The global one is asked for each time it is needed, for a program may set it after it has made its outbox or relay.
#[derive(Clone, Default)]
pub(crate) struct Tracer {
    given: Option<Arc<BoxedTracer>>,
}

impl Tracer {
    pub(crate) fn of(provider: &(impl ObjectSafeTracerProvider + ?Sized)) -> Self {
        Self { given: Some(Arc::new(BoxedTracer::new(provider.boxed_tracer(scope())))) }
    }

    /// The same, looked up once: for those who make many spans.
    pub(crate) fn settled(&self) -> Self {
        let given = self.given.clone();
        Self { given: Some(given.unwrap_or_else(|| Arc::new(global::tracer_with_scope(scope())))) }
    }

    pub(crate) fn start(&self, builder: SpanBuilder, parent: &Context) -> BoxedSpan {
        match &self.given {
            Some(tracer) => tracer.build_with_context(builder, parent),
            None => global::tracer_with_scope(scope()).build_with_context(builder, parent),
        }
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url("https://opentelemetry.io/schemas/1.44.0")
        .build()
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.given.is_some() { "Tracer(given)" } else { "Tracer(global)" })
    }
}
