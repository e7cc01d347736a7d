//! Random payloads and schemas.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use eventferry_schema_registry::{Format as _, Schema as _, SchemaSource};
use eventferry_serializer_json_schema::{CompiledJsonSchema, JsonSchema};
use proptest::collection::vec;
use proptest::prelude::*;

fn compiled(text: &str) -> CompiledJsonSchema {
    JsonSchema.compile(&SchemaSource { text: text.to_owned(), references: Vec::new() }).unwrap()
}

/// JSON as somebody might write it, with white space and numbers of any length.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        "-?[1-9][0-9]{0,40}(\\.[0-9]{1,40})?",
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[ {}]", items.join(" ,\n"))),
            vec(("[a-c]", inner), 0..4).prop_map(|members| {
                let members: Vec<_> =
                    members.into_iter().map(|(key, value)| format!("\"{key}\" :\t{value}")).collect();
                format!("{{{} }}", members.join(","))
            }),
        ]
    })
}

const STRICT: &str = r##"{"definitions":{"node":{"type":["object","array","string","number","null","boolean"],
    "properties":{"a":{"$ref":"#/definitions/node"},"b":{"type":"integer","multipleOf":3}},
    "items":{"$ref":"#/definitions/node"},
    "pattern":"^[a-z]*$","maxProperties":2,"uniqueItems":true,"minimum":-5}},"$ref":"#/definitions/node"}"##;

proptest! {
    #[test]
    fn what_fits_passes_to_the_byte_and_what_does_not_is_named(payload in json()) {
        let everything = compiled("true");
        prop_assert_eq!(everything.encode(None, payload.as_bytes()).unwrap().body, payload.as_bytes());
        match compiled(STRICT).encode(None, payload.as_bytes()) {
            Ok(encoded) => prop_assert_eq!(encoded.body, payload.as_bytes()),
            Err(fault) => {
                let value: serde_json::Value = serde_json::from_str(&payload).unwrap();
                prop_assert!(value.pointer(&fault.path).is_some(), "{}", fault);
            }
        }
    }

    #[test]
    fn random_bytes_are_json_or_a_fault(payload in vec(any::<u8>(), 0..60)) {
        let _ = compiled(STRICT).decode(&[], &payload);
    }

    #[test]
    fn texts_that_are_no_schema_are_faults(schema in json()) {
        let _ = JsonSchema.compile(&SchemaSource { text: schema, references: Vec::new() });
    }
}
