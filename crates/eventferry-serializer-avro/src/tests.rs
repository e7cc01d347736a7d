//! What goes through a schema, and what does not, and what is said of it.

use eventferry_schema_registry::{Format as _, PayloadFault, Schema as _, SchemaSource};

use crate::{Avro, AvroSchema};

fn schema(text: &str) -> AvroSchema {
    with_references(text, &[])
}

fn with_references(text: &str, references: &[(&str, &str)]) -> AvroSchema {
    compiled(text, references).unwrap()
}

fn compiled(
    text: &str,
    references: &[(&str, &str)],
) -> Result<AvroSchema, eventferry_schema_registry::SchemaFault> {
    let references = references.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Avro.compile(&SchemaSource { text: text.to_owned(), references })
}

/// What `json` is as binary, and back.
fn there(schema: &AvroSchema, json: &str) -> Result<(Vec<u8>, String), PayloadFault> {
    let body = schema.encode(None, json.as_bytes())?.body;
    let back = schema.decode(&[], &body)?;
    Ok((body, String::from_utf8(back).unwrap()))
}

fn fault(schema: &AvroSchema, json: &str) -> (String, String) {
    let PayloadFault { path, message } = schema.encode(None, json.as_bytes()).unwrap_err();
    (path, message)
}

/// A record of one field `f` of this type.
fn field(of: &str) -> AvroSchema {
    schema(&format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{of}}}]}}"#))
}

/// That a value of this type comes back so.
fn back(of: &str, json: &str) -> String {
    there(&schema(of), json).unwrap_or_else(|fault| panic!("{of} {json}: {fault}")).1
}

const STATE: &str = r#"{"type":"enum","name":"State","symbols":["NEW","PAID"]}"#;

const ORDER: &str = r#"{"type":"record","name":"Order","namespace":"com.shop","fields":[
    {"name":"id","type":"long"},
    {"name":"note","type":"string","default":"none"},
    {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
        {"name":"sku","type":"string"},{"name":"count","type":"int","default":1}]}}}]}"#;

