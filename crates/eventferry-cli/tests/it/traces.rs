//! One trace: from an HTTP handler through the database and Kafka into a consumer, as a collector sees it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use eventferry::consumer::Arrival;
use eventferry::core::Intercepted;
use eventferry::otel::{Processing, TraceCapture, extract};
use eventferry::postgres::PostgresOutbox;
use eventferry::{Event, Json as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use rdkafka::Message as _;
use tokio::net::TcpListener;
use tokio_postgres::NoTls;
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::collector::{Collected, Collector};
use crate::kafka::{self, Topic, header};
use crate::postgres::Database;
use crate::program::Program;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const BROWSER: &str = "00f067aa0ba902b7";

/// A small HTTP client for an exporter.
#[derive(Debug)]
struct Client(ureq::Agent);

impl HttpClient for Client {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let answer = self.0.run(Request::from_parts(parts, &body[..]))?;
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = answer.status();
            Ok(response)
        })
    }
}

/// A service's SDK, whose spans go to the collector.
fn sdk(collector: &Collector, service: &'static str) -> SdkTracerProvider {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", collector.endpoint()))
        .with_http_client(Client(ureq::Agent::new_with_defaults()))
        .build()
        .unwrap();
    let resource = Resource::builder().with_service_name(service).build();
    SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build()
}

/// A shop that takes orders over HTTP.
#[derive(Clone)]
struct Shop {
    outbox: Arc<Intercepted<PostgresOutbox, TraceCapture>>,
    url: String,
    topic: String,
}

impl Shop {
    async fn order(&self, id: i64) -> Result<(), Box<dyn std::error::Error>> {
        let (mut client, connection) = tokio_postgres::connect(&self.url, NoTls).await?;
        tokio::spawn(connection);
        let mut tx = client.transaction().await?;
        let event = Event::new(&self.topic, ("order", id)).json(&serde_json::json!({ "total": 7 }))?;
        self.outbox.enqueue(&mut tx, event).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// `POST /orders/{id}`, in a span below the caller's.
async fn place(State(shop): State<Shop>, Path(id): Path<i64>, headers: HeaderMap) -> StatusCode {
    let span = tracing::info_span!("POST /orders/{id}", otel.kind = "server");
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    span.set_parent(extract(headers)).unwrap();
    shop.order(id).instrument(span).await.unwrap();
    StatusCode::CREATED
}

/// Sends a request as a browser whose span is [`BROWSER`] would.
fn ask(address: SocketAddr, path: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    let headers =
        format!("traceparent: 00-{TRACE}-{BROWSER}-01\r\ntracestate: vendor=1\r\nbaggage: tenant=acme");
    let request = format!("POST {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n{headers}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

/// Has the shop take one order, all on this thread.
fn placed(collector: &Collector, database: &Database, topic: &Topic) {
    let provider = sdk(collector, "shop");
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("shop"));
    let shop = Shop {
        outbox: Arc::new(PostgresOutbox::new().with(TraceCapture::new().tracer_provider(&provider))),
        url: database.url.clone(),
        topic: topic.name.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let router = Router::new().route("/orders/{id}", post(place)).with_state(shop);
            tokio::spawn(async move { axum::serve(listener, router).await });
            tokio::task::spawn_blocking(move || ask(address, "/orders/42")).await.unwrap();
        });
    });
    provider.shutdown().unwrap();
}

/// Has a consumer handle the topic's first message.
fn handled(collector: &Collector, topic: &Topic) {
    let provider = sdk(collector, "billing");
    let message = topic.messages(1).pop().unwrap();
    let arrival = Arrival::of_message(&message).unwrap();
    let span = Processing::of(&topic.name, &arrival.headers)
        .message_id(arrival.message_id)
        .consumer_group("billing")
        .partition(message.partition())
        .offset(message.offset())
        .tracer_provider(&provider)
        .start();
    span.done();
    provider.shutdown().unwrap();
}

