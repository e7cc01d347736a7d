//! A database of a test's own, its application, its relays and its clock.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use eventferry_core::PackedRow;
use eventferry_core::parked::{
    Act, Cause, Change, Decision, Decisions, Desk, DueAsk, DueEvent, DuePage, Next, Park, ParkReason,
    ParkedFilter, ParkedKey, ShowAsk, ShownEvent,
};
use eventferry_core::store::{
    Claim, Feed, Lanes, Ledger, Page, Prepare, RelayId, Roles, Settlement, Store, Verdict, Wish,
};
use eventferry_core::{Event, Lane, Lease, Record, Row, StoreFault, Timestamp};
use eventferry_store_sqlite::{SqliteConfig, SqliteMark, SqliteOutbox, SqliteStore};
use rusqlite::Connection;

pub(crate) type SqlitePage = Page<SqliteMark, PackedRow>;
pub(crate) type SqliteRecord = Record<SqliteMark, PackedRow>;

pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// Room for everything.
pub(crate) const ROOMY: (u32, u64) = (u32::MAX, u64::MAX);

pub(crate) struct Database {
    pub(crate) path: PathBuf,
    clock: Arc<AtomicI64>,
    folder: tempfile::TempDir,
}

impl Database {
    /// A file with the schema and so many lanes.
    pub(crate) async fn with_lanes(lanes: u16) -> Self {
        let database = Self::empty();
        let config = database.config().lanes(lanes).unwrap();
        SqliteStore::new(config).prepare(Prepare::Apply).await.unwrap();
        database
    }

    /// A path without a file.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        Self { path, clock: Arc::new(AtomicI64::new(1_700_000_000_000_000)), folder }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    pub(crate) fn config(&self) -> SqliteConfig {
        let clock = Arc::clone(&self.clock);
        SqliteConfig::at(&self.path).unwrap().clock(move || Timestamp(clock.load(Ordering::Relaxed)))
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.clock.load(Ordering::Relaxed))
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.fetch_add(time.as_micros().try_into().unwrap(), Ordering::Relaxed);
    }

    pub(crate) fn set_back(&self, time: Duration) {
        self.clock.fetch_sub(time.as_micros().try_into().unwrap(), Ordering::Relaxed);
    }

    /// The application's own connection, set up as applications do.
    pub(crate) fn app(&self) -> Connection {
        let app = Connection::open(&self.path).unwrap();
        app.pragma_update(None, "synchronous", "NORMAL").unwrap();
        app.busy_timeout(Duration::from_secs(5)).unwrap();
        app
    }

    /// Commits events in one transaction.
    pub(crate) fn commit(&self, events: &[Event]) {
        let mut app = self.app();
        let transaction = app.transaction().unwrap();
        SqliteOutbox.append_many(&transaction, events).unwrap();
        transaction.commit().unwrap();
    }

    pub(crate) fn roles(&self, relay: &str) -> Roles<SqliteStore> {
        self.roles_with(self.config(), relay)
    }

    pub(crate) fn roles_with(&self, config: SqliteConfig, relay: &str) -> Roles<SqliteStore> {
        SqliteStore::new(config).roles(&RelayId(relay.into()))
    }

    /// One relay with every lane, open.
    pub(crate) async fn sole_relay(&self) -> (Roles<SqliteStore>, Vec<Lease>) {
        let mut relay = self.roles("sole");
        let leases = hold(&mut relay, &[], u16::MAX).await.unwrap();
        relay.feed.open(&leases).await.unwrap();
        (relay, leases)
    }

    pub(crate) fn count(&self, table: &str) -> i64 {
        self.app().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }
}

/// An event whose payload says which one it is.
pub(crate) fn event(aggregate: u32, payload: &str) -> Event {
    Event::new("orders", ("order", aggregate)).payload(payload, "text/plain")
}

pub(crate) fn payload(record: &SqliteRecord) -> String {
    String::from_utf8(record.row.payload().unwrap().to_vec()).unwrap()
}

pub(crate) fn payloads(page: &SqlitePage) -> Vec<String> {
    page.records.iter().map(payload).collect()
}

pub(crate) async fn hold(
    relay: &mut Roles<SqliteStore>,
    keep: &[Lease],
    take_max: u16,
) -> Result<Vec<Lease>, StoreFault> {
    let claim = Claim { keep: keep.to_vec(), take_max, lease: LEASE, whole: false };
    Ok(relay.lanes.hold(claim).await?.leases)
}

pub(crate) async fn leave(relay: &mut Roles<SqliteStore>) {
    let held = relay
        .lanes
        .hold(Claim { keep: Vec::new(), take_max: 0, lease: Duration::ZERO, whole: false })
        .await
        .unwrap();
    assert_eq!(held.leases, []);
}

pub(crate) fn lanes_of(leases: &[Lease]) -> Vec<Lane> {
    leases.iter().map(|lease| lease.lane).collect()
}

