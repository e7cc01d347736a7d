//! What a result code of SQLite means now: one table.
//!
//! Source: SQLite documentation, "Result and Error Codes" (rescode.html). A code not listed means what its primary
//! code (its low byte) means.
//!
//! `Misconfigured` ends the relay: it is said where a person must change something, and where going on could do harm
//! (a corrupt file: a copy put in its place under a running program is how the next one gets corrupt). A disk that is
//! full or does not answer, a lock that others hold, a file that is away are waited for: an outage is not a failure.

use std::io;

use eventferry_core::StoreFault;
use eventferry_core::StoreFaultKind::{self, Contended, Misconfigured, Unavailable};
use rusqlite::ffi;

/// What a code means for a relay.
struct Row {
    code: i32,
    /// SQLite's name for it.
    name: &'static str,
    kind: StoreFaultKind,
    /// What people can do about it; nothing: it passes by itself.
    remedy: &'static str,
}

const fn row(code: i32, name: &'static str, kind: StoreFaultKind, remedy: &'static str) -> Row {
    Row { code, name, kind, remedy }
}

const INIT: &str = "run `eventferry init` with this version";
const BOOKS: &str = "look for whoever writes to the tables `eventferry_*`";
const GRANT: &str = "grant it to this user, and its folder too, where the -wal and -shm lie";
const RESTORE: &str = "stop whatever has it open, and restore it from a copy";
const BUG: &str = "a statement of ours is wrong; report it";
const DISK: &str = "look at the disk and the system's log";

