//! The slot's life: made with its publication, taken over from a former owner, lost and made anew.

use std::time::Duration;

use eventferry_core::store::Prepare;
use eventferry_core::{StoreFault, StoreFaultKind};
use tokio_postgres::types::{ToSql, Type};

use super::ready::Ready;
use crate::config::{FeedChoice, PostgresConfig};
use crate::connection::{Company, Connection};
use crate::fault::misconfigured;

/// The slot as it is.
pub(super) struct Slot {
    pub(super) name: String,
    /// It was made once; if it is not there, it was lost.
    made: bool,
    present: bool,
    lost: bool,
    /// What was committed before is not in it.
    pub(super) confirmed: u64,
    active_pid: Option<i32>,
    wal_level: String,
    /// Above the xid of all that was committed before `confirmed`.
    pub(super) horizon: u64,
}

/// A slot that is being made while the table is read: that takes as long as the longest transaction lasts.
pub(super) struct Making(tokio::task::JoinHandle<()>);

/// How long a slot is waited for before it is begun anew.
const MAKING_MAX: Duration = Duration::from_secs(3600);

/// How long until a slot is tried again that could not be made.
const MAKING_PAUSE: Duration = Duration::from_secs(5);

impl Making {
    /// Makes a slot in place of a lost one, again and again until it is there.
    pub(super) fn start(config: &PostgresConfig) -> Self {
        let config = config.clone().call_timeout(MAKING_MAX);
        Self(tokio::spawn(async move {
            let mut connection = Connection::of_role(config, &Company::default());
            let mut told = String::new();
            loop {
                let made = async { Slot::take_over(&mut connection).await?.remake(&mut connection).await };
                let Err(fault) = made.await else { return };
                if *fault.message() != told {
                    tracing::warn!(%fault, "there is no new replication slot yet: events are read from the table");
                    fault.message().clone_into(&mut told);
                }
                // waits: for whoever mends it
                tokio::time::sleep(MAKING_PAUSE).await;
            }
        }))
    }

