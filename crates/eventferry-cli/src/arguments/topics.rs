//! What can be said of the broker's topics.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct TopicsArguments {
    #[command(subcommand)]
    pub(crate) command: TopicsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopicsCommand {
    /// List the cluster's topics, without those that begin with `__`, which are its own
    List(ListTopicsArguments),
    /// Show what topics are like: partitions, replicas, and the settings that matter to a relay
    Describe(DescribeArguments),
    /// Make the topics that the file of settings declares, and add partitions where there are fewer than declared
    ///
    /// A topic is declared by `partitions`, `replication` or `config` in its table [topics."NAME"]. Says what it would
    /// do, and does it with --yes. It takes nothing away and changes no setting of a topic that is there.
    Ensure(EnsureArguments),
    /// Check that topics are there, take what the outbox has, and let this login write
    ///
    /// Looks at the topics of the file of settings, at those of the newest 10,000 events and of parked ones in the
    /// outbox if a store is named, and at their dead-letter topics. Changes nothing. Ends with 4 if something is wrong;
    /// warnings alone are fine. `run` says the same in its log when it starts.
    Check(CheckArguments),
}

#[derive(Debug, Default, Args)]
pub(crate) struct PublisherArgument {
    /// The broker: kafka://host:9092[,host:9092][?option=value]
    #[arg(long, value_name = "URL")]
    pub(crate) publisher: Option<String>,
}

/// One cluster to ask.
#[derive(Debug, Default, Args)]
pub(crate) struct ClusterArguments {
    #[command(flatten)]
    pub(crate) at: PublisherArgument,
    /// Which of the clusters that the file of settings names, where it does
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ListTopicsArguments {
    #[command(flatten)]
    pub(crate) cluster: ClusterArguments,
    /// List the cluster's own, too
    #[arg(long)]
    pub(crate) internal: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DescribeArguments {
    /// Which
    #[arg(required = true, value_name = "TOPIC", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) topics: Vec<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArguments,
    /// Print one JSON object a line, with every setting
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EnsureArguments {
    #[command(flatten)]
    pub(crate) publisher: PublisherArgument,
    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// The database whose events' topics are checked: postgres://... or sqlite:///... [default: none]
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    #[command(flatten)]
    pub(crate) publisher: PublisherArgument,
    /// The topic for dead letters, as `run` takes it
    #[arg(long, value_name = "TOPIC")]
    pub(crate) dead_letter_topic: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}
