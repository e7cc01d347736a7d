//! The application: transactions at a fixed rate, over enough connections, whatever becomes of those before.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{Mutex, mpsc};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Statement};

use super::arrivals::Arrivals;
use super::event::{customer, payload};
use super::marks::Marks;
use crate::bench::sender::{Message, POSTGRES_EPOCH_MICROS, Sender};
use crate::database::{Database, connect};
use crate::failure::{Attempt as _, Failure, failure};
use crate::topic::Topic;

/// The connections of the application.
const CONNECTIONS: usize = 16;

/// The table that the application itself writes to.
pub(super) const SALE_TABLE: &str = "CREATE TABLE sale (number bigint NOT NULL, customer text NOT NULL)";

/// An application with its connections open.
pub(super) struct Application {
    shared: Arc<Shared>,
    connections: Vec<Arc<Connection>>,
}

struct Shared {
    marks: Arc<Marks>,
    topic: String,
    /// Events a transaction.
    size: u64,
    /// Produces each event after its commit: the dual write.
    sender: Option<Sender>,
}

struct Connection {
    client: Client,
    statement: Statement,
}

/// A transaction to be made, and when it was due.
type Due = (u64, Instant);

impl Application {
    /// Connects; with `produces` it is a dual write.
    pub(super) async fn open(
        database: &Database,
        topic: &Topic,
        statement: &str,
        produces: bool,
        size: u64,
        marks: Arc<Marks>,
    ) -> Result<Self, Failure> {
        let types = [Type::INT8, Type::TEXT_ARRAY, Type::BYTEA_ARRAY, Type::TEXT];
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let client = connect(&database.url()?).await?;
            let statement =
                client.prepare_typed(statement, &types).await.attempt("prepare the application")?;
            connections.push(Arc::new(Connection { client, statement }));
        }
        let sender = produces.then(|| Sender::open(topic)).transpose()?;
        Ok(Self { shared: Arc::new(Shared { marks, topic: topic.name.clone(), size, sender }), connections })
    }

    /// One transaction, now.
    pub(super) async fn write(&self, transaction: u64) -> Result<(), Failure> {
        self.shared.write(&self.connections[0], (transaction, Instant::now())).await
    }

    /// All transactions, each when it is due; returns when the last one is committed. The connections stay open: the
    /// processor time of their backends is counted while they live.
    pub(super) async fn run(&self, arrivals: Arrivals) -> Result<(), Failure> {
        let (due, waiting) = mpsc::unbounded_channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let workers: Vec<_> = self
            .connections
            .iter()
            .map(|connection| {
                let (shared, waiting) = (Arc::clone(&self.shared), Arc::clone(&waiting));
                let connection = Arc::clone(connection);
                tokio::spawn(async move { shared.work(&connection, &waiting).await })
            })
            .collect();
        let pace = std::thread::Builder::new().name("pace".into()).spawn(move || pace(&arrivals, &due))?;
        for worker in workers {
            worker.await.map_err(|_| failure("a writer panicked"))??;
        }
        pace.join().map_err(|_| failure("the pace maker panicked"))
    }
}

/// Says when each transaction is due. A thread, since the runtime's timers know only whole milliseconds.
fn pace(arrivals: &Arrivals, due: &mpsc::UnboundedSender<Due>) {
    let began = Instant::now();
    for transaction in 0..arrivals.transactions {
        let at = began + arrivals.due(transaction);
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        if due.send((transaction, at)).is_err() {
            return;
        }
    }
}

impl Shared {
    async fn work(
        &self,
        connection: &Connection,
        waiting: &Mutex<mpsc::UnboundedReceiver<Due>>,
    ) -> Result<(), Failure> {
        loop {
            let next = waiting.lock().await.recv().await;
            match next {
                Some(due) => self.write(connection, due).await?,
                None => return Ok(()),
            }
        }
    }

    async fn write(&self, connection: &Connection, (transaction, due): Due) -> Result<(), Failure> {
        let events = transaction * self.size..(transaction + 1) * self.size;
        let first = i64::try_from(events.start)?;
        let customers: Vec<String> = events.clone().map(customer).collect();
        let payloads: Vec<Vec<u8>> = events.clone().map(payload).collect();
        let late = due.elapsed();
        connection
            .client
            .execute(&connection.statement, &[&first, &customers, &payloads, &self.topic])
            .await
            .attempt("write")?;
        self.marks.commit(transaction, Instant::now(), late);
        let Some(sender) = &self.sender else { return Ok(()) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let micros = i64::try_from(now.as_micros())? - POSTGRES_EPOCH_MICROS;
        for ((event, customer), payload) in events.zip(&customers).zip(&payloads) {
            sender.post(&Message {
                micros,
                message_id: u128::from(event).to_be_bytes(),
                aggregate_type: b"customer",
                aggregate_id: customer.as_bytes(),
                payload,
                content_type: b"application/json",
                headers: &[],
            })?;
        }
        Ok(())
    }
}