/// Checks a span's place: below another, and linked to it or not.
#[track_caller]
fn is_below(span: &Collected, parent: &Collected, kind: SpanKind, links: bool) {
    assert_eq!(hex(&span.span.trace_id), TRACE, "{span:#?}");
    assert_eq!(hex(&span.span.parent_span_id), hex(&parent.span.span_id), "{span:#?}");
    assert_eq!(span.span.kind(), kind);
    let linked: Vec<_> =
        span.span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect();
    let wanted = links.then(|| (TRACE.to_owned(), hex(&parent.span.span_id)));
    assert_eq!(linked, Vec::from_iter(wanted));
    assert_ne!(span.span.status.clone().unwrap_or_default().code(), SpanStatus::Error);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn one_trace_goes_from_an_http_handler_through_the_database_and_kafka_into_a_consumer() {
    let (collector, database, topic) = (Collector::new(), Database::new(), Topic::new());
    let program = Program::new()
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
        .with("OTEL_EXPORTER_OTLP_HEADERS", "api-key=sesame");
    program.done(&["init", "--store", &database.url]);
    placed(&collector, &database, &topic);
    let run = ["run", "--store", &database.url, "--publisher", &kafka::url(), "--relay-id", "relay-1"];
    let mut relay = program.start(&run);
    handled(&collector, &topic);
    relay.signal("TERM");
    assert_eq!(relay.ends(), Some(0), "{:#?}", relay.said);
    assert!(relay.said.iter().all(|line| !line.contains("sesame")), "{:#?}", relay.said);

    let of = |operation: &str| collector.span(&format!("{operation} {}", topic.name));
    let request = collector.span("POST /orders/{id}");
    assert_eq!(
        (hex(&request.span.trace_id), hex(&request.span.parent_span_id)),
        (TRACE.into(), BROWSER.into())
    );
    assert_eq!(request.span.kind(), SpanKind::Server);
    let (created, sent, processed) = (of("create"), of("send"), of("process"));
    is_below(&created, &request, SpanKind::Producer, false);
    is_below(&sent, &created, SpanKind::Client, true);
    is_below(&processed, &created, SpanKind::Consumer, true);
    assert_eq!(collector.spans().len(), 4, "{:#?}", collector.spans());

    let message = topic.messages(1).pop().unwrap();
    let id = header(&message, "message-id").unwrap();
    let told = [("system", "kafka"), ("destination.name", &topic.name)];
    for (span, operation) in [(&created, "create"), (&sent, "send"), (&processed, "process")] {
        let told = told.into_iter().chain([("operation.name", operation), ("operation.type", operation)]);
        for (name, value) in told {
            assert_eq!(span.attribute(&format!("messaging.{name}")).as_deref(), Some(value), "{name}");
        }
        assert_eq!(span.scope, "eventferry-otel");
    }
    assert_eq!(created.attribute("messaging.message.id"), None, "the store gave it one later");
    assert_eq!(sent.attribute("messaging.message.id").as_deref(), Some(&*id));
    assert_eq!(sent.attribute("messaging.kafka.message.key"), None, "a key may say who somebody is");
    assert_eq!(processed.attribute("messaging.message.id").as_deref(), Some(&*id));
    assert_eq!(processed.attribute("messaging.consumer.group.name").as_deref(), Some("billing"));
    assert_eq!(processed.attribute("messaging.kafka.offset").as_deref(), Some("0"));

    let parent = format!("00-{TRACE}-{}-01", hex(&created.span.span_id));
    assert_eq!(header(&message, "traceparent"), Some(parent));
    assert_eq!(header(&message, "tracestate").as_deref(), Some("vendor=1"));
    assert_eq!(header(&message, "baggage").as_deref(), Some("tenant=acme"));
    assert_eq!(created.resource("service.name").as_deref(), Some("shop"));
    assert_eq!(sent.resource("service.name").as_deref(), Some("eventferry"));
    assert_eq!(sent.resource("service.instance.id").as_deref(), Some("relay-1"));
    assert_eq!(sent.resource("service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert!(collector.keys().contains(&"sesame".to_owned()));
}

/// The page's block of SQL.
fn example() -> &'static str {
    let page = include_str!("../../../../docs/tracing.md");
    page.split_once("```sql\n").unwrap().1.split("```").next().unwrap()
}

#[test]
fn what_sql_says_of_trace_and_story_arrives_and_has_a_span() {
    let (collector, database, topic) = (Collector::new(), Database::new(), Topic::new());
    let program = Program::new()
        .with("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &format!("{}/v1/traces", collector.endpoint()));
    program.done(&["init", "--store", &database.url]);
    database.sql(&example().replace("orders.created", &topic.name));
    let mut relay = program.start(&["run", "--store", &database.url, "--publisher", &kafka::url()]);
    let message = topic.messages(1).pop().unwrap();
    relay.signal("TERM");
    assert_eq!(relay.ends(), Some(0), "{:#?}", relay.said);
    let arrival = Arrival::of_message(&message).unwrap();
    assert_eq!(arrival.correlation_id(), Some("checkout-7"));
    let trace = arrival.trace.unwrap();
    assert_eq!((hex(&trace.trace_id), hex(&trace.parent_id)), (TRACE.into(), BROWSER.into()));
    let sent = collector.span(&format!("send {}", topic.name));
    assert_eq!(hex(&sent.span.trace_id), TRACE);
    assert_eq!(hex(&sent.span.parent_span_id), BROWSER);
    assert_eq!(hex(&sent.span.links[0].span_id), BROWSER);
    assert_eq!(sent.attribute("messaging.message.conversation_id").as_deref(), Some("checkout-7"));
}
