//! What every driver sends: rows for one statement, in none of a driver's types.

use eventferry_core::enqueue::check;
use eventferry_core::packed::packed_headers;
use eventferry_core::{EnqueueFault, Event, MessageId};
use uuid::Uuid;

use crate::PAYLOAD_BYTES_MAX;
use crate::config::host_clock;

/// The statement for one row.
const STATEMENT: &str = include_str!("../../sql/enqueue.sql");

/// The most rows in one statement, for drivers to which each statement is a trip to another thread. SQLite takes 32,766
/// arguments in a statement (`SQLITE_MAX_VARIABLE_NUMBER`), and a row has ten.
#[cfg(any(feature = "sqlx", feature = "sea-orm"))]
pub(super) const ROWS_MAX: usize = 1_000;

/// The rows that append some events, in their order.
pub(super) struct InsertPlan<'e> {
    pub(super) rows: Vec<Row<'e>>,
}

/// The arguments for one row, in the order of the statement's.
pub(super) struct Row<'e> {
    pub(super) message_id: MessageId,
    pub(super) event: &'e Event,
    pub(super) headers: Option<Vec<u8>>,
    pub(super) enqueued_at_micros: i64,
}

impl<'e> InsertPlan<'e> {
    pub(super) fn new(events: &'e [Event]) -> Result<Self, EnqueueFault> {
        let enqueued_at_micros = host_clock().0;
        let row = |event: &'e Event| {
            check(event, PAYLOAD_BYTES_MAX)?;
            let message_id = event.message_id.unwrap_or_else(|| MessageId(Uuid::new_v4().into_bytes()));
            let headers = packed_headers(&event.headers);
            Ok(Row { message_id, event, headers, enqueued_at_micros })
        };
        Ok(Self { rows: events.iter().map(row).collect::<Result<_, EnqueueFault>>()? })
    }

    pub(super) fn ids(&self) -> Vec<MessageId> {
        self.rows.iter().map(|row| row.message_id).collect()
    }

    /// What SQLite refused, said with the remedy where there is one.
    pub(super) fn refused(&self, error: impl std::error::Error + Send + Sync + 'static) -> EnqueueFault {
        let missing = error.to_string().contains("no such table");
        let remedy = if missing { "; run `eventferry init` on this database" } else { "" };
        EnqueueFault::database(format!("append {} events: {error}{remedy}", self.rows.len()), error)
    }
}

/// The statement for one row.
pub(super) fn statement() -> &'static str {
    let header: usize =
        STATEMENT.split_inclusive('\n').take_while(|line| line.starts_with("--")).map(str::len).sum();
    &STATEMENT[header..]
}

/// The statement for so many rows, their arguments one after the other.
#[cfg(any(feature = "sqlx", feature = "sea-orm"))]
pub(super) fn statement_of(rows: usize) -> String {
    let insert = statement().split("VALUES").next().unwrap_or_default();
    let values = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"; rows].join(", ");
    format!("{insert}VALUES {values}")
}

#[cfg(all(test, any(feature = "sqlx", feature = "sea-orm")))]
mod tests {
    use super::*;

    #[test]
    fn the_statement_for_many_rows_has_as_many_arguments() {
        assert_eq!(statement().matches('?').count(), 10);
        for rows in [1, 2, ROWS_MAX] {
            let many = statement_of(rows);
            assert_eq!(many.matches('?').count(), 10 * rows);
            assert!(many.starts_with("INSERT INTO eventferry_outbox"), "{many}");
        }
        const { assert!(10 * ROWS_MAX <= 32_766) };
    }
}
