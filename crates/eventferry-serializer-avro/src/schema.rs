//! A schema as both directions walk it: its types in one list, which name each other by their places in it.

use std::collections::HashMap;

use crate::decimal::Decimal;
use crate::time::Clock;
use eventferry_schema_registry::json::Kind;

/// A type's place in [`Types`].
pub(crate) type Id = usize;

/// The types of a schema and of those it refers to.
#[derive(Debug, Default)]
pub(crate) struct Types {
    list: Vec<Type>,
    named: HashMap<Box<str>, Id>,
}

/// One type of Avro's, with the logical type on it that we know.
#[derive(Debug)]
pub(crate) enum Type {
    Null,
    Boolean,
    Int(Option<Clock>),
    Long(Option<Clock>),
    Float,
    Double,
    Bytes(Option<Decimal>),
    String { is_uuid: bool },
    Fixed(Fixed),
    Enum(Enum),
    Array(Id),
    Map(Id),
    Union(Union),
    Record(Record),
}

#[derive(Debug)]
pub(crate) struct Fixed {
    pub(crate) name: Box<str>,
    pub(crate) size_bytes: usize,
    pub(crate) meaning: FixedMeaning,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FixedMeaning {
    Bytes,
    Decimal(Decimal),
    Uuid,
}

#[derive(Debug)]
pub(crate) struct Enum {
    pub(crate) name: Box<str>,
    pub(crate) symbols: Vec<Box<str>>,
    by_name: HashMap<Box<str>, usize>,
}

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) name: Box<str>,
    pub(crate) fields: Vec<Field>,
    /// Names of fields in the alphabet's order, and their places.
    by_name: Vec<(Box<str>, usize)>,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: Box<str>,
    pub(crate) id: Id,
    /// What is written where a payload has no such field.
    pub(crate) default: Option<Box<[u8]>>,
}

#[derive(Debug)]
pub(crate) struct Union {
    pub(crate) branches: Vec<Branch>,
    /// By kind of JSON value, which branches may take one.
    taking: [Vec<usize>; 6],
}

#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) id: Id,
    /// What Avro's own JSON encoding calls it: a full name, or the type's.
    pub(crate) name: Box<str>,
}

impl Types {
    pub(crate) fn get(&self, id: Id) -> &Type {
        &self.list[id]
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> &mut Type {
        &mut self.list[id]
    }

    pub(crate) fn add(&mut self, one: Type) -> Id {
        self.list.push(one);
        self.list.len() - 1
    }

    pub(crate) fn named(&self, full_name: &str) -> Option<Id> {
        self.named.get(full_name).copied()
    }

    /// Gives a type its name; `false`: the name is taken.
    pub(crate) fn name(&mut self, full_name: &str, id: Id) -> bool {
        self.named.insert(full_name.into(), id).is_none()
    }
}

impl Type {
    /// What Avro's JSON encoding of a union calls it; a union has no name, for none may lie in another.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int(_) => "int",
            Self::Long(_) => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes(_) => "bytes",
            Self::String { .. } => "string",
            Self::Fixed(Fixed { name, .. })
            | Self::Enum(Enum { name, .. })
            | Self::Record(Record { name, .. }) => name,
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Union(_) => "union",
        }
    }

    /// Its full name, if it is a type with one.
    pub(crate) fn full_name(&self) -> Option<&str> {
        match self {
            Self::Fixed(_) | Self::Enum(_) | Self::Record(_) => Some(self.name()),
            _ => None,
        }
    }

    /// Whether some JSON value of this kind may be one of this type.
    fn takes(&self, kind: Kind) -> bool {
        let kinds: &[Kind] = match self {
            Self::Null => &[Kind::Null],
            Self::Boolean => &[Kind::Boolean],
            Self::Int(None) | Self::Long(None) => &[Kind::Number],
            Self::Int(Some(_)) | Self::Long(Some(_)) | Self::Float | Self::Double | Self::Bytes(Some(_)) => {
                &[Kind::Number, Kind::String]
            }
            Self::Fixed(Fixed { meaning: FixedMeaning::Decimal(_), .. }) => &[Kind::Number, Kind::String],
            Self::Bytes(None) | Self::String { .. } | Self::Fixed(_) | Self::Enum(_) => &[Kind::String],
            Self::Array(_) => &[Kind::Array],
            Self::Map(_) | Self::Record(_) => &[Kind::Object],
            Self::Union(_) => &[],
        };
        kinds.contains(&kind)
    }
}

impl Enum {
    pub(crate) fn new(name: Box<str>, symbols: Vec<Box<str>>) -> Self {
        let by_name = symbols.iter().enumerate().map(|(place, symbol)| (symbol.clone(), place)).collect();
        Self { name, symbols, by_name }
    }

    pub(crate) fn place(&self, symbol: &str) -> Option<usize> {
        self.by_name.get(symbol).copied()
    }
}

impl Record {
    pub(crate) fn new(name: Box<str>, fields: Vec<Field>) -> Self {
        let mut by_name: Vec<_> =
            fields.iter().enumerate().map(|(place, field)| (field.name.clone(), place)).collect();
        by_name.sort();
        Self { name, fields, by_name }
    }

    /// A field's place; `likely` is looked at first.
    pub(crate) fn place(&self, name: &str, likely: usize) -> Option<usize> {
        if self.fields.get(likely).is_some_and(|field| *field.name == *name) {
            return Some(likely);
        }
        let found = self.by_name.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
        Some(self.by_name[found].1)
    }
}

impl Union {
    pub(crate) fn new(types: &Types, branches: &[Id]) -> Self {
        let kinds = [Kind::Null, Kind::Boolean, Kind::Number, Kind::String, Kind::Array, Kind::Object];
        let taking = kinds.map(|kind| {
            let takes = |place: &usize| types.get(branches[*place]).takes(kind);
            (0..branches.len()).filter(takes).collect()
        });
        let branch = |id: &Id| Branch { id: *id, name: types.get(*id).name().into() };
        Self { branches: branches.iter().map(branch).collect(), taking }
    }

    /// Which branches may take a value of this kind, in the schema's order.
    pub(crate) fn taking(&self, kind: Kind) -> &[usize] {
        &self.taking[kind as usize]
    }

    /// The branch that Avro's JSON encoding calls so.
    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        self.branches.iter().position(|branch| *branch.name == *name)
    }
}
