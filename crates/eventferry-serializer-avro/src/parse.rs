//! A schema's text to its types.
//!
//! Written here, and not taken from a library: what is needed is the spec's own reading of names, defaults and logical
//! types (<https://avro.apache.org/docs/1.12.0/specification/>), a fault that says where, and no panic on any text.
//! `apache-avro` 0.22, which the tests compare with, refuses defaults that the spec allows (a decimal's are written as
//! its bytes), passes over fields that are not objects, and panics where a reference is named apart from its text.

use std::borrow::Cow;
use std::collections::HashSet;

use eventferry_schema_registry::{PayloadFault, SchemaFault, SchemaSource};

use crate::decimal::{Decimal, PRECISION_MAX};
use crate::encode::{BODY_BYTES_MAX, Encoder};
use crate::schema::{Enum, Field, Fixed, FixedMeaning, Id, Record, Type, Types, Union};
use crate::time::{Clock, Unit};
use eventferry_schema_registry::json::{Kind, Reader, at_root, deeper, within};

/// How long a field's default may be in binary.
const DEFAULT_BYTES_MAX: usize = 1 << 20;

/// The types of a schema and of those it refers to, and the schema's own.
pub(crate) fn parse(source: &SchemaSource) -> Result<(Types, Id), SchemaFault> {
    let mut parser = Parser { types: Types::default() };
    for (name, text) in &source.references {
        parser
            .text(text)
            .map_err(|fault| SchemaFault(format!("the schema `{name}` that is referred to: {fault}")))?;
    }
    let root = parser.text(&source.text).map_err(|fault| SchemaFault(fault.to_string()))?;
    Ok((parser.types, root))
}

struct Parser {
    types: Types,
}

/// A JSON value of a schema's text.
enum Json<'a> {
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Vec<Member<'a>>),
    /// `null`, `true`, `false`.
    Other,
}

struct Member<'a> {
    key: Cow<'a, str>,
    value: Json<'a>,
    /// The value as it was written.
    text: &'a str,
}

/// What is wrong with a schema's text, and where as a JSON pointer: a payload's fault, of a payload that is a schema.
type Fault = PayloadFault;

impl Parser {
    fn text(&mut self, text: &str) -> Result<Id, PlacedFault> {
        let parsed = Reader::new(text.as_bytes()).and_then(|mut reader| {
            let json = Json::read(&mut reader, 0)?;
            reader.end()?;
            self.one(&json, "")
        });
        parsed.map_err(PlacedFault)
    }

    /// A type, in the namespace of what is around it.
    fn one(&mut self, json: &Json<'_>, namespace: &str) -> Result<Id, Fault> {
        match json {
            Json::String(name) => self.reference(name, namespace),
            Json::Array(branches) => self.union(branches, namespace),
            Json::Object(members) => self.complex(&Members(members), namespace),
            _ => Err(at_root("wants a type: a name, an object or an array".to_owned())),
        }
    }

    fn reference(&mut self, name: &str, namespace: &str) -> Result<Id, Fault> {
        if let Some(primitive) = primitive(name) {
            return Ok(self.types.add(primitive));
        }
        let near = full_name(name, namespace);
        // In a namespace a simple name may also mean one without any.
        let found = self.types.named(&near).or_else(|| self.types.named(name));
        found.ok_or_else(|| {
            at_root(format!("no type is called `{near}` here; one of another schema wants a reference to it"))
        })
    }

