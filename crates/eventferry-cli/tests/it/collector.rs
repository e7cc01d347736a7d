//! An OpenTelemetry collector in the test's own process: takes OTLP over HTTP, and keeps the spans.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::runtime::Runtime;

use crate::program::{PATIENCE, within};

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Takes,
    /// It answers 503.
    Refuses,
    /// It answers nothing until its mood changes.
    Hangs,
}

/// A collector on loopback, until it is dropped.
pub(crate) struct Collector {
    address: SocketAddr,
    kept: Arc<Kept>,
    _runtime: Runtime,
}

struct Kept {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    mood: Mood,
    requests: usize,
    spans: Vec<Collected>,
    /// The header `api-key` of each request, if it had one.
    keys: Vec<String>,
}

/// A span as it came, with what its resource says.
#[derive(Clone, Debug)]
pub(crate) struct Collected {
    pub(crate) span: Span,
    pub(crate) resource: Vec<KeyValue>,
    pub(crate) scope: String,
}

impl Collector {
    pub(crate) fn new() -> Self {
        let state = State { mood: Mood::Takes, requests: 0, spans: Vec::new(), keys: Vec::new() };
        let kept = Arc::new(Kept { state: Mutex::new(state), changed: Condvar::new() });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let of_requests = Arc::clone(&kept);
        let take = move |headers: HeaderMap, body: Bytes| {
            let kept = Arc::clone(&of_requests);
            // It may wait for another mood.
            async move { tokio::task::spawn_blocking(move || kept.take(&headers, &body)).await.unwrap() }
        };
        let router = Router::new().route("/v1/traces", post(take));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { address, kept, _runtime: runtime }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is to say.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.kept.state().mood = mood;
        self.kept.changed.notify_all();
    }

    /// How many requests have come.
    pub(crate) fn requests(&self) -> usize {
        self.kept.state().requests
    }

    /// The header `api-key` of each request that had one.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.kept.state().keys.clone()
    }

    /// The spans that it took.
    pub(crate) fn spans(&self) -> Vec<Collected> {
        self.kept.state().spans.clone()
    }

    /// Waits for the span of this name.
    #[track_caller]
    pub(crate) fn span(&self, name: &str) -> Collected {
        within(PATIENCE, || self.spans().into_iter().find(|collected| collected.span.name == name))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Whoever waits for another mood goes on.
        self.is(Mood::Refuses);
    }
}

impl Kept {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn take(&self, headers: &HeaderMap, body: &[u8]) -> StatusCode {
        let mut state = self.state();
        state.requests += 1;
        while state.mood == Mood::Hangs {
            state = self.changed.wait(state).unwrap();
        }
        if state.mood == Mood::Refuses {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        assert_eq!(headers["content-type"], "application/x-protobuf");
        state.keys.extend(headers.get("api-key").map(|key| key.to_str().unwrap().to_owned()));
        for resource in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            for scope in resource.scope_spans {
                let name = scope.scope.unwrap_or_default().name;
                let collected = |span| Collected { span, resource: attributes.clone(), scope: name.clone() };
                state.spans.extend(scope.spans.into_iter().map(collected));
            }
        }
        StatusCode::OK
    }
}

impl Collected {
    /// A span attribute's value as text.
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        text(&self.span.attributes, name)
    }

    /// A resource attribute's value as text.
    pub(crate) fn resource(&self, name: &str) -> Option<String> {
        text(&self.resource, name)
    }
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()? {
        AnyValue { value: Some(Value::StringValue(text)) } => Some(text.clone()),
        AnyValue { value: Some(Value::IntValue(number)) } => Some(number.to_string()),
        AnyValue { value: Some(Value::BoolValue(truth)) } => Some(truth.to_string()),
        _ => None,
    }
}
