//! The messages of a schema and of those it imports, in one list, which name each other by their places in it.

use std::collections::HashMap;

use prost_reflect::{Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, MessageDescriptor};

/// A message's or an enum's place in [`Messages`].
pub(crate) type Id = usize;

#[derive(Debug)]
pub(crate) struct Messages {
    pub(crate) list: Vec<Message>,
    pub(crate) enums: Vec<Enum>,
    by_name: HashMap<Box<str>, Id>,
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) descriptor: MessageDescriptor,
    /// In the order of their numbers.
    pub(crate) fields: Vec<Field>,
    pub(crate) mapping: Mapping,
    /// By the name in JSON and by that in the schema.
    by_name: HashMap<Box<str>, usize>,
}

/// What a message is in JSON (<https://protobuf.dev/programming-guides/json/>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// An object of its fields.
    Plain,
    /// What its only field is: a wrapper.
    Wrapper,
    /// An object with the name of its type.
    Any,
    /// One with a form of its own, which `prost-reflect` knows.
    WellKnown,
    /// The same, and `null` is a value of it.
    Value,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    pub(crate) name: Box<str>,
    pub(crate) kind: Kind,
    pub(crate) shape: Shape,
    pub(crate) is_required: bool,
    /// Those of one number exclude each other.
    pub(crate) oneof: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Whether its being there is told apart from its default.
    One {
        has_presence: bool,
    },
    List {
        is_packed: bool,
    },
    /// From keys of this type.
    Map {
        key: Scalar,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Scalar(Scalar),
    Enum(Id),
    Message(Id),
    Group(Id),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
}

#[derive(Debug)]
pub(crate) struct Enum {
    pub(crate) name: Box<str>,
    pub(crate) symbols: Vec<Box<str>>,
    /// `google.protobuf.NullValue`, whose JSON is `null`.
    pub(crate) is_null: bool,
    by_name: HashMap<Box<str>, i32>,
    by_number: HashMap<i32, usize>,
}

impl Messages {
    pub(crate) fn new(pool: &DescriptorPool) -> Self {
        let names =
            pool.all_messages().enumerate().map(|(id, message)| (message.full_name().into(), id)).collect();
        let enums = pool.all_enums().enumerate().map(|(id, one)| (one.full_name().into(), id)).collect();
        let ids = Ids { messages: names, enums };
        let list = pool.all_messages().map(|descriptor| Message::new(&ids, descriptor)).collect();
        Self {
            list,
            enums: pool.all_enums().map(|descriptor| Enum::new(&descriptor)).collect(),
            by_name: ids.messages,
        }
    }

    pub(crate) fn named(&self, full_name: &str) -> Option<Id> {
        self.by_name.get(full_name).copied()
    }
}

struct Ids {
    messages: HashMap<Box<str>, Id>,
    enums: HashMap<Box<str>, Id>,
}

impl Ids {
    fn message(&self, descriptor: &MessageDescriptor) -> Id {
        self.messages.get(descriptor.full_name()).copied().unwrap_or_default()
    }
}

impl Message {
    fn new(ids: &Ids, descriptor: MessageDescriptor) -> Self {
        let mut fields: Vec<Field> = Vec::new();
        let mut proto_names = Vec::new();
        // In the order of their numbers, as `prost-reflect` keeps them.
        for (place, field) in descriptor.fields().enumerate() {
            proto_names.push((Box::from(field.name()), place));
            fields.push(Field::new(ids, &field));
        }
        let mut by_name: HashMap<_, _> = proto_names.into_iter().collect();
        by_name.extend(fields.iter().enumerate().map(|(place, field)| (field.name.clone(), place)));
        let mapping = Mapping::of(descriptor.full_name());
        Self { descriptor, fields, mapping, by_name }
    }

    pub(crate) fn place(&self, name: &str, likely: usize) -> Option<usize> {
        if self.fields.get(likely).is_some_and(|field| *field.name == *name) {
            return Some(likely);
        }
        self.by_name.get(name).copied()
    }

