//! eventferry's SQLite store: the outbox as a log in the application's own file, read by row id.
//!
//! Applications append events in their own transactions ([`SqliteOutbox`], or a plain `INSERT INTO eventferry_outbox
//! (topic, aggregate_type, aggregate_id, payload)` in any language; never give an id). Relays on the same host read
//! what lies above their positions ([`SqliteFeed`]); no statement updates or deletes an event while events flow.
//!
//! For exactly-once delivery, what a transaction of the broker's settles is written into `eventferry_intent` and
//! `eventferry_intent_item` before it is committed, and whoever carries next carries it out if it was. A copy of the
//! file has the outbox's name at the broker (`eventferry_identity`): a restored copy takes over from the original, and
//! two that carry at once fence each other. Give a copy that is to live beside it another name: `UPDATE
//! eventferry_identity SET outbox = lower(hex(randomblob(16)))`.
//!
//! The database is in WAL mode, on a local file system. A commit may be visible before it is on the disk; events are
//! handed over only once the log is, whatever `synchronous` the application uses, `OFF` excepted. What else the
//! application must see to is said at [`SqliteOutbox`].

mod config;
mod connection;
mod desk;
mod doorbell;
mod enqueue;
mod fault;
mod feed;
mod lanes;
mod ledger;
mod row;
mod schema;
mod topics;
mod upkeep;

pub use config::SqliteConfig;
pub use desk::SqliteDesk;
pub use doorbell::SqliteDoorbell;
pub use enqueue::{SqliteOutbox, Within};
pub use feed::{SqliteFeed, SqliteMark};
pub use lanes::SqliteLanes;
pub use ledger::SqliteLedger;
pub use schema::sql as schema_sql;
pub use upkeep::SqliteUpkeep;

use connection::Connection;
use doorbell::Seen;
use eventferry_core::PackedRow;
use eventferry_core::StoreFault;
use eventferry_core::store::{
    Capabilities, Keeps, Order, Ownership, Prepare, Prepared, RelayId, Roles, Stall, Store,
};

/// The largest payload that can be enqueued: 16 MiB.
pub const PAYLOAD_BYTES_MAX: u64 = 16 << 20;

/// An outbox in a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    config: SqliteConfig,
}

impl SqliteStore {
    /// The outbox in the file that `config` names. Opens nothing yet.
    pub fn new(config: SqliteConfig) -> Self {
        Self { config }
    }
}

impl Store for SqliteStore {
    type Mark = SqliteMark;
    type Row = PackedRow;
    type Lanes = SqliteLanes;
    type Feed = SqliteFeed;
    type Doorbell = SqliteDoorbell;
    type Ledger = SqliteLedger;
    type Upkeep = SqliteUpkeep;
    type Desk = SqliteDesk;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            order: Order::Strict,
            keeps: Keeps::Log,
            ownership: Ownership::PerLane,
            stall: Stall::None,
            savepoints: true,
            doorbell: true,
            events_per_transaction_max: u64::MAX,
            in_table: true,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            settle_items_max: 10_000,
            intents: true,
        }
    }

    async fn prepare(&mut self, prepare: Prepare) -> Result<Prepared, StoreFault> {
        Connection::new(self.config.clone(), "prepare")
            .ask(move |keeper| schema::prepare(&keeper.config, prepare))
            .await
    }

    fn roles(self, relay: &RelayId) -> Roles<Self> {
        let seen = Seen::default();
        Roles {
            lanes: SqliteLanes::new(self.config.clone(), relay),
            feed: SqliteFeed::new(self.config.clone(), seen.clone()),
            doorbell: SqliteDoorbell::new(self.config.clone(), seen),
            ledger: SqliteLedger::new(self.config.clone(), relay),
            upkeep: SqliteUpkeep::new(self.config.clone()),
            desk: SqliteDesk::new(self.config),
        }
    }
}
