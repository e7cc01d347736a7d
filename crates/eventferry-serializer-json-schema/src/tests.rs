//! What passes, what does not, and what is said of it.

use eventferry_schema_registry::{Format as _, Schema as _, SchemaFault, SchemaSource};

use crate::{CompiledJsonSchema, JsonSchema};

fn compiled(text: &str, references: &[(&str, &str)]) -> Result<CompiledJsonSchema, SchemaFault> {
    let references = references.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    JsonSchema.compile(&SchemaSource { text: text.to_owned(), references })
}

fn schema(text: &str) -> CompiledJsonSchema {
    compiled(text, &[]).unwrap()
}

const ORDER: &str = r#"{"title":"Order","type":"object","required":["id","lines"],"additionalProperties":false,
    "properties":{"id":{"type":"integer","minimum":1},"note":{"type":"string","maxLength":4,"pattern":"^[a-z]*$"},
        "a/b":{"enum":["x"]},"c":{"const":1},"one":{"oneOf":[{"type":"string"},{"minimum":5}]},
        "lines":{"type":"array","uniqueItems":true,"items":{"type":"object","required":["s/k~u"]}}}}"#;

#[test]
fn a_payload_that_fits_passes_untouched() {
    let order = schema(ORDER);
    assert_eq!(order.record(), Some("Order"));
    for json in [
        "{\"lines\" : [ ],\n \"id\":9007199254740993}",
        r#"{"id":123456789012345678901234567890,"lines":[{"s/k~u":1.10}]}"#,
        r#"{"id":1.0,"lines":[],"note":"\u0061"}"#,
    ] {
        let encoded = order.encode(None, json.as_bytes()).unwrap();
        assert_eq!((encoded.body.as_slice(), encoded.message_indexes), (json.as_bytes(), vec![]));
        assert_eq!(order.decode(&[], json.as_bytes()).unwrap(), json.as_bytes());
    }
    assert!(order.encode(Some("Order"), br#"{"id":1,"lines":[]}"#).is_ok());
    assert!(order.encode(Some("Sale"), br#"{"id":1,"lines":[]}"#).is_err());
}

#[test]
fn a_fault_names_the_field_and_the_rule_and_shows_nothing_of_the_value() {
    let order = schema(ORDER);
    for (json, path, rule) in [
        (r#"{"id":"secret","lines":[]}"#, "/id", "/properties/id/type"),
        (r#"{"id":-98765,"lines":[]}"#, "/id", "/properties/id/minimum"),
        (r#"{"id":1}"#, "/lines", "/required"),
        (r#"{"id":1,"lines":[{"s/k~u":1},{}]}"#, "/lines/1/s~1k~0u", "/properties/lines/items/required"),
        (r#"{"id":1,"lines":[],"x/y":"secret"}"#, "/x~1y", "/additionalProperties"),
        (r#"{"id":1,"lines":[],"note":"secret"}"#, "/note", "/properties/note/maxLength"),
        (r#"{"id":1,"lines":[],"note":"SEC"}"#, "/note", "/properties/note/pattern"),
        (r#"{"id":1,"lines":[],"a/b":"secret"}"#, "/a~1b", "/properties/a~1b/enum"),
        (r#"{"id":1,"lines":[],"c":98765}"#, "/c", "/properties/c/const"),
        (r#"{"id":1,"lines":[],"one":-98765}"#, "/one", "/properties/one/oneOf"),
        (r#"{"id":1,"lines":["secret","secret"]}"#, "/lines", ""),
        (r#"["secret"]"#, "", "/type"),
        (r#"{"secret"}"#, "", "line 1, column 10"),
    ] {
        let fault = order.encode(None, json.as_bytes()).unwrap_err();
        assert!(fault.message.contains(rule) || fault.path != path, "{json}: {fault}");
        for shown in ["secret", "SEC", "98765"] {
            assert!(!fault.message.contains(shown), "{json}: {fault}");
        }
        if !rule.is_empty() {
            assert_eq!(fault.path, path, "{json}: {fault}");
        }
        assert_eq!(order.decode(&[], json.as_bytes()).unwrap_err(), fault);
    }
}

#[test]
fn values_are_hidden_where_messages_would_list_them() {
    for (text, json) in [
        (
            r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","prefixItems":[{}],"unevaluatedItems":false}"#,
            r#"[1,"secret"]"#,
        ),
        (r#"{"items":[{}],"additionalItems":false}"#, r#"[1,"secret"]"#),
        (r#"{"contains":{"type":"integer"}}"#, r#"["secret"]"#),
        (r#"{"not":{"type":"string"}}"#, r#""secret""#),
        (r#"{"anyOf":[{"type":"integer"},{"type":"null"}]}"#, r#""secret""#),
        (r#"{"if":{"type":"string"},"then":{"maxLength":1}}"#, r#""secret""#),
        (r#"{"format":"date-time"}"#, r#""secret""#),
        (r#"{"multipleOf":2}"#, "98765"),
        (r#"{"properties":{"a":false}}"#, r#"{"a":"secret"}"#),
        (r#"{"dependencies":{"a":["b"]}}"#, r#"{"a":"secret"}"#),
        (r#"{"propertyNames":{"maxLength":1}}"#, r#"{"secret":1}"#),
        (r#"{"contentMediaType":"application/json"}"#, r#""secret""#),
        (r#"{"contentEncoding":"base64"}"#, r#""secret!""#),
        (r#"{"uniqueItems":true}"#, r#"["secret","secret"]"#),
    ] {
        let fault = schema(text).encode(None, json.as_bytes()).unwrap_err();
        assert!(!fault.message.contains("secret") && !fault.message.contains("98765"), "{text}: {fault}");
    }
}

#[test]
fn references_are_found_by_name_by_uri_and_by_id_among_those_given() {
    let money =
        r#"{"type":"object","required":["currency"],"properties":{"currency":{"$ref":"currency.json"}}}"#;
    let currency = r#"{"enum":["EUR"]}"#;
    let identified = r#"{"$id":"https://shop.example/id/money","type":"object","required":["currency"]}"#;
    for (text, references) in [
        (r#"{"$ref":"money.json"}"#, &[("currency.json", currency), ("money.json", money)][..]),
        (
            r#"{"$id":"https://shop.example/sale.json","properties":{"p":{"$ref":"money.json"}},"$ref":"money.json"}"#,
            &[("currency.json", currency), ("money.json", money)],
        ),
        (
            r#"{"$ref":"https://shop.example/money.json"}"#,
            &[("https://shop.example/currency.json", currency), ("https://shop.example/money.json", money)],
        ),
        (r#"{"$ref":"https://shop.example/id/money"}"#, &[("m1", identified)]),
    ] {
        let schema = compiled(text, references).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        assert!(schema.encode(None, br#"{"currency":"EUR"}"#).is_ok(), "{text}");
        let fault = schema.encode(None, b"{}").unwrap_err();
        assert_eq!(fault.path, "/currency", "{text}: {fault}");
    }
}

#[test]
fn nothing_is_fetched_from_anywhere() {
    let folder = env!("CARGO_MANIFEST_DIR");
    for uri in [
        "http://127.0.0.1:9/money.json",
        "https://json-schema.org/money",
        &format!("file://{folder}/x.json"),
        "money.json",
    ] {
        let fault =
            compiled(&format!(r#"{{"$ref":"{uri}"}}"#), &[("other.json", "{}")]).unwrap_err().to_string();
        assert!(fault.contains("is not among the schema's references"), "{uri}: {fault}");
    }
}

#[test]
fn a_schema_that_is_none_says_where() {
    for (text, references, says) in [
        ("", &[][..], "it is not JSON"),
        ("[]", &[], "an object, true or false"),
        (r#"{"properties":{"a":{"type":"strng"}}}"#, &[], "/properties/a/type"),
        (r#"{"$ref":"a"}"#, &[("a", "{")], "the schema `a` that is referred to: it is not JSON"),
        (r#"{"pattern":"("}"#, &[], "/pattern"),
    ] {
        let fault = compiled(text, references).unwrap_err().to_string();
        assert!(fault.contains(says), "{text}: {fault}");
    }
}

#[test]
fn a_schema_that_names_no_draft_is_of_draft_7() {
    // `dependentRequired` came later, `dependencies` went away.
    let later = r#""dependentRequired":{"a":["b"]}"#;
    assert!(schema(&format!("{{{later}}}")).encode(None, br#"{"a":1}"#).is_ok());
    let draft = r#""$schema":"https://json-schema.org/draft/2020-12/schema""#;
    assert!(schema(&format!("{{{draft},{later}}}")).encode(None, br#"{"a":1}"#).is_err());
}
