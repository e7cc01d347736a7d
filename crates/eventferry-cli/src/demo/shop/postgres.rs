//! A shop in a PostgreSQL database, with a table of its own.

use std::sync::Arc;

use eventferry::core::store::{Prepare, RelayId, Store, Upkeep};
use eventferry::postgres::{PostgresConfig, PostgresOutbox, PostgresStore};
use tokio::task::JoinSet;
use tokio_postgres::{Client, Statement, Transaction};

use super::{Counters, Demand, Selling};
use crate::database::refused_by_postgres;
use crate::demo::customer::{Customer, Purchase, Step};
use crate::demo::sale::{self, Sale};
use crate::ending::Trouble;
use crate::enqueue;
use crate::place;
use crate::settings::Given;

/// A shop in a PostgreSQL database.
#[derive(Debug)]
pub(crate) struct PostgresShop {
    pub(crate) config: PostgresConfig,
    url: Given,
    /// Its table.
    table: String,
    /// Whether there was no outbox before.
    made_outbox: bool,
}

/// How many customers buy at the same time.
const CUSTOMERS: u64 = 8;

impl PostgresShop {
    /// Makes the shop's table, and the outbox if there is none. An outbox that is in use is left alone.
    pub(crate) async fn open(url: Given, config: PostgresConfig, random: &str) -> Result<Self, Trouble> {
        let client = config.connect().await?;
        let found = client
            .query_one(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'eventferry')",
                &[],
            )
            .await
            .map_err(|error| refused_by_postgres("look for the outbox", &error))?;
        let made_outbox = !found.get::<_, bool>(0);
        let mut store = PostgresStore::new(config.clone());
        if made_outbox {
            store.prepare(Prepare::Apply).await?;
        } else {
            store.prepare(Prepare::Check).await?;
            check_unused(store).await?;
        }
        let shop = Self { config, url, table: format!("eventferry_demo_{random}_orders"), made_outbox };
        let books = format!(
            "CREATE TABLE {} (id integer PRIMARY KEY, changes integer NOT NULL, total_cents integer NOT NULL)",
            shop.table
        );
        let made = client.batch_execute(&books).await;
        made.map_err(|error| refused_by_postgres("make the shop's table", &error))?;
        Ok(shop)
    }

    pub(crate) fn description(&self) -> String {
        let outbox = if self.made_outbox { "and schema eventferry, both removed" } else { "removed" };
        format!("PostgreSQL, {}; table {} {outbox} in the end", place::shown(self.url.text()), self.table)
    }

    pub(crate) fn sell(&self, demand: Demand, counters: Arc<Counters>) -> Selling {
        let (config, table) = (self.config.clone(), self.table.clone());
        tokio::spawn(async move {
            let mut tills = JoinSet::new();
            for number in 0..CUSTOMERS {
                let client = config.connect().await?;
                let customer = Customer::new(demand.seed.wrapping_add(number), demand.aggregates);
                let till = Till { client, table: table.clone(), demand: demand.clone() };
                tills.spawn(till.serve(customer, Arc::clone(&counters)));
            }
            let mut sold = Vec::new();
            while let Some(served) = tills.join_next().await {
                sold.extend(served.map_err(Trouble::bug)??);
            }
            Ok(sold)
        })
    }

    pub(crate) async fn close(self, topic: &str) -> Result<(), Trouble> {
        let Self { config, table, made_outbox, .. } = self;
        let left = |error| {
            let what =
                format!("drop table {table}{}", if made_outbox { " and schema eventferry" } else { "" });
            refused_by_postgres(&format!("{what} (do it by hand)"), &error)
        };
        let client = config.connect().await?;
        client.batch_execute(&format!("DROP TABLE {table}")).await.map_err(left)?;
        if !made_outbox {
            return Ok(());
        }
        let others = "SELECT EXISTS (SELECT FROM eventferry.outbox WHERE topic <> $1)";
        if client.query_one(others, &[&topic]).await.map_err(left)?.get(0) {
            tracing::warn!("the schema eventferry stays: meanwhile somebody else's events are in it");
            return Ok(());
        }
        client.batch_execute("DROP SCHEMA eventferry CASCADE").await.map_err(left)
    }
}

