//! An order and its event in one transaction, by deadpool-postgres.
//!
//! ```sh
//! eventferry init --store postgres://user:password@localhost/shop
//! DATABASE_URL=postgres://user:password@localhost/shop cargo run -p eventferry --example enqueue_deadpool_postgres --features postgres
//! ```

use std::error::Error;

use deadpool_postgres::{Manager, Pool};
use eventferry::postgres::PostgresOutbox;
use eventferry::{Event, Json as _};
use tokio_postgres::NoTls;

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
    let pool = Pool::builder(Manager::new(url.parse()?, NoTls)).max_size(8).build()?;
    let mut client = pool.get().await?;
    client.batch_execute("CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY, total bigint)").await?;

    let order = Order { id, total: 7 };
    let mut tx = client.transaction().await?;
    tx.execute("INSERT INTO orders (id, total) VALUES ($1, $2)", &[&order.id, &order.total]).await?;
    let event = Event::new("orders.created", ("order", order.id)).json(&order)?;
    // A transaction of deadpool's derefs to one of tokio-postgres, which is what the outbox takes.
    PostgresOutbox::new().enqueue(&mut *tx, event).await?;
    tx.commit().await?;
    Ok(())
}
