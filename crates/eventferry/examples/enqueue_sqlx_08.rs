//! An order and its event in one transaction, by sqlx 0.8.
//!
//! ```sh
//! eventferry init --store postgres://user:password@localhost/shop
//! DATABASE_URL=postgres://user:password@localhost/shop cargo run -p eventferry --example enqueue_sqlx_08 --features sqlx-08
//! ```

use std::error::Error;

use eventferry::postgres::PostgresOutbox;
use eventferry::{Event, Json as _};
use sqlx_08::PgPool;

/// An order, as the database and the event have it.
#[derive(serde::Serialize)]
struct Order {
    id: i64,
    total: i64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    place(&std::env::var("DATABASE_URL")?, 42).await
}

/// Places an order: it and its event are there when this has returned `Ok`, and neither of them otherwise.
pub(crate) async fn place(url: &str, id: i64) -> Result<(), Box<dyn Error + Send + Sync>> {
    let pool = PgPool::connect(url).await?;
    let create = "CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY, total bigint)";
    sqlx_08::query(create).execute(&pool).await?;

    let order = Order { id, total: 7 };
    let mut tx = pool.begin().await?;
    let insert = sqlx_08::query("INSERT INTO orders (id, total) VALUES ($1, $2)");
    insert.bind(order.id).bind(order.total).execute(&mut *tx).await?;
    let event = Event::new("orders.created", ("order", order.id)).json(&order)?;
    PostgresOutbox::new().enqueue(&mut tx, event).await?;
    tx.commit().await?;
    Ok(())
}
