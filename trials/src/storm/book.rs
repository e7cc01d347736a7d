//! What the database has in the end: where it may forget, what counts is what it remembers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::feed::Feed;
use super::subjects::{NUMBER, number_in};
use crate::failure::{Attempt as _, Failure};

/// How long transactions of writers that are gone may still be under way.
const SETTLING_MAX: Duration = Duration::from_secs(5);

/// Every event's payload, as far as its number needs, and its headers.
const EVENTS: &str = "SELECT substr(payload, 1, 40), headers FROM eventferry.outbox";

/// Waits until no transaction is under way but those of relays.
pub(super) async fn wait_for_stragglers(client: &Client) -> Result<(), Failure> {
    const OTHERS: &str = "
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND application_name <> 'eventferry'
          AND pid <> pg_backend_pid() AND xact_start IS NOT NULL";
    let started = Instant::now();
    while client.query_one(OTHERS, &[]).await.attempt("ask who is left")?.get::<_, i64>(0) > 0 {
        if started.elapsed() > SETTLING_MAX {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// What writers noted beside their messages, which are in no table.
const MESSAGES: &str = "SELECT number FROM storm.emitted";

/// The numbers of all events that were enqueued for good.
pub(super) async fn read(client: &Client, feed: Feed) -> Result<BTreeSet<u64>, Failure> {
    if feed == Feed::Messages {
        let rows = client.query(MESSAGES, &[]).await.attempt("read what was emitted")?;
        return Ok(rows.iter().map(|row| row.get::<_, i64>(0).cast_unsigned()).collect());
    }
    let rows = client.query(EVENTS, &[]).await.attempt("read the outbox")?;
    let number = |row: &tokio_postgres::Row| match row.get::<_, Option<&[u8]>>(0) {
        Some(payload) => number_in(payload),
        None => {
            let headers: Vec<&[u8]> = row.get::<_, Option<Vec<&[u8]>>>(1).unwrap_or_default();
            let (pairs, _) = headers.as_chunks::<2>();
            let pair = pairs.iter().find(|[name, _]| *name == NUMBER.as_bytes());
            pair.and_then(|[_, value]| number_in(value))
        }
    };
    Ok(rows.iter().filter_map(number).collect())
}
