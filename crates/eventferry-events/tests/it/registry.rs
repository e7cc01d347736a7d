//! What fits together in a registry, and what is refused.

use eventferry::events::{EventType, Registry, RegistryBuilder};
use serde_json::{Value, json};

use crate::shop::shop;

fn order(version: u32) -> EventType {
    EventType::new("OrderCreated", "orders", version, "order")
}

#[track_caller]
fn refused(builder: RegistryBuilder, says: &[&str]) {
    let fault = builder.build().unwrap_err().to_string();
    for text in says {
        assert!(fault.contains(text), "`{text}` is not in: {fault}");
    }
}

fn same(payload: Value) -> Result<Value, String> {
    Ok(payload)
}

#[test]
fn a_registry_lists_an_applications_events_in_order() {
    let registry = shop();
    let listed: Vec<_> = registry
        .event_types()
        .map(|event| (event.topic.as_str(), event.version, event.name.as_str()))
        .collect();
    assert_eq!(
        listed,
        [
            ("orders.created", 1, "OrderCreated"),
            ("orders.created", 2, "OrderCreated"),
            ("orders.paid", 1, "OrderPaid")
        ]
    );
    assert_eq!(format!("{registry:?}"), r#"{"orders.created.v1", "orders.created.v2", "orders.paid.v1"}"#);
    let paid = registry.get("orders.paid", 1).unwrap();
    assert_eq!(
        (paid.avro.as_deref(), paid.protobuf.as_deref()),
        (Some(r#"{"type": "record"}"#), Some("message OrderPaid {}"))
    );
    assert_eq!(registry.get("orders.paid", 2), None);
}

#[test]
fn two_event_types_that_disagree_are_refused_with_both_names() {
    let mut renamed = EventType::new("OrderMade", "orders", 2, "order");
    renamed.origin = "`b.json`".into();
    let moved = EventType::new("OrderCreated", "orders", 2, "basket");
    let one = order(1).json_schema(json!({"type": "object"}));
    let mut other = order(1).json_schema(json!({"type": "string"}));
    other.origin = "`c.json`".into();
    let of = |types: [EventType; 2]| types.into_iter().fold(Registry::builder(), RegistryBuilder::event_type);
    refused(of([order(1), renamed]), &["OrderCreated and `b.json`", "name", "`orders`", "`OrderMade`"]);
    refused(of([order(1), moved]), &["aggregate", "`orders`", "`order` and `basket`"]);
    refused(of([one.clone(), other]), &["OrderCreated and `c.json`", "JSON Schema of version 1", "`orders`"]);
    assert_eq!(of([one.clone(), one]).build().unwrap().event_types().count(), 1);
}

#[test]
fn merged_registries_keep_their_steps_and_must_agree() {
    let library = Registry::builder()
        .event_type(order(1))
        .event_type(order(2))
        .upcast("orders", 1, same)
        .build()
        .unwrap();
    let merged = Registry::builder().merge(&library).merge(&library).merge(&shop()).build().unwrap();
    assert_eq!(merged.event_types().count(), 5);
    let other = EventType::new("Other", "orders", 3, "order");
    refused(Registry::builder().merge(&library).event_type(other), &["OrderCreated and Other disagree"]);
    refused(Registry::builder().merge(&library).upcast("orders", 1, same), &["two steps from version 1"]);
}

#[test]
fn a_missing_step_is_found_when_the_registry_is_built() {
    let of = |versions: &[u32]| {
        versions.iter().map(|v| order(*v)).fold(Registry::builder(), RegistryBuilder::event_type)
    };
    refused(of(&[1, 2, 3]).upcast("orders", 1, same), &["`orders`", "none from version 2 to 3", "add it"]);
    refused(of(&[4]).upcast("orders", 1, same).upcast("orders", 3, same), &["none from version 2 to 3"]);
    refused(
        of(&[1, 2]).upcast("orders", 1, same).upcast("orders", 2, same),
        &["step from version 2", "newest version is 2"],
    );
    refused(of(&[1]).upcast("others", 1, same), &["`others`", "no event"]);
    refused(of(&[4_000_000_000]).upcast("orders", 1, same), &["none from version 2 to 3"]);
    assert!(of(&[3]).upcast("orders", 1, same).upcast("orders", 2, same).build().is_ok());
    assert!(of(&[1, 3]).build().is_ok());
}

#[test]
fn what_cannot_be_an_event_type_is_refused() {
    for (event_type, says) in [
        (EventType::new("A", "", 1, "order"), "is no topic"),
        (EventType::new("A", "a b", 1, "order"), "`a b` is no topic"),
        (EventType::new("A", "..", 1, "order"), "is no topic"),
        (EventType::new("A", "../a", 1, "order"), "is no topic"),
        (EventType::new("A", "a".repeat(250), 1, "order"), "is no topic"),
        (EventType::new("A", "a", 0, "order"), "version is 0"),
        (EventType::new("", "a", 1, "order"), "name"),
        (EventType::new("A", "a", 1, ""), "aggregate"),
        (EventType::new("A", "a", 1, "order").json_schema(json!("x")), "an object, or true or false"),
        (
            EventType::new("A", "a", 1, "order").json_schema(json!({"type": "strnig"})),
            "A: the JSON Schema cannot be used",
        ),
        (EventType::new("A", "a", 1, "order").json_schema(json!({"$ref": "#/$defs/x"})), "cannot be used"),
    ] {
        refused(Registry::builder().event_type(event_type), &[says]);
    }
}
