//! `eventferry topics check`, and the same when `run` starts: whether topics take what is for them.

use std::collections::BTreeMap;
use std::time::Duration;

use eventferry::core::store::{RelayId, Store, Upkeep};
use eventferry::core::{PublishFault, StoreFault};
use eventferry::kafka::{Cluster, Difference, TopicState};
use eventferry::postgres::PostgresStore;
use eventferry::sqlite::SqliteStore;
use serde_json::json;

use super::Wanted;
use super::ensure::is_missing;
use super::wanted::Use;
use crate::arguments::CheckArguments;
use crate::ending::{Ending, Trouble};
use crate::output::{grouped, plain, print};
use crate::place::{PublisherPlace, Shares, StorePlace, TAKEN_BY_NONE};
use crate::settings::Settings;
use crate::table::age;

/// How long the check at a relay's start may take.
const AT_START_MAX: Duration = Duration::from_secs(30);

/// What a record takes besides its payload, about: key, headers and framing.
const FRAME_BYTES: u64 = 512;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// The name of its cluster, where there are several.
    cluster: Option<String>,
    topic: String,
    /// Whether events cannot be carried so.
    wrong: bool,
    /// What it is, and what to do.
    what: String,
}

impl Finding {
    fn new(topic: &str, wrong: bool, what: impl Into<String>) -> Self {
        Self { cluster: None, topic: topic.to_owned(), wrong, what: what.into() }
    }

    /// As a line for people.
    fn text(&self) -> String {
        let Self { cluster, topic, what, .. } = self;
        let cluster = cluster.iter().map(|name| format!("cluster `{name}`: ")).collect::<String>();
        format!("{cluster}topic `{topic}`: {what}")
    }

    /// As a line of JSON. Its fields are part of the program's interface: they are added, never changed.
    fn json(&self, level: &str) -> serde_json::Value {
        let mut line = json!({ "level": level, "topic": self.topic, "message": self.what });
        if let Some(name) = &self.cluster {
            line["cluster"] = json!(name);
        }
        line
    }
}

/// What an outbox has for the broker.
#[derive(Debug, Default)]
struct Load {
    /// Topics of its events, each with its largest payload in bytes.
    topics: Vec<(String, u64)>,
    /// The age of its oldest event that was not shipped.
    lag: Duration,
}

/// Prints what is found.
pub(super) async fn check(settings: &Settings, arguments: &CheckArguments) -> Result<Ending, Trouble> {
    let wanted = Wanted::of(settings, arguments.dead_letter_topic.as_deref())?;
    let load = match settings.find("store", arguments.store.as_deref()) {
        Some(store) => Load::of(StorePlace::of(&store, settings)?).await?,
        None => Load::default(),
    };
    let place = PublisherPlace::of(settings, arguments.publisher.publisher.as_deref())?;
    let uses = wanted.uses(&load.topics);
    // Also where there is nothing to check: that a cluster lets us in is the first thing to know.
    for cluster in place.all() {
        cluster.open().await?;
    }
    let shares = place.shares(uses.keys());
    let (checked, findings) = (uses.len(), findings(&uses, &shares, &load).await?);
    for finding in &findings {
        let level = if finding.wrong { "error" } else { "warning" };
        let text = match arguments.json {
            true => finding.json(level).to_string(),
            false => plain(&format!("{level}: {}", finding.text())).into_owned(),
        };
        print(&format!("{text}\n"))?;
    }
    let wrong = findings.iter().filter(|finding| finding.wrong).count();
    if wrong > 0 {
        return Err(Trouble::publisher(format!(
            "{wrong} of {checked} topics or settings are wrong; see above"
        )));
    }
    if !arguments.json {
        let warnings = findings.len();
        print(&match (checked, warnings) {
            (0, _) => "no topic to check: the file of settings names none, and the outbox has no events\n"
                .to_owned(),
            (_, 0) => format!("{checked} checked: all is well\n"),
            _ => format!("{checked} checked: nothing is wrong, {warnings} to think about\n"),
        })?;
    }
    Ok(Ending::Done)
}

