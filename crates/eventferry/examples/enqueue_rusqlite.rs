//! An order and its event in one transaction, by rusqlite.
//!
//! ```sh
//! eventferry init --store sqlite:///tmp/shop.db
//! DATABASE_URL=sqlite:///tmp/shop.db cargo run -p eventferry --example enqueue_rusqlite --features sqlite
//! ```

use std::error::Error;

use eventferry::sqlite::SqliteOutbox;
use eventferry::{Event, Json as _};
use rusqlite::Connection;
use rusqlite::TransactionBehavior::Immediate;

/// An order, as the database and the event have it.
#[derive(serde::Serialize)]
struct Order {
    id: i64,
    total: i64,
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    place(&std::env::var("DATABASE_URL")?, 42)
}

/// Places an order: it and its event are there when this has returned `Ok`, and neither of them otherwise.
pub(crate) fn place(url: &str, id: i64) -> Result<(), Box<dyn Error + Send + Sync>> {
    let file = url.strip_prefix("sqlite://").unwrap_or(url);
    let mut connection = Connection::open(file)?;
    connection.execute_batch("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, total INTEGER)")?;

    let order = Order { id, total: 7 };
    // A transaction that will write says so when it begins: else it may be refused half-way.
    let tx = connection.transaction_with_behavior(Immediate)?;
    tx.execute("INSERT INTO orders (id, total) VALUES (?1, ?2)", (order.id, order.total))?;
    let event = Event::new("orders.created", ("order", order.id)).json(&order)?;
    SqliteOutbox.append(&tx, event)?;
    tx.commit()?;
    Ok(())
}
