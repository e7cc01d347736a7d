//! What the file of settings says of schemas: the table `[schemas]`, and one for each topic in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::file::{Page, SCHEMAS, Scope, TOPICS, given, known, topic_tables};
use super::{Given, variable};
use crate::ending::Trouble;

/// What can be set for the registry and for topics at large; each is a variable, too: `url` is EVENTFERRY_SCHEMAS_URL.
const KEYS: [&str; 19] = [
    "url",
    "user",
    "password",
    "password_file",
    "password_command",
    "token",
    "token_file",
    "token_command",
    "ca_file",
    "certificate_file",
    "key_file",
    "timeout",
    "refresh",
    "all_topics",
    "format",
    "subject",
    "auto_register",
    "framing",
    "others",
];

/// What can be set for one topic.
const TOPIC_KEYS: [&str; 11] = [
    "format",
    "schema",
    "record",
    "subject",
    "version",
    "id",
    "auto_register",
    "framing",
    "others",
    "key_format",
    "key_schema",
];

/// The table of what a topic's schema refers to.
const REFERENCES: &str = "references";

const WHOLE: Scope = Scope { keys: &KEYS, tables: &[TOPICS], of: "schemas" };
const ONE_TOPIC: Scope = Scope { keys: &TOPIC_KEYS, tables: &[REFERENCES], of: "one topic's schemas" };

/// What the file says of schemas.
#[derive(Debug, Default)]
pub(crate) struct SchemasTable {
    settings: BTreeMap<&'static str, Given>,
    topics: BTreeMap<String, SchemaTable>,
}

/// What the file says of one topic's schemas.
#[derive(Debug, Default)]
pub(crate) struct SchemaTable {
    settings: BTreeMap<&'static str, Given>,
    /// What its schema refers to: a subject, and behind a colon a version, by name.
    references: BTreeMap<String, Given>,
    /// Where its files are, if their paths are relative.
    folder: PathBuf,
}

#[cfg_attr(not(feature = "schemas"), expect(dead_code, reason = "what is set is only noticed then"))]
impl SchemasTable {
    /// Whether nothing is set.
    pub(crate) fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.topics.is_empty()
    }

    /// The setting `key`.
    pub(crate) fn find(&self, key: &'static str) -> Option<&Given> {
        debug_assert!(KEYS.contains(&key), "{key} is not listed");
        self.settings.get(key)
    }

    /// The topics with a table of their own.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (&str, &SchemaTable)> {
        self.topics.iter().map(|(topic, table)| (topic.as_str(), table))
    }

    /// Takes what is there for it from among these variables: a variable goes before the file.
    pub(super) fn take_variables(&mut self, variables: &mut BTreeMap<String, String>) {
        for key in KEYS {
            let name = variable(&format!("{SCHEMAS}_{key}"));
            if let Some(text) = variables.remove(&name) {
                self.settings.insert(key, Given { text, origin: name });
            }
        }
    }
}

#[cfg_attr(not(feature = "schemas"), expect(dead_code, reason = "what is set is only noticed then"))]
impl SchemaTable {
    /// The setting `key` of this topic.
    pub(crate) fn find(&self, key: &'static str) -> Option<&Given> {
        debug_assert!(TOPIC_KEYS.contains(&key), "{key} is not listed");
        self.settings.get(key)
    }

    /// What its schema refers to.
    pub(crate) fn references(&self) -> impl Iterator<Item = (&str, &Given)> {
        self.references.iter().map(|(name, given)| (name.as_str(), given))
    }

    /// A file's place.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }
}

