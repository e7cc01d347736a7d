//! The inbox in transactions of tokio-postgres.

use std::collections::HashSet;
use std::time::Duration;

use eventferry_core::MessageId;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Transaction};
use uuid::Uuid;

use super::sqlstate::{self, migration};
use super::{InboxFault, Once, missing_from};

/// The inbox of one consumer in a PostgreSQL database: it makes a handler effectively once.
///
/// A message that is delivered again finds its id there, and its handler does not run. The id and what the handler
/// does are one transaction, the caller's, so there is never one without the other. PostgreSQL 14 to 18, also through
/// a transaction pooler; any isolation level.
///
/// ```no_run
/// use eventferry_consumer::{Arrival, Once, PostgresInbox};
///
/// # type Done = Result<(), Box<dyn std::error::Error>>;
/// # async fn handle(client: &mut tokio_postgres::Client, arrival: Arrival<'_>) -> Done {
/// let inbox = PostgresInbox::new("billing");
/// inbox.prepare(client).await?; // once, at the start
///
/// let mut tx = client.transaction().await?;
/// let handled = inbox.once(&mut tx, arrival.message_id, async |tx| {
///     let id = arrival.aggregate_id.parse::<i64>()?;
///     tx.execute("INSERT INTO invoices (order_id) VALUES ($1)", &[&id]).await?;
///     Ok::<_, Box<dyn std::error::Error>>(())
/// });
/// match handled.await? {
///     Once::Now(()) => tx.commit().await?,
///     Once::Before => tx.rollback().await?,
/// }
/// // Only now is the broker told.
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresInbox {
    consumer: String,
}

impl PostgresInbox {
    /// The inbox of the consumer of this name. Each consumer handles each message once for itself; all processes of
    /// one consumer give the same name, best their consumer group's. It must not be empty, and never change: under
    /// another name everything is new.
    pub fn new(consumer: impl Into<String>) -> Self {
        Self { consumer: consumer.into() }
    }

    /// The tables as one script for migration tools, from a database without them on.
    pub fn schema_sql() -> String {
        sqlstate::schema_sql()
    }

    /// Makes the tables (the schema `eventferry_inbox`), unless they are there; any number of programs may do so at
    /// once. Where they are there it only looks, so a role that may make nothing can call it at each start.
    ///
    /// # Errors
    /// `Misconfigured`: no privilege to make or to look, or a newer version is there. `Database`: it is away; again
    /// later.
    pub async fn prepare(&self, client: &mut Client) -> Result<(), InboxFault> {
        const WHAT: &str = "prepare the inbox";
        if self.consumer.is_empty() {
            return Err(sqlstate::nameless());
        }
        if !missing_from(version(client).await.map_err(|error| fault(WHAT, error))?)? {
            return Ok(());
        }
        let made = async {
            let transaction = client.transaction().await?;
            transaction.query_typed(include_str!("../../sql/postgres/one_at_a_time.sql"), &[]).await?;
            // Once more, now that nobody else can be at it.
            if version(transaction.client()).await? == 0 {
                transaction.batch_execute(&migration()).await?;
            }
            transaction.commit().await
        };
        made.await.map_err(|error| fault(WHAT, error))
    }

