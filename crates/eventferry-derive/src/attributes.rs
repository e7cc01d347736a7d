//! What a struct and its fields say in `#[event(...)]`.

use proc_macro2::Span;
use syn::ext::IdentExt as _;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned as _;
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, Field, Fields, GenericParam, Generics, Lit, LitStr, Path,
    Result,
};

use crate::limits;

/// Where `eventferry::events` is, unless `crate` says otherwise.
const CRATE_DEFAULT: &str = "::eventferry::events";

/// A struct that is an event.
pub(crate) struct EventStruct<'a> {
    pub(crate) name: String,
    pub(crate) topic: String,
    pub(crate) aggregate: String,
    pub(crate) version: u32,
    pub(crate) content_type: Option<String>,
    pub(crate) schema: Option<Span>,
    pub(crate) avro: Option<Expr>,
    pub(crate) protobuf: Option<Expr>,
    pub(crate) at: Path,
    pub(crate) aggregate_id: &'a Field,
    pub(crate) key: Option<&'a Field>,
}

/// What stands on the struct.
#[derive(Default)]
struct OnStruct {
    topic: Option<String>,
    aggregate: Option<String>,
    version: Option<u32>,
    name: Option<String>,
    content_type: Option<String>,
    schema: Option<Span>,
    avro: Option<Expr>,
    protobuf: Option<Expr>,
    at: Option<Path>,
}

/// What stands on the fields.
#[derive(Default)]
struct OnFields<'a> {
    aggregate_id: Option<&'a Field>,
    key: Option<&'a Field>,
}

impl<'a> EventStruct<'a> {
    /// Reads the struct.
    ///
    /// # Errors
    /// All that is wrong with it, each where it is written.
    pub(crate) fn of(input: &'a DeriveInput) -> Result<Self> {
        let mut wrong = Wrong::default();
        wrong.note(no_type_parameters(&input.generics));
        let on_struct = OnStruct::of(&input.attrs, &mut wrong);
        let Some(fields) = wrong.note(named_fields(input)) else { return Err(wrong.error(input)) };
        let on_fields = OnFields::of(fields, &mut wrong);
        let missing = |what: &str| Error::new(input.ident.span(), what);
        let has_topic = on_struct.topic.is_some() || !wrong.is_empty();
        let has_aggregate = on_struct.aggregate.is_some() || !wrong.is_empty();
        if !has_topic {
            wrong.add(missing("which topic? say `#[event(topic = \"orders.created\")]` on the struct"));
        }
        if !has_aggregate {
            wrong.add(missing(
                "about what kind of thing? say `#[event(aggregate = \"order\")]` on the struct",
            ));
        }
        if on_fields.aggregate_id.is_none() {
            wrong.add(missing("which aggregate is it about? mark its field with `#[event(aggregate_id)]`"));
        }
        let OnStruct { topic: Some(topic), aggregate: Some(aggregate), .. } = on_struct else {
            return Err(wrong.error(input));
        };
        let Some(aggregate_id) = on_fields.aggregate_id.filter(|_| wrong.is_empty()) else {
            return Err(wrong.error(input));
        };
        Ok(Self {
            name: on_struct.name.unwrap_or_else(|| input.ident.unraw().to_string()),
            topic,
            aggregate,
            version: on_struct.version.unwrap_or(1),
            content_type: on_struct.content_type,
            schema: on_struct.schema,
            avro: on_struct.avro,
            protobuf: on_struct.protobuf,
            at: on_struct.at.map_or_else(|| syn::parse_str(CRATE_DEFAULT), Ok)?,
            aggregate_id,
            key: on_fields.key,
        })
    }
}

impl OnStruct {
    fn of(attributes: &[Attribute], wrong: &mut Wrong) -> Self {
        let mut on_struct = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("event")) {
            wrong.note(attribute.parse_nested_meta(|meta| on_struct.take(&meta)));
        }
        on_struct
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        match name.as_str() {
            "topic" => once(&mut self.topic, meta, text(meta, limits::topic)),
            "aggregate" => once(&mut self.aggregate, meta, text(meta, limits::aggregate)),
            "version" => once(&mut self.version, meta, version(meta)),
            "name" => once(&mut self.name, meta, text(meta, limits::name)),
            "content_type" => once(&mut self.content_type, meta, text(meta, limits::content_type)),
            "schema" => once(&mut self.schema, meta, Ok(meta.path.span())),
            "avro" => once(&mut self.avro, meta, meta.value().and_then(|value| value.parse())),
            "protobuf" => once(&mut self.protobuf, meta, meta.value().and_then(|value| value.parse())),
            "crate" => once(&mut self.at, meta, path(meta)),
            "aggregate_id" | "key" => {
                Err(meta.error(format!("`{name}` belongs on a field: write `#[event({name})]` above it")))
            }
            _ => Err(meta.error(
                "not an attribute of an event; known are `topic`, `aggregate`, `version`, `name`, `content_type`, \
                 `schema`, `avro`, `protobuf` and `crate`",
            )),
        }
    }
}

