//! Schemas as registries take and give them.

use eventferry_core::PublishFault;
use serde::{Deserialize, Serialize};

use super::fault::{SCHEMA_INVALID, refused, unavailable};
use super::guid;
use crate::format::SchemaType;
use crate::framing::Guid;

/// A schema to register, or to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSchema {
    /// Its format.
    pub schema_type: SchemaType,
    /// Its text.
    pub text: String,
    /// What it refers to, registered already.
    pub references: Vec<Reference>,
}

/// How a schema refers to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The name by which it is referred to: Avro's full name, Protobuf's import, JSON Schema's URI.
    pub name: String,
    /// The subject under which it is registered.
    pub subject: String,
    /// In which version, from 1; `None`: the latest one when it is asked for.
    pub version: Option<u32>,
}

/// A schema as a registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its id; `None`: it was asked for by GUID, and the registry does not say.
    pub id: Option<u32>,
    /// Its GUID; `None`: the registry gives none.
    pub guid: Option<Guid>,
    /// Its version, where it was asked for under a subject.
    pub version: Option<u32>,
    /// Its format.
    pub schema_type: SchemaType,
    /// Its text.
    pub text: String,
    /// What it refers to.
    pub references: Vec<Reference>,
    /// Whether it has rules for whoever writes by it (`ruleSet`): conditions, or fields to encrypt. They are not
    /// carried out here, so nothing is written by such a schema.
    pub rules_for_writers: bool,
}

/// A schema as it is posted.
#[derive(Debug, Serialize)]
pub(super) struct NewSchemaJson<'a> {
    schema: &'a str,
    #[serde(rename = "schemaType")]
    schema_type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    references: Vec<ReferenceJson>,
}

#[derive(Debug, Deserialize, Serialize)]
struct ReferenceJson {
    name: String,
    subject: String,
    version: u32,
}

/// A schema as it is answered. What is not there was not asked for, or the registry is older than it.
#[derive(Debug, Deserialize)]
pub(super) struct RegisteredJson {
    id: Option<u32>,
    guid: Option<String>,
    version: Option<u32>,
    #[serde(rename = "schemaType")]
    pub(super) schema_type: Option<String>,
    #[serde(default)]
    pub(super) schema: String,
    references: Option<Vec<ReferenceJson>>,
    #[serde(rename = "ruleSet")]
    rule_set: Option<RuleSetJson>,
}

/// What clients are to do to messages, by kinds of rules.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RuleSetJson {
    domain_rules: Option<Vec<RuleJson>>,
    encoding_rules: Option<Vec<RuleJson>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RuleJson {
    mode: String,
    disabled: bool,
}

impl RuleSetJson {
    fn is_for_writers(&self) -> bool {
        let mut rules = self.domain_rules.iter().chain(&self.encoding_rules).flatten();
        rules.any(|rule| !rule.disabled && matches!(rule.mode.as_str(), "WRITE" | "WRITEREAD"))
    }
}

/// Whether a schema is compatible.
#[derive(Debug, Deserialize)]
pub(super) struct Checked {
    pub(super) is_compatible: bool,
    #[serde(default)]
    pub(super) messages: Vec<String>,
}

impl<'a> NewSchemaJson<'a> {
    /// `references` with their versions.
    pub(super) fn of(schema: &'a NewSchema, references: &[Reference]) -> Self {
        let reference = |reference: &Reference| {
            let Reference { name, subject, version } = reference.clone();
            ReferenceJson { name, subject, version: version.unwrap_or(1) }
        };
        Self {
            schema: &schema.text,
            schema_type: schema.schema_type.name(),
            references: references.iter().map(reference).collect(),
        }
    }
}

impl RegisteredJson {
    /// Makes sure that there is a schema.
    ///
    /// # Errors
    /// There is none: it is no registry that answers.
    pub(super) fn with_text(self) -> Result<Self, PublishFault> {
        if self.schema.is_empty() {
            return Err(unavailable(
                "what answers gives no schema, so it is no registry: see its URL, with its path",
            ));
        }
        Ok(self)
    }

    /// What it says.
    ///
    /// # Errors
    /// It is of a format that nobody here knows.
    pub(super) fn read(self) -> Result<Registered, PublishFault> {
        // Where none is named Avro is meant: registries knew nothing else at first.
        let name = self.schema_type.as_deref().unwrap_or(SchemaType::Avro.name());
        let all = [SchemaType::Avro, SchemaType::Protobuf, SchemaType::Json];
        let Some(schema_type) = all.into_iter().find(|known| known.name() == name) else {
            return Err(refused(
                SCHEMA_INVALID,
                "the schema is of a format that is none of AVRO, PROTOBUF and JSON",
            ));
        };
        let reference = |json: ReferenceJson| {
            let ReferenceJson { name, subject, version } = json;
            Reference { name, subject, version: Some(version) }
        };
        Ok(Registered {
            id: self.id,
            guid: guid(self.guid.as_deref()),
            version: self.version,
            schema_type,
            text: self.schema,
            references: self.references.unwrap_or_default().into_iter().map(reference).collect(),
            rules_for_writers: self.rule_set.is_some_and(|rules| rules.is_for_writers()),
        })
    }
}
