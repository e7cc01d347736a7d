//! Asking the registry for the schema of a topic or record.

use std::sync::Arc;

use eventferry_core::PublishFault;

use super::learned::Asked;
use super::written::Writer;
use super::{Given, Inner, PartSchema, SchemaChoice};
use crate::client::{
    NewSchema, Registered, SCHEMA_INVALID, SCHEMA_NOT_FOUND, SUBJECT_NOT_FOUND, VERSION_NOT_FOUND, refused,
};
use crate::format::{Schema, SchemaSource};
use crate::framing::{Framing, Part, SchemaId};

/// A schema, and where it is registered.
struct Found {
    registered: Registered,
    subject: String,
    record: Option<String>,
    /// If it was compiled already.
    schema: Option<Arc<dyn Schema>>,
}

impl Inner {
    /// Asks for what writes a record of a topic; `record`: as the event names it, empty if it does not.
    pub(super) async fn look_up(
        &self,
        topic: &str,
        part: Part,
        wanted: &PartSchema,
        record: &str,
    ) -> Result<Writer, PublishFault> {
        // What the event names has become a part of its topic's record already.
        let record = match (record, &wanted.record) {
            ("", record) => record.clone(),
            (named, _) => Some(named.to_owned()),
        };
        let found = match &wanted.choice {
            SchemaChoice::Given(given) => self.given(topic, part, wanted, given, record, false).await?,
            SchemaChoice::Register(given) => self.given(topic, part, wanted, given, record, true).await?,
            SchemaChoice::Id(id) => {
                let registered = self.registry.schema(*id).await?;
                Found { registered, subject: "any".into(), record, schema: None }
            }
            SchemaChoice::Latest | SchemaChoice::Version(_) => {
                let subject = subject(topic, part, wanted, record.as_deref())?;
                let registered = match wanted.choice {
                    SchemaChoice::Version(version) => self.registry.version(&subject, version).await?,
                    _ => self.registry.latest(&subject).await?,
                };
                Found { registered, subject, record, schema: None }
            }
        };
        self.compiled(topic, part, wanted, found).await
    }

    /// A schema of one's own, as it is registered or, if it may be, registered now.
    async fn given(
        &self,
        topic: &str,
        part: Part,
        wanted: &PartSchema,
        given: &Given,
        record: Option<String>,
        may_register: bool,
    ) -> Result<Found, PublishFault> {
        let new = NewSchema {
            schema_type: wanted.format.schema_type(),
            text: given.text.clone(),
            references: given.references.clone(),
        };
        let plain = Registered {
            id: None,
            guid: None,
            version: None,
            schema_type: new.schema_type,
            text: given.text.clone(),
            references: given.references.clone(),
            rules_for_writers: false,
        };
        let schema = compile(topic, part, wanted, &self.registry.source(&plain).await?)?;
        let named = record.as_deref().or_else(|| schema.record());
        let subject = subject(topic, part, wanted, named)?;
        let registered = match self.registry.find(&subject, &new).await {
            Err(fault) if may_register && is_missing(&fault) => {
                self.registry.check(&subject, &new).await?;
                let made = self.registry.register(&subject, &new).await?;
                tracing::info!("the schema of topic {topic} was registered under subject {subject}");
                made
            }
            found => found?,
        };
        Ok(Found { registered, subject, record, schema: Some(schema) })
    }

    async fn compiled(
        &self,
        topic: &str,
        part: Part,
        wanted: &PartSchema,
        found: Found,
    ) -> Result<Writer, PublishFault> {
        let Found { registered, subject, record, schema } = found;
        let (is, expected) = (registered.schema_type, wanted.format.schema_type());
        if is != expected {
            let what = format!(
                "the schema of topic {topic} is {}, under subject {subject}, and {} is configured: change one of them",
                is.name(),
                expected.name()
            );
            return Err(refused(SCHEMA_INVALID, what));
        }
        if registered.rules_for_writers {
            let what = format!(
                "the schema of topic {topic}, subject {subject}, has rules for whoever writes (ruleSet), such as \
                 fields to encrypt, which are not carried out here: disable them, or write \
                 the events when they are enqueued"
            );
            return Err(refused(SCHEMA_INVALID, what));
        }
        let schema = match schema {
            Some(schema) => schema,
            None => compile(topic, part, wanted, &self.registry.source(&registered).await?)?,
        };
        let id = self.id(wanted, &registered).await?;
        tracing::info!(
            "{}s of topic {topic} are written by the schema with {id}, subject {subject}",
            part.name()
        );
        Ok(Writer {
            schema,
            record,
            schema_type: expected,
            part,
            framing: wanted.framing,
            id,
            subject,
            asked: Asked::at(self.began.elapsed()),
        })
    }

    /// By what messages name it.
    async fn id(&self, wanted: &PartSchema, registered: &Registered) -> Result<SchemaId, PublishFault> {
        match (wanted.framing, registered.id, registered.guid) {
            (Framing::Prefix, Some(id), _) => Ok(SchemaId::Id(id)),
            (Framing::Prefix, None, _) => Err(refused(
                SCHEMA_NOT_FOUND,
                "the registry does not tell the id of a schema that is configured by its GUID: configure its id",
            )),
            (Framing::Header, _, Some(guid)) => Ok(SchemaId::Guid(guid)),
            (Framing::Header, Some(id), None) => {
                let guid = self.registry.schema(SchemaId::Id(id)).await?.guid;
                guid.map(SchemaId::Guid).ok_or_else(no_guids)
            }
            (Framing::Header, None, None) => Err(no_guids()),
        }
    }
}

fn no_guids() -> PublishFault {
    let what = "the schema registry gives no GUIDs, which framing by headers needs: frame by prefixes, or take a \
                registry that gives them (Confluent's from 8.0 on)";
    refused(SCHEMA_INVALID, what)
}

/// Whether a schema is not there, rather than refused.
fn is_missing(fault: &PublishFault) -> bool {
    matches!(fault.class(), Some(SUBJECT_NOT_FOUND | VERSION_NOT_FOUND | SCHEMA_NOT_FOUND))
}

fn compile(
    topic: &str,
    part: Part,
    wanted: &PartSchema,
    source: &SchemaSource,
) -> Result<Arc<dyn Schema>, PublishFault> {
    wanted.format.compile(source).map_err(|fault| {
        let (name, part) = (wanted.format.schema_type().name(), part.name());
        refused(
            SCHEMA_INVALID,
            format!("the {name} schema of topic {topic}'s {part}s cannot be read: {fault}"),
        )
    })
}

fn subject(
    topic: &str,
    part: Part,
    wanted: &PartSchema,
    record: Option<&str>,
) -> Result<String, PublishFault> {
    match record {
        None if wanted.strategy.needs_record() => Err(refused(
            SCHEMA_INVALID,
            format!(
                "the subject of topic {topic}'s {}s is named after a record, and the schema names none: name it",
                part.name()
            ),
        )),
        record => Ok(wanted.strategy.subject(topic, part, record.unwrap_or_default())),
    }
}