impl<'a> OnFields<'a> {
    fn of(fields: impl IntoIterator<Item = &'a Field>, wrong: &mut Wrong) -> Self {
        let mut on_fields = Self::default();
        for field in fields {
            for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("event")) {
                wrong.note(attribute.parse_nested_meta(|meta| on_fields.take(field, &meta)));
            }
        }
        on_fields
    }

    fn take(&mut self, field: &'a Field, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let (place, what) = if meta.path.is_ident("aggregate_id") {
            (&mut self.aggregate_id, "is about one aggregate, so one field is its `aggregate_id`")
        } else if meta.path.is_ident("key") {
            (&mut self.key, "has one key, so one field is its `key`")
        } else {
            return Err(
                meta.error("not an attribute of an event's field; known are `aggregate_id` and `key`")
            );
        };
        match place.replace(field) {
            None => Ok(()),
            Some(_) => Err(meta.error(format!("this is the second one: an event {what}"))),
        }
    }
}

/// The fields of a struct that has names for them.
fn named_fields(input: &DeriveInput) -> Result<impl Iterator<Item = &Field>> {
    let (span, what) = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => return Ok(fields.named.iter()),
            _ => (input.ident.span(), "this struct has none"),
        },
        Data::Enum(data) => {
            (data.enum_token.span, "this is an enum; make a struct of each variant, with a topic of its own")
        }
        Data::Union(data) => (data.union_token.span, "this is a union"),
    };
    Err(Error::new(span, format!("an event is a struct with named fields, and {what}")))
}

fn no_type_parameters(generics: &Generics) -> Result<()> {
    let is_type = |parameter: &&GenericParam| !matches!(parameter, GenericParam::Lifetime(_));
    match generics.params.iter().find(is_type) {
        None => Ok(()),
        Some(parameter) => Err(Error::new_spanned(
            parameter,
            "an event has no type or const parameters, for its topic and version stand for one form of payload; \
             write a struct for each",
        )),
    }
}

fn once<T>(place: &mut Option<T>, meta: &ParseNestedMeta<'_>, value: Result<T>) -> Result<()> {
    match place.replace(value?) {
        None => Ok(()),
        Some(_) => Err(meta.error("this was said before; leave one of the two out")),
    }
}

fn text(meta: &ParseNestedMeta<'_>, check: fn(&str) -> std::result::Result<(), String>) -> Result<String> {
    let text: LitStr = meta.value()?.parse()?;
    check(&text.value()).map_err(|what| Error::new(text.span(), what))?;
    Ok(text.value())
}

fn version(meta: &ParseNestedMeta<'_>) -> Result<u32> {
    let literal: Lit = meta.value()?.parse()?;
    let version = match &literal {
        Lit::Int(number) => number.base10_parse().ok().filter(|version| *version > 0),
        _ => None,
    };
    version.ok_or_else(|| {
        Error::new(
            literal.span(),
            "a version is a whole number from 1 to 4294967295, without quotes; the first is 1",
        )
    })
}

fn path(meta: &ParseNestedMeta<'_>) -> Result<Path> {
    let text: LitStr = meta.value()?.parse()?;
    text.parse().map_err(|_| {
        Error::new(
            text.span(),
            "this is no path; say where `eventferry::events` is, as in \"my_crate::events\"",
        )
    })
}

/// All that is wrong.
#[derive(Default)]
struct Wrong(Option<Error>);

impl Wrong {
    fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            none => *none = Some(error),
        }
    }

    fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    fn error(self, input: &DeriveInput) -> Error {
        self.0.unwrap_or_else(|| Error::new(input.ident.span(), "this cannot be an event"))
    }
}
