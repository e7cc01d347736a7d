//! What people see of parked events, and what they decide.

use std::time::Duration;

use eventferry_core::parked::{Act, Decision, Decisions, Desk, ParkedFilter, ShowAsk, ShownEvent, ShownPage};
use eventferry_core::{PackedRow, StoreFault, Timestamp};
use tokio_postgres::Error;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::connection::Connection;
use crate::ledger::{after, decision_of, decision_text, key_of, micros, stage_of, state_of};
use crate::row::{packed, timestamp};

/// How long a decision may take: on some 600,000 events it is not done within a call's usual limit.
const DECIDE_LIMIT: Duration = Duration::from_secs(600);

/// Parked events in people's hands, kept in `eventferry.parked`, with `eventferry.audit` beside it.
#[derive(Debug)]
pub struct PostgresDesk {
    connection: Connection,
}

impl PostgresDesk {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection }
    }
}

/// A filter as the parameters of `eventferry.parked_like()`.
struct Meant<'a> {
    message_ids: Vec<Uuid>,
    aggregate_type: Option<&'a str>,
    aggregate_id: Option<&'a str>,
    topic: Option<&'a str>,
    reason: Option<&'a str>,
    state: Option<&'static str>,
    parked_for_micros: Option<i64>,
}

impl<'a> Meant<'a> {
    fn by(filter: &'a ParkedFilter) -> Self {
        Self {
            message_ids: filter.message_ids.iter().map(|id| Uuid::from_bytes(id.0)).collect(),
            aggregate_type: filter.aggregate_type.as_deref(),
            aggregate_id: filter.aggregate_id.as_deref(),
            topic: filter.topic.as_deref(),
            reason: filter.reason.as_deref(),
            state: filter.stage.map(state_of),
            parked_for_micros: filter.parked_for.map(micros),
        }
    }

    fn params(&self) -> [(&(dyn ToSql + Sync), Type); 7] {
        [
            (&self.message_ids, Type::UUID_ARRAY),
            (&self.aggregate_type, Type::TEXT),
            (&self.aggregate_id, Type::TEXT),
            (&self.topic, Type::TEXT),
            (&self.reason, Type::TEXT),
            (&self.state, Type::TEXT),
            (&self.parked_for_micros, Type::INT8),
        ]
    }
}

/// The columns of `show.sql` beyond those of an event.
mod column {
    pub(super) const STATE: usize = 12;
    pub(super) const ATTEMPTS: usize = 13;
    pub(super) const CLASS: usize = 14;
    pub(super) const MESSAGE: usize = 15;
    pub(super) const DECISION: usize = 16;
    pub(super) const PARKED_AT: usize = 17;
    pub(super) const DUE_AT: usize = 18;
    pub(super) const FOUND: usize = 19;
}

fn shown(row: &tokio_postgres::Row) -> Result<ShownEvent<PackedRow>, Error> {
    Ok(ShownEvent {
        key: key_of(row)?,
        row: packed(row)?,
        stage: stage_of(row.try_get(column::STATE)?),
        attempts: u32::try_from(row.try_get::<_, i32>(column::ATTEMPTS)?).unwrap_or(0),
        class: row.try_get(column::CLASS)?,
        message: row.try_get(column::MESSAGE)?,
        parked_at: timestamp(row, column::PARKED_AT).unwrap_or(Timestamp(0)),
        due_at: timestamp(row, column::DUE_AT),
        decision: row.try_get::<_, Option<&str>>(column::DECISION)?.map(decision_of),
    })
}

impl Desk for PostgresDesk {
    type Row = PackedRow;

    async fn show(&mut self, ask: ShowAsk<'_>) -> Result<ShownPage<PackedRow>, StoreFault> {
        let meant = Meant::by(ask.filter);
        let (lane, ordinal) = after(ask.after);
        let records_max = i64::from(ask.records_max);
        let bytes_max = i64::try_from(ask.bytes_max).unwrap_or(i64::MAX);
        let mut params = meant.params().to_vec();
        params.push((&lane, Type::INT4));
        params.push((&ordinal, Type::INT8));
        params.push((&records_max, Type::INT8));
        params.push((&bytes_max, Type::INT8));
        let client = self.connection.client().await?;
        let page = async {
            let rows = client.query_typed(include_str!("../sql/show.sql"), &params).await?;
            let found: i64 = rows.first().map_or(Ok(0), |row| row.try_get(column::FOUND))?;
            let more = usize::try_from(found).is_ok_and(|found| found > rows.len());
            Ok(ShownPage { events: rows.iter().map(shown).collect::<Result<_, Error>>()?, more })
        };
        self.connection.answer("show parked events", page).await
    }

    async fn decide(
        &mut self,
        filter: &ParkedFilter,
        decision: Decision,
        act: &Act,
    ) -> Result<Decisions, StoreFault> {
        let meant = Meant::by(filter);
        let decision = decision_text(decision);
        let mut params: Vec<(&(dyn ToSql + Sync), Type)> =
            vec![(&decision, Type::TEXT), (&act.who, Type::TEXT), (&act.why, Type::TEXT)];
        params.extend(meant.params());
        let client = self.connection.client().await?;
        let query = client.query_typed_one(include_str!("../sql/decide.sql"), &params);
        let row = self.connection.answer_within("decide on parked events", DECIDE_LIMIT, query).await?;
        let count = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
        Ok(Decisions { taken: count(0), refused: count(1) })
    }

    async fn record(&mut self, what: &str, act: &Act) -> Result<(), StoreFault> {
        let params: [(&(dyn ToSql + Sync), Type); 3] =
            [(&act.who, Type::TEXT), (&what, Type::TEXT), (&act.why, Type::TEXT)];
        let client = self.connection.client().await?;
        let query = client.query_typed(include_str!("../sql/record.sql"), &params);
        self.connection.answer("write into the audit table", query).await.map(drop)
    }
}