/// Says what is found as warnings, beside a relay that starts: nothing waits for it, and where store or broker do not
/// answer, the relay says so.
pub(crate) async fn check_at_start(store: StorePlace, publisher: PublisherPlace, wanted: Wanted) {
    let look = async {
        let load = Load::of(store).await?;
        let uses = wanted.uses(&load.topics);
        findings(&uses, &publisher.shares(uses.keys()), &load).await
    };
    match tokio::time::timeout(AT_START_MAX, look).await {
        Ok(Ok(findings)) => findings.iter().for_each(|finding| tracing::warn!("{}", finding.text())),
        Ok(Err(why)) => tracing::debug!("topics were not checked: {}", why.message),
        Err(_) => tracing::debug!("topics were not checked: no answer within {AT_START_MAX:?}"),
    }
}

impl Load {
    async fn of(place: StorePlace) -> Result<Self, StoreFault> {
        match place {
            StorePlace::Postgres(config) => {
                let store = PostgresStore::new(config);
                let topics = store.topics().await?;
                Ok(Self { topics, lag: lag(store).await? })
            }
            StorePlace::Sqlite(config) => {
                let store = SqliteStore::new(config);
                let topics = store.topics().await?;
                Ok(Self { topics, lag: lag(store).await? })
            }
        }
    }
}

async fn lag<S: Store>(store: S) -> Result<Duration, StoreFault> {
    // A name to look by; who never holds a lane never counts as a relay.
    let gauge = store.roles(&RelayId("eventferry-topics".into())).upkeep.gauge().await?;
    let oldest = gauge.lanes.iter().filter_map(|lane| lane.oldest_unsettled).min();
    let micros = oldest.map_or(0, |oldest| gauge.at.0.saturating_sub(oldest.0));
    Ok(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
}

/// What is found of topics, by their clusters.
async fn findings(
    uses: &BTreeMap<String, Use>,
    shares: &Shares,
    load: &Load,
) -> Result<Vec<Finding>, Trouble> {
    let mut states = States::new();
    for share in &shares.of_clusters {
        let names: Vec<_> = share.topics.iter().map(|topic| share.publisher.topic_name(topic)).collect();
        let described = Cluster::of(&share.publisher).describe(&names).await;
        let described = described.map_err(|fault| share.trouble(&fault))?.into_iter();
        states.extend(share.topics.iter().cloned().zip(described.map(|(_, state)| state)));
    }
    let mut findings = Vec::new();
    for share in &shares.of_clusters {
        for topic in &share.topics {
            let found = match &states[topic] {
                Ok(state) => judge(state, &uses[topic], load, &states),
                Err(fault) => vec![unseen(&share.publisher.topic_name(topic), &uses[topic], fault)],
            };
            let found = found.into_iter();
            findings.extend(found.map(|finding| Finding { cluster: share.name.clone(), ..finding }));
        }
    }
    findings.extend(shares.of_none.iter().map(|topic| Finding::new(topic, true, TAKEN_BY_NONE)));
    Ok(findings)
}

/// A topic that is not there, or not for us to see.
fn unseen(topic: &str, used: &Use, fault: &PublishFault) -> Finding {
    let why = match used {
        Use { payload_bytes: Some(_), .. } => "the outbox has events for it",
        Use { declared: Some(_), .. } => "it is declared",
        Use { dead_letters_of, .. } if !dead_letters_of.is_empty() => "dead letters go there",
        _ => "the settings name it",
    };
    let what = match is_missing(fault) {
        true if used.declared.is_some() => {
            format!("it does not exist, and {why}: create it by `eventferry topics ensure --yes`")
        }
        true => format!("it does not exist, and {why}: create it"),
        false => format!("{why}, but {}", fault.message()),
    };
    Finding::new(topic, true, what)
}

type States = BTreeMap<String, Result<TopicState, PublishFault>>;

/// What there is to say of a topic that is there.
fn judge(state: &TopicState, used: &Use, load: &Load, states: &States) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut say = |wrong, what: String| found.push(Finding::new(&state.name, wrong, what));
    if state.may_write == Some(false) {
        say(true, "this login may not write there: grant WRITE on the topic".into());
    }
    for difference in used.declared.iter().flat_map(|declared| declared.differences(state)) {
        let partitions =
            matches!(difference, Difference::MorePartitions { .. } | Difference::FewerPartitions { .. });
        say(partitions, difference.to_string());
    }
    if state.leaderless > 0 {
        let count = state.leaderless;
        say(
            false,
            format!("{count} of its partitions have no leader now: events for them wait; see the brokers"),
        );
    }
    let replicas = i64::from(state.replication);
    if let Some(least) = state.number("min.insync.replicas").filter(|least| *least > replicas) {
        let what = format!(
            "min.insync.replicas is {least} and its partitions have {replicas} replicas: nothing can be acknowledged; \
             lower it, or add replicas"
        );
        say(true, what);
    }
    found.extend(sizes(state, used, states));
    found.extend(keeping(state, used, load));
    found
}

