//! The fixtures beside, for the tests of each format: what the official client made, and what it verified of ours.

use std::fs;
use std::path::Path;

use eventferry_schema_registry::{Encoded, Format, Schema as _, SchemaSource};
use serde_json::Value;

const OFFICIAL: &str = include_str!("official.json");
const VERIFIED: &str = include_str!("verified.json");

/// A value and its record, as the official client made it.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) source: SchemaSource,
    /// A Protobuf schema's message.
    pub(crate) message: Option<String>,
    /// The value as our format writes it.
    pub(crate) json: String,
    /// The payload without what names its schema.
    pub(crate) encoded: Encoded,
}

/// The cases of a format, at least one.
pub(crate) fn cases(format: &impl Format) -> Vec<Case> {
    let official: Value = serde_json::from_str(OFFICIAL).unwrap();
    let all = official["cases"].as_array().unwrap().iter();
    let own: Vec<Case> = all.filter(|case| case["format"] == format.schema_type().name()).map(case).collect();
    assert!(own.len() > 1);
    own
}

/// That what the official client wrote is read as the same JSON.
pub(crate) fn theirs_decode_here(format: &impl Format) {
    for case in cases(format) {
        let schema = format.compile(&case.source).unwrap();
        let Encoded { message_indexes, body } = &case.encoded;
        let json =
            schema.decode(message_indexes, body).unwrap_or_else(|fault| panic!("{}: {fault}", case.name));
        assert_eq!(String::from_utf8(json).unwrap(), case.json, "{}", case.name);
    }
}

/// That what is written here is what the official client has verified, to the byte.
///
/// What was written lies in a file for `make.py --verify`, whatever becomes of the test.
pub(crate) fn ours_decode_there(format: &impl Format, folder: &str) {
    let verified: Value = serde_json::from_str(VERIFIED).unwrap();
    let mut lines = String::new();
    let mut unverified = Vec::new();
    for case in cases(format) {
        let schema = format.compile(&case.source).unwrap();
        let ours = schema.encode(case.message.as_deref(), case.json.as_bytes()).unwrap();
        assert_eq!(ours.message_indexes, case.encoded.message_indexes, "{}", case.name);
        lines.push_str(&format!("{} {}\n", case.name, hex(&ours.body)));
        let known =
            verified["cases"].as_array().unwrap().iter().find(|known| known["name"] == case.name.as_str());
        if known.is_none_or(|known| known["body"] != hex(&ours.body).as_str()) {
            unverified.push(case.name);
        }
    }
    let file = Path::new(folder).join(format!("ours-{}.txt", format.schema_type().name()));
    fs::write(&file, lines).unwrap();
    let file = file.display();
    assert!(
        unverified.is_empty(),
        "{unverified:?} are not verified: run make.py --verify {file} and the other formats'"
    );
}

fn case(case: &Value) -> Case {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let references = case["references"].as_array().unwrap().iter();
    let references = references.map(|one| (text(&one["name"]), text(&one["text"]))).collect();
    let prefixed = bytes(&text(&case["prefixed"]));
    let by_header = &case["by_header"];
    let body = bytes(&text(&by_header["body"]));
    let identity = bytes(&text(&by_header["identity"]));
    assert_eq!(by_header["header"], "__value_schema_id");
    // Behind a magic byte and the schema's number, or a magic byte and its GUID, both say which message it is.
    let (prefix, behind) = prefixed.split_at(prefixed.len() - body.len());
    assert_eq!((behind, prefix[0], identity[0], &prefix[5..]), (&body[..], 0, 1, &identity[17..]));
    Case {
        name: text(&case["name"]),
        source: SchemaSource { text: text(&case["schema"]), references },
        message: case["message"].as_str().map(str::to_owned),
        json: text(&case["json"]),
        encoded: Encoded { message_indexes: indexes(&prefix[5..]), body },
    }
}

/// Message indexes, all below 64, so that each is one byte of a zigzag number.
fn indexes(bytes: &[u8]) -> Vec<u32> {
    match bytes {
        [] => Vec::new(),
        [0] => vec![0],
        [count, indexes @ ..] => {
            assert_eq!(usize::from(count / 2), indexes.len());
            indexes.iter().map(|index| u32::from(index / 2)).collect()
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
