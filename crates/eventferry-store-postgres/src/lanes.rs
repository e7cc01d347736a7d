//! Who owns which lane.

use std::time::Duration;

use eventferry_core::store::{Claim, Held, Lanes, Ownership, RelayId};
use eventferry_core::{Lane, Lease, StoreFault, StoreFaultKind};
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::connection::Connection;

/// Leases on lanes, kept in `eventferry.lane` and `eventferry.beat`.
#[derive(Debug)]
pub struct PostgresLanes {
    connection: Connection,
    relay: String,
    /// Tells this process from an earlier or second one of the same name.
    incarnation: Uuid,
    /// How often it claimed: a claim that arrives after a later one is known by that.
    claims: i64,
    /// Until when another process of this name was seen to live, when that was first seen.
    rival_until: Option<String>,
    /// All lanes are taken or none.
    whole: bool,
}

impl PostgresLanes {
    pub(crate) fn new(connection: Connection, relay: &RelayId, ownership: Ownership) -> Self {
        let incarnation = Uuid::new_v4();
        let whole = ownership == Ownership::Whole;
        Self { connection, relay: relay.0.clone(), incarnation, claims: 0, rival_until: None, whole }
    }

    /// A process of the same name may just have died: it is waited for. If it beats again it lives.
    fn judge_rival(&mut self, until: String) -> Result<Held, StoreFault> {
        let first = self.rival_until.get_or_insert_with(|| until.clone());
        if *first == until {
            return Ok(Held { leases: Vec::new(), relays_live: 1, lanes_total: 0 });
        }
        Err(StoreFault::new(
            StoreFaultKind::Misconfigured,
            format!(
                "another relay runs under the id `{}`; give each its own (--relay-id), or leave it out \
                 for a random one",
                self.relay
            ),
        ))
    }
}

const WHAT: &str = "renew leases";

impl Lanes for PostgresLanes {
    async fn hold(&mut self, claim: Claim) -> Result<Held, StoreFault> {
        let lease_ms = i64::try_from(claim.lease.as_millis()).unwrap_or(i64::MAX);
        let lanes: Vec<i32> = claim.keep.iter().map(|lease| i32::from(lease.lane.0)).collect();
        let epochs: Vec<i64> = claim.keep.iter().map(|lease| lease.epoch as i64).collect();
        self.claims += 1;
        let (relay, incarnation, claims) = (self.relay.clone(), self.incarnation, self.claims);
        let take_max = i32::from(claim.take_max);
        // A lease is worthless long before a call's usual limit.
        let limit = claim.lease.max(Duration::from_secs(2));
        let whole = self.whole || claim.whole;
        let params: [(&(dyn ToSql + Sync), Type); 8] = [
            (&relay, Type::TEXT),
            (&incarnation, Type::UUID),
            (&claims, Type::INT8),
            (&lease_ms, Type::INT8),
            (&lanes, Type::INT4_ARRAY),
            (&epochs, Type::INT8_ARRAY),
            (&take_max, Type::INT4),
            (&whole, Type::BOOL),
        ];
        let client = self.connection.client_within(limit).await?;
        let query = client.query_typed_one(include_str!("../sql/hold.sql"), &params);
        let row = self.connection.answer_within(WHAT, limit, query).await?;
        if let Some(until) = row.get::<_, Option<String>>(4) {
            return self.judge_rival(until);
        }
        self.rival_until = None;
        let (lanes, epochs): (Vec<i32>, Vec<i64>) = (row.get(0), row.get(1));
        let leases = lanes.into_iter().zip(epochs);
        Ok(Held {
            leases: leases
                .map(|(lane, epoch)| Lease { lane: Lane(lane as u16), epoch: epoch as u64 })
                .collect(),
            relays_live: row.get::<_, i64>(2).clamp(0, i64::from(u32::MAX)) as u32,
            lanes_total: row.get::<_, i64>(3).clamp(0, i64::from(u16::MAX)) as u16,
        })
    }
}
