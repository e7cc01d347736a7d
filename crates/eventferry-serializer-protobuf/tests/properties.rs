//! Random values and bytes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use eventferry_schema_registry::{Format as _, Schema as _, SchemaSource};
use eventferry_serializer_protobuf::{Protobuf, ProtobufSchema};
use proptest::collection::vec;
use proptest::prelude::*;

const TEXT: &str = "syntax = \"proto3\";
    import \"google/protobuf/any.proto\"; import \"google/protobuf/struct.proto\";
    import \"google/protobuf/timestamp.proto\"; import \"google/protobuf/wrappers.proto\";
    message M {
        double a = 1; float b = 2; int32 c = 3; int64 d = 4; uint32 e = 5; uint64 f = 6; sint32 g = 7; sint64 h = 8;
        fixed32 i = 9; fixed64 j = 10; sfixed32 k = 11; sfixed64 l = 12; bool m = 13; string n = 14; bytes o = 15;
        E p = 16; M q = 17; repeated int32 r = 18; repeated string s = 19; repeated M t = 20; map<string, M> u = 21;
        map<sint64, double> v = 22; oneof w { string x = 23; M y = 24; E z = 25; } optional bool aa = 26;
        google.protobuf.Timestamp ab = 27; google.protobuf.Struct ac = 28; google.protobuf.Any ad = 29;
        google.protobuf.Int64Value ae = 30; google.protobuf.Value af = 31; repeated E ag = 32;
    }
    enum E { ZERO = 0; ONE = 1; LAST = 2147483647; FIRST = -1; }";

fn schema() -> ProtobufSchema {
    Protobuf.compile(&SchemaSource { text: TEXT.to_owned(), references: Vec::new() }).unwrap()
}

fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:?}") } else { "\"NaN\"".to_owned() }
}

/// Members of an object of `M`, each at most once.
fn message() -> BoxedStrategy<String> {
    fn text() -> impl Strategy<Value = String> {
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string())
    }
    let leaf = prop_oneof![
        any::<f64>().prop_map(|value| format!("\"a\":{}", number(value))),
        any::<f32>().prop_map(|value| if value.is_finite() {
            format!("\"b\":{value:?}")
        } else {
            "\"b\":\"Infinity\"".into()
        }),
        (prop_oneof![Just('c'), Just('g'), Just('k')], any::<i32>())
            .prop_map(|(name, value)| format!("\"{name}\":{value}")),
        (prop_oneof![Just('d'), Just('h'), Just('l')], any::<i64>())
            .prop_map(|(name, value)| format!("\"{name}\":\"{value}\"")),
        (prop_oneof![Just('e'), Just('i')], any::<u32>())
            .prop_map(|(name, value)| format!("\"{name}\":{value}")),
        (prop_oneof![Just('f'), Just('j')], any::<u64>())
            .prop_map(|(name, value)| format!("\"{name}\":{value}")),
        any::<bool>().prop_map(|value| format!("\"m\":{value}")),
        any::<bool>().prop_map(|value| format!("\"aa\":{value}")),
        text().prop_map(|text| format!("\"n\":{text}")),
        text().prop_map(|text| format!("\"x\":{text}")),
        Just("\"p\":\"FIRST\",\"ag\":[\"ONE\",7,\"LAST\"]".to_owned()),
        Just("\"o\":\"+/8=\"".to_owned()),
        Just(
            "\"ab\":\"2024-02-29T00:00:00Z\",\"ac\":{\"a\":[1.5,null]},\"ae\":\"-1\",\"af\":null".to_owned()
        ),
        vec(any::<i32>(), 0..4).prop_map(|items| format!("\"r\":{items:?}")),
        vec(text(), 0..4).prop_map(|items| format!("\"s\":[{}]", items.join(","))),
        (any::<i64>(), any::<f64>())
            .prop_map(|(key, value)| format!("\"v\":{{\"{key}\":{}}}", number(value))),
    ];
    let object = |members: Vec<String>| {
        let mut kept: Vec<String> = Vec::new();
        for member in members {
            let name = |member: &str| member.split(':').next().map(str::to_owned);
            let is_oneof =
                |member: &str| ["\"x\"", "\"y\""].contains(&name(member).unwrap_or_default().as_str());
            let clashes =
                |other: &String| name(other) == name(&member) || is_oneof(other) && is_oneof(&member);
            if !kept.iter().any(clashes) {
                kept.push(member);
            }
        }
        format!("{{{}}}", kept.join(","))
    };
    let leaf = vec(leaf, 0..6).prop_map(object);
    leaf.prop_recursive(3, 12, 3, move |inner| {
        vec(
            prop_oneof![
                inner.clone().prop_map(|value| format!("\"q\":{value}")),
                inner.clone().prop_map(|value| format!("\"y\":{value}")),
                inner.clone().prop_map(|value| format!("\"t\":[{value},{{}}]")),
                inner.clone().prop_map(|value| format!("\"u\":{{\"k\":{value}}}")),
                inner.prop_map(|value| {
                    let rest = if value == "{}" { "}".to_owned() } else { format!(",{}", &value[1..]) };
                    format!("\"ad\":{{\"@type\":\"a/M\"{rest}")
                }),
            ],
            0..4,
        )
        .prop_map(object)
    })
    .boxed()
}

proptest! {
    #[test]
    fn every_value_goes_there_and_back(value in message()) {
        let schema = schema();
        let body = schema.encode(None, value.as_bytes()).map_err(|fault| format!("{value}: {fault}")).unwrap().body;
        let json = schema.decode(&[0], &body).unwrap();
        let again = schema.encode(None, &json).unwrap().body;
        prop_assert_eq!(&again, &body, "{} as {}", value, String::from_utf8_lossy(&json));
    }

    #[test]
    fn random_bytes_are_a_value_or_a_fault(
        body in vec(prop_oneof![any::<u8>(), 0_u8..6, Just(0x8a_u8), Just(1_u8)], 0..80),
    ) {
        let schema = schema();
        if let Ok(json) = schema.decode(&[0], &body) {
            prop_assert!(json.len() < 100_000);
            let again = schema.encode(None, &json).unwrap();
            prop_assert_eq!(schema.decode(&[0], &again.body).unwrap(), json);
        }
    }

    #[test]
    fn a_value_with_a_byte_changed_is_a_value_or_a_fault(
        value in message(),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let schema = schema();
        let mut body = schema.encode(None, value.as_bytes()).unwrap().body;
        if !body.is_empty() {
            let at = at.index(body.len());
            body[at] = to;
            let _ = schema.decode(&[0], &body);
        }
        let mut json = value.into_bytes();
        let at = at.index(json.len());
        json[at] = to;
        let _ = schema.encode(None, &json);
    }

    #[test]
    fn texts_that_are_no_schema_are_faults(text in "\\PC{0,40}", cut in 0..TEXT.len()) {
        let _ = Protobuf.compile(&SchemaSource { text, references: Vec::new() });
        let _ = Protobuf.compile(&SchemaSource { text: TEXT[..cut].to_owned(), references: Vec::new() });
    }
}
