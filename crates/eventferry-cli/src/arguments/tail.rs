//! What can be said of looking at a topic.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum, value_parser};

use super::ClusterArguments;

#[derive(Debug, Args)]
pub(crate) struct TailArguments {
    #[command(flatten)]
    pub(crate) cluster: ClusterArguments,
    /// The topic
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) topic: String,
    /// Where to begin: at the topic's beginning, or at its end, with what comes from now on
    #[arg(long, value_enum, value_name = "beginning|end", default_value_t = FromArgument::End)]
    pub(crate) from: FromArgument,
    /// End after so many records [default: none]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FromArgument {
    Beginning,
    End,
}
