//! Random schemas, values and bytes, held against another hand's Avro and JSON.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use eventferry_schema_registry::json::Reader;
use eventferry_schema_registry::{Format as _, Schema as _, SchemaSource};
use eventferry_serializer_avro::{Avro, AvroSchema};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A schema that was made up. Named types have random names.
#[derive(Clone, Debug)]
enum Made {
    Plain(&'static str),
    Logical(&'static str, &'static str),
    Fixed(u32, usize),
    Enum(u32, usize),
    Array(Box<Made>),
    Map(Box<Made>),
    Union(Vec<Made>),
    Record(u32, Vec<Made>),
}

const LOGICAL: [(&str, &str); 6] = [
    ("int", "date"),
    ("int", "time-millis"),
    ("long", "timestamp-micros"),
    ("long", "local-timestamp-nanos"),
    ("string", "uuid"),
    ("bytes", "decimal"),
];

impl Made {
    fn any() -> impl Strategy<Value = Self> {
        let plain = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
        let leaf = prop_oneof![
            4 => (0..plain.len()).prop_map(move |place| Self::Plain(plain[place])),
            2 => (0..LOGICAL.len()).prop_map(|place| Self::Logical(LOGICAL[place].0, LOGICAL[place].1)),
            1 => (any::<u32>(), 0_usize..5).prop_map(|(name, size)| Self::Fixed(name, size)),
            1 => (any::<u32>(), 1_usize..4).prop_map(|(name, symbols)| Self::Enum(name, symbols)),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(|items| Self::Array(Box::new(items))),
                inner.clone().prop_map(|values| Self::Map(Box::new(values))),
                vec(inner.clone(), 1..4).prop_map(Self::union),
                (any::<u32>(), vec(inner, 0..4)).prop_map(|(name, fields)| Self::Record(name, fields)),
            ]
        })
    }

    /// Of the branches those that may be in one union.
    fn union(branches: Vec<Self>) -> Self {
        let mut kept: Vec<Self> = Vec::new();
        for branch in branches {
            if !matches!(branch, Self::Union(_)) && kept.iter().all(|other| other.name() != branch.name()) {
                kept.push(branch);
            }
        }
        if kept.is_empty() {
            kept.push(Self::Plain("null"));
        }
        Self::Union(kept)
    }

    fn name(&self) -> String {
        match self {
            Self::Plain(name) | Self::Logical(name, _) => (*name).to_owned(),
            Self::Fixed(name, _) => format!("f.F{name}"),
            Self::Enum(name, _) => format!("e.E{name}"),
            Self::Record(name, _) => format!("r.R{name}"),
            Self::Array(_) => "array".to_owned(),
            Self::Map(_) => "map".to_owned(),
            Self::Union(_) => "union".to_owned(),
        }
    }

    fn schema(&self) -> Value {
        let name = self.name();
        match self {
            Self::Plain(name) => json!(name),
            Self::Logical(name, logical) => {
                json!({"type": name, "logicalType": logical, "precision": 20, "scale": 3})
            }
            Self::Fixed(_, size) => json!({"type": "fixed", "name": name, "size": size}),
            Self::Enum(_, symbols) => {
                let symbols: Vec<_> = (0..*symbols).map(|place| format!("S{place}")).collect();
                json!({"type": "enum", "name": name, "symbols": symbols})
            }
            Self::Array(items) => json!({"type": "array", "items": items.schema()}),
            Self::Map(values) => json!({"type": "map", "values": values.schema()}),
            Self::Union(branches) => branches.iter().map(Self::schema).collect(),
            Self::Record(_, fields) => {
                let field = |(place, field): (usize, &Self)| {
                    let name = format!("f{place}");
                    json!({"name": name, "type": field.schema()})
                };
                let fields: Vec<_> = fields.iter().enumerate().map(field).collect();
                json!({"type": "record", "name": name, "fields": fields})
            }
        }
    }

    /// A value of it as JSON, with a union's branch by its name.
    fn value(&self) -> BoxedStrategy<String> {
        let text = |value: String| Value::from(value).to_string();
        match self {
            Self::Plain("null") => Just("null".to_owned()).boxed(),
            Self::Plain("boolean") => any::<bool>().prop_map(|value| value.to_string()).boxed(),
            Self::Plain("int") => any::<i32>().prop_map(|value| value.to_string()).boxed(),
            Self::Plain("long") => any::<i64>().prop_map(|value| value.to_string()).boxed(),
            Self::Plain("float") => any::<f32>()
                .prop_map(|value| if value.is_finite() { format!("{value:?}") } else { "\"NaN\"".into() })
                .boxed(),
            Self::Plain("double") => any::<f64>()
                .prop_map(
                    |value| if value.is_finite() { format!("{value:?}") } else { "\"Infinity\"".into() },
                )
                .boxed(),
            Self::Plain("bytes") => vec(any::<u8>(), 0..6)
                .prop_map(move |bytes| text(bytes.into_iter().map(char::from).collect()))
                .boxed(),
            Self::Plain(_) => any::<String>().prop_map(text).boxed(),
            Self::Logical(_, "date") => {
                prop_oneof![any::<i32>().prop_map(|days| days.to_string()), Just("\"2024-02-29\"".to_owned())]
                    .boxed()
            }
            Self::Logical("int", _) => any::<i32>().prop_map(|count| count.to_string()).boxed(),
            Self::Logical("long", _) => any::<i64>().prop_map(|count| count.to_string()).boxed(),
            Self::Logical("string", _) => any::<u128>()
                .prop_map(|bits| {
                    let hex = format!("{bits:032x}");
                    format!(
                        "\"{}-{}-{}-{}-{}\"",
                        &hex[..8],
                        &hex[8..12],
                        &hex[12..16],
                        &hex[16..20],
                        &hex[20..]
                    )
                })
                .boxed(),
            Self::Logical(..) => {
                (any::<i32>(), 0_u32..1000).prop_map(|(whole, part)| format!("{whole}.{part:03}")).boxed()
            }
            Self::Fixed(_, size) => vec(any::<u8>(), *size)
                .prop_map(move |bytes| text(bytes.into_iter().map(char::from).collect()))
                .boxed(),
            Self::Enum(_, symbols) => (0..*symbols).prop_map(|place| format!("\"S{place}\"")).boxed(),
            Self::Array(items) => {
                vec(items.value(), 0..4).prop_map(|items| format!("[{}]", items.join(","))).boxed()
            }
            Self::Map(values) => {
                let entries = proptest::collection::btree_map("[a-z]{0,3}|map|string", values.value(), 0..4);
                let entry = |(key, value): (String, String)| format!("\"{key}\":{value}");
                let joined = move |entries: std::collections::BTreeMap<String, String>| {
                    let entries: Vec<_> = entries.into_iter().map(entry).collect();
                    format!("{{{}}}", entries.join(","))
                };
                entries.prop_map(joined).boxed()
            }
            Self::Union(branches) => {
                let branch = |branch: &Self| {
                    let name = branch.name();
                    let named = move |value| match &*name {
                        "null" => value,
                        name => format!("{{\"{name}\":{value}}}"),
                    };
                    branch.value().prop_map(named).boxed()
                };
                proptest::strategy::Union::new(branches.iter().map(branch)).boxed()
            }
            Self::Record(_, fields) => {
                let values: Vec<_> = fields.iter().map(Self::value).collect();
                let object = |values: Vec<String>| {
                    let field = |(place, value): (usize, String)| format!("\"f{place}\":{value}");
                    // In any order.
                    let fields: Vec<_> = values.into_iter().enumerate().map(field).rev().collect();
                    format!("{{{}}}", fields.join(","))
                };
                values.prop_map(object).boxed()
            }
        }
    }
}

