//! The contract of stores: what a relay asks of a database.
//!
//! A store has six roles, each with a connection of its own, so that renewing a lease never waits behind a slow
//! read: [`Lanes`] (who owns what), [`Feed`] (the events), [`Doorbell`] (that there are new ones), [`Ledger`] (how far
//! they were carried, and what is parked), [`Upkeep`] (old rows and figures) and [`Desk`] (what people see and decide).
//! A relay calls each role's methods one at a time; roles run side by side.
//!
//! Every method may be called again after an error. A future that is dropped before it is ready leaves the role
//! usable: its effect may or may not have happened, as after an error.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::future::Future;
use core::time::Duration;

use crate::fault::StoreFault;
use crate::lane::{Lane, Lease};
use crate::parked::{Change, Desk, DueAsk, DuePage, Park, ParkedAsk, ParkedKey, ParkedPage};
use crate::record::{Record, Row, Timestamp};
use crate::transaction::{OutboxId, Resolved, Stamp};

/// A database that keeps an outbox.
pub trait Store: Sized + Send + 'static {
    /// A place in a lane. Only its store can read it: it is neither compared nor ordered elsewhere.
    type Mark: Clone + Debug + Send + Sync + 'static;
    /// An event's columns.
    type Row: Row + Clone + 'static;
    /// See [`Lanes`].
    type Lanes: Lanes;
    /// See [`Feed`].
    type Feed: Feed<Mark = Self::Mark, Row = Self::Row>;
    /// See [`Doorbell`].
    type Doorbell: Doorbell;
    /// See [`Ledger`].
    type Ledger: Ledger<Mark = Self::Mark, Row = Self::Row>;
    /// See [`Upkeep`].
    type Upkeep: Upkeep;
    /// See [`Desk`].
    type Desk: Desk<Row = Self::Row>;

    /// What this store can do; constant after [`Store::prepare`].
    fn capabilities(&self) -> Capabilities;

    /// Checks the schema, or makes it: called once, first.
    ///
    /// # Errors
    /// `Unavailable`: the database is away. `Misconfigured`: the schema is missing, older or newer than this
    /// version, a privilege is lacking, or a setting would break a promise; the message says what to do.
    fn prepare(&mut self, prepare: Prepare) -> impl Future<Output = Result<Prepared, StoreFault>> + Send;

    /// The six roles, for the relay of this name. Connects to nothing yet: each role connects when first asked.
    ///
    /// `relay` tells relays apart, so two must never share one: [`Lanes::hold`] notices.
    fn roles(self, relay: &RelayId) -> Roles<Self>;
}

/// A store's roles, each on its own connection.
pub struct Roles<S: Store> {
    /// Who owns what.
    pub lanes: S::Lanes,
    /// The events.
    pub feed: S::Feed,
    /// That there are new ones.
    pub doorbell: S::Doorbell,
    /// How far they were carried.
    pub ledger: S::Ledger,
    /// Old rows and figures.
    pub upkeep: S::Upkeep,
    /// What people see and decide.
    pub desk: S::Desk,
}

/// What a relay calls itself: 1 to 200 characters, unlike any other's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelayId(pub String);

/// Whether [`Store::prepare`] may change the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepare {
    /// Look only.
    Check,
    /// Create or upgrade the schema.
    Apply,
}

/// What [`Store::prepare`] found or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The schema's version now.
    pub version: u32,
    /// The version before, where the schema was created (0) or upgraded.
    pub upgraded_from: Option<u32>,
    /// How many lanes the outbox has.
    pub lanes: u16,
    /// What the outbox is called at the broker.
    pub outbox: OutboxId,
}

