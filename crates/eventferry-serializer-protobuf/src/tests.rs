//! What goes through a schema, and what does not, and what is said of it.

use eventferry_schema_registry::{Format as _, PayloadFault, Schema as _, SchemaFault, SchemaSource};

use crate::{Protobuf, ProtobufSchema};

fn compiled(text: &str, references: &[(&str, &str)]) -> Result<ProtobufSchema, SchemaFault> {
    let references = references.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Protobuf.compile(&SchemaSource { text: text.to_owned(), references })
}

/// A schema in proto3 of these definitions.
fn schema(definitions: &str) -> ProtobufSchema {
    compiled(&format!("syntax = \"proto3\"; package p; {definitions}"), &[]).unwrap()
}

/// What `json` is on the wire, and back.
fn there(schema: &ProtobufSchema, json: &str) -> Result<(Vec<u8>, String), PayloadFault> {
    let encoded = schema.encode(None, json.as_bytes())?;
    let back = schema.decode(&encoded.message_indexes, &encoded.body)?;
    Ok((encoded.body, String::from_utf8(back).unwrap()))
}

fn back(schema: &ProtobufSchema, json: &str) -> String {
    there(schema, json).unwrap_or_else(|fault| panic!("{json}: {fault}")).1
}

fn fault(schema: &ProtobufSchema, json: &str) -> (String, String) {
    let PayloadFault { path, message } = schema.encode(None, json.as_bytes()).unwrap_err();
    (path, message)
}

const ORDER: &str = "message Order { int64 id = 1; string note_text = 2; repeated Line lines = 3; State state = 4;
    map<int32, bool> seen = 5; oneof pay { string pan = 6; Line line = 7; } optional int32 rank = 8; bytes raw = 9;
    double ratio = 10; map<string, Line> by_name = 11; }
    message Line { string sku = 1; int32 count = 2; }
    enum State { NEW = 0; PAID = 5; }";

