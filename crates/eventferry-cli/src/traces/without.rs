//! A build without the feature `otel`: spans go nowhere.

use eventferry::core::publisher::Publisher;

use crate::ending::Trouble;

/// What makes spans: nothing.
#[derive(Clone, Debug)]
pub(crate) struct Traces;

impl Traces {
    /// Says so if a collector is named.
    pub(crate) fn begin(_: &str) -> Result<Self, Trouble> {
        for name in ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"] {
            if std::env::var_os(name).is_some_and(|value| !value.is_empty()) {
                tracing::warn!(
                    "{name} is set, and this program was built without the feature `otel`: no spans"
                );
            }
        }
        Ok(Self)
    }

    /// The publisher as it is.
    pub(crate) fn of<P: Publisher>(&self, publisher: P) -> P {
        publisher
    }

    /// Nothing is left.
    pub(crate) async fn end(self) {}
}
