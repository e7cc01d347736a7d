//! `eventferry events`: a folder of event types, for those who write it and those who read it.

use eventferry::events::{AsyncApi, EventType, Registry};

use crate::arguments::{
    EventsArguments, EventsCommand, ExportEventsArguments, ExportFormat, FolderArguments,
};
use crate::ending::{Ending, Trouble};
use crate::output::print;
use crate::table::columns;

/// Checks a folder, or prints what is in it.
pub(crate) fn events(arguments: &EventsArguments) -> Result<Ending, Trouble> {
    match &arguments.command {
        EventsCommand::Check(folder) => check(&load(folder)?),
        EventsCommand::Export(arguments) => export(&load(&arguments.folder)?, arguments),
    }
}

fn load(folder: &FolderArguments) -> Result<Registry, Trouble> {
    Registry::load(&folder.from).map_err(|fault| Trouble::usage(format!("--from: {fault}")))
}

fn check(registry: &Registry) -> Result<Ending, Trouble> {
    print(&columns(
        &["TOPIC", "VERSION", "EVENT", "AGGREGATE", "SCHEMAS"],
        registry.event_types().map(row).collect(),
    ))?;
    Ok(Ending::Done)
}

fn row(event_type: &EventType) -> Vec<String> {
    let EventType { name, topic, version, aggregate, json_schema, avro, protobuf, .. } = event_type;
    let schemas =
        [("JSON", json_schema.is_some()), ("Avro", avro.is_some()), ("Protobuf", protobuf.is_some())];
    let schemas: Vec<_> = schemas.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect();
    let schemas = if schemas.is_empty() { "none".into() } else { schemas.join(", ") };
    vec![topic.clone(), version.to_string(), name.clone(), aggregate.clone(), schemas]
}

fn export(registry: &Registry, arguments: &ExportEventsArguments) -> Result<Ending, Trouble> {
    let about = AsyncApi { title: &arguments.title, version: &arguments.document_version };
    print(&match arguments.format {
        ExportFormat::Asyncapi => registry.asyncapi(about),
        ExportFormat::Markdown => registry.markdown(),
    })?;
    Ok(Ending::Done)
}