    fn union(&mut self, branches: &[Json<'_>], namespace: &str) -> Result<Id, Fault> {
        let mut ids = Vec::with_capacity(branches.len());
        let mut names = HashSet::new();
        for (place, branch) in branches.iter().enumerate() {
            let at = |fault| within(fault, &place.to_string());
            let id = self.one(branch, namespace).map_err(at)?;
            let one = self.types.get(id);
            if let Type::Union(_) = one {
                return Err(at(at_root("a union may not lie directly in another".to_owned())));
            }
            if !names.insert(one.name().to_owned()) {
                return Err(at(at_root(format!("the union has two branches `{}`", one.name()))));
            }
            ids.push(id);
        }
        let union = Union::new(&self.types, &ids);
        Ok(self.types.add(Type::Union(union)))
    }

    fn complex(&mut self, members: &Members<'_, '_>, namespace: &str) -> Result<Id, Fault> {
        let kind = members.get("type").ok_or_else(|| missing("type"))?;
        let Json::String(kind) = kind else {
            return self.one(kind, namespace).map_err(|fault| within(fault, "type"));
        };
        match &**kind {
            "record" | "error" => self.record(members, namespace),
            "enum" => self.enumeration(members, namespace),
            "fixed" => self.fixed(members, namespace),
            "array" => {
                let items = self.inner(members, "items", namespace)?;
                Ok(self.types.add(Type::Array(items)))
            }
            "map" => {
                let values = self.inner(members, "values", namespace)?;
                Ok(self.types.add(Type::Map(values)))
            }
            name => match primitive(name) {
                Some(plain) => {
                    let logical = logical(plain, members)?;
                    Ok(self.types.add(logical))
                }
                None => self.reference(name, namespace).map_err(|fault| within(fault, "type")),
            },
        }
    }

    fn inner(&mut self, members: &Members<'_, '_>, key: &str, namespace: &str) -> Result<Id, Fault> {
        let json = members.get(key).ok_or_else(|| missing(key))?;
        self.one(json, namespace).map_err(|fault| within(fault, key))
    }

    fn record(&mut self, members: &Members<'_, '_>, namespace: &str) -> Result<Id, Fault> {
        let name = members.name(namespace)?;
        // It has its name before its fields are read, for they may be of its own type.
        let id = self.types.add(Type::Record(Record::new(name.clone(), Vec::new())));
        self.named(&name, id)?;
        // While it is open no value is one of it: a default that is would be written without its fields.
        let open = Field { name: "".into(), id, default: None };
        *self.types.get_mut(id) = Type::Record(Record::new(name.clone(), vec![open]));
        let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let listed = members.array("fields")?;
        let mut fields: Vec<Field> = Vec::with_capacity(listed.len());
        let mut defaults = Vec::new();
        let mut names = HashSet::new();
        for (place, json) in listed.iter().enumerate() {
            let at = |fault| within(within(fault, &place.to_string()), "fields");
            let Json::Object(members) = json else { return Err(at(at_root("wants an object".to_owned()))) };
            let members = Members(members);
            let name =
                members.string("name").and_then(|name| checked(name).map_err(|fault| within(fault, "name")));
            let name: Box<str> = name.map_err(at)?.into();
            if !names.insert(name.clone()) {
                return Err(at(at_root(format!("the record has two fields `{name}`"))));
            }
            let id = self.inner(&members, "type", namespace).map_err(at)?;
            fields.push(Field { name, id, default: None });
            defaults.push(members.text("default"));
        }
        *self.types.get_mut(id) = Type::Record(Record::new(name, fields));
        for (place, text) in defaults.into_iter().enumerate() {
            if let Some(text) = text {
                let at = |fault| within(within(within(fault, "default"), &place.to_string()), "fields");
                self.default(id, place, text).map_err(at)?;
            }
        }
        Ok(id)
    }

    /// Puts a field's default into binary.
    fn default(&mut self, record: Id, place: usize, text: &str) -> Result<(), Fault> {
        let Type::Record(known) = self.types.get(record) else { return Ok(()) };
        let mut bytes = Vec::new();
        let encoder = Encoder::of_defaults(&self.types, DEFAULT_BYTES_MAX);
        encoder.value(known.fields[place].id, &mut Reader::new(text.as_bytes())?, &mut bytes, 0)?;
        if let Type::Record(known) = self.types.get_mut(record) {
            known.fields[place].default = Some(bytes.into());
        }
        Ok(())
    }

    fn enumeration(&mut self, members: &Members<'_, '_>, namespace: &str) -> Result<Id, Fault> {
        let name = members.name(namespace)?;
        let mut symbols: Vec<Box<str>> = Vec::new();
        let mut seen = HashSet::new();
        for (place, json) in members.array("symbols")?.iter().enumerate() {
            let at = |fault| within(within(fault, &place.to_string()), "symbols");
            let Json::String(symbol) = json else { return Err(at(at_root("wants a string".to_owned()))) };
            if !seen.insert(checked(symbol).map_err(at)?) {
                return Err(at(at_root(format!("the enum has two symbols `{symbol}`"))));
            }
            symbols.push(symbol.as_ref().into());
        }
        let id = self.types.add(Type::Enum(Enum::new(name.clone(), symbols)));
        self.named(&name, id)?;
        Ok(id)
    }

    fn fixed(&mut self, members: &Members<'_, '_>, namespace: &str) -> Result<Id, Fault> {
        let name = members.name(namespace)?;
        let size_bytes = members.number("size").ok_or_else(|| missing("size"))?;
        if size_bytes > BODY_BYTES_MAX {
            return Err(within(at_root(format!("more than {BODY_BYTES_MAX} bytes are not taken")), "size"));
        }
        let meaning = match members.logical() {
            Some("decimal") => decimal(members)?.map_or(FixedMeaning::Bytes, FixedMeaning::Decimal),
            Some("uuid") if size_bytes == 16 => FixedMeaning::Uuid,
            _ => FixedMeaning::Bytes,
        };
        let id = self.types.add(Type::Fixed(Fixed { name: name.clone(), size_bytes, meaning }));
        self.named(&name, id)?;
        Ok(id)
    }

    fn named(&mut self, name: &str, id: Id) -> Result<(), Fault> {
        if self.types.name(name, id) {
            Ok(())
        } else {
            Err(at_root(format!("the type `{name}` is defined twice")))
        }
    }
}

/// A primitive type with the logical type on it, where both go together; as the spec wants it, any other is ignored.
fn logical(plain: Type, members: &Members<'_, '_>) -> Result<Type, Fault> {
    let Some(name) = members.logical() else { return Ok(plain) };
    Ok(match (plain, name) {
        (Type::Int(_), "date") => Type::Int(Some(Clock::Date)),
        (Type::Int(_), "time-millis") => Type::Int(Some(Clock::TimeOfDay(Unit::Millis))),
        (Type::Long(_), "time-micros") => Type::Long(Some(Clock::TimeOfDay(Unit::Micros))),
        (Type::Long(_), "timestamp-millis") => Type::Long(Some(Clock::Timestamp(Unit::Millis))),
        (Type::Long(_), "timestamp-micros") => Type::Long(Some(Clock::Timestamp(Unit::Micros))),
        (Type::Long(_), "timestamp-nanos") => Type::Long(Some(Clock::Timestamp(Unit::Nanos))),
        (Type::Long(_), "local-timestamp-millis") => Type::Long(Some(Clock::LocalTimestamp(Unit::Millis))),
        (Type::Long(_), "local-timestamp-micros") => Type::Long(Some(Clock::LocalTimestamp(Unit::Micros))),
        (Type::Long(_), "local-timestamp-nanos") => Type::Long(Some(Clock::LocalTimestamp(Unit::Nanos))),
        (Type::Bytes(_), "decimal") => Type::Bytes(decimal(members)?),
        (Type::String { .. }, "uuid") => Type::String { is_uuid: true },
        (plain, _) => plain,
    })
}

/// The decimal that is described; `None`: not well, so that it is ignored.
fn decimal(members: &Members<'_, '_>) -> Result<Option<Decimal>, Fault> {
    let scale = if members.get("scale").is_some() { members.number("scale") } else { Some(0) };
    let (Some(precision), Some(scale)) = (members.number("precision"), scale) else { return Ok(None) };
    if precision > PRECISION_MAX {
        let fault = at_root(format!("a decimal of more than {PRECISION_MAX} digits is not taken"));
        return Err(within(fault, "precision"));
    }
    Ok((precision > 0 && scale <= precision).then_some(Decimal { precision, scale }))
}

fn primitive(name: &str) -> Option<Type> {
    Some(match name {
        "null" => Type::Null,
        "boolean" => Type::Boolean,
        "int" => Type::Int(None),
        "long" => Type::Long(None),
        "float" => Type::Float,
        "double" => Type::Double,
        "bytes" => Type::Bytes(None),
        "string" => Type::String { is_uuid: false },
        _ => return None,
    })
}

/// A name with its namespace: its own if it has a dot, else that around it.
fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

/// A name by the spec's grammar.
fn checked(name: &str) -> Result<&str, Fault> {
    let is_start = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    let is_name = name.as_bytes().first().is_some_and(is_start)
        && name.bytes().all(|byte| is_start(&byte) || byte.is_ascii_digit());
    if is_name {
        Ok(name)
    } else {
        Err(at_root(format!("`{name}` is no name: letters, digits and `_`, and no digit in front")))
    }
}

fn missing(key: &str) -> Fault {
    at_root(format!("wants `{key}`"))
}

struct Members<'m, 'a>(&'m [Member<'a>]);