/// What a store can do, as declared by it. The conformance suite reads this and asks no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Between which transactions promise 3 (order) holds.
    pub order: Order,
    /// Whether settled events stay readable.
    pub keeps: Keeps,
    /// Whether lanes are leased one by one.
    pub ownership: Ownership,
    /// Whether a slow transaction holds up the others' events.
    pub stall: Stall,
    /// Whether an event enqueued inside a savepoint that is rolled back disappears.
    pub savepoints: bool,
    /// Whether [`Doorbell::wait`] rings for what is enqueued: else a relay never calls it, and polls.
    pub doorbell: bool,
    /// The most events one transaction can enqueue.
    pub events_per_transaction_max: u64,
    /// Whether events lie in a table of the store's, so that [`Upkeep::gauge`] counts those that are not settled and
    /// [`Upkeep::sweep`] removes those that are. Where they do not, their number is 0 and they have no oldest one.
    pub in_table: bool,
    /// The largest payload that can be enqueued, in bytes.
    pub payload_bytes_max: u64,
    /// The most items (marks, parked events and changes) that one settlement call applies at once.
    pub settle_items_max: u32,
    /// Whether it can write intents down, by [`Ledger::intend`]: what exactly-once delivery needs of it.
    pub intents: bool,
}

/// Between which transactions order holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Between any two, as promise 3 says it.
    Strict,
    /// Between two that touch a common row, such as one for each aggregate.
    SharedRow,
}

/// What becomes of settled events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// They stay until retention: a settlement names its last mark only.
    Log,
    /// Settling deletes them: a settlement names every mark.
    UntilSettled,
}

/// What is leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Each lane by itself.
    PerLane,
    /// All lanes at once.
    Whole,
}

/// Whether others wait for a slow transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// They do not.
    None,
    /// Whatever was enqueued after the slowest open transaction began waits for it.
    SlowestTransaction,
}

/// Who owns which lane.
pub trait Lanes: Send + 'static {
    /// Beats, and brings ownership up to date: called at every renewal, and between them when a relay gives lanes up
    /// or wants more.
    ///
    /// In this order: the relay's heartbeat is renewed; lanes whose row names this relay but which `claim.keep` does
    /// not list are freed (so a lane is given up by leaving it out, and a lane that nobody works on is not kept from
    /// everybody by its owner's heartbeat); up to `claim.take_max` lanes that are free, or whose owner's heartbeat has
    /// run out by the store's clock, are taken, each with its epoch one higher. A lane of `claim.keep` that is held
    /// by another epoch is lost: it is missing in the answer.
    ///
    /// A relay that starts under a name whose heartbeat still runs cannot tell its own former self from a twin: it
    /// is answered with no leases until that heartbeat has run out, or is renewed, which shows the twin.
    ///
    /// # Errors
    /// `Unavailable`, `Contended`: nothing is known; the leases run on from the last good answer.
    /// `Misconfigured`: another relay lives under the same [`RelayId`].
    fn hold(&mut self, claim: Claim) -> impl Future<Output = Result<Held, StoreFault>> + Send;
}

/// What a relay wants to own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The leases it has and keeps.
    pub keep: Vec<Lease>,
    /// The most lanes it takes beside them.
    pub take_max: u16,
    /// Whether it takes all lanes or none: none while another relay that lives has one.
    pub whole: bool,
    /// How long its leases last from now on, unless renewed. Zero: it leaves, and counts no longer as alive.
    pub lease: Duration,
}

/// What a relay owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Every lease it holds now: kept ones and new ones.
    pub leases: Vec<Lease>,
    /// Relays whose heartbeat has not run out, this one included (unless it leaves).
    pub relays_live: u32,
    /// How many lanes there are in all.
    pub lanes_total: u16,
}

/// The events.
pub trait Feed: Send + 'static {
    /// See [`Store::Mark`].
    type Mark;
    /// See [`Store::Row`].
    type Row;

    /// Opens lanes for reading from their stored positions, forgetting what was remembered of them: called for each
    /// new lease before anything is read under it, and again after `HistoryLost`.
    ///
    /// # Errors
    /// `Unavailable`, `Contended`: ask again. `HistoryLost`: other lanes are open on a history that is gone; open them
    /// all.
    fn open(&mut self, leases: &[Lease]) -> impl Future<Output = Result<Vec<Opened>, StoreFault>> + Send;

    /// Forgets lanes: nothing more is read for them.
    fn close(&mut self, lanes: &[Lane]);

    /// Reads on in the lanes that `wish` names, all of them open.
    ///
    /// Every event whose transaction is committed *and durable* comes once for each opening; of one aggregate in the
    /// order of promise 3. An empty page says whether to ask again at once. A single event larger than
    /// `wish.bytes_max` still comes, alone.
    ///
    /// An event that is parked, or was, does not come: after a re-anchoring that goes back before it, too.
    ///
    /// # Errors
    /// `Unavailable`, `Contended`: nothing was handed over; ask again. `HistoryLost`: open the lanes again.
    fn read(
        &mut self,
        wish: Wish<'_>,
    ) -> impl Future<Output = Result<Page<Self::Mark, Self::Row>, StoreFault>> + Send;
}

