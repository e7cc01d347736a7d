//! Events that are written by their schema when they are enqueued.

use eventferry_core::{
    EnqueueFaultKind, Event, Interceptor as _, MessageId, PublishFaultKind, Serialized, Serializer as _,
    StoredEvent, Timestamp,
};
use eventferry_schema_registry::{Framing, PartSchema, RegistrySerializer, SchemaType};

use crate::stub::Stub;
use crate::toy::{self, Toy};

fn serializer(stub: &Stub, framing: Framing) -> RegistrySerializer {
    let schema = || PartSchema::new(Toy(SchemaType::Json)).framing(framing);
    RegistrySerializer::builder(stub.registry())
        .values("t", schema())
        .keys("t", PartSchema::new(Toy(SchemaType::Json)))
        .build()
}

fn stub() -> Stub {
    let stub = Stub::start();
    stub.latest("t-value", 7, "JSON", &toy::schema("Order", &["total"]));
    stub.latest("t-key", 5, "JSON", &toy::text());
    stub
}

fn event(payload: &str) -> Event {
    Event::new("t", ("order", 1)).payload(payload, "application/json").header("own", "1")
}

#[tokio::test]
async fn an_event_that_is_written_when_it_is_enqueued_passes_its_relay_untouched() {
    for framing in [Framing::Prefix, Framing::Header] {
        let stub = stub();
        let serializer = serializer(&stub, framing);
        let written = serializer.encode(event(r#"{"total":1}"#)).await.unwrap();
        assert_eq!(written.key.as_deref(), Some(&b"\0\0\0\0\x05|0|\"1\""[..]));
        let payload = written.payload.as_deref().unwrap();
        match framing {
            Framing::Prefix => {
                assert_eq!(payload, b"\0\0\0\0\x07|0|{\"total\":1}");
                assert_eq!(written.content_type.as_deref(), Some("application/vnd.confluent.json"));
            }
            Framing::Header => {
                assert_eq!(payload, b"|0|{\"total\":1}");
                assert_eq!(written.headers[1].name, "__value_schema_id");
            }
        }
        let row = StoredEvent { message_id: MessageId([1; 16]), event: written, enqueued_at: Timestamp(0) };
        assert_eq!(serializer.serialize(&row).unwrap(), Serialized::default());
    }
}

#[tokio::test]
async fn an_event_that_does_not_fit_is_refused_before_it_is_enqueued() {
    let stub = stub();
    let serializer = serializer(&stub, Framing::Prefix);
    let mut unlearned = event(r#"{"total":1}"#);
    let fault = serializer.intercept(&mut unlearned).unwrap_err();
    assert_eq!(fault.kind(), EnqueueFaultKind::Refused);
    assert!(fault.to_string().contains("call RegistrySerializer::learn for it before"), "{fault}");
    assert_eq!(unlearned, event(r#"{"total":1}"#));
    serializer.learn("t").await.unwrap();
    serializer.intercept(&mut unlearned).unwrap();
    assert!(unlearned.payload.unwrap().starts_with(&[0, 0, 0, 0, 7]));
    let fault = serializer.intercept(&mut event(r#"{"tutal":1}"#)).unwrap_err();
    assert!(fault.to_string().contains("/total: it is missing"), "{fault}");
    let fault = serializer.encode(event("{}")).await.unwrap_err();
    assert_eq!(*fault.kind(), PublishFaultKind::Rejected);
}

#[tokio::test]
async fn whoever_enqueues_while_the_registry_is_away_hears_of_it() {
    let stub = stub();
    stub.away(true);
    let fault = serializer(&stub, Framing::Prefix).encode(event(r#"{"total":1}"#)).await.unwrap_err();
    assert_eq!(*fault.kind(), PublishFaultKind::Unavailable);
}
