//! Promise 4: an event arrives again only if its relay was cut off before the event was settled: killed, or alive with
//! its leases run out, as happens on a machine too busy to renew them.
//!
//! The rule, for each repeat: some kill lies between the delivery before and the repeat; the killed relay owned the
//! event's lane; and the lane's position, as the database had it right after the kill, did not cover the event. So
//! without kills there is no repeat, a kill repeats nothing of other lanes, and what was settled never comes again.
//! Besides, one kill repeats no more than one relay holds. Of a lease that ran out it is not known when and of which
//! lanes, so it explains what came again after the last look that found the leases whole. A broker that was killed,
//! frozen or cut off, and a database that forgot, are cuts of all lanes and of all relays; a database that was only
//! away is none: what was acknowledged meanwhile is settled when it is back.

use std::collections::{BTreeMap, BTreeSet};

use eventferry::MessageId;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use crate::failure::{Attempt as _, Failure};

use super::findings::{Breach, Findings};

/// A relay was cut off from its lanes.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut {
    /// Which relay, or what of the ground.
    pub(super) relay: String,
    /// How many relays it concerns.
    pub(super) relays: u64,
    /// The lanes it owned, and where each stood, if that is known.
    pub(super) lanes: Standing,
    /// Before and after, by the broker's clock.
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
    /// Of the events that arrived more than once, those that were settled by then.
    pub(super) settled: BTreeSet<u64>,
    /// How many repeats it explained.
    pub(super) repeats: u64,
}

/// Lanes, and where each stands, if that is known.
pub(super) type Standing = BTreeMap<u16, Option<Position>>;

/// How far a lane had been carried: everything visible in `prev`, and of what is visible in `cur` that up to an id.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    prev: String,
    cur: String,
    last_id: i64,
}

/// What a killed relay had sent may be appended a little later: the broker has it in a socket still.
const TRAILING_MAX_MS: i64 = 1_000;

/// How many records a relay holds at most: `memory_records_max` and a page's overshoot.
pub(super) const HELD_MAX: u64 = 35_000;

/// All deliveries of an event that arrived more than once, in their order.
#[derive(Clone, Debug)]
pub(super) struct Deliveries {
    pub(super) number: u64,
    pub(super) lane: u16,
    pub(super) message_id: Option<MessageId>,
    pub(super) appended_ms: Vec<i64>,
}

/// What was found of repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Repeats {
    pub(super) count: u64,
    /// How long before its kill a repeated event had been delivered, at most.
    pub(super) oldest_ms: i64,
}

/// Explains every repeat by a kill, or finds that none does.
pub(super) fn check(repeated: &[Deliveries], cuts: &mut [Cut], findings: &mut Findings) -> Repeats {
    let mut repeats = Repeats::default();
    for Deliveries { number, lane, appended_ms, .. } in repeated {
        for pair in appended_ms.windows(2) {
            repeats.count += 1;
            let explains = |cut: &Cut| cut.explains(*number, *lane, pair[0], pair[1]);
            match cuts.iter().position(explains) {
                Some(place) => {
                    cuts[place].repeats += 1;
                    repeats.oldest_ms = repeats.oldest_ms.max(cuts[place].from_ms - pair[0]);
                }
                None => findings.add(Breach::Repeat, || {
                    format!(
                        "event {number} of lane {lane} was delivered at {} and at {} ms; kills: {}",
                        pair[0],
                        pair[1],
                        told(cuts, *number, *lane)
                    )
                }),
            }
        }
    }
    for cut in cuts.iter().filter(|cut| cut.repeats > HELD_MAX * cut.relays) {
        findings.add(Breach::Repeat, || {
            format!("{} repeated {} events, more than can have been in flight", cut.relay, cut.repeats)
        });
    }
    repeats
}

impl Cut {
    /// The leases of a living relay ran out between two looks, whichever lanes it had.
    pub(super) fn lapse(relay: &str, lanes_total: u16, from_ms: i64, to_ms: i64) -> Self {
        let lanes = (0..lanes_total).map(|lane| (lane, None)).collect();
        Self { relay: relay.to_owned(), relays: 1, lanes, from_ms, to_ms, ..Self::default() }
    }

    /// All these relays were cut off from the broker, or forgot what they had, whichever lanes they had.
    pub(super) fn of_all(what: &str, relays: usize, lanes_total: u16, from_ms: i64, to_ms: i64) -> Self {
        Self { relays: relays as u64, ..Self::lapse(what, lanes_total, from_ms, to_ms) }
    }

    fn explains(&self, number: u64, lane: u16, before_ms: i64, again_ms: i64) -> bool {
        self.lanes.contains_key(&lane)
            && !self.settled.contains(&number)
            && before_ms <= self.to_ms + TRAILING_MAX_MS
            && again_ms >= self.from_ms
    }

