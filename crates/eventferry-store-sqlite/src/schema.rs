//! The schema: its migrations, and what must hold before a relay may run.

use eventferry_core::lane::LANES_DEFAULT;
use eventferry_core::store::{Prepare, Prepared};
use eventferry_core::{OutboxId, StoreFault, StoreFaultKind};
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use crate::config::SqliteConfig;
use crate::connection::{check_log_mode, open};
use crate::fault::fault;

/// The migrations, each runnable in any client, in order. A version is its place in this list, counted from 1.
pub(crate) const MIGRATIONS: [&str; 3] = [
    include_str!("../migrations/0001_outbox.sql"),
    include_str!("../migrations/0002_parked.sql"),
    include_str!("../migrations/0003_intents.sql"),
];

/// The version this code needs.
const VERSION: u32 = MIGRATIONS.len() as u32;

/// The whole schema as one script for migration tools, from a database without it on, with 64 lanes.
pub fn sql() -> String {
    let mut script = String::from("PRAGMA journal_mode = WAL;\nBEGIN;\n");
    for (migration, version) in MIGRATIONS.iter().zip(1..) {
        script.push_str(migration);
        script.push_str(&format!("\nINSERT INTO eventferry_migration (version) VALUES ({version});\n\n"));
    }
    script.push_str("COMMIT;\n");
    script
}

/// Checks the schema or applies it, on a connection of its own.
pub(crate) fn prepare(config: &SqliteConfig, prepare: Prepare) -> Result<Prepared, StoreFault> {
    let mut sqlite = match prepare {
        Prepare::Check => open_existing(config)?,
        Prepare::Apply => open_or_create(config)?,
    };
    let found = version(&sqlite)?;
    let upgraded_from = match (judge(found, VERSION)?, prepare) {
        (Need::Nothing, _) => None,
        (Need::Upgrade(message), Prepare::Check) => return Err(misconfigured(message)),
        (Need::Upgrade(_), Prepare::Apply) => apply(&mut sqlite, config.lanes)?,
    };
    check_log_mode(&sqlite)?;
    let lanes = check_lanes(&sqlite, config.lanes)?;
    Ok(Prepared { version: VERSION, upgraded_from, lanes, outbox: outbox(&sqlite)? })
}

/// What the broker calls this outbox.
fn outbox(sqlite: &Connection) -> Result<OutboxId, StoreFault> {
    let named = sqlite.query_row(include_str!("../sql/outbox.sql"), [], |row| row.get(0)).optional();
    let named: Option<String> = named.map_err(|error| fault("look for the outbox's name", error))?;
    named.filter(|name| (1..=OUTBOX_ID_CHARS_MAX).contains(&name.chars().count())).map(OutboxId).ok_or_else(
        || {
            misconfigured(format!(
                "eventferry_identity names no outbox; put a row back whose `outbox` is a text of 1 to \
             {OUTBOX_ID_CHARS_MAX} characters, unlike any other outbox's"
            ))
        },
    )
}

/// The longest name of an outbox.
const OUTBOX_ID_CHARS_MAX: usize = 200;

/// What a schema of some version needs before this code can use it.
#[derive(Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    /// Migrations; the message says so to somebody who did not ask for them.
    Upgrade(String),
}

fn judge(found: u32, needed: u32) -> Result<Need, StoreFault> {
    if found > needed {
        return Err(misconfigured(format!(
            "the eventferry tables have version {found}, and this program knows {needed}; use a newer program"
        )));
    }
    Ok(match found {
        found if found == needed => Need::Nothing,
        0 => Need::Upgrade(
            "the database has no eventferry tables; create them by `eventferry init --store URL`, \
             or by your migration tool from `eventferry init --print-sql --store sqlite:`"
                .into(),
        ),
        older => Need::Upgrade(format!(
            "the eventferry tables have version {older}, and this program needs {needed}; \
             upgrade them by `eventferry init --store URL`"
        )),
    })
}

