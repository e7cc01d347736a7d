//! An order and its event in one transaction, by sea-orm 2.
//!
//! ```sh
//! eventferry init --store postgres://user:password@localhost/shop
//! DATABASE_URL=postgres://user:password@localhost/shop cargo run -p eventferry --example enqueue_sea_orm --features sea-orm
//! ```

use std::error::Error;

use eventferry::postgres::PostgresOutbox;
use eventferry::{Event, Json as _};
use sea_orm::{ConnectionTrait as _, Database, DbBackend, Statement, TransactionTrait as _};

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
    let database = Database::connect(url).await?;
    let create = "CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY, total bigint)";
    database.execute_unprepared(create).await?;

    let order = Order { id, total: 7 };
    let mut tx = database.begin().await?;
    let insert = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "INSERT INTO orders (id, total) VALUES ($1, $2)",
        [order.id.into(), order.total.into()],
    );
    tx.execute_raw(insert).await?;
    let event = Event::new("orders.created", ("order", order.id)).json(&order)?;
    PostgresOutbox::new().enqueue(&mut tx, event).await?;
    tx.commit().await?;
    Ok(())
}
