//! The relay most teams write: rows have a status, a batch is claimed by SKIP LOCKED, sent, marked as sent.
//!
//! One worker, which waits for all acknowledgements of a batch before it marks it and claims the next. That it is
//! alone is also what keeps an aggregate's order: it claims in the order of ids and sends through one idempotent
//! producer, and nobody else has a later event of the aggregate in hand.

use std::error::Error;

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::sender::{Message, Sender};
use super::stopwatch::Stopwatch;
use crate::database::connect;
use crate::failure::{Attempt as _, Failure, failure};
use crate::topic::Topic;

/// The events of a batch.
const BATCH: u64 = 1_000;

const CLAIM: &str =
    "SELECT id, created_at, message_id, aggregate_type, aggregate_id, payload, content_type, headers
    FROM status_outbox WHERE status = 'pending' ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED";

const MARK: &str = "UPDATE status_outbox SET status = 'sent', sent_at = now() WHERE id = ANY ($1)";

/// Carries this many events; the stopwatch runs from before it connects to the last commit.
pub(super) async fn carry(
    url: &str,
    topic: &Topic,
    events: u64,
    stopwatch: &mut Stopwatch,
) -> Result<(), Failure> {
    let mut client = connect(url).await?;
    let mut sender = Sender::open(topic)?;
    let (claim, mark) = (client.prepare(CLAIM).await?, client.prepare(MARK).await?);
    let mut carried = 0;
    while carried < events {
        let transaction = client.transaction().await?;
        let batch = i64::try_from(BATCH.min(events - carried))?;
        let rows = transaction.query(&claim, &[&batch]).await.attempt("claim a batch")?;
        if rows.is_empty() {
            return Err(failure(format!("the table ran dry after {carried} of {events} events")));
        }
        for row in &rows {
            sender.send(&message(row)?).await?;
        }
        sender.flush().await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        transaction.execute(&mark, &[&ids]).await.attempt("mark a batch")?;
        transaction.commit().await?;
        carried += rows.len() as u64;
    }
    stopwatch.stop();
    Ok(())
}

fn message(row: &Row) -> Result<Message<'_>, Failure> {
    let raw = |column| row.try_get(column).map(|Raw(bytes)| bytes);
    Ok(Message {
        micros: i64::from_be_bytes(raw(1)?.try_into()?),
        message_id: raw(2)?.try_into()?,
        aggregate_type: raw(3)?,
        aggregate_id: raw(4)?,
        payload: raw(5)?,
        content_type: raw(6)?,
        headers: raw(7)?,
    })
}

/// The bytes of a value, whatever its type.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
