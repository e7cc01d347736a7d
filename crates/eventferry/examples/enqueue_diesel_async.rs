//! An order and its event in one transaction, by diesel-async.
//!
//! ```sh
//! eventferry init --store postgres://user:password@localhost/shop
//! DATABASE_URL=postgres://user:password@localhost/shop cargo run -p eventferry --example enqueue_diesel_async --features diesel-async
//! ```

use std::error::Error;

use diesel::prelude::Insertable;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
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

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    place(&std::env::var("DATABASE_URL")?, 42).await
}

/// Places an order: it and its event are there when this has returned `Ok`, and neither of them otherwise.
pub(crate) async fn place(url: &str, id: i64) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut connection = AsyncPgConnection::establish(url).await?;
    let create = "CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY, total bigint)";
    connection.batch_execute(create).await?;

    let order = Order { id, total: 7 };
    let placed = connection.transaction(async |connection| {
        diesel::insert_into(orders::table).values(&order).execute(connection).await?;
        let event = Event::new("orders.created", ("order", order.id)).json(&order)?;
        PostgresOutbox::new().enqueue(connection, event).await?;
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    });
    placed.await
}
