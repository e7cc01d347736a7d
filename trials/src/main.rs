//! Trials.
use eventferry::kafka::{KafkaConfig, KafkaPublisher};
use eventferry::postgres::{PostgresConfig, PostgresStore};
use eventferry_core::store::{Prepare, Store};

#[tokio::main]
async fn main() {
    tracing_subscriber::fmt().with_env_filter(std::env::var("RUST_LOG").unwrap_or("info".into())).init();
    let mut args = std::env::args().skip(1);
    let (store, publisher) = (args.next().unwrap(), args.next().unwrap());
    let mut store = PostgresStore::new(PostgresConfig::from_url(&store).unwrap());
    println!("{:?}", store.prepare(Prepare::Apply).await);
    let publisher = KafkaPublisher::new(KafkaConfig::from_url(&publisher).unwrap()).unwrap();
    let relay = eventferry::Relay::builder().store(store).publisher(publisher).build().unwrap();
    let done = relay.run(async { tokio::signal::ctrl_c().await.unwrap() }).await;
    println!("{done:?}");
}
