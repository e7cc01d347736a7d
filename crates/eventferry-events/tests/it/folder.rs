//! A registry as a folder, written here and by others.

use std::fs;
use std::path::Path;

use eventferry::events::Registry;

use crate::shop::shop;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_registry_that_was_saved_is_loaded_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a/b");
    shop().save(&at).unwrap();
    assert_eq!(
        names(&at),
        [
            "orders.created.v1.schema.json",
            "orders.created.v2.schema.json",
            "orders.paid.v1.avsc",
            "orders.paid.v1.proto",
            "orders.paid.v1.schema.json",
        ]
    );
    let loaded = Registry::load(&at).unwrap();
    let facts = |registry: &Registry| {
        let all = registry.event_types().cloned();
        all.map(|mut event| {
            event.origin.clear();
            event
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(facts(&loaded), facts(&shop()));
    // The same once more: the same bytes.
    let again = folder.path().join("again");
    loaded.save(&again).unwrap();
    for name in names(&at) {
        assert_eq!(fs::read(at.join(&name)).unwrap(), fs::read(again.join(&name)).unwrap(), "{name}");
    }
}

const BY_HAND: &str = r##"{
  "x-event": {"name": "OrderCreated", "topic": "orders", "version": 2, "aggregate": "order"},
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "required": ["total"],
  "definitions": {"amount": {"type": "integer"}},
  "properties": {"total": {"$ref": "#/definitions/amount"}}
}"##;

#[test]
fn a_file_that_was_written_by_hand_is_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("orders.v2.schema.json"), BY_HAND).unwrap();
    fs::write(folder.path().join("README.md"), "not ours").unwrap();
    fs::create_dir(folder.path().join("old")).unwrap();
    let registry = Registry::load(folder.path()).unwrap();
    assert_eq!(registry.get("orders", 2).unwrap().name, "OrderCreated");
    assert!(registry.check("orders", 2, br#"{"total": 7}"#).is_ok());
    assert_eq!(registry.check("orders", 2, br#"{"total": "7"}"#).unwrap_err().pointer(), Some("/total"));
}

#[test]
fn a_bad_folder_is_refused_with_the_name_of_its_file() {
    let facts = |facts: &str| format!(r#"{{"x-event": {{{facts}}}}}"#);
    let whole = |name: &str, topic: &str, version: &str| {
        facts(&format!(r#""name": "{name}", "topic": "{topic}", "version": {version}, "aggregate": "order""#))
    };
    for (text, says) in [
        ("{".to_owned(), "this is not JSON: EOF"),
        ("[]".to_owned(), "does not say whose schema it is; add \"x-event\""),
        ("{}".to_owned(), "does not say whose schema it is"),
        (facts(""), "`version` in `x-event` is missing"),
        (whole("A", "orders", "0"), "no number from 1 up"),
        (whole("A", "orders", "\"2\""), "no number from 1 up"),
        (whole("A", "orders", "1"), "says that this file is `orders.v1.schema.json`"),
        (whole("A", "other", "2"), "says that this file is `other.v2.schema.json`"),
        (whole("", "orders", "2"), "an event's name"),
        (facts(r#""topik": "orders""#), "`topik` in `x-event` is not known; known are name, topic"),
        (facts(r#""topic": "orders", "version": 2, "name": "A""#), "`aggregate` in `x-event` is missing"),
        (BY_HAND.replace("integer", "number of sorts"), "the JSON Schema cannot be used"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("orders.v2.schema.json"), &text).unwrap();
        let fault = Registry::load(folder.path()).unwrap_err().to_string();
        assert!(fault.contains(says) && fault.contains("orders.v2.schema.json"), "{text}: {fault}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert!(
        Registry::load(folder.path()).unwrap_err().to_string().contains("no file in it ends in .schema.json")
    );
    let none = Registry::load(folder.path().join("none")).unwrap_err().to_string();
    assert!(none.contains("none` cannot be read"), "{none}");
}

#[test]
fn two_files_that_disagree_are_both_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("orders.v2.schema.json"), BY_HAND).unwrap();
    let other = BY_HAND.replace("\"version\": 2", "\"version\": 3").replace("\"order\"", "\"basket\"");
    fs::write(folder.path().join("orders.v3.schema.json"), other).unwrap();
    let fault = Registry::load(folder.path()).unwrap_err().to_string();
    assert!(fault.contains("orders.v2.schema.json") && fault.contains("orders.v3.schema.json"), "{fault}");
}
