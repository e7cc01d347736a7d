//! By which schema a part of a topic's messages is written.

use std::fmt;
use std::sync::Arc;

use eventferry_core::{NotSerialized, PublishFault, PublishFaultKind, Row};

use super::{RECORD_HEADER, RECORD_UNKNOWN};
use crate::client::Reference;
use crate::format::{Format, Schema, SchemaFault, SchemaSource, SchemaType};
use crate::framing::{Framing, Part, SchemaId};
use crate::subject::SubjectStrategy;

/// What stands for an event's own type in the name of a record.
const PLACEHOLDER: &str = "{event-type}";

/// The longest name of a record that an event may have, in bytes.
const RECORD_BYTES_MAX: usize = 512;

/// By which schema the values or keys of a topic are written.
#[derive(Clone)]
pub struct PartSchema {
    pub(super) format: Arc<dyn AnyFormat>,
    pub(super) choice: SchemaChoice,
    pub(super) strategy: SubjectStrategy,
    pub(super) record: Option<String>,
    pub(super) framing: Framing,
    pub(super) others: Others,
}

/// Which of a registry's schemas it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SchemaChoice {
    /// The latest version of its subject when the topic is learned.
    #[default]
    Latest,
    /// This version of its subject, from 1.
    Version(u32),
    /// The one with this id or GUID, whatever its subject.
    Id(SchemaId),
    /// This one, which is registered under its subject already.
    Given(Given),
    /// This one, registered under its subject if it is not yet; the subject's compatibility is asked first.
    Register(Given),
}

/// A schema of one's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Its text.
    pub text: String,
    /// What it refers to, registered already.
    pub references: Vec<Reference>,
}

/// What becomes of payloads that are not JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// They pass untouched: an application may write its own.
    #[default]
    Pass,
    /// They are refused, and parked: whoever reads the topic wants nothing but what its schema describes.
    Refuse,
}

impl PartSchema {
    /// The latest version of the subject named after the topic, in this format, its id before the bytes.
    pub fn new(format: impl Format) -> Self {
        Self {
            format: Arc::new(format),
            choice: SchemaChoice::default(),
            strategy: SubjectStrategy::default(),
            record: None,
            framing: Framing::default(),
            others: Others::default(),
        }
    }

    /// Which of the registry's schemas it is; default [`SchemaChoice::Latest`].
    #[must_use]
    pub fn choice(mut self, choice: SchemaChoice) -> Self {
        self.choice = choice;
        self
    }

    /// How its subject is named; default [`SubjectStrategy::Topic`].
    #[must_use]
    pub fn strategy(mut self, strategy: SubjectStrategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// The full name of the record to write, such as `shop.OrderCreated`. For values `{event-type}` in it stands for
    /// the event's header of that name, as in `shop.{event-type}`.
    ///
    /// Default: the first record of a schema that is given; for strategies that need a record's name and have no such
    /// schema, the value's header `event-type`, which is then the full name.
    #[must_use]
    pub fn record(mut self, record: impl Into<String>) -> Self {
        self.record = Some(record.into());
        self
    }

    /// Where a message says by which schema it was written; default [`Framing::Prefix`].
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// What becomes of payloads that are not JSON; default [`Others::Pass`].
    #[must_use]
    pub fn others(mut self, others: Others) -> Self {
        self.others = others;
        self
    }

    /// Whether each event names its record.
    pub(super) fn record_is_events(&self, part: Part) -> bool {
        if part == Part::Key {
            return false;
        }
        match &self.record {
            Some(record) => record.contains(PLACEHOLDER),
            None => {
                self.strategy.needs_record()
                    && matches!(self.choice, SchemaChoice::Latest | SchemaChoice::Version(_))
            }
        }
    }

    /// Whether a newer schema is to be taken once it is there.
    pub(super) fn is_latest(&self) -> bool {
        self.choice == SchemaChoice::Latest
    }

    /// The record that an event names.
    pub(super) fn record_of(&self, row: &dyn Row) -> Result<String, NotSerialized> {
        let mut named = None;
        row.headers(&mut |name, value| {
            if name == RECORD_HEADER && named.is_none() {
                named = Some(String::from_utf8(value.to_vec()).unwrap_or_default());
            }
        });
        let named = named.filter(|name| is_record(name)).ok_or_else(|| {
            let what = format!(
                "the event has no header {RECORD_HEADER} that names its record, 1 to {RECORD_BYTES_MAX} bytes of \
                 UTF-8 without slashes and their like: send it along, or name the topic's record"
            );
            NotSerialized::Refused(Box::new(
                PublishFault::new(PublishFaultKind::Rejected, what).of_class(RECORD_UNKNOWN),
            ))
        })?;
        Ok(match &self.record {
            Some(record) => record.replace(PLACEHOLDER, &named),
            None => named,
        })
    }
}

/// Whether an event may name its record so: no name of a record holds what is left out here, and in a URL it would be
/// another place of the registry's, or none.
fn is_record(name: &str) -> bool {
    let is_odd = |c: char| c.is_control() || "/\\%?#".contains(c);
    name.len() <= RECORD_BYTES_MAX && name.contains(|c| c != '.') && !name.contains(is_odd)
}

impl fmt::Debug for PartSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartSchema")
            .field("format", &self.format.schema_type())
            .field("choice", &self.choice)
            .field("strategy", &self.strategy)
            .field("record", &self.record)
            .field("framing", &self.framing)
            .field("others", &self.others)
            .finish()
    }
}

/// A format of whatever type.
pub(crate) trait AnyFormat: Send + Sync {
    fn schema_type(&self) -> SchemaType;
    fn compile(&self, source: &SchemaSource) -> Result<Arc<dyn Schema>, SchemaFault>;
}

impl<F: Format> AnyFormat for F {
    fn schema_type(&self) -> SchemaType {
        Format::schema_type(self)
    }

    fn compile(&self, source: &SchemaSource) -> Result<Arc<dyn Schema>, SchemaFault> {
        Ok(Arc::new(Format::compile(self, source)?))
    }
}