fn compiled(text: &str) -> AvroSchema {
    Avro.compile(&SchemaSource { text: text.to_owned(), references: Vec::new() }).unwrap()
}

/// A schema and a value of it.
fn pair() -> impl Strategy<Value = (String, String)> {
    // A name that comes twice makes no schema.
    let is_schema = |made: &Made| {
        let text = made.schema().to_string();
        Avro.compile(&SchemaSource { text, references: Vec::new() }).is_ok()
    };
    let made = Made::any().prop_filter("a schema", is_schema);
    made.prop_flat_map(|made| (Just(made.schema().to_string()), made.value()))
}

proptest! {
    #[test]
    fn every_value_goes_there_and_back_and_another_hand_reads_the_same((text, value) in pair()) {
        let schema = compiled(&text);
        let body = schema.encode(None, value.as_bytes()).unwrap().body;
        let json = schema.decode(&[], &body).unwrap();
        let shown = String::from_utf8(json.clone()).unwrap();
        prop_assert!(serde_json::from_slice::<Value>(&json).is_ok(), "{shown}");
        prop_assert_eq!(&schema.encode(None, &json).unwrap().body, &body, "{} as {}", value, shown);
        // By themselves bytes go without their length here.
        let made: Value = serde_json::from_str(&text).unwrap();
        let is_bytes = made == "bytes" || made["type"] == "bytes";
        if !is_bytes {
            let theirs = apache_avro::Schema::parse_str(&text).unwrap();
            let read = apache_avro::reader::datum::GenericDatumReader::builder(&theirs).build().unwrap();
            let mut rest = body.as_slice();
            read.read_value(&mut rest).unwrap();
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn random_bytes_are_a_value_or_a_fault_and_never_more_than_they_can_say(
        made in Made::any(),
        body in vec(prop_oneof![any::<u8>(), 0_u8..6, Just(0xff_u8)], 0..60),
    ) {
        let text = made.schema().to_string();
        let compiled = Avro.compile(&SchemaSource { text: text.clone(), references: Vec::new() });
        if let Ok(schema) = compiled && let Ok(json) = schema.decode(&[], &body) {
            prop_assert!(json.len() < 1_000_000);
            // What could be read can be written, unless it has texts that are no UUIDs.
            if !text.contains("uuid") {
                let again = schema.encode(None, &json).unwrap().body;
                prop_assert_eq!(schema.decode(&[], &again).unwrap(), json);
            }
        }
    }

    #[test]
    fn a_value_of_one_schema_is_a_value_or_a_fault_of_another((_, value) in pair(), (text, _) in pair()) {
        let schema = compiled(&text);
        if let Ok(encoded) = schema.encode(None, value.as_bytes()) {
            prop_assert!(schema.decode(&[], &encoded.body).is_ok());
        }
    }

    #[test]
    fn texts_that_are_no_schema_are_faults(text in any::<String>(), cut in 0_usize..200, (schema, _) in pair()) {
        let _ = Avro.compile(&SchemaSource { text, references: Vec::new() });
        let cut: String = schema.chars().take(cut).collect();
        let _ = Avro.compile(&SchemaSource { text: cut, references: Vec::new() });
    }

    #[test]
    fn json_is_what_another_hand_takes_for_json(text in "[\\[\\]{},:\"\\\\u0-3daintrulfsex .-]{0,16}|\\PC{0,8}") {
        let mut reader = Reader::new(text.as_bytes()).unwrap();
        let ours = reader.skip().and_then(|()| reader.end());
        let theirs = serde_json::from_str::<Value>(&text);
        // A number beyond all floats is one here: its schema may be a decimal.
        if !theirs.as_ref().is_err_and(|fault| fault.to_string().contains("out of range")) {
            prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?}", text, theirs);
        }
    }

    #[test]
    fn strings_are_read_and_written_as_another_hand_does(text in any::<String>()) {
        let theirs = Value::from(text.clone()).to_string();
        prop_assert_eq!(&*Reader::new(theirs.as_bytes()).unwrap().string().unwrap(), &text);
        let mut ours = Vec::new();
        eventferry_schema_registry::json::write_string(&mut ours, &text);
        prop_assert_eq!(serde_json::from_slice::<String>(&ours).unwrap(), text);
        let escaped: String = theirs.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        let escaped = format!("\"{escaped}\"");
        prop_assert_eq!(&*Reader::new(escaped.as_bytes()).unwrap().string().unwrap(), &theirs);
    }
}
