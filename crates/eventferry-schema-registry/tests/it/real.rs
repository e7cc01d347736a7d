//! A real registry.

use std::sync::atomic::{AtomicU32, Ordering};

use eventferry_core::{Event, PublishFaultKind, Serializer as _};
use eventferry_schema_registry::{
    Given, NewSchema, Part, PartSchema, Reference, Registry, RegistryConfig, RegistryDeserializer,
    RegistrySerializer, SchemaChoice, SchemaId, SchemaType,
};
use serde_json::json;

use crate::toy::Toy;

const JSON: Toy = Toy(SchemaType::Json);

fn url() -> String {
    let variable = "EVENTFERRY_TEST_SCHEMA_REGISTRY_URL";
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set; start the servers and set it as `cargo xtask services env` prints it")
    })
}

fn registry() -> Registry {
    Registry::new(RegistryConfig::new([url()]).unwrap())
}

/// A name that no other test or run has, in need of being encoded in a path.
fn name() -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("it {time}-{}", LAST.fetch_add(1, Ordering::Relaxed))
}

/// A schema that takes these properties.
fn text(properties: &[(&str, &str)]) -> String {
    let all: serde_json::Map<_, _> =
        properties.iter().map(|(name, kind)| ((*name).to_owned(), json!({ "type": kind }))).collect();
    json!({ "title": "Order", "type": "object", "properties": all, "additionalProperties": false })
        .to_string()
}

fn new(text: &str) -> NewSchema {
    NewSchema { schema_type: SchemaType::Json, text: text.to_owned(), references: Vec::new() }
}

fn serializer(topic: &str, choice: SchemaChoice) -> RegistrySerializer {
    RegistrySerializer::builder(registry()).values(topic, PartSchema::new(JSON).choice(choice)).build()
}

fn event(topic: &str) -> Event {
    Event::new(topic, ("order", 1)).payload(r#"{"total":1}"#, "application/json")
}

/// Sets a subject's compatibility, which is an operator's affair and not the client's.
fn set_compatibility(subject: &str, level: &str) {
    let subject = subject.replace(' ', "%20");
    let body = json!({ "compatibility": level }).to_string();
    let put = ureq::put(format!("{}/config/{subject}", url())).content_type("application/json").send(body);
    assert!(put.unwrap().status().is_success());
}

#[tokio::test]
async fn a_schema_is_registered_found_and_read_back() {
    let (registry, subject, text) = (registry(), name(), text(&[("total", "integer")]));
    let fault = registry.latest(&subject).await.unwrap_err();
    assert_eq!((*fault.kind(), fault.class()), (PublishFaultKind::TopicRefused, Some("SubjectNotFound")));
    let made = registry.register(&subject, &new(&text)).await.unwrap();
    assert_eq!(registry.register(&subject, &new(&text)).await.unwrap().id, made.id);
    let latest = registry.latest(&subject).await.unwrap();
    assert_eq!((latest.id, latest.version, latest.schema_type), (made.id, Some(1), SchemaType::Json));
    assert_eq!(registry.version(&subject, 1).await.unwrap(), latest);
    assert_eq!(registry.find(&subject, &new(&text)).await.unwrap().id, made.id);
    let id = SchemaId::Id(made.id.unwrap());
    assert_eq!(registry.schema(id).await.unwrap().text, latest.text);
    for (class, fault) in [
        ("VersionNotFound", registry.version(&subject, 9).await),
        ("SchemaNotFound", registry.schema(SchemaId::Id(999_999_999)).await),
        ("SchemaNotFound", registry.find(&subject, &new(&self::text(&[("other", "string")]))).await),
    ] {
        let fault = fault.unwrap_err();
        assert_eq!((*fault.kind(), fault.class()), (PublishFaultKind::TopicRefused, Some(class)), "{fault}");
    }
    let fault = registry.register(&name(), &new("{")).await.unwrap_err();
    assert_eq!(
        (*fault.kind(), fault.class()),
        (PublishFaultKind::TopicRefused, Some("SchemaInvalid")),
        "{fault}"
    );
}

#[tokio::test]
async fn a_topics_schema_is_registered_and_its_events_are_read_by_it() {
    let topic = name();
    let given = Given { text: text(&[("total", "integer")]), references: Vec::new() };
    let looking = serializer(&topic, SchemaChoice::Given(given.clone()));
    let fault = looking.learn(&topic).await.unwrap_err();
    assert_eq!(*fault.kind(), PublishFaultKind::TopicRefused);
    let written = serializer(&topic, SchemaChoice::Register(given)).encode(event(&topic)).await.unwrap();
    assert_eq!(looking.encode(event(&topic)).await.unwrap(), written);
    assert_eq!(serializer(&topic, SchemaChoice::Latest).encode(event(&topic)).await.unwrap(), written);
    let reader = RegistryDeserializer::new(registry()).format(JSON);
    let read = reader.read(Part::Value, [], written.payload.as_deref().unwrap()).await.unwrap();
    assert_eq!(read.json, br#"{"total":1}"#);
}

#[tokio::test]
async fn a_schema_that_is_not_compatible_is_not_registered() {
    let (topic, registry) = (name(), registry());
    let subject = format!("{topic}-value");
    registry.register(&subject, &new(&text(&[("total", "integer")]))).await.unwrap();
    set_compatibility(&subject, "BACKWARD");
    let other = new(&text(&[("total", "string")]));
    let fault = registry.check(&subject, &other).await.unwrap_err();
    assert_eq!((*fault.kind(), fault.class()), (PublishFaultKind::TopicRefused, Some("SchemaIncompatible")));
    let fault = registry.register(&subject, &other).await.unwrap_err();
    assert_eq!((*fault.kind(), fault.class()), (PublishFaultKind::TopicRefused, Some("SchemaIncompatible")));
    let given = Given { text: other.text.clone(), references: Vec::new() };
    let fault = serializer(&topic, SchemaChoice::Register(given)).learn(&topic).await.unwrap_err();
    assert_eq!(fault.class(), Some("SchemaIncompatible"), "{fault}");
    assert_eq!(registry.latest(&subject).await.unwrap().version, Some(1));
    registry.check(&name(), &other).await.unwrap();
}

#[tokio::test]
async fn references_are_registered_and_resolved_to_the_last() {
    let (topic, registry) = (name(), registry());
    let (money, currency) = (name(), name());
    registry
        .register(&currency, &new(r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"string"}"#))
        .await
        .unwrap();
    let refers = |name: &str, subject: &str, version| {
        vec![Reference { name: name.into(), subject: subject.into(), version }]
    };
    let of_currency = NewSchema {
        references: refers("currency.json", &currency, Some(1)),
        ..new(r#"{"type":"object","properties":{"currency":{"$ref":"currency.json"}}}"#)
    };
    registry.register(&money, &of_currency).await.unwrap();
    let text = r#"{"type":"object","properties":{"price":{"$ref":"money.json"}}}"#;
    let given = Given { text: text.into(), references: refers("money.json", &money, None) };
    let written = serializer(&topic, SchemaChoice::Register(given)).encode(event(&topic)).await.unwrap();
    // The toy format tells how many schemas it was handed over beside its own.
    assert_eq!(&written.payload.as_deref().unwrap()[5..8], b"|2|");
    let latest = registry.latest(&format!("{topic}-value")).await.unwrap();
    assert_eq!(latest.references, refers("money.json", &money, Some(1)));
    let written = serializer(&topic, SchemaChoice::Latest).encode(event(&topic)).await.unwrap();
    assert_eq!(&written.payload.as_deref().unwrap()[5..8], b"|2|");
}
