//! The inbox in sqlx's transactions on PostgreSQL.

use std::collections::HashSet;
use std::time::Duration;

use eventferry_core::MessageId;
use sqlx::{Connection as _, Error, PgConnection, Postgres, Row as _, Transaction};

use super::sqlstate::{self, migration};
use super::{InboxFault, Once, missing_from};

/// The inbox of one consumer in a PostgreSQL database, in sqlx's transactions: it makes a handler effectively once.
///
/// The same table, and the same rules, as the `PostgresInbox` for tokio-postgres.
///
/// ```no_run
/// use eventferry_consumer::{Arrival, Once, SqlxInbox};
///
/// # async fn handle(client: &mut sqlx::PgConnection, arrival: Arrival<'_>) -> Result<(), Box<dyn std::error::Error>> {
/// use sqlx::Connection as _;
///
/// let inbox = SqlxInbox::new("billing");
/// inbox.prepare(client).await?; // once, at the start
///
/// let mut tx = client.begin().await?;
/// let handled = inbox.once(&mut tx, arrival.message_id, async |tx| {
///     let insert = sqlx::query("INSERT INTO invoices (order_id) VALUES ($1)");
///     insert.bind(arrival.aggregate_id.parse::<i64>()?).execute(&mut **tx).await?;
///     Ok::<_, Box<dyn std::error::Error>>(())
/// });
/// match handled.await? {
///     Once::Now(()) => tx.commit().await?,
///     Once::Before => tx.rollback().await?,
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlxInbox {
    consumer: String,
}

impl SqlxInbox {
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
    pub async fn prepare(&self, connection: &mut PgConnection) -> Result<(), InboxFault> {
        const WHAT: &str = "prepare the inbox";
        if self.consumer.is_empty() {
            return Err(sqlstate::nameless());
        }
        if !missing_from(version(connection).await.map_err(|error| fault(WHAT, error))?)? {
            return Ok(());
        }
        let made = async {
            let mut transaction = connection.begin().await?;
            let lock = sqlx::query(include_str!("../../sql/postgres/one_at_a_time.sql"));
            lock.persistent(false).execute(&mut *transaction).await?;
            // Once more, now that nobody else can be at it.
            if version(&mut transaction).await? == 0 {
                sqlx::raw_sql(sqlx::AssertSqlSafe(migration())).execute(&mut *transaction).await?;
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
    /// # Errors
    /// The handler's own; or the inbox's, by `From<InboxFault>`. `Contended`: roll back, and begin again with this
    /// message; above READ COMMITTED that is what happens to whoever comes second at the same time. `Misconfigured`:
    /// the inbox is not prepared, or the role lacks a privilege. `Database`: roll back, and again later.
    pub async fn once<T, E, F>(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        message_id: MessageId,
        handler: F,
    ) -> Result<Once<T>, E>
    where
        F: AsyncFnOnce(&mut Transaction<'_, Postgres>) -> Result<T, E>,
        E: From<InboxFault>,
    {
        const WHAT: &str = "note a message in the inbox";
        let refused = |error| fault(WHAT, error);
        let mut savepoint = transaction.begin().await.map_err(refused)?;
        let claim = sqlx::query(include_str!("../../sql/postgres/claim.sql")).persistent(false);
        let claim = claim.bind(&self.consumer).bind(message_id.to_string());
        let claimed = claim.execute(&mut *savepoint).await.map_err(refused)?;
        if claimed.rows_affected() == 0 {
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
    /// For many messages in one transaction: [`SqlxInbox::once`] takes a savepoint for each, of which a transaction
    /// should have no more than some dozens. Here nothing is undone for a message by itself: if handling one fails,
    /// roll the whole transaction back.
    ///
    /// # Errors
    /// As of [`SqlxInbox::once`]; the transaction has failed then.
    pub async fn claim(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        message_ids: &[MessageId],
    ) -> Result<Vec<bool>, InboxFault> {
        let ids: Vec<_> = message_ids.iter().map(MessageId::to_string).collect();
        let claim = sqlx::query(include_str!("../../sql/postgres/claim_many.sql")).persistent(false);
        let claimed = claim.bind(&self.consumer).bind(&ids).fetch_all(&mut **transaction).await;
        let claimed = claimed.map_err(|error| fault("note messages in the inbox", error))?;
        let mut new: HashSet<String> = claimed.iter().map(|row| row.get(0)).collect();
        Ok(ids.iter().map(|id| new.remove(id)).collect())
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
    /// Those of [`SqlxInbox::once`]; nothing was forgotten.
    pub async fn forget(
        &self,
        connection: &mut PgConnection,
        older_than: Duration,
        messages_max: u32,
    ) -> Result<u64, InboxFault> {
        let forget = sqlx::query(include_str!("../../sql/postgres/forget.sql")).persistent(false);
        let forget =
            forget.bind(&self.consumer).bind(sqlstate::seconds(older_than)).bind(i64::from(messages_max));
        let forgotten = forget.execute(connection).await;
        Ok(forgotten.map_err(|error| fault("forget messages of the inbox", error))?.rows_affected())
    }
}

/// The version of the tables; 0: there are none.
async fn version(connection: &mut PgConnection) -> Result<i64, Error> {
    let look = sqlx::query_scalar(include_str!("../../sql/postgres/has_schema.sql")).persistent(false);
    if !look.fetch_one(&mut *connection).await? {
        return Ok(0);
    }
    let look = sqlx::query_scalar(include_str!("../../sql/postgres/version.sql")).persistent(false);
    look.fetch_one(connection).await.map(|version: i32| version.into())
}

fn fault(what: &str, error: Error) -> InboxFault {
    let code = error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
    sqlstate::fault(what, code.as_deref(), error)
}
