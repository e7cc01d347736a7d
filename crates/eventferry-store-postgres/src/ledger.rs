//! How far each lane was carried, what is parked, and when that comes back.

mod due;
mod positions;
mod told;

use eventferry_core::PackedRow;
use eventferry_core::parked::{DueAsk, DuePage, ParkedAsk, ParkedEvent, ParkedKey, ParkedPage};
use eventferry_core::store::{Intent, Ledger, RelayId, Settlement, Verdict};
use eventferry_core::transaction::{Agreement, Resolved};
use eventferry_core::{Lane, Lease, Stamp, StoreFault, StoreFaultKind};
use tokio_postgres::types::{ToSql, Type};

pub(crate) use due::{decision_of, decision_text, key_of, stage_of, state_of};
pub(crate) use positions::Positions;
pub(crate) use told::micros;

use crate::connection::Connection;
use crate::window::{History, PostgresMark};
use told::Told;

/// The ledger, kept in `eventferry.position` and `eventferry.parked`.
#[derive(Debug)]
pub struct PostgresLedger {
    connection: Connection,
    relay: String,
    positions: Positions,
    /// How often what was shipped was asked for.
    attempts: i64,
}

impl PostgresLedger {
    pub(crate) fn new(connection: Connection, relay: &RelayId, positions: Positions) -> Self {
        Self { connection, relay: relay.0.clone(), positions, attempts: 0 }
    }
}

fn moved_by_another() -> StoreFault {
    StoreFault::new(
        StoreFaultKind::HistoryLost,
        "a lane's position was moved by somebody else under the same lease",
    )
}

/// Leases as two parameters of a query: lanes and epochs.
fn columns(leases: &[Lease]) -> (Vec<i32>, Vec<i64>) {
    leases.iter().map(|lease| (i32::from(lease.lane.0), lease.epoch.cast_signed())).unzip()
}

/// A key as two parameters of a query that reads on after it.
pub(crate) fn after(key: Option<ParkedKey>) -> (i32, i64) {
    key.map_or((-1, -1), |key| (i32::from(key.lane.0), key.ordinal))
}

impl Ledger for PostgresLedger {
    type Mark = PostgresMark;
    type Row = PackedRow;

