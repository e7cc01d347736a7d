//! What must hold before the log's tail is read, said clearly where it does not: the server's settings, the slot, the
//! publication, and whether replication is to be had where it will be asked for.

use eventferry_core::StoreFault;
use eventferry_core::store::Prepare;

use super::wire::Wire;
use crate::config::PostgresConfig;
use crate::connection::Connection;
use crate::fault::misconfigured;

/// What the catalogs say.
pub(super) struct Ready {
    slots_max: i32,
    senders_max: i32,
    /// Whether the slot is one of ours; `None`: there is none.
    is_ours: Option<bool>,
    /// Whether the publication is as we make it; `None`: there is none.
    publishes: Option<bool>,
    /// Which publication it is.
    pub(super) publication: Option<String>,
    system_identifier: i64,
    database: String,
}

impl Ready {
    /// Looks at the catalogs.
    pub(super) async fn look(connection: &mut Connection) -> Result<Self, StoreFault> {
        let client = connection.client().await?;
        let query = client.query_typed_one(include_str!("../../sql/tail_ready.sql"), &[]);
        let row = connection.answer("look at what replication needs", query).await?;
        Ok(Self {
            slots_max: row.get(0),
            senders_max: row.get(1),
            is_ours: row.get(2),
            publishes: row.get(3),
            publication: row.get(4),
            system_identifier: row.get(5),
            database: row.get(6),
        })
    }

    /// Whether the publication is there.
    pub(super) fn has_publication(&self) -> bool {
        self.publishes.is_some()
    }

    /// What of the server and of others' doing is in the way.
    pub(super) fn check(&self, prepare: Prepare) -> Result<(), StoreFault> {
        if self.slots_max == 0 || self.senders_max == 0 {
            return Err(misconfigured(format!(
                "max_replication_slots is {}, max_wal_senders {}, and the log's tail needs one of each, better two; \
                 set them, and restart the server",
                self.slots_max, self.senders_max
            )));
        }
        if self.is_ours == Some(false) {
            return Err(misconfigured(
                "the replication slot that bears this outbox's name (SELECT eventferry.tail_slot()) was not made by \
                 eventferry: it has another plugin than pgoutput, another database, or two_phase; drop it by \
                 `SELECT pg_drop_replication_slot(eventferry.tail_slot())`, and make ours by `eventferry init --tail`",
            ));
        }
        match self.publishes {
            Some(false) => Err(misconfigured(
                "the publication `eventferry` does not have every insert into eventferry.outbox: somebody changed it; \
                 drop it by `DROP PUBLICATION eventferry`, and run `eventferry init --tail`",
            )),
            None if prepare == Prepare::Check => Err(misconfigured(
                "there is no publication `eventferry`; make it by `eventferry init --tail --store URL`",
            )),
            _ => Ok(()),
        }
    }

    /// Asks for replication where a relay will, and hangs up: so that what is in the way is said at the start, and not
    /// when a relay that stands by has to take over.
    pub(super) async fn knock(&self, config: &PostgresConfig) -> Result<(), StoreFault> {
        let there = Wire::identify(config).await?;
        let what = if there.system_identifier.cast_signed() != self.system_identifier {
            "cluster"
        } else if there.database.as_ref() != Some(&self.database) {
            "database"
        } else {
            return Ok(());
        };
        Err(misconfigured(format!(
            "replication is had from another {what} than the store's URL leads to; correct --replication-url"
        )))
    }
}
