//! What people see of parked events, and what they decide.

use eventferry_core::PackedRow;
use eventferry_core::parked::{
    Act, Decision, Decisions, Desk, ParkedFilter, ParkedKey, ShowAsk, ShownEvent, ShownPage, Stage,
};
use eventferry_core::{Lane, MessageId, StoreFault, StoreFaultKind, Timestamp};
use rusqlite::{Row, Transaction, named_params};

use crate::config::{SqliteConfig, micros};
use crate::connection::{Connection, Keeper};
use crate::fault::fault;
use crate::ledger::{DECISIONS, RowStatements, STAGES, key_of, one_of, parked_lanes, stage_of, word_of};
use crate::row::text_of;

/// Parked events and decisions on them, kept in `eventferry_parked`; who decided what is kept in `eventferry_audit`.
#[derive(Debug)]
pub struct SqliteDesk {
    connection: Connection,
}

/// The longest name of who acts.
const WHO_CHARS_MAX: usize = 200;

/// The longest reason of who acts.
const WHY_CHARS_MAX: usize = 1_000;

impl SqliteDesk {
    pub(crate) fn new(config: SqliteConfig) -> Self {
        Self { connection: Connection::new(config, "desk") }
    }
}

impl Desk for SqliteDesk {
    type Row = PackedRow;

    async fn show(&mut self, ask: ShowAsk<'_>) -> Result<ShownPage<PackedRow>, StoreFault> {
        let ShowAsk { filter, after, records_max, bytes_max } = ask;
        let showing = Showing { filter: filter.clone(), after, records_max: records_max as usize, bytes_max };
        self.connection.ask(move |keeper| showing.run(keeper)).await
    }

    async fn decide(
        &mut self,
        filter: &ParkedFilter,
        decision: Decision,
        act: &Act,
    ) -> Result<Decisions, StoreFault> {
        check(act)?;
        let (filter, act) = (filter.clone(), act.clone());
        self.connection.ask(move |keeper| decide(keeper, &filter, decision, &act)).await
    }

    async fn record(&mut self, what: &str, act: &Act) -> Result<(), StoreFault> {
        check(act)?;
        let (what, act) = (what.to_owned(), act.clone());
        self.connection.ask(move |keeper| record(keeper, &what, &act)).await
    }
}

fn check(Act { who, why }: &Act) -> Result<(), StoreFault> {
    let refused = |message: String| Err(StoreFault::new(StoreFaultKind::Misconfigured, message));
    if !(1..=WHO_CHARS_MAX).contains(&who.chars().count()) {
        return refused(format!(
            "the name of who acts must have 1 to {WHO_CHARS_MAX} characters; give another"
        ));
    }
    if why.chars().count() > WHY_CHARS_MAX {
        return refused(format!("the reason has more than {WHY_CHARS_MAX} characters; say it in fewer"));
    }
    Ok(())
}

const SHOW: &str = "show parked events";

/// A [`ShowAsk`], as its thread gets it.
struct Showing {
    filter: ParkedFilter,
    after: Option<ParkedKey>,
    records_max: usize,
    bytes_max: u64,
}

impl Showing {
    fn run(&self, keeper: &mut Keeper) -> Result<ShownPage<PackedRow>, StoreFault> {
        let now = keeper.config.now();
        let (database, _) = keeper.database()?;
        let transaction = database.snapshot(SHOW)?;
        let page = self.page(&transaction, now).map_err(|error| fault(SHOW, error))?;
        transaction.commit().map_err(|error| fault(SHOW, error))?;
        Ok(page)
    }

