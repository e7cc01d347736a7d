//! What an error of PostgreSQL or of its driver means now: one table, by SQLSTATE.
//!
//! Source: PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".

use std::error::Error;
use std::time::Duration;

use eventferry_core::StoreFault;
use eventferry_core::StoreFaultKind::{self, Contended, HistoryLost, Misconfigured, Unavailable};

use crate::schema;

/// What a code, or the class that its first two characters name, means for a relay. The first match counts.
const TABLE: [(&str, StoreFaultKind, &str); 33] = [
    ("EF001", Misconfigured, "our own: the role's transactions are not READ COMMITTED"),
    ("EF002", HistoryLost, "our own: positions of another timeline or cluster"),
    ("40001", Contended, "serialization failure: the other transaction won"),
    ("40P01", Contended, "deadlock: this one was chosen to end"),
    ("55P03", Contended, "lock not available in the time we gave it"),
    ("40003", Unavailable, "statement completion unknown: repeat it"),
    ("57014", Unavailable, "query canceled: a statement timeout, or a person"),
    ("57P01", Unavailable, "the server is shut down"),
    ("57P02", Unavailable, "the server crashed"),
    ("57P03", Unavailable, "the server is starting or recovering"),
    ("57P05", Unavailable, "the session idled too long"),
    ("57P04", Misconfigured, "the database was dropped"),
    (
        "25006",
        Unavailable,
        "a read-only standby: wait for a failover to end, or for the URL to lead to the primary",
    ),
    ("53300", Unavailable, "too many connections"),
    ("53", Unavailable, "insufficient resources: disk, memory"),
    ("08", Unavailable, "connection lost or refused"),
    ("58", Unavailable, "the server's system failed"),
    ("XX", Unavailable, "an internal error of the server"),
    ("28", Misconfigured, "authentication: wrong user, password or pg_hba rule"),
    ("3D000", Misconfigured, "no such database"),
    ("3F000", Misconfigured, "no schema `eventferry`"),
    ("42P01", Misconfigured, "a table is missing: the schema is older or broken"),
    ("42883", Misconfigured, "a function is missing: the schema is older or broken"),
    ("42703", Misconfigured, "a column is missing: the schema is older or broken"),
    ("42501", Misconfigured, "a privilege is missing"),
    ("42", Misconfigured, "a statement of ours does not fit the schema"),
    ("0A000", Misconfigured, "the server lacks something we need"),
    ("22", Misconfigured, "data that a statement of ours cannot read"),
    ("23", Misconfigured, "a constraint of our own books is broken"),
    ("25", Unavailable, "the session's transaction is in a wrong state: connect anew"),
    ("26000", Unavailable, "a prepared statement is gone: connect anew"),
    ("34000", Unavailable, "a cursor is gone: connect anew"),
    ("P0", Misconfigured, "an exception in a function of ours"),
];

/// Whether the server has let this program in and served it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acquaintance {
    /// It has not: what it refuses now it will refuse again.
    New,
    /// It has: a login or a privilege that is gone was taken while we were there, and may be given back. To wait for
    /// that loses nothing; to end would make an outage of what a rotation of passwords does every time.
    Known,
}

/// What may be taken from those whom the server knows, and given back.
const TAKEN: [&str; 2] = ["28", "42501"];

/// What this SQLSTATE means; `Unavailable` when the table does not know it: waiting loses nothing.
pub(crate) fn kind_of(code: &str, acquaintance: Acquaintance) -> StoreFaultKind {
    if acquaintance == Acquaintance::Known && TAKEN.iter().any(|taken| code.starts_with(taken)) {
        return Unavailable;
    }
    let matching = |(of, _, _): &&(&str, StoreFaultKind, &str)| code.starts_with(of);
    TABLE.iter().find(matching).map_or(Unavailable, |(_, kind, _)| *kind)
}

