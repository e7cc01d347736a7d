//! What can be said of event types: a folder to look at, and what a relay does with events before it sends them.

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct EventsArguments {
    #[command(subcommand)]
    pub(crate) command: EventsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Check that a folder can be used, and list what is in it
    Check(FolderArguments),
    /// Print what is in a folder for other people and programs
    Export(ExportEventsArguments),
}

#[derive(Debug, Args)]
pub(crate) struct FolderArguments {
    /// The folder, with one file TOPIC.vVERSION.schema.json an event type
    #[arg(long, value_name = "DIR")]
    pub(crate) from: String,
}

#[derive(Debug, Args)]
pub(crate) struct ExportEventsArguments {
    #[command(flatten)]
    pub(crate) folder: FolderArguments,
    /// An AsyncAPI 3.0 document in JSON, or a page in Markdown
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: ExportFormat,
    /// The application's name, in an AsyncAPI document
    #[arg(long, value_name = "TEXT", default_value = "Events")]
    pub(crate) title: String,
    /// The version of an AsyncAPI document
    #[arg(long, value_name = "TEXT", default_value = "1.0.0")]
    pub(crate) document_version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    Asyncapi,
    Markdown,
}

/// What events go through before they are sent.
#[derive(Debug, Default, Args)]
pub(crate) struct SerializerArguments {
    /// A folder of JSON Schemas; events that do not match the schema of their topic and version are parked
    /// [default: none, nothing is checked]
    #[arg(long, value_name = "DIR")]
    pub(crate) events: Option<String>,
    /// With --events: park what no schema of the folder is for, too [default: false]
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) events_strict: Option<String>,
    /// How to send events: plain, cloudevents-binary (as CloudEvents, in headers) or cloudevents-structured (in the
    /// payload) [default: plain]
    #[arg(long, value_name = "ENVELOPE")]
    pub(crate) envelope: Option<String>,
    /// The source of CloudEvents, a URI or a path such as /shop/orders
    #[arg(long, value_name = "URI")]
    pub(crate) cloudevents_source: Option<String>,
}