impl<'m, 'a> Members<'m, 'a> {
    fn get(&self, key: &str) -> Option<&'m Json<'a>> {
        self.0.iter().find(|member| member.key == key).map(|member| &member.value)
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|member| member.key == key).map(|member| member.text)
    }

    fn string(&self, key: &str) -> Result<&'m Cow<'a, str>, Fault> {
        match self.get(key) {
            Some(Json::String(text)) => Ok(text),
            Some(_) => Err(within(at_root("wants a string".to_owned()), key)),
            None => Err(missing(key)),
        }
    }

    fn array(&self, key: &str) -> Result<&'m [Json<'a>], Fault> {
        match self.get(key) {
            Some(Json::Array(items)) => Ok(items),
            Some(_) => Err(within(at_root("wants an array".to_owned()), key)),
            None => Err(missing(key)),
        }
    }

    fn number(&self, key: &str) -> Option<usize> {
        match self.get(key) {
            Some(Json::Number(text)) => text.parse().ok(),
            _ => None,
        }
    }

    fn logical(&self) -> Option<&'m str> {
        match self.get("logicalType") {
            Some(Json::String(name)) => Some(name),
            _ => None,
        }
    }

    /// The full name of the type that they define.
    fn name(&self, around: &str) -> Result<Box<str>, Fault> {
        let name = self.string("name")?;
        let namespace = match self.get("namespace") {
            Some(Json::String(own)) => own,
            _ => around,
        };
        // A dot in front says that there is no namespace.
        let full = full_name(name, namespace);
        let full = full.strip_prefix('.').unwrap_or(&full);
        for part in full.split('.') {
            checked(part).map_err(|fault| within(fault, "name"))?;
        }
        Ok(full.into())
    }
}

