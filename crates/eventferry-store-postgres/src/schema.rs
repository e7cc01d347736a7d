//! The schema: its migrations, and what must hold before a relay may run.

use std::time::Duration;

use eventferry_core::store::{Prepare, Prepared};
use eventferry_core::{OutboxId, StoreFault};
use tokio_postgres::types::{ToSql, Type};

use crate::config::PostgresConfig;
use crate::connection::Connection;
use crate::fault::misconfigured;

/// The migrations, each runnable in any client, in order. A version is its place in this list, counted from 1.
pub(crate) const MIGRATIONS: [&str; 13] = [
    include_str!("../migrations/0001_outbox.sql"),
    include_str!("../migrations/0002_enqueue.sql"),
    include_str!("../migrations/0003_relay.sql"),
    include_str!("../migrations/0004_upkeep.sql"),
    include_str!("../migrations/0005_parked.sql"),
    include_str!("../migrations/0006_claims.sql"),
    include_str!("../migrations/0007_doorbell.sql"),
    include_str!("../migrations/0008_tail.sql"),
    include_str!("../migrations/0009_look.sql"),
    include_str!("../migrations/0010_bed.sql"),
    include_str!("../migrations/0011_pay.sql"),
    include_str!("../migrations/0012_flat_look.sql"),
    include_str!("../migrations/0013_intents.sql"),
];

/// What is done when the schema is made.
pub(crate) const APPLY: &str = "apply the schema";

/// The version this code needs.
const VERSION: u32 = MIGRATIONS.len() as u32;

/// The whole schema as one script for migration tools, from an empty database on.
pub fn sql() -> String {
    let mut script = String::from("BEGIN;\n");
    for (migration, version) in MIGRATIONS.iter().zip(1..) {
        script.push_str(migration);
        script.push_str(&format!("\nINSERT INTO eventferry.migration (version) VALUES ({version});\n\n"));
    }
    script.push_str("COMMIT;\n");
    script
}

/// What was found or made.
pub(crate) struct Found {
    pub(crate) prepared: Prepared,
    /// Whether inserts ring.
    pub(crate) doorbell: bool,
}

pub(crate) async fn prepare(
    connection: &mut Connection,
    prepare: Prepare,
    config: &PostgresConfig,
) -> Result<Found, StoreFault> {
    let found = version(connection, prepare).await?;
    let mut upgraded_from = None;
    match (found.unwrap_or(0), prepare) {
        (version, _) if version > VERSION => {
            return Err(misconfigured(format!(
                "the schema `eventferry` has version {version}, and this program knows {VERSION}; use a newer program"
            )));
        }
        (VERSION, _) => {}
        (0, Prepare::Check) => {
            return Err(misconfigured(
                "the database has no schema `eventferry`; create it by `eventferry init --store URL`, \
                 or by your migration tool from `eventferry init --print-sql --store postgres:`",
            ));
        }
        (version, Prepare::Check) => {
            return Err(misconfigured(format!(
                "the schema `eventferry` has version {version}, and this program needs {VERSION}; \
                 upgrade it by `eventferry init --store URL`"
            )));
        }
        (version, Prepare::Apply) => {
            apply(connection, version).await?;
            upgraded_from = Some(version);
        }
    }
    if prepare == Prepare::Apply {
        if let Some(slot) = config.slot {
            set_slot(connection, slot).await?;
        }
        if let Some(hung) = config.doorbell {
            set_doorbell(connection, hung).await?;
        }
    }
    let (lanes, doorbell, outbox) = check(connection).await?;
    Ok(Found { prepared: Prepared { version: VERSION, upgraded_from, lanes, outbox }, doorbell })
}

/// The version of the schema; `None`: there is none.
async fn version(connection: &mut Connection, prepare: Prepare) -> Result<Option<u32>, StoreFault> {
    const WHAT: &str = "look at the schema";
    let client = connection.client().await?;
    let query = client.query_typed_one(include_str!("../sql/has_schema.sql"), &[]);
    let row = connection.answer(WHAT, query).await?;
    if let Some(fault) = too_old(row.get(2)) {
        return Err(fault);
    }
    if !row.get::<_, bool>(0) {
        return Ok(None);
    }
    if !row.get::<_, bool>(1) {
        let remedy = match prepare {
            Prepare::Check => "grant it by `SELECT eventferry.grant_relay('ROLE')` as its owner",
            Prepare::Apply => "connect as its owner",
        };
        return Err(misconfigured(format!("no privilege on the schema `eventferry`; {remedy}")));
    }
    let client = connection.client().await?;
    let query = client.query_typed_one(include_str!("../sql/version.sql"), &[]);
    let row = connection.answer(WHAT, query).await?;
    Ok(Some(u32::try_from(row.get::<_, i32>(0)).unwrap_or(0)))
}

