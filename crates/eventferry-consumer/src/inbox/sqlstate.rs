//! PostgreSQL's codes, said as what to do now (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).

use std::error::Error;
use std::time::Duration;

use eventferry_core::fault::Fault;

use super::{InboxFault, InboxFaultKind, NAMELESS, NO_TABLE};

pub(super) const SCHEMA: &str = include_str!("../../migrations/postgres/0001_inbox.sql");

/// The schema as one script, from a database without it on.
pub(super) fn schema_sql() -> String {
    format!("BEGIN;\n{};\nCOMMIT;\n", migration().trim_end_matches([';', '\n']))
}

/// A span in seconds, as far back as PostgreSQL's calendar goes for certain: 300 years.
pub(super) fn seconds(span: Duration) -> f64 {
    span.as_secs_f64().min(1e10)
}

/// What makes the schema, within a transaction.
pub(super) fn migration() -> String {
    format!("{SCHEMA}\nINSERT INTO eventferry_inbox.migration (version) VALUES (1);\n")
}

/// The fault of an error with this code that came of doing `what`.
pub(super) fn fault(
    what: &str,
    code: Option<&str>,
    error: impl Into<Box<dyn Error + Send + Sync>>,
) -> InboxFault {
    let (kind, remedy) = match code {
        Some("40001" | "40P01" | "55P03") => (
            InboxFaultKind::Contended,
            "another transaction was in the way; roll back, and handle the message again",
        ),
        // A schema or a table that is not there.
        Some("3F000" | "42P01") => (InboxFaultKind::Misconfigured, NO_TABLE),
        Some("42501") => (
            InboxFaultKind::Misconfigured,
            "the role lacks a privilege; grant it USAGE on the schema eventferry_inbox, SELECT, INSERT, UPDATE and \
             DELETE on eventferry_inbox.message and SELECT on eventferry_inbox.migration",
        ),
        Some("23514") => (InboxFaultKind::Misconfigured, NAMELESS),
        Some("25006") => (
            InboxFaultKind::Misconfigured,
            "the transaction is read-only; a handler's transaction must write",
        ),
        Some("25P02") => (
            InboxFaultKind::Database,
            "the transaction had failed before; roll back, and handle the message again",
        ),
        _ => (InboxFaultKind::Database, "roll back, and handle the message again later"),
    };
    let code = code.map(|code| format!(" (SQLSTATE {code})")).unwrap_or_default();
    Fault::new(kind, format!("{what}: {remedy}{code}")).caused_by(error)
}

/// The fault of a consumer without a name.
pub(super) fn nameless() -> InboxFault {
    Fault::new(InboxFaultKind::Misconfigured, NAMELESS)
}