impl<'a> Json<'a> {
    fn read(reader: &mut Reader<'a>, depth: usize) -> Result<Self, Fault> {
        Ok(match reader.kind()? {
            Kind::Number => Self::Number(reader.number()?),
            Kind::String => Self::String(reader.string()?),
            Kind::Null | Kind::Boolean => {
                reader.skip()?;
                Self::Other
            }
            Kind::Array => {
                let depth = deeper(depth)?;
                let mut items = reader.array()?;
                let mut list = Vec::new();
                while reader.item(&mut items)? {
                    list.push(Self::read(reader, depth)?);
                }
                Self::Array(list)
            }
            Kind::Object => {
                let depth = deeper(depth)?;
                let mut items = reader.object()?;
                let mut list = Vec::new();
                while let Some(key) = reader.key(&mut items)? {
                    let mark = reader.mark();
                    let value = Self::read(reader, depth)?;
                    list.push(Member { key, value, text: reader.since(mark) });
                }
                Self::Object(list)
            }
        })
    }
}

/// A fault in a schema's text, as its message says it.
struct PlacedFault(Fault);

impl std::fmt::Display for PlacedFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.path.is_empty() {
            f.write_str(&self.0.message)
        } else {
            write!(f, "{}: {}", self.0.path, self.0.message)
        }
    }
}