/// How a lane was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Which lane.
    pub lane: Lane,
    /// From where it will be read.
    pub anchor: Anchor,
}

/// From where a lane is read after it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// From where its last owner had settled.
    Continued,
    /// From the beginning: no relay had settled anything.
    First,
    /// From a point before anything unsettled, because the database was restored from a copy: events that had been
    /// shipped may be shipped again.
    Restored,
    /// From the last position that survived a failover: events that had been shipped may be shipped again, and
    /// what the failover lost of the database's tail is gone.
    FailedOver,
    /// From an older place that the store can still read, because what it read from is gone, such as a part of the
    /// database's log: events that had been shipped may be shipped again.
    LogLost,
}

/// What a relay has room for.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The lanes to read, in ascending order.
    pub lanes: &'a [Lane],
    /// The most records to hand over.
    pub records_max: u32,
    /// The most bytes to hand over, by [`Row::size_bytes`].
    pub bytes_max: u64,
}

/// What a feed hands over.
#[derive(Clone, Debug)]
pub struct Page<M, R> {
    /// Events, in an order that keeps every aggregate's.
    pub records: Vec<Record<M, R>>,
    /// Marks up to which everything of a lane has now been handed over, so that the positions of quiet lanes can
    /// move too. They come after the page's records.
    pub passed: Vec<(Lane, M)>,
    /// What to expect of the next call.
    pub rest: Rest,
}

/// What to expect of the next reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// There may be more at once.
    More,
    /// Everything committed has been handed over: look again after a while.
    Quiet,
    /// As [`Rest::Quiet`], and the whole log has stood still since the reading before, in the lanes not wished for
    /// too. A store that has a doorbell says it, for a relay lies down only when nobody at all enqueues.
    Still,
    /// Events are there but must wait since then (a slow transaction, a flush): look again soon, and say so.
    Waiting(Timestamp),
}

impl Rest {
    /// Whether everything committed has been handed over.
    pub fn is_quiet(self) -> bool {
        matches!(self, Self::Quiet | Self::Still)
    }
}

/// That there are new events: what wakes a relay that has lain down.
///
/// Advisory: it may ring for nothing, and a ring may be missed (a lost connection); relays poll beside it.
pub trait Doorbell: Send + 'static {
    /// Waits until the store's feed may have something to hand over that its last reading, which was
    /// [`Rest::Still`], did not.
    ///
    /// Who calls: a relay that has little to do. An event that was committed since that reading rings at once, so
    /// nothing falls between looking and waiting.
    ///
    /// Returns how often it rang since it was waited for last; a bell that cannot count says 1. From then on whoever
    /// enqueues goes on ringing until [`Doorbell::get_up`]: what is committed before the bell is waited for again, or
    /// while a waiting that was dropped is not begun anew, ends the next waiting. 0: there may be something, and nobody
    /// rings before the bell is waited for again.
    ///
    /// A store without a bell ([`Capabilities::doorbell`]) waits for ever. So does one that cannot listen just now:
    /// it sees to that by itself, without an error, and says it once.
    fn wait(&mut self) -> impl Future<Output = u32> + Send;

    /// The relay is up: from now on the bell does not burden writers for its sake.
    ///
    /// Who calls: a relay that waits no longer, because more is enqueued than ringing is worth, or because it ends. It
    /// does not fail: what cannot be told to the store now is seen to later. A bell that costs writers nothing has
    /// nothing to do here.
    fn get_up(&mut self) -> impl Future<Output = ()> + Send {
        core::future::ready(())
    }
}

