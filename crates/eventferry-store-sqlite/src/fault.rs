//! What a result code of SQLite means now: one table.
//!
//! Source: SQLite documentation, "Result and Error Codes" (rescode.html). A code not listed means what its primary
//! code (its low byte) means.

use std::io;

use eventferry_core::StoreFault;
use eventferry_core::StoreFaultKind::{self, Contended, Misconfigured, Unavailable};
use rusqlite::ffi;

/// What a code means for a relay, and what to do about it where a person must. Extended codes before primary ones.
const TABLE: [(i32, StoreFaultKind, &str); 26] = [
    (ffi::SQLITE_BUSY_RECOVERY, Unavailable, "another process recovers the file after a crash; this passes"),
    (ffi::SQLITE_READONLY_DBMOVED, Unavailable, "the file was moved away; put it back"),
    (ffi::SQLITE_IOERR_CORRUPTFS, Misconfigured, "the file system is corrupt; restore the file from a copy"),
    (ffi::SQLITE_BUSY, Contended, ""),
    (ffi::SQLITE_LOCKED, Contended, ""),
    (ffi::SQLITE_PROTOCOL, Contended, ""),
    (ffi::SQLITE_SCHEMA, Contended, ""),
    (ffi::SQLITE_ABORT, Contended, ""),
    (ffi::SQLITE_INTERRUPT, Contended, ""),
    (ffi::SQLITE_IOERR, Unavailable, "look at the disk"),
    (ffi::SQLITE_FULL, Unavailable, "the disk is full; free some space"),
    (ffi::SQLITE_NOMEM, Unavailable, "the process is out of memory"),
    (
        ffi::SQLITE_CANTOPEN,
        Unavailable,
        "the file, its -wal or its -shm cannot be opened; look at the folder's permissions",
    ),
    (ffi::SQLITE_CORRUPT, Misconfigured, "the file is corrupt; restore it from a copy"),
    (
        ffi::SQLITE_NOTADB,
        Misconfigured,
        "the file is no SQLite database (or an encrypted one); name the right one",
    ),
    (ffi::SQLITE_READONLY, Misconfigured, "the file or its folder cannot be written; grant it to this user"),
    (ffi::SQLITE_PERM, Misconfigured, "the file cannot be accessed; grant it to this user"),
    (ffi::SQLITE_AUTH, Misconfigured, "the file cannot be accessed; grant it to this user"),
    (ffi::SQLITE_NOLFS, Misconfigured, "the file system cannot hold a file of this size; move it to another"),
    // What follows says that the tables are not those of this version: no such table, no such column, a constraint.
    (ffi::SQLITE_ERROR, Misconfigured, "run `eventferry init` with this version"),
    (ffi::SQLITE_CONSTRAINT, Misconfigured, "run `eventferry init` with this version"),
    (ffi::SQLITE_MISMATCH, Misconfigured, "run `eventferry init` with this version"),
    (ffi::SQLITE_TOOBIG, Misconfigured, "a row is larger than this SQLite can read"),
    (ffi::SQLITE_RANGE, Misconfigured, "a statement of ours is wrong; report it"),
    (ffi::SQLITE_MISUSE, Misconfigured, "a statement of ours is wrong; report it"),
    (ffi::SQLITE_INTERNAL, Unavailable, "an internal error of SQLite"),
];

/// What this code means, and what to do; `Unavailable` when the table does not know it: waiting loses nothing.
fn meaning_of(code: i32) -> (StoreFaultKind, &'static str) {
    let row = |of: i32| TABLE.iter().find(|(listed, ..)| *listed == of);
    row(code).or_else(|| row(code & 0xff)).map_or((Unavailable, ""), |(_, kind, remedy)| (*kind, *remedy))
}

/// The fault for an error of SQLite met while trying to do `what`.
pub(crate) fn fault(what: &str, error: rusqlite::Error) -> StoreFault {
    let Some(code) = error.sqlite_error().map(|error| error.extended_code) else {
        // The driver's own: a column of a type that none of our tables has, a row that must be there and is not.
        let message = format!("{what}: {error}; the tables are not this version's, run `eventferry init`");
        return StoreFault::new(Misconfigured, message).caused_by(error);
    };
    let (kind, remedy) = meaning_of(code);
    let remedy = if remedy.is_empty() { String::new() } else { format!("; {remedy}") };
    StoreFault::new(kind, format!("{what}: {error} (SQLite code {code}){remedy}")).caused_by(error)
}

/// The fault for an error of the file system met while trying to do `what`: it may pass.
pub(crate) fn file_fault(what: &str, error: io::Error) -> StoreFault {
    StoreFault::new(Unavailable, format!("{what}: {error}")).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_listed_once_and_an_extended_one_differs_from_its_primary() {
        for (at, (code, kind, _)) in TABLE.iter().enumerate() {
            assert!(TABLE[..at].iter().all(|(earlier, ..)| earlier != code), "{code} is listed twice");
            if *code > 0xff {
                assert_ne!(meaning_of(code & 0xff).0, *kind, "{code} needs no row of its own");
            }
        }
    }

    #[test]
    fn an_extended_code_means_what_its_primary_means() {
        assert_eq!(meaning_of(ffi::SQLITE_BUSY_SNAPSHOT).0, Contended);
        assert_eq!(meaning_of(ffi::SQLITE_IOERR_FSYNC).0, Unavailable);
        assert_eq!(meaning_of(ffi::SQLITE_IOERR_CORRUPTFS).0, Misconfigured);
        assert_eq!(meaning_of(ffi::SQLITE_CONSTRAINT_CHECK).0, Misconfigured);
    }

    #[test]
    fn an_unknown_code_waits() {
        assert_eq!(meaning_of(250).0, Unavailable);
    }

    #[test]
    fn a_fault_says_what_was_tried_and_what_to_do() {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None);
        let fault = fault("settle", error);
        assert_eq!(*fault.kind(), Unavailable);
        let said = fault.to_string();
        assert!(said.starts_with("settle: ") && said.ends_with("free some space"), "{said}");
        assert!(std::error::Error::source(&fault).is_some());
    }
}
