//! Where a lost event lies in the log, for whoever looks for the reason.

use eventferry::MessageId;
use tokio_postgres::Client;

use crate::failure::{Attempt as _, Failure};

/// The event as the log has it, beside the position and the owner of its lane.
const TRACE: &str = "
    SELECT format('%s: xid %s, id %s, lane %s, for %s (partition %s, key %s), enqueued at %s; the lane stands at id %s '
                  'of the window from %s to %s, which shows the event: %s, settled at %s by %s',
                  o.message_id, o.xid, o.id, p.lane, o.topic, coalesce(o.partition::text, 'by key'),
                  coalesce(convert_from(o.key, 'UTF8'), o.aggregate_id), o.created_at, p.last_id, p.prev, p.cur,
                  pg_visible_in_snapshot(o.xid, p.cur), q.settled_at, l.owner)
    FROM eventferry.outbox AS o
    CROSS JOIN LATERAL eventferry.positions(ARRAY[o.lane_hash % (SELECT count(*)::integer FROM eventferry.lane)]) AS p
    JOIN eventferry.position AS q ON q.lane = p.lane AND q.version = p.version
    JOIN eventferry.lane AS l ON l.lane = p.lane
    WHERE o.message_id = ANY ($1::text[]::uuid[])
    ORDER BY o.id";

/// A line for each of these events that the log has.
pub(super) async fn trace(client: &Client, ids: &[MessageId]) -> Result<Vec<String>, Failure> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = client.query(TRACE, &[&ids]).await.attempt("look for lost events in the log")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