/// The oldest PostgreSQL that has what we need, as `server_version_num` has it.
const OLDEST: i32 = 140_000;

/// What is said of a server of this version, if it is too old.
fn too_old(version: i32) -> Option<StoreFault> {
    let release = if version < 100_000 {
        format!("{}.{}", version / 10_000, version / 100 % 100)
    } else {
        (version / 10_000).to_string()
    };
    let message =
        format!("the server is PostgreSQL {release}, and eventferry needs 14 or later; upgrade the server");
    (version < OLDEST).then(|| misconfigured(message))
}

async fn apply(connection: &mut Connection, from: u32) -> Result<(), StoreFault> {
    // One transaction, and one program at a time: whoever comes second finds it done and fails on the version's key.
    let mut script = String::from("BEGIN ISOLATION LEVEL READ COMMITTED;\n");
    for (migration, version) in MIGRATIONS.iter().zip(1..).skip(from as usize) {
        script.push_str(migration);
        script.push_str(&format!("\nINSERT INTO eventferry.migration (version) VALUES ({version});\n"));
    }
    script.push_str("COMMIT;");
    let client = connection.client().await?;
    let applied = connection.answer(APPLY, client.batch_execute(&script)).await;
    if applied.is_err() {
        // The failed transaction is still open.
        let rollback = connection.answer(APPLY, client.batch_execute("ROLLBACK")).await;
        if rollback.is_err() {
            tracing::debug!("could not roll back");
        }
        if version(connection, Prepare::Apply).await?.is_some_and(|version| version == VERSION) {
            return Ok(());
        }
    }
    applied
}

async fn set_slot(connection: &mut Connection, slot: Duration) -> Result<(), StoreFault> {
    const WHAT: &str = "set the length of a slot";
    let seconds = i32::try_from(slot.as_secs()).unwrap_or(i32::MAX);
    let client = connection.client().await?;
    let params: [(&(dyn ToSql + Sync), Type); 1] = [(&seconds, Type::INT4)];
    let query = client.query_typed(include_str!("../sql/set_slot.sql"), &params);
    connection.answer(WHAT, query).await.map(drop)
}

async fn set_doorbell(connection: &mut Connection, hung: bool) -> Result<(), StoreFault> {
    let client = connection.client().await?;
    let params: [(&(dyn ToSql + Sync), Type); 1] = [(&hung, Type::BOOL)];
    let query = client.query_typed(include_str!("../sql/set_doorbell.sql"), &params);
    connection.answer("set the doorbell", query).await.map(drop)
}

/// What must hold of the server and the role; returns the number of lanes, whether the doorbell hangs, and what the
/// outbox is called at the broker.
async fn check(connection: &mut Connection) -> Result<(u16, bool, OutboxId), StoreFault> {
    const WHAT: &str = "check the schema";
    let client = connection.client().await?;
    let params: [(&(dyn ToSql + Sync), Type); 0] = [];
    let query = client.query_typed_one(include_str!("../sql/check.sql"), &params);
    let row = connection.answer(WHAT, query).await?;
    let lanes: i64 = row.get(0);
    if row.get::<_, i64>(1) != 1 {
        return Err(misconfigured(
            "the sequence eventferry.outbox_id caches ids, which would reorder events; \
             run ALTER SEQUENCE eventferry.outbox_id CACHE 1",
        ));
    }
    if let Some(lacking) = row.get::<_, Option<String>>(2) {
        return Err(misconfigured(format!(
            "the role lacks privileges on {lacking}; grant them by `SELECT eventferry.grant_relay('ROLE')` \
             as the schema's owner"
        )));
    }
    let isolation: &str = row.get(3);
    if isolation != "read committed" {
        return Err(misconfigured(format!(
            "the role's transactions are {}, and eventferry needs READ COMMITTED; \
             run ALTER ROLE ... SET default_transaction_isolation = 'read committed'",
            isolation.to_uppercase()
        )));
    }
    Ok((u16::try_from(lanes).unwrap_or(u16::MAX), row.get(4), OutboxId(row.get(5))))
}

#[cfg(test)]
mod tests {
    use eventferry_core::StoreFaultKind;

    use super::*;

    #[test]
    fn a_server_that_is_too_old_is_named_with_its_release() {
        for (version, says) in [(90_624, "PostgreSQL 9.6,"), (130_022, "PostgreSQL 13,")] {
            let fault = too_old(version).unwrap();
            assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured);
            assert!(fault.message().contains(says), "{fault}");
        }
        assert!(too_old(140_000).is_none() && too_old(180_001).is_none());
    }
}
