//! librdkafka's statistics: figures for monitors, through the `metrics` facade, and how each broker is.
//!
//! The facade is used here as the relay uses it, instead of a callback of the publisher's: whoever embeds a relay has
//! one recorder for both then, with nothing to wire, and without one a figure is a branch. docs/metrics.md says what
//! each figure means. The session for the stream of events tells them; others come and go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use metrics::{Label, Unit, counter, describe_counter, describe_gauge, gauge};
use serde::Deserialize;

/// How often librdkafka tells, in milliseconds. Its windows, such as the one of round trips, are as long.
pub(crate) const EVERY_MS: &str = "5000";

/// How long a broker that was not reached counts as out of reach without being tried again: whoever needs it tries
/// within 10 s (`reconnect.backoff.max.ms`).
const UNTRIED_AFTER: Duration = Duration::from_secs(60);

macro_rules! names {
    ($($constant:ident = $name:literal, $kind:ident, $unit:ident, $meaning:literal;)*) => {
        $(const $constant: &str = $name;)*

        /// Says to the recorder what each figure means.
        fn describe() {
            $($kind!($constant, Unit::$unit, $meaning);)*
        }

        /// Every figure: docs/metrics.md has a line for each.
        #[cfg(test)]
        const ALL: &[(&str, &str)] = &[$(($name, $meaning)),*];
    };
}

names! {
    QUEUED = "eventferry_kafka_queue_records", describe_gauge, Count, "records handed to the client and not answered";
    QUEUED_BYTES = "eventferry_kafka_queue_bytes", describe_gauge, Bytes, "bytes of those";
    UP = "eventferry_kafka_broker_up", describe_gauge, Count, "1 while there is a connection to the broker";
    ROUND_TRIP = "eventferry_kafka_round_trip_seconds", describe_gauge, Seconds, "from a request to its answer";
    THROTTLE = "eventferry_kafka_throttle_seconds", describe_gauge, Seconds, "how long the broker makes us wait";
    CONNECTS = "eventferry_kafka_connects_total", describe_counter, Count, "connections tried";
    ERRORS = "eventferry_kafka_errors_total", describe_counter, Count, "requests that could not be sent or answered";
    RETRIES = "eventferry_kafka_retries_total", describe_counter, Count, "requests sent again";
}

/// How a broker is, as the session that carries events knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerHealth {
    /// Its address, as `host:port`.
    pub address: String,
    /// Its number in the cluster; -1 while only its address is known.
    pub id: i32,
    /// Whether there is a connection.
    pub contact: Contact,
    /// How long the broker made requests wait, on an average of the last 5 s: a quota is used up. Zero: not at all.
    pub throttled: Duration,
    /// How long the slowest hundredth of requests of the last 5 s took to be answered; zero without any.
    pub round_trip_p99: Duration,
}

impl BrokerHealth {
    /// What is wrong with it, in words; `None`: nothing.
    pub fn trouble(&self) -> Option<String> {
        let Self { address, id, contact, throttled, .. } = self;
        if *contact == Contact::OutOfReach {
            return Some(format!("broker {id} ({address}) is out of reach"));
        }
        let waits = !throttled.is_zero();
        waits
            .then(|| format!("broker {id} ({address}) makes requests wait {throttled:?}: a quota is used up"))
    }
}

/// Whether a broker is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Contact {
    /// There is a connection.
    Up,
    /// There is none, and none is wanted now: nothing is for this broker.
    Untried,
    /// There is none, though it was tried.
    OutOfReach,
}

/// What was told last of a cluster's brokers.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<Vec<BrokerHealth>>);

