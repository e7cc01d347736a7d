//! Intents: what is settled when a transaction of the broker's is committed.
//!
//! An intent is written under the write lock and the leases of all lanes, like a settlement, and carried out by the
//! code that settles. A file that is restored brings its own intents: whether they speak of what the broker has is for
//! the stamp to say, and whether their marks are this file's is seen from the last id.

use std::collections::BTreeMap;

use eventferry_core::store::{Intent, Verdict};
use eventferry_core::transaction::{Agreement, Resolved};
use eventferry_core::{Lane, Lease, PackedRow, Stamp, StoreFault, Timestamp};
use rusqlite::{OptionalExtension, Transaction, named_params};

use super::told::Movement;
use super::{carry_out, items};
use crate::connection::{Keeper, Past};
use crate::fault::fault;
use crate::feed::{SqliteMark, history_lost, last_id};
use crate::schema::lanes_total;

const INTEND: &str = "write an intent down";
const RESOLVE: &str = "carry intents out";

/// An [`Intent`], as its thread gets it.
pub(super) struct IntendRound {
    relay: String,
    stamp: Stamp,
    after: u64,
    settled: u64,
    leases: Vec<Lease>,
    moves: Vec<Movement>,
    /// The epoch and position at which each lane was seen last.
    known: BTreeMap<Lane, (u64, i64)>,
}

impl IntendRound {
    pub(super) fn of(
        relay: &str,
        intent: &Intent<'_, SqliteMark, PackedRow>,
        known: &BTreeMap<Lane, (u64, i64)>,
    ) -> Self {
        Self {
            relay: relay.to_owned(),
            stamp: intent.stamp,
            after: intent.after,
            settled: intent.settled,
            leases: intent.leases.to_vec(),
            moves: intent.settlements.iter().map(Movement::of).collect(),
            known: known.clone(),
        }
    }

    pub(super) fn run(self, keeper: &mut Keeper) -> Result<Verdict, StoreFault> {
        let (database, past) = keeper.database()?;
        if past == Past::Replaced {
            return Err(history_lost("another file was put in the place of the database"));
        }
        let transaction = database.write(INTEND)?;
        let verdict = self.intend(&transaction)?;
        transaction.commit().map_err(|error| fault(INTEND, error))?;
        // Also for what was written down before: its call may have failed here.
        database.make_durable()?;
        Ok(verdict)
    }

    fn intend(&self, books: &Transaction<'_>) -> Result<Verdict, StoreFault> {
        let failed = |error| fault(INTEND, error);
        let Some(positions) = held(books, &self.relay, &self.leases).map_err(failed)? else {
            return Ok(Verdict::Fenced);
        };
        let last_id = last_id(books).map_err(failed)?;
        for lease in &self.leases {
            let known = self.known.get(&lease.lane).filter(|(epoch, _)| *epoch == lease.epoch);
            if known.is_some_and(|(_, known)| positions.get(&lease.lane).is_some_and(|at| at < known)) {
                return Err(history_lost("the database knows less than was settled: it was restored"));
            }
        }
        if self.moves.iter().any(|movement| movement.to.is_some_and(|to| to > last_id)) {
            return Err(history_lost("the database knows less than was read: it was restored"));
        }
        self.write(books).map_err(failed)
    }

    fn write(&self, books: &Transaction<'_>) -> rusqlite::Result<Verdict> {
        let Stamp { number, nonce } = self.stamp;
        let nonce = nonce.cast_signed();
        if let Some((newest, its_nonce)) = newest(books)?
            && newest >= number
        {
            // Made again it is there; one that comes after another says nothing any more.
            let is_another = newest == number && its_nonce != nonce;
            return Ok(if is_another { Verdict::Fenced } else { Verdict::Done });
        }
        // Not left to a sweep: no old version of a row stays, so it costs the pages that are written anyway.
        books.prepare_cached(include_str!("../../sql/forget_intents.sql"))?.execute([self.settled])?;
        books.prepare_cached(include_str!("../../sql/forget_items.sql"))?.execute([self.settled])?;
        books
            .prepare_cached(include_str!("../../sql/intend.sql"))?
            .execute(named_params! { ":number": number, ":nonce": nonce, ":after": self.after })?;
        items::write(books, number, &self.moves)?;
        Ok(Verdict::Done)
    }
}

/// The positions of these lanes, if each is held under its lease.
fn held(
    books: &Transaction<'_>,
    relay: &str,
    leases: &[Lease],
) -> rusqlite::Result<Option<BTreeMap<Lane, i64>>> {
    let mut fence = books.prepare_cached(include_str!("../../sql/fence.sql"))?;
    let mut positions = BTreeMap::new();
    for Lease { lane, epoch } in leases {
        let parameters = named_params! { ":lane": lane.0, ":owner": relay, ":epoch": epoch };
        let Some(position) = fence.query_row(parameters, |row| row.get(0)).optional()? else {
            return Ok(None);
        };
        positions.insert(*lane, position);
    }
    Ok(Some(positions))
}