    async fn settle(
        &mut self,
        settlements: &[Settlement<'_, PostgresMark, PackedRow>],
    ) -> Result<Vec<Verdict>, StoreFault> {
        let told = Told::of(settlements, &self.positions);
        if told.lanes.is_empty() {
            return Ok(settlements.iter().map(|_| Verdict::Done).collect());
        }
        let query = if told.is_of_tail() {
            include_str!("../sql/settle_tail.sql")
        } else if told.is_plain() {
            include_str!("../sql/settle.sql")
        } else {
            include_str!("../sql/settle_parked.sql")
        };
        let relay = self.relay.as_str();
        let params = told.params(&relay);
        let client = self.connection.client().await?;
        let rows = self.connection.answer("settle", client.query_typed(query, &params)).await?;
        for window in told.new.windows.values() {
            window.record();
        }
        let mut verdicts = Vec::with_capacity(settlements.len());
        let mut answers = rows.iter().zip(&told.versions).zip(&told.marks).peekable();
        for settlement in settlements {
            let lane = i32::from(settlement.lease.lane.0);
            let answer = answers.next_if(|((row, _), _)| row.get::<_, i32>(0) == lane);
            let Some(((row, version), mark)) = answer else {
                verdicts.push(Verdict::Done);
                continue;
            };
            verdicts.push(match (row.get(1), mark) {
                ("done", Some(mark)) => {
                    self.positions.set(settlement.lease, version + 1, mark);
                    Verdict::Done
                }
                ("fenced", _) => Verdict::Fenced,
                _ => return Err(moved_by_another()),
            });
        }
        Ok(verdicts)
    }

    async fn intend(&mut self, intent: Intent<'_, PostgresMark, PackedRow>) -> Result<Verdict, StoreFault> {
        let told = Told::intended(&intent.settlements, &self.positions);
        let relay = self.relay.as_str();
        let (number, nonce) = (intent.stamp.number.cast_signed(), intent.stamp.nonce.cast_signed());
        let (after, settled) = (intent.after.cast_signed(), intent.settled.cast_signed());
        let (lanes, epochs) = columns(intent.leases);
        let mut params = told.all_params(&relay);
        params.extend::<[(&(dyn ToSql + Sync), Type); 6]>([
            (&number, Type::INT8),
            (&nonce, Type::INT8),
            (&after, Type::INT8),
            (&settled, Type::INT8),
            (&lanes, Type::INT4_ARRAY),
            (&epochs, Type::INT8_ARRAY),
        ]);
        let client = self.connection.client().await?;
        let query = client.query_typed_one(include_str!("../sql/intend.sql"), &params);
        let row = self.connection.answer("write an intent down", query).await?;
        Ok(if row.get::<_, &str>(0) == "done" { Verdict::Done } else { Verdict::Fenced })
    }

    async fn resolve(&mut self, leases: &[Lease], committed: Option<Stamp>) -> Result<Resolved, StoreFault> {
        // A call of a lost connection may come after a later one, which has a greater number.
        self.attempts += 1;
        let relay = self.relay.as_str();
        let (lanes, epochs) = columns(leases);
        let number = committed.map(|stamp| stamp.number.cast_signed());
        let nonce = committed.map(|stamp| stamp.nonce.cast_signed());
        let params: [(&(dyn ToSql + Sync), Type); 6] = [
            (&relay, Type::TEXT),
            (&lanes, Type::INT4_ARRAY),
            (&epochs, Type::INT8_ARRAY),
            (&number, Type::INT8),
            (&nonce, Type::INT8),
            (&self.attempts, Type::INT8),
        ];
        let client = self.connection.client().await?;
        let query = client.query_typed_one(include_str!("../sql/resolve.sql"), &params);
        let row = self.connection.answer("carry intents out", query).await?;
        let agreement = match row.get(0) {
            "agreed" => Agreement::Agreed,
            "parted" => Agreement::Parted,
            _ => Agreement::Fenced,
        };
        Ok(Resolved { agreement, newest: row.get::<_, i64>(1).cast_unsigned() })
    }

    async fn parked(&mut self, ask: ParkedAsk<'_>) -> Result<ParkedPage, StoreFault> {
        let lanes: Vec<i32> = ask.lanes.iter().map(|lane| i32::from(lane.0)).collect();
        let (lane, ordinal) = after(ask.after);
        // One more, to see whether there is one.
        let most = i64::from(ask.limit) + 1;
        let params: [(&(dyn ToSql + Sync), Type); 4] =
            [(&lanes, Type::INT4_ARRAY), (&lane, Type::INT4), (&ordinal, Type::INT8), (&most, Type::INT8)];
        let query = include_str!("../sql/parked.sql");
        let client = self.connection.client().await?;
        let rows = self.connection.answer("list parked events", client.query_typed(query, &params)).await?;
        let event = |row: &tokio_postgres::Row| ParkedEvent {
            key: ParkedKey { lane: Lane(row.get::<_, i32>(0) as u16), ordinal: row.get(1) },
            aggregate_type: row.get(2),
            aggregate_id: row.get(3),
            size_bytes: u64::try_from(row.get::<_, i64>(4)).unwrap_or(0),
        };
        let more = rows.len() > ask.limit as usize;
        Ok(ParkedPage { events: rows.iter().take(ask.limit as usize).map(event).collect(), more })
    }

    async fn due(&mut self, ask: DueAsk<'_>) -> Result<DuePage<PackedRow>, StoreFault> {
        if ask.lanes.is_empty() {
            return Ok(DuePage { events: Vec::new(), decisions: Vec::new(), more: false, next_in: None });
        }
        let history = self.positions.history().unwrap_or(History::NONE);
        let lanes: Vec<i32> = ask.lanes.iter().map(|lane| i32::from(lane.0)).collect();
        let (lane, ordinal) = after(ask.after);
        let records_max = i64::from(ask.records_max);
        let bytes_max = i64::try_from(ask.bytes_max).unwrap_or(i64::MAX);
        let params: [(&(dyn ToSql + Sync), Type); 8] = [
            (&history.system_identifier, Type::INT8),
            (&history.timeline, Type::INT4),
            (&lanes, Type::INT4_ARRAY),
            (&ask.except_topics, Type::TEXT_ARRAY),
            (&lane, Type::INT4),
            (&ordinal, Type::INT8),
            (&records_max, Type::INT8),
            (&bytes_max, Type::INT8),
        ];
        let query = include_str!("../sql/due.sql");
        let client = self.connection.client().await?;
        let rows = async {
            let rows = client.query_typed(query, &params).await?;
            due::page(&rows)
        };
        self.connection.answer("read due events", rows).await
    }
}
