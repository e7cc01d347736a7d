//! `eventferry topics`: the broker's topics, for those who look after them.

mod check;
mod ensure;
mod wanted;

use eventferry::kafka::{Cluster, KafkaPublisher, TopicState};
use serde_json::json;

use crate::arguments::{
    ClusterArguments, DescribeArguments, ListTopicsArguments, TopicsArguments, TopicsCommand,
};
use crate::ending::{Ending, Trouble};
use crate::output::print;
use crate::place;
use crate::settings::Settings;
use crate::table::columns;

pub(crate) use check::check_at_start;
pub(crate) use wanted::Wanted;

/// The settings of a topic that matter to a relay, in the order in which they are shown.
const SHOWN: [&str; 4] = ["max.message.bytes", "retention.ms", "cleanup.policy", "min.insync.replicas"];

/// Shows topics, makes them, or checks them.
pub(crate) async fn topics(settings: &Settings, arguments: TopicsArguments) -> Result<Ending, Trouble> {
    match arguments.command {
        TopicsCommand::List(arguments) => list(settings, &arguments).await,
        TopicsCommand::Describe(arguments) => describe(settings, &arguments).await,
        TopicsCommand::Ensure(arguments) => ensure::ensure(settings, &arguments).await,
        TopicsCommand::Check(arguments) => check::check(settings, &arguments).await,
    }
}

/// The cluster that is named.
///
/// # Errors
/// None is, or it lets nobody in.
async fn cluster(settings: &Settings, arguments: &ClusterArguments) -> Result<Cluster, Trouble> {
    let publisher = KafkaPublisher::new(place::one_cluster(settings, arguments)?);
    let publisher = publisher.map_err(|fault| Trouble::usage(fault.message()))?;
    Ok(Cluster::open(&publisher).await?)
}

async fn list(settings: &Settings, arguments: &ListTopicsArguments) -> Result<Ending, Trouble> {
    let cluster = cluster(settings, &arguments.cluster).await?;
    let mut states = Vec::new();
    for (name, state) in cluster.describe(&cluster.names().await?).await? {
        match state {
            Ok(state) if arguments.internal || !state.internal => states.push(state),
            Ok(_) => {}
            // Deleted since, or hidden: the others are what was asked for.
            Err(fault) => tracing::warn!(topic = name, "{}", fault.message()),
        }
    }
    show(&states, arguments.json)
}

async fn describe(settings: &Settings, arguments: &DescribeArguments) -> Result<Ending, Trouble> {
    let cluster = cluster(settings, &arguments.cluster).await?;
    let (mut states, mut trouble) = (Vec::new(), None);
    for (_, state) in cluster.describe(&arguments.topics).await? {
        match state {
            Ok(state) => states.push(state),
            Err(fault) => trouble = trouble.or(Some(fault)),
        }
    }
    // What is there is shown all the same.
    if !states.is_empty() {
        show(&states, arguments.json)?;
    }
    trouble.map_or(Ok(Ending::Done), |fault| Err(fault.into()))
}

fn show(states: &[TopicState], json: bool) -> Result<Ending, Trouble> {
    if json {
        states.iter().try_for_each(|state| print(&format!("{}\n", line(state))))?;
        return Ok(Ending::Done);
    }
    let head = [&["TOPIC", "PARTITIONS", "REPLICAS", "WRITE"], &SHOWN[..], &["NOW"]].concat();
    let rows: Vec<_> = states.iter().map(row).collect();
    print(&if rows.is_empty() { "no topics\n".to_owned() } else { columns(&head, rows) })?;
    Ok(Ending::Done)
}

/// A topic as a line of JSON. Its fields are part of the program's interface: they are added, never changed.
fn line(state: &TopicState) -> serde_json::Value {
    json!({
        "topic": state.name,
        "partitions": state.partitions,
        "replication": state.replication,
        "partitions_behind": state.behind,
        "partitions_without_leader": state.leaderless,
        "internal": state.internal,
        "may_write": state.may_write,
        "settings": state.settings,
    })
}

fn row(state: &TopicState) -> Vec<String> {
    let write = match state.may_write {
        Some(true) => "yes",
        Some(false) => "no",
        None => "?",
    };
    let mut cells = vec![
        state.name.clone(),
        state.partitions.to_string(),
        state.replication.to_string(),
        write.to_owned(),
    ];
    let setting = |name: &str| state.settings.as_ref().and_then(|settings| settings.get(name)).cloned();
    cells.extend(SHOWN.map(|name| setting(name).unwrap_or_else(|| "?".into())));
    cells.push(match (state.leaderless, state.behind) {
        (0, 0) => String::new(),
        (0, behind) => format!("{behind} not in sync"),
        (leaderless, _) => format!("{leaderless} without a leader"),
    });
    cells
}
