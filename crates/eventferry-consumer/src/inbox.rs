//! The inbox: what makes a handler effectively once.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlx")]
mod sqlx;
#[cfg(any(feature = "postgres", feature = "sqlx"))]
mod sqlstate;

use eventferry_core::fault::Fault;

#[cfg(feature = "postgres")]
pub use postgres::PostgresInbox;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteInbox;
#[cfg(feature = "sqlx")]
pub use sqlx::SqlxInbox;

/// What became of a message that was to be handled once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once<T> {
    /// It was new: the handler ran, and this is what it returned. It counts once the transaction is committed.
    Now(T),
    /// It was handled before, and that is committed: the handler did not run. Tell the broker that it is done.
    Before,
}

impl<T> Once<T> {
    /// What the handler returned, if it ran.
    pub fn now(self) -> Option<T> {
        match self {
            Self::Now(result) => Some(result),
            Self::Before => None,
        }
    }
}

/// Why the inbox could not do what it was asked for. The message holds no payload; what the database said is its
/// source.
pub type InboxFault = Fault<InboxFaultKind>;

/// What to do about an inbox's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InboxFaultKind {
    /// Another transaction was in the way (it handled the same message under an isolation above READ COMMITTED, a
    /// deadlock, a lock or a busy file waited for too long): roll back, and handle the message again from the
    /// beginning.
    Contended,
    /// Waiting does not help (no table, no privilege, a consumer without a name): do what the message says.
    Misconfigured,
    /// The database failed otherwise, or is away: roll back, and handle the message again later.
    Database,
}

/// The version of the tables that this code needs.
#[cfg(any(feature = "postgres", feature = "sqlx", feature = "sqlite"))]
const VERSION: i64 = 1;

/// What must be done to tables of a version.
#[cfg(any(feature = "postgres", feature = "sqlx", feature = "sqlite"))]
fn missing_from(found: i64) -> Result<bool, InboxFault> {
    if found > VERSION {
        return Err(Fault::new(
            InboxFaultKind::Misconfigured,
            format!("the inbox has version {found}, and this program knows {VERSION}; use a newer program"),
        ));
    }
    Ok(found < VERSION)
}

/// Said with every lack of a table.
#[cfg(any(feature = "postgres", feature = "sqlx", feature = "sqlite"))]
const NO_TABLE: &str =
    "the database has no inbox; make it by `prepare`, or by your migration tool from `schema_sql`";

/// Said of a consumer without a name.
#[cfg(any(feature = "postgres", feature = "sqlx", feature = "sqlite"))]
const NAMELESS: &str = "the inbox's consumer has no name; give it one that stays the same";

#[cfg(all(test, any(feature = "postgres", feature = "sqlx", feature = "sqlite")))]
mod tests {
    use super::*;

    #[test]
    fn tables_of_a_newer_version_are_left_alone() {
        assert!(missing_from(0).unwrap() && !missing_from(VERSION).unwrap());
        let fault = missing_from(VERSION + 1).unwrap_err();
        assert_eq!(*fault.kind(), InboxFaultKind::Misconfigured);
        assert!(fault.message().contains("newer program"), "{fault}");
    }
}