impl Health {
    pub(crate) fn brokers(&self) -> Vec<BrokerHealth> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<BrokerHealth>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What librdkafka tells, as far as it is wanted.
#[derive(Deserialize)]
struct Told {
    msg_cnt: u64,
    msg_size: u64,
    #[serde(default)]
    brokers: HashMap<String, Broker>,
}

#[derive(Deserialize)]
struct Broker {
    nodename: String,
    nodeid: i32,
    state: String,
    #[serde(default)]
    connects: u64,
    #[serde(default)]
    txerrs: u64,
    #[serde(default)]
    rxerrs: u64,
    #[serde(default)]
    txretries: u64,
    #[serde(default)]
    rtt: Window,
    #[serde(default)]
    throttle: Window,
}

/// What was measured since it told last.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Window {
    avg: u64,
    p99: u64,
}

/// What a session is told of its brokers.
pub(crate) struct Statistics {
    /// The cluster's name, where there are several: a label of each figure.
    cluster: Option<Arc<str>>,
    health: Arc<Health>,
    /// By librdkafka's name of the broker.
    last: Mutex<HashMap<String, Last>>,
}

/// What was told last of a broker: librdkafka's counts are a session's.
#[derive(Clone, Copy, Debug)]
struct Last {
    connects: u64,
    errors: u64,
    retries: u64,
    /// Since when it is out of reach, and has been tried in vain.
    tried_at: Option<Instant>,
}

impl Statistics {
    pub(crate) fn new(cluster: Option<Arc<str>>, health: Arc<Health>) -> Self {
        static DESCRIBED: Once = Once::new();
        DESCRIBED.call_once(describe);
        Self { cluster, health, last: Mutex::default() }
    }

    /// Takes what librdkafka tells.
    pub(crate) fn take(&self, json: &[u8]) {
        match serde_json::from_slice(json) {
            Ok(told) => self.tell(&told, Instant::now()),
            Err(error) => tracing::debug!(target: "librdkafka", "its statistics cannot be read: {error}"),
        }
    }

    fn tell(&self, told: &Told, now: Instant) {
        gauge!(QUEUED, self.labels()).set(told.msg_cnt as f64);
        gauge!(QUEUED_BYTES, self.labels()).set(told.msg_size as f64);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|name, _| told.brokers.contains_key(name));
        // Until the cluster has told its brokers, there are the addresses we were given.
        let is_known = told.brokers.values().any(|broker| broker.nodeid >= 0);
        let mut brokers = Vec::new();
        for (name, broker) in &told.brokers {
            // librdkafka's own, such as the one that stands for a group's coordinator, have no address.
            if broker.nodename.is_empty() || (is_known && broker.nodeid < 0) {
                continue;
            }
            let before = last.get(name).copied();
            let current = broker.compared(before, now);
            broker.show(&self.labels_of(&broker.nodename), before, current);
            brokers.push(broker.health(current, now));
            last.insert(name.clone(), current);
        }
        brokers.sort_unstable_by(|one, other| one.address.cmp(&other.address));
        *self.health.lock() = brokers;
    }

    /// The labels of what is the whole cluster's.
    fn labels(&self) -> Vec<Label> {
        self.cluster.iter().map(|name| Label::new("cluster", Arc::clone(name))).collect()
    }

    /// The labels of what is a broker's.
    fn labels_of(&self, broker: &str) -> Vec<Label> {
        let mut labels = self.labels();
        labels.push(Label::new("broker", broker.to_owned()));
        labels
    }
}

impl Drop for Statistics {
    /// The session has ended: nothing is in its queue.
    fn drop(&mut self) {
        gauge!(QUEUED, self.labels()).set(0);
        gauge!(QUEUED_BYTES, self.labels()).set(0);
        for broker in self.health.lock().iter() {
            gauge!(UP, self.labels_of(&broker.address)).set(0);
        }
    }
}

impl Broker {
    fn is_up(&self) -> bool {
        // `UPDATE`: up, and learning what the broker supports.
        matches!(self.state.as_str(), "UP" | "UPDATE")
    }

    fn compared(&self, before: Option<Last>, now: Instant) -> Last {
        let tried = self.connects > before.map_or(0, |last| last.connects);
        let tried_at = match before.and_then(|last| last.tried_at) {
            _ if self.is_up() => None,
            _ if tried => Some(now),
            earlier => earlier,
        };
        Last { connects: self.connects, errors: self.txerrs + self.rxerrs, retries: self.txretries, tried_at }
    }

