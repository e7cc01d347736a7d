use eventferry::Event;
use eventferry::core::Serializer as _;
use eventferry::core::{MessageId, NotSerialized, Serialized, StoredEvent, Timestamp};
use eventferry::schemas::{Encoded, Format, PayloadFault, Schema, SchemaFault, SchemaSource, SchemaType};

use super::*;

/// A format that is never reached.
pub(super) struct Toy;

impl Format for Toy {
    type Schema = Toy;

    fn schema_type(&self) -> SchemaType {
        SchemaType::Json
    }

    fn compile(&self, _: &SchemaSource) -> Result<Toy, SchemaFault> {
        Ok(Toy)
    }
}

impl Schema for Toy {
    fn record(&self) -> Option<&str> {
        None
    }

    fn encode(&self, _: Option<&str>, json: &[u8]) -> Result<Encoded, PayloadFault> {
        Ok(Encoded { message_indexes: Vec::new(), body: json.to_vec() })
    }

    fn decode(&self, _: &[u32], body: &[u8]) -> Result<Vec<u8>, PayloadFault> {
        Ok(body.to_vec())
    }
}

fn read(file: &str) -> Result<Option<Schemas>, String> {
    schemas(&Settings::of_file(file)).map_err(|trouble| trouble.message)
}

#[test]
fn nothing_is_written_by_schemas_unless_something_is_set() {
    assert!(read("").unwrap().is_none());
}

#[test]
fn topics_are_written_by_schemas_as_they_are_set() {
    let file = "[schemas]\nurl = \"http://127.0.0.1:1\"\nformat = \"toy\"\n\
                [schemas.topics.\"values\"]\n[schemas.topics.\"keys\"]\nformat = \"none\"\nkey_format = \"toy\"\n\
                [schemas.topics.\"untouched\"]\nformat = \"none\"\n";
    let event = |topic: &str| StoredEvent {
        message_id: MessageId([0; 16]),
        event: Event::new(topic, ("order", 1)).payload("{}", "application/json"),
        enqueued_at: Timestamp(0),
    };
    let is_written = |schemas: &Schemas, topic: &str| match schemas.serialize(&event(topic)) {
        Err(NotSerialized::Unknown) => true,
        Ok(serialized) => {
            assert_eq!(serialized, Serialized::default());
            false
        }
        Err(NotSerialized::Refused(fault)) => panic!("{fault}"),
    };
    let named = read(file).unwrap().unwrap();
    let all = read(&file.replacen("format = \"toy\"\n[", "format = \"toy\"\nall_topics = true\n[", 1))
        .unwrap()
        .unwrap();
    for (topic, in_named, in_all) in
        [("values", true, true), ("keys", true, true), ("untouched", false, false), ("other", false, true)]
    {
        assert_eq!((is_written(&named, topic), is_written(&all, topic)), (in_named, in_all), "{topic}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_without_a_secret() {
    let url = "[schemas]\nurl = \"http://r\"\n";
    let topic = |text: &str| format!("{url}format = \"toy\"\n[schemas.topics.\"t\"]\n{text}\n");
    let at_topic = |says: &str| format!("e.toml, line 5, {says}");
    for (file, says) in [
        (
            "[schemas]\nformat = \"toy\"\n".to_owned(),
            "schemas are set and no registry is; write url".to_owned(),
        ),
        (
            "[schemas]\nurl = \"http://u:ses?ame@r\"\n".into(),
            "e.toml, line 2, url: schema registry: URL 1 has a `?`".into(),
        ),
        (format!("{url}user = \"u\"\n"), "e.toml, line 3, user: a user has a password".into()),
        (format!("{url}password = \"sesame\"\n"), "e.toml, line 3, password: a password has a user".into()),
        (
            format!("{url}token = \"sesame\"\ntoken_file = \"f\"\n"),
            "e.toml, line 4, token_file: token, token_file, token_command exclude each other".into(),
        ),
        (
            format!("{url}user = \"u\"\npassword = \"sesame\"\ntoken = \"sesame\"\n"),
            "e.toml, line 5, token: schema registry: there is more than one login".into(),
        ),
        (
            format!("{url}certificate_file = \"f\"\n"),
            "e.toml, line 3, certificate_file: a certificate has a key".into(),
        ),
        (format!("{url}key_file = \"f\"\n"), "e.toml, line 3, key_file: a key has a certificate".into()),
        (format!("{url}timeout = \"0s\"\n"), "e.toml, line 3, timeout: `0s` is no time for an answer".into()),
        (format!("{url}refresh = \"often\"\n"), "e.toml, line 3, refresh: `often` is not a duration".into()),
        (
            format!("{url}all_topics = true\n"),
            "e.toml, line 3, all_topics: topics without a table need".into(),
        ),
        (
            format!("{url}[schemas.topics.t]\n"),
            "the topic `t` has a table in [schemas.topics] and no format".into(),
        ),
        (
            topic("format = \"xml\""),
            at_topic("format: `xml` is no format of schemas; known in this build are "),
        ),
        (topic("subject = \"name\""), at_topic("subject: `name` names no subjects; give topic, record or")),
        (topic("framing = \"tail\""), at_topic("framing: `tail` is no place for a schema's id")),
        (topic("others = \"park\""), at_topic("others: `park` is nothing to do with payloads")),
        (topic("version = 0"), at_topic("version: `0` is no version")),
        (topic("id = \"seven\""), at_topic("id: `seven` is no schema's id")),
        (
            topic("id = 7\nversion = 1"),
            "e.toml, line 6, version: a topic's schema is chosen by one of".into(),
        ),
        (topic("auto_register = true"), at_topic("auto_register: there is nothing to register")),
        (topic("auto_register = \"maybe\""), at_topic("auto_register: `maybe` is neither true nor false")),
        (topic("schema = \"no.avsc\""), at_topic("schema: the schema's file `no.avsc` cannot be read")),
        (topic("key_schema = \"no.avsc\""), at_topic("key_schema: a key's schema has a format")),
    ] {
        let message = read(&file).unwrap_err();
        assert!(
            message.starts_with(&says) && !message.contains("ame@") && !message.contains("sesame"),
            "{message}"
        );
    }
    let here = file!().replace('\\', "/");
    let schema = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(here);
    let file = topic(&format!("schema = \"{}\"\nreferences = {{ \"m\" = \"money:one\" }}", schema.display()));
    assert!(read(&file).unwrap_err().starts_with("e.toml, line 6, m: `money:one` is no reference"));
    let file = file
        .replace("money:one", "money:1")
        .replace("[schemas.topics", "auto_register = true\n[schemas.topics");
    assert!(read(&file).unwrap().is_some());
}

#[test]
fn the_example_of_the_page_on_schemas_is_taken() {
    let page = include_str!("../../../../docs/schemas.md");
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let schema = folder.path().join("order_changed.proto");
    std::fs::write(&schema, "syntax = \"proto3\";").unwrap();
    let example = example.replace("schemas/order_changed.proto", &schema.display().to_string());
    assert!(read(&example).unwrap().is_some());
}
