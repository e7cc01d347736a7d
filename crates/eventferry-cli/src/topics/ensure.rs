//! `eventferry topics ensure`: what is declared and not there is made, and what is too small grown.

use std::fmt::Write;

use eventferry::core::PublishFaultKind;
use eventferry::kafka::{Change, Cluster, Difference};

use super::{Wanted, cluster};
use crate::arguments::EnsureArguments;
use crate::ending::{Ending, Trouble};
use crate::output::print;
use crate::settings::Settings;

/// What growing a topic does to those who read it.
const KEYS_MOVE: &str = "  keys move: later events of an aggregate may lie in another partition than its earlier \
                         ones, so that a consumer may read them first; let consumers catch up before, while nobody \
                         enqueues";

/// What is to be done, and what cannot be.
#[derive(Debug, Default)]
struct Plan {
    changes: Vec<Change>,
    /// In words, one line each.
    text: String,
    /// Whether something is not as declared and stays so.
    hindered: bool,
}

/// Shows the plan; carries it out if that was asked for.
pub(super) async fn ensure(settings: &Settings, arguments: &EnsureArguments) -> Result<Ending, Trouble> {
    let wanted = Wanted::of(settings, None)?;
    if wanted.declared.is_empty() {
        return Err(Trouble::usage(
            "no topic is declared; write a table for each in eventferry.toml, as in [topics.\"orders.created\"] and \
             below it partitions = 12",
        ));
    }
    let cluster = cluster(settings, &arguments.publisher).await?;
    let mut plan = Plan::make(&cluster, &wanted).await?;
    print(&plan.text)?;
    if plan.changes.is_empty() {
        print("nothing to do\n")?;
    } else if !arguments.yes {
        print("nothing was changed: give --yes to do it\n")?;
    } else {
        plan.hindered |= !perform(&cluster, &plan.changes).await?;
    }
    match plan.hindered {
        true => Err(Trouble::publisher("not all topics are as they are declared; see above")),
        false => Ok(Ending::Done),
    }
}

impl Plan {
    async fn make(cluster: &Cluster, wanted: &Wanted) -> Result<Self, Trouble> {
        // Tables are for events' topics, which may have other names there.
        let mut wanted = wanted.declared.clone();
        wanted.iter_mut().for_each(|declared| declared.name = cluster.topic_name(&declared.name));
        let names: Vec<_> = wanted.iter().map(|declared| declared.name.clone()).collect();
        let states = cluster.describe(&names).await?;
        let mut plan = Self::default();
        for (declared, (name, state)) in wanted.iter().zip(states) {
            let state = match state {
                Ok(state) => Some(state),
                Err(fault) if is_missing(&fault) => None,
                Err(fault) => {
                    plan.hindered = true;
                    plan.say(format_args!("topic `{name}`: {}", fault.message()));
                    continue;
                }
            };
            if let Some(change) = declared.change(state.as_ref()) {
                plan.say(format_args!("{change}"));
                if matches!(change, Change::Grow { .. }) {
                    plan.say(format_args!("{KEYS_MOVE}"));
                }
                plan.changes.push(change);
            }
            for difference in state.iter().flat_map(|state| declared.differences(state)) {
                if !matches!(difference, Difference::FewerPartitions { .. }) {
                    plan.hindered |= matches!(difference, Difference::MorePartitions { .. });
                    plan.say(format_args!("topic `{name}` stays as it is: {difference}"));
                }
            }
        }
        Ok(plan)
    }

    fn say(&mut self, line: std::fmt::Arguments<'_>) {
        let written = writeln!(self.text, "{}", crate::output::plain(&line.to_string()));
        debug_assert!(written.is_ok(), "a String takes everything");
    }
}

/// Whether a topic is not there, rather than hidden.
pub(super) fn is_missing(fault: &eventferry::core::PublishFault) -> bool {
    *fault.kind() == PublishFaultKind::TopicRefused
        && fault.class().is_some_and(|class| class.starts_with("UnknownTopic"))
}

/// Carries changes out, one after the other; whether all could be.
async fn perform(cluster: &Cluster, changes: &[Change]) -> Result<bool, Trouble> {
    let mut all = true;
    for change in changes {
        match cluster.perform(change).await {
            Ok(()) => print(&format!("done: {change}\n"))?,
            Err(fault) if *fault.kind() == PublishFaultKind::Unavailable => return Err(fault.into()),
            Err(fault) => {
                all = false;
                print(&format!("not done: {}\n", fault.message()))?;
            }
        }
    }
    Ok(all)
}