/// Every primary code, and each extended one that means something else than its primary or has a remedy of its own.
const TABLE: &[Row] = &[
    // Lost races: whoever asks again gets through. (`BUSY` comes when the busy timeout is over.)
    row(ffi::SQLITE_BUSY, "SQLITE_BUSY", Contended, ""),
    row(ffi::SQLITE_LOCKED, "SQLITE_LOCKED", Contended, ""),
    row(ffi::SQLITE_PROTOCOL, "SQLITE_PROTOCOL", Contended, ""),
    row(ffi::SQLITE_SCHEMA, "SQLITE_SCHEMA", Contended, ""),
    row(ffi::SQLITE_ABORT, "SQLITE_ABORT", Contended, ""),
    row(ffi::SQLITE_INTERRUPT, "SQLITE_INTERRUPT", Contended, ""),
    row(ffi::SQLITE_ERROR_RETRY, "SQLITE_ERROR_RETRY", Contended, ""),
    row(ffi::SQLITE_ERROR_SNAPSHOT, "SQLITE_ERROR_SNAPSHOT", Contended, ""),
    row(
        ffi::SQLITE_BUSY_RECOVERY,
        "SQLITE_BUSY_RECOVERY",
        Unavailable,
        "another process recovers the file after a crash; this passes",
    ),
    // Away until somebody mends it.
    row(ffi::SQLITE_IOERR, "SQLITE_IOERR", Unavailable, DISK),
    row(ffi::SQLITE_IOERR_NOMEM, "SQLITE_IOERR_NOMEM", Unavailable, "the process is out of memory"),
    row(
        ffi::SQLITE_IOERR_DELETE_NOENT,
        "SQLITE_IOERR_DELETE_NOENT",
        Unavailable,
        "a file was removed under us",
    ),
    row(ffi::SQLITE_FULL, "SQLITE_FULL", Unavailable, "the disk is full; free some space"),
    row(ffi::SQLITE_NOMEM, "SQLITE_NOMEM", Unavailable, "the process is out of memory"),
    row(
        ffi::SQLITE_CANTOPEN,
        "SQLITE_CANTOPEN",
        Unavailable,
        "the file, its -wal or its -shm cannot be opened; look at the folder's permissions",
    ),
    row(
        ffi::SQLITE_READONLY_DBMOVED,
        "SQLITE_READONLY_DBMOVED",
        Unavailable,
        "the file was moved away; put it back",
    ),
    row(ffi::SQLITE_INTERNAL, "SQLITE_INTERNAL", Unavailable, "an internal error of SQLite"),
    row(ffi::SQLITE_NOTFOUND, "SQLITE_NOTFOUND", Unavailable, "an internal error of SQLite"),
    // Unused by SQLite, or no errors.
    row(ffi::SQLITE_EMPTY, "SQLITE_EMPTY", Unavailable, ""),
    row(ffi::SQLITE_FORMAT, "SQLITE_FORMAT", Unavailable, ""),
    row(ffi::SQLITE_NOTICE, "SQLITE_NOTICE", Unavailable, ""),
    row(ffi::SQLITE_WARNING, "SQLITE_WARNING", Unavailable, ""),
    row(ffi::SQLITE_ROW, "SQLITE_ROW", Unavailable, ""),
    row(ffi::SQLITE_DONE, "SQLITE_DONE", Unavailable, ""),
    row(ffi::SQLITE_OK, "SQLITE_OK", Unavailable, ""),
    // The file is not what it must be.
    row(ffi::SQLITE_CORRUPT, "SQLITE_CORRUPT", Misconfigured, RESTORE),
    row(
        ffi::SQLITE_CORRUPT_INDEX,
        "SQLITE_CORRUPT_INDEX",
        Misconfigured,
        "an index is corrupt: stop whatever has the file open, REINDEX it, and look at the disk",
    ),
    row(
        ffi::SQLITE_IOERR_CORRUPTFS,
        "SQLITE_IOERR_CORRUPTFS",
        Misconfigured,
        "the file system is corrupt; mend it first",
    ),
    row(ffi::SQLITE_IOERR_DATA, "SQLITE_IOERR_DATA", Misconfigured, RESTORE),
    row(
        ffi::SQLITE_NOTADB,
        "SQLITE_NOTADB",
        Misconfigured,
        "the file is no SQLite database (or an encrypted one); name the right one",
    ),
    row(
        ffi::SQLITE_CANTOPEN_ISDIR,
        "SQLITE_CANTOPEN_ISDIR",
        Misconfigured,
        "that is a folder; name a file in it",
    ),
    row(ffi::SQLITE_READONLY, "SQLITE_READONLY", Misconfigured, GRANT),
    row(ffi::SQLITE_PERM, "SQLITE_PERM", Misconfigured, GRANT),
    row(ffi::SQLITE_AUTH, "SQLITE_AUTH", Misconfigured, GRANT),
    row(
        ffi::SQLITE_NOLFS,
        "SQLITE_NOLFS",
        Misconfigured,
        "the file system cannot hold a file of this size; move it to another",
    ),
    // The tables are not this version's: no such table, no such column, a value of another type.
    row(ffi::SQLITE_ERROR, "SQLITE_ERROR", Misconfigured, INIT),
    row(ffi::SQLITE_MISMATCH, "SQLITE_MISMATCH", Misconfigured, INIT),
    row(ffi::SQLITE_CONSTRAINT, "SQLITE_CONSTRAINT", Misconfigured, BOOKS),
    row(
        ffi::SQLITE_CONSTRAINT_TRIGGER,
        "SQLITE_CONSTRAINT_TRIGGER",
        Misconfigured,
        "drop the triggers of your own on the tables `eventferry_*`",
    ),
    row(ffi::SQLITE_TOOBIG, "SQLITE_TOOBIG", Misconfigured, "a row is larger than this SQLite can read"),
    row(ffi::SQLITE_RANGE, "SQLITE_RANGE", Misconfigured, BUG),
    row(ffi::SQLITE_MISUSE, "SQLITE_MISUSE", Misconfigured, BUG),
];

/// What a code that is in no row means: waiting loses nothing.
const UNKNOWN: Row = row(-1, "unknown", Unavailable, "a code this version does not know");

/// The row of this code, or of its primary code.
fn row_of(code: i32) -> &'static Row {
    let find = |wanted: i32| TABLE.iter().find(|row| row.code == wanted);
    find(code).or_else(|| find(code & 0xff)).unwrap_or(&UNKNOWN)
}

/// The fault for an error of SQLite met while trying to do `what`.
pub(crate) fn fault(what: &str, error: rusqlite::Error) -> StoreFault {
    let Some(code) = error.sqlite_error().map(|error| error.extended_code) else {
        // The driver's own: a column of a type that none of our tables has, a row that must be there and is not.
        let message = format!("{what}: {error}; the tables are not this version's, {INIT}");
        return StoreFault::new(Misconfigured, message).caused_by(error);
    };
    let row = row_of(code);
    let remedy = if row.remedy.is_empty() { String::new() } else { format!("; {}", row.remedy) };
    if code == ffi::SQLITE_CONSTRAINT_TRIGGER {
        // Its words are those of somebody's trigger, which may repeat a payload; so nothing lies below either.
        let message = format!("{what}: a trigger refused it (SQLite code {code}){remedy}");
        return StoreFault::new(row.kind, message).of_class(row.name);
    }
    let message = format!("{what}: {error} (SQLite code {code}){remedy}");
    StoreFault::new(row.kind, message).of_class(row.name).caused_by(error)
}

