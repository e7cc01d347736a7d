//! The service itself, apart from `main`, so that its tests can start it.

mod http;
mod orders;
mod topic;

use std::error::Error;

use eventferry::Relay;
use eventferry::core::store::{Prepare, Store as _};
use eventferry::kafka::{KafkaConfig, KafkaPublisher};
use eventferry::postgres::{PostgresConfig, PostgresStore};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use orders::{NewOrder, Order, Orders};

/// Whatever ends the program.
pub type Failure = Box<dyn Error + Send + Sync>;

/// What the service is told by its environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// `DATABASE_URL`: the PostgreSQL with the orders and the outbox.
    pub database_url: String,
    /// `LISTEN`: where to serve; default `127.0.0.1:3000`.
    pub listen: String,
    /// `KAFKA_BROKERS`: where to carry the events; without it this program carries none, and `eventferry run` may do
    /// so beside it.
    pub kafka_brokers: Option<String>,
    /// `TOPIC`: what the events are for; default `orders.created`.
    pub topic: String,
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// `DATABASE_URL` is not set.
    pub fn from_env() -> Result<Self, Failure> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let database_url = variable("DATABASE_URL")
            .ok_or("DATABASE_URL is not set: give one such as postgres://user:password@localhost/shop")?;
        Ok(Self {
            database_url,
            listen: variable("LISTEN").unwrap_or_else(|| "127.0.0.1:3000".into()),
            kafka_brokers: variable("KAFKA_BROKERS"),
            topic: variable("TOPIC").unwrap_or_else(|| "orders.created".into()),
        })
    }
}

/// The service, ready to run.
#[derive(Debug)]
pub struct Service {
    orders: Orders,
    relay: Option<Relay<PostgresStore, KafkaPublisher>>,
}

impl Service {
    /// Connects, and makes what is missing: the tables, the outbox, the topic. In production, migrations and
    /// `eventferry init` do that with privileges that the service need not have.
    ///
    /// # Errors
    /// The database is away, or does not let us; or the brokers' addresses are none.
    pub async fn prepare(config: &Config) -> Result<Self, Failure> {
        let pool = PgPool::connect(&config.database_url).await?;
        let orders = Orders::new(pool, &config.topic);
        orders.prepare().await?;
        let mut store = PostgresStore::new(PostgresConfig::from_url(&config.database_url)?);
        store.prepare(Prepare::Apply).await?;
        let relay = match &config.kafka_brokers {
            None => None,
            Some(brokers) => {
                let publisher = KafkaPublisher::new(KafkaConfig::new(brokers))?;
                // While the broker is away orders are taken all the same, and a relay waits for a topic.
                if let Err(error) = topic::ensure(&publisher, &config.topic).await {
                    eprintln!("the topic {} is not made yet: {error}", config.topic);
                }
                Some(Relay::builder().store(store).publisher(publisher).build()?)
            }
        };
        Ok(Self { orders, relay })
    }

    /// Serves, and carries events, until `stop`: then requests under way are answered, and what is in flight is
    /// settled.
    ///
    /// # Errors
    /// The relay found what waiting does not mend.
    pub async fn run(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<(), Failure> {
        let (stopping, stopped) = watch::channel(());
        let has_relay = self.relay.is_some();
        let relay = self.relay.map(|relay| tokio::spawn(relay.run(until(stopped.clone()))));
        let serving = axum::serve(listener, http::router(self.orders)).with_graceful_shutdown(until(stopped));
        let serving = tokio::spawn(serving.into_future());
        // A relay ends by itself only over what waiting does not mend: somebody must look, so the program ends too.
        let relay = async {
            match relay {
                Some(relay) => relay.await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(relay);
        let ended = tokio::select! {
            () = stop => None,
            ended = &mut relay => Some(ended),
        };
        drop(stopping);
        serving.await??;
        match ended {
            Some(ended) => drop(ended??),
            None if has_relay => drop(relay.await??),
            None => {}
        }
        Ok(())
    }
}

/// Ready once the other end is dropped.
async fn until(mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}