    /// Brings the figures up to date.
    fn show(&self, labels: &[Label], before: Option<Last>, current: Last) {
        let before = before.unwrap_or(Last { connects: 0, errors: 0, retries: 0, tried_at: None });
        gauge!(UP, labels.to_vec()).set(f64::from(u8::from(self.is_up())));
        for (of, micros, millis) in
            [("avg", self.rtt.avg, self.throttle.avg), ("p99", self.rtt.p99, self.throttle.p99)]
        {
            let labels = [labels, &[Label::from_static_parts("of", of)]].concat();
            gauge!(ROUND_TRIP, labels.clone()).set(micros as f64 / 1e6);
            gauge!(THROTTLE, labels).set(millis as f64 / 1e3);
        }
        for (name, before, current) in [
            (CONNECTS, before.connects, current.connects),
            (ERRORS, before.errors, current.errors),
            (RETRIES, before.retries, current.retries),
        ] {
            counter!(name, labels.to_vec()).increment(current.saturating_sub(before));
        }
    }

    fn health(&self, current: Last, now: Instant) -> BrokerHealth {
        let is_tried = current.tried_at.is_some_and(|at| now.duration_since(at) < UNTRIED_AFTER);
        BrokerHealth {
            address: self.nodename.clone(),
            id: self.nodeid,
            contact: match (self.is_up(), is_tried) {
                (true, _) => Contact::Up,
                (false, true) => Contact::OutOfReach,
                (false, false) => Contact::Untried,
            },
            throttled: Duration::from_millis(self.throttle.avg),
            round_trip_p99: Duration::from_micros(self.rtt.p99),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU64, Ordering};

    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString};

    use super::*;

    /// Keeps every figure by its name and labels.
    #[derive(Default)]
    struct Figures(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

    impl Figures {
        fn place(&self, key: &Key) -> Arc<AtomicU64> {
            let labels = key.labels().map(|label| format!(" {}={}", label.key(), label.value()));
            let name = format!("{}{}", key.name(), labels.collect::<String>());
            Arc::clone(self.0.lock().unwrap().entry(name).or_default())
        }

        fn counted(&self, name: &str) -> u64 {
            self.0.lock().unwrap()[name].load(Ordering::Relaxed)
        }

        fn gauged(&self, name: &str) -> f64 {
            f64::from_bits(self.counted(name))
        }
    }

    impl Recorder for Figures {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.place(key))
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.place(key))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    /// One broker among the addresses we were given, as librdkafka tells them.
    fn told(state: &str, connects: u64, errors: u64) -> Told {
        let json = format!(
            r#"{{"name":"x","msg_cnt":3,"msg_size":400,"topics":{{}},"brokers":{{
                "h:1/bootstrap":{{"name":"h:1/bootstrap","nodeid":-1,"nodename":"h:1","state":"UP","connects":1}},
                "GroupCoordinator":{{"nodeid":-1,"nodename":"","state":"INIT"}},
                "h:1/7":{{"nodeid":7,"nodename":"h:1","state":"{state}","connects":{connects},"txerrs":{errors},
                    "rxerrs":1,"txretries":2,"rtt":{{"min":1,"avg":1500,"p99":30000}},"throttle":{{"avg":250,"p99":900}}
                }}}}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn figures_count_over_sessions_and_gauges_end_with_theirs() {
        let figures = Figures::default();
        metrics::with_local_recorder(&figures, || {
            for _ in 0..2 {
                let statistics = Statistics::new(None, Arc::default());
                statistics.tell(&told("UP", 1, 0), Instant::now());
                statistics.tell(&told("UP", 4, 2), Instant::now());
                assert_eq!(figures.gauged(QUEUED), 3.0);
                assert_eq!(figures.gauged(QUEUED_BYTES), 400.0);
                assert_eq!(figures.gauged(&format!("{UP} broker=h:1")), 1.0);
                assert_eq!(figures.gauged(&format!("{ROUND_TRIP} broker=h:1 of=p99")), 0.03);
                assert_eq!(figures.gauged(&format!("{THROTTLE} broker=h:1 of=avg")), 0.25);
            }
        });
        let counted = |name| figures.counted(&format!("{name} broker=h:1"));
        assert_eq!(
            (counted(CONNECTS), counted(ERRORS), counted(RETRIES)),
            (8, 6, 4),
            "those of two sessions"
        );
        assert_eq!((figures.gauged(QUEUED), figures.gauged(&format!("{UP} broker=h:1"))), (0.0, 0.0));
    }

