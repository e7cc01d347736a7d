//! A registry as a folder: one JSON Schema file an event type, which people of any language can write.
//!
//! `orders.created.v2.schema.json` holds the JSON Schema of the payloads of version 2 of topic `orders.created`, and
//! beside the schema's own keywords, under `x-event`, whose it is: `name`, `topic`, `version` and `aggregate`, and
//! `content_type` where it is not `application/json`. An Avro or Protobuf schema lies beside it, in
//! `orders.created.v2.avsc` or `orders.created.v2.proto`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::builder::RegistryBuilder;
use crate::event_type::{CONTENT_TYPE_DEFAULT, EventType};
use crate::ordered;
use crate::registry::{Registry, RegistryFault};

/// How the name of each file ends.
const SUFFIX: &str = ".schema.json";

/// Where a schema says whose it is.
const FACTS: &str = "x-event";

impl Registry {
    /// Reads a folder; see [`RegistryBuilder::folder`].
    ///
    /// # Errors
    /// Those of [`RegistryBuilder::folder`] and [`RegistryBuilder::build`].
    pub fn load(folder: impl AsRef<Path>) -> Result<Self, RegistryFault> {
        Self::builder().folder(folder)?.build()
    }

    /// Writes a folder, which is made if it is not there: for each event type a file `TOPIC.vVERSION.schema.json`, and
    /// beside it `.avsc` and `.proto` where it has such a schema. The same registry gives the same bytes. Files of
    /// event types that it does not have are left alone. Upcasts are functions, and are not written.
    ///
    /// # Errors
    /// A file cannot be written; it is named.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), RegistryFault> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|error| not_written(folder, error))?;
        let write = |name: String, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|error| not_written(&path, error))
        };
        for event_type in self.event_types() {
            let label = event_type.label();
            write(format!("{label}{SUFFIX}"), &ordered::pretty(&document(event_type)))?;
            if let Some(text) = &event_type.avro {
                write(format!("{label}.avsc"), text)?;
            }
            if let Some(text) = &event_type.protobuf {
                write(format!("{label}.proto"), text)?;
            }
        }
        Ok(())
    }
}

impl RegistryBuilder {
    /// Adds the event types of a folder: of each file in it whose name ends in `.schema.json`. Folders in it are not
    /// looked into.
    ///
    /// # Errors
    /// The folder cannot be read or holds no such file, or a file does not say what it must; it is named.
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Result<Self, RegistryFault> {
        let folder = folder.as_ref();
        let unreadable = |error| not_read(folder, error);
        let mut paths = BTreeSet::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(SUFFIX)) {
                paths.insert(path);
            }
        }
        if paths.is_empty() {
            let what = format!("`{}`: no file in it ends in {SUFFIX}; is this the folder?", folder.display());
            return Err(RegistryFault::new(what));
        }
        for path in paths {
            self = self.event_type(read(&path)?);
        }
        Ok(self)
    }
}

/// An event type as it stands in its file.
fn document(event_type: &EventType) -> Value {
    let EventType { name, topic, version, aggregate, .. } = event_type;
    let mut document = match &event_type.json_schema {
        Some(Value::Object(schema)) => schema.clone(),
        Some(Value::Bool(false)) => Map::from_iter([("not".to_owned(), json!({}))]),
        _ => Map::new(),
    };
    let mut facts = json!({"name": name, "topic": topic, "version": version, "aggregate": aggregate});
    if event_type.content_type != CONTENT_TYPE_DEFAULT {
        facts["content_type"] = event_type.content_type.as_str().into();
    }
    document.insert(FACTS.to_owned(), facts);
    Value::Object(document)
}

fn read(path: &Path) -> Result<EventType, RegistryFault> {
    let text = fs::read_to_string(path).map_err(|error| not_read(path, error))?;
    let mut document: Value =
        serde_json::from_str(&text).map_err(|error| fault(path, &format!("this is not JSON: {error}")))?;
    let facts = document.as_object_mut().and_then(|document| document.remove(FACTS));
    let Some(Value::Object(facts)) = facts else {
        let how =
            r#"{"name": "OrderCreated", "topic": "orders.created", "version": 1, "aggregate": "order"}"#;
        return Err(fault(path, &format!("it does not say whose schema it is; add \"{FACTS}\": {how}")));
    };
    let mut event_type = facts_of(path, &facts)?;
    let expected = format!("{}{SUFFIX}", event_type.label());
    if path.file_name().is_none_or(|name| name.to_string_lossy() != expected) {
        let what = format!("`{FACTS}` says that this file is `{expected}`; rename it, or mend what it says");
        return Err(fault(path, &what));
    }
    if document.as_object().is_some_and(|schema| !schema.is_empty()) {
        event_type.json_schema = Some(document);
    }
    event_type.avro = beside(path, &event_type, "avsc")?;
    event_type.protobuf = beside(path, &event_type, "proto")?;
    event_type.origin = format!("`{}`", path.display());
    event_type.check()?;
    Ok(event_type)
}

fn facts_of(path: &Path, facts: &Map<String, Value>) -> Result<EventType, RegistryFault> {
    const KNOWN: [&str; 5] = ["name", "topic", "version", "aggregate", "content_type"];
    if let Some(odd) = facts.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        let known = KNOWN.join(", ");
        return Err(fault(path, &format!("`{odd}` in `{FACTS}` is not known; known are {known}")));
    }
    let text = |name: &str| {
        let text = facts.get(name).and_then(Value::as_str);
        text.ok_or_else(|| fault(path, &format!("`{name}` in `{FACTS}` is missing, or no text")))
    };
    let version =
        facts.get("version").and_then(Value::as_u64).and_then(|version| u32::try_from(version).ok());
    let version = version.filter(|version| *version > 0);
    let version = version
        .ok_or_else(|| fault(path, &format!("`version` in `{FACTS}` is missing, or no number from 1 up")))?;
    let mut event_type = EventType::new(text("name")?, text("topic")?, version, text("aggregate")?);
    if facts.contains_key("content_type") {
        event_type.content_type = text("content_type")?.to_owned();
    }
    Ok(event_type)
}

/// The text of a schema in another format, if there is one.
fn beside(path: &Path, event_type: &EventType, extension: &str) -> Result<Option<String>, RegistryFault> {
    let path: PathBuf = path.with_file_name(format!("{}.{extension}", event_type.label()));
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(not_read(&path, error)),
    }
}

fn fault(path: &Path, what: &str) -> RegistryFault {
    RegistryFault::new(format!("`{}`: {what}", path.display()))
}

fn not_read(path: &Path, error: std::io::Error) -> RegistryFault {
    RegistryFault::of_file(format!("`{}` cannot be read: {error}", path.display()), error)
}

fn not_written(path: &Path, error: std::io::Error) -> RegistryFault {
    RegistryFault::of_file(format!("`{}` cannot be written: {error}", path.display()), error)
}
