//! Who owns which lane.
//!
//! Leases are judged by the host's clock, which all relays of one file share. A clock that is set forward ends leases
//! early: the lanes change hands, and the former owners are fenced by their epochs. One that is set back by more than a
//! lease makes heartbeats lie in the future, and they count as run out, lest dead relays live on for as long.

use std::time::Duration;

use eventferry_core::store::{Claim, Held, Lanes, RelayId};
use eventferry_core::{Lane, Lease, StoreFault, StoreFaultKind};
use rusqlite::{OptionalExtension, Transaction, named_params};
use uuid::Uuid;

use crate::config::{SqliteConfig, micros};
use crate::connection::Connection;
use crate::fault::fault;
use crate::schema::lanes_total;

/// Leases on lanes, kept in `eventferry_lane` and `eventferry_relay`.
#[derive(Debug)]
pub struct SqliteLanes {
    connection: Connection,
    relay: String,
    /// Tells this process from an earlier or second one of the same name.
    incarnation: [u8; 16],
    /// The heartbeat of another process of this name, as it was first seen.
    rival: Option<Beat>,
}

/// A heartbeat: whose, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beat {
    incarnation: [u8; 16],
    at: i64,
}

/// What a round came to.
enum Round {
    Held(Held),
    /// Another process of this name lives, so nothing was done.
    Rival {
        beat: Beat,
        relays_live: u32,
        lanes_total: u16,
    },
}

const WHAT: &str = "renew leases";

/// The longest name of a relay.
const RELAY_ID_CHARS_MAX: usize = 200;

impl SqliteLanes {
    pub(crate) fn new(config: SqliteConfig, relay: &RelayId) -> Self {
        Self {
            connection: Connection::new(config, "lanes"),
            relay: relay.0.clone(),
            incarnation: Uuid::new_v4().into_bytes(),
            rival: None,
        }
    }

    /// A process of the same name may just have died: it is waited for. If it beats again it lives.
    fn judge_rival(&mut self, beat: Beat, waiting: Held) -> Result<Held, StoreFault> {
        match self.rival {
            Some(seen) if seen.incarnation == beat.incarnation && seen.at != beat.at => {
                // Whoever asks again after this starts from the beginning.
                self.rival = None;
                Err(StoreFault::new(
                    StoreFaultKind::Misconfigured,
                    format!(
                        "another relay runs under the id `{}`; give each its own (--relay-id), \
                         or leave it out for a random one",
                        self.relay
                    ),
                ))
            }
            _ => {
                self.rival = Some(beat);
                Ok(waiting)
            }
        }
    }
}

impl Lanes for SqliteLanes {
    async fn hold(&mut self, claim: Claim) -> Result<Held, StoreFault> {
        if !(1..=RELAY_ID_CHARS_MAX).contains(&self.relay.chars().count()) {
            return Err(StoreFault::new(
                StoreFaultKind::Misconfigured,
                format!("the relay's id must have 1 to {RELAY_ID_CHARS_MAX} characters (--relay-id)"),
            ));
        }
        let (relay, incarnation, leaving) = (self.relay.clone(), self.incarnation, claim.lease.is_zero());
        let round = self.connection.ask(move |keeper| {
            let now = keeper.config.now().0;
            let (database, _) = keeper.database()?;
            let transaction = database.write(WHAT)?;
            let whole = claim.whole;
            let books = Books { transaction: &transaction, relay: &relay, incarnation, now, whole };
            let round = books.round(&claim)?;
            transaction.commit().map_err(|error| fault(WHAT, error))?;
            Ok(round)
        });
        match round.await? {
            Round::Held(held) => {
                self.rival = None;
                Ok(held)
            }
            Round::Rival { beat, relays_live, lanes_total } => {
                let nothing = Held { leases: Vec::new(), relays_live, lanes_total };
                if leaving { Ok(nothing) } else { self.judge_rival(beat, nothing) }
            }
        }
    }
}

