//! Where a relay's spans go: to the collector that OpenTelemetry's own variables name, or nowhere.
//!
//! | file | what is in it |
//! |---|---|
//! | `variables.rs` | what the variables say, and what this program cannot do of it |
//! | `collector.rs` | requests to the collector, and what is said of its outages |
//! | `without.rs` | all of this in a build without the feature `otel` |

#[cfg(feature = "otel")]
mod collector;
#[cfg(feature = "otel")]
mod variables;
#[cfg(not(feature = "otel"))]
mod without;

#[cfg(feature = "otel")]
pub(crate) use exporting::Traces;
#[cfg(not(feature = "otel"))]
pub(crate) use without::Traces;

#[cfg(feature = "otel")]
mod exporting {
    use std::time::Duration;

    use eventferry::core::publisher::Publisher;
    use eventferry::otel::Traced;
    use opentelemetry::KeyValue;
    use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::collector::Collector;
    use super::variables::Variables;
    use crate::ending::Trouble;

    /// How long the end of the program waits for the last spans.
    const FLUSH_MAX: Duration = Duration::from_secs(5);

    /// What makes spans and sends them, if anything does.
    ///
    /// Spans wait in a queue of bounded length (`OTEL_BSP_MAX_QUEUE_SIZE`, 2,048) for a thread of their own, which
    /// sends them in batches: whatever the collector does, a relay never waits for it. What does not fit is dropped.
    #[derive(Clone, Debug)]
    pub(crate) struct Traces(Option<SdkTracerProvider>);

    impl Traces {
        /// As the variables say; `relay` becomes `service.instance.id`.
        ///
        /// # Errors
        /// A variable asks for what cannot be; it is named.
        pub(crate) fn begin(relay: &str) -> Result<Self, Trouble> {
            let Some(variables) = Variables::read(|name| std::env::var(name).ok())? else {
                return Ok(Self(None));
            };
            let collector = Collector::new(&variables)?;
            tracing::info!("spans of sending go to the collector at {}", variables.shown());
            let exporter = SpanExporter::builder()
                .with_http()
                .with_endpoint(variables.endpoint())
                .with_protocol(Protocol::HttpBinary)
                .with_http_client(collector)
                .build()
                // Its words repeat the URL, and with it a login.
                .map_err(|_| {
                    Trouble::usage(
                        "OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is no URL; give one like \
                         http://127.0.0.1:4318",
                    )
                })?;
            let provider = SdkTracerProvider::builder()
                .with_resource(resource(&variables, relay))
                .with_batch_exporter(exporter)
                .build();
            Ok(Self(Some(provider)))
        }

        /// `publisher`, with its sendings as spans if they go anywhere.
        pub(crate) fn of<P: Publisher>(&self, publisher: P) -> Traced<P> {
            match &self.0 {
                // A key may say who somebody is, and whoever reads spans need not be who may read events.
                Some(provider) => Traced::new(publisher).without_keys().tracer_provider(provider),
                None => Traced::off(publisher),
            }
        }

        /// Sends what is left, for at most [`FLUSH_MAX`].
        pub(crate) async fn end(self) {
            let Some(provider) = self.0 else { return };
            let flushed =
                tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_MAX)).await;
            if !matches!(flushed, Ok(Ok(()))) {
                tracing::warn!(
                    "the last spans were not all sent within {FLUSH_MAX:?}; no event is concerned"
                );
            }
        }
    }

    /// Who sends the spans: what the variables say, and what they leave open.
    fn resource(variables: &Variables, relay: &str) -> Resource {
        let mut attributes = Vec::new();
        if !variables.names("service.version") {
            attributes.push(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        }
        if !variables.names("service.instance.id") {
            attributes.push(KeyValue::new("service.instance.id", relay.to_owned()));
        }
        let resource = Resource::builder().with_attributes(attributes);
        match variables.names_service() {
            true => resource.build(),
            false => resource.with_service_name("eventferry").build(),
        }
    }
}