/// The fault for an error of the file system met while trying to do `what`: it may pass.
pub(crate) fn file_fault(what: &str, error: io::Error) -> StoreFault {
    StoreFault::new(Unavailable, format!("{what}: {error}")).caused_by(error)
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    fn failure(code: i32, words: &str) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(words.to_owned()))
    }

    #[test]
    fn every_code_that_sqlite_knows_has_a_row() {
        // SQLite describes an extended code as its primary one, so it is asked of all primary ones.
        let described = |code: &i32| ffi::code_to_str(*code) != "unknown error";
        let known: Vec<i32> = (0..256).filter(described).collect();
        assert!(known.len() > 25, "SQLite knows only {known:?}");
        let missing: Vec<_> = known.iter().filter(|code| row_of(**code).code == UNKNOWN.code).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn each_code_is_listed_once_and_an_extended_one_differs_from_its_primary() {
        for (at, row) in TABLE.iter().enumerate() {
            assert!(
                TABLE[..at].iter().all(|earlier| earlier.code != row.code),
                "{} is listed twice",
                row.name
            );
            let primary = row_of(row.code & 0xff);
            if row.code > 0xff {
                assert_ne!(
                    (primary.kind, primary.remedy),
                    (row.kind, row.remedy),
                    "{} needs no row",
                    row.name
                );
                assert!(row.name.starts_with(primary.name), "{} is no kind of {}", row.name, primary.name);
            }
        }
    }

    #[test]
    fn an_extended_code_means_what_its_primary_means() {
        assert_eq!(row_of(ffi::SQLITE_BUSY_SNAPSHOT).kind, Contended);
        assert_eq!(row_of(ffi::SQLITE_BUSY_TIMEOUT).kind, Contended);
        assert_eq!(row_of(ffi::SQLITE_IOERR_FSYNC).kind, Unavailable);
        assert_eq!(row_of(ffi::SQLITE_IOERR_CORRUPTFS).kind, Misconfigured);
        assert_eq!(row_of(ffi::SQLITE_CONSTRAINT_CHECK).kind, Misconfigured);
        assert_eq!(row_of(ffi::SQLITE_READONLY_DIRECTORY).kind, Misconfigured);
    }

    #[test]
    fn the_codes_that_decide_most_are_as_promised() {
        for (code, kind) in [
            (ffi::SQLITE_BUSY, Contended),
            (ffi::SQLITE_FULL, Unavailable),
            (ffi::SQLITE_IOERR, Unavailable),
            (ffi::SQLITE_NOMEM, Unavailable),
            (ffi::SQLITE_CANTOPEN, Unavailable),
            (ffi::SQLITE_READONLY_DBMOVED, Unavailable),
            (ffi::SQLITE_CORRUPT, Misconfigured),
            (ffi::SQLITE_NOTADB, Misconfigured),
            (ffi::SQLITE_READONLY, Misconfigured),
            (ffi::SQLITE_ERROR, Misconfigured),
        ] {
            assert_eq!(row_of(code).kind, kind, "{}", row_of(code).name);
        }
    }

    #[test]
    fn an_unknown_code_waits() {
        assert_eq!(row_of(250).kind, Unavailable);
    }

    #[test]
    fn a_fault_says_what_was_tried_and_what_to_do() {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None);
        let fault = fault("settle", error);
        assert_eq!((*fault.kind(), fault.class()), (Unavailable, Some("SQLITE_FULL")));
        let said = fault.to_string();
        assert!(said.starts_with("settle: ") && said.ends_with("free some space"), "{said}");
        assert!(fault.source().is_some());
    }

    #[test]
    fn what_a_trigger_says_is_not_shown() {
        let refused = fault("settle", failure(ffi::SQLITE_CONSTRAINT_TRIGGER, "no sesame"));
        assert!(!refused.to_string().contains("sesame") && refused.source().is_none(), "{refused}");
        let broken = fault("settle", failure(ffi::SQLITE_CONSTRAINT_CHECK, "CHECK constraint failed: c"));
        assert!(broken.to_string().contains("CHECK constraint failed: c (SQLite code 275)"), "{broken}");
    }
}
