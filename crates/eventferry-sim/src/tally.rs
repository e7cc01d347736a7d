//! What was run: so that a run that did nothing does not look like success.

use std::fmt;

use crate::fault::FaultKind;
use crate::truth::Truth;

/// Counts over one run or many.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Schedules that were run.
    pub seeds: u64,
    /// Things that happened in them.
    pub happenings: u64,
    /// Virtual time that passed in them, in microseconds.
    pub virtual_us: u64,
    /// Events that were enqueued and committed.
    pub events: u64,
    /// Deliveries that a consumer saw.
    pub deliveries: u64,
    /// Of these, the second and later ones of an event.
    pub duplicates: u64,
    /// Events that were parked.
    pub parked: u64,
    /// Dead letters that somebody saw.
    pub letters: u64,
    /// Changes of parked events.
    pub changes: u64,
    /// Decisions of people that were taken.
    pub decisions: u64,
    /// Actions of the core that were performed.
    pub actions: u64,
    /// How often relays lay down at the doorbell, and were rung up.
    pub naps: u64,
    /// See [`Tally::naps`].
    pub rings: u64,
    /// Faults, by kind.
    pub faults: [u64; FaultKind::NAMES.len()],
}

impl Tally {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.happenings += other.happenings;
        self.virtual_us += other.virtual_us;
        self.events += other.events;
        self.deliveries += other.deliveries;
        self.duplicates += other.duplicates;
        self.parked += other.parked;
        self.letters += other.letters;
        self.changes += other.changes;
        self.decisions += other.decisions;
        self.actions += other.actions;
        self.naps += other.naps;
        self.rings += other.rings;
        for (sum, one) in self.faults.iter_mut().zip(other.faults) {
            *sum += one;
        }
    }

    pub(crate) fn add_events(&mut self, truth: &Truth) {
        for event in &truth.events {
            self.events += u64::from(event.visible > 0);
            self.deliveries += u64::from(event.deliveries);
            self.duplicates += u64::from(event.deliveries.saturating_sub(1));
            self.parked += u64::from(event.parked || event.ended.is_some());
            self.letters += u64::from(event.letters);
        }
    }

    /// Processes and servers that ended without a word.
    pub fn crashes(&self) -> u64 {
        let of =
            |name: &str| FaultKind::NAMES.iter().position(|one| *one == name).map_or(0, |at| self.faults[at]);
        of("kill") + of("database-crash") + of("failover")
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.virtual_us / 3_600_000_000;
        writeln!(
            f,
            "{} schedules, {hours} virtual hours, {} happenings, {} actions",
            self.seeds, self.happenings, self.actions
        )?;
        writeln!(
            f,
            "{} events, {} deliveries of which {} duplicates, {} crashes",
            self.events,
            self.deliveries,
            self.duplicates,
            self.crashes()
        )?;
        writeln!(
            f,
            "{} parked, {} changes, {} dead letters, {} decisions; {} naps, {} rings",
            self.parked, self.changes, self.letters, self.decisions, self.naps, self.rings
        )?;
        let faults = FaultKind::NAMES.iter().zip(self.faults).filter(|(_, count)| *count > 0);
        let faults: Vec<String> = faults.map(|(name, count)| format!("{name} {count}")).collect();
        write!(f, "faults: {}", faults.join(", "))
    }
}