#[test]
fn fields_are_written_in_the_order_of_their_numbers_whatever_the_payloads() {
    let order = schema(ORDER);
    assert_eq!(order.record(), Some("p.Order"));
    let (body, json) = there(&order, r#"{"state":"PAID","note_text":"n","id":"1"}"#).unwrap();
    assert_eq!(body, [8, 1, 0x12, 1, b'n', 0x20, 5]);
    assert_eq!(json, r#"{"id":"1","noteText":"n","state":"PAID"}"#);
    assert_eq!(there(&order, r#"{"id":1,"noteText":"n","state":5}"#).unwrap().0, body);
    let whole = concat!(
        r#"{"id":"1","lines":[{"sku":"a"},{}],"seen":{"-1":true,"2":false},"#,
        r#""line":{"count":1},"rank":0,"byName":{"":{}}}"#
    );
    assert_eq!(back(&order, whole), whole);
    assert_eq!(back(&order, r#"{"id":0,"noteText":"","lines":[],"seen":{},"pan":null,"state":"NEW"}"#), "{}");
}

#[test]
fn a_fault_names_the_field_and_shows_nothing_of_its_value() {
    let order = schema(ORDER);
    for (json, path, says) in [
        (r#"{"lines":[{},{"count":"secret"}]}"#, "/lines/1/count", "wants a whole number"),
        (r#"{"total":"secret"}"#, "/total", "`p.Order` has no such field"),
        (r#"{"lines":[{"x":1}]}"#, "/lines/0/x", "`p.Line` has no such field"),
        (r#"{"state":"secret"}"#, "/state", "one of `NEW`, `PAID` of the enum `p.State`"),
        (r#"{"seen":{"secret":true}}"#, "/seen/secret", "wants a whole number"),
        (r#"{"seen":{"1":"secret"}}"#, "/seen/1", "wants true or false, and is a string"),
        (r#"{"pan":"secret","line":{}}"#, "/line", "excludes `pan`"),
        (r#"{"id":1,"id":1}"#, "/id", "is there twice"),
        (r#"{"noteText":"a","note_text":"a"}"#, "/note_text", "is there twice"),
        (r#"{"byName":{"a":{},"a":{}}}"#, "/byName/a", "is there twice"),
        (r#"{"raw":"secret!"}"#, "/raw", "wants bytes in Base64"),
        (r#"{"lines":"secret"}"#, "/lines", "wants an array, and is a string"),
        (r#"{"lines":[null]}"#, "/lines/0", "and is null"),
        (r#""secret""#, "", "wants an object of the message `p.Order`"),
        (r#"{"id":secret}"#, "/id", "not JSON: byte 7"),
        (r#"{"id":1} secret"#, "", "not JSON"),
    ] {
        let (at, message) = fault(&order, json);
        assert_eq!(at, path, "{json}: {message}");
        assert!(message.contains(says), "{json}: {message}");
        assert!(!message.contains("secret"), "{json}: {message}");
    }
}

#[test]
fn integers_keep_every_digit_and_their_range() {
    let all = schema(
        "message M { int64 i = 1; uint64 u = 2; sint64 s = 3; fixed64 f = 4; sfixed64 g = 5; int32 a = 6;
        uint32 b = 7; sint32 c = 8; fixed32 d = 9; sfixed32 e = 10; }",
    );
    let most = concat!(
        r#"{"i":"9223372036854775807","u":"18446744073709551615","s":"-9223372036854775808","#,
        r#""f":"18446744073709551615","g":"-9223372036854775808","#,
        r#""a":-2147483648,"b":4294967295,"c":-2147483648,"d":4294967295,"e":-2147483648}"#
    );
    assert_eq!(back(&all, most), most);
    let plain = r#"{"i":9223372036854775807,"u":18446744073709551615,"a":"-1"}"#;
    assert_eq!(back(&all, plain), r#"{"i":"9223372036854775807","u":"18446744073709551615","a":-1}"#);
    for json in [
        r#"{"i":9223372036854775808}"#,
        r#"{"i":-9223372036854775809}"#,
        r#"{"i":9007199254740993.0}"#,
        r#"{"i":1e3}"#,
        r#"{"i":"+1"}"#,
        r#"{"i":" 1"}"#,
    ] {
        assert_eq!(fault(&all, json).0, "/i", "{json}");
    }
    for (json, path) in [
        (r#"{"u":18446744073709551616}"#, "/u"),
        (r#"{"u":-1}"#, "/u"),
        (r#"{"a":2147483648}"#, "/a"),
        (r#"{"b":4294967296}"#, "/b"),
        (r#"{"d":-1}"#, "/d"),
        (r#"{"e":true}"#, "/e"),
    ] {
        assert_eq!(fault(&all, json).0, path, "{json}");
    }
}

#[test]
fn floats_are_the_nearest_and_may_be_none() {
    let floats = schema("message M { double d = 1; float f = 2; }");
    for json in [
        r#"{"d":0.1,"f":0.1}"#,
        r#"{"d":"NaN","f":"Infinity"}"#,
        r#"{"d":"-Infinity","f":-1.5}"#,
        r#"{"d":5e-324}"#,
    ] {
        assert_eq!(back(&floats, json), json);
    }
    assert_eq!(back(&floats, r#"{"d":"1.5","f":5}"#), r#"{"d":1.5,"f":5.0}"#);
    for json in [r#"{"d":1e309}"#, r#"{"d":"inf"}"#, r#"{"d":"nan"}"#, r#"{"d":""}"#] {
        assert_eq!(fault(&floats, json).0, "/d", "{json}");
    }
    assert_eq!(fault(&floats, r#"{"f":1e39}"#).0, "/f");
}

#[test]
fn bytes_are_read_in_either_alphabet_of_base64() {
    let raw = schema("message M { bytes r = 1; }");
    for json in [r#"{"r":"+/8="}"#, r#"{"r":"-_8="}"#, r#"{"r":"-_8"}"#] {
        assert_eq!(back(&raw, json), r#"{"r":"+/8="}"#, "{json}");
    }
}

#[test]
fn a_message_is_chosen_by_its_name_or_is_the_first() {
    let nested = schema(
        "message A {} message B { map<string, int32> m = 1; message C { message D { int32 x = 1; } } }",
    );
    for (record, indexes) in [
        (None, &[0][..]),
        (Some("p.A"), &[0]),
        (Some("p.B"), &[1]),
        // The entry of a map is the first message nested in `B`, as in its descriptor.
        (Some("p.B.C"), &[1, 1]),
        (Some("p.B.C.D"), &[1, 1, 0]),
    ] {
        assert_eq!(nested.encode(record, b"{}").unwrap().message_indexes, indexes, "{record:?}");
    }
    assert_eq!(nested.encode(Some("p.B.C.D"), br#"{"x":1}"#).unwrap().body, [8, 1]);
    assert_eq!(nested.decode(&[1, 1, 0], &[8, 1]).unwrap(), br#"{"x":1}"#);
    assert_eq!(nested.decode(&[], &[]).unwrap(), b"{}");
    assert!(nested.encode(Some("p.X"), b"{}").unwrap_err().message.contains("no message `p.X`"));
    assert!(nested.decode(&[7], &[]).unwrap_err().message.contains("no message [7]"));
}

#[test]
fn well_known_types_have_their_own_forms() {
    let known = compiled(
        "syntax = \"proto3\"; package p;
        import \"google/protobuf/any.proto\"; import \"google/protobuf/duration.proto\";
        import \"google/protobuf/empty.proto\"; import \"google/protobuf/field_mask.proto\";
        import \"google/protobuf/struct.proto\"; import \"google/protobuf/timestamp.proto\";
        import \"google/protobuf/wrappers.proto\";
        message M { google.protobuf.Timestamp at = 1; google.protobuf.Duration took = 2; google.protobuf.Struct s = 3;
            google.protobuf.Value v = 4; google.protobuf.UInt64Value u = 5; google.protobuf.StringValue t = 6;
            google.protobuf.Any any = 7; google.protobuf.FieldMask mask = 8; google.protobuf.NullValue n = 9;
            google.protobuf.Empty e = 10; google.protobuf.ListValue l = 11;
            oneof o { google.protobuf.NullValue on = 12; } }
        message Line { int32 count = 1; }",
        &[],
    )
    .unwrap();
    for json in [
        r#"{"at":"2024-02-29T23:59:59.123Z","took":"-1.500s"}"#,
        r#"{"s":{"a":[null,true,"x",{}]},"l":[1.0,"x"]}"#,
        r#"{"v":null}"#,
        r#"{"v":{"a":null}}"#,
        r#"{"u":"18446744073709551615","t":""}"#,
        r#"{"u":"0"}"#,
        r#"{"any":{"@type":"type.googleapis.com/p.Line","count":3}}"#,
        r#"{"any":{"@type":"type.googleapis.com/p.Line"}}"#,
        r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}}"#,
        r#"{"any":{"@type":"a/google.protobuf.Any","value":{"@type":"b/p.Line","count":1}}}"#,
        r#"{"any":{}}"#,
        r#"{"mask":"a.b,c"}"#,
        r#"{"e":{}}"#,
        r#"{"on":null}"#,
    ] {
        assert_eq!(back(&known, json), json);
    }
    assert_eq!(
        back(&known, r#"{"any":{"count":3,"@type":"x/p.Line"},"n":null}"#),
        r#"{"any":{"@type":"x/p.Line","count":3}}"#
    );
    for (json, path) in [
        (r#"{"at":"secret"}"#, "/at"),
        (r#"{"took":"secret"}"#, "/took"),
        (r#"{"any":{"@type":"x/p.Line","count":"secret"}}"#, "/any/count"),
        (r#"{"any":{"@type":"x/secret"}}"#, "/any/@type"),
        (r#"{"any":{"@type":1}}"#, "/any/@type"),
        (r#"{"any":{"@type":"x/google.protobuf.Duration","value":"secret"}}"#, "/any/value"),
        (r#"{"u":"18446744073709551616"}"#, "/u"),
        (r#"{"s":"secret"}"#, "/s"),
    ] {
        let (at, message) = fault(&known, json);
        assert_eq!(at, path, "{json}: {message}");
        assert!(!message.contains("secret"), "{json}: {message}");
    }
}

#[test]
fn imports_are_found_among_those_given_and_nowhere_else() {
    let text = "syntax = \"proto3\"; import \"shop/money.proto\"; message Sale { shop.Money price = 1; }";
    let money = "syntax = \"proto3\"; package shop; import \"shop/currency.proto\"; message Money { Currency c = 1; }";
    let currency = "syntax = \"proto3\"; package shop; enum Currency { EUR = 0; USD = 1; }";
    let references = [("shop/currency.proto", currency), ("shop/money.proto", money)];
    let sale = compiled(text, &references).unwrap();
    assert_eq!(back(&sale, r#"{"price":{"c":"USD"}}"#), r#"{"price":{"c":"USD"}}"#);
    let missing = compiled(text, &references[..1]).unwrap_err().to_string();
    assert!(missing.contains("schema.proto:1:") && missing.contains("shop/money.proto"), "{missing}");
    let file =
        format!("syntax = \"proto3\"; import \"{}/x.proto\"; message M {{}}", env!("CARGO_MANIFEST_DIR"));
    assert!(compiled(&file, &[]).is_err());
    assert!(compiled("syntax = \"proto3\"; message M {}", &[("schema.proto", currency)]).is_ok());
}

#[test]
fn proto2_has_required_fields_groups_and_its_own_presence() {
    let old = compiled(
        "syntax = \"proto2\"; message M { required int32 a = 1; optional int32 b = 2 [default = 7];
            repeated int32 c = 3; optional group G = 4 { optional string t = 1; } }",
        &[],
    )
    .unwrap();
    let json = r#"{"a":0,"b":0,"c":[1,2],"g":{"t":"x"}}"#;
    let (body, again) = there(&old, json).unwrap();
    assert_eq!(body, [8, 0, 16, 0, 24, 1, 24, 2, 0x23, 10, 1, b'x', 0x24]);
    assert_eq!(again, json);
    assert_eq!(fault(&old, "{}"), ("/a".to_owned(), "is missing, and required".to_owned()));
}

#[test]
fn a_schema_that_is_none_says_where() {
    for (text, says) in [
        ("", "no message"),
        ("syntax = \"proto3\"; enum E { A = 0; }", "no message"),
        ("syntax = \"proto3\";\nmessage M { strng a = 1; }", "schema.proto:2:13"),
        ("message", "expected an identifier"),
        ("syntax = \"proto3\"; message M { int32 a = 1; int32 b = 1; }", "schema.proto:1:"),
    ] {
        let fault = compiled(text, &[]).unwrap_err().to_string();
        assert!(fault.contains(says), "{text}: {fault}");
    }
    assert!(compiled(&"message A {".repeat(1 << 16), &[]).is_err());
}

#[test]
fn what_others_may_write_is_read() {
    let order = schema(ORDER);
    for (body, json) in [
        // Unknown fields, of every kind.
        (&[0xf8, 1, 5, 0xfa, 1, 1, 9, 0xf9, 1, 0, 0, 0, 0, 0, 0, 0, 0, 8, 1][..], r#"{"id":"1"}"#),
        // The last one counts; a message in parts is one.
        (&[8, 1, 8, 2], r#"{"id":"2"}"#),
        (&[0x3a, 3, 10, 1, b'a', 0x3a, 2, 16, 3], r#"{"line":{"sku":"a","count":3}}"#),
        (&[0x32, 1, b'p', 0x3a, 0], r#"{"line":{}}"#),
        (&[0x3a, 0, 0x32, 1, b'p'], r#"{"pan":"p"}"#),
        // A default that was sent, an enum's number without name, a map's entry without parts.
        (&[8, 0, 0x20, 9, 0x2a, 0], r#"{"state":9,"seen":{"0":false}}"#),
        (&[0x2a, 2, 8, 1, 0x2a, 4, 8, 1, 16, 1], r#"{"seen":{"1":true}}"#),
    ] {
        assert_eq!(String::from_utf8(order.decode(&[0], body).unwrap()).unwrap(), json, "{body:?}");
    }
    let lists = schema(
        "message M { repeated int32 packed = 1; repeated int32 apart = 2 [packed = false]; repeated double d = 3; }",
    );
    let body = [8, 1, 10, 2, 2, 3, 18, 2, 4, 5, 16, 6];
    assert_eq!(lists.decode(&[0], &body).unwrap(), br#"{"packed":[1,2,3],"apart":[4,5,6]}"#);
}

#[test]
fn bytes_of_another_schema_are_faults() {
    let order = schema(ORDER);
    for (body, path, says) in [
        (&[8][..], "", "no end"),
        (&[0xff; 11], "", "no end, or more than 64 bits"),
        (&[0x12, 5, b'a'], "", "5 bytes are announced, and 1 are there"),
        (&[0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10], "", "are announced"),
        (&[0x12, 1, 0xff], "/noteText", "not UTF-8"),
        (&[10, 0], "/id", "another type"),
        (&[0x1a, 2, 8, 1], "/lines/0/sku", "another type"),
        (&[0, 1], "", "number is 0"),
        (&[0x0c], "", "a group ends"),
        (&[0x0b, 0x14], "", "a group ends"),
        (&[0x0b], "", "no end"),
        (&[0x0f], "", "does not exist"),
    ] {
        let fault = order.decode(&[0], body).unwrap_err();
        assert!(fault.message.contains(says), "{body:?}: {fault}");
        assert_eq!(fault.path, path, "{body:?}");
    }
}

#[test]
fn values_that_lie_too_deep_in_each_other_are_refused() {
    let list = compiled(
        "syntax = \"proto3\"; import \"google/protobuf/any.proto\"; import \"google/protobuf/struct.proto\";
        message L { L n = 1; google.protobuf.Any any = 2; google.protobuf.Value v = 3; }",
        &[],
    )
    .unwrap();
    let nested = |depth: usize| format!("{}{{}}{}", r#"{"n":"#.repeat(depth), "}".repeat(depth));
    let (body, json) = there(&list, &nested(127)).unwrap();
    assert_eq!(json, nested(127));
    assert!(fault(&list, &nested(128)).1.contains("128 deep"));
    let mut deeper = vec![10];
    crate::wire::write_varint(&mut deeper, body.len() as u64);
    deeper.extend(body);
    assert!(list.decode(&[0], &deeper).unwrap_err().message.contains("128 deep"));
    // Any in Any, without end, and the same of values.
    let mut any = Vec::new();
    let mut value = Vec::new();
    for _ in 0..2000 {
        let mut outer = vec![10, 24];
        outer.extend_from_slice(b"/google.protobuf.Any    ".trim_ascii_end());
        outer[1] = 20;
        outer.push(18);
        crate::wire::write_varint(&mut outer, any.len() as u64);
        outer.append(&mut any);
        any = outer;
        let start = value.len();
        crate::wire::put_length(&mut value, 0);
        value.insert(0, 0x0a);
        crate::wire::put_length(&mut value, 0);
        value.insert(0, 0x32);
        assert!(value.len() > start);
    }
    for (tag, inner) in [(0x12, any), (0x1a, value)] {
        let mut body = vec![tag];
        crate::wire::write_varint(&mut body, inner.len() as u64);
        body.extend(inner);
        assert!(list.decode(&[0], &body).is_err());
    }
    let text = format!(r#"{{"v":{}{}}}"#, "[".repeat(1 << 20), "]".repeat(1 << 20));
    assert!(list.encode(None, text.as_bytes()).is_err());
    let any = r#"{"@type":"/google.protobuf.Any","value":"#;
    let text = format!(r#"{{"any":{}{{}}{}}}"#, any.repeat(1000), "}".repeat(1000));
    assert!(list.encode(None, text.as_bytes()).is_err());
}
