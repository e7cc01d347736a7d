//! The formats there are in this build.

use eventferry::avro::Avro;
use eventferry::json_schema::JsonSchema;
use eventferry::protobuf::Protobuf;
use eventferry::schemas::PartSchema;

/// What makes a part of a topic's messages be written in a format.
type Make = fn() -> PartSchema;

/// The formats by their names.
const FORMATS: &[(&str, Make)] = &[
    ("avro", || PartSchema::new(Avro)),
    ("protobuf", || PartSchema::new(Protobuf)),
    ("json-schema", || PartSchema::new(JsonSchema)),
    #[cfg(test)]
    ("toy", || PartSchema::new(super::tests::Toy)),
];

/// The format of this name.
///
/// # Errors
/// There is none such.
pub(super) fn part(name: &str) -> Result<PartSchema, String> {
    let found = FORMATS.iter().find(|(known, _)| *known == name);
    found.map(|(_, make)| make()).ok_or_else(|| {
        let known: Vec<_> = FORMATS.iter().map(|(known, _)| *known).collect();
        format!("`{name}` is no format of schemas; known in this build are {} and none", known.join(", "))
    })
}