/// How far the events were carried.
pub trait Ledger: Send + 'static {
    /// See [`Store::Mark`].
    type Mark;
    /// See [`Store::Row`].
    type Row;

    /// Moves positions, parks events and changes parked ones: for each lane atomically, durably, and only under its
    /// lease's epoch.
    ///
    /// Repeating a call changes nothing: after an error it may have happened, so the same call is made again,
    /// unchanged, until it answers. A call that arrives late, after its lane has changed hands or after a later call,
    /// changes nothing either. The answers are in the order of `settlements`.
    ///
    /// # Errors
    /// `Unavailable`, `Contended`: repeat it. `HistoryLost`: the marks speak of another history; throw them away.
    fn settle(
        &mut self,
        settlements: &[Settlement<'_, Self::Mark, Self::Row>],
    ) -> impl Future<Output = Result<Vec<Verdict>, StoreFault>> + Send;

    /// Writes down what will be settled when the transaction of this stamp is committed: all of it or nothing, durably,
    /// and only if every lane is held under its lease. Nothing is settled by it. A settlement here may have more items
    /// than [`Capabilities::settle_items_max`].
    ///
    /// Intents form a chain: each names the one before that was committed. Repeating a call changes nothing; one that
    /// comes after another with a greater number changes nothing either.
    ///
    /// # Errors
    /// `Unavailable`, `Contended`: repeat it. `HistoryLost`: as for [`Ledger::settle`]. `Misconfigured`: the store has
    /// no intents.
    fn intend(
        &mut self,
        intent: Intent<'_, Self::Mark, Self::Row>,
    ) -> impl Future<Output = Result<Verdict, StoreFault>> + Send;

    /// Carries out the intents of the chain that ends at `committed`, in its order, as far as they are not settled, and
    /// forgets all others: for leases of all lanes, just gained, after the broker was taken over and before anything of
    /// them is read. With a part of the lanes it is [`Agreement::Fenced`](crate::transaction::Agreement::Fenced) and
    /// changes nothing. Repeating it changes nothing. A call that arrives late, after a later one of the same process
    /// or after its lanes have changed hands, changes nothing either: it would forget what was intended since.
    ///
    /// # Errors
    /// `Unavailable`, `Contended`: repeat it. `Misconfigured`: the store has no intents.
    fn resolve(
        &mut self,
        leases: &[Lease],
        committed: Option<Stamp>,
    ) -> impl Future<Output = Result<Resolved, StoreFault>> + Send;

    /// Lists the unsettled parked events of lanes, oldest first: after [`Feed::open`] and before the first reading,
    /// page by page to the end, because a relay must know which aggregates wait.
    ///
    /// # Errors
    /// `Unavailable`, `Contended`: ask again.
    fn parked(&mut self, ask: ParkedAsk<'_>) -> impl Future<Output = Result<ParkedPage, StoreFault>> + Send;

    /// Hands parked events over again whose time has come, and people's decisions. What it handed over stays parked
    /// until a settlement's changes say what became of it, so asking twice hands it over twice.
    ///
    /// # Errors
    /// `Unavailable`, `Contended`: ask again. `HistoryLost`: as for [`Ledger::settle`].
    fn due(&mut self, ask: DueAsk<'_>)
    -> impl Future<Output = Result<DuePage<Self::Row>, StoreFault>> + Send;
}

/// How far one lane was carried since its last settlement. Never empty in all three parts.
#[derive(Debug)]
pub struct Settlement<'a, M, R> {
    /// Under which lease.
    pub lease: Lease,
    /// The marks newly settled, in the order in which the feed handed them over. With [`Keeps::Log`] the last one
    /// alone.
    pub prefix: &'a [M],
    /// Those of them that were parked instead of shipped, in the same order.
    pub park: Vec<Park<'a, M, R>>,
    /// What became of events that are parked already, in the order in which it happened: applied before
    /// [`park`](Self::park).
    pub changes: Vec<(ParkedKey, Change<'a>)>,
    /// The number of the last transaction all of whose intent for this lane is settled with this, or was before; 0: of
    /// none. `None`: the events are not carried in transactions, and whatever intents there are speak of nothing any
    /// more.
    pub carries: Option<u64>,
}

/// What is settled when a transaction of the broker's is committed.
#[derive(Debug)]
pub struct Intent<'a, M, R> {
    /// The transaction.
    pub stamp: Stamp,
    /// The number of the one committed before it; 0: none that the ledger knows.
    pub after: u64,
    /// Intents with smaller numbers may be forgotten: every lane has settled them, and this one too.
    pub settled: u64,
    /// At most one for each lane; none at all for an empty transaction.
    pub settlements: Vec<Settlement<'a, M, R>>,
    /// Every lease that must hold, those of the settlements among them.
    pub leases: &'a [Lease],
}

/// What became of one settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds, now or already.
    Done,
    /// The lane has changed hands: nothing changed, and nothing of it may be sent any more.
    Fenced,
}

