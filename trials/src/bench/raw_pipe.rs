//! The limit: a binary COPY out of the table straight into librdkafka. It keeps no books, so it cannot be stopped,
//! resumed or shared, and a crash loses its place.

use std::pin::pin;

use futures_util::StreamExt as _;

use super::sender::{Message, Sender};
use super::stopwatch::Stopwatch;
use crate::database::connect;
use crate::failure::{Attempt as _, Failure, failure};
use crate::topic::Topic;

/// The columns that travel, in the order of the table, which is that of ids.
const COPY: &str =
    "COPY (SELECT created_at, message_id, aggregate_type, aggregate_id, payload, content_type, headers
    FROM eventferry.outbox) TO STDOUT (FORMAT binary)";

/// Carries all events; the stopwatch runs from before it connects to the last acknowledgement.
pub(super) async fn carry(
    url: &str,
    topic: &Topic,
    events: u64,
    stopwatch: &mut Stopwatch,
) -> Result<(), Failure> {
    let client = connect(url).await?;
    let mut sender = Sender::open(topic)?;
    let mut chunks = pin!(client.copy_out(COPY).await.attempt("copy out")?);
    let (mut first, mut carried) = (true, 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.attempt("copy out")?;
        let mut rest = &chunk[..];
        if std::mem::take(&mut first) {
            // Signature, flags and the length of an extension that is not there.
            rest = rest.get(19..).ok_or_else(broken)?;
        }
        if rest.is_empty() || rest == [0xff; 2] {
            continue;
        }
        sender.send(&message(rest).ok_or_else(broken)?).await?;
        carried += 1;
    }
    sender.flush().await?;
    stopwatch.stop();
    if carried == events {
        Ok(())
    } else {
        Err(failure(format!("the pipe found {carried} of {events} events")))
    }
}

fn broken() -> Failure {
    failure("a row of the COPY cannot be read")
}

/// A row in COPY's binary form: a count of fields, then each with its length before it.
fn message(row: &[u8]) -> Option<Message<'_>> {
    let mut rest = row.get(2..)?;
    let mut field = || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (field, after) = after.split_at_checked(usize::try_from(i32::from_be_bytes(*length)).ok()?)?;
        rest = after;
        Some(field)
    };
    Some(Message {
        micros: i64::from_be_bytes(field()?.try_into().ok()?),
        message_id: field()?.try_into().ok()?,
        aggregate_type: field()?,
        aggregate_id: field()?,
        payload: field()?,
        content_type: field()?,
        headers: field()?,
    })
}