    pub(crate) fn place_of_number(&self, number: u32) -> Option<usize> {
        self.fields.binary_search_by_key(&number, |field| field.number).ok()
    }
}

impl Mapping {
    fn of(full_name: &str) -> Self {
        match full_name.strip_prefix("google.protobuf.") {
            Some(
                "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value" | "UInt32Value"
                | "BoolValue" | "StringValue" | "BytesValue",
            ) => Self::Wrapper,
            Some("Any") => Self::Any,
            Some("Timestamp" | "Duration" | "FieldMask" | "Struct" | "ListValue") => Self::WellKnown,
            Some("Value") => Self::Value,
            _ => Self::Plain,
        }
    }
}

impl Field {
    fn new(ids: &Ids, field: &FieldDescriptor) -> Self {
        let (kind, shape) = match field.kind() {
            prost_reflect::Kind::Message(entry) if field.is_map() => {
                let value = entry.map_entry_value_field();
                // A map's keys are scalars, else the schema is none.
                let key = match Kind::new(ids, &entry.map_entry_key_field()) {
                    Kind::Scalar(key) => key,
                    _ => Scalar::String,
                };
                (Kind::new(ids, &value), Shape::Map { key })
            }
            _ if field.cardinality() == Cardinality::Repeated => {
                (Kind::new(ids, field), Shape::List { is_packed: field.is_packed() })
            }
            _ => (Kind::new(ids, field), Shape::One { has_presence: field.supports_presence() }),
        };
        let oneof = field.containing_oneof().and_then(|oneof| {
            let parent = field.parent_message();
            (!oneof.is_synthetic()).then(|| parent.oneofs().position(|other| other == oneof)).flatten()
        });
        Self {
            number: field.number(),
            name: field.json_name().into(),
            kind,
            shape,
            is_required: field.cardinality() == Cardinality::Required,
            oneof,
        }
    }
}

impl Kind {
    fn new(ids: &Ids, field: &FieldDescriptor) -> Self {
        use prost_reflect::Kind as Other;
        Self::Scalar(match field.kind() {
            Other::Double => Scalar::Double,
            Other::Float => Scalar::Float,
            Other::Int32 => Scalar::Int32,
            Other::Int64 => Scalar::Int64,
            Other::Uint32 => Scalar::Uint32,
            Other::Uint64 => Scalar::Uint64,
            Other::Sint32 => Scalar::Sint32,
            Other::Sint64 => Scalar::Sint64,
            Other::Fixed32 => Scalar::Fixed32,
            Other::Fixed64 => Scalar::Fixed64,
            Other::Sfixed32 => Scalar::Sfixed32,
            Other::Sfixed64 => Scalar::Sfixed64,
            Other::Bool => Scalar::Bool,
            Other::String => Scalar::String,
            Other::Bytes => Scalar::Bytes,
            Other::Enum(one) => {
                return Self::Enum(ids.enums.get(one.full_name()).copied().unwrap_or_default());
            }
            Other::Message(message) if field.is_group() => return Self::Group(ids.message(&message)),
            Other::Message(message) => return Self::Message(ids.message(&message)),
        })
    }
}

impl Enum {
    fn new(descriptor: &EnumDescriptor) -> Self {
        let values = || descriptor.values().enumerate();
        let mut by_number = HashMap::new();
        for (place, value) in values() {
            // Of several names for a number the first is the one that is written.
            by_number.entry(value.number()).or_insert(place);
        }
        Self {
            name: descriptor.full_name().into(),
            symbols: values().map(|(_, value)| value.name().into()).collect(),
            is_null: descriptor.full_name() == "google.protobuf.NullValue",
            by_name: values().map(|(_, value)| (value.name().into(), value.number())).collect(),
            by_number,
        }
    }

    pub(crate) fn number(&self, symbol: &str) -> Option<i32> {
        self.by_name.get(symbol).copied()
    }

    pub(crate) fn symbol(&self, number: i32) -> Option<&str> {
        self.by_number.get(&number).map(|place| &*self.symbols[*place])
    }
}
