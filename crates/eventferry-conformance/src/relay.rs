//! A relay as the clauses need it: it holds lanes, reads them and settles what it read, one call at a time.

use std::time::Duration;

use eventferry_core::parked::{Change, ParkReason, ParkedKey};
use eventferry_core::store::{Anchor, Claim, Gauge, Held, Keeps, Opened, Rest, Verdict, Wish};
use eventferry_core::{Lane, Lease, StoreFault};

use crate::bench::{Bench, LEASE_LONG, PATIENCE, Patience};
use crate::broken::{Broken, ensure};
use crate::erased::{AnyRoles, Carried, MarkAt, Parking, Seen, Sheet};

/// How many records one reading to the end may bring: more than any clause enqueues.
const RECORDS_MAX: usize = 5_000;

/// A relay under a name.
pub(crate) struct Relay<'b> {
    pub(crate) bench: &'b Bench,
    pub(crate) name: String,
    /// For calls whose fault is the point.
    pub(crate) roles: Box<dyn AnyRoles>,
    /// What it holds, as far as it knows.
    pub(crate) leases: Vec<Lease>,
}

/// How much of what to read.
#[derive(Clone, Debug)]
pub(crate) struct Appetite {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) records_max: u32,
    pub(crate) bytes_max: u64,
}

/// What was handed over, in the order in which it was.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) records: Vec<Seen>,
    /// Every mark, of records and of what was passed.
    pub(crate) marks: Vec<(Lane, MarkAt)>,
}

impl<'b> Relay<'b> {
    pub(crate) fn new(bench: &'b Bench, name: &str, roles: Box<dyn AnyRoles>) -> Self {
        Self { bench, name: name.into(), roles, leases: Vec::new() }
    }

