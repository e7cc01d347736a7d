//! An order and its event in one transaction, by diesel.
//!
//! ```sh
//! eventferry init --store postgres://user:password@localhost/shop
//! DATABASE_URL=postgres://user:password@localhost/shop cargo run -p eventferry --example enqueue_diesel --features diesel
//! ```

use std::error::Error;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use eventferry::postgres::PostgresOutbox;
use eventferry::{Event, Json as _};

diesel::table! {
    /// Orders.
    orders (id) {
        /// Their numbers.
        id -> BigInt,
        /// What they cost.
        total -> BigInt,
    }
}

/// An order, as the database and the event have it.
#[derive(Insertable, serde::Serialize)]
#[diesel(table_name = orders)]
struct Order {
    id: i64,
    total: i64,
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    place(&std::env::var("DATABASE_URL")?, 42)
}

/// Places an order: it and its event are there when this has returned `Ok`, and neither of them otherwise.
pub(crate) fn place(url: &str, id: i64) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut connection = PgConnection::establish(url)?;
    connection.batch_execute("CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY, total bigint)")?;

    let order = Order { id, total: 7 };
    connection.transaction(|connection| {
        diesel::insert_into(orders::table).values(&order).execute(connection)?;
        let event = Event::new("orders.created", ("order", order.id)).json(&order)?;
        PostgresOutbox::new().append(connection, event)?;
        Ok(())
    })
}