/// Whether it takes what is as large as what there is.
fn sizes(state: &TopicState, used: &Use, states: &States) -> Vec<Finding> {
    let limit_of =
        |state: &TopicState| state.number("max.message.bytes").and_then(|max| u64::try_from(max).ok());
    let Some(limit) = limit_of(state) else { return Vec::new() };
    let finding = |what: String| Finding::new(&state.name, false, what);
    let mut found = Vec::new();
    if let Some(bytes) = used.payload_bytes.filter(|bytes| bytes.saturating_add(FRAME_BYTES) > limit) {
        found.push(finding(format!(
            "a payload in the outbox has {} bytes and max.message.bytes is {}: unless compression helps it is refused \
             and parked; raise the limit, or keep such payloads elsewhere and send a reference",
            grouped(bytes),
            grouped(limit)
        )));
    }
    for topic in &used.dead_letters_of {
        let own = states.get(topic).and_then(|state| state.as_ref().ok()).and_then(limit_of);
        if let Some(own) = own.filter(|own| *own > limit) {
            found.push(finding(format!(
                "max.message.bytes is {}, less than that of `{topic}` ({}), whose dead letters go there: the largest \
                 would stay parked; raise it",
                grouped(limit),
                grouped(own)
            )));
        }
    }
    found
}

/// Whether it keeps what it gets for as long as it must.
fn keeping(state: &TopicState, used: &Use, load: &Load) -> Vec<Finding> {
    let finding = |what: String| Finding::new(&state.name, false, what);
    let policy = state.settings.as_ref().and_then(|settings| settings.get("cleanup.policy"));
    let has = |word: &str| policy.is_some_and(|policy| policy.split(',').any(|each| each.trim() == word));
    let mut found = Vec::new();
    let kept = state.number("retention.ms").and_then(|millis| u64::try_from(millis).ok());
    let kept = kept.filter(|_| has("delete")).map(Duration::from_millis);
    if let Some(kept) = kept.filter(|kept| used.payload_bytes.is_some() && *kept < load.lag) {
        found.push(finding(format!(
            "retention.ms is {} and the outbox has events of {} ago to ship: brokers may remove what is older than \
             that as soon as it arrives; raise it until relays have caught up",
            age(kept.as_secs_f64()),
            age(load.lag.as_secs_f64())
        )));
    }
    if !used.dead_letters_of.is_empty() && has("compact") {
        found.push(finding(
            "dead letters go there, and cleanup.policy has `compact`, which keeps one record for each key: set it to \
             `delete`"
                .into(),
        ));
    }
    found
}
