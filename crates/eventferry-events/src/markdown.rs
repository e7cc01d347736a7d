//! A registry as a page for people.

use serde_json::Value;

use crate::event_type::EventType;
use crate::ordered;
use crate::registry::Registry;

impl Registry {
    /// The events as Markdown: a table of all, then each with its fields and its schemas. The same registry gives the
    /// same bytes.
    pub fn markdown(&self) -> String {
        let mut page =
            String::from("# Events\n\n| topic | version | event | aggregate |\n|---|---|---|---|\n");
        for EventType { name, topic, version, aggregate, .. } in self.event_types() {
            line(&mut page, &format!("| `{topic}` | {version} | {} | {} |", cell(name), cell(aggregate)));
        }
        self.event_types().for_each(|event_type| one(&mut page, event_type));
        page
    }
}

fn one(page: &mut String, event_type: &EventType) {
    let EventType { name, topic, version, aggregate, .. } = event_type;
    line(page, &format!("\n## {}, version {version}\n", cell(name)));
    line(page, &format!("Topic `{topic}`, about one {}.", cell(aggregate)));
    if let Some(schema) = &event_type.json_schema {
        if let Some(Value::String(description)) = schema.get("description") {
            line(page, &format!("\n{}", cell(description)));
        }
        fields(page, schema);
        fenced(page, "JSON Schema", "json", &ordered::pretty(schema));
    }
    for (what, language, text) in
        [("Avro", "json", &event_type.avro), ("Protobuf", "protobuf", &event_type.protobuf)]
    {
        if let Some(text) = text {
            fenced(page, what, language, text);
        }
    }
}

/// The payload's fields, where the schema is of an object.
fn fields(page: &mut String, schema: &Value) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object).filter(|all| !all.is_empty())
    else {
        return;
    };
    let required = schema.get("required").and_then(Value::as_array);
    line(page, "\n| field | type | required | meaning |\n|---|---|---|---|");
    let mut properties: Vec<_> = properties.iter().collect();
    properties.sort_by_key(|(name, _)| *name);
    for (name, property) in properties {
        let is_required = required.is_some_and(|names| names.iter().any(|one| one == name));
        let is_required = if is_required { "yes" } else { "no" };
        let meaning = property.get("description").and_then(Value::as_str).unwrap_or_default();
        let name = cell(&name.replace('`', "'"));
        line(page, &format!("| `{name}` | {} | {is_required} | {} |", cell(&kind(property)), cell(meaning)));
    }
}

/// What a property is, in a few words.
fn kind(property: &Value) -> String {
    let list = |key: &str, of: fn(&Value) -> String| {
        let all = property.get(key).and_then(Value::as_array);
        all.map(|all| all.iter().map(of).collect::<Vec<_>>().join(" or "))
    };
    let named = property.get("$ref").and_then(Value::as_str).and_then(|at| at.rsplit('/').next());
    let simple = property.get("type").and_then(Value::as_str);
    named
        .or(simple)
        .map(str::to_owned)
        .or_else(|| list("type", |one| one.as_str().unwrap_or_default().to_owned()))
        .or_else(|| list("enum", ToString::to_string))
        .or_else(|| list("anyOf", kind))
        .or_else(|| list("oneOf", kind))
        .unwrap_or_else(|| "any".into())
}

/// A text in a table's cell, on one line.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// A block with a fence that the text does not end.
fn fenced(page: &mut String, what: &str, language: &str, text: &str) {
    let mut fence = "```".to_owned();
    while text.contains(&fence) {
        fence.push('`');
    }
    line(page, &format!("\n{what}:\n\n{fence}{language}\n{}\n{fence}", text.trim_end()));
}

fn line(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}