#[test]
fn fields_are_written_in_the_schemas_order_whatever_the_payloads() {
    let order = schema(ORDER);
    assert_eq!(order.record(), Some("com.shop.Order"));
    let (body, json) = there(&order, r#"{"lines":[{"count":2,"sku":"a"}],"note":"n","id":1}"#).unwrap();
    assert_eq!(body, [2, 2, b'n', 2, 2, b'a', 4, 0]);
    assert_eq!(json, r#"{"id":1,"note":"n","lines":[{"sku":"a","count":2}]}"#);
    for json in [r#"{"id":1,"lines":[{"sku":"a","count":2}],"note":"n"}"#, &json] {
        assert_eq!(there(&order, json).unwrap().0, body, "{json}");
    }
}

#[test]
fn a_missing_field_takes_its_default() {
    let (_, json) = there(&schema(ORDER), r#"{"id":1,"lines":[{"sku":"a"}]}"#).unwrap();
    assert_eq!(json, r#"{"id":1,"note":"none","lines":[{"sku":"a","count":1}]}"#);
}

#[test]
fn a_fault_names_the_field_and_shows_nothing_of_its_value() {
    let order = schema(ORDER);
    for (json, path, says) in [
        (
            r#"{"id":1,"lines":[{"sku":"a"},{"sku":"b","count":"secret"}]}"#,
            "/lines/1/count",
            "wants a whole number",
        ),
        (r#"{"id":1,"lines":[{}]}"#, "/lines/0/sku", "is missing"),
        (r#"{"id":1,"lines":[],"total":"secret"}"#, "/total", "no such field"),
        (r#"{"id":1,"lines":[],"id":1}"#, "/id", "is there twice"),
        (r#"{"lines":[],"id":1,"id":1}"#, "/id", "is there twice"),
        (r#"{"id":1,"lines":"secret"}"#, "/lines", "wants an array, and is a string"),
        (r#""secret""#, "", "wants an object of the record `com.shop.Order`"),
        (r#"{"id":1,"lines":[],"a/b~c":0}"#, "/a~1b~0c", "no such field"),
        (r#"{"id":1,"lines":[]} secret"#, "", "not JSON"),
        (r#"{"id":secret}"#, "/id", "not JSON: byte 7"),
    ] {
        let (at, message) = fault(&order, json);
        assert_eq!(at, path, "{json}: {message}");
        assert!(message.contains(says), "{json}: {message}");
        assert!(!message.contains("secret"), "{json}: {message}");
    }
}

#[test]
fn no_fault_of_any_type_shows_its_value() {
    for of in [
        STATE,
        r#""null""#,
        r#""boolean""#,
        r#""float""#,
        r#"{"type":"fixed","name":"F","size":2}"#,
        r#"{"type":"bytes","logicalType":"decimal","precision":4}"#,
        r#"{"type":"string","logicalType":"uuid"}"#,
        r#"{"type":"int","logicalType":"date"}"#,
        r#"{"type":"long","logicalType":"timestamp-millis"}"#,
        r#"["null","int","boolean"]"#,
        r#"["int","float",{"type":"enum","name":"E","symbols":["A"]}]"#,
    ] {
        let (path, message) = fault(&field(of), r#"{"f":"secret"}"#);
        assert_eq!(path, "/f", "{of}: {message}");
        assert!(!message.contains("secret"), "{of}: {message}");
    }
}

#[test]
fn integers_keep_every_digit_and_their_range() {
    assert_eq!(back(r#""long""#, "9223372036854775807"), "9223372036854775807");
    assert_eq!(back(r#""long""#, "-9223372036854775808"), "-9223372036854775808");
    assert_eq!(back(r#""long""#, "9007199254740993"), "9007199254740993");
    assert_eq!(back(r#""int""#, "-2147483648"), "-2147483648");
    for (of, json) in [
        (r#""long""#, "9223372036854775808"),
        (r#""int""#, "2147483648"),
        (r#""int""#, "1.0"),
        (r#""int""#, "1e3"),
        (r#""int""#, r#""1""#),
    ] {
        assert!(fault(&field(of), &format!(r#"{{"f":{json}}}"#)).1.contains("whole number"), "{of} {json}");
    }
}

#[test]
fn floats_are_the_nearest_and_may_be_none() {
    assert_eq!(back(r#""double""#, "0.1"), "0.1");
    assert_eq!(back(r#""double""#, "5"), "5.0");
    assert_eq!(back(r#""double""#, "5e-324"), "5e-324");
    assert_eq!(back(r#""float""#, "0.1"), "0.1");
    for named in ["\"NaN\"", "\"Infinity\"", "\"-Infinity\""] {
        assert_eq!(
            (back(r#""double""#, named), back(r#""float""#, named)),
            (named.to_owned(), named.to_owned())
        );
    }
    assert!(fault(&schema(r#""float""#), "1e39").1.contains("largest"));
    assert!(fault(&schema(r#""double""#), "1e309").1.contains("largest"));
}

#[test]
fn bytes_are_characters_of_their_numbers() {
    let every: Vec<u8> = (0..=255).collect();
    let json = schema(r#""bytes""#).decode(&[], &every).unwrap();
    // By itself it goes without its length, as the clients of registries send it.
    assert_eq!(schema(r#""bytes""#).encode(None, &json).unwrap().body, every);
    let field = field(r#""bytes""#);
    let json = [br#"{"f":"#, &json[..], b"}"].concat();
    let body = field.encode(None, &json).unwrap().body;
    assert_eq!(body, [&[0x80, 0x04], &every[..]].concat());
    assert_eq!(field.decode(&[], &body).unwrap(), json);
    assert!(fault(&schema(r#""bytes""#), r#""Ā""#).1.contains("U+0000 to U+00FF"));
    let fixed = r#"{"type":"fixed","name":"F","size":2}"#;
    assert_eq!(there(&schema(fixed), r#""a\u00ff""#).unwrap(), (vec![b'a', 0xff], "\"aÿ\"".to_owned()));
    assert!(fault(&schema(fixed), r#""a""#).1.contains("2 bytes of `F`"));
}

#[test]
fn logical_types_have_the_texts_that_people_write() {
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":30,"scale":2}"#;
    assert_eq!(back(decimal, r#""12345678901234567890.5""#), r#""12345678901234567890.50""#);
    assert_eq!(back(decimal, "12345678901234567890.12"), r#""12345678901234567890.12""#);
    assert_eq!(back(decimal, "-0.1e0"), r#""-0.10""#);
    let fixed = r#"{"type":"fixed","name":"D","size":3,"logicalType":"decimal","precision":6,"scale":0}"#;
    assert_eq!(there(&schema(fixed), "-2").unwrap(), (vec![0xff, 0xff, 0xfe], "\"-2\"".to_owned()));
    assert!(fault(&schema(decimal), r#""12.345""#).1.contains("2 digits behind the point"));
    assert!(fault(&schema(decimal), r#"" 12""#).1.contains("such as"));
    let date = r#"{"type":"int","logicalType":"date"}"#;
    assert_eq!(there(&schema(date), r#""1970-01-02""#).unwrap(), (vec![2], r#""1970-01-02""#.to_owned()));
    assert_eq!(back(date, "1"), r#""1970-01-02""#);
    let micros = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
    assert_eq!(back(micros, r#""2024-02-29T01:00:00.25+01:00""#), r#""2024-02-29T00:00:00.250Z""#);
    assert_eq!(back(micros, "9223372036854775807"), "9223372036854775807");
    let local = r#"{"type":"long","logicalType":"local-timestamp-millis"}"#;
    assert_eq!(back(local, r#""2024-02-29T01:00:00""#), r#""2024-02-29T01:00:00""#);
    assert_eq!(
        back(r#"{"type":"int","logicalType":"time-millis"}"#, r#""01:02:03.004""#),
        r#""01:02:03.004""#
    );
    let id = r#""123e4567-e89b-12d3-a456-426614174000""#;
    assert_eq!(back(r#"{"type":"string","logicalType":"uuid"}"#, id), id);
    let (body, json) =
        there(&schema(r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#), id).unwrap();
    assert_eq!((body[0], body.len(), json.as_str()), (0x12, 16, id));
    assert!(fault(&schema(r#"{"type":"string","logicalType":"uuid"}"#), r#""123e4567""#).1.contains("UUID"));
}

#[test]
fn a_logical_type_that_does_not_go_with_its_type_is_ignored() {
    assert_eq!(back(r#"{"type":"string","logicalType":"date"}"#, r#""soon""#), r#""soon""#);
    assert_eq!(back(r#"{"type":"bytes","logicalType":"decimal"}"#, r#""ab""#), r#""ab""#);
    assert_eq!(back(r#"{"type":"long","logicalType":"made-up"}"#, "5"), "5");
}

#[test]
fn a_union_takes_the_branch_that_fits_or_the_one_that_is_named() {
    let optional = schema(r#"["null","string"]"#);
    assert_eq!(there(&optional, "null").unwrap(), (vec![0], "null".to_owned()));
    for json in [r#""x""#, r#"{"string":"x"}"#] {
        assert_eq!(there(&optional, json).unwrap(), (vec![2, 2, b'x'], r#""x""#.to_owned()), "{json}");
    }
    let wide = r#"["int","long","double",{"type":"enum","name":"e.E","symbols":["A"]},"string"]"#;
    for (json, branch) in [("1", 0), ("2147483648", 1), ("1.0", 2), (r#""A""#, 3), (r#""B""#, 4)] {
        let (body, back) = there(&schema(wide), json).unwrap();
        assert_eq!((body[0], back.as_str()), (branch * 2, json));
    }
    // What would be read as another branch is named.
    for json in [r#"{"long":1}"#, r#"{"string":"A"}"#, r#"{"string":"NaN"}"#] {
        assert_eq!(back(wide, json), json);
    }
    assert_eq!(back(wide, r#"{"e.E":"A"}"#), r#""A""#);
    let (path, message) = fault(&field(r#"["null","int"]"#), r#"{"f":true}"#);
    assert_eq!((path.as_str(), message.as_str()), ("/f", "is a boolean, and wants one of `null`, `int`"));
    let (path, message) = fault(&field(r#"["null","int"]"#), r#"{"f":{"int":"x"}}"#);
    assert!(path == "/f/int" && message.contains("whole number"), "{path}: {message}");
}

#[test]
fn a_union_of_records_goes_by_their_fields() {
    let of = r#"["null",
        {"type":"record","name":"Card","fields":[{"name":"pan","type":"string"},
            {"name":"memo","type":"string","default":""}]},
        {"type":"record","name":"Bank","fields":[{"name":"iban","type":"string"},
            {"name":"memo","type":"string","default":""}]},
        {"type":"record","name":"Cash","fields":[{"name":"memo","type":"string"}]}]"#;
    let pays = schema(of);
    for (json, branch) in [
        (r#"{"iban":"x"}"#, 2),
        (r#"{"pan":"x","memo":"m"}"#, 1),
        (r#"{"memo":"m"}"#, 3),
        (r#"{"Bank":{"iban":"x"}}"#, 2),
    ] {
        assert_eq!(there(&pays, json).unwrap().0[0], branch * 2, "{json}");
    }
    let (path, message) = fault(&pays, r#"{"x":1}"#);
    assert_eq!(path, "");
    assert!(message.contains("fits none of `null`, `Card`, `Bank`, `Cash`"), "{message}");
    // Where only one branch takes an object, what is wrong with it is said.
    assert_eq!(fault(&schema(&format!(r#"["null",{ORDER}]"#)), r#"{"id":1}"#).0, "/lines");
}

#[test]
fn an_object_that_looks_like_a_branchs_name_is_written_with_it() {
    let of = r#"["string",{"type":"map","values":"string"}]"#;
    assert_eq!(back(of, r#"{"string":"x"}"#), r#""x""#);
    assert_eq!(back(of, r#"{"map":{"string":"x"}}"#), r#"{"map":{"string":"x"}}"#);
    assert_eq!(back(of, r#"{"a":"x"}"#), r#"{"a":"x"}"#);
    assert_eq!(back(of, r#"{"string":"x","a":"y"}"#), r#"{"string":"x","a":"y"}"#);
}

#[test]
fn a_record_of_a_union_may_be_asked_for_by_its_name() {
    let events = schema(
        r#"[{"type":"record","name":"a.Made","fields":[{"name":"id","type":"int"}]},
            {"type":"record","name":"a.Gone","fields":[{"name":"id","type":"int"}]}]"#,
    );
    assert_eq!(events.record(), None);
    assert_eq!(events.encode(Some("a.Gone"), br#"{"id":1}"#).unwrap().body, [2, 2]);
    assert_eq!(events.encode(None, br#"{"id":1}"#).unwrap().body, [0, 2]);
    let fault = events.encode(Some("a.Lost"), br#"{"id":1}"#).unwrap_err();
    assert_eq!(fault.to_string(), "the payload: the schema describes no `a.Lost`");
    assert!(schema(ORDER).encode(Some("com.shop.Order"), br#"{"id":1,"lines":[]}"#).is_ok());
}

#[test]
fn types_of_other_schemas_are_known_by_their_names() {
    let money = r#"{"type":"record","name":"com.shop.Money","fields":[
        {"name":"amount","type":{"type":"fixed","name":"Amount","size":1}},
        {"name":"currency","type":"com.shop.Currency"}]}"#;
    let currency = r#"{"type":"enum","name":"Currency","namespace":"com.shop","symbols":["EUR","USD"]}"#;
    let sale = r#"{"type":"record","name":"Sale","namespace":"com.shop","fields":[
        {"name":"price","type":"Money"},{"name":"tip","type":["null","com.shop.Amount"],"default":null}]}"#;
    let references = [("com.shop.Currency", currency), ("com.shop.Money", money)];
    let sale_schema = with_references(sale, &references);
    let (body, json) = there(&sale_schema, r#"{"price":{"amount":"a","currency":"USD"},"tip":"b"}"#).unwrap();
    assert_eq!(body, [b'a', 2, 2, b'b']);
    assert_eq!(json, r#"{"price":{"amount":"a","currency":"USD"},"tip":"b"}"#);
    let missing = compiled(sale, &references[..1]).unwrap_err().to_string();
    assert!(missing.starts_with("/fields/0/type: no type is called `com.shop.Money`"), "{missing}");
    let wrong = compiled(sale, &[("com.shop.Money", "{}")]).unwrap_err().to_string();
    assert_eq!(wrong, "the schema `com.shop.Money` that is referred to: wants `type`");
}

#[test]
fn a_schema_that_is_none_says_where() {
    for (text, says) in [
        ("", "not JSON"),
        ("1", "wants a type"),
        (r#""strng""#, "no type is called `strng`"),
        (r#"{"type":"record","name":"1R","fields":[]}"#, "/name: `1R` is no name"),
        (r#"{"type":"record","name":"R"}"#, "wants `fields`"),
        (r#"{"type":"record","name":"R","fields":[1]}"#, "/fields/0: wants an object"),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#,
            "/fields/1: the record has two fields `a`",
        ),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":"x"}]}"#,
            "/fields/0/default: wants a whole number",
        ),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"R","default":{}}]}"#,
            "/fields/0/default/a: is missing",
        ),
        (
            r#"{"type":"fixed","name":"D","size":9223372036854775807,"logicalType":"decimal","precision":4}"#,
            "/size: more than 67108864 bytes are not taken",
        ),
        // `A` is still open where a default of it is written.
        (
            r#"{"type":"record","name":"A","fields":[{"name":"x","type":"int","default":5},{"name":"b","default":[],
                "type":{"type":"array","items":{"type":"record","name":"B","fields":[
                    {"name":"a","type":"A","default":{}}]}}}]}"#,
            "/fields/0/default",
        ),
        (r#"["int","int"]"#, "/1: the union has two branches `int`"),
        (r#"["int",["long"]]"#, "/1: a union may not lie directly in another"),
        (r#"{"type":"enum","name":"E","symbols":["A","A"]}"#, "/symbols/1: the enum has two symbols `A`"),
        (r#"{"type":"array"}"#, "wants `items`"),
        (r#"{"type":"array","items":{"type":"map","values":"x"}}"#, "/items/values: no type is called `x`"),
        (
            r#"[{"type":"fixed","name":"F","size":1},{"type":"fixed","name":"F","size":1}]"#,
            "/1: the type `F` is defined",
        ),
    ] {
        let fault = compiled(text, &[]).unwrap_err().to_string();
        assert!(fault.starts_with(says) || fault.contains(says), "{text}: {fault}");
    }
}

#[test]
fn defaults_are_written_as_the_spec_wants_them() {
    let of = schema(
        r#"{"type":"record","name":"R","fields":[
            {"name":"b","type":"bytes","default":"\u00ff"},
            {"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":2},"default":"\u0001"},
            {"name":"t","type":{"type":"int","logicalType":"date"},"default":1},
            {"name":"u","type":["null","int"],"default":null},
            {"name":"v","type":["int","null"],"default":7},
            {"name":"m","type":{"type":"map","values":"int"},"default":{"int":1}},
            {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]},"default":"B"},
            {"name":"r","type":{"type":"record","name":"I","fields":[
                {"name":"x","type":"long","default":3}]},"default":{}},
            {"name":"n","type":["null","R"],"default":null}]}"#,
    );
    let (_, json) = there(&of, "{}").unwrap();
    assert_eq!(
        json,
        r#"{"b":"ÿ","d":"0.01","t":"1970-01-02","u":null,"v":7,"m":{"int":1},"e":"B","r":{"x":3},"n":null}"#
    );
}

#[test]
fn values_that_lie_too_deep_in_each_other_are_refused() {
    let list = schema(r#"{"type":"record","name":"L","fields":[{"name":"n","type":["null","L"]}]}"#);
    let nested = |depth: usize| format!("{}null{}", r#"{"n":"#.repeat(depth), "}".repeat(depth));
    let (body, json) = there(&list, &nested(128)).unwrap();
    assert_eq!(json, nested(128));
    assert!(fault(&list, &nested(129)).1.contains("128 deep"));
    assert!(list.decode(&[], &[&[2], &body[..]].concat()).unwrap_err().message.contains("128 deep"));
    let named = format!("{}null{}", r#"{"n":{"L":"#.repeat(127), "}}".repeat(127));
    let named = format!(r#"{{"n":{{"L":{named}}}}}"#);
    assert!(list.encode(None, named.as_bytes()).is_err(), "a null that is said to be an `L`");
    assert!(list.encode(None, "[".repeat(1 << 20).as_bytes()).is_err());
    assert!(list.encode(None, r#"{"n":"#.repeat(1 << 20).as_bytes()).is_err());
    let endless = schema(r#"{"type":"record","name":"E","fields":[{"name":"e","type":"E"}]}"#);
    assert!(endless.decode(&[], &[]).unwrap_err().message.contains("128 deep"));
    assert!(compiled(&"[".repeat(1 << 20), &[]).is_err());
}

#[test]
fn lengths_that_are_not_there_are_faults_and_take_no_memory() {
    // Counts and lengths of 2^60.
    let huge = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20];
    for of in [
        r#""string""#,
        r#"{"type":"array","items":"null"}"#,
        r#"{"type":"array","items":"long"}"#,
        r#"{"type":"array","items":{"type":"record","name":"N","fields":[]}}"#,
        r#"{"type":"map","values":"null"}"#,
        r#"["null","bytes"]"#,
        r#"{"type":"fixed","name":"F","size":67108864}"#,
    ] {
        assert!(schema(of).decode(&[], &huge).is_err(), "{of}");
    }
    let minimum = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x00];
    assert!(schema(r#"{"type":"array","items":"null"}"#).decode(&[], &minimum).is_err());
    assert_eq!(schema(r#"{"type":"array","items":"int"}"#).decode(&[], &[3, 4, 2, 4, 0]).unwrap(), b"[1,2]");
    let twice =
        schema(r#"{"type":"map","values":"int"}"#).decode(&[], &[4, 2, b'k', 2, 2, b'k', 4, 0]).unwrap_err();
    assert_eq!((twice.path.as_str(), twice.message.as_str()), ("/k", "is there twice"));
}

#[test]
fn bytes_of_another_schema_are_faults() {
    for (of, body, says) in [
        (r#""int""#, &[2, 2][..], "bytes are left"),
        (r#""int""#, &[0x80, 0x80, 0x80, 0x80, 0x20], "beyond 32 bits"),
        (r#""long""#, &[0x80], "no end"),
        (r#""long""#, &[0xff; 11], "more than 64 bits"),
        (r#""boolean""#, &[2], "neither 0 nor 1"),
        (r#""string""#, &[2, 0xff], "not UTF-8"),
        (r#""string""#, &[1], "below zero"),
        (r#""string""#, &[4, b'a'], "2 bytes are announced, and 1 are there"),
        (r#"["null"]"#, &[2], "fewer branches"),
        (r#"{"type":"enum","name":"E","symbols":["A"]}"#, &[2], "fewer symbols"),
    ] {
        let fault = schema(of).decode(&[], body).unwrap_err();
        assert!(fault.message.contains(says), "{of}: {fault}");
    }
    let order = schema(ORDER);
    let fault = order.decode(&[], &[2, 2, b'n', 2, 2, 0xff, 4, 0]).unwrap_err();
    assert_eq!(fault.path, "/lines/0/sku");
}

#[test]
fn a_short_text_cannot_ask_for_endless_defaults() {
    let default = "x".repeat(1 << 19);
    let of = format!(
        r#"{{"type":"array","items":{{"type":"record","name":"R","fields":[
            {{"name":"f","type":"string","default":"{default}"}}]}}}}"#
    );
    let json = format!("[{}{{}}]", "{},".repeat(130));
    assert!(fault(&schema(&of), &json).1.contains("is longer than"));
    let doubling = (1..40).fold(r#"{"type":"record","name":"R0","fields":[]}"#.to_owned(), |inner, place| {
        let before = place - 1;
        format!(
            r#"{{"type":"record","name":"R{place}","fields":[{{"name":"a","type":{inner},"default":{{}}}},
                {{"name":"b","type":"R{before}","default":{{}}}},{{"name":"c","type":"int","default":0}}]}}"#
        )
    });
    assert!(compiled(&doubling, &[]).unwrap_err().to_string().contains("is longer than"));
}
