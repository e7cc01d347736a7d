//! What the library costs whoever enqueues: one event a transaction, held against an INSERT written by hand.
//!
//! All contenders write the same row: a payload of some 200 bytes of JSON, serialized in the transaction, and two
//! headers. They take turns of some dozens of transactions each, so that what else the machine does meets all of them;
//! what counts is the ratio of their times within a round.

mod outcome;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use eventferry::postgres::enqueue::{InsertPlan, PreparedOutbox, Way};
use eventferry::postgres::{PostgresConfig, PostgresOutbox};
use eventferry::{Event, IntoEvent, Json as _};
use serde::Serialize;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

use crate::arguments::Arguments;
use crate::database::{Database, connect, prepare};
use crate::failure::{Attempt as _, Failure, failure};
use crate::machine;
use crate::servers::Servers;
use outcome::{Outcome, Run};

/// How an event gets into the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contender {
    /// An INSERT written by hand, kept prepared by the application.
    HandWritten,
    /// The same, in one round trip and not prepared, as it has to be behind a pooler of transactions.
    HandWrittenUnprepared,
    /// `outbox.enqueue(&mut tx, Event::new(..))`.
    Event,
    /// `outbox.enqueue(&mut tx, &placed)`: a value of a type that becomes an event.
    Typed,
    /// The same by an outbox that is kept prepared on its connection.
    TypedPrepared,
    /// The library's statement for many events, for one.
    Arrays,
}

impl Contender {
    const ALL: [Self; 6] = [
        Self::HandWritten,
        Self::TypedPrepared,
        Self::HandWrittenUnprepared,
        Self::Typed,
        Self::Event,
        Self::Arrays,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::HandWritten => "hand-written",
            Self::HandWrittenUnprepared => "hand-written-unprepared",
            Self::Event => "event",
            Self::Typed => "typed",
            Self::TypedPrepared => "typed-prepared",
            Self::Arrays => "arrays",
        }
    }
}

/// What an application has in hand.
#[derive(Serialize, eventferry::Event)]
#[event(topic = "orders.placed", aggregate = "order")]
struct OrderPlaced {
    #[event(aggregate_id)]
    order: u64,
    customer: String,
    address: String,
    note: String,
    total: u64,
    currency: &'static str,
    paid: bool,
}

impl OrderPlaced {
    fn numbered(order: u64) -> Self {
        Self {
            order,
            customer: format!("customer-{:032}", order % 1000),
            address: format!("address-{order:032}"),
            note: format!("note-{order:032}"),
            total: order % 1000,
            currency: "EUR",
            paid: true,
        }
    }
}

const INSERT: &str =
    "INSERT INTO eventferry.outbox (topic, aggregate_type, aggregate_id, payload, content_type, headers)
    VALUES ($1, $2, $3, $4, $5, $6)";

/// What `INSERT` takes.
const TYPES: [Type; 6] = [Type::TEXT, Type::TEXT, Type::TEXT, Type::BYTEA, Type::TEXT, Type::BYTEA_ARRAY];

/// How many transactions a contender makes before it is the next one's turn.
const TURN: u64 = 50;

struct Plan {
    rounds: usize,
    transactions: u64,
}

/// One contender's connection, and what it keeps there.
struct Writer {
    contender: Contender,
    client: Client,
    insert: Statement,
    prepared: PreparedOutbox,
    order: u64,
    time: Duration,
}

/// Runs the bench from its words.
pub(super) async fn run(mut arguments: Arguments) -> Result<ExitCode, Failure> {
    let plan =
        Plan { rounds: arguments.value("rounds", 9)?, transactions: arguments.value("transactions", 2_000)? };
    let json = arguments.text("json");
    arguments.finish()?;
    if plan.rounds == 0 || plan.transactions < TURN {
        return Err(failure(format!("--rounds: give 1 or more; --transactions: {TURN} or more")));
    }
    let servers = Servers::find()?;
    let machine = machine::describe(&connect(&servers.postgres).await?).await?;
    let database = Database::create(&servers).await?;
    let measured = measure(&database, &plan).await;
    database.remove().await;
    let outcome = Outcome { transactions: plan.transactions, machine, runs: measured? };
    super::tell(&outcome, &outcome.json(), json)
}