    /// Asks the database which of these events this relay's positions covered.
    pub(super) async fn find_settled(
        &mut self,
        client: &Client,
        repeated: &[Deliveries],
    ) -> Result<(), Failure> {
        let mut asked = Vec::new();
        let (mut ids, mut prevs, mut curs, mut last_ids) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for Deliveries { number, lane, message_id, .. } in repeated {
            if let (Some(Some(at)), Some(id)) = (self.lanes.get(lane), message_id) {
                asked.push(*number);
                ids.push(id.to_string());
                prevs.push(at.prev.as_str());
                curs.push(at.cur.as_str());
                last_ids.push(at.last_id);
            }
        }
        let params: [&(dyn ToSql + Sync); 4] = [&ids, &prevs, &curs, &last_ids];
        let rows = client.query(SETTLED, &params).await.attempt("ask what was settled")?;
        self.settled =
            rows.iter().filter_map(|row| asked.get(row.get::<_, i64>(0) as usize - 1)).copied().collect();
        Ok(())
    }
}

/// The places of those events, among the ones asked for, that a position covers.
const SETTLED: &str = "
    SELECT e.place
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY
         AS e (message_id, prev, cur, last_id, place)
    JOIN eventferry.outbox AS o ON o.message_id = e.message_id::uuid
    WHERE pg_visible_in_snapshot(o.xid, e.prev::pg_snapshot)
       OR (pg_visible_in_snapshot(o.xid, e.cur::pg_snapshot) AND o.id <= e.last_id)";

/// Where the lanes of a relay stand.
pub(super) async fn lanes_of(client: &Client, relay: &str) -> Result<Standing, Failure> {
    let query = "
        SELECT p.lane, p.prev::text, p.cur::text, p.last_id FROM eventferry.positions(
            (SELECT array_agg(l.lane) FROM eventferry.lane AS l WHERE l.owner = $1)) AS p";
    let rows = client.query(query, &[&relay]).await.attempt("ask where a relay's lanes stand")?;
    let position = |row: &Row| Some(Position { prev: row.get(1), cur: row.get(2), last_id: row.get(3) });
    Ok(rows.iter().map(|row| (row.get::<_, i32>(0) as u16, position(row))).collect())
}

/// The kills, those that concern an event's lane marked.
fn told(cuts: &[Cut], number: u64, lane: u16) -> String {
    let one = |cut: &Cut| {
        let its = match cut.lanes.contains_key(&lane) {
            true if cut.settled.contains(&number) => ", the lane's owner, when the event was settled",
            true => ", the lane's owner",
            false => "",
        };
        format!("{} at {} to {} ms{its}", cut.relay, cut.from_ms, cut.to_ms)
    };
    let all: Vec<String> = cuts.iter().map(one).collect();
    if all.is_empty() { "none".to_owned() } else { all.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(from_ms: i64) -> Cut {
        let lanes = BTreeMap::from([(1, Some(Position::default())), (2, None)]);
        Cut { relay: "a".into(), relays: 1, lanes, from_ms, to_ms: from_ms + 10, ..Cut::default() }
    }

    fn unexplained(lane: u16, appended_ms: &[i64], cuts: &[Cut]) -> u64 {
        let mut findings = Findings::default();
        let appended_ms = appended_ms.to_vec();
        let count = appended_ms.len() as u64 - 1;
        let repeated = [Deliveries { number: 1, lane, message_id: None, appended_ms }];
        assert_eq!(check(&repeated, &mut cuts.to_vec(), &mut findings).count, count);
        findings.count(Breach::Repeat)
    }

    #[test]
    fn only_a_kill_of_the_lanes_owner_between_two_deliveries_explains_the_second() {
        let cuts = [at(10_000)];
        assert_eq!(unexplained(1, &[9_990, 12_000], &[]), 1);
        assert_eq!(unexplained(1, &[9_990, 12_000], &cuts), 0);
        assert_eq!(unexplained(3, &[9_990, 12_000], &cuts), 1, "another's lane");
        assert_eq!(unexplained(1, &[11_500, 12_000], &cuts), 1, "sent by the next owner");
        assert_eq!(unexplained(1, &[9_980, 9_990], &cuts), 1, "before the kill");
    }

    #[test]
    fn what_was_settled_never_comes_again() {
        let settled = Cut { settled: [1].into(), ..at(10_000) };
        assert_eq!(unexplained(1, &[9_990, 12_000], &[settled]), 1);
    }

    #[test]
    fn each_repeat_needs_a_kill_of_its_own() {
        assert_eq!(unexplained(1, &[100, 3_000, 6_000], &[at(110)]), 1);
        assert_eq!(unexplained(1, &[100, 3_000, 6_000], &[at(110), at(3_010)]), 0);
    }
}