    /// Runs `handler` in `transaction` unless this consumer has handled the message before.
    ///
    /// The handler gets the transaction, as a savepoint of it. If it fails, all that it did is undone and the message
    /// counts as not handled, whatever the caller then does with the transaction; nor is anything left of a future
    /// that is dropped half-way. If it succeeds, the message is handled once the transaction is committed; if that is
    /// rolled back, or a savepoint around this call, it is not.
    ///
    /// Where another transaction is just handling the message, this waits for its end: the handler runs if that one
    /// is rolled back, and not if it commits. A `lock_timeout` bounds the wait.
    ///
    /// It costs three round trips besides the handler's own: see [`PostgresInbox::claim`] for whoever takes many
    /// messages in one transaction.
    ///
    /// # Errors
    /// The handler's own; or the inbox's, by `From<InboxFault>`. `Contended`: roll back, and begin again with this
    /// message; above READ COMMITTED that is what happens to whoever comes second at the same time. `Misconfigured`:
    /// the inbox is not prepared, or the role lacks a privilege. `Database`: roll back, and again later.
    pub async fn once<T, E, F>(
        &self,
        transaction: &mut Transaction<'_>,
        message_id: MessageId,
        handler: F,
    ) -> Result<Once<T>, E>
    where
        F: AsyncFnOnce(&mut Transaction<'_>) -> Result<T, E>,
        E: From<InboxFault>,
    {
        const WHAT: &str = "note a message in the inbox";
        let refused = |error| fault(WHAT, error);
        let mut savepoint = transaction.savepoint("eventferry_inbox").await.map_err(refused)?;
        let id = Uuid::from_bytes(message_id.0);
        let params: [(&(dyn ToSql + Sync), Type); 2] = [(&self.consumer, Type::TEXT), (&id, Type::UUID)];
        let claimed = savepoint.execute_typed(include_str!("../../sql/postgres/claim.sql"), &params).await;
        if claimed.map_err(refused)? == 0 {
            savepoint.commit().await.map_err(refused)?;
            return Ok(Once::Before);
        }
        // Whatever ends this before the commit below takes the savepoint back.
        match handler(&mut savepoint).await {
            Ok(result) => {
                savepoint.commit().await.map_err(refused)?;
                Ok(Once::Now(result))
            }
            Err(error) => {
                // Fails only with the transaction itself, and then there is nothing left to undo.
                drop(savepoint.rollback().await);
                Err(error)
            }
        }
    }

    /// Notes messages as handled in `transaction`, in one round trip, and says of each, in the order given, whether
    /// it was new: those are to be handled now, in the same transaction. One that is given twice is new the first
    /// time.
    ///
    /// For many messages in one transaction: [`PostgresInbox::once`] takes a savepoint for each, of which a
    /// transaction should have no more than some dozens. Here nothing is undone for a message by itself: if handling
    /// one fails, roll the whole transaction back.
    ///
    /// # Errors
    /// As of [`PostgresInbox::once`]; the transaction has failed then.
    pub async fn claim(
        &self,
        transaction: &mut Transaction<'_>,
        message_ids: &[MessageId],
    ) -> Result<Vec<bool>, InboxFault> {
        let ids: Vec<_> = message_ids.iter().map(|id| Uuid::from_bytes(id.0)).collect();
        let params: [(&(dyn ToSql + Sync), Type); 2] =
            [(&self.consumer, Type::TEXT), (&ids, Type::UUID_ARRAY)];
        let claimed =
            transaction.query_typed(include_str!("../../sql/postgres/claim_many.sql"), &params).await;
        let claimed = claimed.map_err(|error| fault("note messages in the inbox", error))?;
        let mut new: HashSet<String> = claimed.iter().map(|row| row.get(0)).collect();
        Ok(message_ids.iter().map(|id| new.remove(&id.to_string())).collect())
    }

    /// Forgets up to `messages_max` of this consumer's messages that were handled at least this long ago, the oldest
    /// first, and returns how many there were. Call it now and then, again while it returns `messages_max`; a
    /// thousand of 200,000 took 2 ms.
    ///
    /// A message that comes again after it was forgotten is handled again. So give a time that no redelivery
    /// outlasts: the topic's retention, or a week, and longer than a consumer may be left behind.
    ///
    /// It is a transaction of its own and waits for nobody. Nobody waits for it but, for as long as the call takes, a
    /// handler of the very message that it forgets.
    ///
    /// # Errors
    /// Those of [`PostgresInbox::once`]; nothing was forgotten.
    pub async fn forget(
        &self,
        client: &Client,
        older_than: Duration,
        messages_max: u32,
    ) -> Result<u64, InboxFault> {
        let (seconds, limit) = (sqlstate::seconds(older_than), i64::from(messages_max));
        let params: [(&(dyn ToSql + Sync), Type); 3] =
            [(&self.consumer, Type::TEXT), (&seconds, Type::FLOAT8), (&limit, Type::INT8)];
        let forgotten = client.execute_typed(include_str!("../../sql/postgres/forget.sql"), &params).await;
        forgotten.map_err(|error| fault("forget messages of the inbox", error))
    }
}

/// The version of the tables; 0: there are none.
async fn version(client: &Client) -> Result<i64, Error> {
    let row = client.query_typed_one(include_str!("../../sql/postgres/has_schema.sql"), &[]).await?;
    if !row.get::<_, bool>(0) {
        return Ok(0);
    }
    let row = client.query_typed_one(include_str!("../../sql/postgres/version.sql"), &[]).await?;
    Ok(row.get::<_, i32>(0).into())
}

fn fault(what: &str, error: Error) -> InboxFault {
    let code = error.code().map(|code| code.code().to_owned());
    sqlstate::fault(what, code.as_deref(), error)
}
