//! The inbox in transactions of rusqlite.

use std::time::Duration;

use eventferry_core::MessageId;
use eventferry_core::fault::Fault;
use rusqlite::TransactionBehavior::Immediate;
use rusqlite::{Connection, Error, ErrorCode, Savepoint, Transaction, params};

use super::{InboxFault, InboxFaultKind, NAMELESS, NO_TABLE, Once, missing_from};

const SCHEMA: &str = include_str!("../../migrations/sqlite/0001_inbox.sql");

/// The inbox of one consumer in a SQLite file: it makes a handler effectively once.
///
/// A message that is delivered again finds its id there, and its handler does not run. The id and what the handler
/// does are one transaction, the caller's, so there is never one without the other. SQLite 3.38 or newer.
///
/// ```
/// use eventferry_consumer::{InboxFault, Once, SqliteInbox};
/// use rusqlite::TransactionBehavior::Immediate;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut connection = rusqlite::Connection::open_in_memory()?;
/// # connection.execute_batch("CREATE TABLE invoices (order_id INTEGER)")?;
/// # let message_id = "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f".parse()?;
/// let inbox = SqliteInbox::new("billing");
/// inbox.prepare(&mut connection)?; // once, at the start
///
/// let mut tx = connection.transaction_with_behavior(Immediate)?;
/// let handled = inbox.once(&mut tx, message_id, |tx| {
///     tx.execute("INSERT INTO invoices (order_id) VALUES (42)", [])?;
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })?;
/// tx.commit()?;
/// // Only now is the broker told.
/// # assert_eq!(handled, Once::Now(()));
/// # Ok(())
/// # }
/// ```
///
/// # What the application must see to
///
/// SQLite lets one transaction write at a time. So a handler's transaction begins with `BEGIN IMMEDIATE`, as above,
/// and the connection has a busy timeout (in rusqlite 5 s unless set otherwise): then a second handler waits for the
/// first one's end. One that begins by reading is refused, without waiting, if anybody has committed since:
/// `Contended`.
///
/// SQLite blocks: in an asynchronous program call it where that is allowed (`spawn_blocking`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteInbox {
    consumer: String,
}

impl SqliteInbox {
    /// The inbox of the consumer of this name. Each consumer handles each message once for itself; all processes of
    /// one consumer give the same name, best their consumer group's. It must not be empty, and never change: under
    /// another name everything is new.
    pub fn new(consumer: impl Into<String>) -> Self {
        Self { consumer: consumer.into() }
    }

    /// The tables as one script for migration tools, from a database without them on.
    pub fn schema_sql() -> String {
        format!("BEGIN;\n{}COMMIT;\n", migration())
    }

    /// Makes the tables (`eventferry_inbox` and one for their version), unless they are there; any number of programs
    /// may do so at once.
    ///
    /// # Errors
    /// `Misconfigured`: the consumer has no name, the file cannot be written, or a newer version is there.
    /// `Contended`: others kept the file for longer than the busy timeout; again. `Database`: as SQLite says.
    pub fn prepare(&self, connection: &mut Connection) -> Result<(), InboxFault> {
        const WHAT: &str = "prepare the inbox";
        if self.consumer.is_empty() {
            return Err(Fault::new(InboxFaultKind::Misconfigured, NAMELESS));
        }
        if !missing_from(version(connection).map_err(|error| fault(WHAT, error))?)? {
            return Ok(());
        }
        let mut make = || {
            let transaction = connection.transaction_with_behavior(Immediate)?;
            // Once more, now that nobody else can be at it.
            if version(&transaction)? == 0 {
                transaction.execute_batch(&migration())?;
            }
            transaction.commit()
        };
        make().map_err(|error| fault(WHAT, error))
    }

