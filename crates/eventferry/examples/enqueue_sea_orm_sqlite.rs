//! An order and its event in one transaction, by sea-orm 2 on SQLite.
//!
//! ```sh
//! eventferry init --store sqlite:///tmp/shop.db
//! DATABASE_URL=sqlite:///tmp/shop.db cargo run -p eventferry --example enqueue_sea_orm_sqlite --features sea-orm-sqlite
//! ```

use std::error::Error;

use eventferry::sqlite::SqliteOutbox;
use eventferry::{Event, Json as _};
use sea_orm::{
    ConnectionTrait as _, Database, DbBackend, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait as _,
};

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
    // A transaction that will write says so when it begins: else it may be refused half-way.
    let immediate = Some(SqliteTransactionMode::Immediate);
    let options = TransactionOptions { sqlite_transaction_mode: immediate, ..TransactionOptions::default() };
    let mut tx = database.begin_with_options(options).await?;
    let insert = Statement::from_sql_and_values(
        DbBackend::Sqlite,
        "INSERT INTO orders (id, total) VALUES (?, ?)",
        [order.id.into(), order.total.into()],
    );
    tx.execute_raw(insert).await?;
    let event = Event::new("orders.created", ("order", order.id)).json(&order)?;
    SqliteOutbox.enqueue(&mut tx, event).await?;
    tx.commit().await?;
    Ok(())
}
