//! Figures for monitors, through the `metrics` facade; docs/metrics.md says what each means.
//!
//! They are brought up to date once a round of the engine, or where something rare happens, never per event.

use std::time::Duration;

use eventferry_core::Lane;
use eventferry_core::store::LogGauge;
use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use std::collections::BTreeMap;

use crate::happening::Whom;
use crate::listener::Counts;

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
    READ = "eventferry_events_read_total", describe_counter, Count, "events read from the outbox";
    SHIPPED = "eventferry_events_shipped_total", describe_counter, Count, "events the broker acknowledged";
    PARKED = "eventferry_events_parked_total", describe_counter, Count, "events parked";
    RETRIES = "eventferry_retries_total", describe_counter, Count, "further attempts decided on";
    EXHAUSTED = "eventferry_retries_exhausted_total", describe_counter, Count, "events given up";
    RELEASED = "eventferry_events_released_total", describe_counter, Count, "parked events shipped after all";
    DEAD = "eventferry_dead_letters_total", describe_counter, Count, "dead letters acknowledged";
    LETTERS_REFUSED = "eventferry_dead_letters_refused_total", describe_counter, Count, "dead letters refused";
    DECISIONS = "eventferry_decisions_total", describe_counter, Count, "people's decisions met";
    GAINED = "eventferry_lanes_gained_total", describe_counter, Count, "lanes taken";
    GIVEN = "eventferry_lanes_released_total", describe_counter, Count, "lanes handed over";
    LOST = "eventferry_lanes_lost_total", describe_counter, Count, "lanes lost to another owner";
    FULL = "eventferry_lanes_full_total", describe_counter, Count, "lanes that began to wait, too much being parked";
    OUTAGES = "eventferry_outages_total", describe_counter, Count, "outages begun";
    SESSIONS = "eventferry_sessions_ended_total", describe_counter, Count, "sessions ended by a fault";
    MISSED = "eventferry_happenings_missed_total", describe_counter, Count, "happenings a listener was too slow for";
    AWAY = "eventferry_away", describe_gauge, Count, "1 while it does not answer";
    TOPICS_HELD = "eventferry_topics_held", describe_gauge, Count, "topics that take nothing";
    LANES = "eventferry_lanes", describe_gauge, Count, "lanes held";
    PARKED_NOW = "eventferry_parked_events", describe_gauge, Count, "parked events of the lanes held";
    RECORDS = "eventferry_in_hand_events", describe_gauge, Count, "events in memory";
    BYTES = "eventferry_in_hand_bytes", describe_gauge, Bytes, "bytes of events in memory";
    LOG_KEPT = "eventferry_log_kept_bytes", describe_gauge, Bytes, "kept of the database's log for relays";
    LOG_SPARE = "eventferry_log_spare_bytes", describe_gauge, Bytes, "to be written before that is let go of";
    LOG_LOST = "eventferry_log_lost", describe_gauge, Count, "1 when the database has let go of it";
    SETTLE_LAG = "eventferry_settle_lag_seconds", describe_gauge, Seconds, "how long acknowledged events are untold";
}

/// The figures of one relay.
pub(crate) struct Figures {
    read: Counter,
    shipped: Counter,
    parked_along: Counter,
    parked_refused: Counter,
    missed: Counter,
    lanes: Gauge,
    parked_now: Gauge,
    records: Gauge,
    bytes: Gauge,
    settle_lag: Gauge,
    topics_held: usize,
    /// Unsettled parked events by lane.
    parked: BTreeMap<Lane, u64>,
    lag: Lag,
}

/// Since when acknowledged events wait for the ledger to be told.
#[derive(Debug, Default)]
struct Lag {
    /// The first one after the last settlement was asked for.
    next: Option<Duration>,
    /// The first one that is told by the settlement under way.
    told: Option<Duration>,
}

impl Lag {
    fn acknowledged(&mut self, now: Duration) {
        self.next.get_or_insert(now);
    }

    fn asked(&mut self) {
        self.told = self.next.take();
    }

    fn answered(&mut self) {
        self.told = None;
    }

    fn at(&self, now: Duration) -> Duration {
        self.told.or(self.next).map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }
}

impl Figures {
    pub(crate) fn new() -> Self {
        describe();
        gauge!(AWAY, "of" => "store").set(0);
        gauge!(AWAY, "of" => "broker").set(0);
        gauge!(TOPICS_HELD).set(0);
        Self {
            read: counter!(READ),
            shipped: counter!(SHIPPED),
            parked_along: counter!(PARKED, "why" => "along"),
            parked_refused: counter!(PARKED, "why" => "refused"),
            missed: counter!(MISSED),
            lanes: gauge!(LANES),
            parked_now: gauge!(PARKED_NOW),
            records: gauge!(RECORDS),
            bytes: gauge!(BYTES),
            settle_lag: gauge!(SETTLE_LAG),
            topics_held: 0,
            parked: BTreeMap::new(),
            lag: Lag::default(),
        }
    }

    /// Adds up what happened.
    pub(crate) fn count(&mut self, counts: Counts) {
        let Counts { read, shipped, parked_along } = counts;
        for (counter, count) in
            [(&self.read, read), (&self.shipped, shipped), (&self.parked_along, parked_along)]
        {
            if count > 0 {
                counter.increment(count);
            }
        }
    }

    /// Ends a round, in which events were acknowledged or not.
    pub(crate) fn round(&mut self, now: Duration, acknowledged: bool, records: usize, bytes: u64) {
        if acknowledged {
            self.lag.acknowledged(now);
        }
        self.records.set(records as f64);
        self.bytes.set(bytes as f64);
        self.settle_lag.set(self.lag.at(now).as_secs_f64());
    }