/// The tables under the write lock. A crash of the host may undo a round, which is not made durable; it ends every
/// relay of the file too.
struct Books<'a> {
    transaction: &'a Transaction<'a>,
    relay: &'a str,
    incarnation: [u8; 16],
    /// Microseconds since 1970.
    now: i64,
    /// All lanes are taken or none.
    whole: bool,
}

impl Books<'_> {
    fn round(&self, claim: &Claim) -> Result<Round, StoreFault> {
        let lanes_total = lanes_total(self.transaction)?;
        let round = || {
            if let Some(beat) = self.rival()? {
                return Ok(Round::Rival { beat, relays_live: self.relays_live()?, lanes_total });
            }
            if claim.lease.is_zero() {
                self.leave()?;
            } else {
                self.beat(claim.lease)?;
                self.free(&claim.keep)?;
                self.take(claim.take_max)?;
            }
            Ok(Round::Held(Held { leases: self.leases()?, relays_live: self.relays_live()?, lanes_total }))
        };
        round().map_err(|error| fault(WHAT, error))
    }

    /// The heartbeat of another process of this name, if it has not run out.
    fn rival(&self) -> rusqlite::Result<Option<Beat>> {
        let mut statement = self.transaction.prepare_cached(include_str!("../sql/rival.sql"))?;
        let parameters =
            named_params! { ":relay": self.relay, ":incarnation": self.incarnation, ":now": self.now };
        statement
            .query_row(parameters, |row| Ok(Beat { incarnation: row.get(0)?, at: row.get(1)? }))
            .optional()
    }

    fn beat(&self, lease: Duration) -> rusqlite::Result<()> {
        let mut statement = self.transaction.prepare_cached(include_str!("../sql/beat.sql"))?;
        statement.execute(named_params! {
            ":relay": self.relay, ":incarnation": self.incarnation, ":now": self.now, ":lease": micros(lease),
            ":whole": self.whole,
        })?;
        Ok(())
    }

    fn leave(&self) -> rusqlite::Result<()> {
        self.transaction.prepare_cached(include_str!("../sql/unbeat.sql"))?.execute([self.relay])?;
        self.free(&[])
    }

    /// Frees the lanes whose row names this relay and which it does not keep.
    fn free(&self, keep: &[Lease]) -> rusqlite::Result<()> {
        let mut statement = self.transaction.prepare_cached(include_str!("../sql/free_lane.sql"))?;
        for lease in self.leases()? {
            if !keep.contains(&lease) {
                statement.execute([lease.lane.0])?;
            }
        }
        Ok(())
    }

    fn take(&self, mut take_max: u16) -> rusqlite::Result<()> {
        if self.whole && take_max > 0 {
            let others_live: bool = self
                .transaction
                .prepare_cached(include_str!("../sql/others_live.sql"))?
                .query_row(named_params! { ":relay": self.relay, ":now": self.now }, |row| row.get(0))?;
            take_max = if others_live { 0 } else { u16::MAX };
        }
        let mut statement = self.transaction.prepare_cached(include_str!("../sql/take_lanes.sql"))?;
        statement.execute(named_params! { ":relay": self.relay, ":now": self.now, ":take_max": take_max })?;
        Ok(())
    }

    fn leases(&self) -> rusqlite::Result<Vec<Lease>> {
        let mut statement = self.transaction.prepare_cached(include_str!("../sql/leases.sql"))?;
        let leases = statement
            .query_map([self.relay], |row| Ok(Lease { lane: Lane(row.get(0)?), epoch: row.get(1)? }))?;
        leases.collect()
    }

    fn relays_live(&self) -> rusqlite::Result<u32> {
        let mut statement = self.transaction.prepare_cached(include_str!("../sql/relays_live.sql"))?;
        statement.query_row(
            named_params! { ":relay": self.relay, ":now": self.now, ":whole": self.whole },
            |row| row.get(0),
        )
    }
}