pub(crate) async fn read(
    relay: &mut Roles<SqliteStore>,
    lanes: &[Lane],
    (records_max, bytes_max): (u32, u64),
) -> Result<SqlitePage, StoreFault> {
    relay.feed.read(Wish { lanes, records_max, bytes_max }).await
}

/// Reads until everything was handed over.
pub(crate) async fn read_all(relay: &mut Roles<SqliteStore>, lanes: &[Lane]) -> Vec<SqliteRecord> {
    let mut records = Vec::new();
    loop {
        let page = read(relay, lanes, ROOMY).await.unwrap();
        records.extend(page.records);
        if page.rest.is_quiet() {
            return records;
        }
    }
}

/// Settles up to and with this record, parking those named.
pub(crate) async fn settle(
    relay: &mut Roles<SqliteStore>,
    lease: Lease,
    up_to: &SqliteRecord,
    parks: &[(&SqliteRecord, ParkReason<'_>)],
) -> Result<Verdict, StoreFault> {
    let park =
        parks.iter().map(|(record, reason)| Park { mark: &record.mark, row: &record.row, reason: *reason });
    let settlement = Settlement {
        lease,
        prefix: std::slice::from_ref(&up_to.mark),
        park: park.collect(),
        changes: Vec::new(),
        carries: None,
    };
    let verdicts = relay.ledger.settle(&[settlement]).await?;
    assert_eq!(verdicts.len(), 1);
    Ok(verdicts[0])
}

/// Settles all that a page says, in every lane.
pub(crate) async fn settle_page(relay: &mut Roles<SqliteStore>, leases: &[Lease], page: &SqlitePage) {
    for lease in leases {
        let in_lane =
            page.records.iter().filter(|record| record.lane == lease.lane).map(|record| &record.mark);
        let passed = page.passed.iter().filter(|(lane, _)| *lane == lease.lane).map(|(_, mark)| mark);
        let Some(last) = in_lane.chain(passed).last() else { continue };
        let settlement = Settlement {
            lease: *lease,
            prefix: std::slice::from_ref(last),
            park: Vec::new(),
            changes: Vec::new(),
            carries: None,
        };
        assert_eq!(relay.ledger.settle(&[settlement]).await.unwrap(), [Verdict::Done]);
    }
}

/// Refused for the first time, with these words, and due again after this time.
pub(crate) fn refused(message: &str, next: Next) -> ParkReason<'_> {
    ParkReason::Refused { cause: Cause { class: "TooLarge", message }, next }
}

/// Refused for good, with these words.
pub(crate) fn refused_for_good(message: &str) -> ParkReason<'_> {
    refused(message, Next::Wait)
}

/// Tells parked events what became of them, and nothing else.
pub(crate) async fn change(
    relay: &mut Roles<SqliteStore>,
    lease: Lease,
    changes: &[(ParkedKey, Change<'_>)],
) -> Result<Verdict, StoreFault> {
    let settlement =
        Settlement { lease, prefix: &[], park: Vec::new(), changes: changes.to_vec(), carries: None };
    Ok(relay.ledger.settle(&[settlement]).await?[0])
}

/// What is due in these lanes, with room for everything.
pub(crate) async fn due(relay: &mut Roles<SqliteStore>, lanes: &[Lane]) -> DuePage<PackedRow> {
    relay.ledger.due(due_ask(lanes)).await.unwrap()
}

/// Asks for everything that is due in these lanes.
pub(crate) fn due_ask(lanes: &[Lane]) -> DueAsk<'_> {
    DueAsk { lanes, except_topics: &[], after: None, records_max: 1_000_000, bytes_max: u64::MAX }
}

pub(crate) fn payloads_due(page: &DuePage<PackedRow>) -> Vec<String> {
    let payload = |event: &DueEvent<PackedRow>| text_of(event.row.payload().unwrap());
    page.events.iter().map(payload).collect()
}

fn text_of(payload: &[u8]) -> String {
    String::from_utf8(payload.to_vec()).unwrap()
}

/// All that is parked and matches, as people see it.
pub(crate) async fn show(
    relay: &mut Roles<SqliteStore>,
    filter: &ParkedFilter,
) -> Vec<ShownEvent<PackedRow>> {
    let ask = ShowAsk { filter, after: None, records_max: 1_000_000, bytes_max: u64::MAX };
    let page = relay.desk.show(ask).await.unwrap();
    assert!(!page.more);
    page.events
}

pub(crate) fn act() -> Act {
    Act { who: "ada".into(), why: "the topic takes larger ones now".into() }
}

pub(crate) async fn decide(
    relay: &mut Roles<SqliteStore>,
    filter: &ParkedFilter,
    decision: Decision,
) -> Decisions {
    relay.desk.decide(filter, decision, &act()).await.unwrap()
}