/// A relay of the demonstration carries whatever is in the outbox, to the demonstration's broker.
async fn check_unused(store: PostgresStore) -> Result<(), Trouble> {
    let mut roles = store.roles(&RelayId("eventferry-demo".into()));
    let gauge = roles.upkeep.gauge().await?;
    let relays = gauge.relays.iter().filter(|relay| relay.live).count();
    let events: u64 = gauge.lanes.iter().map(|lane| lane.lag_records + lane.parked).sum();
    if relays == 0 && events == 0 {
        return Ok(());
    }
    Err(Trouble::usage(format!(
        "--store: the outbox of this database is in use ({relays} live relays, {events} events not shipped), and the \
         demonstration's relay would carry them to its own broker; name a database of its own"
    )))
}

/// One connection, and what it is to sell.
struct Till {
    client: Client,
    table: String,
    demand: Demand,
}

impl Till {
    async fn serve(mut self, mut customer: Customer, counters: Arc<Counters>) -> Result<Vec<Sale>, Trouble> {
        let change = format!(
            "INSERT INTO {} AS o (id, changes, total_cents) VALUES ($1, 1, $2)
             ON CONFLICT (id) DO UPDATE SET changes = o.changes + 1, total_cents = excluded.total_cents
             RETURNING changes",
            self.table
        );
        let prepared = self.client.prepare(&change).await;
        let change = prepared.map_err(|error| refused_by_postgres("prepare a sale", &error))?;
        let mut sold = Vec::new();
        while let Some(purchase) = counters.next_purchase(&mut customer) {
            while let Some(pause) = counters.pause(&self.demand) {
                tokio::time::sleep(pause).await;
            }
            let (committed, undone) = self.transact(&change, &purchase, &mut customer).await?;
            counters.count(&committed, undone);
            sold.extend(committed);
        }
        Ok(sold)
    }

    /// One transaction: what it left behind, and how many events it did not.
    async fn transact(
        &mut self,
        change: &Statement,
        purchase: &Purchase,
        customer: &mut Customer,
    ) -> Result<(Vec<Sale>, u64), Trouble> {
        let refused = |error: tokio_postgres::Error| refused_by_postgres("sell", &error);
        let topic = &self.demand.topic;
        let (mut sold, mut undone) = (Vec::new(), 0);
        let mut transaction = self.client.transaction().await.map_err(refused)?;
        for step in &purchase.steps {
            if step.undone {
                let mut savepoint = transaction.transaction().await.map_err(refused)?;
                undone += write(&mut savepoint, change, step, customer, topic).await?.len() as u64;
                savepoint.rollback().await.map_err(refused)?;
            } else {
                sold.extend(write(&mut transaction, change, step, customer, topic).await?);
            }
        }
        if purchase.rolled_back {
            transaction.rollback().await.map_err(refused)?;
            undone += sold.len() as u64;
            sold.clear();
        } else {
            transaction.commit().await.map_err(refused)?;
        }
        Ok((sold, undone))
    }
}

/// Changes a step's orders and enqueues an event for each.
async fn write(
    transaction: &mut Transaction<'_>,
    change: &Statement,
    step: &Step,
    customer: &mut Customer,
    topic: &str,
) -> Result<Vec<Sale>, Trouble> {
    let mut events = Vec::with_capacity(step.orders.len());
    let mut numbered = Vec::with_capacity(step.orders.len());
    for order in &step.orders {
        let price = customer.price();
        let (id, cents) =
            (i32::try_from(*order).unwrap_or(i32::MAX), i32::try_from(price).unwrap_or(i32::MAX));
        let row = transaction.query_one(change, &[&id, &cents]).await;
        let row = row.map_err(|error| refused_by_postgres("sell", &error))?;
        let sequence = u32::try_from(row.get::<_, i32>(0)).map_err(Trouble::bug)?;
        events.push(sale::event(topic, *order, sequence, price)?);
        numbered.push((*order, sequence));
    }
    let ids = PostgresOutbox::new().enqueue_many(transaction, &events).await.map_err(enqueue::refused)?;
    let sales = ids.into_iter().zip(numbered);
    Ok(sales.map(|(message_id, (order, sequence))| Sale { message_id, order, sequence }).collect())
}
