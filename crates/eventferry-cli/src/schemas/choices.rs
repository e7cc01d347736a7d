//! By which schemas topics are written.

use eventferry::schemas::{
    Framing, Given as GivenSchema, Others, PartSchema, Reference, SchemaChoice, SchemaId, SubjectStrategy,
};

use super::formats;
use crate::ending::Trouble;
use crate::failures::yes_or_no;
use crate::settings::{Given, SchemaTable, SchemasTable};

/// The format of topics that are written by none.
const NONE: &str = "none";

/// What the values and the keys of a topic are written by.
type Parts = (Option<PartSchema>, Option<PartSchema>);

/// What the values of topics without a table are written by.
///
/// # Errors
/// A setting cannot be; it is named with its place.
pub(super) fn of_other_topics(table: &SchemasTable) -> Result<Option<PartSchema>, Trouble> {
    let Some(all) = table.find("all_topics").filter(|all| all.text() != "false") else { return Ok(None) };
    all.parse(yes_or_no)?;
    let Some(format) = table.find("format") else {
        return all.parse(|_| Err("topics without a table need a format; set format in [schemas]"));
    };
    let schema = format.parse(formats::part)?;
    finished(schema, |key| table.find(key)).map(Some)
}

/// What a topic with a table is written by.
///
/// # Errors
/// A setting cannot be; it is named with its place.
pub(super) fn of_topic(topic: &str, own: &SchemaTable, all: &SchemasTable) -> Result<Parts, Trouble> {
    let key = match own.find("key_format") {
        Some(format) => {
            let choice = given(own, own.find("key_schema"), all, false)?;
            Some(format.parse(formats::part)?.choice(choice).framing(framing(own, all)?))
        }
        None => match own.find("key_schema") {
            Some(schema) => return schema.parse(|_| Err("a key's schema has a format; set key_format")),
            None => None,
        },
    };
    let Some(format) = own.find("format").or(all.find("format")) else {
        return match (own.find("schema"), key) {
            (None, Some(key)) => Ok((None, Some(key))),
            _ => Err(Trouble::usage(format!(
                "the topic `{topic}` has a table in [schemas.topics] and no format; set format there or in [schemas], \
                 or \"{NONE}\" to leave its values untouched"
            ))),
        };
    };
    if format.text() == NONE {
        return Ok((None, key));
    }
    let mut value = format.parse(formats::part)?.choice(choice(own, all)?);
    if let Some(record) = own.find("record") {
        value = value.record(record.text());
    }
    let value = finished(value, |key| own.find(key).or_else(|| all.find(key)))?;
    Ok((Some(value), key))
}

/// What is the same for topics with and without tables.
fn finished<'t>(
    schema: PartSchema,
    find: impl Fn(&'static str) -> Option<&'t Given>,
) -> Result<PartSchema, Trouble> {
    let mut schema = schema;
    if let Some(strategy) = find("subject") {
        schema = schema.strategy(strategy.parse(|text| match text {
            "topic" => Ok(SubjectStrategy::Topic),
            "record" => Ok(SubjectStrategy::Record),
            "topic-record" => Ok(SubjectStrategy::TopicRecord),
            _ => Err(format!("`{text}` names no subjects; give topic, record or topic-record")),
        })?);
    }
    if let Some(given) = find("framing") {
        schema = schema.framing(given.parse(framing_of)?);
    }
    if let Some(others) = find("others") {
        schema = schema.others(others.parse(|text| match text {
            "pass" => Ok(Others::Pass),
            "refuse" => Ok(Others::Refuse),
            _ => {
                Err(format!("`{text}` is nothing to do with payloads that are not JSON; give pass or refuse"))
            }
        })?);
    }
    Ok(schema)
}

fn framing(own: &SchemaTable, all: &SchemasTable) -> Result<Framing, Trouble> {
    let given = own.find("framing").or(all.find("framing"));
    given.map_or(Ok(Framing::default()), |given| given.parse(framing_of))
}

fn framing_of(text: &str) -> Result<Framing, String> {
    match text {
        "prefix" => Ok(Framing::Prefix),
        "header" => Ok(Framing::Header),
        _ => Err(format!("`{text}` is no place for a schema's id; give prefix or header")),
    }
}

/// Which schema a topic's values have.
fn choice(own: &SchemaTable, all: &SchemasTable) -> Result<SchemaChoice, Trouble> {
    let one_only = "a topic's schema is chosen by one of schema, version and id; leave out the others";
    match (own.find("schema"), own.find("version"), own.find("id")) {
        (schema, None, None) => given(own, schema, all, true),
        (None, Some(version), None) => version.parse(|text| match text.parse() {
            Ok(version) if version > 0 => Ok(SchemaChoice::Version(version)),
            _ => Err(format!(
                "`{text}` is no version; give a number from 1 on, or leave it out for the latest"
            )),
        }),
        (None, None, Some(id)) => id.parse(|text| {
            let number = text.parse().map(SchemaId::Id).ok();
            let found = number.or_else(|| text.parse().map(SchemaId::Guid).ok());
            found
                .map(SchemaChoice::Id)
                .ok_or_else(|| format!("`{text}` is no schema's id; give a number or a GUID"))
        }),
        (_, Some(version), _) => version.parse(|_| Err(one_only)),
        (_, None, Some(id)) => id.parse(|_| Err(one_only)),
    }
}

/// The schema in a file, if one is named.
fn given(
    own: &SchemaTable,
    schema: Option<&Given>,
    all: &SchemasTable,
    refers: bool,
) -> Result<SchemaChoice, Trouble> {
    let may_register = own.find("auto_register").or(all.find("auto_register"));
    let may_register = may_register.map(|given| given.parse(yes_or_no)).transpose()?.unwrap_or(false);
    let Some(schema) = schema else {
        return match own.find("auto_register").filter(|_| may_register && refers) {
            Some(given) => {
                given.parse(|_| Err("there is nothing to register; name the schema's file by schema"))
            }
            None => Ok(SchemaChoice::Latest),
        };
    };
    let text = schema.parse(|file| {
        let read = std::fs::read_to_string(own.path(file));
        read.map_err(|error| {
            format!("the schema's file `{}` cannot be read: {error}", own.path(file).display())
        })
    })?;
    let references = own.references().filter(|_| refers).map(|(name, given)| reference(name, given));
    let given = GivenSchema { text, references: references.collect::<Result<_, _>>()? };
    Ok(if may_register { SchemaChoice::Register(given) } else { SchemaChoice::Given(given) })
}

/// Reads `subject:version`, or `subject` for its latest.
fn reference(name: &str, given: &Given) -> Result<Reference, Trouble> {
    given.parse(|text| {
        let (subject, version) = match text.rsplit_once(':') {
            Some((subject, version)) => (subject, Some(version.parse::<u32>().unwrap_or(0))),
            None => (text, None),
        };
        if subject.is_empty() || version == Some(0) {
            return Err(format!("`{text}` is no reference; give subject:version, as in money-value:1"));
        }
        Ok(Reference { name: name.to_owned(), subject: subject.to_owned(), version })
    })
}
