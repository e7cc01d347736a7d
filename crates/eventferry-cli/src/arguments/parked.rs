//! What can be said of parked events.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum, value_parser};
use eventferry::MessageId;
use eventferry::core::parked::Stage;

use super::StoreArgument;

#[derive(Debug, Args)]
pub(crate) struct ParkedArguments {
    #[command(subcommand)]
    pub(crate) command: ParkedCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ParkedCommand {
    /// List parked events: where each stands, and why
    List(ListArguments),
    /// Show all there is to know of parked events
    Show(ShowArguments),
    /// Have refused events tried again now, with their attempts counted from the beginning
    Retry(DecideArguments),
    /// Let events go without being shipped; their aggregates go on
    ///
    /// Nothing brings a discarded event back: `eventferry parked export` keeps a copy.
    Discard(DecideArguments),
    /// Let aggregates go on that are held after a dead letter
    Release(DecideArguments),
    /// Write parked events out whole, payloads included: a line of JSON for each
    Export(ExportArguments),
}

/// Which parked events: those that fit everything given.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Which events")]
pub(crate) struct FilterArguments {
    /// With this message id; may be given again
    #[arg(long = "id", value_name = "UUID")]
    pub(crate) ids: Vec<MessageId>,
    /// About this kind of thing
    #[arg(long, value_name = "TYPE", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) aggregate_type: Option<String>,
    /// About the thing with this id
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) aggregate_id: Option<String>,
    /// For this topic
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) topic: Option<String>,
    /// Refused for a reason of this class, or with this text in its words
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) reason: Option<String>,
    /// In this stage
    #[arg(long, value_enum)]
    pub(crate) stage: Option<StageArgument>,
    /// Parked at least this long ago, as in 10m
    #[arg(long, value_name = "DURATION", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) older_than: Option<String>,
}

/// A stage by its name on the command line and in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StageArgument {
    /// On its way to its topic, when it is due
    Topic,
    /// Given up, on its way to the dead-letter topic
    DeadLetterTopic,
    /// Waiting for a person: retry or discard it
    Waiting,
    /// In the dead-letter topic; its aggregate waits for a person to release it
    Held,
}

impl From<StageArgument> for Stage {
    fn from(stage: StageArgument) -> Self {
        match stage {
            StageArgument::Topic => Self::Topic,
            StageArgument::DeadLetterTopic => Self::DeadLetterTopic,
            StageArgument::Waiting => Self::Waiting,
            StageArgument::Held => Self::Held,
        }
    }
}

/// Who acts, and why: for the audit table.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "For the audit table")]
pub(crate) struct PersonArguments {
    /// Who decides [default: the user of the operating system]
    #[arg(long, value_name = "NAME")]
    pub(crate) who: Option<String>,
    /// Why, for whoever reads it later
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    pub(crate) store: StoreArgument,
    #[command(flatten)]
    pub(crate) filter: FilterArguments,
    /// At most so many [default: 100; with --json all]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Print a line of JSON for each
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    #[command(flatten)]
    pub(crate) store: StoreArgument,
    #[command(flatten)]
    pub(crate) filter: FilterArguments,
    /// At most so many [default: 10; with --json all]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Show the payload, too
    #[arg(long)]
    pub(crate) payload: bool,
    /// Print a line of JSON for each
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DecideArguments {
    #[command(flatten)]
    pub(crate) store: StoreArgument,
    #[command(flatten)]
    pub(crate) filter: FilterArguments,
    /// All parked events; needed where nothing else says which
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) person: PersonArguments,
    /// The first so many that it fits, in the order of the list [default: all]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=10_000))]
    pub(crate) limit: Option<u64>,
    /// Show what would be decided, and decide nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print one line of JSON; with --dry-run one for each event
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    #[command(flatten)]
    pub(crate) store: StoreArgument,
    #[command(flatten)]
    pub(crate) filter: FilterArguments,
    /// At most so many [default: all]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Write to this file, which must not exist yet, instead of standard output
    #[arg(long, value_name = "PATH", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) output: Option<String>,
}
