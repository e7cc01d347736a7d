//! What a memory trial found.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

/// What a memory trial found.
pub(super) struct Report {
    pub(super) scenario: &'static str,
    pub(super) events: u64,
    /// Of all payloads together.
    pub(super) bytes: u64,
    /// From the program's start until everything was settled.
    pub(super) time: Duration,
    pub(super) peak_bytes: u64,
    pub(super) peak_bytes_max: u64,
    pub(super) exit_code: i32,
    pub(super) lag: i64,
    pub(super) parked: i64,
    pub(super) arrived: u64,
    pub(super) machine: Value,
}

impl Report {
    /// What is wrong, one line each.
    fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        let mut find = |is_wrong: bool, what: String| {
            if is_wrong {
                findings.push(what);
            }
        };
        let (peak, most) = (mib(self.peak_bytes), mib(self.peak_bytes_max));
        find(self.peak_bytes >= self.peak_bytes_max, format!("{peak:.1} MiB is not below {most:.0} MiB"));
        find(self.lag > 0, format!("{} events are not shipped", self.lag));
        find(self.parked > 0, format!("{} events are parked", self.parked));
        find(self.arrived != self.events, format!("{} events arrived", self.arrived));
        find(self.exit_code != 0, format!("the program ended with {}", self.exit_code));
        findings
    }

    pub(super) fn is_good(&self) -> bool {
        self.findings().is_empty()
    }

    fn events_per_second(&self) -> f64 {
        self.events as f64 / self.time.as_secs_f64()
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "trial": "memory",
            "scenario": self.scenario,
            "events": self.events,
            "payload_bytes": self.bytes,
            "seconds": self.time.as_secs_f64(),
            "events_per_second": self.events_per_second().round(),
            "peak_bytes": self.peak_bytes,
            "peak_bytes_max": self.peak_bytes_max,
            "findings": self.findings(),
            "machine": self.machine,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "memory {}: {} events, {:.0} MiB of payload: peak {:.1} MiB (VmHWM), {:.0} events/s, {:.1} s",
            self.scenario,
            self.events,
            mib(self.bytes),
            mib(self.peak_bytes),
            self.events_per_second(),
            self.time.as_secs_f64()
        )?;
        self.findings().iter().try_for_each(|finding| writeln!(f, "FAILED: {finding}"))
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        Report {
            scenario: "drain",
            events: 10,
            bytes: 3_000,
            time: Duration::from_secs(2),
            peak_bytes: 10,
            peak_bytes_max: 20,
            exit_code: 0,
            lag: 0,
            parked: 0,
            arrived: 10,
            machine: Value::Null,
        }
    }

    #[test]
    fn whatever_is_not_as_promised_is_a_finding() {
        assert!(good().is_good());
        for bad in [
            Report { peak_bytes: 20, ..good() },
            Report { lag: 1, ..good() },
            Report { parked: 1, ..good() },
            Report { arrived: 9, ..good() },
            Report { arrived: 11, ..good() },
            Report { exit_code: 5, ..good() },
        ] {
            assert_eq!(bad.findings().len(), 1, "{bad}");
        }
    }
}
