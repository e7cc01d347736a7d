//! An order and its event in one transaction, by sqlx 0.9 on SQLite.
//!
//! ```sh
//! eventferry init --store sqlite:///tmp/shop.db
//! DATABASE_URL=sqlite:///tmp/shop.db cargo run -p eventferry --example enqueue_sqlx_sqlite --features sqlx-sqlite
//! ```

use std::error::Error;

use eventferry::sqlite::SqliteOutbox;
use eventferry::{Event, Json as _};
use sqlx::SqlitePool;

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
    let pool = SqlitePool::connect(url).await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, total INTEGER)")
        .execute(&pool)
        .await?;

    let order = Order { id, total: 7 };
    // A transaction that will write says so when it begins: else it may be refused half-way.
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let insert = sqlx::query("INSERT INTO orders (id, total) VALUES (?, ?)");
    insert.bind(order.id).bind(order.total).execute(&mut *tx).await?;
    let event = Event::new("orders.created", ("order", order.id)).json(&order)?;
    SqliteOutbox.enqueue(&mut tx, event).await?;
    tx.commit().await?;
    Ok(())
}