    pub(crate) fn settle_asked(&mut self) {
        self.lag.asked();
    }

    pub(crate) fn settle_answered(&mut self) {
        self.lag.answered();
    }

    pub(crate) fn parked(&self) {
        self.parked_refused.increment(1);
    }

    pub(crate) fn retried(&self, class: &'static str) {
        counter!(RETRIES, "class" => class).increment(1);
    }

    pub(crate) fn exhausted(&self, class: &'static str) {
        counter!(EXHAUSTED, "class" => class).increment(1);
    }

    pub(crate) fn released(&self) {
        counter!(RELEASED).increment(1);
    }

    pub(crate) fn dead(&self, class: &str) {
        counter!(DEAD, "class" => class.to_owned()).increment(1);
    }

    pub(crate) fn letter_refused(&self, class: &'static str) {
        counter!(LETTERS_REFUSED, "class" => class).increment(1);
    }

    pub(crate) fn decided(&self, decision: &'static str, done: bool) {
        counter!(DECISIONS, "decision" => decision, "done" => if done { "yes" } else { "no" }).increment(1);
    }

    pub(crate) fn lanes_gained(&self, lanes: usize, held: usize) {
        counter!(GAINED).increment(lanes as u64);
        self.lanes.set(held as f64);
    }

    pub(crate) fn lanes_released(&self, lanes: usize, held: usize) {
        counter!(GIVEN).increment(lanes as u64);
        self.lanes.set(held as f64);
    }

    pub(crate) fn lanes_lost(&self, lanes: usize, held: usize) {
        counter!(LOST).increment(lanes as u64);
        self.lanes.set(held as f64);
    }

    pub(crate) fn lane_full(&self) {
        counter!(FULL).increment(1);
    }

    /// Something is away, or is back.
    pub(crate) fn away(&mut self, whom: &Whom, away: bool) {
        let of = match whom {
            Whom::Store => "store",
            Whom::Broker => "broker",
            Whom::Topic(_) => "topic",
        };
        if away {
            counter!(OUTAGES, "of" => of).increment(1);
        }
        if let Whom::Topic(_) = whom {
            self.topics_held = if away { self.topics_held + 1 } else { self.topics_held.saturating_sub(1) };
            gauge!(TOPICS_HELD).set(self.topics_held as f64);
        } else {
            gauge!(AWAY, "of" => of).set(f64::from(u8::from(away)));
        }
    }

    pub(crate) fn session_ended(&self, role: &'static str, why: &'static str) {
        counter!(SESSIONS, "role" => role, "why" => why).increment(1);
    }

    pub(crate) fn missed(&self) {
        self.missed.increment(1);
    }

    /// A lane is opened: its parked events are counted anew.
    pub(crate) fn parked_anew(&mut self, lane: Lane) {
        self.parked.insert(lane, 0);
    }

    /// A lane has so many more parked events, and so many fewer.
    pub(crate) fn parked_changed(&mut self, lane: Lane, more: u64, fewer: u64) {
        if let Some(parked) = self.parked.get_mut(&lane) {
            *parked = parked.saturating_add(more).saturating_sub(fewer);
        }
        self.show_parked();
    }

    /// A lane is no longer this relay's.
    pub(crate) fn parked_elsewhere(&mut self, lane: Lane) {
        self.parked.remove(&lane);
        self.show_parked();
    }

    /// The relay has ended: it holds nothing.
    pub(crate) fn end(&self) {
        for gauge in [&self.lanes, &self.parked_now, &self.records, &self.bytes, &self.settle_lag] {
            gauge.set(0);
        }
        gauge!(TOPICS_HELD).set(0);
        for of in ["store", "broker"] {
            gauge!(AWAY, "of" => of).set(0);
        }
    }

    fn show_parked(&self) {
        self.parked_now.set(self.parked.values().sum::<u64>() as f64);
    }
}

/// What the database keeps of its log for relays.
pub(crate) fn log_kept(log: &LogGauge) {
    gauge!(LOG_KEPT).set(log.kept_bytes as f64);
    gauge!(LOG_LOST).set(f64::from(u8::from(log.lost)));
    if let Some(spare) = log.spare_bytes {
        gauge!(LOG_SPARE).set(spare as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_documented_and_nothing_else_is() {
        let page = include_str!("../../../docs/metrics.md");
        for (name, meaning) in ALL {
            assert!(!meaning.ends_with('.'));
            assert!(page.contains(&format!("| `{name}` |")), "docs/metrics.md has no line for {name}");
        }
        // A publisher's are its own to count.
        let ours =
            |line: &&str| line.starts_with("| `eventferry_") && !line.starts_with("| `eventferry_kafka_");
        let listed = page.lines().filter(ours).count();
        assert_eq!(listed, ALL.len(), "docs/metrics.md lists a figure that is none");
    }

    #[test]
    fn the_lag_of_settling_counts_from_the_first_acknowledged_event_that_is_not_told() {
        let (mut lag, at) = (Lag::default(), Duration::from_secs);
        assert_eq!(lag.at(at(9)), at(0));
        lag.acknowledged(at(10));
        lag.acknowledged(at(11));
        assert_eq!(lag.at(at(12)), at(2));
        lag.asked();
        lag.acknowledged(at(13));
        assert_eq!(lag.at(at(14)), at(4));
        lag.answered();
        assert_eq!(lag.at(at(14)), at(1));
        lag.asked();
        lag.answered();
        assert_eq!(lag.at(at(99)), at(0));
    }
}