/// Old rows and figures: off the hot path.
pub trait Upkeep: Send + 'static {
    /// Removes what is settled and older than `retention`, and what the store no longer needs of its own books.
    /// Never makes an enqueue wait, and does a bounded piece of work a call.
    ///
    /// # Errors
    /// `Unavailable`, `Contended`: ask again later; nothing depends on it. `Misconfigured`: the retention is longer
    /// than the store can keep.
    fn sweep(&mut self, retention: Duration) -> impl Future<Output = Result<Swept, StoreFault>> + Send;

    /// Takes stock, for people and monitors.
    ///
    /// # Errors
    /// `Unavailable`, `Contended`: ask again later.
    fn gauge(&mut self) -> impl Future<Output = Result<Gauge, StoreFault>> + Send;

    /// What the database's own log keeps for relays, as in [`Gauge::log`]: by itself, for a relay asks it every ten
    /// seconds. `None`: it keeps nothing for them.
    ///
    /// # Errors
    /// `Unavailable`, `Contended`: ask again later.
    fn log(&mut self) -> impl Future<Output = Result<Option<LogGauge>, StoreFault>> + Send;
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Events removed, where the store can count them; a store that drops them in bulk says what it dropped.
    pub events: u64,
    /// Whether there was more to do.
    pub more: bool,
}

/// The state of an outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gauge {
    /// The store's clock when it was taken.
    pub at: Timestamp,
    /// Every lane, in ascending order.
    pub lanes: Vec<LaneGauge>,
    /// Relays seen lately, in the order of their names.
    pub relays: Vec<RelayGauge>,
    /// What the database's own log keeps for relays; `None`: nothing, as where they read a table.
    pub log: Option<LogGauge>,
}

/// What a database keeps of its own log for relays that read it, carried or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogGauge {
    /// So many bytes: they take room on the database's disk, and grow while nobody carries.
    pub kept_bytes: u64,
    /// So many more may be written before the database lets go of what it keeps; `None`: it never does.
    pub spare_bytes: Option<u64>,
    /// It has let go.
    pub lost: bool,
}

/// The state of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneGauge {
    /// Which lane.
    pub lane: Lane,
    /// Who owns it, whether or not its lease still runs.
    pub owner: Option<String>,
    /// Its epoch.
    pub epoch: u64,
    /// Committed events that are not settled, up to [`LAG_RECORDS_MAX`] over all lanes.
    pub lag_records: u64,
    /// When the oldest of them was enqueued.
    pub oldest_unsettled: Option<Timestamp>,
    /// Unsettled parked events, those that wait behind others included.
    pub parked: u64,
}

/// Counting lag stops at this many events over all lanes: a figure that reaches it means "at least".
pub const LAG_RECORDS_MAX: u64 = 1_000_000;

/// The state of a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayGauge {
    /// What it calls itself.
    pub id: String,
    /// Its last heartbeat.
    pub last_beat: Timestamp,
    /// Whether its leases still run.
    pub live: bool,
}