fn open_existing(config: &SqliteConfig) -> Result<Connection, StoreFault> {
    if !config.path.exists() {
        return Err(misconfigured(format!(
            "there is no database `{}`; name the application's file, or create it by `eventferry init --store URL`",
            config.path.display()
        )));
    }
    open(config, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

fn open_or_create(config: &SqliteConfig) -> Result<Connection, StoreFault> {
    const WHAT: &str = "switch the database to WAL mode";
    if let Some(folder) = config.path.parent().filter(|folder| !folder.as_os_str().is_empty())
        && !folder.is_dir()
    {
        return Err(misconfigured(format!(
            "there is no folder `{}` for the database; create it",
            folder.display()
        )));
    }
    let sqlite = open(config, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    let mode: String = sqlite
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(|error| fault(WHAT, error))?;
    if mode != "wal" {
        return Err(misconfigured(format!(
            "the database stays in journal mode {mode} and cannot be switched to WAL, which eventferry needs; \
             put it on a local file system (WAL needs shared memory)"
        )));
    }
    sqlite.pragma_update(None, "synchronous", "FULL").map_err(|error| fault(WHAT, error))?;
    Ok(sqlite)
}

/// The schema's version; 0: there is none.
fn version(sqlite: &Connection) -> Result<u32, StoreFault> {
    const WHAT: &str = "look at the schema";
    let read = || {
        if sqlite.query_row(include_str!("../sql/has_schema.sql"), [], |row| row.get::<_, i64>(0))? == 0 {
            return Ok(0);
        }
        sqlite.query_row(include_str!("../sql/version.sql"), [], |row| row.get::<_, u32>(0))
    };
    read().map_err(|error| fault(WHAT, error))
}

/// Runs what is missing in one transaction; says from which version, unless another program was faster.
fn apply(sqlite: &mut Connection, lanes: Option<u16>) -> Result<Option<u32>, StoreFault> {
    const WHAT: &str = "apply the schema";
    let transaction = sqlite
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| fault(WHAT, error))?;
    // Once more, now that nobody else can be at it.
    let found = version(&transaction)?;
    if judge(found, VERSION)? == Need::Nothing {
        return Ok(None);
    }
    let run = || {
        for (migration, version) in MIGRATIONS.iter().zip(1..).skip(found as usize) {
            transaction.execute_batch(migration)?;
            transaction.execute(include_str!("../sql/set_version.sql"), [version])?;
        }
        if found == 0 {
            transaction.execute(include_str!("../sql/remove_lanes.sql"), [lanes.unwrap_or(LANES_DEFAULT)])?;
            transaction.execute(include_str!("../sql/add_lanes.sql"), [lanes.unwrap_or(LANES_DEFAULT)])?;
        }
        Ok(())
    };
    run().map_err(|error| fault(WHAT, error))?;
    transaction.commit().map_err(|error| fault(WHAT, error))?;
    Ok(Some(found))
}

/// How many lanes there are: as many as asked for, and without a hole.
fn check_lanes(sqlite: &Connection, asked: Option<u16>) -> Result<u16, StoreFault> {
    let lanes = lanes_total(sqlite)?;
    let first_missing: Option<i64> = sqlite
        .query_row(include_str!("../sql/missing_lane.sql"), [], |row| row.get(0))
        .optional()
        .map_err(|error| fault("look at the lanes", error))?;
    if let Some(lane) = first_missing {
        return Err(misconfigured(format!(
            "lane {lane} is missing in eventferry_lane, and its events would never be shipped; \
             put the row back, with position 0 to ship again whatever retention has kept"
        )));
    }
    match asked {
        Some(asked) if asked != lanes => Err(misconfigured(format!(
            "the outbox has {lanes} lanes, and its configuration says {asked}; \
             the number cannot be changed, so say {lanes} or leave it out"
        ))),
        _ => Ok(lanes),
    }
}

/// How many lanes the outbox has.
pub(crate) fn lanes_total(sqlite: &Connection) -> Result<u16, StoreFault> {
    let lanes: i64 = sqlite
        .prepare_cached(include_str!("../sql/lanes_total.sql"))
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(|error| fault("look at the lanes", error))?;
    u16::try_from(lanes).ok().filter(|lanes| *lanes > 0).ok_or_else(|| {
        misconfigured(format!("the outbox has {lanes} lanes; run `eventferry init` on a database of its own"))
    })
}

fn misconfigured(message: String) -> StoreFault {
    StoreFault::new(StoreFaultKind::Misconfigured, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_needed_version_needs_nothing() {
        assert_eq!(judge(3, 3).unwrap(), Need::Nothing);
        for (found, says) in [(0, "no eventferry tables"), (2, "version 2, and this program needs 3")] {
            match judge(found, 3).unwrap() {
                Need::Upgrade(message) => {
                    assert!(message.contains(says) && message.contains("eventferry init"), "{message}");
                }
                Need::Nothing => panic!("version {found} needs an upgrade"),
            }
        }
        let fault = judge(4, 3).unwrap_err();
        assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured);
        assert!(fault.to_string().contains("newer program"), "{fault}");
    }

    #[test]
    fn the_script_makes_the_schema_in_a_plain_client() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        Connection::open(&path).unwrap().execute_batch(&sql()).unwrap();
        let prepared = prepare(&SqliteConfig::at(&path).unwrap(), Prepare::Check).unwrap();
        assert_eq!(
            (prepared.version, prepared.upgraded_from, prepared.lanes),
            (VERSION, None, LANES_DEFAULT)
        );
    }
}
