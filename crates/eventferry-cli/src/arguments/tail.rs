//! What can be said of looking at a topic.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum, value_parser};

#[derive(Debug, Args)]
pub(crate) struct TailArguments {
    /// The broker: kafka://host:9092[,host:9092][?option=value]
    #[arg(long, value_name = "URL")]
    pub(crate) publisher: Option<String>,
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
