//! `eventferry topics ensure`: what is declared and not there is made, and what is too small grown.

use std::fmt::{Display, Write};

use eventferry::core::PublishFaultKind;
use eventferry::kafka::{Change, Cluster, Difference};

use super::Wanted;
use crate::arguments::EnsureArguments;
use crate::ending::{Ending, Trouble};
use crate::output::print;
use crate::place::{PublisherPlace, Share, TAKEN_BY_NONE};
use crate::settings::Settings;

/// What growing a topic does to those who read it.
const KEYS_MOVE: &str = "  keys move: later events of an aggregate may lie in another partition than its earlier \
                         ones, so that a consumer may read them first; let consumers catch up before, while nobody \
                         enqueues";

/// What is to be done, and what cannot be.
#[derive(Debug, Default)]
struct Plan {
    steps: Vec<Step>,
    /// In words, one line each.
    text: String,
    /// Whether something is not as declared and stays so.
    hindered: bool,
}

/// A change of a cluster.
#[derive(Debug)]
struct Step {
    share: Share,
    cluster: Cluster,
    change: Change,
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
    let place = PublisherPlace::of(settings, arguments.publisher.publisher.as_deref())?;
    let shares = place.shares(wanted.declared.iter().map(|declared| &declared.name));
    let mut plan = Plan::default();
    for share in &shares.of_clusters {
        plan.add(share, &wanted).await?;
    }
    for topic in &shares.of_none {
        plan.hindered = true;
        plan.say(format_args!("topic `{topic}`: {TAKEN_BY_NONE}"));
    }
    print(&plan.text)?;
    if plan.steps.is_empty() {
        print("nothing to do\n")?;
    } else if !arguments.yes {
        print("nothing was changed: give --yes to do it\n")?;
    } else {
        plan.hindered |= !perform(&plan.steps).await?;
    }
    match plan.hindered {
        true => Err(Trouble::publisher("not all topics are as they are declared; see above")),
        false => Ok(Ending::Done),
    }
}

impl Plan {
    /// Adds what there is to do at a cluster.
    async fn add(&mut self, share: &Share, wanted: &Wanted) -> Result<(), Trouble> {
        let cluster = share.open().await?;
        // Tables are for events' topics, which may have other names there.
        let declared = wanted.declared.iter().filter(|declared| share.topics.contains(&declared.name));
        let mut declared: Vec<_> = declared.cloned().collect();
        declared.iter_mut().for_each(|declared| declared.name = cluster.topic_name(&declared.name));
        let names: Vec<_> = declared.iter().map(|declared| declared.name.clone()).collect();
        let states = cluster.describe(&names).await.map_err(|fault| share.trouble(&fault))?;
        for (declared, (name, state)) in declared.iter().zip(states) {
            let state = match state {
                Ok(state) => Some(state),
                Err(fault) if is_missing(&fault) => None,
                Err(fault) => {
                    self.hindered = true;
                    self.say(share.named(format_args!("topic `{name}`: {}", fault.message())));
                    continue;
                }
            };
            if let Some(change) = declared.change(state.as_ref()) {
                self.say(share.named(&change));
                if matches!(change, Change::Grow { .. }) {
                    self.say(KEYS_MOVE);
                }
                self.steps.push(Step { share: share.clone(), cluster: cluster.clone(), change });
            }
            for difference in state.iter().flat_map(|state| declared.differences(state)) {
                if !matches!(difference, Difference::FewerPartitions { .. }) {
                    self.hindered |= matches!(difference, Difference::MorePartitions { .. });
                    self.say(share.named(format_args!("topic `{name}` stays as it is: {difference}")));
                }
            }
        }
        Ok(())
    }

    fn say(&mut self, line: impl Display) {
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
async fn perform(steps: &[Step]) -> Result<bool, Trouble> {
    let mut all = true;
    for Step { share, cluster, change } in steps {
        match cluster.perform(change).await {
            Ok(()) => print(&format!("done: {}\n", share.named(change)))?,
            Err(fault) if *fault.kind() == PublishFaultKind::Unavailable => return Err(share.trouble(&fault)),
            Err(fault) => {
                all = false;
                print(&format!("not done: {}\n", share.named(fault.message())))?;
            }
        }
    }
    Ok(all)
}