/// The table.
pub(super) fn table(
    page: Page<'_>,
    name: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<SchemasTable, Trouble> {
    let how = "write it as in [schemas] and, below it, url = \"https://registry:8081\"";
    let DeValue::Table(table) = value.get_ref() else {
        return Err(page.trouble(name.span().start, &format!("`{SCHEMAS}` is not a table; {how}")));
    };
    let mut found = SchemasTable::default();
    for (name, value) in table {
        if name.get_ref() == TOPICS {
            found.topics = topics(page, name, value)?;
            continue;
        }
        let key = known(page, name, &WHOLE)?;
        found.settings.insert(key, given(page, name, key, value)?);
    }
    Ok(found)
}

fn topics(
    page: Page<'_>,
    name: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<BTreeMap<String, SchemaTable>, Trouble> {
    let how = "write a table for each topic, as in [schemas.topics.\"orders.created\"]";
    let folder = Path::new(page.path).parent().unwrap_or(Path::new(""));
    let own = |name: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>| references(page, name, value);
    topic_tables(page, name, value, how, &ONE_TOPIC, (REFERENCES, own), |settings, references| SchemaTable {
        settings,
        references,
        folder: folder.to_owned(),
    })
}

fn references(
    page: Page<'_>,
    name: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<BTreeMap<String, Given>, Trouble> {
    let DeValue::Table(table) = value.get_ref() else {
        let how = "write it as in references = { \"shop/money.proto\" = \"money-value:1\" }";
        return Err(page.trouble(name.span().start, &format!("`{REFERENCES}` is not a table; {how}")));
    };
    let one = |(name, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        let text = name.get_ref().to_string();
        let given = given(page, name, &text, value)?;
        Ok((text, given))
    };
    table.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::super::file::{parsed, refusal};
    use super::*;

    #[test]
    fn schemas_have_a_table_and_topics_one_of_their_own() {
        let text = "[schemas]\nurl = \"http://r\"\nauto_register = true\n\
                    [schemas.topics.\"orders.created\"]\nformat = \"avro\"\nid = 7\n\
                    references = { \"shop.Money\" = \"money:1\" }\n";
        let schemas = parsed("conf/e.toml", text).unwrap().schemas;
        assert_eq!(schemas.find("auto_register").unwrap().text(), "true");
        let (topic, table) = schemas.topics().next().unwrap();
        assert_eq!((topic, table.find("id").unwrap().text()), ("orders.created", "7"));
        assert_eq!(table.find("format").unwrap().origin, "conf/e.toml, line 5, format");
        assert_eq!(table.path("a.avsc"), Path::new("conf/a.avsc"));
        let references: Vec<_> = table.references().map(|(name, given)| (name, given.text())).collect();
        assert_eq!(references, [("shop.Money", "money:1")]);
    }

    #[test]
    fn each_setting_but_those_of_topics_may_be_in_a_variable_which_goes_before_the_file() {
        let mut schemas = parsed("e.toml", "[schemas]\npassword = \"file\"\n").unwrap().schemas;
        let mut variables = BTreeMap::from([
            ("EVENTFERRY_SCHEMAS_PASSWORD".to_owned(), "variable".to_owned()),
            ("EVENTFERRY_SCHEMAS_OTHER".to_owned(), "other".to_owned()),
        ]);
        schemas.take_variables(&mut variables);
        assert_eq!(schemas.find("password").unwrap().text(), "variable");
        assert_eq!(variables.into_keys().collect::<Vec<_>>(), ["EVENTFERRY_SCHEMAS_OTHER"]);
    }

    #[test]
    fn what_is_wrong_in_a_table_of_schemas_is_named_with_its_line() {
        for (text, says) in [
            ("schemas = \"http://r\"", "line 1: `schemas` is not a table; write it as in [schemas]"),
            ("[schemas]\nurls = \"x\"", "line 2: the key `urls` is not known; did you mean `url`?"),
            ("[schemas]\ntopics = \"x\"", "line 2: `topics` is not a table"),
            ("[schemas.topics]\nt = \"avro\"", "line 2: the topic `t` has no table"),
            ("[schemas.topics.orders.created]\nformat = \"avro\"", "put the topic's name in quotes"),
            (
                "[schemas.topics.t]\nformt = \"avro\"",
                "line 2: the key `formt` is not known; did you mean `format`?",
            ),
            ("[schemas.topics.t]\nlease = \"1s\"", "line 2: `lease` cannot be set for one topic's schemas"),
            ("[schemas.topics.t]\nreferences = \"x\"", "line 2: `references` is not a table"),
            ("[schema]\nurl = \"x\"", "line 1: the key `schema` is not known; did you mean `schemas`?"),
        ] {
            let message = refusal(text);
            assert!(message.contains(says), "{message}");
        }
    }

    #[test]
    fn the_page_on_schemas_names_each_setting() {
        let page = include_str!("../../../../docs/schemas.md");
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
        for key in KEYS.into_iter().chain(TOPIC_KEYS).chain([REFERENCES]) {
            let name = format!("`{key}`");
            assert!(
                rows.iter().any(|row| row.split('|').nth(1).is_some_and(|cell| cell.contains(&name))),
                "{key}"
            );
        }
    }
}
