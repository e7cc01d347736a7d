//! What can be said of dead letters.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, value_parser};
use eventferry::MessageId;

use super::{ClusterArguments, PersonArguments, StoreArgument};

#[derive(Debug, Args)]
pub(crate) struct DeadLettersArguments {
    #[command(subcommand)]
    pub(crate) command: DeadLettersCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// Enqueue the events of a dead-letter topic again, for the topics they were meant for
    ///
    /// Reads the topic up to its present end, and appends each event to the outbox once more: same message id, key,
    /// payload and headers, without those of a dead letter. So relays carry it like any other event. How far it came
    /// is kept in a consumer group, after the events are committed: the next replay goes on from there, and after a
    /// crash some are enqueued twice, under the same message ids. The dead-letter topic itself stays as it is.
    Replay(ReplayArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    #[command(flatten)]
    pub(crate) store: StoreArgument,
    #[command(flatten)]
    pub(crate) cluster: ClusterArguments,
    /// The dead-letter topic
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) topic: String,
    /// Send all events to this topic [default: each to the topic and partition it was meant for]
    #[arg(long, value_name = "TOPIC", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) to_topic: Option<String>,
    /// The consumer group that keeps how far replays came [default: eventferry-replay]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) group: Option<String>,
    /// Read from the topic's beginning, wherever the group stands
    #[arg(long)]
    pub(crate) from_beginning: bool,
    #[command(flatten)]
    pub(crate) filter: ReplayFilterArguments,
    #[command(flatten)]
    pub(crate) person: PersonArguments,
    /// At most so many events [default: all]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Show what would be replayed, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Which dead letters: those that fit everything given.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Which events")]
pub(crate) struct ReplayFilterArguments {
    /// With this message id; may be given again
    #[arg(long = "id", value_name = "UUID")]
    pub(crate) ids: Vec<MessageId>,
    /// About this kind of thing
    #[arg(long, value_name = "TYPE", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) aggregate_type: Option<String>,
    /// About the thing with this id
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) aggregate_id: Option<String>,
    /// Meant for this topic
    #[arg(long, value_name = "TOPIC", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) original_topic: Option<String>,
    /// Refused for a reason of this class, or with this text in its words
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) reason: Option<String>,
    /// Refused last at least this long ago, as in 10m
    #[arg(long, value_name = "DURATION", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) older_than: Option<String>,
}