/// The number and the nonce of the newest intent.
fn newest(books: &Transaction<'_>) -> rusqlite::Result<Option<(u64, i64)>> {
    let mut statement = books.prepare_cached(include_str!("../../sql/newest_intent.sql"))?;
    statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// Forgets every intent, if there is any: who carries without transactions leaves intents behind that speak of a place
/// from which lanes have moved on.
pub(super) fn forget_all(books: &Transaction<'_>) -> rusqlite::Result<()> {
    if newest(books)?.is_some() {
        forget_others(books, None)?;
    }
    Ok(())
}

/// Leaves the transaction committed last alone, by its name.
fn forget_others(books: &Transaction<'_>, committed: Option<u64>) -> rusqlite::Result<()> {
    books.prepare_cached(include_str!("../../sql/forget_other_intents.sql"))?.execute([committed])?;
    books.prepare_cached(include_str!("../../sql/forget_all_items.sql"))?.execute([])?;
    Ok(())
}

/// A call of `Ledger::resolve`, as its thread gets it.
pub(super) struct ResolveRound {
    pub(super) relay: String,
    pub(super) leases: Vec<Lease>,
    pub(super) committed: Option<Stamp>,
    /// Marks the lanes that it moves.
    pub(super) told: i64,
}

impl ResolveRound {
    pub(super) fn run(self, keeper: &mut Keeper) -> Result<(Past, Resolved), StoreFault> {
        let now = keeper.config.now();
        let (database, past) = keeper.database()?;
        let transaction = database.write(RESOLVE)?;
        let resolved = self.resolve(&transaction, now)?;
        transaction.commit().map_err(|error| fault(RESOLVE, error))?;
        database.make_durable()?;
        Ok((past, resolved))
    }

    fn resolve(&self, books: &Transaction<'_>, now: Timestamp) -> Result<Resolved, StoreFault> {
        let failed = |error| fault(RESOLVE, error);
        let newest = books
            .prepare_cached(include_str!("../../sql/newest_number.sql"))
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(failed)?;
        // With a part of the lanes it would forget what is intended for the others.
        let is_whole = self.leases.len() == usize::from(lanes_total(books)?);
        if !is_whole || held(books, &self.relay, &self.leases).map_err(failed)?.is_none() {
            return Ok(Resolved { agreement: Agreement::Fenced, newest });
        }
        let agreement = match self.chain(books).map_err(failed)? {
            Some(chain) => {
                for number in chain {
                    self.carry_out(books, number, now)?;
                }
                Agreement::Agreed
            }
            None => Agreement::Parted,
        };
        let committed = self.committed.filter(|_| agreement == Agreement::Agreed);
        forget_others(books, committed.map(|stamp| stamp.number)).map_err(failed)?;
        Ok(Resolved { agreement, newest })
    }

    /// The numbers of the intents that end at what was committed last, in their order; `None`: it is unknown here, or
    /// the marks of intents are another file's.
    fn chain(&self, books: &Transaction<'_>) -> rusqlite::Result<Option<Vec<u64>>> {
        let mut statement = books.prepare_cached(include_str!("../../sql/intents.sql"))?;
        let intents = statement.query_map([], |row| {
            Ok((Stamp { number: row.get(0)?, nonce: row.get::<_, i64>(1)?.cast_unsigned() }, row.get(2)?))
        })?;
        let intents: Vec<(Stamp, u64)> = intents.collect::<rusqlite::Result<_>>()?;
        let Some(committed) = self.committed else {
            return Ok(intents.is_empty().then(Vec::new));
        };
        let is_elsewhere: bool = books
            .prepare_cached(include_str!("../../sql/elsewhere.sql"))?
            .query_row([last_id(books)?], |row| row.get(0))?;
        if is_elsewhere || !intents.iter().any(|(stamp, _)| *stamp == committed) {
            return Ok(None);
        }
        let (mut chain, mut next) = (Vec::new(), committed.number);
        // From the newest on: each follows on one with a smaller number.
        for (stamp, after) in intents {
            if stamp.number == next {
                chain.push(stamp.number);
                next = after;
            }
        }
        chain.reverse();
        Ok(Some(chain))
    }

    fn carry_out(&self, books: &Transaction<'_>, number: u64, now: Timestamp) -> Result<(), StoreFault> {
        let failed = |error| fault(RESOLVE, error);
        for movement in items::read(books, number).map_err(failed)? {
            let lane = movement.lease.lane;
            let place = books
                .prepare_cached(include_str!("../../sql/place.sql"))
                .and_then(|mut statement| {
                    statement.query_row([lane.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?)))
                })
                .optional()
                .map_err(failed)?;
            // What a lane has settled with its position already includes this.
            let Some((position, _)) = place.filter(|(_, carries)| *carries < number) else { continue };
            carry_out(books, &movement, position, self.told, now)?;
        }
        Ok(())
    }
}
