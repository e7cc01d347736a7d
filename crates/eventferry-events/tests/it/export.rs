//! What other people and programs are told.

use eventferry::events::{AsyncApi, EventType, Registry};
use serde_json::{Value, json};

use crate::shop::shop;

const ABOUT: AsyncApi<'static> = AsyncApi { title: "Shop", version: "1.2.3" };

fn document(registry: &Registry) -> Value {
    serde_json::from_str(&registry.asyncapi(ABOUT)).unwrap()
}

/// Of the AsyncAPI Initiative: see the README beside it.
fn asyncapi() -> jsonschema::Validator {
    let schema = serde_json::from_str(include_str!("../asyncapi/3.0.0.json")).unwrap();
    jsonschema::options().offline().build(&schema).unwrap()
}

#[test]
fn the_export_is_what_the_schema_of_asyncapi_3_asks_for() {
    let schema = asyncapi();
    let valid = document(&shop());
    let broken: Vec<_> = schema.iter_errors(&valid).map(|error| error.to_string()).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    // It would be found.
    for (pointer, wrong) in [
        ("/channels/orders.created/address", json!(7)),
        ("/operations/send.orders.paid/action", json!("shout")),
        ("/components/messages/orders.paid.v1/name", json!([])),
        ("/asyncapi", json!("2.6.0")),
    ] {
        let mut document = valid.clone();
        *document.pointer_mut(pointer).unwrap() = wrong;
        assert!(!schema.is_valid(&document), "{pointer}");
    }
}

#[test]
fn the_export_names_each_topic_version_and_schema_and_its_references_lead_somewhere() {
    let document = document(&shop());
    let message = &document["components"]["messages"]["orders.created.v2"];
    assert_eq!(
        (&message["name"], &message["contentType"]),
        (&json!("OrderCreated"), &json!("application/json"))
    );
    let paid = &document["components"]["messages"]["orders.paid.v1"];
    assert_eq!(paid["contentType"], "application/vnd.shop.order+json");
    assert_eq!(message["headers"]["properties"]["event-version"]["const"], "2");
    assert_eq!(document["channels"]["orders.created"]["messages"].as_object().unwrap().len(), 2);
    assert_eq!(document["components"]["messages"]["orders.paid.v1"]["x-avro"], r#"{"type": "record"}"#);
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 9, "{references:?}");
    for reference in references {
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match value.as_str() {
            Some(text) if name == "$ref" => references.push(text.to_owned()),
            _ => collect(value, references),
        }),
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}

#[test]
fn what_only_looks_like_a_reference_is_left_alone() {
    let schema = json!({
        "properties": {"default": {"$ref": "#/$defs/a"}, "$ref": {"type": "string"}},
        "const": {"$ref": "#/$defs/a"},
        "anyOf": [{"$ref": "https://example.com/a.json"}, {"$ref": "#"}],
        "$defs": {"a": {}},
    });
    let event_type = EventType::new("A", "t", 1, "order");
    let registry = Registry::builder().event_type(event_type.json_schema(json!({"allOf": [schema]})));
    // The reference to another document is not one that is compiled: only exported.
    let built = registry.build();
    assert!(built.is_err());
    let mut schema = schema;
    schema["anyOf"][0]["$ref"] = "#/allOf/0/$defs/a".into();
    schema["properties"]["default"]["$ref"] = "#/allOf/0/$defs/a".into();
    let event_type = EventType::new("A", "t", 1, "order").json_schema(json!({"allOf": [schema]}));
    let document = document(&Registry::builder().event_type(event_type).build().unwrap());
    let exported = &document["components"]["schemas"]["t.v1"]["allOf"][0];
    assert_eq!(exported["properties"]["default"]["$ref"], "#/components/schemas/t.v1/allOf/0/$defs/a");
    assert_eq!(exported["anyOf"][1]["$ref"], "#/components/schemas/t.v1");
    assert_eq!(exported["const"], json!({"$ref": "#/$defs/a"}));
    assert_eq!(exported["properties"]["$ref"], json!({"type": "string"}));
}

#[test]
fn the_same_registry_is_exported_as_the_same_bytes() {
    let backwards = shop().event_types().cloned().collect::<Vec<_>>().into_iter().rev();
    let backwards = backwards.fold(Registry::builder(), eventferry::events::RegistryBuilder::event_type);
    let backwards = backwards.build().unwrap();
    assert_eq!(shop().asyncapi(ABOUT), backwards.asyncapi(ABOUT));
    assert_eq!(shop().markdown(), backwards.markdown());
}

#[test]
fn the_page_for_people_shows_each_event_with_its_fields() {
    let page = shop().markdown();
    for line in [
        "| `orders.created` | 2 | OrderCreated | order |",
        "## OrderCreated, version 2",
        "Topic `orders.created`, about one order.",
        "Somebody bought something.",
        "| `total` | Money | yes | What it costs. |",
        "| `note` | string or null | yes |  |",
        "```protobuf",
        "message OrderPaid {}",
    ] {
        assert!(page.lines().any(|one| one == line), "`{line}` is not in:\n{page}");
    }
}

#[test]
fn what_schemas_hold_does_not_break_the_page() {
    let schema = json!({
        "description": "a",
        "properties": {"x": {"description": "one | two\n| three", "enum": ["a|b"]}},
        "const": "```",
    });
    let event_type = EventType::new("A|B", "t", 1, "or|der").json_schema(schema);
    let page = Registry::builder().event_type(event_type).build().unwrap().markdown();
    assert!(page.contains("| `t` | 1 | A\\|B | or\\|der |"), "{page}");
    assert!(page.contains("| `x` | \"a\\|b\" | no | one \\| two \\| three |"), "{page}");
    assert!(page.contains("\n````json\n"), "{page}");
}