    fn page(&self, transaction: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<ShownPage<PackedRow>> {
        let mut statements = RowStatements::new(transaction)?;
        let (mut page, mut bytes) = (ShownPage { events: Vec::new(), more: false }, 0_u64);
        each_meant(transaction, &self.filter, self.after, now, |meant| {
            bytes = bytes.saturating_add(meant.size_bytes);
            let is_first = page.events.is_empty();
            page.more = page.events.len() == self.records_max || (!is_first && bytes > self.bytes_max);
            if !page.more {
                page.events.push(statements.read(meant.ordinal, shown_event)?);
            }
            Ok(!page.more)
        })?;
        Ok(page)
    }
}

fn shown_event(row: &Row<'_>, event: PackedRow) -> rusqlite::Result<ShownEvent<PackedRow>> {
    let words =
        |column| Ok::<_, rusqlite::Error>(text_of(row.get_ref(column)?).map(|text| text.into_owned()));
    Ok(ShownEvent {
        key: key_of(row)?,
        row: event,
        stage: stage_of(row.get_ref(14)?)?,
        attempts: row.get(15)?,
        class: words(16)?,
        message: words(17)?,
        parked_at: Timestamp(row.get(19)?),
        due_at: row.get::<_, Option<i64>>(20)?.map(Timestamp),
        decision: one_of(&DECISIONS, row.get_ref(21)?)?,
    })
}

const DECIDE: &str = "decide on parked events";

fn decide(
    keeper: &mut Keeper,
    filter: &ParkedFilter,
    decision: Decision,
    act: &Act,
) -> Result<Decisions, StoreFault> {
    let now = keeper.config.now();
    let (database, _) = keeper.database()?;
    let transaction = database.write(DECIDE)?;
    let mut decisions = Decisions::default();
    let mut write = || {
        let mut takes = Vec::new();
        each_meant(&transaction, filter, None, now, |meant| {
            if meant.takes(decision) {
                takes.push(meant.ordinal);
            } else {
                decisions.refused += 1;
            }
            Ok(true)
        })?;
        let mut write = transaction.prepare_cached(include_str!("../sql/decide.sql"))?;
        let mut audit = transaction.prepare_cached(include_str!("../sql/audit_decision.sql"))?;
        let word = word_of(&DECISIONS, &decision);
        for ordinal in takes {
            write.execute(named_params! { ":ordinal": ordinal, ":decision": word })?;
            audit.execute(named_params! {
                ":ordinal": ordinal, ":now": now.0, ":who": act.who, ":why": act.why, ":what": word,
            })?;
            decisions.taken += 1;
        }
        Ok(())
    };
    write().map_err(|error| fault(DECIDE, error))?;
    transaction.commit().map_err(|error| fault(DECIDE, error))?;
    database.make_durable()?;
    Ok(decisions)
}

fn record(keeper: &mut Keeper, what: &str, act: &Act) -> Result<(), StoreFault> {
    const WHAT: &str = "note what was done";
    let now = keeper.config.now();
    let (database, _) = keeper.database()?;
    let transaction = database.write(WHAT)?;
    transaction
        .execute(
            include_str!("../sql/audit.sql"),
            named_params! { ":now": now.0, ":who": act.who, ":why": act.why, ":what": what },
        )
        .map_err(|error| fault(WHAT, error))?;
    transaction.commit().map_err(|error| fault(WHAT, error))?;
    database.make_durable()
}

/// An unsettled parked event that a person means.
struct Meant {
    ordinal: i64,
    stage: Stage,
    was_refused: bool,
    is_decided: bool,
    size_bytes: u64,
}

impl Meant {
    /// Whether a decision can be written onto it. What only waits behind an earlier event has nothing to retry.
    fn takes(&self, decision: Decision) -> bool {
        decision.fits(self.stage) && !self.is_decided && (decision != Decision::Retry || self.was_refused)
    }
}

/// Goes over the events that a person means, in the order of their keys, until `each` answers false.
fn each_meant(
    transaction: &Transaction<'_>,
    filter: &ParkedFilter,
    after: Option<ParkedKey>,
    now: Timestamp,
    mut each: impl FnMut(Meant) -> rusqlite::Result<bool>,
) -> rusqlite::Result<()> {
    let reason = filter.reason.as_ref().map(|reason| reason.to_lowercase());
    let parked_by = now.0.saturating_sub(filter.parked_for.map_or(i64::MIN, micros));
    let mut statement = transaction.prepare_cached(include_str!("../sql/select_parked.sql"))?;
    for Stretch { lane, above, through } in stretches(transaction, &filter.message_ids, after)? {
        let mut rows = statement.query(named_params! {
            ":lane": lane.0, ":above": above, ":through": through, ":type": filter.aggregate_type,
            ":id": filter.aggregate_id, ":topic": filter.topic,
            ":stage": filter.stage.map(|stage| word_of(&STAGES, &stage)), ":parked_by": parked_by,
        })?;
        while let Some(row) = rows.next()? {
            let (class, message) = (text_of(row.get_ref(3)?), text_of(row.get_ref(4)?));
            let is_reason = |reason: &String| {
                class.as_ref().is_some_and(|class| class.to_lowercase() == *reason)
                    || message.as_ref().is_some_and(|message| message.to_lowercase().contains(reason))
            };
            if !reason.as_ref().is_none_or(is_reason) {
                continue;
            }
            let meant = Meant {
                ordinal: row.get(0)?,
                stage: stage_of(row.get_ref(2)?)?,
                was_refused: class.is_some(),
                is_decided: one_of(&DECISIONS, row.get_ref(5)?)?.is_some(),
                size_bytes: row.get(6)?,
            };
            if !each(meant)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Places of a lane to look at.
struct Stretch {
    lane: Lane,
    above: i64,
    through: i64,
}

/// Where events of these messages are, or any event where none is named.
fn stretches(
    transaction: &Transaction<'_>,
    message_ids: &[MessageId],
    after: Option<ParkedKey>,
) -> rusqlite::Result<Vec<Stretch>> {
    if message_ids.is_empty() {
        let lanes = parked_lanes(transaction)?.into_iter();
        let of = |lane| {
            let above = after.filter(|after| after.lane == lane).map_or(0, |after| after.ordinal);
            Stretch { lane, above, through: i64::MAX }
        };
        return Ok(lanes.filter(|lane| after.is_none_or(|after| *lane >= after.lane)).map(of).collect());
    }
    let mut statement = transaction.prepare_cached(include_str!("../sql/places_of_message.sql"))?;
    let mut keys = Vec::new();
    for message_id in message_ids {
        let places = statement.query_map([message_id.0], |row| {
            Ok(ParkedKey { lane: Lane(row.get(0)?), ordinal: row.get(1)? })
        })?;
        for key in places {
            keys.push(key?);
        }
    }
    keys.sort_unstable();
    keys.dedup();
    let keys = keys.into_iter().filter(|key| after.is_none_or(|after| *key > after));
    Ok(keys.map(|key| Stretch { lane: key.lane, above: key.ordinal - 1, through: key.ordinal }).collect())
}
