//! eventferry's PostgreSQL store: the outbox as a log, read through snapshot windows.
//!
//! Applications append events in their own transactions ([`PostgresOutbox`], or `eventferry.enqueue()` in SQL). Relays
//! read what is visible in one snapshot and was not in the one before ([`PostgresFeed`]); no statement updates or
//! deletes an event while events flow. PostgreSQL 14 to 18, also through a transaction pooler.

mod config;
mod connection;
mod desk;
mod doorbell;
pub mod enqueue;
mod fault;
mod feed;
mod lanes;
mod ledger;
mod options;
mod page;
mod password;
mod row;
mod schema;
mod tail;
mod tls;
mod topics;
mod upkeep;
mod window;

pub use config::{FeedChoice, PostgresConfig};
pub use desk::PostgresDesk;
pub use doorbell::PostgresDoorbell;
pub use enqueue::{Emit, PostgresOutbox};
pub use feed::PostgresFeed;
pub use lanes::PostgresLanes;
pub use ledger::PostgresLedger;
pub use schema::sql as schema_sql;
pub use upkeep::PostgresUpkeep;
pub use window::PostgresMark;

use connection::{Company, Connection};
use doorbell::Outlook;
use eventferry_core::PackedRow;
use eventferry_core::StoreFault;
use eventferry_core::store::{
    Capabilities, Keeps, Order, Ownership, Prepare, Prepared, RelayId, Roles, Stall, Store,
};
use ledger::Positions;

/// The largest payload that can be enqueued: 16 MiB.
pub const PAYLOAD_BYTES_MAX: u64 = 16 << 20;

/// An outbox in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStore {
    config: PostgresConfig,
    lanes_total: u16,
    /// Whether inserts ring, as far as is known.
    doorbell: bool,
}

impl PostgresStore {
    /// The outbox in the database that `config` reaches. Connects to nothing yet.
    pub fn new(config: PostgresConfig) -> Self {
        Self { config, lanes_total: eventferry_core::lane::LANES_DEFAULT, doorbell: true }
    }

    /// There is one slot, so whoever reads the tail has all lanes.
    fn ownership(&self) -> Ownership {
        if self.config.feed.is_tail() { Ownership::Whole } else { Ownership::PerLane }
    }
}

impl Store for PostgresStore {
    type Mark = PostgresMark;
    type Row = PackedRow;
    type Lanes = PostgresLanes;
    type Feed = PostgresFeed;
    type Doorbell = PostgresDoorbell;
    type Ledger = PostgresLedger;
    type Upkeep = PostgresUpkeep;
    type Desk = PostgresDesk;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            order: Order::Strict,
            keeps: Keeps::Log,
            ownership: self.ownership(),
            stall: Stall::None,
            savepoints: true,
            // Whoever reads the tail waits for the log itself.
            doorbell: self.doorbell && !self.config.feed.is_tail(),
            events_per_transaction_max: u64::MAX,
            in_table: self.config.feed != FeedChoice::TailMessages,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            settle_items_max: 10_000,
            intents: true,
        }
    }

    async fn prepare(&mut self, prepare: Prepare) -> Result<Prepared, StoreFault> {
        let mut connection = Connection::new(self.config.clone());
        let found = schema::prepare(&mut connection, prepare, &self.config).await?;
        self.lanes_total = found.prepared.lanes;
        self.doorbell = found.doorbell;
        if self.config.feed.is_tail() {
            tail::make(&mut connection, &self.config, prepare).await?;
        }
        Ok(found.prepared)
    }

    fn roles(self, relay: &RelayId) -> Roles<Self> {
        let company = Company::default();
        let connection = || Connection::of_role(self.config.clone(), &company);
        let positions = Positions::default();
        let outlook = Outlook::default();
        Roles {
            lanes: PostgresLanes::new(connection(), relay, self.ownership()),
            feed: PostgresFeed::new(
                &self.config,
                connection(),
                positions.clone(),
                outlook.clone(),
                self.lanes_total,
            ),
            doorbell: PostgresDoorbell::new(self.config.clone(), outlook),
            ledger: PostgresLedger::new(connection(), relay, positions),
            upkeep: PostgresUpkeep::new(connection()),
            desk: PostgresDesk::new(connection()),
        }
    }
}
