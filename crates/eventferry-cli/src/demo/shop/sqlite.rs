//! A shop in a SQLite file of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use eventferry::MessageId;
use eventferry::core::store::{Prepare, Store};
use eventferry::sqlite::{SqliteConfig, SqliteOutbox, SqliteStore};
use rusqlite::{Connection, Transaction};
use tempfile::TempDir;

use super::{Counters, Demand, Selling};
use crate::database::{open_sqlite, refused_by_sqlite};
use crate::demo::customer::{Customer, Purchase};
use crate::demo::sale::{self, Sale};
use crate::ending::Trouble;
use crate::enqueue;

/// A shop in a SQLite file of its own, made for it and removed with it.
#[derive(Debug)]
pub(crate) struct SqliteShop {
    pub(crate) config: SqliteConfig,
    /// Where the file is, unless the user chose the place.
    folder: Option<TempDir>,
}

const BOOKS: &str = "CREATE TABLE eventferry_demo_orders (
    id INTEGER PRIMARY KEY, changes INTEGER NOT NULL, total_cents INTEGER NOT NULL
)";

const CHANGE: &str = "INSERT INTO eventferry_demo_orders (id, changes, total_cents) VALUES (?1, 1, ?2)
ON CONFLICT (id) DO UPDATE SET changes = changes + 1, total_cents = excluded.total_cents
RETURNING changes";

impl SqliteShop {
    /// A shop in a temporary folder.
    pub(crate) async fn open_anywhere() -> Result<Self, Trouble> {
        let folder = tempfile::Builder::new().prefix("eventferry-demo-").tempdir();
        let folder = folder
            .map_err(|error| Trouble::store(format!("make a temporary folder: {error}; set TMPDIR")))?;
        let config = SqliteConfig::at(folder.path().join("shop.db"))?;
        Self { config, folder: Some(folder) }.prepared().await
    }

    /// A shop in this file, which must not be there yet: it is removed in the end.
    pub(crate) async fn open(config: SqliteConfig) -> Result<Self, Trouble> {
        if config.path().exists() {
            return Err(Trouble::usage(format!(
                "--store: `{}` is there already, and the demonstration removes its file in the end; name a new one",
                config.path().display()
            )));
        }
        Self { config, folder: None }.prepared().await
    }

    async fn prepared(self) -> Result<Self, Trouble> {
        SqliteStore::new(self.config.clone()).prepare(Prepare::Apply).await?;
        let books = open_sqlite(&self.config)?;
        books.execute_batch(BOOKS).map_err(|error| refused_by_sqlite("make the shop's table", &error))?;
        Ok(self)
    }

    pub(crate) fn description(&self) -> String {
        format!("SQLite, {}", self.config.path().display())
    }

    pub(crate) fn sell(&self, demand: Demand, counters: Arc<Counters>) -> Selling {
        let config = self.config.clone();
        tokio::task::spawn_blocking(move || sell(&config, &demand, &counters))
    }

    pub(crate) fn close(self) -> Result<(), Trouble> {
        let Self { config, folder } = self;
        let removed = match folder {
            Some(folder) => folder.close(),
            None => {
                files(config.path()).iter().filter(|file| file.exists()).try_for_each(std::fs::remove_file)
            }
        };
        removed.map_err(|error| {
            Trouble::store(format!("remove `{}`: {error}; remove it by hand", config.path().display()))
        })
    }
}

/// A database, and what SQLite keeps beside it.
fn files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    })
}

fn sell(config: &SqliteConfig, demand: &Demand, counters: &Counters) -> Result<Vec<Sale>, Trouble> {
    let mut books = open_sqlite(config)?;
    // The relay makes durable what it reads; with this, a sale need not wait for the disk.
    books
        .pragma_update(None, "synchronous", "NORMAL")
        .map_err(|error| refused_by_sqlite("set synchronous", &error))?;
    let mut customer = Customer::new(demand.seed, demand.aggregates);
    let mut sold = Vec::new();
    while let Some(purchase) = counters.next_purchase(&mut customer) {
        while let Some(pause) = counters.pause(demand) {
            thread::sleep(pause);
        }
        let (committed, undone) = transact(&mut books, &purchase, &mut customer, &demand.topic)?;
        counters.count(&committed, undone);
        sold.extend(committed);
    }
    Ok(sold)
}

/// One transaction: what it left behind, and how many events it did not.
fn transact(
    books: &mut Connection,
    purchase: &Purchase,
    customer: &mut Customer,
    topic: &str,
) -> Result<(Vec<Sale>, u64), Trouble> {
    let refused = |error: rusqlite::Error| refused_by_sqlite("sell", &error);
    let (mut sold, mut undone) = (Vec::new(), 0);
    let mut transaction = books.transaction().map_err(refused)?;
    for step in &purchase.steps {
        let mut events = Vec::with_capacity(step.orders.len());
        let mut sales = Vec::with_capacity(step.orders.len());
        let mut change = |connection: &Connection| {
            for order in &step.orders {
                let price = customer.price();
                let sequence: u32 = connection
                    .prepare_cached(CHANGE)
                    .and_then(|mut change| change.query_row((order, price), |row| row.get(0)))
                    .map_err(refused)?;
                events.push(sale::event(topic, *order, sequence, price)?);
                sales.push((*order, sequence));
            }
            Ok::<_, Trouble>(())
        };
        if step.undone {
            let savepoint = transaction.savepoint().map_err(refused)?;
            change(&savepoint)?;
            let ids = SqliteOutbox.append_many(&savepoint, &events).map_err(enqueue::refused)?;
            undone += ids.len() as u64;
            // Rolled back by being dropped.
        } else {
            change(&transaction)?;
            let ids = SqliteOutbox.append_many(&transaction, &events).map_err(enqueue::refused)?;
            sold.extend(ids.into_iter().zip(sales).map(named));
        }
    }
    end(transaction, purchase.rolled_back).map_err(refused)?;
    if purchase.rolled_back {
        undone += sold.len() as u64;
        sold.clear();
    }
    Ok((sold, undone))
}

fn named((message_id, (order, sequence)): (MessageId, (u32, u32))) -> Sale {
    Sale { message_id, order, sequence }
}

fn end(transaction: Transaction<'_>, rolled_back: bool) -> rusqlite::Result<()> {
    if rolled_back { transaction.rollback() } else { transaction.commit() }
}
