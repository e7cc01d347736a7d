//! A whole relay, with a serializer before what is traced.

use std::time::Duration;

use eventferry_conformance::Step;
use eventferry_conformance::model::ModelOutbox;
use eventferry_conformance::publisher::Subject as _;
use eventferry_conformance::publisher::model::Model;
use eventferry_core::store::{Prepare, Store as _};
use eventferry_core::{Event, Header, NotSerialized, PublishFault, Row, Serialized, Serializer};
use eventferry_otel::Traced;
use eventferry_relay::Relay;
use tokio::sync::oneshot;

use crate::spans::{Spans, attribute};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Puts a header behind the event's own, and a key in the place of its own.
struct Marks;

impl Serializer for Marks {
    async fn learn(&self, _: &str) -> Result<(), PublishFault> {
        Ok(())
    }

    fn serialize(&self, _: &dyn Row) -> Result<Serialized, NotSerialized> {
        let headers = vec![Header { name: "mark".into(), value: b"1".to_vec() }];
        Ok(Serialized { key: Some(b"serialized".to_vec()), headers, ..Serialized::default() })
    }
}

#[tokio::test]
async fn a_relay_carries_as_before_and_the_headers_stay_as_they_are() {
    let (spans, model, outbox) = (Spans::new(), Model::default(), ModelOutbox::default());
    model.create("orders", 1).await.unwrap();
    outbox.store().prepare(Prepare::Apply).await.unwrap();
    let event = |id| Event::new("orders", ("order", id)).payload("{}", "application/json");
    let events = [event(1).traceparent(PARENT).header("tracestate", "a=1"), event(2)];
    let mut writer = outbox.writer();
    writer.step(Step::Begin);
    writer.enqueue(&events).unwrap();
    writer.step(Step::Commit);

    let publisher = Traced::new(model.publisher().await.unwrap()).tracer_provider(&spans.provider);
    let relay =
        Relay::builder().store(outbox.store()).publisher(publisher).serializer(Marks).build().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let watch = async {
        while model.read("orders").await.unwrap().len() < 2 {
            // waits: between two looks
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(stop);
    };
    let ((), finished) = tokio::join!(watch, relay.run(async { drop(stopped.await) }));
    assert!(finished.unwrap().settled);

    let delivered = model.read("orders").await.unwrap();
    let headers = |at: usize| delivered[at].headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    let own = ["message-id", "aggregate-type", "aggregate-id", "content-type"];
    let parent = delivered[0].headers.iter().find(|(name, _)| name == "traceparent").unwrap();
    assert_eq!(parent.1, PARENT.as_bytes());
    assert_eq!(headers(0), [&own[..], &["traceparent", "tracestate", "mark"]].concat());
    assert_eq!(headers(1), [&own[..], &["mark"]].concat());
    let sent = spans.one();
    assert_eq!(sent.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(attribute(&sent, "messaging.kafka.message.key").as_deref(), Some("serialized"));
}