    /// Runs `handler` in `transaction` unless this consumer has handled the message before.
    ///
    /// The handler gets the transaction, as a savepoint of it. If it fails, or panics, all that it did is undone and
    /// the message counts as not handled, whatever the caller then does with the transaction. If it succeeds, the
    /// message is handled once the transaction is committed; if that is rolled back, or a savepoint around this call,
    /// it is not.
    ///
    /// # Errors
    /// The handler's own; or the inbox's, by `From<InboxFault>`. `Contended`: another transaction was in the way;
    /// roll back, and begin again with this message. `Misconfigured`: the inbox is not prepared, or the file cannot
    /// be written. `Database`: roll back, and again later.
    pub fn once<T, E: From<InboxFault>>(
        &self,
        transaction: &mut Transaction<'_>,
        message_id: MessageId,
        handler: impl FnOnce(&mut Savepoint<'_>) -> Result<T, E>,
    ) -> Result<Once<T>, E> {
        refuse_ended(transaction)?;
        let savepoint = transaction.savepoint_with_name("eventferry_inbox");
        self.handle(savepoint.map_err(|error| fault(NOTE, error))?, message_id, handler)
    }

    /// Runs `handler` in a savepoint of the caller's, as [`SqliteInbox::once`] does.
    ///
    /// # Errors
    /// Those of [`SqliteInbox::once`].
    pub fn once_in_savepoint<T, E: From<InboxFault>>(
        &self,
        savepoint: &mut Savepoint<'_>,
        message_id: MessageId,
        handler: impl FnOnce(&mut Savepoint<'_>) -> Result<T, E>,
    ) -> Result<Once<T>, E> {
        refuse_ended(savepoint)?;
        let savepoint = savepoint.savepoint_with_name("eventferry_inbox");
        self.handle(savepoint.map_err(|error| fault(NOTE, error))?, message_id, handler)
    }

    /// What is left of the savepoint when it is dropped is taken back.
    fn handle<T, E: From<InboxFault>>(
        &self,
        mut savepoint: Savepoint<'_>,
        message_id: MessageId,
        handler: impl FnOnce(&mut Savepoint<'_>) -> Result<T, E>,
    ) -> Result<Once<T>, E> {
        let refused = |error| fault(NOTE, error);
        if !self.note(&savepoint, message_id).map_err(refused)? {
            savepoint.commit().map_err(refused)?;
            return Ok(Once::Before);
        }
        let result = handler(&mut savepoint)?;
        savepoint.commit().map_err(refused)?;
        Ok(Once::Now(result))
    }

    /// Notes messages as handled in `transaction`, and says of each, in the order given, whether it was new: those
    /// are to be handled now, in the same transaction. One that is given twice is new the first time. If handling one
    /// fails, roll the whole transaction back.
    ///
    /// # Errors
    /// As of [`SqliteInbox::once`]; roll back.
    pub fn claim(
        &self,
        transaction: &Transaction<'_>,
        message_ids: &[MessageId],
    ) -> Result<Vec<bool>, InboxFault> {
        refuse_ended(transaction)?;
        let claimed = message_ids.iter().map(|id| self.note(transaction, *id)).collect::<Result<_, _>>();
        claimed.map_err(|error| fault(NOTE, error))
    }

    /// Forgets up to `messages_max` of this consumer's messages that were handled at least this long ago, by the
    /// host's clock and the oldest first, and returns how many there were. Call it now and then, again while it
    /// returns `messages_max`: handlers wait while a call has the file, for 20 ms with a thousand
    /// messages.
    ///
    /// A message that comes again after it was forgotten is handled again. So give a time that no redelivery
    /// outlasts: the topic's retention, or a week, and longer than a consumer may be left behind.
    ///
    /// # Errors
    /// Those of [`SqliteInbox::prepare`]; nothing was forgotten.
    pub fn forget(
        &self,
        connection: &Connection,
        older_than: Duration,
        messages_max: u32,
    ) -> Result<u64, InboxFault> {
        // A thousandth of what the column could hold, and more than anybody waits.
        let millis = i64::try_from(older_than.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 1_000_000);
        let forget = || {
            let mut forget = connection.prepare_cached(include_str!("../../sql/sqlite/forget.sql"))?;
            forget.execute(params![self.consumer, millis, messages_max])
        };
        let forgotten = forget().map_err(|error| fault("forget messages of the inbox", error))?;
        Ok(forgotten as u64)
    }

    fn note(&self, connection: &Connection, message_id: MessageId) -> rusqlite::Result<bool> {
        let mut claim = connection.prepare_cached(include_str!("../../sql/sqlite/claim.sql"))?;
        Ok(claim.execute(params![self.consumer, message_id.0])? == 1)
    }
}

const NOTE: &str = "note a message in the inbox";

/// A savepoint outside a transaction would be one by itself, and what the handler does committed apart from the rest.
fn refuse_ended(connection: &Connection) -> Result<(), InboxFault> {
    if connection.is_autocommit() {
        let message =
            format!("{NOTE}: the transaction has ended; begin another, and handle the message again");
        return Err(Fault::new(InboxFaultKind::Database, message));
    }
    Ok(())
}

fn migration() -> String {
    format!("{SCHEMA}\nINSERT INTO eventferry_inbox_migration (version) VALUES (1);\n")
}

/// The version of the tables; 0: there are none.
fn version(connection: &Connection) -> rusqlite::Result<i64> {
    let look = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    if look(include_str!("../../sql/sqlite/has_schema.sql"))? == 0 {
        return Ok(0);
    }
    look(include_str!("../../sql/sqlite/version.sql"))
}

/// The fault of an error that came of doing `what` (<https://www.sqlite.org/rescode.html>).
fn fault(what: &str, error: Error) -> InboxFault {
    let (kind, remedy) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            InboxFaultKind::Contended,
            "another transaction was in the way; roll back, and handle the message again, in a transaction that begins \
             with BEGIN IMMEDIATE on a connection with a busy timeout",
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            (InboxFaultKind::Misconfigured, "the database cannot be written; let this user write the file")
        }
        Some(ErrorCode::ConstraintViolation) => (InboxFaultKind::Misconfigured, NAMELESS),
        _ if error.to_string().contains("no such table") => (InboxFaultKind::Misconfigured, NO_TABLE),
        _ => (InboxFaultKind::Database, "roll back, and handle the message again later"),
    };
    Fault::new(kind, format!("{what}: {remedy}")).caused_by(error)
}