    #[test]
    fn figures_say_which_cluster_they_are_of_where_there_are_several() {
        let figures = Figures::default();
        metrics::with_local_recorder(&figures, || {
            for (cluster, connects) in [("payments", 1), ("main", 5)] {
                let statistics = Statistics::new(Some(cluster.into()), Arc::default());
                statistics.tell(&told("UP", connects, 0), Instant::now());
            }
        });
        for (cluster, connects) in [("payments", 1), ("main", 5)] {
            assert_eq!(figures.gauged(&format!("{QUEUED} cluster={cluster}")), 0.0);
            assert_eq!(figures.gauged(&format!("{UP} cluster={cluster} broker=h:1")), 0.0);
            assert_eq!(figures.gauged(&format!("{ROUND_TRIP} cluster={cluster} broker=h:1 of=p99")), 0.03);
            assert_eq!(figures.counted(&format!("{CONNECTS} cluster={cluster} broker=h:1")), connects);
        }
    }

    #[test]
    fn a_broker_is_out_of_reach_while_it_is_tried_in_vain() {
        let (health, started) = (Arc::<Health>::default(), Instant::now());
        let statistics = Statistics::new(None, Arc::clone(&health));
        for (second, state, connects, contact) in [
            (0, "INIT", 0, Contact::Untried),
            (5, "UP", 1, Contact::Up),
            // Closed for want of use.
            (10, "INIT", 1, Contact::Untried),
            (15, "TRY_CONNECT", 2, Contact::OutOfReach),
            // Between two tries.
            (20, "INIT", 2, Contact::OutOfReach),
            (25, "UPDATE", 3, Contact::Up),
            (30, "DOWN", 4, Contact::OutOfReach),
            (95, "INIT", 4, Contact::Untried),
        ] {
            statistics.tell(&told(state, connects, 0), started + Duration::from_secs(second));
            let [broker] = &health.brokers()[..] else { panic!("{:?}", health.brokers()) };
            assert_eq!((broker.id, broker.contact), (7, contact), "{second} {state}");
            let trouble = match contact {
                Contact::OutOfReach => "broker 7 (h:1) is out of reach",
                _ => "broker 7 (h:1) makes requests wait 250ms: a quota is used up",
            };
            assert_eq!(broker.trouble().as_deref(), Some(trouble));
            assert_eq!(
                BrokerHealth { throttled: Duration::ZERO, contact: Contact::Up, ..broker.clone() }.trouble(),
                None
            );
        }
    }

    #[test]
    fn what_cannot_be_read_changes_nothing() {
        let statistics = Statistics::new(None, Arc::default());
        for text in ["", "{}", "{\"msg_cnt\":-1}"] {
            statistics.take(text.as_bytes());
        }
    }

    #[test]
    fn every_figure_is_documented_and_nothing_else_is() {
        let page = include_str!("../../../docs/metrics.md");
        for (name, meaning) in ALL {
            assert!(!meaning.ends_with('.'));
            assert!(page.contains(&format!("| `{name}` |")), "docs/metrics.md has no line for {name}");
        }
        let listed = page.lines().filter(|line| line.starts_with("| `eventferry_kafka_")).count();
        assert_eq!(listed, ALL.len(), "docs/metrics.md lists a figure that is none");
    }
}
