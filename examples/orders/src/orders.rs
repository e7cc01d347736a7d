//! Orders and their events: all that a service of one's own has to write about the outbox is [`Orders::place`].

use eventferry::postgres::PostgresOutbox;
use eventferry::{Event, Json as _};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgPool};

use crate::Failure;

/// What a customer asks for.
#[derive(Clone, Debug, Deserialize)]
pub struct NewOrder {
    /// Who.
    pub customer: String,
    /// What it costs, in cents.
    pub total: i64,
}

/// An order, as the database, the answer and the event have it.
#[derive(Clone, Debug, FromRow, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Which one.
    pub id: i64,
    /// Who ordered.
    pub customer: String,
    /// What it costs, in cents.
    pub total: i64,
}

/// The orders in the database.
#[derive(Clone, Debug)]
pub struct Orders {
    pool: PgPool,
    outbox: PostgresOutbox,
    topic: String,
}

impl Orders {
    /// The orders behind `pool`, whose events are for `topic`.
    pub fn new(pool: PgPool, topic: &str) -> Self {
        Self { pool, outbox: PostgresOutbox::new(), topic: topic.to_owned() }
    }

    /// Makes the table.
    ///
    /// # Errors
    /// The database is away, or does not let us.
    pub async fn prepare(&self) -> Result<(), Failure> {
        let create = "CREATE TABLE IF NOT EXISTS orders (
            id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            customer text NOT NULL,
            total    bigint NOT NULL
        )";
        sqlx::query(create).execute(&self.pool).await?;
        Ok(())
    }

    /// Places an order. It and its event are there once this has answered `Ok`; if it ends in any other way, and be it
    /// that the client goes away and the future is dropped, the transaction is rolled back with both of them.
    ///
    /// # Errors
    /// The database refused, or is away.
    pub async fn place(&self, new: &NewOrder) -> Result<Order, Failure> {
        let mut tx = self.pool.begin().await?;
        let insert = "INSERT INTO orders (customer, total) VALUES ($1, $2) RETURNING id, customer, total";
        let insert = sqlx::query_as(insert).bind(&new.customer).bind(new.total);
        let order: Order = insert.fetch_one(&mut *tx).await?;
        let event = Event::new(&self.topic, ("order", order.id)).json(&order)?;
        self.outbox.enqueue(&mut tx, event).await?;
        tx.commit().await?;
        Ok(order)
    }

    /// Finds an order.
    ///
    /// # Errors
    /// The database is away.
    pub async fn find(&self, id: i64) -> Result<Option<Order>, Failure> {
        let select = sqlx::query_as("SELECT id, customer, total FROM orders WHERE id = $1");
        Ok(select.bind(id).fetch_optional(&self.pool).await?)
    }
}
