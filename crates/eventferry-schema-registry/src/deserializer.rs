//! Messages read by the schemas that they name: for those who consume.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use eventferry_core::fault::Fault;
use eventferry_core::{PublishFault, PublishFaultKind};

use crate::client::Registry;
use crate::format::{Format, Schema, SchemaType};
use crate::framing::{FramingFault, Part, SchemaId, read_message_indexes};
use crate::serializer::AnyFormat;

/// How many schemas are kept; beyond, all are forgotten and asked for again.
const KEPT_MAX: usize = 10_000;

/// Reads what any client of a Confluent registry wrote, as JSON.
///
/// The schema is found by the header `__value_schema_id` or `__key_schema_id` if it is there, else by what stands
/// before the bytes. Each schema is asked for once; afterwards the registry may be away.
///
/// Cheap to clone; clones share what they learned.
#[derive(Clone)]
pub struct RegistryDeserializer {
    registry: Registry,
    formats: Vec<Arc<dyn AnyFormat>>,
    known: Arc<RwLock<HashMap<SchemaId, Reader>>>,
}

#[derive(Clone)]
struct Reader {
    schema: Arc<dyn Schema>,
    schema_type: SchemaType,
}

/// A part of a message, read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Read {
    /// What it says, as JSON.
    pub json: Vec<u8>,
    /// By which schema it was written.
    pub schema: SchemaId,
    /// In which format.
    pub schema_type: SchemaType,
}

/// A part of a message cannot be read.
pub type ReadFault = Fault<ReadFaultKind>;

/// What to do about a part of a message that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadFaultKind {
    /// The registry is away: ask again later; the message may be well.
    Unavailable,
    /// The bytes do not say by which schema they were written: they are somebody else's, or damaged.
    Foreign,
    /// Its schema is not in the registry, or of a format that the deserializer was not given.
    SchemaUnknown,
    /// The bytes do not fit the schema that they name.
    Mismatch,
}

impl RegistryDeserializer {
    /// One that asks this registry; it reads no format until it is given some.
    pub fn new(registry: Registry) -> Self {
        Self { registry, formats: Vec::new(), known: Arc::default() }
    }

    /// With another format.
    #[must_use]
    pub fn format(mut self, format: impl Format) -> Self {
        self.formats.push(Arc::new(format));
        self
    }

    /// Reads a part of a message, of which these are the headers and these the part's bytes.
    ///
    /// # Errors
    /// See [`ReadFaultKind`].
    pub async fn read<'a>(
        &self,
        part: Part,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        bytes: &[u8],
    ) -> Result<Read, ReadFault> {
        let named = headers.into_iter().find_map(|(name, value)| (name == part.header()).then_some(value));
        let (schema, after) = SchemaId::read(named.unwrap_or(bytes)).map_err(foreign)?;
        let Reader { schema: reader, schema_type } = self.reader(schema).await?;
        let (indexes, after) = match schema_type {
            SchemaType::Protobuf => read_message_indexes(after).map_err(foreign)?,
            _ => (Vec::new(), after),
        };
        let body = if named.is_some() { bytes } else { after };
        let json = reader.decode(&indexes, body).map_err(|fault| {
            ReadFault::new(
                ReadFaultKind::Mismatch,
                format!("{fault}; it does not fit the schema with {schema}"),
            )
        })?;
        Ok(Read { json, schema, schema_type })
    }

    async fn reader(&self, id: SchemaId) -> Result<Reader, ReadFault> {
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(known.clone());
        }
        let unknown = |what: String| ReadFault::new(ReadFaultKind::SchemaUnknown, what);
        let registered = self.registry.schema(id).await.map_err(of_registry)?;
        let schema_type = registered.schema_type;
        let format = self.formats.iter().find(|format| format.schema_type() == schema_type).ok_or_else(|| {
            let name = schema_type.name();
            unknown(format!(
                "the schema with {id} is {name}, which this deserializer was not given: give it that format"
            ))
        })?;
        let source = self.registry.source(&registered).await.map_err(of_registry)?;
        let schema = format.compile(&source);
        let schema =
            schema.map_err(|fault| unknown(format!("the schema with {id} cannot be read: {fault}")))?;
        let reader = Reader { schema, schema_type };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT_MAX {
            known.clear();
        }
        known.insert(id, reader.clone());
        Ok(reader)
    }
}

impl fmt::Debug for RegistryDeserializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryDeserializer").field("registry", &self.registry).finish_non_exhaustive()
    }
}

fn foreign(fault: FramingFault) -> ReadFault {
    ReadFault::new(ReadFaultKind::Foreign, fault.to_string())
}

fn of_registry(fault: PublishFault) -> ReadFault {
    let kind = match fault.kind() {
        PublishFaultKind::TopicRefused => ReadFaultKind::SchemaUnknown,
        _ => ReadFaultKind::Unavailable,
    };
    ReadFault::new(kind, fault.message())
}