/// The fault for an error met while doing `what`.
pub(crate) fn fault(what: &str, error: tokio_postgres::Error, acquaintance: Acquaintance) -> StoreFault {
    let Some(refusal) = error.as_db_error() else {
        // The driver's own: the connection was lost.
        return StoreFault::new(Unavailable, format!("{what}: {}", said(&error))).caused_by(error);
    };
    let code = refusal.code().code();
    let hint = refusal.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    let remedy = match code {
        "42501" if what == schema::APPLY => {
            "; run it as the schema's owner, or as a role that may create one (GRANT CREATE ON DATABASE ... TO ...)"
        }
        "42501" => "; grant it by `SELECT eventferry.grant_relay('ROLE')` as the schema's owner",
        "3F000" | "42P01" | "42883" | "42703" => "; run `eventferry init` with this version",
        "25006" => "; point the URL to the primary",
        "3D000" => "; create it, or correct the name in the store's URL",
        "53300" => "; raise max_connections, or connect through a pooler",
        _ if code.starts_with("28") => {
            "; check user and password in the store's URL, and the server's pg_hba.conf"
        }
        _ => "",
    };
    let message = format!("{what}: {} (SQLSTATE {code}){hint}{remedy}", refusal.message());
    StoreFault::new(kind_of(code, acquaintance), message).caused_by(error)
}

/// The fault for an error met while connecting to the server at `place`, and what to do about it.
pub(crate) fn refused(place: &str, error: tokio_postgres::Error, acquaintance: Acquaintance) -> StoreFault {
    let what = format!("connect to PostgreSQL at {place}");
    if error.as_db_error().is_some() {
        return fault(&what, error, acquaintance);
    }
    let said = said(&error);
    let unwelcome = if acquaintance == Acquaintance::Known { Unavailable } else { Misconfigured };
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let (kind, remedy) = if has(&["password missing"]) {
        (unwelcome, "the server asks for a password, and the store's URL has none")
    } else if has(&["invalid configuration"]) {
        (Misconfigured, "correct the store's URL")
    } else if has(&["authentication error"]) {
        (unwelcome, "check user and password in the store's URL, and the server's pg_hba.conf")
    } else if has(&["failed to lookup address", "could not resolve"]) {
        (Unavailable, "the name does not resolve: check it in the store's URL, and the name service")
    } else if has(&["unexpected message", "error parsing", "connection closed", "communicating"]) {
        (
            Unavailable,
            "check that host and port in the store's URL are PostgreSQL's, and look at the server's log",
        )
    } else {
        (Unavailable, "check host and port in the store's URL, and that the server runs")
    };
    let said = said.strip_prefix("error connecting to server: ").unwrap_or(&said);
    StoreFault::new(kind, format!("{what}: {said}; {remedy}")).caused_by(error)
}

/// The fault of a server that takes a connection and then says nothing.
pub(crate) fn unanswered(place: &str, limit: Duration) -> StoreFault {
    let message = format!(
        "connect to PostgreSQL at {place}: no answer within {limit:?}; check that host and port in the store's URL are \
         PostgreSQL's, and that the server is not frozen"
    );
    StoreFault::new(Unavailable, message)
}

/// An error and what lies below it, in one line.
fn said(error: &dyn Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::Acquaintance::{Known, New};
    use super::*;

    #[test]
    fn a_code_comes_before_its_class() {
        assert_eq!(kind_of("57P04", New), Misconfigured);
        assert_eq!(kind_of("53300", New), Unavailable);
        assert_eq!(kind_of("42501", New), Misconfigured);
        for (at, (code, _, _)) in TABLE.iter().enumerate() {
            let shadow = TABLE[..at].iter().find(|(earlier, _, _)| code.starts_with(earlier));
            assert!(shadow.is_none(), "{code} is never reached");
        }
    }

    #[test]
    fn whom_the_server_knows_waits_for_what_was_taken_and_for_nothing_else() {
        for code in ["28000", "28P01", "42501"] {
            assert_eq!((kind_of(code, New), kind_of(code, Known)), (Misconfigured, Unavailable), "{code}");
        }
        for code in ["3D000", "42P01", "57P04", "EF001"] {
            assert_eq!(kind_of(code, Known), Misconfigured, "{code}");
        }
    }

    #[test]
    fn an_unknown_code_waits() {
        assert_eq!(kind_of("ZZ999", New), Unavailable);
    }
}
