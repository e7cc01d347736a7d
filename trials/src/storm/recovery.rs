//! How long it took, after each incident, until what had piled up had arrived.

use std::time::Duration;

use super::history::Moment;
use super::order::First;

/// Something that went wrong, and was put right.
#[derive(Clone, Debug)]
pub(super) struct Incident {
    pub(super) what: &'static str,
    /// When it was put right: in the order of the history, and by the broker's clock.
    pub(super) healed: Moment,
    pub(super) healed_ms: i64,
}

/// What followed an incident.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Recovery {
    /// How many events were committed and had not arrived when it was put right.
    pub(super) backlog: u64,
    /// How long the last of them took.
    pub(super) took: Duration,
}

/// The recovery from each incident, in their order.
pub(super) fn measure(incidents: &[Incident], firsts: &[First]) -> Vec<Recovery> {
    let one = |incident: &Incident| {
        let waited = |first: &&First| {
            first.visible.is_some_and(|visible| visible < incident.healed)
                && first.appended_ms > incident.healed_ms
        };
        let late: Vec<i64> = firsts.iter().filter(waited).map(|first| first.appended_ms).collect();
        let last = late.iter().max().map_or(0, |last| last - incident.healed_ms);
        Recovery { backlog: late.len() as u64, took: Duration::from_millis(last.unsigned_abs()) }
    };
    incidents.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_committed_before_and_arrived_after_counts() {
        let first = |visible: Moment, appended_ms: i64| First {
            number: 0,
            aggregate: 1,
            transaction: 1,
            began: 0,
            visible: Some(visible),
            partition: (0, 0),
            offset: 0,
            appended_ms,
        };
        let incident = Incident { what: "", healed: 10, healed_ms: 1_000 };
        let firsts = [first(5, 900), first(6, 1_400), first(7, 1_700), first(11, 2_000)];
        let recovery = Recovery { backlog: 2, took: Duration::from_millis(700) };
        assert_eq!(measure(&[incident], &firsts), [recovery]);
    }
}
