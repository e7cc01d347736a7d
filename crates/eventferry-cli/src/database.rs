//! Connections of the program's own, for what an application does: writing in transactions.

use std::error::Error;
use std::time::Duration;

use eventferry::sqlite::SqliteConfig;
use rusqlite::{Connection, OpenFlags};
use tokio_postgres::error::SqlState;

use crate::ending::Trouble;

/// Opens the SQLite file of a configuration; makes none.
///
/// # Errors
/// It is not there, or cannot be opened.
pub(crate) fn open_sqlite(config: &SqliteConfig) -> Result<Connection, Trouble> {
    const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let path = config.path().display();
    if !config.path().exists() {
        return Err(Trouble::store(format!("there is no database `{path}`; create it by `eventferry init`")));
    }
    let opened = Connection::open_with_flags(config.path(), flags);
    let connection = opened.map_err(|error| {
        Trouble::store(format!("open the database `{path}`: {error}; check the path and its permissions"))
    })?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| refused_by_sqlite("set the timeout", &error))?;
    Ok(connection)
}

/// What SQLite refused while `what` was done.
pub(crate) fn refused_by_sqlite(what: &str, error: &rusqlite::Error) -> Trouble {
    Trouble::store(format!("{what}: {error}"))
}

/// What PostgreSQL refused while `what` was done, and what to do about it.
pub(crate) fn refused_by_postgres(what: &str, error: &tokio_postgres::Error) -> Trouble {
    let remedy = match error.code() {
        Some(code) if [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME].contains(code) => {
            "; create the outbox by `eventferry init`"
        }
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            "; grant it by `SELECT eventferry.grant_application('ROLE')` as the schema's owner"
        }
        _ => "",
    };
    Trouble::store(format!("{what}: {}{remedy}", said(error)))
}

/// An error in one line: the server's own words where there are some, else everything below it.
fn said(error: &tokio_postgres::Error) -> String {
    if let Some(refusal) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", refusal.message(), refusal.code().code());
    }
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(source) = below {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        below = source.source();
    }
    text
}
