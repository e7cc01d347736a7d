//! diesel's connections on PostgreSQL: those that wait for their answers, and what diesel-async shares with them.

#[cfg(feature = "diesel")]
use diesel::connection::Connection;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::{Error, QueryResult};
use diesel::sql_types::{Array, Binary, Integer, Nullable, Text};
use eventferry_core::EnqueueFault;
#[cfg(feature = "diesel")]
use eventferry_core::{Append, Event, MessageId};

use super::InsertPlan;
use super::plan::refused_by_database;
#[cfg(feature = "diesel")]
use super::{PostgresOutbox, Way};

/// For any of diesel's connections to PostgreSQL, pooled ones among them: inside [`Connection::transaction`], or where
/// a transaction was begun by hand. Without one, the call is a transaction of its own.
///
/// There is no `Enqueue` for them, whose future would hold the thread up: call this, as all of diesel, where waiting is
/// allowed.
#[cfg(feature = "diesel")]
impl<C: Connection<Backend = Pg>> Append<C> for PostgresOutbox {
    fn append(&self, connection: &mut C, events: &[Event]) -> Result<Vec<MessageId>, EnqueueFault> {
        let plan = InsertPlan::new(Way::Table, events)?;
        if plan.is_empty() {
            return Ok(Vec::new());
        }
        let insert = Insert::new(&plan);
        diesel::RunQueryDsl::execute(insert, connection).map_err(refused)?;
        Ok(plan.ids())
    }
}

/// A plan as diesel runs it. It has one text for any number of events, so it may be kept prepared, or not, as the
/// connection's `set_prepared_statement_cache_size` says.
pub(super) struct Insert<'p> {
    plan: &'p InsertPlan<'p>,
    message_ids: Vec<String>,
}

impl<'p> Insert<'p> {
    pub(super) fn new(plan: &'p InsertPlan<'p>) -> Self {
        Self { plan, message_ids: plan.columns().message_id_texts() }
    }
}

#[cfg(feature = "diesel")]
impl<C> diesel::RunQueryDsl<C> for Insert<'_> {}

impl QueryId for Insert<'_> {
    type QueryId = ();

    /// Two statements have this type: it is the text that names them.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Insert<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let columns = self.plan.columns();
        // diesel numbers arguments itself, in the order in which they come: ours come in order, and once.
        for (place, piece) in self.plan.statement().split('$').enumerate() {
            match place {
                0 => {}
                1 => out.push_bind_param::<Array<Text>, _>(&self.message_ids)?,
                2 => out.push_bind_param::<Array<Text>, _>(&columns.topics)?,
                3 => out.push_bind_param::<Array<Text>, _>(&columns.aggregate_types)?,
                4 => out.push_bind_param::<Array<Text>, _>(&columns.aggregate_ids)?,
                5 => out.push_bind_param::<Array<Nullable<Binary>>, _>(&columns.keys)?,
                6 => out.push_bind_param::<Array<Nullable<Binary>>, _>(&columns.payloads)?,
                7 => out.push_bind_param::<Array<Nullable<Text>>, _>(&columns.content_types)?,
                8 => out.push_bind_param::<Array<Nullable<Text>>, _>(&columns.headers)?,
                _ => out.push_bind_param::<Array<Nullable<Integer>>, _>(&columns.partitions)?,
            }
            out.push_sql(piece.trim_start_matches(|letter: char| place > 0 && letter.is_ascii_digit()));
        }
        Ok(())
    }
}

pub(super) fn refused(error: Error) -> EnqueueFault {
    let message = match &error {
        Error::DatabaseError(_, said) => Some(said.message().to_owned()),
        _ => None,
    };
    refused_by_database(message, error)
}
