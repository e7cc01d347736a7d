//! What is derived. What the compiler says where nothing can be is in the derive's own tests.

use eventferry::core::IntoEvent;
use eventferry::events::TypedEvent;
use eventferry::{Aggregate, Event};

use crate::shop::{OrderCreated, OrderCreatedV1, OrderId, OrderPaid, order};

#[test]
fn a_typed_event_says_topic_aggregate_key_payload_and_version() {
    let event = order().to_event().unwrap();
    let expected = Event::new("orders.created", ("order", "order-42"))
        .payload(
            r#"{"id":42,"total":{"amount":700,"currency":"EUR"},"customer":"ada","note":null}"#,
            "application/json",
        )
        .key("ada")
        .header("event-type", "OrderCreated")
        .header("event-version", "2");
    assert_eq!(event, expected);
}

#[test]
fn what_is_not_said_has_a_default() {
    let event = OrderPaid { id: OrderId(1) }.to_event().unwrap();
    assert_eq!((OrderPaid::NAME, OrderPaid::VERSION, event.key.as_deref()), ("OrderPaid", 1, None));
    assert_eq!(event.content_type.as_deref(), Some("application/vnd.shop.order+json"));
    assert_eq!(event.aggregate, Aggregate { kind: "order".into(), id: "order-1".into() });
    assert_eq!(OrderCreatedV1::NAME, "OrderCreated");
}

#[test]
fn a_value_and_a_reference_are_enqueued_alike() {
    let order = order();
    let by_reference = (&order).into_event().unwrap();
    assert_eq!(by_reference, order.into_event().unwrap());
}

#[test]
fn an_event_may_borrow_and_be_generic_over_lifetimes() {
    #[derive(serde::Serialize, eventferry::Event)]
    #[event(topic = "t", aggregate = "order")]
    struct Borrowed<'a> {
        #[event(aggregate_id)]
        id: &'a str,
    }
    let id = String::from("7");
    assert_eq!((&Borrowed { id: &id }).into_event().unwrap().aggregate.id, "7");
}

#[test]
fn what_is_derived_can_be_found_elsewhere() {
    use eventferry::events as elsewhere;
    #[derive(serde::Serialize, eventferry::Event)]
    #[event(topic = "t", aggregate = "order", crate = "elsewhere")]
    struct Order {
        #[event(aggregate_id)]
        id: u64,
    }
    assert_eq!(elsewhere::registry![Order].build().unwrap().get("t", 1).unwrap().name, "Order");
}

#[test]
fn a_struct_may_come_from_a_macro_whose_caller_gives_a_type() {
    macro_rules! event {
        ($name:ident, $id:ty) => {
            #[derive(serde::Serialize, eventferry::Event)]
            #[event(topic = "t", aggregate = "order")]
            struct $name {
                #[event(aggregate_id)]
                id: $id,
            }
        };
    }
    event!(r#Type, u64);
    let event = (&Type { id: 7 }).into_event().unwrap();
    assert_eq!((&*event.aggregate.id, Type::NAME), ("7", "Type"));
}

#[test]
fn a_value_without_a_json_form_is_refused_with_its_events_name() {
    #[derive(serde::Serialize, eventferry::Event)]
    #[event(topic = "t", aggregate = "order")]
    struct Odd {
        #[event(aggregate_id)]
        id: u64,
        map: std::collections::BTreeMap<(u8, u8), u8>,
    }
    let odd = Odd { id: 1, map: [((1, 2), 3)].into() };
    let fault = odd.to_event().unwrap_err();
    assert_eq!(fault.kind(), eventferry::EnqueueFaultKind::Refused);
    assert_eq!(fault.to_string(), "Odd, for topic `t`: the value has no JSON form: key must be a string");
}

#[test]
fn the_schema_is_of_what_is_sent() {
    let schema = OrderCreated::json_schema().unwrap();
    assert_eq!(schema["required"], serde_json::json!(["id", "total", "customer", "note"]));
    assert_eq!(schema["properties"]["total"]["$ref"], "#/$defs/Money");
    assert_eq!(OrderPaid::json_schema(), None);
}