    pub(crate) fn patience(&self) -> Patience<'b> {
        Patience::new(self.bench.site())
    }

    // Ownership.

    /// Beats, and knows what it holds afterwards.
    pub(crate) async fn hold(&mut self, claim: Claim) -> Result<Held, Broken> {
        let mut patience = self.patience();
        loop {
            match self.roles.hold(claim.clone()).await {
                Ok(held) => {
                    self.leases.clone_from(&held.leases);
                    return Ok(held);
                }
                Err(fault) => {
                    let call = format!("hold of relay {}", self.name);
                    patience.bear(&call, fault).await?;
                }
            }
        }
    }

    /// Beats once, keeping what it holds; a fault is an answer too.
    pub(crate) async fn try_beat(&mut self) -> Result<Held, StoreFault> {
        let held = self
            .roles
            .hold(Claim { keep: self.leases.clone(), take_max: 0, lease: LEASE_LONG, whole: false })
            .await?;
        self.leases.clone_from(&held.leases);
        Ok(held)
    }

    /// Keeps what it holds.
    pub(crate) async fn beat(&mut self) -> Result<Held, Broken> {
        self.take_some(0).await
    }

    /// Keeps what it holds and takes whatever else it can get, for a lease of this length.
    pub(crate) async fn take(&mut self, lease: Duration) -> Result<Held, Broken> {
        self.hold(Claim { keep: self.leases.clone(), take_max: self.bench.lanes(), lease, whole: false })
            .await
    }

    /// Keeps what it holds and takes at most so many lanes beside.
    pub(crate) async fn take_some(&mut self, take_max: u16) -> Result<Held, Broken> {
        self.hold(Claim { keep: self.leases.clone(), take_max, lease: LEASE_LONG, whole: false }).await
    }

    /// Takes every lane; breaks the clause if one is not to be had.
    pub(crate) async fn take_all(&mut self) -> Result<(), Broken> {
        let held = self.take(LEASE_LONG).await?;
        ensure!(
            held.leases.len() == usize::from(self.bench.lanes()),
            "relay {} asked for all {} lanes, all of them free, and holds {}",
            self.name,
            self.bench.lanes(),
            held.leases.len()
        );
        Ok(())
    }

    /// Takes every lane and opens it.
    pub(crate) async fn start(&mut self) -> Result<(), Broken> {
        self.take_all().await?;
        self.open_all().await?;
        Ok(())
    }

    /// Frees every lane and lives on.
    pub(crate) async fn give_up_all(&mut self) -> Result<Held, Broken> {
        self.hold(Claim { keep: Vec::new(), take_max: 0, lease: LEASE_LONG, whole: false }).await
    }

    /// Frees every lane and is gone.
    pub(crate) async fn leave(&mut self) -> Result<Held, Broken> {
        self.hold(Claim { keep: Vec::new(), take_max: 0, lease: Duration::ZERO, whole: false }).await
    }

    /// Its lease of this lane.
    pub(crate) fn lease_of(&self, lane: Lane) -> Result<Lease, Broken> {
        let lease = self.leases.iter().find(|lease| lease.lane == lane);
        lease
            .copied()
            .ok_or_else(|| Broken::new(format!("relay {} does not hold lane {}", self.name, lane.0)))
    }

    /// The lanes it holds, in ascending order.
    pub(crate) fn lanes(&self) -> Vec<Lane> {
        let mut lanes: Vec<_> = self.leases.iter().map(|lease| lease.lane).collect();
        lanes.sort_unstable();
        lanes
    }

    // Reading.

    /// Opens every lane it holds.
    pub(crate) async fn open_all(&mut self) -> Result<Vec<Opened>, Broken> {
        let leases = self.leases.clone();
        self.open(&leases).await
    }

    /// Opens lanes and, as every relay does before it reads, lists what is parked in them.
    pub(crate) async fn open(&mut self, leases: &[Lease]) -> Result<Vec<Opened>, Broken> {
        let mut patience = self.patience();
        let opened = loop {
            match self.roles.open(leases).await {
                Ok(opened) => break opened,
                Err(fault) => patience.bear("open", fault).await?,
            }
        };
        for lease in leases {
            let times = opened.iter().filter(|one| one.lane == lease.lane).count();
            ensure!(times == 1, "open answered {times} times for lane {}, not once", lease.lane.0);
        }
        let lanes: Vec<_> = leases.iter().map(|lease| lease.lane).collect();
        self.parked_in(&lanes).await?;
        Ok(opened)
    }

    /// From where a lane was opened, according to `opened`.
    pub(crate) fn anchor_of(opened: &[Opened], lane: Lane) -> Option<Anchor> {
        opened.iter().find(|one| one.lane == lane).map(|one| one.anchor)
    }

    /// An appetite for every lane it holds, in pages of a usual size.
    pub(crate) fn appetite(&self) -> Appetite {
        Appetite { lanes: self.lanes(), records_max: 500, bytes_max: 1 << 20 }
    }

    /// Reads one page.
    pub(crate) async fn read(&mut self, appetite: &Appetite) -> Result<Sheet, Broken> {
        let Appetite { lanes, records_max, bytes_max } = appetite;
        let wish = Wish { lanes, records_max: *records_max, bytes_max: *bytes_max };
        let mut patience = self.patience();
        loop {
            match self.roles.read(wish).await {
                Ok(sheet) => return Ok(sheet),
                Err(fault) => patience.bear("read", fault).await?,
            }
        }
    }

    /// Reads every lane it holds until all is quiet, with every mark on the way.
    pub(crate) async fn drain_all(&mut self) -> Result<Reading, Broken> {
        let appetite = self.appetite();
        self.drain_by(&appetite).await
    }

    /// Reads every lane it holds until all is quiet.
    pub(crate) async fn drain(&mut self) -> Result<Vec<Seen>, Broken> {
        Ok(self.drain_all().await?.records)
    }

    /// Reads until all is quiet.
    pub(crate) async fn drain_by(&mut self, appetite: &Appetite) -> Result<Reading, Broken> {
        let mut patience = self.patience();
        let mut reading = Reading::default();
        loop {
            match self.read_on(appetite, &mut reading).await? {
                Rest::Waiting(_) => patience.tick("events that the feed says must wait").await?,
                _ => return Ok(reading),
            }
        }
    }

    /// Reads what can be had now: a feed that says that events must wait is left alone.
    pub(crate) async fn glance(&mut self) -> Result<Vec<Seen>, Broken> {
        let mut reading = Reading::default();
        self.read_on(&self.appetite(), &mut reading).await?;
        Ok(reading.records)
    }

    /// Reads until the feed says that it has no more for now.
    pub(crate) async fn read_on(
        &mut self,
        appetite: &Appetite,
        reading: &mut Reading,
    ) -> Result<Rest, Broken> {
        let mut patience = self.patience();
        loop {
            let sheet = self.read(appetite).await?;
            if !sheet.records.is_empty() {
                patience = self.patience();
            }
            ensure!(!patience.is_over(), "waited {PATIENCE:?} for more, which every empty page promised");
            reading.add(&sheet);
            if sheet.rest != Rest::More {
                return Ok(sheet.rest);
            }
            let records = reading.records.len();
            ensure!(
                records <= RECORDS_MAX,
                "reading did not end: {records} records, more than were enqueued"
            );
        }
    }

    // Settling.

    /// Settles these records; every lane's must be the next ones in the order of reading.
    pub(crate) async fn settle(&mut self, records: &[Seen]) -> Result<(), Broken> {
        let marks: Vec<_> = records.iter().map(|record| (record.lane, record.mark)).collect();
        self.settle_marks(&marks, &[]).await
    }

    /// Settles these records and parks some of them, each for its reason.
    pub(crate) async fn settle_parking(
        &mut self,
        records: &[Seen],
        parked: &[(&Seen, ParkReason<'static>)],
    ) -> Result<(), Broken> {
        let marks: Vec<_> = records.iter().map(|record| (record.lane, record.mark)).collect();
        self.settle_marks(&marks, parked).await
    }

    /// Settles these marks; breaks the clause unless all of it is done.
    pub(crate) async fn settle_marks(
        &mut self,
        marks: &[(Lane, MarkAt)],
        parked: &[(&Seen, ParkReason<'static>)],
    ) -> Result<(), Broken> {
        let mut carried = Vec::new();
        for lease in self.leases.clone() {
            if marks.iter().any(|(lane, _)| *lane == lease.lane) {
                carried.push(self.carried(lease, marks, parked));
            }
        }
        ensure!(
            marks.iter().all(|(lane, _)| carried.iter().any(|one| one.lease.lane == *lane)),
            "relay {} was to settle lanes that it does not hold",
            self.name
        );
        self.settle_carried(&carried).await
    }

    /// Tells what became of parked events, each lane's in a settlement without marks; breaks the clause unless all of
    /// it is done.
    pub(crate) async fn change(&mut self, changes: &[(ParkedKey, Change<'static>)]) -> Result<(), Broken> {
        let carried = self.carried_changes(&self.leases, changes);
        self.settle_carried(&carried).await
    }

    /// The settlements of these changes under these leases, one a lease.
    pub(crate) fn carried_changes(
        &self,
        leases: &[Lease],
        changes: &[(ParkedKey, Change<'static>)],
    ) -> Vec<Carried> {
        let of = |lease: &Lease| -> Vec<_> {
            changes.iter().filter(|(key, _)| key.lane == lease.lane).copied().collect()
        };
        let carried = leases.iter().map(|lease| Carried {
            lease: *lease,
            prefix: Vec::new(),
            park: Vec::new(),
            changes: of(lease),
            carries: None,
        });
        carried.filter(|one| !one.changes.is_empty()).collect()
    }

    /// Makes these settlements, in as many calls as the store needs; breaks the clause unless all of it is done.
    pub(crate) async fn settle_carried(&mut self, carried: &[Carried]) -> Result<(), Broken> {
        // A call takes only so many items: whatever is more goes into the next one.
        let items_max = self.bench.declared().capabilities.settle_items_max.max(1) as usize;
        for one in carried.iter().flat_map(|one| in_pieces(one, items_max)) {
            let verdicts = self.verdicts(std::slice::from_ref(&one)).await?;
            ensure!(
                verdicts == [Verdict::Done],
                "a settlement under the current lease was answered {verdicts:?}"
            );
        }
        Ok(())
    }

    /// One lane's settlement, as its store keeps events: all the marks, or the last alone.
    pub(crate) fn carried(
        &self,
        lease: Lease,
        marks: &[(Lane, MarkAt)],
        parked: &[(&Seen, ParkReason<'static>)],
    ) -> Carried {
        let mine: Vec<_> =
            marks.iter().filter(|(lane, _)| *lane == lease.lane).map(|(_, mark)| *mark).collect();
        let prefix = match self.bench.declared().capabilities.keeps {
            Keeps::Log => mine.last().copied().into_iter().collect(),
            Keeps::UntilSettled => mine,
        };
        let park = parked
            .iter()
            .filter(|(record, _)| record.lane == lease.lane)
            .map(|(record, reason)| Parking { mark: record.mark, row: record.row, reason: *reason })
            .collect();
        Carried { lease, prefix, park, changes: Vec::new(), carries: None }
    }

    /// The settlements of these records under these leases, one a lease.
    pub(crate) fn carried_under(&self, leases: &[Lease], records: &[Seen]) -> Vec<Carried> {
        let marks: Vec<_> = records.iter().map(|record| (record.lane, record.mark)).collect();
        leases
            .iter()
            .filter(|lease| marks.iter().any(|(lane, _)| *lane == lease.lane))
            .map(|lease| self.carried(*lease, &marks, &[]))
            .collect()
    }

    /// Makes one call and hands back its answers.
    pub(crate) async fn verdicts(&mut self, carried: &[Carried]) -> Result<Vec<Verdict>, Broken> {
        let mut patience = self.patience();
        let verdicts = loop {
            match self.roles.settle(carried).await {
                Ok(verdicts) => break verdicts,
                Err(fault) => patience.bear("settle", fault).await?,
            }
        };
        ensure!(
            verdicts.len() == carried.len(),
            "settle answered {} verdicts for {} settlements",
            verdicts.len(),
            carried.len()
        );
        Ok(verdicts)
    }

    // Upkeep.

    /// Sweeps until there is no more to do; how many events that removed.
    pub(crate) async fn sweep(&mut self, retention: Duration) -> Result<u64, Broken> {
        let mut patience = self.patience();
        let mut events = 0;
        loop {
            match self.roles.sweep(retention).await {
                Ok(swept) => {
                    events += swept.events;
                    if !swept.more {
                        return Ok(events);
                    }
                    patience.tick("a sweep to end that always says that there is more").await?;
                }
                Err(fault) => patience.bear("sweep", fault).await?,
            }
        }
    }

    /// Sweeps again and again, with no retention, until this many events are gone or patience is; how many are. A
    /// store that keeps no settled events is asked once.
    pub(crate) async fn sweep_away(&mut self, events: u64) -> Result<u64, Broken> {
        let mut patience = self.patience();
        let mut gone = 0;
        self.bench.site().age(Duration::from_secs(3600)).await?;
        loop {
            gone += self.sweep(Duration::ZERO).await?;
            let waits = self.bench.declared().capabilities.keeps == Keeps::Log;
            if gone >= events || !waits || patience.tick("the sweep").await.is_err() {
                return Ok(gone);
            }
        }
    }

    /// The figures now.
    pub(crate) async fn gauge(&mut self) -> Result<Gauge, Broken> {
        let mut patience = self.patience();
        let gauge = loop {
            match self.roles.gauge().await {
                Ok(gauge) => break gauge,
                Err(fault) => patience.bear("gauge", fault).await?,
            }
        };
        let lanes: Vec<_> = gauge.lanes.iter().map(|lane| lane.lane).collect();
        let all: Vec<_> = (0..self.bench.lanes()).map(Lane).collect();
        ensure!(lanes == all, "the gauge lists lanes {lanes:?}, not every lane in ascending order");
        Ok(gauge)
    }
}

impl Reading {
    pub(crate) fn add(&mut self, sheet: &Sheet) {
        self.marks.extend(sheet.records.iter().map(|record| (record.lane, record.mark)));
        self.marks.extend(&sheet.passed);
        self.records.extend(sheet.records.iter().cloned());
    }
}

/// A settlement in pieces of at most so many items, parked events counted beside their marks; changes come with the
/// first. What a single mark settles is one piece.
fn in_pieces(carried: &Carried, items_max: usize) -> Vec<Carried> {
    let items = carried.prefix.len() + carried.park.len() + carried.changes.len();
    if carried.prefix.len() <= 1 || items <= items_max {
        return vec![carried.clone()];
    }
    let marks_max = (items_max / 2).max(1);
    let pieces = carried.prefix.chunks(marks_max).enumerate().map(|(nth, prefix)| {
        let park = carried.park.iter().filter(|parking| prefix.contains(&parking.mark)).cloned().collect();
        let changes = if nth == 0 { carried.changes.clone() } else { Vec::new() };
        Carried { prefix: prefix.to_vec(), park, changes, ..carried.clone() }
    });
    pieces.collect()
}