    /// Whether it is there.
    pub(super) fn is_done(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Slot {
    /// Looks at it.
    pub(super) async fn look(connection: &mut Connection) -> Result<Self, StoreFault> {
        let client = connection.client().await?;
        let query = client.query_typed_one(include_str!("../../sql/tail_state.sql"), &[]);
        let row = connection.answer("look at the replication slot", query).await?;
        Ok(Self {
            made: row.get(0),
            present: row.get(1),
            lost: row.get(2),
            confirmed: row.get::<_, Option<i64>>(3).unwrap_or(0).cast_unsigned(),
            active_pid: row.get(4),
            wal_level: row.get(5),
            horizon: row.get::<_, &str>(6).parse().unwrap_or(u64::MAX),
            name: row.get(7),
        })
    }

    /// Whether all that was committed since `confirmed` can be had from it.
    pub(super) fn lives(&self) -> bool {
        self.present && !self.lost
    }

    /// Ends whoever still reads from it: a former owner, whose lease is over.
    pub(super) async fn take_over(connection: &mut Connection) -> Result<Self, StoreFault> {
        for _ in 0..100 {
            let slot = Self::look(connection).await?;
            let Some(pid) = slot.active_pid else { return Ok(slot) };
            let client = connection.client().await?;
            let params: [(&(dyn ToSql + Sync), Type); 1] = [(&pid, Type::INT4)];
            let query = client.query_typed(include_str!("../../sql/end_tail.sql"), &params);
            connection.answer("end the former reader of the replication slot", query).await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(StoreFault::new(
            StoreFaultKind::Unavailable,
            "another session has the replication slot and keeps it; end the process that pg_replication_slots names as \
             its active_pid",
        ))
    }

    /// Makes it, in place of a lost one.
    pub(super) async fn remake(&self, connection: &mut Connection) -> Result<(), StoreFault> {
        // It takes as long as the longest transaction lasts, and one that was prepared and forgotten lasts for ever.
        const WHAT: &str = "make the replication slot (it waits for all transactions that are open: see \
             pg_stat_activity and pg_prepared_xacts)";
        if self.present {
            let client = connection.client().await?;
            let query = client.query_typed(include_str!("../../sql/drop_tail.sql"), &[]);
            connection.answer(WHAT, query).await?;
        }
        let client = connection.client().await?;
        let version: i32 = {
            let query = client.query_typed_one("SELECT current_setting('server_version_num')::integer", &[]);
            connection.answer(WHAT, query).await?.get(0)
        };
        let make = if version >= 170_000 {
            include_str!("../../sql/make_tail_17.sql")
        } else {
            include_str!("../../sql/make_tail.sql")
        };
        let row = connection.answer(WHAT, client.query_typed_one(make, &[])).await?;
        let from: i64 = row.get(0);
        let params: [(&(dyn ToSql + Sync), Type); 1] = [(&from, Type::INT8)];
        let query = client.query_typed(include_str!("../../sql/note_tail.sql"), &params);
        connection.answer(WHAT, query).await.map(drop)
    }

    /// What is said of a lost slot where nothing else has its events.
    pub(super) fn gone(&self) -> StoreFault {
        misconfigured(
            "the replication slot is lost, and with it events that were emitted and not yet carried; look in the \
             server's log for why, then accept it by `eventferry init --tail --accept-loss`, which makes a new one",
        )
    }
}

/// Checks that the log's tail can be read, or makes what that needs.
pub(crate) async fn make(
    connection: &mut Connection,
    config: &PostgresConfig,
    prepare: Prepare,
) -> Result<(), StoreFault> {
    let slot = Slot::look(connection).await?;
    if slot.wal_level != "logical" {
        return Err(misconfigured(format!(
            "wal_level is `{}`, and the log's tail needs `logical`; set it (on a managed database by the switch that \
             its documents name for logical replication), and restart the server",
            slot.wal_level
        )));
    }
    let ready = Ready::look(connection).await?;
    ready.check(prepare)?;
    if prepare == Prepare::Check {
        if slot.made && !slot.lives() && config.feed == FeedChoice::TailMessages {
            return Err(slot.gone());
        }
        if !slot.made {
            return Err(misconfigured(
                "there is no replication slot for this outbox; make it by `eventferry init --tail --store URL`",
            ));
        }
        return ready.knock(config).await;
    }
    ask(connection, "make the publication", include_str!("../../sql/make_publication.sql")).await?;
    if config.closes_messages {
        ask(connection, "close the raw messages", include_str!("../../sql/close_messages.sql")).await?;
    }
    // What was inserted while there was no publication is not to be had from the slot, and it does not say so.
    let is_blind = slot.lives() && !ready.has_publication() && config.feed != FeedChoice::TailMessages;
    if slot.lives() && !is_blind && !config.accepts_loss {
        return Ok(());
    }
    if slot.made && !is_blind && !config.accepts_loss {
        if config.feed == FeedChoice::TailMessages {
            return Err(slot.gone());
        }
        // It may have held messages that nobody had carried: a person is to know before it is made anew.
        tracing::warn!(
            "the replication slot is lost: a relay of `--feed tail` makes a new one by itself and finds all in the \
             table; for `--feed messages` look in the server's log for why, and accept the loss by `--accept-loss`"
        );
        return Ok(());
    }
    if !slot.lives() || is_blind {
        Slot::take_over(connection).await?.remake(connection).await?;
    }
    if config.accepts_loss {
        ask(connection, "accept the loss", include_str!("../../sql/forget_tail.sql")).await?;
    }
    Ok(())
}

async fn ask(connection: &mut Connection, what: &str, statement: &str) -> Result<(), StoreFault> {
    let client = connection.client().await?;
    connection.answer(what, client.batch_execute(statement)).await
}