async fn measure(database: &Database, plan: &Plan) -> Result<Vec<Run>, Failure> {
    prepare(PostgresConfig::from_url(&database.url()?).attempt("configure the store")?).await?;
    let mut runs = Vec::new();
    for synchronous in [true, false] {
        let mut writers = Vec::new();
        for contender in Contender::ALL {
            writers.push(Writer::open(database, contender, synchronous).await?);
        }
        // A round that does not count fills the caches of all sessions.
        race(&mut writers, plan.transactions.min(500), 0).await?;
        for round in 1..=plan.rounds {
            race(&mut writers, plan.transactions, round).await?;
            for writer in &writers {
                let micros = writer.time.as_secs_f64() * 1e6 / plan.transactions as f64;
                let run = Run { round, contender: writer.contender, synchronous, micros };
                eprintln!("round {round}: {run}");
                runs.push(run);
            }
        }
    }
    let client = database.connect().await?;
    let written: i64 = client.query_one("SELECT count(*) FROM eventferry.outbox", &[]).await?.get(0);
    let least = 2 * plan.rounds as u64 * plan.transactions * Contender::ALL.len() as u64;
    if (written as u64) < least {
        return Err(failure(format!("{least} events or more were to be written, and {written} were")));
    }
    Ok(runs)
}

/// All make their transactions, in turns, each turn beginning with another.
async fn race(writers: &mut [Writer], transactions: u64, round: usize) -> Result<(), Failure> {
    writers.iter_mut().for_each(|writer| writer.time = Duration::ZERO);
    let contenders = writers.len();
    for turn in 0..transactions.div_ceil(TURN) as usize {
        let count = TURN.min(transactions - turn as u64 * TURN);
        for place in 0..contenders {
            writers[(place + turn + round) % contenders].write(count).await?;
        }
    }
    Ok(())
}

impl Writer {
    async fn open(database: &Database, contender: Contender, synchronous: bool) -> Result<Self, Failure> {
        let client = database.connect().await?;
        let mode = if synchronous { "on" } else { "off" };
        client.batch_execute(&format!("SET synchronous_commit = {mode}")).await?;
        let insert = client.prepare_typed(INSERT, &TYPES).await?;
        let prepared = PostgresOutbox::new().prepare(&client).await.attempt("prepare")?;
        Ok(Self { contender, client, insert, prepared, order: 0, time: Duration::ZERO })
    }

    async fn write(&mut self, transactions: u64) -> Result<(), Failure> {
        for _ in 0..transactions {
            self.order += 1;
            let placed = OrderPlaced::numbered(self.order);
            let started = Instant::now();
            self.transact(&placed).await?;
            self.time += started.elapsed();
        }
        Ok(())
    }

    async fn transact(&mut self, placed: &OrderPlaced) -> Result<(), Failure> {
        let outbox = PostgresOutbox::new();
        let mut tx = self.client.transaction().await?;
        match self.contender {
            Contender::HandWritten | Contender::HandWrittenUnprepared => {
                let payload = serde_json::to_vec(placed).attempt("serialize")?;
                let id = placed.order.to_string();
                let headers: [&[u8]; 4] = [b"event-type", b"OrderPlaced", b"event-version", b"1"];
                let params: [&(dyn ToSql + Sync); 6] =
                    [&"orders.placed", &"order", &id, &payload, &"application/json", &&headers[..]];
                if self.contender == Contender::HandWritten {
                    tx.execute(&self.insert, &params).await?;
                } else {
                    tx.query_typed(INSERT, &params.into_iter().zip(TYPES).collect::<Vec<_>>()).await?;
                }
            }
            Contender::Event => {
                let event = Event::new("orders.placed", ("order", placed.order)).json(placed);
                let event = event.attempt("serialize")?;
                let event = event.header("event-type", "OrderPlaced").header("event-version", "1");
                outbox.enqueue(&mut tx, event).await.attempt("enqueue")?;
            }
            Contender::Typed => {
                outbox.enqueue(&mut tx, placed).await.attempt("enqueue")?;
            }
            Contender::TypedPrepared => {
                self.prepared.enqueue(&mut tx, placed).await.attempt("enqueue")?;
            }
            Contender::Arrays => append_by_arrays(tx.client(), placed).await?,
        }
        Ok(tx.commit().await?)
    }
}

/// As the library would append one event if it had only its statement for many.
async fn append_by_arrays(client: &Client, placed: &OrderPlaced) -> Result<(), Failure> {
    let events = [placed.into_event().attempt("make an event")?];
    let plan = InsertPlan::new(Way::Table, &events).attempt("plan")?;
    let (columns, ids) = (plan.columns(), plan.columns().message_id_texts());
    let params: [(&(dyn ToSql + Sync), Type); 9] = [
        (&ids, Type::TEXT_ARRAY),
        (&columns.topics, Type::TEXT_ARRAY),
        (&columns.aggregate_types, Type::TEXT_ARRAY),
        (&columns.aggregate_ids, Type::TEXT_ARRAY),
        (&columns.keys, Type::BYTEA_ARRAY),
        (&columns.payloads, Type::BYTEA_ARRAY),
        (&columns.content_types, Type::TEXT_ARRAY),
        (&columns.headers, Type::TEXT_ARRAY),
        (&columns.partitions, Type::INT4_ARRAY),
    ];
    client.query_typed(plan.statement(), &params).await?;
    Ok(())
}
